//! The whole way once, then again, then what the registry says of it.

use std::collections::BTreeSet;

use crate::program::{Program, workspace};

const SMOKE: &str = "pipelines/smoke.toml";

#[test]
fn the_smoke_pipeline_runs_is_cached_and_answers_questions() {
    let program = Program::new();
    let dry = program.rows(&["run", SMOKE, "--dry-run"]);
    assert!(dry.iter().all(|row| row["would_be"] == "run"), "{dry:?}");

    let first = program.rows(&["run", SMOKE]);
    let names: BTreeSet<&str> = first
        .iter()
        .map(|row| row["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        BTreeSet::from(["prepare", "reference", "train", "sample", "evaluate"])
    );
    assert!(
        first.iter().all(|row| row["status"] == "succeeded"),
        "{first:?}"
    );
    let artifacts = program.artifacts();
    for picture in ["train/", "sample/"] {
        let png = artifacts.keys().any(|path| {
            path.to_string_lossy().contains(picture)
                && path.extension().is_some_and(|end| end == "png")
        });
        assert!(png, "no picture in {picture}");
    }

    let second = program.rows(&["run", SMOKE]);
    assert!(
        second.iter().all(|row| row["status"] == "cached"),
        "{second:?}"
    );
    assert_eq!(program.artifacts(), artifacts);

    let runs = program.rows(&["runs"]);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["run"], "smoke-2");
    assert_eq!(runs[0]["metric"], "fd_efficientnet_lite0");
    assert_eq!(runs[0]["value"], runs[1]["value"]);
    assert_eq!(runs[0]["samples"], 32);
    assert!(program.succeed(&["runs"]).contains(" (32)"));
    let ranked = program.rows(&["compare", "--metric", "fd_efficientnet_lite0"]);
    assert_eq!(ranked.len(), 1, "{ranked:?}");
    assert_eq!(
        (&ranked[0]["run"], &ranked[0]["also"]),
        (&"smoke-1".into(), &serde_json::json!(["smoke-2"]))
    );

    let scores = program.rows(&[
        "query",
        "SELECT subject, value FROM fid_history WHERE run = 'smoke-1'",
    ]);
    let value = |subject: &str| {
        scores.iter().find(|row| row["subject"] == subject).unwrap()["value"]
            .as_f64()
            .unwrap()
    };
    assert!(value("real-halves") < value("noise"), "{scores:?}");
    assert!(value("sample").is_finite());

    let shown = program.succeed(&["show", "latest"]);
    assert!(shown.contains("smoke-2 (succeeded)"), "{shown}");
    let losses = program.rows(&[
        "query",
        "SELECT COUNT(*) AS points FROM metrics WHERE run = 'smoke-1' AND name = 'loss'",
    ]);
    assert!(losses[0]["points"].as_i64().unwrap() > 0);
    let taken = program.rows(&[
        "query",
        "SELECT stage FROM attempts WHERE cpu_seconds > 0 AND peak_memory_bytes > 1000000",
    ]);
    assert_eq!(taken.len(), 5);
    documented_questions_are_answered(&program);
}

/// Every question of docs/reference/registry.md, asked of a registry with two runs that succeeded.
fn documented_questions_are_answered(program: &Program) {
    let page = std::fs::read_to_string(workspace().join("docs/reference/registry.md")).unwrap();
    let questions: Vec<String> = page
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().replace("demo-", "smoke-"))
        .collect();
    assert!(questions.len() >= 15, "{} questions", questions.len());
    let answered = questions
        .iter()
        .filter(|question| !program.rows(&["query", question]).is_empty())
        .count();
    // No answer: what differs between runs called otherwise, failed, was interrupted, is at work, was tried
    // again, came from uncommitted code, or has another batch size.
    assert!(
        answered + 7 >= questions.len(),
        "{answered} questions have answers"
    );
}

#[test]
fn a_changed_setting_runs_its_stage_and_what_follows() {
    let program = Program::new();
    program.succeed(&["run", SMOKE, "--until", "reference"]);
    let plan = program.rows(&[
        "run",
        SMOKE,
        "--dry-run",
        "--set",
        "stages.reference.batch_size=20",
    ]);
    let would =
        |stage: &str| plan.iter().find(|row| row["stage"] == stage).unwrap()["would_be"].clone();
    assert_eq!(
        (would("prepare"), would("reference")),
        ("cached".into(), "run".into())
    );
}
