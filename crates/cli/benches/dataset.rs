//! The other part of `just bench dataset`: how much of a training step of the demo goes into its batch.
//!
//! The training itself measures it: choosing the patches, copying them, and drawing their noise and labels.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::path::Path;
use std::process::{Command, Stdio};

const PIPELINE: &str = "pipelines/demo.toml";
/// The largest share that it is to be.
const LIMIT: f64 = 0.02;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let patchwork = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_patchwork"))
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .env("PATCHWORK_HOME", home.path())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", output.status);
        output.stdout
    };
    patchwork(&[
        "run",
        PIPELINE,
        "--until",
        "train",
        "--set",
        "stages.train.duration_images=2400",
        "--set",
        "stages.train.learning_rate_decay_images=800",
        "--set",
        "stages.train.learning_rate_rampup_images=800",
        "--set",
        "stages.train.log_every_seconds=2",
    ]);
    let question = "SELECT value FROM metrics WHERE name = 'data_share' ORDER BY step";
    let answer = patchwork(&["query", question, "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&answer).unwrap();
    let mut shares: Vec<f64> = rows
        .iter()
        .map(|row| row["value"].as_f64().unwrap())
        .collect();
    shares.sort_by(f64::total_cmp);
    let share = shares[shares.len() / 2];
    println!(
        "loader: {:.2} % of a training step of the demo goes into its batch, the median of {} windows ({:.2} of the \
         limit of {:.0} %)",
        share * 100.0,
        shares.len(),
        share / LIMIT,
        LIMIT * 100.0
    );
}
