//! Sweeps over seeds: what runs of several seeds have in common is compared with its spread, and the experiments that ship.

use std::path::PathBuf;

use serde_json::Value;

use crate::program::{Program, text, with, workspace};

/// A pipeline of three seeds, once with a rate at which nothing is learned.
fn sweep(program: &Program) -> PathBuf {
    let path = program.home().join("sweep.toml");
    let smoke = workspace().join("pipelines/smoke.toml");
    let pipeline = format!(
        "name = \"sweep\"\nextends = \"{}\"\n[stages.train]\nduration_images = 1800\n[stages.evaluate]\nbaselines = []\n\
         [matrix]\nseed = [0, 1, 2]\n\"stages.train.learning_rate\" = [0.001, 1e-9]\n",
        smoke.display()
    );
    std::fs::write(&path, pipeline).unwrap();
    path
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value}"))
}

const METRIC: [&str; 3] = ["compare", "--metric", "fd_efficientnet_lite0"];

#[test]
fn seeds_are_taken_together_with_their_spread() {
    let program = Program::new();
    let sweep = sweep(&program);
    program.succeed(&["run", text(&sweep)]);
    let over = [&METRIC[..], &["--over", "seed"]].concat();
    let (ranked, groups) = (program.rows(&METRIC), program.rows(&over));
    assert_eq!((ranked.len(), groups.len()), (6, 2));
    for group in &groups {
        let settings = group["settings"].as_object().unwrap();
        let names: Vec<&str> = settings.keys().map(String::as_str).collect();
        assert_eq!(names, ["train.learning_rate"], "{group}");
        let values: Vec<f64> = ranked
            .iter()
            .filter(|row| row["settings"]["train.learning_rate"] == settings["train.learning_rate"])
            .map(|row| number(&row["value"]))
            .collect();
        let mean = values.iter().sum::<f64>() / 3.0;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        assert!((number(&group["mean"]) - mean).abs() < 1e-9, "{group}");
        let deviation = (squares / 2.0).sqrt();
        assert!((number(&group["deviation"]) - deviation).abs() < 1e-9);
        assert_eq!(group["seeds"], 3);
        assert_eq!(group["seed_values"], serde_json::json!(["0", "1", "2"]));
        assert_eq!(group["values"].as_array().unwrap().len(), 3);
    }
    assert_eq!(groups[0]["settings"]["train.learning_rate"], "0.001");
    assert_eq!(groups[0]["difference"], "best");
    assert_eq!(groups[1]["difference"], "beyond spread");
    let csv = program.succeed(&[&over[..], &["--format", "csv"]].concat());
    assert!(csv.starts_with("rank,of,images_seen,mean,deviation,seeds,difference"));
    assert!(csv.contains(",0 1 2,"), "{csv}");

    let names: Vec<String> = (1..=6).map(|number| format!("sweep-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let plot = program.home().join("curves.png");
    let side_by_side = [&["compare"], &names[..], &["--over", "seed"]].concat();
    let table = program.succeed(&[&side_by_side[..], &["--plot", text(&plot)]].concat());
    for words in [
        "sweep-1 (3 seeds)",
        "sweep-2 (3 seeds)",
        "±",
        "beyond spread",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    for file in ["curves.png", "curves-hours.png"] {
        let bytes = std::fs::read(program.home().join(file)).unwrap();
        assert!(bytes.starts_with(b"\x89PNG"), "{file}");
    }
    let object = program.succeed(&[&side_by_side[..], &["--format", "json"]].concat());
    let object: Value = serde_json::from_str(&object).unwrap();
    let settings = object["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 1, "{settings:?}");
    let scores = object["scores"].as_array().unwrap();
    let row = |what: &str| scores.iter().find(|row| row["what"] == what).unwrap();
    let mean = &row("fd_efficientnet_lite0 of sample")["sweep-1_(3_seeds)"];
    let mean: f64 = mean.as_str().unwrap().parse().unwrap();
    assert_eq!(mean.to_bits(), number(&groups[0]["mean"]).to_bits());
    assert_eq!(
        row("fd_efficientnet_lite0 of sample, seeds")["sweep-2_(3_seeds)"],
        "3"
    );
    // One seed has no spread, and no difference can be called such.
    let two = program.succeed(&["compare", "sweep-1", "sweep-2", "--over", "seed"]);
    assert!(two.contains("unknown: one seed"), "{two}");

    // What a fourth seed would take is known by the third.
    let fourth = std::fs::read_to_string(&sweep).unwrap();
    std::fs::write(&sweep, fourth.replace("[0, 1, 2]", "[3]")).unwrap();
    let explain = [
        "explain",
        text(&sweep),
        "--set",
        "stages.train.duration_images=3600",
    ];
    let explained = program.rows(&explain);
    let train = (explained.iter())
        .find(|stage| stage["stage"] == "train")
        .unwrap();
    assert_eq!(train["fate"], "run");
    assert!(number(&train["expected_seconds"]) > 0.0, "{train}");
    let said = program.succeed(&explain);
    assert!(said.contains("to compute, about "), "{said}");
}

#[test]
fn experiments_that_ship_are_planned_from_their_folder() {
    let program = Program::new();
    let folder = workspace().join("pipelines/experiments");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let file = format!("pipelines/experiments/{name}");
        let absent = "stages.prepare.source=absent";
        // The sources of others are not there, and neither is what the matrix sets.
        let from_elsewhere = name.starts_with("generalisation-");
        let set: &[&str] = if from_elsewhere {
            &["--set", absent]
        } else {
            &[]
        };
        let output = program.run(&[&["run", &file, "--dry-run"], set].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{name}: {said}");
        assert!(said.contains("combination 1 of "), "{name}: {said}");
        if name == "generalisation.toml" && said.contains("there is no source") {
            assert!(said.contains("npm pack emoji-datasource-google"), "{said}");
        }
        if from_elsewhere {
            assert!(said.contains("hint: get "), "{name}: {said}");
        }
    }
}

/// A rate that rises until the loss does, which other trainings of the same length do not.
#[test]
fn failures_are_named_with_their_values() {
    let program = Program::new();
    let train = [
        "run",
        "pipelines/smoke.toml",
        "--until",
        "train",
        "--set",
        "stages.train.duration_images=3000",
        "--set",
        "stages.train.log_every_seconds=0",
        "--set",
        "stages.train.on_divergence=\"continue\"",
    ];
    let rising = [
        "--set",
        "stages.train.learning_rate=0.3",
        "--set",
        "stages.train.learning_rate_rampup_images=2700",
    ];
    program.succeed(&[&train[..], &rising].concat());
    program.succeed(&train);
    let (failed, sound) = (
        program.succeed(&["show", "smoke-1"]),
        program.succeed(&["show", "smoke-2"]),
    );
    let highest = "SELECT max FROM metric_summary WHERE name = 'loss_ratio' AND run_id = 1";
    let highest = number(&program.rows(&["query", highest])[0]["max"]);
    let named = format!("signature: oscillating loss: it rose to {highest:.2} times");
    assert!(highest > 1.5 && failed.contains(&named), "{failed}");
    assert!(!sound.contains("oscillating"), "{sound}");
    let compared = program.run(&["compare", "smoke-1", "smoke-2"]);
    let said = String::from_utf8(compared.stderr).unwrap();
    assert!(said.contains(&format!("smoke-1: {named}")), "{said}");
    assert!(!said.contains("smoke-2: signature: oscillating"), "{said}");
}

/// The command on the page of experiments computes what the sweep has computed.
#[test]
fn a_row_of_an_experiment_is_one_command() {
    let program = Program::new();
    let row = with(
        &["configs/experiment-emoji.toml"],
        &[
            "name=row",
            "seed=1",
            "stages.train.full_image_ratio=0.0",
            "stages.train.patch_sizes=[\"half\"]",
        ],
    );
    let page = std::fs::read_to_string(workspace().join("docs/experiments.md")).unwrap();
    let command = format!("patchwork run {}", row.join(" "));
    assert!(page.replace('\'', "").contains(&command), "{command}");
    let fingerprints = |arguments: &[&str]| -> Vec<String> {
        let rows = program.rows(&[&["explain"], arguments].concat());
        let texts = rows.iter().map(|row| row["fingerprint"].as_str().unwrap());
        texts.map(str::to_owned).collect()
    };
    let sweep = fingerprints(&["pipelines/experiments/first-1-patches.toml"]);
    let row = fingerprints(&row);
    assert_eq!((sweep.len(), row.len()), (6 * 7, 7));
    assert!(row.iter().all(|stage| sweep.contains(stage)), "{row:?}");
}
