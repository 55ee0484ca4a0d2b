//! The network behind the interface of an extractor: weights checked, images batched.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::Digest;
use patchwork_weights::ExtractorKind;
use tch::{Device, Kind, Tensor, no_grad};

use super::network::{FEATURES, Network};
use super::preprocess::preprocess;
use crate::parameters::Parameters;
use crate::{Extractor, MetricsError};

/// Images that go through the network at once on a CPU, whatever the caller's batch, so that a block's maps stay in
/// the processor's cache: half as fast again as a batch of 50.
const CHUNK_IMAGES: i64 = 4;

/// EfficientNet-Lite0 on one device.
///
/// # Determinism
/// The same images in the same batches give the same bits. In other batches an image's features differ by float32
/// rounding, about 1e-7 of their length.
pub struct EfficientNetLite0 {
    network: Network,
    device: Device,
    weights_digest: Digest,
}

impl EfficientNetLite0 {
    /// Loads the published weights file from a folder, after checking its digest.
    pub fn open(weights_folder: &Path, device: Device) -> Result<Self, MetricsError> {
        let kind = ExtractorKind::EfficientNetLite0;
        let digest = kind.check(weights_folder)?;
        let path = weights_folder.join(kind.weights_file());
        let tensors = patchwork_networks::pickle::read_state_dict(&path).map_err(|cause| {
            MetricsError::WeightsUnreadable {
                path,
                cause: Box::new(cause),
            }
        })?;
        Self::from_tensors(tensors, digest, device)
    }

    fn from_tensors(
        tensors: BTreeMap<String, Tensor>,
        weights_digest: Digest,
        device: Device,
    ) -> Result<Self, MetricsError> {
        let network = no_grad(|| Network::new(&Parameters::new(tensors, device)))?;
        Ok(Self {
            network,
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
        Ok(no_grad(|| preprocess(&images.to_device(self.device))))
    }

    /// The ImageNet logits for features.
    ///
    /// # Shapes
    /// - `features`: `[batch, 1280]`, f32
    /// - returns: `[batch, 1000]`, f32
    pub fn logits(&self, features: &Tensor) -> Tensor {
        no_grad(|| {
            self.network
                .logits(&features.to_device(self.device))
                .to_device(Device::Cpu)
        })
    }
}

impl Extractor for EfficientNetLite0 {
    fn kind(&self) -> ExtractorKind {
        ExtractorKind::EfficientNetLite0
    }

    fn weights_digest(&self) -> Digest {
        self.weights_digest
    }

    fn resize(&self) -> &'static str {
        "bicubic-224"
    }

    fn features(&self, images: &Tensor) -> Result<Tensor, MetricsError> {
        check_images(images)?;
        let chunk_images = if self.device == Device::Cpu {
            CHUNK_IMAGES
        } else {
            i64::MAX
        };
        let count = images.size()[0];
        let mut features = Vec::new();
        no_grad(|| {
            for start in (0..count).step_by(chunk_images as usize) {
                let chunk = images.narrow(0, start, chunk_images.min(count - start));
                let input = preprocess(&chunk.to_device(self.device));
                features.push(self.network.features(&input).to_device(Device::Cpu));
            }
        });
        Ok(if features.is_empty() {
            Tensor::zeros([0, FEATURES], (Kind::Float, Device::Cpu))
        } else {
            Tensor::cat(&features, 0)
        })
    }
}

fn check_images(images: &Tensor) -> Result<(), MetricsError> {
    let shape = images.size();
    let sides_are_positive = shape.iter().skip(1).all(|&side| side > 0);
    if images.kind() == Kind::Uint8 && shape.len() == 4 && shape[1] == 3 && sides_are_positive {
        Ok(())
    } else {
        Err(MetricsError::Images {
            kind: format!("{:?}", images.kind()),
            shape,
        })
    }
}
