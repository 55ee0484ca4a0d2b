//! What a user gets to read after a mistake: which file, what is wrong, what to do; and nothing half-written.

use std::path::Path;

use crate::program::Program;

/// Runs a pipeline that extends the smoke one with `text` and expects an exit code and words on standard error.
fn check(text: &str, code: i32, words: &[&str]) {
    let program = Program::new();
    let path = program.home().join("mistaken.toml");
    let smoke = crate::program::workspace().join("pipelines/smoke.toml");
    let file = format!(
        "name = \"mistaken\"\nextends = \"{}\"\n{text}\n",
        smoke.display()
    );
    std::fs::write(&path, file).unwrap();
    let output = program.run(&["run", path.to_str().unwrap()]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is missing in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
    let artifacts = program.home().join("artifacts");
    let made = artifacts.exists() && Path::read_dir(&artifacts).unwrap().next().is_some();
    assert!(!made, "something was made in spite of: {message}");
}

#[test]
fn a_wrong_key_is_named_with_its_place_and_the_nearest_one() {
    check(
        "[stages.train]\nbatchsize = 4",
        2,
        &["mistaken.toml:4", "batchsize", "batch_size"],
    );
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    check(
        "[stages.train]\nbatch_size = \"four\"",
        2,
        &["mistaken.toml:4", "batch_size"],
    );
}

#[test]
fn a_missing_source_is_named_before_anything_runs() {
    let program = Program::new();
    let output = program.run(&[
        "run",
        "pipelines/celeba.toml",
        "--set",
        "stages.prepare.source=no/such/folder",
    ]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("no/such/folder") && message.contains("hint:"),
        "{message}"
    );
}

#[test]
fn a_missing_pipeline_is_named() {
    let program = Program::new();
    let output = program.run(&["run", "pipelines/none.toml"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("pipelines/none.toml"), "{message}");
}

#[test]
fn questions_without_a_registry_or_with_wrong_sql_fail_with_a_reason() {
    let program = Program::new();
    let output = program.run(&["runs"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("no registry")
    );
}
