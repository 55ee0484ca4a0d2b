//! What must hold between a training and its data set.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{AugmentOperation, Channels, Labels, PatchShare, patch_shares};

use super::TrainSettings;
use crate::prepare::PrepareSettings;

/// Checks a training against its data set.
pub(super) fn fits(
    train: &TrainSettings,
    section: &Section<'_>,
    data: &PrepareSettings,
) -> Result<(), ConfigError> {
    let (width, height) = data.image_size();
    // Patches are parts of the shorter side; the levels of the network are named by it.
    let resolution = u32::min(width, height);
    let images = if width == height {
        format!("`resolution` = {resolution}")
    } else {
        format!("images of {width} x {height} pixels")
    };
    check_augmentation(section, train, data)?;
    let network = &train.network;
    let network_section = section.table("network")?;
    let network_section = network_section.as_ref().unwrap_or(section);
    let divisor = network.side_divisor();
    let is_used = |share: &PatchShare| share.probability > 0.0 || share.divisor == 1;
    for share in patch_shares(train.full_image_ratio)
        .iter()
        .filter(|share| is_used(share))
    {
        let part = share.divisor;
        if !resolution.is_multiple_of(part) || !(resolution / part).is_multiple_of(divisor) {
            let side = f64::from(resolution) / f64::from(part);
            let problem = format!(
                "has {} levels, which need sides divisible by {divisor}, but with {images} and `full_image_ratio` = {} \
                 training uses patches of side {side}",
                network.levels(),
                train.full_image_ratio
            );
            return Err(network_section.invalid("channel_mult", problem));
        }
    }
    let longer = u32::max(width, height);
    if !longer.is_multiple_of(divisor) {
        let problem = format!(
            "has {} levels, which need sides divisible by {divisor}, and {images} have the side {longer}",
            network.levels()
        );
        return Err(network_section.invalid("channel_mult", problem));
    }
    let sides: Vec<u32> = (0..network.levels())
        .map(|level| resolution >> level)
        .collect();
    if let Some(side) = network
        .attn_resolutions
        .iter()
        .find(|side| !sides.contains(side))
    {
        let problem = format!(
            "has {side}, but with {images} the levels of the network have the {} {sides:?}",
            if width == height {
                "sides"
            } else {
                "shorter sides"
            }
        );
        return Err(network_section.invalid("attn_resolutions", problem));
    }
    if train.class_conditional && data.labels == Labels::None {
        let problem = "is true, but the data set has no classes: its `labels` are `none`";
        return Err(section.invalid("class_conditional", problem));
    }
    Ok(())
}

/// Some transformations are not defined on every image.
fn check_augmentation(
    section: &Section<'_>,
    train: &TrainSettings,
    data: &PrepareSettings,
) -> Result<(), ConfigError> {
    let (width, height) = data.image_size();
    let chosen = |wanted: &[AugmentOperation]| {
        let mut operations = train.augment_operations.iter();
        operations.find(|operation| wanted.contains(operation))
    };
    if width != height
        && let Some(turn) = chosen(&[AugmentOperation::RotateInt])
    {
        let problem = format!(
            "has `{turn}`, whose quarter turns change the shape of images of {width} x {height} pixels; leave it out"
        );
        return Err(section.invalid("augment_operations", problem));
    }
    if data.channels == Channels::Grey
        && let Some(color) = chosen(AugmentOperation::COLOR)
    {
        let problem = format!(
            "has `{color}`, which transforms colours, and the images are grey: the data set has `channels` = 1; leave it out"
        );
        return Err(section.invalid("augment_operations", problem));
    }
    Ok(())
}
