//! What a decoder makes of encoded images: the nearest that samples of their latents can come to the images.

use std::ops::Range;

use patchwork_artifacts::worker::StageError;
use patchwork_dataset::LatentSet;
use tch::{Device, Tensor};

use crate::decoder::Decoder;
use crate::features::{Images, in_color};

/// A set of latents, decoded: of each image its distribution's mean.
pub(crate) struct Reconstructions {
    pub(crate) set: LatentSet,
    pub(crate) decoder: Decoder,
}

impl Images for Reconstructions {
    fn count(&self) -> usize {
        self.set.len()
    }

    fn batch(&self, range: Range<usize>) -> Result<Tensor, StageError> {
        let spec = self.set.spec();
        let shape = [range.len(), spec.channels, spec.height, spec.width];
        let means: Vec<f32> = range.flat_map(|image| self.set.moments(image).0).collect();
        let means = Tensor::from_slice(&means).view(shape.map(|length| length as i64));
        let images = self.decoder.raw_images(&means).to_device(Device::Cpu);
        Ok(in_color(&images))
    }
}
