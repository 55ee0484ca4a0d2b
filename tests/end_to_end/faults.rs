//! Every operation that makes bytes permanent fails, or is died at, in turn; the next run makes up for it.
//!
//! PATCHWORK_FAULT_STRIDE says how many operations lie between two faults: many in the tests, one by `just faults`.

use std::path::PathBuf;

use crate::program::{Program, differences};

const STRIDE: usize = 29;

/// More operations than any process makes here.
const LIMIT: usize = 2000;

/// Three stages on next to nothing, with a checkpoint at almost every step.
const RUN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--until",
    "sample",
    "--set",
    "stages.prepare.emoji.groups=[\"activities\"]",
    "--set",
    "stages.train.duration_images=120",
    "--set",
    "stages.train.learning_rate_rampup_images=20",
    "--set",
    "stages.train.learning_rate_decay_images=20",
    "--set",
    "stages.train.checkpoint_minutes=0.002",
    "--set",
    "stages.sample.seeds=\"0-15\"",
];

/// The same in latent mode, to its samples.
const LATENT_RUN: &[&str] = &[
    "run",
    "pipelines/smoke-latent.toml",
    "--until",
    "sample",
    "--set",
    "stages.prepare.resolution=16",
    "--set",
    "stages.autoencoder.duration_images=80",
    "--set",
    "stages.autoencoder.checkpoint_minutes=0.002",
    "--set",
    "stages.train.duration_images=120",
    "--set",
    "stages.train.learning_rate_rampup_images=20",
    "--set",
    "stages.train.learning_rate_decay_images=20",
    "--set",
    "stages.train.checkpoint_minutes=0.002",
    "--set",
    "stages.sample.seeds=\"0-15\"",
];

#[test]
fn a_fault_at_any_durable_operation_is_made_up_for() {
    fail_in_turn(RUN);
}

#[test]
fn a_fault_at_any_durable_operation_in_latent_mode_is_made_up_for() {
    fail_in_turn(LATENT_RUN);
}

fn fail_in_turn(run: &[&str]) {
    let stride =
        std::env::var("PATCHWORK_FAULT_STRIDE").map_or(STRIDE, |text| text.parse().unwrap());
    let undisturbed = Program::new();
    undisturbed.succeed(run);
    let artifacts = undisturbed.artifacts();
    for kind in ["fail", "kill"] {
        let mut faults = 0;
        for number in (1..LIMIT).step_by(stride) {
            let fault = format!("{kind}:{number}");
            let program = Program::new();
            let output = program
                .command(run)
                .env("PATCHWORK_FAULT", &fault)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let is_told = said.contains(&format!("fault {number},"));
            if output.status.success() && !is_told {
                // No process made so many operations. (A record that fails once is told and made up for.)
                break;
            }
            faults += 1;
            assert!(kind == "kill" || is_told, "{fault}: {said}");
            program.succeed(run);
            assert_eq!(
                differences(&artifacts, &program.artifacts()),
                Vec::<PathBuf>::new(),
                "{fault}"
            );
        }
        assert!(faults > 0, "nothing was durable");
    }
}
