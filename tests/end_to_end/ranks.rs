//! Several processes that train one network: as one process does but for rounding, and as safe.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::lost_ranks::{ranks, wait_for_the_end_of};
use crate::program::{Program, differences, has_checkpoint, send, with};

const TRAIN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "train"];

/// What makes sums comparable: one thread each, and numbers whose rounding is less than what is looked for.
const PLAIN: &[&str] = &[
    "stages.train.threads=1",
    "stages.train.precision=float32",
    // Several rounds, whose images the ranks share too.
    "stages.train.gradient_accumulation=2",
    "stages.train.learning_rate_rampup_images=40",
    "stages.train.learning_rate_decay_images=0",
    "stages.train.keep_checkpoint=true",
    // Every step.
    "stages.train.log_every_seconds=0",
];

/// Trains with so many processes.
fn trained(ranks: &str, images: u32) -> Program {
    let program = Program::new();
    let (ranks, images) = (
        format!("stages.train.ranks={ranks}"),
        format!("stages.train.duration_images={images}"),
    );
    program.succeed(&with(TRAIN, &[PLAIN, &[&ranks, &images]].concat()));
    program
}

/// The numbers of the tensors in a safetensors file whose names begin with `prefix`, in the file's order.
fn numbers(path: &Path, prefix: &str) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(&rest[..length]).unwrap();
    let mut places: Vec<(usize, usize)> = header
        .iter()
        .filter(|(name, tensor)| name.starts_with(prefix) && tensor["dtype"] == "F32")
        .map(|(_, tensor)| {
            let place = |index: usize| tensor["data_offsets"][index].as_u64().unwrap() as usize;
            (place(0), place(1))
        })
        .collect();
    places.sort_unstable();
    assert!(!places.is_empty(), "no tensor is called `{prefix}…`");
    places
        .into_iter()
        .flat_map(|(begin, end)| rest[length..][begin..end].chunks_exact(4))
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()).into())
        .collect()
}

/// The norm of a difference, in terms of the norm of what is expected.
fn relative_error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let pairs = found.iter().zip(expected);
    let error = norm(&mut pairs.map(|(one, other)| one - other));
    (error / norm(&mut expected.iter().copied())).sqrt()
}

