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

/// A pipeline of a data set that is not there is sound: a dry run says what to get and ends well, a run does not start.
#[test]
fn pipelines_of_data_sets_say_which_file_to_get_and_where_to_put_it() {
    let files = [
        ("celeba", "data/celeba/img_align_celeba.zip"),
        ("afhqv2-cat", "data/afhqv2/afhq_v2.zip"),
        ("afhqv2-dog", "data/afhqv2/afhq_v2.zip"),
        ("afhqv2-wild", "data/afhqv2/afhq_v2.zip"),
        ("ffhq", "data/ffhq/thumbnails128x128"),
        ("cifar10", "data/cifar10/cifar-10-python.tar.gz"),
        ("flowers102", "data/flowers102/102flowers.tgz"),
    ];
    let program = Program::new();
    let weights = program.home().join("no-weights");
    for (name, file) in files {
        let pipeline = format!("pipelines/{name}.toml");
        let absent = format!("stages.prepare.source=absent/{file}");
        for (arguments, code) in [(&["--dry-run"][..], 0), (&[][..], 2)] {
            let command = [&["run", &pipeline, "--set", &absent], arguments].concat();
            let output = program
                .command(&command)
                .env("PATCHWORK_WEIGHTS", &weights)
                .output()
                .unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{message}");
            for words in [file, "get ", "hint:", "patchwork weights get inception"] {
                assert!(message.contains(words), "{name}: {message}");
            }
            let table = String::from_utf8(output.stdout).unwrap();
            assert_eq!(table.contains("missing its source"), code == 0, "{table}");
            assert_eq!(table.contains("missing its weights"), code == 0, "{table}");
        }
    }
    // What is left out of the run is not asked for.
    let celeba = ["run", "pipelines/celeba.toml", "--until", "train"];
    let output = program
        .command(&[&celeba[..], &["--set", "stages.prepare.source=absent"]].concat())
        .env("PATCHWORK_WEIGHTS", &weights)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("absent") && !message.contains("weights"),
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
