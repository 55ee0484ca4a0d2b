//! Inception-v3 behind the interface of an extractor.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use patchwork_core::Digest;
use patchwork_weights::Resize;
use tch::{Device, Tensor, no_grad};

use super::network::{FEATURES, Network, SIDE, SPATIAL_FEATURES};
use crate::chunks::{Copies, in_chunks};
use crate::error::MetricsError;
use crate::extractor::{Extractor, Features, check_images};
use crate::parameters::Parameters;
use crate::resize::resize;

/// Images that go through the network at once on a CPU.
const CHUNK_IMAGES: i64 = 8;

/// Inception-v3 on one device, with one way to resize.
#[derive(Clone)]
pub struct InceptionV3 {
    network: Rc<Copies<Network>>,
    device: Device,
    weights_digest: Digest,
    resize: Resize,
}

impl InceptionV3 {
    /// Loads weights with the published parameter names; that they are the published ones is checked by
    /// [`ExtractorSpec::check`](patchwork_weights::ExtractorSpec::check).
    pub fn read(
        path: &Path,
        weights_digest: Digest,
        resize: Resize,
        device: Device,
    ) -> Result<Self, MetricsError> {
        Self::new(
            &Parameters::read(path, device)?,
            weights_digest,
            resize,
            device,
        )
    }

    /// From tensors with the published parameter names.
    pub fn from_tensors(
        tensors: BTreeMap<String, Tensor>,
        weights_digest: Digest,
        resize: Resize,
        device: Device,
    ) -> Result<Self, MetricsError> {
        Self::new(
            &Parameters::new(tensors, device),
            weights_digest,
            resize,
            device,
        )
    }

    fn new(
        parameters: &Parameters,
        weights_digest: Digest,
        resize: Resize,
        device: Device,
    ) -> Result<Self, MetricsError> {
        let network = Rc::new(Copies::new(no_grad(|| Network::new(parameters))?, device));
        Ok(Self {
            network,
            device,
            weights_digest,
            resize,
        })
    }

    /// The same network with another way to resize.
    #[must_use]
    pub fn with_resize(&self, resize: Resize) -> Self {
        Self {
            resize,
            ..self.clone()
        }
    }
}

impl Extractor for InceptionV3 {
    fn weights_digest(&self) -> Digest {
        self.weights_digest
    }

    fn dimension(&self) -> i64 {
        FEATURES
    }

    fn spatial_dimension(&self) -> Option<i64> {
        Some(SPATIAL_FEATURES)
    }

    fn class_logits(&self, features: &Tensor) -> Option<Tensor> {
        let logits = no_grad(|| self.network.one(|network| network.class_logits(features)));
        logits.map(|logits| logits.to_device(Device::Cpu))
    }

    fn features(&self, images: &Tensor) -> Result<Features, MetricsError> {
        check_images(images)?;
        let empty = [FEATURES, SPATIAL_FEATURES];
        let way = self.resize;
        let [pooled, spatial] = in_chunks(
            images,
            self.device,
            CHUNK_IMAGES,
            empty,
            &self.network,
            |network, chunk| {
                let features = network.forward(&input(chunk, way));
                [features.pooled, features.spatial]
            },
        );
        Ok(Features {
            pooled,
            spatial: Some(spatial),
        })
    }
}

/// The network's input: TensorFlow's graph subtracts 128 and divides by 128; pytorch-fid maps [0, 255] to [−1, 1].
///
/// # Shapes
/// - `images`: `[batch, 3, height, width]`, u8
/// - returns: `[batch, 3, 299, 299]`, f32
fn input(images: &Tensor, way: Resize) -> Tensor {
    let mut pixels = resize(images, way, SIDE);
    match way {
        Resize::Torch => pixels.g_mul_scalar_(2.0 / 255.0).g_sub_scalar_(1.0),
        _ => pixels.g_sub_scalar_(128.0).g_div_scalar_(128.0),
    }
}
