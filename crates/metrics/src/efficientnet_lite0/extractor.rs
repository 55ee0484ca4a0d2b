//! The network behind the interface of an extractor: weights read, images batched.

use std::path::Path;

use patchwork_core::Digest;
use patchwork_weights::Resize;
use tch::{Device, Tensor, no_grad};

use super::network::{FEATURES, Network};
use crate::chunks::{Copies, in_chunks};
use crate::error::MetricsError;
use crate::extractor::{Extractor, Features, check_images};
use crate::parameters::Parameters;
use crate::resize::resize;

/// Side of the network's input in pixels.
const SIDE: i64 = 224;

/// Images that go through the network at once on a CPU, whatever the caller's batch, so that a block's maps stay in
/// the processor's cache: half as fast again as a batch of 50.
const CHUNK_IMAGES: i64 = 4;

/// EfficientNet-Lite0 on one device.
pub struct EfficientNetLite0 {
    network: Copies<Network>,
    device: Device,
    weights_digest: Digest,
}

impl EfficientNetLite0 {
    /// Loads weights with the published parameter names; that they are the published ones is checked by
    /// [`ExtractorSpec::check`](patchwork_weights::ExtractorSpec::check).
    pub fn read(path: &Path, weights_digest: Digest, device: Device) -> Result<Self, MetricsError> {
        let parameters = Parameters::read(path, device)?;
        Ok(Self {
            network: Copies::new(no_grad(|| Network::new(&parameters))?, device),
            device,
            weights_digest,
        })
    }

    /// The network's input for these images.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, height, width]`, u8
    /// - returns: `[batch, 3, 224, 224]`, f32, in [−0.992, 1]
    pub fn preprocessed(&self, images: &Tensor) -> Result<Tensor, MetricsError> {
        check_images(images)?;
        Ok(no_grad(|| input(&images.to_device(self.device))))
    }

    /// The ImageNet logits for features.
    ///
    /// # Shapes
    /// - `features`: `[batch, 1280]`, f32
    /// - returns: `[batch, 1000]`, f32
    pub fn logits(&self, features: &Tensor) -> Tensor {
        no_grad(|| {
            let features = features.to_device(self.device);
            let logits = self.network.one(|network| network.logits(&features));
            logits.to_device(Device::Cpu)
        })
    }
}

impl Extractor for EfficientNetLite0 {
    fn weights_digest(&self) -> Digest {
        self.weights_digest
    }

    fn dimension(&self) -> i64 {
        FEATURES
    }

    fn features(&self, images: &Tensor) -> Result<Features, MetricsError> {
        check_images(images)?;
        let [pooled] = in_chunks(
            images,
            self.device,
            CHUNK_IMAGES,
            [FEATURES],
            &self.network,
            |network, chunk| [network.features(&input(chunk))],
        );
        Ok(Features {
            pooled,
            spatial: None,
        })
    }
}

/// Resizes by bicubic interpolation and centres: `(x − 127) / 128`, as the published model is called.
fn input(images: &Tensor) -> Tensor {
    (resize(images, Resize::Bicubic, SIDE) - 127.0) / 128.0
}
