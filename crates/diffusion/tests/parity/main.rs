//! Parity with the published implementations: every case of a folder, one line each.
//!
//! The folder is `PARITY_DIR`, or the project's own fixtures; its README tells the kinds and the rule of agreement.
//! [`runner`] knows cases, tolerances and the table; each further module knows one kind of case.

mod runner;

mod ablation_sampler;
mod augment;
mod denoiser;
mod edm_pickle;
mod patch_loss;
mod sampler;
mod seeded_latents;
mod train_steps;

use runner::{Kind, Suite};

/// Kinds of this crate.
const KINDS: &[(&str, Kind)] = &[
    ("ablation_sampler", Kind::Checked(ablation_sampler::run)),
    ("augment", Kind::Checked(augment::run)),
    ("denoiser", Kind::Checked(denoiser::run)),
    ("edm_pickle", Kind::Checked(edm_pickle::run)),
    ("patch_loss", Kind::Checked(patch_loss::run)),
    ("sampler", Kind::Checked(sampler::run)),
    ("seeded_latents", Kind::Checked(seeded_latents::run)),
    ("train_steps", Kind::Checked(train_steps::run)),
    ("efficientnet_lite0_features", Kind::Elsewhere),
    ("feature_metrics", Kind::Elsewhere),
    ("inception_features", Kind::Elsewhere),
    ("jpeg_decode", Kind::Elsewhere),
    ("kl_autoencoder", Kind::Elsewhere),
    ("resize", Kind::Elsewhere),
];

#[test]
fn every_case_agrees() {
    let folder = std::env::var_os("PARITY_DIR").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity"),
        std::path::PathBuf::from,
    );
    let report = Suite { kinds: KINDS }.run(&folder);
    report.print();
    assert_eq!(report.failures(), 0, "cases disagree; the table names them");
    assert!(report.cases() > 0, "{} holds no case", folder.display());
}
