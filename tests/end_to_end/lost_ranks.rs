//! Trainings of several ranks to which something happens: a rank that is killed, hangs or is asked to stop, and the
//! supervisor too. The next attempt ends with the same bytes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use patchwork_core::Seed;

use crate::program::{Program, children, differences, is_alive, send, wait_for_checkpoint, with};

const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];

/// A training of two processes with many checkpoints, in which one is missed soon.
const PAIR: &[&str] = &[
    "stages.train.threads=1",
    "stages.train.ranks=2",
    "stages.train.retries=9",
    "stages.train.checkpoint_kimg=0.1",
    "stages.train.collective_timeout_minutes=0.2",
];

/// A rank that is killed, or that hangs, is named, whichever it is; the others end with it, and the next attempt ends with
/// the same bytes.
#[test]
fn a_rank_that_is_killed_or_hangs_is_named_and_retried_from_the_checkpoint() {
    let run = with(TRAIN, PAIR);
    let undisturbed = Program::new();
    undisturbed.succeed(&run);
    for (signal, victim) in [("KILL", 0), ("KILL", 1), ("STOP", 0), ("STOP", 1)] {
        let program = Program::new();
        let mut child = program.start(&run);
        wait_for_checkpoint(&mut child, &program);
        let ranks = ranks(child.id());
        let begin = Instant::now();
        send(signal, &ranks[victim]);
        let story = format!("{signal} to rank {victim}");
        let failed = "SELECT error FROM attempts WHERE error IS NOT NULL";
        let attempts = loop {
            let attempts = program.rows(&["query", failed]);
            if !attempts.is_empty() {
                break attempts;
            }
            // The timeout of one that hangs is 12 s.
            let took = begin.elapsed();
            assert!(took < Duration::from_mins(1), "{story}: it is not missed");
            std::thread::sleep(Duration::from_millis(100));
        };
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{story}: {said}");
        let cause = match signal {
            "KILL" => format!("rank {victim}: the worker was killed (signal 9)"),
            _ => format!("rank {victim} "),
        };
        assert!(
            attempts.len() == 1 && attempts[0]["error"].to_string().contains(&cause),
            "{story}: {attempts:?}"
        );
        assert_eq!(program.rows(&["query", failed]).len(), 1, "{story}");
        assert_eq!(
            differences(&undisturbed.artifacts(), &program.artifacts()),
            Vec::<PathBuf>::new(),
            "{story}"
        );
        if signal == "KILL" {
            assert!(ranks.iter().all(|rank| !is_alive(rank)), "{ranks:?}");
        }
        wait_for_the_end_of(&ranks, &story);
    }
}

/// What happens to a training.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Supervisor(&'static str),
    Rank(usize, &'static str),
}

#[test]
fn a_killed_run_of_ranks_loses_nothing() {
    use Accident::{Rank, Supervisor};
    let run = with(TRAIN, PAIR);
    let undisturbed = Program::new();
    let begin = Instant::now();
    undisturbed.succeed(&run);
    let length = begin.elapsed();
    let rounds =
        std::env::var("PATCHWORK_CRASH_ROUNDS").map_or(1, |text| text.parse::<u64>().unwrap());
    let accidents = [
        Rank(0, "KILL"),
        Rank(1, "KILL"),
        Supervisor("KILL"),
        Rank(0, "STOP"),
        Rank(1, "STOP"),
        Rank(0, "TERM"),
        Rank(1, "TERM"),
        Supervisor("TERM"),
    ];
    for round in 0..rounds {
        let mut chance = Seed::new(round).derive("ranks").stream();
        let program = Program::new();
        let mut story = Vec::new();
        let mut seen = Vec::new();
        // One half of them in each round, in some order: each shortens what is left to the next.
        let mut left = accidents.to_vec();
        while left.len() > accidents.len() / 2 {
            let accident = left.remove(chance.below(left.len() as u64) as usize);
            let mut child = program.start(&run);
            std::thread::sleep(length.mul_f64(0.2 + 0.6 * chance.uniform()));
            let ranks = ranks(child.id());
            match accident {
                Supervisor(signal) => send(signal, &child.id().to_string()),
                // It may not have started yet.
                Rank(rank, signal) => {
                    if let Some(process) = ranks.get(rank) {
                        send(signal, process);
                    }
                }
            }
            seen.extend(ranks);
            seen.push(child.id().to_string());
            let status = child.wait().unwrap();
            story.push(format!("{accident:?}: {status}"));
        }
        program.succeed(&run);
        let story = format!("round {round}: {}", story.join(", "));
        assert_eq!(
            differences(&undisturbed.artifacts(), &program.artifacts()),
            Vec::<PathBuf>::new(),
            "{story}"
        );
        wait_for_the_end_of(&seen, &story);
    }
}

/// The processes of a run's training, in the order of their ranks: they are started one after the other.
pub(crate) fn ranks(supervisor: u32) -> Vec<String> {
    let mut ranks = children(supervisor);
    ranks.sort_by_key(|process| process.parse::<u32>().unwrap());
    ranks
}

/// Waits until none of these processes is left: a worker whose supervisor is killed ends at its next durable point.
pub(crate) fn wait_for_the_end_of(processes: &[String], story: &str) {
    let begin = Instant::now();
    while processes.iter().any(|process| is_alive(process)) {
        let took = begin.elapsed();
        assert!(took < Duration::from_mins(1), "{story}: {processes:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
