//! Killed and stopped at any moment, a pipeline ends with the bytes of an undisturbed run.

use std::process::Child;
use std::time::{Duration, Instant};

use crate::program::{Program, differences};

/// Enough training for several checkpoints, every shard small.
const RUN: &[&str] = &[
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
fn a_killed_supervisor_loses_nothing() {
    let undisturbed = Program::new();
    let begin = Instant::now();
    undisturbed.succeed(RUN);
    let length = begin.elapsed();

    let killed = Program::new();
    // Moments all over the run; what an attempt finished shortens the next one.
    for share in [0.15, 0.3, 0.3, 0.3] {
        let mut child = killed.start(RUN);
        std::thread::sleep(length.mul_f64(share));
        // The run may be over already on a machine that is suddenly faster.
        let _ = child.kill();
        child.wait().unwrap();
    }
    killed.succeed(RUN);
    assert_eq!(
        differences(&undisturbed.artifacts(), &killed.artifacts()),
        Vec::<std::path::PathBuf>::new()
    );

    let check = killed.rows(&["query", "PRAGMA integrity_check"]);
    assert_eq!(check[0]["integrity_check"], "ok");
    let open = killed.rows(&[
        "query",
        "SELECT COUNT(*) AS n FROM stages WHERE status = 'running'",
    ]);
    assert_eq!(open[0]["n"], 0);
    let twice = killed.rows(&[
        "query",
        "SELECT fingerprint FROM stages WHERE status = 'succeeded' GROUP BY fingerprint HAVING COUNT(*) > 1",
    ]);
    assert!(twice.is_empty(), "stages were done twice: {twice:?}");
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
