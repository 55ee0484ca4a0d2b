//! Killed at any moment, a pipeline ends with the bytes of an undisturbed run.
//!
//! PATCHWORK_CRASH_ROUNDS says how many pipelines are killed to their end: a few in the tests, many by `just crash`.

use std::path::PathBuf;
use std::process::Child;
use std::time::Instant;

use patchwork_core::Seed;

use crate::latents::RUN as LATENT_RUN;
use crate::program::{Program, children, differences, kill};
use crate::resume::RUN;

const ROUNDS: u64 = 2;

/// Kills in each round, at most; what an attempt finished shortens the next one.
const KILLS: u64 = 4;

/// What is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Supervisor,
    Worker,
    Both,
}

impl Victim {
    const ALL: [Self; 3] = [Self::Supervisor, Self::Worker, Self::Both];

    fn kill(self, supervisor: &mut Child) {
        // All may be over already on a machine that is suddenly faster.
        let workers = children(supervisor.id());
        if !matches!(self, Self::Worker) {
            let _ = supervisor.kill();
        }
        if !matches!(self, Self::Supervisor) {
            for worker in &workers {
                kill(worker);
            }
        }
    }
}

#[test]
fn a_killed_run_loses_nothing() {
    kill_at_random(RUN);
}

#[test]
fn a_killed_run_in_latent_mode_loses_nothing() {
    kill_at_random(LATENT_RUN);
}

fn kill_at_random(run: &[&str]) {
    let rounds =
        std::env::var("PATCHWORK_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let undisturbed = Program::new();
    let begin = Instant::now();
    undisturbed.succeed(run);
    let length = begin.elapsed();
    let artifacts = undisturbed.artifacts();
    for round in 0..rounds {
        let mut chance = Seed::new(round).derive("crash").stream();
        let killed = Program::new();
        let mut context = Vec::new();
        for _ in 0..KILLS {
            let victim = Victim::ALL[chance.below(3) as usize];
            let share = 0.05 + 0.5 * chance.uniform();
            context.push(format!("{victim:?} after {share:.2}"));
            let mut child = killed.start(run);
            std::thread::sleep(length.mul_f64(share));
            victim.kill(&mut child);
            child.wait().unwrap();
        }
        killed.succeed(run);
        let context = format!("round {round}: {}", context.join(", "));
        assert_eq!(
            differences(&artifacts, &killed.artifacts()),
            Vec::<PathBuf>::new(),
            "{context}"
        );
        check_history(&killed, &context);
    }
}

/// The registry is whole and says what happened.
fn check_history(program: &Program, context: &str) {
    let check = program.rows(&["query", "PRAGMA integrity_check"]);
    assert_eq!(check[0]["integrity_check"], "ok", "{context}");
    for (what, sql) in [
        (
            "stages are at work",
            "SELECT name FROM stages WHERE status IN ('running', 'pending')",
        ),
        (
            "attempts are open",
            "SELECT id FROM attempts WHERE ended IS NULL",
        ),
        (
            "stages were done twice",
            "SELECT fingerprint FROM stages WHERE status = 'succeeded'
             GROUP BY fingerprint HAVING COUNT(*) > 1",
        ),
        (
            "a run ended before it started",
            "SELECT name FROM runs WHERE ended < started OR ended IS NULL",
        ),
    ] {
        let rows = program.rows(&["query", sql]);
        assert!(rows.is_empty(), "{what}: {rows:?}; {context}");
    }
}
