//! EfficientNet-Lite0 with its real weights: input, features and logits.

use std::path::{Path, PathBuf};

use patchwork_metrics::Extractor;
use patchwork_metrics::efficientnet_lite0::EfficientNetLite0;
use patchwork_weights::ExtractorKind;
use tch::Device;

use super::case::{Case, Outcome};

pub(crate) fn check(case: &Case) -> Outcome {
    let weights = case.settings["weights"].as_str().unwrap();
    assert!(
        weights.starts_with(ExtractorKind::EfficientNetLite0.weights_file()),
        "`{}` is of other weights: {weights}",
        case.name
    );
    let extractor = open();
    let images = case.images("input/images");
    let features = extractor.features(&images).unwrap();

    let mut outcome = case.outcome();
    let corner = extractor
        .preprocessed(&images)
        .unwrap()
        .narrow(2, 0, 8)
        .narrow(3, 0, 8);
    outcome.tensor(case, "preprocessed_corner", &corner);
    outcome.tensor(case, "features", &features);
    outcome.tensor(case, "logits", &extractor.logits(&features));
    outcome
}

/// The extractor from the weights that set-up puts in place; its error says to run set-up where they are missing.
fn open() -> EfficientNetLite0 {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights");
    let folder = std::env::var_os("PATCHWORK_WEIGHTS").map_or_else(own, PathBuf::from);
    EfficientNetLite0::open(&folder, Device::Cpu).unwrap_or_else(|error| panic!("{error}"))
}
