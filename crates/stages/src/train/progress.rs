//! How far a training is, in images.

use patchwork_artifacts::event::Progress;
use patchwork_recipes::TrainSettings;

/// The progress of a training that resumed at `resumed` images and has seen `images_seen`.
pub(super) fn progress(
    settings: &TrainSettings,
    images_seen: u64,
    resumed: u64,
    note: String,
) -> Progress {
    Progress {
        done: u64::min(images_seen, settings.duration_images),
        total: settings.duration_images,
        resumed,
        unit: "images".to_owned(),
        note,
    }
}
