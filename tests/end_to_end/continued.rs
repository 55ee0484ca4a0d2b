//! A training that resumes from another one's checkpoint, under other settings.

use std::path::{Path, PathBuf};

use crate::program::{Program, with, workspace};

/// Rates and averages that do not depend on the duration.
const TRAIN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--until",
    "train",
    "--set",
    "stages.train.learning_rate_decay_images=0",
    "--set",
    "stages.train.snapshot_kimg=0.1",
    "--set",
    "stages.train.snapshot_samples=0",
];

const SHORT: &str = "stages.train.duration_images=300";
const LONG: &str = "stages.train.duration_images=600";

/// The training's artifact that has a file.
fn artifact_with(program: &Program, file: &str) -> PathBuf {
    let folders = std::fs::read_dir(program.home().join("artifacts/train")).unwrap();
    let mut folders = folders.map(|folder| folder.unwrap().path());
    folders.find(|folder| folder.join(file).exists()).unwrap()
}

fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_training_made_longer_is_the_longer_training() {
    let undisturbed = Program::new();
    undisturbed.succeed(&with(TRAIN, &[LONG]));

    let program = Program::new();
    program.succeed(&with(TRAIN, &[SHORT, "stages.train.keep_checkpoint=true"]));
    let short = artifact_with(&program, "checkpoint.safetensors");
    let checkpoint = short.join("checkpoint.safetensors");
    let resume = format!("stages.train.resume_from={}", checkpoint.display());
    program.succeed(&with(TRAIN, &[LONG, &resume]));

    // Its snapshots are those from the checkpoint on.
    let long = artifact_with(&program, "snapshot-000000500.safetensors");
    assert!(!long.join("snapshot-000000200.safetensors").exists());
    let expected = undisturbed.artifact("train");
    for file in [
        "network.safetensors",
        "snapshot-000000300.safetensors",
        "snapshot-000000500.safetensors",
    ] {
        assert!(
            bytes(&long.join(file)) == bytes(&expected.join(file)),
            "{file}"
        );
    }

    // The checkpoint is read as the averaged network that the shorter training ended with.
    let out = program.home().join("imported.safetensors");
    let [file, out_text] = [&checkpoint, &out].map(|path| path.to_str().unwrap());
    program.succeed(&["checkpoint", "import", file, "--out", out_text]);
    assert!(bytes(&out) == bytes(&short.join("network.safetensors")));
    let trained = [
        "checkpoint",
        "import",
        file,
        "--entry",
        "network",
        "--out",
        out_text,
        "--force",
    ];
    program.succeed(&trained);
    assert!(bytes(&out) != bytes(&short.join("network.safetensors")));

    // An average more, which half-lives would not know what to do with; one that was set aside.
    program.succeed(&with(
        TRAIN,
        &[
            SHORT,
            "stages.train.keep_checkpoint=true",
            "stages.train.ema=power",
        ],
    ));
    let folders = std::fs::read_dir(program.home().join("artifacts/train")).unwrap();
    let mut files = folders.map(|folder| folder.unwrap().path().join("checkpoint.safetensors"));
    let power = files
        .find(|file| file.exists() && *file != checkpoint)
        .unwrap();
    let power = format!("stages.train.resume_from={}", power.display());
    let aside = program.home().join("aside.safetensors");
    std::fs::copy(&checkpoint, &aside).unwrap();
    std::fs::write(aside.with_extension("unusable"), "{}").unwrap();
    let aside = format!("stages.train.resume_from={}", aside.display());

    let network = short.join("network.safetensors");
    let other = format!("stages.train.resume_from={}", network.display());
    let none = format!(
        "stages.train.resume_from={}",
        program.home().join("none").display()
    );
    let init = format!("stages.train.init_from={}", network.display());
    for (settings, code, words) in [
        (
            vec![SHORT, &resume],
            1,
            vec!["has seen", "not fewer than `duration_images` = 300"],
        ),
        (
            vec![LONG, &resume, "stages.train.network.model_channels=16"],
            1,
            vec!["resume_from", "[network]", "do not fit the network"],
        ),
        (
            vec![LONG, &resume, "stages.train.ema=power"],
            1,
            vec!["resume_from", "`ema`"],
        ),
        (vec![LONG, &power], 1, vec!["more averages than 1"]),
        (
            vec![LONG, &aside, "stages.train.learning_rate=0.0005"],
            1,
            vec!["set it aside"],
        ),
        (
            vec![LONG, &resume, "stages.train.preconditioning=vp"],
            1,
            vec!["`preconditioning` is"],
        ),
        (
            vec![LONG, &other],
            1,
            vec!["resume_from", "not a checkpoint of a training"],
        ),
        (vec![LONG, &none], 2, vec!["resume_from", "none"]),
        (
            vec![LONG, &resume, &init],
            2,
            vec!["resume_from", "leave out `init_from`"],
        ),
    ] {
        let output = program.run(&with(TRAIN, &settings));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is missing in: {said}");
        }
    }
}

