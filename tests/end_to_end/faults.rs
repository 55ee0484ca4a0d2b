//! Every operation that makes bytes permanent fails, or is died at, in turn; the next run makes up for it.
//!
//! PATCHWORK_FAULT_STRIDE says how many operations lie between two faults: many in the tests, one by `just faults`.

use std::path::PathBuf;

use crate::program::{Program, differences, with};

const STRIDE: usize = 29;

/// More operations than any process makes here.
const LIMIT: usize = 2000;

/// Three stages on next to nothing, with a checkpoint at almost every step.
const RUN: &[&str] = &["run", "pipelines/smoke.toml", "--until", "sample"];
const SETTINGS: &[&str] = &["stages.prepare.emoji.groups=[\"activities\"]"];

/// The same in latent mode, to its samples.
const LATENT_RUN: &[&str] = &["run", "pipelines/smoke-latent.toml", "--until", "sample"];
const LATENT_SETTINGS: &[&str] = &[
    "stages.prepare.resolution=16",
    "stages.autoencoder.duration_images=80",
    "stages.autoencoder.checkpoint_minutes=0.002",
];

/// What both have in common.
const SHORT: &[&str] = &[
    "stages.train.duration_images=120",
    "stages.train.learning_rate_rampup_images=20",
    "stages.train.learning_rate_decay_images=20",
    "stages.train.checkpoint_minutes=0.002",
    "stages.sample.seeds=\"0-15\"",
];

#[test]
fn a_fault_at_any_durable_operation_is_made_up_for() {
    fail_in_turn(&with(RUN, &[SETTINGS, SHORT].concat()));
}

#[test]
fn a_fault_at_any_durable_operation_in_latent_mode_is_made_up_for() {
    fail_in_turn(&with(LATENT_RUN, &[LATENT_SETTINGS, SHORT].concat()));
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
            let is_reported = said.contains(&format!("fault {number},"));
            if output.status.success() && !is_reported {
                // No process made so many operations. (A record that fails once is reported and made up for.)
                break;
            }
            faults += 1;
            assert!(kind == "kill" || is_reported, "{fault}: {said}");
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
