//! The data of a training, by the settings of the stages that make it: pixels, or the latents of an autoencoder.

use patchwork_terms::{PatchPart, PatchShare, latent_patch_shares, patch_shares};

use crate::encode::EncodeSettings;
use crate::inputs::Inputs;
use crate::prepare::PrepareSettings;

/// The data of a training.
#[derive(Clone, Copy)]
pub(crate) struct TrainingData<'a> {
    /// The images; unknown where another program made latents of them.
    pub(crate) images: Option<&'a PrepareSettings>,
    /// How they are encoded; none where pixels are trained on.
    pub(crate) encoding: Option<&'a EncodeSettings>,
}

impl<'a> TrainingData<'a> {
    /// The data that a stage with these inputs reads; none where no stage of the pipeline makes them.
    pub(crate) fn of(inputs: &Inputs<'a>) -> Option<Self> {
        if let Some((stage, encoding)) = inputs.encoding() {
            return Some(Self {
                images: inputs.of_input(stage).data_set(),
                encoding: Some(encoding),
            });
        }
        inputs.data_set().map(|images| Self {
            images: Some(images),
            encoding: None,
        })
    }

    /// The data of the training whose network a stage with these inputs samples.
    pub(crate) fn of_samples(inputs: &Inputs<'a>) -> Option<Self> {
        let (stage, _) = inputs.training()?;
        Self::of(&inputs.of_input(stage))
    }

    /// Width and height of what the network sees, where they are known.
    pub(crate) fn size(self) -> Option<(u32, u32)> {
        let (width, height) = self.images?.image_size();
        let factor = self.encoding.map_or(1, |encoding| encoding.factor);
        Some((width / factor, height / factor))
    }

    /// The patch sizes with their shares, small ones first.
    pub(crate) fn patch_shares(
        self,
        sizes: &[PatchPart],
        full_image_ratio: f64,
    ) -> Vec<PatchShare> {
        match self.encoding {
            Some(_) => latent_patch_shares(full_image_ratio).to_vec(),
            None => patch_shares(sizes, full_image_ratio).to_vec(),
        }
    }

    /// Such as `images of 64 x 48 pixels`, or `latents of 32 x 32`.
    pub(crate) fn in_words(self, (width, height): (u32, u32)) -> String {
        match self.encoding {
            Some(_) => format!("latents of {width} x {height}"),
            None if width == height => format!("`resolution` = {width}"),
            None => format!("images of {width} x {height} pixels"),
        }
    }
}
