//! Groups of real processes: this program starts itself once a rank.
//!
//! Each scenario is a function of a [`Rank`]; what a rank prints is what its test looks at.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use patchwork_collectives::{
    Backend, CollectiveError, Group, Hosts, Identity, JoinOptions, Membership, Reduction,
    Rendezvous,
};
use tch::{Device, Kind, Tensor};

const SCENARIO: &str = "PATCHWORK_TEST_SCENARIO";
const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

/// What a rank's process does. Its lines begin with `> `, apart from those of the test harness.
fn scenario(name: &str, rank: u32, ranks: u32, file: &Path) -> Result<(), CollectiveError> {
    tch::set_num_threads(1);
    let join = |identity: Identity| {
        let membership = Membership {
            rank,
            ranks,
            local_rank: rank,
            local_ranks: ranks,
        };
        let rendezvous = Rendezvous::File {
            path: file.to_owned(),
            hosts: Hosts::This,
        };
        let options = JoinOptions {
            backend: Backend::Gloo { host: None },
            join_timeout: Duration::from_secs(if name == "absent" { 1 } else { 60 }),
            timeout: Duration::from_secs(match name {
                "stopped" | "solo" => 2,
                _ => 60,
            }),
            identity,
        };
        Group::join(membership, &rendezvous, &options)
    };
    let identity = Identity::default().with("settings", "digest");
    match name {
        "sums" => sums(&join(identity)?),
        "differing" => {
            let seed = if rank == 1 { "8" } else { "7" };
            join(identity.with("seed", seed)).map(|_| ())
        }
        "absent" => join(identity).map(|_| ()),
        "solo" => {
            let group = join(identity)?;
            for round in 0..3 {
                // Longer than the timeout, once.
                let pause = if round == 1 { 3000 } else { 0 };
                let value = group.on_first(|| {
                    std::thread::sleep(Duration::from_millis(pause));
                    round
                })?;
                assert_eq!(value, (rank == 0).then_some(round));
                let answers = group.any([rank == ranks - 1, false, rank == 0])?;
                assert_eq!(answers, [true, false, true]);
            }
            println!("> at work");
            group.on_first(|| std::thread::sleep(Duration::from_mins(1)))?;
            group.leave()
        }
        // All-reduces without end.
        "killed" | "stopped" => {
            let group = join(identity)?;
            let mut tensor = Tensor::ones([1000], FLOAT);
            for step in 0.. {
                group.all_reduce(&mut [&mut tensor], Reduction::Average)?;
                if step == 5 {
                    println!("> at work");
                }
            }
            Ok(())
        }
        other => panic!("there is no scenario `{other}`"),
    }
}

fn sums(group: &Group) -> Result<(), CollectiveError> {
    let Membership { rank, ranks, .. } = group.membership();
    let all = f64::from(ranks);
    // Sums whose rounding depends on the order.
    let mut bits = Vec::new();
    for _ in 0..3 {
        let mut tensor = ((Tensor::arange(100_003, FLOAT) + i64::from(rank) * 7) * 0.37).sin();
        let expected: Tensor = (0..i64::from(ranks))
            .map(|rank| ((Tensor::arange(100_003, FLOAT) + rank * 7) * 0.37).sin())
            .sum();
        group.all_reduce(&mut [&mut tensor], Reduction::Sum)?;
        assert!(tensor.allclose(&expected, 0.0, 1e-5, false));
        bits.push(
            Vec::<f32>::try_from(&tensor)
                .unwrap()
                .iter()
                .fold(0_u64, |hash, value| {
                    hash.wrapping_mul(31).wrapping_add(value.to_bits().into())
                }),
        );
    }
    println!("> {bits:x?}");
    assert!(bits.iter().all(|one| *one == bits[0]));

    // Several at once, some of them views with strides, one a parameter.
    let base = Tensor::ones([4, 6], FLOAT) * i64::from(rank + 1);
    let (mut column, mut transposed) = (base.select(1, 2), base.narrow(1, 3, 2).tr());
    let mut parameter = (Tensor::ones([3], FLOAT) * i64::from(rank)).set_requires_grad(true);
    group.all_reduce(
        &mut [&mut column, &mut transposed, &mut parameter],
        Reduction::Average,
    )?;
    let mean = f64::midpoint(all, 1.0);
    let expected = Tensor::ones([4, 6], FLOAT) * i64::from(rank + 1);
    let _ = expected.narrow(1, 2, 3).fill_(mean);
    assert!(base.equal(&expected), "{base}");
    assert!(parameter.detach().eq(mean - 1.0).all().int64_value(&[]) == 1);

    // Channels last.
    let mut image = (Tensor::ones([2, 4, 4, 3], FLOAT) * i64::from(rank)).permute([0, 3, 1, 2]);
    group.broadcast(&mut [&mut image, &mut column], ranks - 1)?;
    assert!(image.eq(all - 1.0).all().int64_value(&[]) == 1);

    let own = Tensor::from_slice(&[i64::from(rank), 10 + i64::from(rank)]);
    let gathered = group.all_gather(&own)?;
    assert_eq!(gathered.size(), [i64::from(ranks), 2]);
    for other in 0..i64::from(ranks) {
        let row = Vec::<i64>::try_from(gathered.get(other)).unwrap();
        assert_eq!(row, [other, 10 + other]);
    }
    let misuse = group.all_reduce(&mut [&mut own.copy()], Reduction::Average);
    assert!(misuse.unwrap_err().to_string().contains("cannot be done"));
    group.barrier()
}

