//! Raw data and weights that are deleted or left behind once what was made of them is there.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::program::{Program, text, workspace};

/// The smoke pipeline on raw images of one's own.
fn smoke_on(source: &str) -> String {
    const EMOJI: &str =
        "[stages.prepare.emoji]\ngroups = [\"smileys-and-emotion\", \"activities\"]\n";
    let smoke = std::fs::read_to_string(workspace().join("pipelines/smoke.toml")).unwrap();
    assert!(smoke.contains(EMOJI));
    smoke.replace(EMOJI, "").replace("builtin:twemoji", source)
}

/// Runs a command in a folder, with the weights of another.
fn run_in(program: &Program, folder: &Path, weights: &Path, arguments: &[&str]) -> Output {
    program
        .command(arguments)
        .current_dir(folder)
        .env("PATCHWORK_WEIGHTS", weights)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What became of each stage, or would.
fn fates(output: &Output, field: &str) -> Vec<(String, String)> {
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}", said(output)));
    let word = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| (word(row, "stage"), word(row, field)))
        .collect()
}

#[test]
fn what_is_done_needs_neither_its_raw_data_nor_its_weights() {
    let program = Program::new();
    let place = |name: &str| program.home().join(name);
    let (here, there, set) = (place("here"), place("there"), place("set"));
    let weights = workspace().join("weights");
    std::fs::create_dir(&here).unwrap();
    let build = ["dataset", "build", "builtin:twemoji", "--resolution", "16"];
    let groups = "emoji.groups=[\"activities\", \"objects\"]";
    program.succeed(&[&build[..], &["--set", groups, "--out", text(&set)]].concat());
    let raw = here.join("raw");
    let export = ["dataset", "export", text(&set), "--as", "png", "--out"];
    program.succeed(&[&export[..], &[text(&raw)]].concat());
    std::fs::write(here.join("mine.toml"), smoke_on("raw")).unwrap();

    let run = ["run", "mine.toml", "--format", "json"];
    let with = |more: &[&'static str]| [&run[..], more].concat();
    let first = run_in(&program, &here, &weights, &run);
    assert!(first.status.success(), "{}", said(&first));
    let made = program.artifacts();

    // The raw data is gone; then the project moves on, without its weights too.
    std::fs::rename(&raw, place("gone")).unwrap();
    let none = place("none");
    let is_all_cached = |output: &Output, field: &str| {
        let fates = fates(output, field);
        fates.len() == 5 && fates.iter().all(|(_, fate)| fate == "cached")
    };
    let again = run_in(&program, &here, &weights, &run);
    assert!(is_all_cached(&again, "status"), "{}", said(&again));
    let remark = "stage `prepare` is finished, from an earlier read: source `";
    assert!(said(&again).contains(remark), "{}", said(&again));
    std::fs::rename(&here, &there).unwrap();
    let elsewhere = run_in(&program, &there, &none, &run);
    assert!(is_all_cached(&elsewhere, "status"), "{}", said(&elsewhere));
    let dry = run_in(&program, &there, &none, &with(&["--dry-run"]));
    assert!(is_all_cached(&dry, "would_be"), "{}", said(&dry));
    let explain = ["explain", "mine.toml", "--format", "json"];
    let explained = run_in(&program, &there, &none, &explain);
    assert!(is_all_cached(&explained, "fate"), "{}", said(&explained));

    // A stage that is to run needs what it reads, and nothing runs before that is there.
    let grey = ["--set", "stages.prepare.background=\"#eeeeee\""];
    let refusals: [(&[&'static str], &Path, &[&str]); 3] = [
        (
            &grey,
            &weights,
            &["`prepare`", "source `raw` is missing", "hint:"],
        ),
        (
            &["--force", "prepare"],
            &weights,
            &["source `raw` is missing"],
        ),
        (
            &["--set", "stages.evaluate.baselines=[]"],
            &none,
            &["stage `evaluate`", "./justw setup"],
        ),
    ];
    for (more, weights, words) in refusals {
        let refused = run_in(&program, &there, weights, &with(more));
        let message = said(&refused);
        assert_eq!(refused.status.code(), Some(2), "{more:?}: {message}");
        for word in words {
            assert!(message.contains(word), "`{word}` is missing in: {message}");
        }
    }
    let dry = run_in(
        &program,
        &there,
        &weights,
        &with(&[grey[0], grey[1], "--dry-run"]),
    );
    assert!(dry.status.success(), "{}", said(&dry));
    let would_be = fates(&dry, "would_be");
    assert_eq!(would_be[0].1, "missing its source", "{would_be:?}");
    assert!(would_be[1..].iter().all(|(_, fate)| fate == "run"));
    assert_eq!(program.artifacts(), made);

    // A training starts and resumes on what was prepared from it.
    let longer = with(&[
        "--set",
        "stages.train.duration_images=700",
        "--set",
        "stages.train.max_kimg=0.1",
    ]);
    for arguments in [&longer[..], &["retry", "--format", "json"]] {
        let paused = run_in(&program, &there, &weights, arguments);
        assert_eq!(paused.status.code(), Some(130), "{}", said(&paused));
        let cached = ("prepare".to_owned(), "cached".to_owned());
        assert!(fates(&paused, "status").contains(&cached));
    }
}
