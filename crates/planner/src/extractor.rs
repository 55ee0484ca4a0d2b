//! The extractor that settings name.

use patchwork_config::{Extractor, ReferenceSettings};
use patchwork_weights::ExtractorKind;

/// The extractor of a reference stage.
pub fn extractor_kind(settings: &ReferenceSettings) -> ExtractorKind {
    match settings.extractor {
        Extractor::EfficientnetLite0 => ExtractorKind::EfficientNetLite0,
    }
}