/// The rank's side: does nothing in the test run itself.
#[test]
fn rank() {
    let Ok(name) = std::env::var(SCENARIO) else {
        return;
    };
    let number = |variable: &str| std::env::var(variable).unwrap().parse().unwrap();
    let file = PathBuf::from(std::env::var("PATCHWORK_TEST_FILE").unwrap());
    match scenario(&name, number("RANK"), number("WORLD_SIZE"), &file) {
        Ok(()) => println!("> done"),
        Err(error) => {
            println!("> error: {error}");
            println!("> because: {:?}", std::error::Error::source(&error));
        }
    }
}

/// A rank's process, ended with the test.
struct Rank {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Rank {
    fn start(scenario: &str, rank: u32, ranks: u32, folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "rank", "--nocapture"])
            .env(SCENARIO, scenario)
            .env("RANK", rank.to_string())
            .env("WORLD_SIZE", ranks.to_string())
            .env("PATCHWORK_TEST_FILE", folder.join("rendezvous.json"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its next line.
    fn line(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the rank says more").unwrap();
            // The harness may have begun the line.
            if let Some((_, line)) = line.split_once("> ") {
                return line.to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(scenario: &str, started: u32, ranks: u32) -> (tempfile::TempDir, Vec<Rank>) {
    let folder = tempfile::tempdir().unwrap();
    let started = (0..started)
        .map(|rank| Rank::start(scenario, rank, ranks, folder.path()))
        .collect();
    (folder, started)
}

#[test]
fn operations_give_the_same_on_every_rank() {
    for ranks in 1..=3 {
        let (_folder, mut started) = start("sums", ranks, ranks);
        let first: Vec<String> = started.iter_mut().map(Rank::line).collect();
        assert!(first.iter().all(|bits| *bits == first[0]), "{first:?}");
        for rank in &mut started {
            assert_eq!(rank.line(), "done");
        }
    }
}

#[test]
fn a_killed_rank_is_named_within_a_second() {
    for victim in 0..3 {
        let (_folder, mut started) = start("killed", 3, 3);
        for rank in &mut started {
            assert_eq!(rank.line(), "at work");
        }
        started[victim].signal("KILL");
        let killed = Instant::now();
        for (index, rank) in started.iter_mut().enumerate() {
            if index != victim {
                let line = rank.line();
                let words = format!("error: all-reduce failed: rank {victim} ended or hangs");
                assert_eq!(line, words);
            }
        }
        let took = killed.elapsed();
        assert!(took < Duration::from_secs(1), "rank {victim}: {took:?}");
    }
}

#[test]
fn a_rank_that_hangs_is_named_after_the_timeout() {
    for victim in 0..2 {
        let (_folder, mut started) = start("stopped", 2, 2);
        for rank in &mut started {
            assert_eq!(rank.line(), "at work");
        }
        started[victim].signal("STOP");
        let stopped = Instant::now();
        let line = started[1 - victim].line();
        assert_eq!(
            line,
            format!("error: all-reduce failed: rank {victim} ended or hangs")
        );
        let took = stopped.elapsed();
        assert!(
            took > Duration::from_secs(1) && took < Duration::from_secs(10),
            "{took:?}"
        );
    }
}

#[test]
fn rank_0_may_take_its_time_alone_but_not_hang() {
    for signal in ["STOP", "KILL"] {
        let (_folder, mut started) = start("solo", 2, 2);
        for rank in &mut started {
            assert_eq!(rank.line(), "at work");
        }
        started[0].signal(signal);
        let line = started[1].line();
        assert_eq!(
            line,
            "error: waiting for rank 0 failed: rank 0 ended or hangs"
        );
    }
}

#[test]
fn ranks_that_differ_refuse_each_other() {
    let (_folder, mut started) = start("differing", 3, 3);
    for rank in &mut started {
        let expected = "error: rank 1 has another seed than rank 0: `8` instead of `7`; \
                        start all ranks from the same one";
        assert_eq!(rank.line(), expected);
    }
}

#[test]
fn ranks_that_do_not_come_are_named() {
    let (_folder, mut started) = start("absent", 2, 4);
    let mut lines: Vec<String> = started.iter_mut().map(Rank::line).collect();
    lines.sort();
    // Who comes first, and so whose second is over first, is open.
    assert!(
        lines
            .iter()
            .any(|line| line == "error: ranks 2, 3 did not join within 1 s"),
        "{lines:?}"
    );
    assert!(
        lines.iter().all(|line| line.contains("did not join")),
        "{lines:?}"
    );
}
