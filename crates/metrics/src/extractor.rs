//! What turns images into features.

use std::path::Path;

use patchwork_core::Digest;
use patchwork_weights::{ExtractorKind, WeightsError};
use tch::{Device, Tensor};

use crate::MetricsError;
use crate::efficientnet_lite0::EfficientNetLite0;

/// A fixed network from 8-bit images to features.
///
/// Whatever makes two distances incomparable is here to be recorded with them: the network, its weights, the resize.
pub trait Extractor {
    /// Which network.
    fn kind(&self) -> ExtractorKind;

    /// The network's name: `efficientnet-lite0`.
    fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// What the Fréchet distance of these features is called: `fd_efficientnet_lite0`.
    fn metric_name(&self) -> &'static str {
        self.kind().metric_name()
    }

    /// The width of the features.
    fn dimension(&self) -> i64 {
        self.kind().dimension()
    }

    /// The digest of the weights file.
    fn weights_digest(&self) -> Digest;

    /// How images come to the network's input size.
    fn resize(&self) -> &'static str;

    /// The features of a batch.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, height, width]`, u8, RGB
    /// - returns: `[batch, dimension]`, f32, on the CPU
    ///
    /// # Errors
    /// [`MetricsError::Images`] when `images` is something else.
    fn features(&self, images: &Tensor) -> Result<Tensor, MetricsError>;
}

/// Loads an extractor from its weights file in a folder, after checking the file's digest.
pub fn open_extractor(
    kind: ExtractorKind,
    weights_folder: &Path,
    device: Device,
) -> Result<Box<dyn Extractor>, MetricsError> {
    match kind {
        ExtractorKind::EfficientNetLite0 => {
            Ok(Box::new(EfficientNetLite0::open(weights_folder, device)?))
        }
        ExtractorKind::InceptionV3 => {
            let extractor = kind.name();
            Err(WeightsError::Unavailable { extractor }.into())
        }
    }
}
