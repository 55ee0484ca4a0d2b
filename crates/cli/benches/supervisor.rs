//! `just bench supervisor`: what the program itself costs beside its stages.
//!
//! A finished pipeline of five stages is to answer `run` within 0.3 s, a sweep of 200 runs of five stages is to be
//! planned within 2 s, and the supervisor is to take under 1 % of a core while a stage works. What it takes before and
//! between stages is the same however long they work, and is printed apart.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PIPELINE: &str = "pipelines/smoke.toml";
const REPEATS: usize = 9;

fn main() {
    let home = tempfile::tempdir().unwrap();
    let sweep = home.path().join("sweep.toml");
    let smoke = workspace().join(PIPELINE);
    let values: Vec<String> = (1..=200).map(|value| (value * 8).to_string()).collect();
    let text = format!(
        "name = \"sweep\"\nextends = \"{}\"\n[matrix]\n\"stages.train.ema_half_life_images\" = [{}]\n",
        smoke.display(),
        values.join(", ")
    );
    std::fs::write(&sweep, text).unwrap();

    // Two minutes of training at most; every other stage is over in seconds.
    let used = watch(&mut command(
        home.path(),
        &[
            "run",
            PIPELINE,
            "--set",
            "stages.train.duration_images=4000",
        ],
    ));
    report(
        "share of a core while a stage works, in %",
        used.in_stages.as_secs_f64() / used.stages.as_secs_f64() * 100.0,
        1.0,
    );
    println!(
        "{:<42} {:>8.3}   over {:.1} s of stages",
        "processor time beside stages, in s",
        used.beside_stages.as_secs_f64(),
        used.stages.as_secs_f64()
    );
    succeed(command(home.path(), &["run", PIPELINE]));
    let cached = median(|| succeed(command(home.path(), &["run", PIPELINE])));
    report("`run` of a finished pipeline, in s", cached, 0.3);
    let sweep = sweep.to_str().unwrap();
    let planned = median(|| succeed(command(home.path(), &["run", sweep, "--dry-run"])));
    report("plan of 200 runs of 5 stages, in s", planned, 2.0);
    let listed = median(|| succeed(command(home.path(), &["runs"])));
    report("`runs`, in s", listed, 0.3);
}

fn report(what: &str, value: f64, limit: f64) {
    println!(
        "{what:<42} {value:>8.3}   {:>5.2} of the limit {limit}",
        value / limit
    );
}

fn workspace() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patchwork"));
    command
        .args(arguments)
        .current_dir(workspace())
        .env("PATCHWORK_HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn succeed(mut command: Command) {
    assert!(command.status().unwrap().success(), "{command:?} fails");
}

fn median(mut action: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..REPEATS)
        .map(|_| {
            let begin = Instant::now();
            action();
            begin.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[REPEATS / 2]
}

/// The processor time of a supervisor alone, without its workers.
#[derive(Default)]
struct Used {
    /// While it had a worker.
    in_stages: Duration,
    /// While it had none: start, planning, recording, end.
    beside_stages: Duration,
    /// How long it had a worker.
    stages: Duration,
}

/// Runs a command to its end.
fn watch(command: &mut Command) -> Used {
    let mut child = command.spawn().unwrap();
    let folder = format!("/proc/{}", child.id());
    let mut used = Used::default();
    let (mut before, mut since) = (Duration::ZERO, Instant::now());
    loop {
        let now = Instant::now();
        // Fields 14 and 15 of proc_pid_stat(5): user and system time in hundredths of a second.
        let stat = std::fs::read_to_string(format!("{folder}/stat")).ok();
        if let Some(ticks) = stat.as_deref().and_then(ticks) {
            let total = Duration::from_millis(10 * ticks);
            if has_children(Path::new(&folder)) {
                used.in_stages += total.saturating_sub(before);
                used.stages += now - since;
            } else {
                used.beside_stages += total.saturating_sub(before);
            }
            before = total;
        }
        since = now;
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?} fails");
            return used;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether any thread of a process has a child.
fn has_children(process: &Path) -> bool {
    let threads = std::fs::read_dir(process.join("task"))
        .into_iter()
        .flatten();
    threads.flatten().any(|thread| {
        let children = std::fs::read_to_string(thread.path().join("children"));
        children.is_ok_and(|children| !children.trim().is_empty())
    })
}

fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    Some(user + fields.next()?.parse::<u64>().ok()?)
}
