//! The text of the pipeline file.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;

use super::findings::Findings;
use super::places::{PIPELINES, PRESETS};
use super::plan::Plan;
use super::questions::Answers;
use super::setting::{Setting, Table};

/// The longest line; a reason that does not fit beside its setting stands above it.
const WIDTH: usize = 110;

/// The schema of pipeline files, which editors complete by, as it lies from `pipelines/`.
const SCHEMA: &str = "../schemas/pipeline.json";

/// The pipeline file with a reason beside every setting.
pub(super) fn text(found: &Findings, answers: &Answers, plan: &Plan) -> String {
    let mut text = String::new();
    if Path::new(PIPELINES).join(SCHEMA).is_file() {
        let _ = writeln!(text, "#:schema {SCHEMA}");
    }
    let resolution = answers.resolution;
    let head = format!(
        "{} at {resolution}x{resolution}, from `{}`. Written by `patchwork init`; every setting is yours to change, and \
         `patchwork explain` says what a change costs. What is not here stands in the preset below; \
         docs/reference/settings.md lists all.",
        found.count_text(),
        found.source
    );
    comment(&mut text, &head);
    let _ = writeln!(text, "name = {}", json!(answers.name));
    let description = format!("{} at {resolution}x{resolution}", answers.name);
    let _ = writeln!(text, "description = {}", json!(description));
    let _ = writeln!(text, "extends = \"../{PRESETS}/{}.toml\"", plan.preset);
    for table in Table::ALL {
        let settings: Vec<&Setting> = (plan.settings.iter())
            .filter(|setting| setting.table == table)
            .collect();
        if settings.is_empty() {
            continue;
        }
        if let Some(name) = table.name() {
            let _ = writeln!(text, "\n[{name}]");
        }
        for setting in settings {
            write_setting(&mut text, setting);
        }
    }
    text
}

fn write_setting(text: &mut String, setting: &Setting) {
    let line = format!("{} = {}", setting.key, setting.value);
    let reason = plain(&setting.reason);
    if reason.is_empty() {
        let _ = writeln!(text, "{line}");
    } else if line.chars().count() + reason.chars().count() + 4 <= WIDTH {
        let _ = writeln!(text, "{line:<32}  # {reason}");
    } else {
        comment(text, &reason);
        let _ = writeln!(text, "{line}");
    }
}

/// A comment in lines that are not too long.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in plain(words).split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line != "#" {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}

/// A text without anything that ends a comment or that TOML forbids in one: names of files and classes may hold anything.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => plain.push(' '),
            _ if character.is_control() => plain.extend(character.escape_default()),
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_stays_a_comment() {
        let setting = |reason: &str| {
            let mut text = String::new();
            let setting = Setting {
                table: Table::Prepare,
                key: "labels",
                value: "\"folder\"".to_owned(),
                reason: reason.to_owned(),
            };
            write_setting(&mut text, &setting);
            text
        };
        assert_eq!(setting(""), "labels = \"folder\"\n");
        assert_eq!(
            setting("a\nmax_rejected = 1\u{1b}"),
            "labels = \"folder\"                 # a max_rejected = 1\\u{1b}\n"
        );
        let long = setting(&"word ".repeat(60));
        assert!(long.lines().all(|line| line.len() <= WIDTH));
        let (comments, last) = long.trim_end().rsplit_once('\n').unwrap();
        assert!(comments.lines().all(|line| line.starts_with("# ")));
        assert_eq!(last, "labels = \"folder\"");
    }
}
