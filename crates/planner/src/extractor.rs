//! The extractor that settings name.

use patchwork_config::Extractor;
use patchwork_weights::ExtractorKind;

/// The extractor that a setting names.
pub fn extractor_kind(extractor: Extractor) -> ExtractorKind {
    match extractor {
        Extractor::EfficientnetLite0 => ExtractorKind::EfficientNetLite0,
    }
}
