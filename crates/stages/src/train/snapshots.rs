//! The networks that training keeps on its way and at its end, each with images drawn from it.
//!
//! Kept are those of `snapshot_images`, and one every `snapshot_kimg`: of these the newest `snapshots_kept` and the
//! best where a distance is measured. What is no longer kept is removed after the next checkpoint, since only from
//! there on no restart needs it.

use std::path::{Path, PathBuf};

use patchwork_config::TrainSettings;
use patchwork_core::durable;
use patchwork_dataset::grid::grid_png;
use patchwork_diffusion::Ema;
use patchwork_diffusion::sampler::{HeunOptions, NoiseLevels, SamplerOptions};
use patchwork_networks::Network;
use patchwork_networks::checkpoint::{load_network, network_to_bytes};
use patchwork_pipeline::worker::StageError;
use patchwork_terms::EmaKind;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::failures::{dispensable, dispensable_at_last, once_the_disk_takes_it};
use super::kept::{self, KeptAverage, KeptAverages, record_file};
use super::training::Training;
use super::{SNAPSHOT_PREFIX, snapshot_file};
use crate::device;
use crate::sample::ImageSampler;

/// Steps of the sampler for a snapshot's images: enough to see what the network has learnt.
const SAMPLER_STEPS: usize = 10;

/// Images that are drawn at once.
const SAMPLER_BATCH: usize = 16;

/// The snapshots so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshots {
    /// Images at which the last one was due.
    last: Option<u64>,
    /// Those that stay, oldest first.
    kept: Vec<Snapshot>,
}

/// A kept network.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Snapshot {
    /// Images at which it was due, which name its file.
    images: u64,
    /// Its distance from the data, lower is better, where one was measured.
    distance: Option<f64>,
}

impl Snapshots {
    fn add(&mut self, images: u64, settings: &TrainSettings) {
        self.last = Some(images);
        self.kept.retain(|snapshot| snapshot.images != images);
        self.kept.push(Snapshot {
            images,
            distance: None,
        });
        self.thin_out(settings);
    }

    /// None so far; the next one is due at `images` or after.
    pub(crate) fn go_on_from(&mut self, images: u64) {
        self.last = images.checked_sub(1);
    }

    /// Notes what was measured of a snapshot: the best one stays.
    pub(crate) fn measured(&mut self, images: u64, distance: f64, settings: &TrainSettings) {
        if let Some(snapshot) = self.kept.iter_mut().find(|kept| kept.images == images) {
            snapshot.distance = Some(distance).filter(|distance| distance.is_finite());
        }
        self.thin_out(settings);
    }

    /// Images of all that stay, which name their files.
    pub(crate) fn images(&self) -> Vec<u64> {
        self.kept.iter().map(|snapshot| snapshot.images).collect()
    }

    fn is_measured(&self, images: u64) -> bool {
        let mut measured = self.kept.iter().filter(|kept| kept.distance.is_some());
        measured.any(|kept| kept.images == images)
    }

