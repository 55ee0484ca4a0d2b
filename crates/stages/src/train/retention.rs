//! Which snapshots a training retains.
//!
//! Those of `snapshot_images`, and one every `snapshot_kimg`: of these the newest `snapshots_kept` and the best where a
//! distance is measured. What is no longer retained is removed after the next checkpoint, since only from there on no
//! restart needs it.

use std::path::Path;

use patchwork_core::{FileError, durable};
use patchwork_recipes::TrainSettings;
use serde::{Deserialize, Serialize};

use super::files::{SNAPSHOT_PREFIX, snapshot_file};
use super::kept;

/// The retained snapshots of a training so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RetainedSnapshots {
    /// Images at which the last one was due.
    last: Option<u64>,
    /// Those that stay, oldest first.
    kept: Vec<Snapshot>,
}

/// A kept network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    /// Images at which it was due, which name its file.
    images: u64,
    /// Its distance from the data, lower is better, where one was measured.
    distance: Option<f64>,
}

impl RetainedSnapshots {
    /// Retains the snapshot that was due at `images`, and no longer those that give way to it.
    pub(super) fn add(&mut self, images: u64, settings: &TrainSettings) {
        self.last = Some(images);
        self.kept.retain(|snapshot| snapshot.images != images);
        self.kept.push(Snapshot {
            images,
            distance: None,
        });
        self.thin_out(settings);
    }

    /// None so far; the next one is due at `images` or after.
    pub(super) fn resume_from(&mut self, images: u64) {
        self.last = images.checked_sub(1);
    }

    /// Notes what was measured of a snapshot: the best one stays.
    pub(super) fn measured(&mut self, images: u64, distance: f64, settings: &TrainSettings) {
        if let Some(snapshot) = self.kept.iter_mut().find(|kept| kept.images == images) {
            snapshot.distance = Some(distance).filter(|distance| distance.is_finite());
        }
        self.thin_out(settings);
    }

    /// Retains the snapshot of so many images no longer.
    pub(super) fn forget(&mut self, images: u64) {
        self.kept.retain(|snapshot| snapshot.images != images);
    }

    /// Images at which the next one is due, given the settings.
    pub(super) fn next_due(&self, settings: &TrainSettings) -> Option<u64> {
        settings.next_snapshot(self.last)
    }

    /// Images of all that stay, which name their files.
    pub(super) fn images(&self) -> Vec<u64> {
        self.kept.iter().map(|snapshot| snapshot.images).collect()
    }

    /// Whether the snapshot of so many images was measured.
    pub(super) fn is_measured(&self, images: u64) -> bool {
        let mut measured = self.kept.iter().filter(|kept| kept.distance.is_some());
        measured.any(|kept| kept.images == images)
    }

    /// Images of the best one, if any was measured; of equal ones the first.
    pub(super) fn best(&self) -> Option<u64> {
        let measured = self
            .kept
            .iter()
            .filter_map(|snapshot| Some((snapshot.images, snapshot.distance?)));
        measured
            .min_by(|one, other| one.1.total_cmp(&other.1))
            .map(|(images, _)| images)
    }

    fn thin_out(&mut self, settings: &TrainSettings) {
        let newest = settings.snapshots_kept as usize;
        if newest == 0 {
            return;
        }
        let best = self.best();
        let always =
            |images: u64| settings.snapshot_images.contains(&images) || best == Some(images);
        let regular = self
            .kept
            .iter()
            .filter(|snapshot| !settings.snapshot_images.contains(&snapshot.images))
            .count();
        let mut surplus = regular.saturating_sub(newest);
        self.kept.retain(|snapshot| {
            if settings.snapshot_images.contains(&snapshot.images) || surplus == 0 {
                return true;
            }
            surplus -= 1;
            always(snapshot.images)
        });
    }
}

/// Removes the files of snapshots in an artifact's folder that none of `lists` has.
pub(super) fn remove_all_but(lists: &[RetainedSnapshots], folder: &Path) -> Result<(), FileError> {
    for path in durable::list(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut retained = lists.iter().flat_map(RetainedSnapshots::images);
        let is_retained =
            retained.any(|images| name.starts_with(kept::stem(&snapshot_file(images))));
        if name.starts_with(SNAPSHOT_PREFIX) && !is_retained {
            durable::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::batch::tests::settings;

    #[test]
    fn the_newest_the_best_and_the_listed_stay() {
        let mut settings = settings(0.0);
        settings.snapshot_images = vec![0, 150];
        settings.snapshot_kimg = Some(0.1);
        settings.snapshots_kept = 2;
        let mut snapshots = RetainedSnapshots::default();
        let distances = [9.0, 5.0, 7.0, 3.0, 4.0, f64::NAN, 6.0, 8.0, 8.0, 8.0, 8.0];
        let mut due = Vec::new();
        let mut best = Vec::new();
        while let Some(images) = settings.next_snapshot(snapshots.last) {
            snapshots.add(images, &settings);
            snapshots.measured(images, distances[due.len()], &settings);
            due.push(images);
            best.push(snapshots.best().unwrap());
        }
        // Before the end, at 1000, where the final network is.
        assert_eq!(due, [0, 100, 150, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert_eq!(best, [0, 100, 100, 200, 200, 200, 200, 200, 200, 200, 200]);
        let kept: Vec<u64> = snapshots.kept.iter().map(|kept| kept.images).collect();
        assert_eq!(kept, [0, 150, 200, 800, 900]);
        snapshots.forget(200);
        assert_eq!(snapshots.images(), [0, 150, 800, 900]);
        assert_eq!(snapshots.best(), Some(150));
        for images in [0, 150, 800, 900] {
            assert!(settings.keeps_snapshot(images));
        }
        for images in [100, 250, 700, 1000] {
            assert!(!settings.keeps_snapshot(images));
        }
    }
}