#[test]
fn a_run_reports_the_unfinished_training_that_it_does_not_resume() {
    let program = Program::new();
    let halves = "stages.train.max_kimg=0.3";
    let output = program.run(&with(TRAIN, &[LONG, halves]));
    assert_eq!(output.status.code(), Some(130));
    let work = std::fs::read_dir(program.home().join("work")).unwrap();
    let work = work.map(|folder| folder.unwrap().path()).next().unwrap();
    let states = std::fs::read_dir(work.join("state")).unwrap();
    let checkpoint = states
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "safetensors")
        })
        .max()
        .unwrap();

    let slower = [LONG, halves, "stages.train.learning_rate=0.0005"];
    let explained = program.succeed(
        &[
            &["explain", "pipelines/smoke.toml"],
            &with(TRAIN, &slower)[2..],
        ]
        .concat(),
    );
    for words in [
        "differs from the unfinished work",
        "learning_rate is 0.0005, was 0.001",
    ] {
        assert!(explained.contains(words), "{explained}");
    }
    let output = program.run(&with(TRAIN, &slower));
    let said = String::from_utf8(output.stderr).unwrap();
    for words in [
        "stage `train` starts from scratch",
        "learning_rate is 0.0005, was 0.001",
        &format!("--set stages.train.resume_from={}", checkpoint.display()),
    ] {
        assert!(said.contains(words), "`{words}` is missing in: {said}");
    }
    // Half of that, killed there by the limit: from then on the other one's file is not needed.
    let resume = format!("stages.train.resume_from={}", checkpoint.display());
    let slower = "stages.train.learning_rate=0.0005";
    let output = program.run(&with(
        TRAIN,
        &[LONG, slower, &resume, "stages.train.max_kimg=0.45"],
    ));
    assert_eq!(output.status.code(), Some(130));
    let aside = program.home().join("aside");
    std::fs::rename(&checkpoint, &aside).unwrap();
    program.succeed(&with(TRAIN, &[LONG, slower, &resume]));
    let refused = program.run(&with(
        TRAIN,
        &[LONG, "stages.train.learning_rate=0.0004", &resume],
    ));
    assert_eq!(refused.status.code(), Some(2));
    std::fs::rename(&aside, &checkpoint).unwrap();
    // What it proposes resumes from there; what is its own, too, without a warning.
    let loss: serde_json::Value =
        serde_json::from_slice(&bytes(&program.artifact("train").join("loss.json"))).unwrap();
    assert!(
        loss["stretches"][0]["images_seen"].as_u64().unwrap() >= 300,
        "{loss}"
    );
    let output = program.run(&with(TRAIN, &[LONG]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && !said.contains("starts from scratch"),
        "{said}"
    );
}

#[test]
fn combinations_of_a_matrix_do_not_remind_of_each_other() {
    let program = Program::new();
    let sweep = program.home().join("sweep.toml");
    let smoke = workspace().join("pipelines/smoke.toml");
    let text = format!(
        "name = \"sweep\"\nextends = \"{}\"\n[matrix]\n\"stages.train.full_image_ratio\" = [0.5, 1.0]\n",
        smoke.display()
    );
    std::fs::write(&sweep, text).unwrap();
    let train = ["run", sweep.to_str().unwrap(), "--until", "train"];
    let limit = "stages.train.max_kimg=0.3";
    for (settings, reminders) in [
        (vec![limit], 0),
        // Each combination reports what became of itself under other settings.
        (vec![limit, "stages.train.learning_rate=0.0005"], 2),
    ] {
        let output = program.run(&with(&train, &settings));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{said}");
        assert_eq!(
            said.matches("starts from scratch").count(),
            reminders,
            "{said}"
        );
        assert_eq!(
            said.matches("learning_rate is").count(),
            reminders,
            "{said}"
        );
        assert!(!said.contains("full_image_ratio is"), "{said}");
    }
}