    /// Images of the best one, if any was measured; of equal ones the first.
    pub(crate) fn best(&self) -> Option<u64> {
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

impl Training<'_> {
    /// Keeps the averaged network at each image count that has been reached and is not kept yet.
    pub(super) fn save_due_snapshots(&mut self) -> Result<(), StageError> {
        while let Some(due) = self.settings.next_snapshot(self.state.snapshots.last) {
            if due > self.state.position.images_seen {
                break;
            }
            self.checkpoint_before_measuring()?;
            self.measure_what_was_missed()?;
            self.pulse.rest();
            let file = snapshot_file(due);
            let context = self.context;
            once_the_disk_takes_it(context, || self.save_networks(&file))?;
            dispensable(context, "drawing a snapshot's images", || {
                self.save_samples(&file, due)
            })?;
            let distance =
                dispensable(context, "measuring a snapshot", || self.measure(&file, due))?;
            self.state.snapshots.add(due, self.settings);
            if let Some(distance) = distance.flatten() {
                self.state.snapshots.measured(due, distance, self.settings);
            }
        }
        Ok(())
    }

    /// Measures kept snapshots whose measurement failed, before they give way to newer ones: one may be the best. Where it
    /// fails again, the others wait too.
    fn measure_what_was_missed(&mut self) -> Result<(), StageError> {
        if self.evaluation.is_none() {
            return Ok(());
        }
        let context = self.context;
        for images in self.state.snapshots.images() {
            if self.state.snapshots.is_measured(images) {
                continue;
            }
            let file = snapshot_file(images);
            let measured = dispensable(context, "measuring a snapshot", || {
                self.measure(&file, images)
            })?;
            let Some(distance) = measured.flatten() else {
                break;
            };
            let snapshots = &mut self.state.snapshots;
            snapshots.measured(images, distance, self.settings);
        }
        Ok(())
    }

    /// Draws and measures what failed to be drawn or measured in its time, of the snapshots that are kept.
    pub(super) fn make_up_for_failures(&mut self) -> Result<(), StageError> {
        for images in self.state.snapshots.images() {
            let file = snapshot_file(images);
            if !picture_of(&self.context.artifact().join(&file)).is_file() {
                self.save_samples_at_last(&file, images)?;
            }
            if self.state.snapshots.is_measured(images) {
                continue;
            }
            if let Some(distance) = self.measure_at_last(&file, images)? {
                let snapshots = &mut self.state.snapshots;
                snapshots.measured(images, distance, self.settings);
            }
        }
        Ok(())
    }

    /// Removes the files of snapshots that are kept no longer, once no checkpoint lists them: training may go back to any
    /// of these. Belongs after a checkpoint.
    pub(super) fn remove_old_snapshots(&self) -> Result<(), StageError> {
        match self.checkpoints.listed_snapshots()? {
            Some(listed) => self.remove_snapshots_but(&listed),
            None => Ok(()),
        }
    }

    /// Removes the files of snapshots that none of `lists` has.
    pub(super) fn remove_snapshots_but(&self, lists: &[Snapshots]) -> Result<(), StageError> {
        for path in durable::list(self.context.artifact())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_kept = lists.iter().flat_map(Snapshots::images).any(|images| {
                let file = snapshot_file(images);
                name.starts_with(kept::stem(&file))
            });
            if name.starts_with(SNAPSHOT_PREFIX) && !is_kept {
                durable::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Keeps the averaged network; of power-function averages, the widest under this name, the others beside it.
    pub(super) fn save_networks(&self, file: &str) -> Result<(), StageError> {
        let folder = self.context.artifact();
        self.save_network(&self.step.averages[0], &folder.join(file))?;
        if self.settings.ema == EmaKind::HalfLife {
            return Ok(());
        }
        let mut record = KeptAverages {
            images_seen: self.state.position.images_seen,
            averages: Vec::new(),
        };
        for (index, (average, width)) in self.step.averages.iter().zip(kept::WIDTHS).enumerate() {
            let file = match index {
                0 => file.to_owned(),
                _ => kept::narrower_file(file, width),
            };
            if index > 0 {
                self.save_network(average, &folder.join(&file))?;
            }
            record.averages.push(KeptAverage {
                file,
                relative_width: width,
            });
        }
        durable::write_json(&folder.join(record_file(file)), &record)?;
        Ok(())
    }

    fn save_network(&self, average: &Ema, path: &Path) -> Result<(), StageError> {
        let network = Network::new(self.config, Device::Cpu, 0)?;
        let mut tensors = average.named_views();
        tensors.extend(self.buffers());
        network.load(&tensors)?;
        durable::write(path, &network_to_bytes(&network)?)?;
        Ok(())
    }

    /// [`Self::save_samples`] at the end of training, as [`dispensable_at_last`].
    pub(super) fn save_samples_at_last(
        &mut self,
        file: &str,
        images_seen: u64,
    ) -> Result<(), StageError> {
        let context = self.context;
        dispensable_at_last(context, "drawing a network's images", || {
            self.save_samples(file, images_seen)
        })?;
        Ok(())
    }

    /// Draws images of the first seeds from the network in a file of the artifact, as a picture beside it and for
    /// TensorBoard.
    fn save_samples(&mut self, file: &str, images_seen: u64) -> Result<(), StageError> {
        let count = u64::from(self.settings.snapshot_samples);
        if count == 0 {
            return Ok(());
        }
        let device = self.device;
        let path = self.context.artifact().join(file);
        let network = load_network(&path, device)?;
        let options = SamplerOptions::Heun(HeunOptions {
            levels: NoiseLevels {
                num_steps: SAMPLER_STEPS,
                ..NoiseLevels::default()
            },
            ..HeunOptions::default()
        });
        let precision = device::kind(self.settings.precision);
        let sampler = ImageSampler::new(&network, precision, None, options, device);
        let classes = self.config.label_dim;
        let seeds: Vec<u64> = (0..count).collect();
        let mut pictures: Vec<u8> = Vec::new();
        for seeds in seeds.chunks(SAMPLER_BATCH) {
            let labels: Option<Vec<i64>> =
                (classes > 0).then(|| seeds.iter().map(|&seed| seed as i64 % classes).collect());
            let images = sampler.draw(seeds, labels.as_deref())?;
            let pixels = images.permute([0, 2, 3, 1]).contiguous();
            pictures.extend(
                Vec::<u8>::try_from(pixels.flatten(0, -1))
                    .expect("a flat tensor of bytes is a vector of bytes"),
            );
        }
        let pictures: Vec<&[u8]> = pictures.chunks(pictures.len() / seeds.len()).collect();
        let columns = (count as f64).sqrt().ceil() as usize;
        let png = grid_png(
            &pictures,
            sampler.width(),
            sampler.height(),
            self.data.channels(),
            columns,
            2,
            2,
        )?;
        durable::write(&picture_of(&path), &png)?;
        self.health.samples(self.context, images_seen, &png);
        Ok(())
    }
}

/// The file of the images that were drawn from the network in a file.
fn picture_of(network: &Path) -> PathBuf {
    network.with_extension("png")
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
        let mut snapshots = Snapshots::default();
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
        for images in [0, 150, 800, 900] {
            assert!(settings.keeps_snapshot(images));
        }
        for images in [100, 250, 700, 1000] {
            assert!(!settings.keeps_snapshot(images));
        }
    }
}
