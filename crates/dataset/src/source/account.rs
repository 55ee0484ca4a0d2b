//! What became of everything that a source holds: images, and what is not an image of the data set, by reason.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

/// The maximum number of reasons; names can end in as many ways as there are files.
const MOST_REASONS: usize = 64;

/// Reasons that a person is shown in one line.
const REASONS_SHOWN: usize = 8;

const OTHER: &str = "of other kinds";

/// How many entries of a source are not images of the data set, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PassedOver(BTreeMap<String, u64>);

impl PassedOver {
    /// Counts one more.
    pub(super) fn add(&mut self, reason: &str) {
        self.add_many(reason, 1);
    }

    /// Counts so many more; the reason follows a number, as in "3 of another split".
    pub(super) fn add_many(&mut self, reason: &str, entries: u64) {
        if entries == 0 {
            return;
        }
        if let Some(known) = self.0.get_mut(reason) {
            *known += entries;
        } else if self.0.len() < MOST_REASONS {
            self.0.insert(reason.to_owned(), entries);
        } else {
            *self.0.entry(OTHER.to_owned()).or_default() += entries;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (reason, entries) in &other.0 {
            self.add_many(reason, *entries);
        }
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Reasons and counts, in the order of the reasons.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0
            .iter()
            .map(|(reason, entries)| (reason.as_str(), *entries))
    }

    /// `3 .txt, 2 hidden`, the most frequent first.
    pub fn text(&self) -> String {
        let mut reasons: Vec<(&str, u64)> = self.iter().collect();
        reasons.sort_by_key(|(reason, entries)| (std::cmp::Reverse(*entries), *reason));
        let rest: u64 = reasons.iter().skip(REASONS_SHOWN).map(|(_, n)| n).sum();
        let mut text = String::new();
        for (position, (reason, entries)) in reasons.iter().take(REASONS_SHOWN).enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}{entries} {reason}");
        }
        if rest > 0 {
            let _ = write!(text, ", {rest} {OTHER}");
        }
        text
    }
}

/// How a source was read, and what became of its entries.
///
/// Every entry (a file, a row of a table, a key of a database) is an image of the source or is passed over:
/// `entries = images + passed_over.total()`. Of the images some are rejected once they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The format that the source is read as, as a pipeline file names it.
    pub format: String,
    /// Whether that was recognised; otherwise it was set.
    pub recognised: bool,
    /// The split that is read, where the format has splits.
    pub split: Option<String>,
    /// What gives the images their classes, in words; none without labels.
    pub classes_by: Option<String>,
    /// Everything that the source holds.
    pub entries: u64,
    /// What is not an image of the data set.
    pub passed_over: PassedOver,
    /// What a person should know before training on it, each a sentence fragment.
    pub warnings: Vec<String>,
}

impl Account {
    /// `recognised as `images`, split `all``.
    pub fn reading(&self) -> String {
        let verb = if self.recognised {
            "recognised"
        } else {
            "read"
        };
        let mut text = format!("{verb} as `{}`", self.format);
        if let Some(split) = &self.split {
            let _ = write!(text, ", split `{split}`");
        }
        text
    }
}

/// Images by class: `2 classes: cat 6, dog 6`, with those that have none.
pub fn classes_text(names: &[String], counts: &[u64]) -> String {
    const SHOWN: usize = 8;
    let empty: Vec<&str> = (names.iter().zip(counts))
        .filter(|(_, images)| **images == 0)
        .map(|(name, _)| name.as_str())
        .collect();
    let filled: Vec<String> = (names.iter().zip(counts))
        .filter(|(_, images)| **images > 0)
        .map(|(name, images)| format!("{name} {images}"))
        .collect();
    let some = |list: &[String]| {
        let more = list.len().saturating_sub(SHOWN);
        let shown = list[..list.len() - more].join(", ");
        match more {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    };
    let plural = if names.len() == 1 { "class" } else { "classes" };
    let mut text = format!("{} {plural}: {}", names.len(), some(&filled));
    if !empty.is_empty() {
        let empty: Vec<String> = empty.into_iter().map(str::to_owned).collect();
        let _ = write!(text, "; without images: {}", some(&empty));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_bounded_and_none_is_lost() {
        let mut passed = PassedOver::default();
        for number in 0..1000 {
            passed.add(&format!(".{number}"));
        }
        passed.add_many("hidden", 7);
        assert_eq!(passed.total(), 1007);
        assert_eq!(passed.iter().count(), MOST_REASONS + 1);
        assert!(passed.text().len() < 200, "{}", passed.text());
    }

    #[test]
    fn classes_without_images_are_named() {
        let names = ["cat", "dog", "owl"].map(str::to_owned);
        assert_eq!(
            classes_text(&names, &[3, 0, 2]),
            "3 classes: cat 3, owl 2; without images: dog"
        );
    }
}
