//! What must hold between a training and its data set.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{AugmentOperation, Channels, FastPath, Labels, PatchShare};

use super::{TrainSettings, TrainingData};
use crate::execution::{CPU, Execution};
use crate::prepare::PrepareSettings;

/// Checks a training against its data.
pub(super) fn fits(
    train: &TrainSettings,
    section: &Section<'_>,
    data: TrainingData<'_>,
) -> Result<(), ConfigError> {
    check_latents(section, train, data)?;
    if let Some(images) = data.images {
        check_augmentation(section, train, images)?;
        if train.class_conditional && images.labels == Labels::None {
            let problem = "is true, but the data set has no classes: its `labels` are `none`";
            return Err(section.invalid("class_conditional", problem));
        }
    }
    match data.size() {
        Some(size) => check_sizes(section, train, data, size),
        None => Ok(()),
    }
}

/// What is defined on latents alone, or on pixels alone.
fn check_latents(
    section: &Section<'_>,
    train: &TrainSettings,
    data: TrainingData<'_>,
) -> Result<(), ConfigError> {
    if data.encoding.is_none() {
        return match train.scaling {
            Some(_) => {
                let problem = "is for latents, and this stage reads pixels: leave it out, or read a stage of kind `encode`";
                Err(section.invalid("scaling", problem))
            }
            None => Ok(()),
        };
    }
    if section.has("patch_sizes") {
        let problem = "is for pixels, and this stage reads latents, whose patches have half of the side: leave it out";
        return Err(section.invalid("patch_sizes", problem));
    }
    if train.augment_probability > 0.0 {
        let problem = "is above 0, and this stage reads latents: an autoencoder's latents of a warped image are not its \
                       latents warped; set it to 0";
        return Err(section.invalid("augment_probability", problem));
    }
    if train.mirror_probability > 0.0 {
        let problem = "is above 0, and this stage reads latents: an autoencoder's latents of a mirrored image are not its \
                       latents mirrored; set `mirror` = true in the stage of kind `prepare`, which encodes both";
        return Err(section.invalid("mirror_probability", problem));
    }
    Ok(())
}

/// The levels of the network halve every patch and the whole image.
fn check_sizes(
    section: &Section<'_>,
    train: &TrainSettings,
    data: TrainingData<'_>,
    (width, height): (u32, u32),
) -> Result<(), ConfigError> {
    // Patches are parts of the shorter side; the levels of the network are named by it.
    let resolution = u32::min(width, height);
    let images = data.in_words((width, height));
    let network = &train.network;
    let network_section = section.table("network")?;
    let network_section = network_section.as_ref().unwrap_or(section);
    let divisor = network.side_divisor();
    let is_used = |share: &PatchShare| share.probability > 0.0 || share.divisor == 1;
    for share in data
        .patch_shares(&train.patch_sizes, train.full_image_ratio)
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
    Ok(())
}

/// Checks that the fast paths are for the device and for as many processes.
pub(super) fn fast_paths_fit(
    train: &TrainSettings,
    section: &Section<'_>,
    execution: &Execution,
) -> Result<(), ConfigError> {
    const KEY: &str = "fast_paths";
    let only_on_cuda = [FastPath::Graphs, FastPath::CopyStream];
    let mut paths = train.fast_paths.iter();
    if execution.device == CPU
        && let Some(path) = paths.find(|path| only_on_cuda.contains(path))
    {
        let problem = format!(
            "has `{path}`, which is for CUDA devices, but `device` is `{CPU}`: leave it out"
        );
        return Err(section.invalid(KEY, problem));
    }
    let is_shared = execution.ranks > 1 || execution.launch.is_some();
    if is_shared && train.fast_paths.contains(&FastPath::Graphs) {
        let problem = "has `graphs`, which is for one process, and `ranks` or `launch` has several: leave it out";
        return Err(section.invalid(KEY, problem));
    }
    Ok(())
}

/// Checks that each of the processes that train has an image of its own in every micro-batch.
pub(super) fn has_images_for_each_rank(
    train: &TrainSettings,
    section: &Section<'_>,
    ranks: u32,
) -> Result<(), ConfigError> {
    let (batch, rounds) = (train.batch_size, train.gradient_accumulation);
    let images = batch / rounds;
    if ranks <= images {
        return Ok(());
    }
    let problem = format!(
        "is {ranks}, more than the {images} images of a micro-batch (`batch_size` = {batch}, `gradient_accumulation` = \
         {rounds})"
    );
    Err(section.invalid("ranks", problem))
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