/// The loss of each step.
fn losses(program: &Program) -> Vec<(u64, f64)> {
    let rows = program.rows(&[
        "query",
        "SELECT step, value FROM metrics WHERE name = 'loss' ORDER BY step",
    ]);
    rows.iter()
        .map(|row| {
            (
                row["step"].as_u64().unwrap(),
                row["value"].as_f64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn ranks_train_the_network_of_one_process() {
    const IMAGES: u32 = 320;
    let alone = trained("1", IMAGES);
    let network = |program: &Program| {
        let path = program.artifact("train").join("network.safetensors");
        numbers(&path, "")
    };
    let expected = (network(&alone), losses(&alone));
    assert!(expected.1.len() >= 20, "{:?}", expected.1);
    for ranks in ["2", "3"] {
        let [first, second] = [trained(ranks, IMAGES), trained(ranks, IMAGES)];
        assert_eq!(
            differences(&first.artifacts(), &second.artifacts()),
            Vec::<PathBuf>::new(),
            "{ranks} ranks, twice"
        );
        let error = relative_error(&network(&first), &expected.0);
        assert!(error < 1e-4, "{ranks} ranks: {error}");
        let found = losses(&first);
        assert_eq!(found.len(), expected.1.len());
        for ((step, loss), (expected_step, expected)) in found.into_iter().zip(&expected.1) {
            assert_eq!(step, *expected_step);
            let error = (loss / expected - 1.0).abs();
            assert!(error < 1e-4, "{ranks} ranks, after {step} images: {error}");
        }
    }
}

#[test]
fn the_gradients_of_a_step_are_those_of_one_process() {
    // After one step, Adam's first moment is the gradient but for a factor.
    let gradients = |ranks| {
        let program = trained(ranks, 8);
        let path = program.artifact("train").join("checkpoint.safetensors");
        numbers(&path, "optimizer.m/")
    };
    let expected = gradients("1");
    for ranks in ["2", "3"] {
        let error = relative_error(&gradients(ranks), &expected);
        assert!(error < 1e-6, "{ranks} ranks: {error}");
    }
}

#[test]
fn a_training_goes_on_with_another_number_of_ranks() {
    const IMAGES: u32 = 320;
    let network = |program: &Program| {
        let path = program.artifact("train").join("network.safetensors");
        numbers(&path, "")
    };
    let alone = trained("1", IMAGES);
    let program = Program::new();
    let images = format!("stages.train.duration_images={IMAGES}");
    for (ranks, most) in [("1", "0.1"), ("2", "0.2"), ("3", "1")] {
        let ranks = format!("stages.train.ranks={ranks}");
        let most = format!("stages.train.max_kimg={most}");
        let settings = [PLAIN, &[&images, &ranks, &most]].concat();
        let output = program.run(&with(TRAIN, &settings));
        let said = String::from_utf8_lossy(&output.stderr);
        // All but the last one stop on the way.
        let is_done = program.home().join("artifacts/train").exists();
        assert_eq!(is_done, most.ends_with("=1"), "{most}: {said}");
        assert_eq!(has_checkpoint(program.home()), !is_done, "{most}: {said}");
    }
    let error = relative_error(&network(&program), &network(&alone));
    assert!(error < 1e-4, "{error}");
    // Each part has made its own steps, and no others.
    let [found, expected] = [&program, &alone].map(losses);
    assert_eq!(found.len(), expected.len());
    for ((step, loss), (expected_step, expected)) in found.into_iter().zip(expected) {
        assert_eq!(step, expected_step);
        let error = (loss / expected - 1.0).abs();
        assert!(error < 1e-4, "after {step} images: {error}");
    }
}

#[test]
fn doctor_forms_a_group_and_says_what_it_found() {
    let program = Program::new();
    // Where weights are missing it says so, and fails.
    let output = program.run(&["doctor", "--ranks", "2", "--parameters", "100000"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let begin = format!("2 ranks on {}, Gloo by ", host.trim());
    // The table wraps it.
    let words: Vec<&str> = said.split_whitespace().collect();
    let words = words.join(" ");
    let (before, line) = words.split_once(&begin).unwrap_or_else(|| panic!("{said}"));
    assert!(before.trim_end().ends_with("ok ranks"), "{said}");
    assert!(!line.contains("no network"), "{line}");
    for part in [
        "one number in ",
        " ms, 100000 parameters (0 MB) in ",
        " GB/s",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let left = std::fs::read_dir(program.home()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name());
    assert!(
        !left.any(|name| name.to_string_lossy().starts_with(".doctor-")),
        "its folder is left"
    );
}

/// A pipeline whose stages after a short training are done by so many processes.
fn shared(ranks: &str) -> Vec<String> {
    let mut settings = vec![
        "stages.train.threads=1".to_owned(),
        "stages.train.duration_images=160".to_owned(),
        "stages.train.learning_rate_decay_images=0".to_owned(),
        "stages.reference.batch_size=24".to_owned(),
        "stages.sample.images_per_shard=6".to_owned(),
    ];
    for stage in ["reference", "sample", "evaluate"] {
        settings.push(format!("stages.{stage}.threads=1"));
        settings.push(format!("stages.{stage}.ranks={ranks}"));
        settings.push(format!("stages.{stage}.retries=3"));
        settings.push(format!("stages.{stage}.collective_timeout_minutes=0.1"));
    }
    settings
}

fn pipeline(settings: &[String]) -> Vec<&str> {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    with(&["run", "pipelines/smoke.toml"], &settings)
}

#[test]
fn ranks_sample_and_measure_as_one_process() {
    let [one, three] = ["1", "3"].map(shared);
    let alone = Program::new();
    alone.succeed(&pipeline(&one));
    let program = Program::new();
    program.succeed(&pipeline(&three));
    assert_eq!(
        differences(&alone.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );

    // The same, with a rank killed, or stopped for good, that samples.
    for (signal, cause) in [
        ("KILL", "was killed (signal 9)"),
        ("STOP", "rank 1 has shown no sign of life"),
    ] {
        let program = Program::new();
        program.succeed(&[&pipeline(&three)[..], &["--until", "train"]].concat());
        let mut child = program.start(&pipeline(&three));
        let begin = Instant::now();
        let victim = loop {
            let ranks = ranks(child.id());
            let log = program.home().join("logs/smoke-2/sample.log");
            if log.exists() && ranks.len() == 3 {
                break ranks[1].clone();
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
            assert!(begin.elapsed() < Duration::from_mins(2), "nothing happens");
            std::thread::sleep(Duration::from_millis(2));
        };
        send(signal, &victim);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let failed = "SELECT error FROM attempts WHERE error IS NOT NULL";
        let failed = program.rows(&["query", failed]);
        assert!(
            failed.len() == 1 && failed[0]["error"].to_string().contains(cause),
            "{failed:?}"
        );
        assert_eq!(
            differences(&alone.artifacts(), &program.artifacts()),
            Vec::<PathBuf>::new(),
            "{signal}"
        );
        wait_for_the_end_of(&[victim], signal);
    }
}

/// The latent pipeline, of which so many processes encode and reconstruct.
fn latent(ranks: &str) -> Vec<String> {
    let mut settings = vec!["stages.autoencoder.threads=1".to_owned()];
    for stage in ["encode", "reconstruct"] {
        settings.push(format!("stages.{stage}.threads=1"));
        settings.push(format!("stages.{stage}.ranks={ranks}"));
    }
    settings
}

#[test]
fn ranks_encode_and_reconstruct_as_one_process() {
    let [alone, program] = ["1", "3"].map(|ranks| {
        let program = Program::new();
        let settings = latent(ranks);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let run = [
            "run",
            "pipelines/smoke-latent.toml",
            "--until",
            "reconstruct",
        ];
        program.succeed(&with(&run, &settings));
        program
    });
    let shards = std::fs::read_dir(program.artifact("encode")).unwrap();
    let shards = shards.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("shard-")
    });
    assert!(shards.count() >= 3);
    assert_eq!(
        differences(&alone.artifacts(), &program.artifacts()),
        Vec::<PathBuf>::new()
    );
}
