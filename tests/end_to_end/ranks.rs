//! Several processes that train one network: as one process does but for rounding, and as safe.

use std::time::{Duration, Instant};

use crate::program::{Program, children, differences, kill, with};

const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];
const ONE_THREAD: &str = "stages.train.threads=1";

/// Trains a little with so many processes.
fn trained(ranks: &str) -> Program {
    let program = Program::new();
    let ranks = format!("stages.train.ranks={ranks}");
    let settings = [
        "stages.train.duration_images=160",
        "stages.train.learning_rate_rampup_images=40",
        "stages.train.learning_rate_decay_images=40",
        // Below, rounding alone is more than what is looked for.
        "stages.train.precision=float32",
        ONE_THREAD,
        &ranks,
    ];
    program.succeed(&with(TRAIN, &settings));
    program
}

/// All numbers of the network's file.
fn weights(program: &Program) -> Vec<f32> {
    let bytes = std::fs::read(program.artifact("train").join("network.safetensors")).unwrap();
    let (header, rest) = bytes.split_at(8);
    let header = u64::from_le_bytes(header.try_into().unwrap()) as usize;
    rest[header..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn ranks_train_the_network_of_one_process() {
    let alone = trained("1");
    let expected = weights(&alone);
    let norm =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    for ranks in ["2", "3"] {
        let [first, second] = [trained(ranks), trained(ranks)];
        assert_eq!(
            differences(&first.artifacts(), &second.artifacts()),
            Vec::<std::path::PathBuf>::new(),
            "{ranks} ranks, twice"
        );
        let found = weights(&first);
        assert_eq!(found.len(), expected.len());
        let pairs = || found.iter().zip(&expected);
        let error = norm(&mut pairs().map(|(one, other)| f64::from(one - other)));
        let size = norm(&mut expected.iter().map(|&value| f64::from(value)));
        let relative = (error / size).sqrt();
        assert!(relative < 1e-4, "{ranks} ranks: {relative}");
    }
}

/// A killed rank, whichever it is, ends the attempt with that cause, and the next attempt ends with the same bytes.
#[test]
fn a_killed_rank_is_retried_from_the_checkpoint() {
    let settings = [
        ONE_THREAD,
        "stages.train.ranks=2",
        "stages.train.retries=3",
        "stages.train.checkpoint_kimg=0.1",
    ];
    let run = with(TRAIN, &settings);
    let undisturbed = Program::new();
    undisturbed.succeed(&run);
    for victim in 0..2 {
        let program = Program::new();
        let mut child = program.start(&run);
        let ranks = wait_for_ranks(&mut child, &program);
        kill(&ranks[victim]);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let attempts = program.rows(&[
            "query",
            "SELECT error FROM attempts WHERE error IS NOT NULL",
        ]);
        let cause = format!("rank {victim}: the worker was killed (signal 9)");
        assert!(
            attempts.len() == 1 && attempts[0]["error"].to_string().contains(&cause),
            "{attempts:?}"
        );
        assert_eq!(
            differences(&undisturbed.artifacts(), &program.artifacts()),
            Vec::<std::path::PathBuf>::new(),
            "rank {victim}"
        );
        assert!(ranks.iter().all(|rank| !is_alive(rank)), "{ranks:?}");
    }
}

/// The processes of the training, in the order of their ranks, once it has a checkpoint.
fn wait_for_ranks(child: &mut std::process::Child, program: &Program) -> Vec<String> {
    let begin = Instant::now();
    loop {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        assert!(begin.elapsed() < Duration::from_mins(2), "nothing happens");
        let has_checkpoint = std::fs::read_dir(program.home().join("work"))
            .into_iter()
            .flatten()
            .filter_map(|folder| std::fs::read_dir(folder.ok()?.path().join("state")).ok())
            .flatten()
            .flatten()
            .any(|file| {
                let path = file.path();
                let is_record = path.extension().is_some_and(|end| end == "json");
                is_record
                    && file
                        .file_name()
                        .to_string_lossy()
                        .starts_with("checkpoint-")
            });
        let mut ranks = children(child.id());
        if has_checkpoint && ranks.len() == 2 {
            // Started one after the other.
            ranks.sort_by_key(|process| process.parse::<u32>().unwrap());
            return ranks;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_alive(process: &str) -> bool {
    std::path::Path::new("/proc").join(process).exists()
}
