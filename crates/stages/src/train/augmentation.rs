//! From a pipeline's augmentation to the one that is computed.

use patchwork_diffusion::augment::AugmentOptions;
use patchwork_recipes::TrainSettings;
use patchwork_terms::AugmentOperation;

/// EDM's multiplier of the x-flip: with any probability above 0 it is a coin's toss for every image.
const ALWAYS: f64 = 1e8;

/// The augmentation of a train stage, if there is one.
pub(crate) fn augment_options(settings: &TrainSettings) -> Option<AugmentOptions> {
    if settings.augment_operations.is_empty() {
        return None;
    }
    let mut options = AugmentOptions {
        probability: settings.augment_probability,
        ..AugmentOptions::default()
    };
    for operation in &settings.augment_operations {
        let (multiplier, value) = match operation {
            AugmentOperation::XFlip => (&mut options.xflip, ALWAYS),
            AugmentOperation::YFlip => (&mut options.yflip, 1.0),
            AugmentOperation::RotateInt => (&mut options.rotate_int, 1.0),
            AugmentOperation::TranslateInt => (&mut options.translate_int, 1.0),
            AugmentOperation::Scale => (&mut options.scale, 1.0),
            AugmentOperation::RotateFrac => (&mut options.rotate_frac, 1.0),
            AugmentOperation::Aniso => (&mut options.aniso, 1.0),
            AugmentOperation::TranslateFrac => (&mut options.translate_frac, 1.0),
            AugmentOperation::Brightness => (&mut options.brightness, 1.0),
            AugmentOperation::Contrast => (&mut options.contrast, 1.0),
            AugmentOperation::LumaFlip => (&mut options.lumaflip, 1.0),
            AugmentOperation::Hue => (&mut options.hue, 1.0),
            AugmentOperation::Saturation => (&mut options.saturation, 1.0),
        };
        *multiplier = value;
    }
    Some(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_operations_are_edms() {
        let mut settings = crate::train::batch::tests::settings(0.12);
        assert_eq!(augment_options(&settings), Some(AugmentOptions::edm(0.12)));
        settings.augment_operations = AugmentOperation::ALL.to_vec();
        let options = augment_options(&settings).unwrap();
        assert_eq!(options.label_dim(), 9 + 4 + 6);
        settings.augment_operations.clear();
        assert_eq!(augment_options(&settings), None);
    }
}
