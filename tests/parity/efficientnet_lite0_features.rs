//! `efficientnet_lite0_features`: EfficientNet-Lite0 with its real weights: input, features and logits.

use std::path::{Path, PathBuf};

use patchwork_metrics::Extractor;
use patchwork_metrics::efficientnet_lite0::EfficientNetLite0;
use patchwork_weights::EFFICIENTNET_LITE0;

use crate::device::device;
use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let weights = case.settings["weights"]
        .as_str()
        .ok_or("setting `weights` is missing")?;
    if !weights.starts_with(EFFICIENTNET_LITE0.file_name) {
        return Err(format!("the case is of other weights: {weights}"));
    }
    let extractor = open()?;
    // Stored as `[batch, height, width, 3]`.
    let images = case.tensor("input/images")?.permute([0, 3, 1, 2]);
    let features = extractor
        .features(&images)
        .map_err(|error| error.to_string())?
        .pooled;
    let corner = extractor
        .preprocessed(&images)
        .map_err(|error| error.to_string())?
        .narrow(2, 0, 8)
        .narrow(3, 0, 8);
    Ok(Tensors::from([
        ("output/preprocessed_corner".to_owned(), corner),
        ("output/logits".to_owned(), extractor.logits(&features)),
        ("output/features".to_owned(), features),
    ]))
}

/// The extractor from the weights that set-up puts in place; its error says to run set-up where they are missing.
fn open() -> Result<EfficientNetLite0, String> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights");
    let folder = std::env::var_os("PATCHWORK_WEIGHTS").map_or_else(own, PathBuf::from);
    let found = EFFICIENTNET_LITE0
        .check(&folder)
        .map_err(|error| error.to_string())?;
    EfficientNetLite0::read(&found.path, found.digest, device()).map_err(|error| error.to_string())
}
