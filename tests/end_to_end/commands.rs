//! The commands that ask about runs and resume them, used as a person uses them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Program, workspace};
use crate::readers::python;

const SMOKE: &str = "pipelines/smoke.toml";

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn explain_names_what_changed_since_the_nearest_artifact() {
    let program = Program::new();
    program.succeed(&["run", SMOKE, "--until", "prepare"]);
    let explained = program.rows(&[
        "explain",
        SMOKE,
        "--set",
        "stages.prepare.background=\"#eeeeee\"",
        "--until",
        "reference",
    ]);
    assert_eq!(explained[0]["fate"], "run");
    assert_eq!(
        explained[0]["changes"],
        serde_json::json!([{"what": "background", "was": "[255,255,255]", "is": "[238,238,238]"}])
    );
    assert_eq!(explained[1]["nearest"], serde_json::Value::Null);
    let unchanged = program.succeed(&["explain", SMOKE, "--until", "prepare"]);
    assert!(unchanged.contains("cached"), "{unchanged}");
}

#[test]
fn one_stage_alone_wants_its_inputs_and_then_runs() {
    let program = Program::new();
    let refused = program.run(&["run", SMOKE, "--only", "reference"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        text(&refused).contains("`prepare` is not finished"),
        "{}",
        text(&refused)
    );
    program.succeed(&["run", SMOKE, "--only", "prepare"]);
    let rows = program.rows(&["run", SMOKE, "--only", "reference"]);
    assert_eq!(rows[0]["status"], "cached");
    assert_eq!(rows[1]["status"], "succeeded");
}

#[test]
fn gc_deletes_what_the_kept_runs_do_not_need() {
    let program = Program::new();
    program.succeed(&["run", SMOKE, "--until", "prepare"]);
    let grey = [
        "run",
        SMOKE,
        "--until",
        "prepare",
        "--set",
        "stages.prepare.background=\"#eeeeee\"",
    ];
    program.succeed(&grey);
    assert!(program.rows(&["gc"]).is_empty());
    let before = program.artifacts();
    let found = program.rows(&["gc", "--keep", "1"]);
    assert_eq!((found.len(), &found[0]["deleted"]), (1, &false.into()));
    assert_eq!(found[0]["run"], "smoke-1");
    assert_eq!(program.artifacts(), before);
    let on_disk = || {
        let question = "SELECT COUNT(*) AS artifacts FROM artifacts WHERE bytes > 0";
        program.rows(&["query", question])[0]["artifacts"].clone()
    };
    assert_eq!(on_disk(), 2);
    program.rows(&["gc", "--keep", "1", "--apply"]);
    assert_eq!(on_disk(), 1);
    let would = |arguments: &[&str]| {
        program.rows(&[arguments, &["--dry-run"]].concat())[0]["would_be"].clone()
    };
    assert_eq!(would(&["run", SMOKE, "--until", "prepare"]), "run");
    assert_eq!(would(&grey), "cached");
    assert!(program.rows(&["gc", "--keep", "1"]).is_empty());
}

#[test]
fn retry_does_what_was_interrupted_and_nothing_else() {
    let program = Program::new();
    let long = "stages.train.duration_images=4000";
    let mut child = program.start(&["run", SMOKE, "--set", long]);
    let start = Instant::now();
    let started = "SELECT stage FROM attempts WHERE stage = 'train'";
    while !program.home().join("logs/smoke-1/train.log").exists()
        || program.rows(&["query", started]).is_empty()
    {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "training does not begin"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let rows = program.rows(&["retry"]);
    let status =
        |stage: &str| rows.iter().find(|row| row["stage"] == stage).unwrap()["status"].clone();
    assert_eq!(
        (status("prepare"), status("reference")),
        ("cached".into(), "cached".into())
    );
    assert_eq!(
        (status("train"), status("evaluate")),
        ("succeeded".into(), "succeeded".into())
    );
    let status = program.rows(&["status", "smoke-1"]);
    assert!(
        status.iter().any(|row| row["status"] == "interrupted"),
        "{status:?}"
    );
    let nothing = program.run(&["retry"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(
        text(&nothing).contains("nothing to retry"),
        "{}",
        text(&nothing)
    );
}

#[test]
fn retry_is_about_the_stages_that_its_run_was_about() {
    let program = Program::new();
    let limit = "stages.train.max_kimg=0.1";
    let paused = program.run(&["run", SMOKE, "--until", "train", "--set", limit]);
    assert_eq!(paused.status.code(), Some(130));
    let retried = program.run(&["retry", "--format", "json"]);
    assert_eq!(retried.status.code(), Some(130), "{}", text(&retried));
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&retried.stdout).unwrap();
    let stages: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["stage"].as_str())
        .collect();
    assert_eq!(stages, ["prepare", "train"]);
}

#[test]
fn runs_are_compared_and_scores_that_do_not_compare_are_not_ranked() {
    let program = Program::new();
    program.succeed(&["run", SMOKE]);
    let seeds = |seeds: &str| {
        let set = format!("stages.sample.seeds=\"{seeds}\"");
        program.succeed(&["run", SMOKE, "--set", &set]);
    };
    seeds("100-131");
    let plot = program.home().join("curves.png");
    let compared = program.run(&[
        "compare",
        "smoke-1",
        "smoke-2",
        "--plot",
        plot.to_str().unwrap(),
    ]);
    let table = String::from_utf8(compared.stdout).unwrap();
    assert!(
        compared.status.success() && table.contains("stages.sample.seeds"),
        "{table}"
    );
    for file in ["curves.png", "curves-hours.png"] {
        let bytes = std::fs::read(program.home().join(file)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{file}");
    }
    let plot = plot.to_str().unwrap();
    let compare = ["compare", "smoke-1", "smoke-2", "--plot", plot, "--force"];
    let object = program.succeed(&[&compare[..], &["--format", "json"]].concat());
    serde_json::from_str::<serde_json::Value>(&object).unwrap();
    let rank = ["compare", "--metric", "fd_efficientnet_lite0"];
    let ranking = program.rows(&rank);
    assert_eq!(ranking.len(), 2);
    let value = |row: usize| ranking[row]["value"].as_f64().unwrap();
    assert!(value(0) <= value(1));
    // The one setting that differs distinguishes the runs.
    for row in &ranking {
        let settings = row["settings"].as_object().unwrap();
        let names: Vec<&str> = settings.keys().map(String::as_str).collect();
        assert_eq!(names, ["sample.seeds"], "{row}");
        assert_eq!(
            (&row["stage"], &row["of"]),
            (&"evaluate".into(), &"sample".into())
        );
    }
    assert_ne!(ranking[0]["settings"], ranking[1]["settings"]);
    let table = program.succeed(&rank);
    assert!(table.contains("sample.seeds="), "{table}");
    let of_32 = [&rank[..], &["--samples", "32"]].concat();
    assert_eq!(program.rows(&of_32), ranking);

    seeds("0-15");
    let refused = program.run(&rank);
    assert_eq!(refused.status.code(), Some(2));
    let message = text(&refused);
    assert!(
        message.contains("samples: 16 in smoke-3; 32 in smoke-1, smoke-2"),
        "{message}"
    );
    assert!(message.contains("--samples"), "{message}");
    assert_eq!(program.rows(&of_32), ranking);
    let drawn_by = |stage: &str| program.run(&[&of_32[..], &["--stage", stage]].concat());
    assert!(drawn_by("sample").status.success());
    let none = text(&drawn_by("sample-0"));
    assert!(
        none.contains("of 32 samples by or of stage `sample-0`")
            && none.contains("`sample` by `evaluate` of 16 samples"),
        "{none}"
    );
    let all = program.run(&[&rank[..], &["--incomparable", "--format", "csv"]].concat());
    assert!(
        text(&all).contains("samples: 16 in smoke-3; 32 in smoke-1, smoke-2"),
        "{}",
        text(&all)
    );
    let lines = String::from_utf8(all.stdout).unwrap();
    assert_eq!(lines.lines().count(), 4, "{lines}");
    assert_eq!(
        program
            .rows(&[&rank[..], &["smoke-1", "smoke-2"]].concat())
            .len(),
        2
    );
    let fid = ["compare", "--metric", "fid"];
    let unknown = program.run(&fid);
    assert!(
        text(&unknown).contains("fd_efficientnet_lite0"),
        "{}",
        text(&unknown)
    );
    // As if Inception-v3, whose weights cannot be had in a test, had measured the last two runs.
    let renamed = "import sqlite3, sys\n\
        registry = sqlite3.connect(sys.argv[1])\n\
        registry.execute(\"UPDATE scores SET metric = 'fid', extractor = 'inception-v3' WHERE run_id > 1\")\n\
        registry.commit()";
    python(renamed, &[program.home().join("registry.db").as_os_str()]);
    assert!(text(&program.run(&fid)).contains("samples: 16 in smoke-3; 32 in smoke-2"));
    program.succeed(&[
        "run",
        SMOKE,
        "--set",
        "stages.sample.seeds=\"100-131\"",
        "--force",
        "evaluate",
    ]);
    python(renamed, &[program.home().join("registry.db").as_os_str()]);
    // The same evaluation of the same network takes one rank.
    let ranking = program.rows(&[&fid[..], &["smoke-2", "smoke-4"]].concat());
    assert_eq!(ranking.len(), 1);
    assert_eq!(ranking[0]["run"], "smoke-2");
    assert_eq!(ranking[0]["also"], serde_json::json!(["smoke-4"]));
}

#[test]
fn a_lost_registry_is_made_again_from_the_folders() {
    let program = Program::new();
    program.succeed(&["run", SMOKE]);
    program.succeed(&["run", SMOKE, "--until", "prepare"]);
    let questions = [
        "SELECT name, pipeline, number, status, command, cpu FROM runs ORDER BY id",
        "SELECT run_id, name, kind, status, fingerprint, artifact FROM stages ORDER BY run_id, position",
        "SELECT run_id, stage, number, exit, error FROM attempts ORDER BY run_id, stage",
        "SELECT fingerprint, kind, path, bytes, summary FROM artifacts ORDER BY fingerprint",
        "SELECT * FROM params ORDER BY run_id, key",
        "SELECT run, stage, name, step, value, time FROM metrics ORDER BY run, stage, name, step",
        "SELECT run, subject, metric, value, reference, samples, seeds FROM fid_history ORDER BY subject",
        "SELECT stage, level, message FROM events ORDER BY id",
    ];
    let answers = || questions.map(|question| program.rows(&["query", question]));
    let before = answers();
    assert!(before[5].len() > 1 && before[6].len() == 3, "{before:?}");
    std::fs::write(program.home().join("registry.db"), b"not a database").unwrap();
    for file in ["registry.db-wal", "registry.db-shm"] {
        let _ = std::fs::remove_file(program.home().join(file));
    }
    assert!(!program.run(&["runs"]).status.success());
    program.succeed(&["registry", "rebuild"]);
    assert_eq!(answers(), before);
    // The next run counts on.
    program.succeed(&["run", SMOKE, "--until", "prepare"]);
    assert_eq!(program.rows(&["runs"])[0]["run"], "smoke-3");

    // Scores outlive everything that they were made from.
    let deleted = program.rows(&["gc", "--older-than", "0", "--apply"]);
    let network = deleted.iter().find(|row| row["what"] == "train artifact");
    let network = network.unwrap_or_else(|| panic!("no network in {deleted:?}"));
    assert_eq!(
        (&network["run"], &network["metric"]),
        (&"smoke-1".into(), &"fd_efficientnet_lite0".into())
    );
    assert!(network["value"].is_number(), "{network}");
    let left = program.artifacts();
    assert!(
        !left.is_empty() && left.keys().all(|path| path.starts_with("evaluate")),
        "{:?}",
        left.keys()
    );
    program.succeed(&["registry", "rebuild"]);
    assert_eq!(answers()[6], before[6]);
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let program = Program::new();
    let folder = program.home().join("man");
    program.succeed(&["man", folder.to_str().unwrap()]);
    let page = std::fs::read_to_string(folder.join("patchwork-run.1")).unwrap();
    assert!(
        page.contains("dry") && page.contains("pipelines/demo.toml"),
        "{page}"
    );
    assert!(folder.join("patchwork-dataset-inspect.1").is_file());
    let completions = program.succeed(&["completions", "bash"]);
    assert!(completions.contains("compare") && completions.contains("--until"));
}

/// A pipeline's file with a matrix of the setting's values.
fn sweep(program: &Program, setting: &str, values: &str) -> PathBuf {
    let path = program.home().join("sweep.toml");
    let smoke = workspace().join(SMOKE);
    let text = format!(
        "name = \"sweep\"\nextends = \"{}\"\n[matrix]\n\"{setting}\" = {values}\n",
        smoke.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_matrix_is_a_run_for_each_combination_with_shared_stages_done_once() {
    let program = Program::new();
    let path = sweep(&program, "stages.reference.batch_size", "[20, 30]");
    program.succeed(&["run", path.to_str().unwrap(), "--until", "reference"]);
    let stages = program.rows(&[
        "query",
        "SELECT runs.name AS run, stages.name AS stage, stages.status, value FROM stages
         JOIN runs ON runs.id = run_id JOIN params USING (run_id)
         WHERE key = 'stages.reference.batch_size' ORDER BY runs.id, position",
    ]);
    let listed: Vec<String> = stages
        .iter()
        .map(|row| {
            ["run", "stage", "status", "value"]
                .map(|field| row[field].as_str().unwrap())
                .join(" ")
        })
        .collect();
    assert_eq!(
        listed,
        [
            "sweep-1 prepare succeeded 20",
            "sweep-1 reference succeeded 20",
            "sweep-2 prepare cached 30",
            "sweep-2 reference succeeded 30",
        ]
    );
}

#[test]
fn a_matrix_computes_a_forced_stage_once() {
    let program = Program::new();
    let path = sweep(&program, "stages.train.full_image_ratio", "[0.5, 1.0]");
    let path = path.to_str().unwrap();
    let prepare = ["run", path, "--until", "prepare"];
    let statuses = |options: &[&str]| -> Vec<String> {
        let rows = program.rows(&[&prepare[..], options].concat());
        let status = |row: &Value| {
            let of = if options.contains(&"--dry-run") {
                "would_be"
            } else {
                "status"
            };
            row[of].as_str().unwrap().to_owned()
        };
        rows.iter().map(status).collect()
    };
    assert_eq!(statuses(&[]), ["succeeded", "cached"]);
    assert_eq!(
        statuses(&["--force", "prepare", "--dry-run"]),
        ["run", "cached"]
    );
    assert_eq!(statuses(&["--force", "prepare"]), ["succeeded", "cached"]);
    let left = program.home().join("work").read_dir().unwrap();
    assert_eq!(left.count(), 0, "what was replaced is gone");
}

#[test]
fn a_matrix_outlives_the_reader_of_its_results() {
    let program = Program::new();
    let path = sweep(&program, "stages.reference.batch_size", "[20, 30]");
    let mut child = program.start(&["run", path.to_str().unwrap(), "--until", "prepare"]);
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let runs = program.rows(&["query", "SELECT name, status FROM runs ORDER BY id"]);
    let listed: Vec<(&str, &str)> = runs
        .iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap(),
                row["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(listed, [("sweep-1", "succeeded"), ("sweep-2", "succeeded")]);
}

#[test]
fn a_combination_that_cannot_be_recorded_keeps_no_other_back() {
    let program = Program::new();
    let path = sweep(&program, "stages.train.full_image_ratio", "[0.5, 1.0]");
    let running = program.start(&[
        "run",
        path.to_str().unwrap(),
        "--until",
        "train",
        "--set",
        "stages.train.duration_images=400",
        "--format",
        "json",
    ]);
    // A folder of its name keeps a file from being written, also by root. It comes before the first measurement: the data
    // set is prepared first.
    let series = program.home().join("logs/sweep-1/series.jsonl");
    let begin = Instant::now();
    while std::fs::create_dir(&series).is_err() {
        assert!(begin.elapsed() < Duration::from_mins(1), "no run begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = running.wait_with_output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in [
        "run sweep-1 ended, and not all of it could be recorded",
        "1 of 2 combinations could not be recorded in full",
    ] {
        assert!(said.contains(words), "`{words}`: {said}");
    }
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let trained = rows.iter().filter(|row| row["stage"] == "train");
    let statuses: Vec<&str> = trained.map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["succeeded", "succeeded"]);
}

#[test]
fn a_matrix_that_stops_at_a_limit_is_one_listing_and_no_failure() {
    let program = Program::new();
    let path = sweep(&program, "stages.train.full_image_ratio", "[0.5, 1.0]");
    let limited = program.run(&[
        "run",
        path.to_str().unwrap(),
        "--until",
        "train",
        "--set",
        "stages.train.max_kimg=0.1",
        "--format",
        "json",
    ]);
    let said = String::from_utf8_lossy(&limited.stderr).into_owned();
    assert_eq!(limited.status.code(), Some(130), "{said}");
    assert!(
        said.contains("2 of 2 combinations stopped at a limit"),
        "{said}"
    );
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&limited.stdout).unwrap();
    let listed: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| {
            (
                row["stage"].as_str().unwrap(),
                row["status"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("prepare", "succeeded"),
            ("train", "interrupted"),
            ("prepare", "cached"),
            ("train", "interrupted"),
        ]
    );

    // Resuming one names the other, and a run without anything to resume names both.
    let said = |arguments: &[&str], code: i32| {
        let output = program.run(arguments);
        let said = self::text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    };
    let retried = said(&["retry", "sweep-1"], 130);
    let other = "other runs have unfinished stages: sweep-2 (interrupted);";
    assert!(retried.contains(other), "{retried}");
    program.succeed(&["run", SMOKE, "--until", "prepare"]);
    let nothing = said(&["retry"], 1);
    assert!(
        nothing.contains("run smoke-1 has nothing to retry")
            && nothing.contains("sweep-3 (interrupted), sweep-2 (interrupted)"),
        "{nothing}"
    );
}
