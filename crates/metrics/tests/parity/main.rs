//! The parity cases that concern metrics, against the numbers of the published implementations.
//!
//! Takes the cases from `PARITY_DIR` (default: the project's own) and the weights from `PATCHWORK_WEIGHTS`
//! (default: the folder that set-up fills). One module a kind, each with a `check` of one case.

#![expect(
    clippy::unwrap_used,
    reason = "a case that cannot be read fails its test"
)]

mod case;
mod efficientnet_lite0_features;
mod feature_metrics;

use case::{Case, Outcome};

/// Runs every case of a kind and fails with all that disagree.
fn run(kind: &str, check: impl Fn(&Case) -> Outcome) {
    let cases = Case::of_kind(kind);
    assert!(
        !cases.is_empty(),
        "no case of kind `{kind}` in `{}`",
        case::folder().display()
    );
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).report(&case.name))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn feature_metrics_agree() {
    run("feature_metrics", feature_metrics::check);
}

#[test]
fn efficientnet_lite0_features_agree() {
    run(
        "efficientnet_lite0_features",
        efficientnet_lite0_features::check,
    );
}
