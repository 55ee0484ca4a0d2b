//! Parity with the published implementations: every case of a folder, one line each.
//!
//! The folder is `PARITY_DIR`, or the project's own fixtures; its README has the kinds and the rule of agreement.
//! Networks, losses, samplers and extractors compute on `PATCHWORK_DEVICE` (`cpu`, `cuda`, `cuda:N`; the CPU by default).
//! [`runner`] knows cases, tolerances and the table; each further module knows one kind of case. The suite belongs to
//! the crate of the stages, the lowest one that sees data, networks, diffusion and metrics.

mod device;
mod runner;

mod ablation_sampler;
mod augment;
mod denoiser;
mod edm_pickle;
mod efficientnet_lite0_features;
mod feature_metrics;
mod half_precision;
mod inception_features;
mod jpeg_decode;
mod kl_autoencoder;
mod patch_loss;
mod resize;
mod sampler;
mod seeded_latents;
mod train_steps;

use runner::{Run, Suite};

const KINDS: &[(&str, Run)] = &[
    ("ablation_sampler", ablation_sampler::run),
    ("augment", augment::run),
    ("denoiser", denoiser::run),
    ("edm_pickle", edm_pickle::run),
    (
        "efficientnet_lite0_features",
        efficientnet_lite0_features::run,
    ),
    ("feature_metrics", feature_metrics::run),
    ("inception_features", inception_features::run),
    ("jpeg_decode", jpeg_decode::run),
    ("kl_autoencoder", kl_autoencoder::run),
    ("patch_loss", patch_loss::run),
    ("resize", resize::run),
    ("sampler", sampler::run),
    ("seeded_latents", seeded_latents::run),
    ("train_steps", train_steps::run),
];

fn folder() -> std::path::PathBuf {
    std::env::var_os("PARITY_DIR").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity"),
        std::path::PathBuf::from,
    )
}

#[test]
fn every_case_agrees() {
    let folder = folder();
    let report = Suite { kinds: KINDS }.run(&folder);
    report.print();
    assert_eq!(report.failures(), 0, "cases disagree; the table names them");
    assert!(report.cases() > 0, "{} holds no case", folder.display());
}

#[test]
fn bfloat16_stays_within_two_percent_of_float32() {
    let found = half_precision::compare(&folder()).expect("the cases can be computed");
    for (case, network, denoised) in found {
        assert!(
            half_precision::agrees(network, denoised),
            "{case}: the network differs by {network:.4}, the denoised images by {denoised:.4}"
        );
    }
}

/// A case of a kind that nobody knows, and a folder that is not a case, must not pass for agreement.
#[test]
fn what_cannot_be_checked_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let case = folder.path().join("strange");
    std::fs::create_dir(&case).expect("a folder can be made");
    std::fs::write(case.join("case.json"), r#"{"kind": "weather"}"#)
        .expect("a file can be written");
    let report = Suite { kinds: KINDS }.run(folder.path());
    assert_eq!((report.cases(), report.failures()), (1, 1));
}
