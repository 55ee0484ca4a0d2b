//! NVIDIA's TorchScript program of Inception-v3, run by libtorch.
//!
//! It resizes as TensorFlow 1 does and normalises by itself, to (x − 128) / 128; `forward(images, return_features)` gives
//! `[batch, 2048]`. Images that have its side already pass its resize unchanged; those that are resized as pytorch-fid does,
//! which normalises to x / 127.5 − 1, come stretched by 128 / 127.5, of which the program makes just that.

use std::path::Path;
use std::rc::Rc;

use patchwork_core::Digest;
use patchwork_weights::Resize;
use tch::{CModule, Device, IValue, Kind, Tensor};

use super::network::{FEATURES, SIDE};
use crate::error::MetricsError;
use crate::extractor::{Extractor, Features, check_images};
use crate::resize::resize;
use crate::torchscript::{call, load};

/// Images that go through the program at once on a CPU.
const CHUNK_IMAGES: i64 = 8;

/// The TorchScript program on one device, with one way to resize.
#[derive(Clone)]
pub struct InceptionV3TorchScript {
    program: Rc<CModule>,
    device: Device,
    weights_digest: Digest,
    resize: Resize,
}

impl InceptionV3TorchScript {
    /// Loads the program; that it is the published one is checked by
    /// [`ExtractorSpec::check`](patchwork_weights::ExtractorSpec::check).
    pub fn read(
        path: &Path,
        weights_digest: Digest,
        resize: Resize,
        device: Device,
    ) -> Result<Self, MetricsError> {
        Ok(Self {
            program: Rc::new(load(path, device)?),
            device,
            weights_digest,
            resize,
        })
    }

    /// The same program with another way to resize.
    #[must_use]
    pub fn with_resize(&self, resize: Resize) -> Self {
        Self {
            resize,
            ..self.clone()
        }
    }
}

impl Extractor for InceptionV3TorchScript {
    fn weights_digest(&self) -> Digest {
        self.weights_digest
    }

    fn dimension(&self) -> i64 {
        FEATURES
    }

    fn features(&self, images: &Tensor) -> Result<Features, MetricsError> {
        check_images(images)?;
        let pooled = call(images, self.device, CHUNK_IMAGES, FEATURES, |chunk| {
            let pixels = match self.resize {
                Resize::Tf1 => chunk.to_kind(Kind::Float),
                Resize::Torch => resize(chunk, self.resize, SIDE) * (128.0 / 127.5),
                way => resize(chunk, way, SIDE),
            };
            let arguments = [IValue::Tensor(pixels), IValue::Bool(true)];
            self.program.forward_is(&arguments)
        })?;
        Ok(Features {
            pooled,
            spatial: None,
        })
    }
}
