//! Asked to stop, a run ends in order; started twice, it does the work once.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::program::Program;

/// Enough training for several checkpoints, every shard small.
pub(crate) const RUN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--set",
    "stages.train.checkpoint_minutes=0.005",
    // What training draws and keeps beyond the plain way.
    "--set",
    "stages.train.augment_probability=0.15",
    "--set",
    "stages.train.ema=power",
    "--set",
    "stages.train.snapshot_images=[200, 400]",
    // Each of them measured.
    "--set",
    "stages.train.snapshot_evaluation={samples = 24, steps = 2, reference_images = 48, batch_size = 10}",
    "--set",
    "stages.sample.ema_width=0.07",
];

fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        assert!(start.elapsed() < limit, "the program does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn signal(child: &Child, name: &str) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_terminated_run_stops_in_order_and_goes_on() {
    let program = Program::new();
    let mut child = program.start(RUN);
    let train = program.home().join("logs/smoke-1/train.log");
    let start = Instant::now();
    while !train.exists() {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "training does not begin"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "TERM");
    assert_eq!(wait(&mut child, Duration::from_mins(1)), Some(143));
    let status = |run: &str| {
        let sql = format!("SELECT status FROM runs WHERE name = '{run}'");
        program.rows(&["query", &sql])[0]["status"].clone()
    };
    assert_eq!(status("smoke-1"), "interrupted");
    program.succeed(RUN);
    assert_eq!(status("smoke-2"), "succeeded");
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let program = Program::new();
    let mut children = [program.start(RUN), program.start(RUN)];
    for child in &mut children {
        assert_eq!(wait(child, Duration::from_mins(5)), Some(0));
    }
    let done = program.rows(&[
        "query",
        "SELECT kind, SUM(status = 'succeeded') AS n FROM stages GROUP BY kind ORDER BY kind",
    ]);
    assert!(done.iter().all(|row| row["n"] == 1), "{done:?}");
}
