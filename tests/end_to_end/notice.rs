//! `--notify`: a command gets what became of a run, and can do it no harm.

use std::process::Output;
use std::time::{Duration, Instant};

use crate::program::Program;

const PREPARE: &[&str] = &["run", "pipelines/smoke.toml", "--until", "prepare"];

/// The command writes down what it gets.
const NOTE: &str = r#"printf '%s\n' "$PATCHWORK_RUN" "$PATCHWORK_STATUS" "$PATCHWORK_METRIC" "$PATCHWORK_SCORE" "$PATCHWORK_ERROR" > "$PATCHWORK_HOME/notice"; echo noise"#;

fn written(program: &Program) -> Vec<String> {
    let notice = std::fs::read_to_string(program.home().join("notice")).unwrap();
    notice.split('\n').map(str::to_owned).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_command_hears_of_the_end_of_a_run() {
    let program = Program::new();
    let mut command = program.command(&["run", "pipelines/smoke.toml", "--format", "json"]);
    let output = command.env("PATCHWORK_NOTIFY", NOTE).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // Results stay results.
    serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    assert!(said(&output).contains("noise"));
    let heard = written(&program);
    assert_eq!(
        heard[..3],
        ["smoke-1", "succeeded", "fd_efficientnet_lite0"]
    );
    let listed = &program.rows(&["runs"])[0];
    let difference = heard[3].parse::<f64>().unwrap() - listed["value"].as_f64().unwrap();
    assert!(difference.abs() < 1e-9, "{heard:?}");

    let fails = [
        "--set",
        "stages.prepare.timeout_minutes=1e-9",
        "--force",
        "prepare",
    ];
    let output = program.run(&[PREPARE, &fails, &["--notify", NOTE]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let heard = written(&program);
    assert_eq!(heard[..4], ["smoke-2", "failed", "", ""]);
    assert!(!heard[4].is_empty());
}

#[test]
fn a_command_that_fails_or_hangs_changes_nothing() {
    let program = Program::new();
    for (notify, words) in [
        ("exit 3", "failed: exit status: 3"),
        ("no-such-command-anywhere", "failed: exit status: 127"),
        ("sleep 50 & sleep 50", "took more than 1 s and was ended"),
    ] {
        let begin = Instant::now();
        let mut command = program.command(&[PREPARE, &["--notify", notify]].concat());
        let output = command
            .env("PATCHWORK_NOTIFY_SECONDS", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{notify}: {}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
        // What it started in the background, which holds this program's standard error, ended too.
        assert!(begin.elapsed() < Duration::from_secs(40), "{notify}");
    }
    assert_eq!(program.rows(&["runs"]).len(), 3);
}
