//! The way from seed to seed as a strip of images and as an animated picture.

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_dataset::ShardSet;
use patchwork_dataset::animation::animation_gif;
use patchwork_dataset::grid::first_images_png;
use patchwork_recipes::SampleSettings;

/// Most images of an animated picture, which holds each of them twice.
const MOST_IMAGES: usize = 1000;

/// Writes `strip.png`, in rows of as many images as there are from a seed to the next, and `animation.gif`, there and back; nothing for images that are
/// no way.
pub(super) fn write_pictures(
    settings: &SampleSettings,
    context: &Context,
) -> Result<(), StageError> {
    let Some(columns) = settings.interpolate else {
        return Ok(());
    };
    let set = ShardSet::open(context.artifact())?;
    if set.len() > MOST_IMAGES {
        context.warn(format!(
            "the way of {} images is too long for a strip and an animated picture, which hold {MOST_IMAGES} at most",
            set.len()
        ));
        return Ok(());
    }
    let strip = first_images_png(&set, set.len(), columns as usize)?;
    durable::write(&context.artifact().join("strip.png"), &strip)?;
    durable::write(
        &context.artifact().join("animation.gif"),
        &animation_gif(&set)?,
    )?;
    Ok(())
}
