//! What a stage that trains reads, and what must hold.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{
    AugmentOperation, FastPath, Kind, LatentScaling, PatchPart, Precision, Preconditioning,
};

use super::{TrainSettings, TrainingData, checks};
use crate::graph::Needed;
use crate::inputs::Inputs;
use crate::lists::in_order;
use crate::recipe::Recipe;

impl Recipe for TrainSettings {
    fn reads(&self) -> &'static [Needed] {
        const { &[Needed::one(&[Kind::Encode, Kind::Prepare])] }
    }

    fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        self.settle_patch_sizes(section)?;
        self.settle_augmentation(section)?;
        if let Some(evaluation) = &mut self.snapshot_evaluation {
            let table = section.table("snapshot_evaluation")?;
            evaluation.settle(table.as_ref().unwrap_or(section))?;
        }
        let network = section.table("network")?;
        self.network.settle(network.as_ref().unwrap_or(section))?;
        if self.precision == Precision::Float16 && !section.has("loss_scaling") {
            let problem = "is left out, and float16 loses small gradients without it; a power of two such as 1024 suits";
            return Err(section.invalid("loss_scaling", problem));
        }
        self.settle_fast_paths(section)?;
        self.check_durations(section)?;
        self.check_snapshots(section)?;
        let (batch, rounds) = (self.batch_size, self.gradient_accumulation);
        if !batch.is_multiple_of(rounds) {
            let problem = format!("is {rounds}, which does not divide `batch_size` = {batch}");
            return Err(section.invalid("gradient_accumulation", problem));
        }
        self.check_preconditioning(section)?;
        self.check_start(section)?;
        if self.label_dropout > 0.0 && !self.class_conditional {
            let problem = "withholds classes, but `class_conditional` is false";
            return Err(section.invalid("label_dropout", problem));
        }
        Ok(())
    }

    /// The published scaling belongs to the published autoencoders.
    fn fit(&mut self, _: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        if let Some((_, encoding)) = inputs.encoding()
            && self.scaling.is_none()
        {
            self.scaling = Some(match encoding.autoencoder {
                Some(_) => LatentScaling::Sd,
                None => LatentScaling::PerChannel,
            });
        }
        Ok(())
    }

    fn check(&self, section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
        checks::fast_paths_fit(self, section, &inputs.reader().execution)?;
        checks::has_images_for_each_rank(self, section, inputs.reader().execution.ranks)?;
        match TrainingData::of(inputs) {
            Some(data) => checks::fits(self, section, data),
            None => Ok(()),
        }
    }

    fn put_below(&mut self, folder: &Path) {
        let paths = [&mut self.init_from, &mut self.resume_from];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&*path).to_string_lossy().into_owned();
        }
    }
}

impl TrainSettings {
    /// The same sizes in another order are the same settings, and so are any that no step uses.
    fn settle_patch_sizes(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.full_image_ratio >= 1.0 {
            self.patch_sizes = PatchPart::ALL.to_vec();
        }
        if self.patch_sizes.is_empty() {
            let problem = format!(
                "is empty, but `full_image_ratio` = {} leaves steps to patches; for full images alone set that to 1",
                self.full_image_ratio
            );
            return Err(section.invalid("patch_sizes", problem));
        }
        self.patch_sizes = in_order(&self.patch_sizes);
        Ok(())
    }

    /// The same fast paths in another order are the same settings.
    fn settle_fast_paths(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        const KEY: &str = "fast_paths";
        self.fast_paths = in_order(&self.fast_paths);
        let has = |path| self.fast_paths.contains(&path);
        if has(FastPath::FusedNormalization) {
            if !has(FastPath::ChannelsLast) {
                let problem = "has `fused-normalization`, which reads features in channels-last: name `channels-last` too";
                return Err(section.invalid(KEY, problem));
            }
            if self.precision == Precision::Float16 {
                let problem = "has `fused-normalization`, whose kernels are for bfloat16 and float32, but `precision` is \
                               \"float16\": leave it out";
                return Err(section.invalid(KEY, problem));
            }
        }
        if has(FastPath::Graphs) && self.preconditioning == Preconditioning::Iddpm {
            let problem = "has `graphs`, but with `preconditioning` = \"iddpm\" a step brings a table of noise levels from the \
                           host, which a graph cannot: leave it out";
            return Err(section.invalid(KEY, problem));
        }
        Ok(())
    }

    /// The augmentations in the order in which they are made: the same ones in another order are the same settings.
    fn settle_augmentation(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        const KEY: &str = "augment_operations";
        if self.augment_probability <= 0.0 {
            if section.has(KEY) {
                let problem = "names augmentations, but `augment_probability` is 0";
                return Err(section.invalid(KEY, problem));
            }
            return Ok(());
        }
        if !section.has(KEY) {
            self.augment_operations = AugmentOperation::EDM.to_vec();
        }
        if self.augment_operations.is_empty() {
            let problem = "is empty; for no augmentation set `augment_probability` to 0";
            return Err(section.invalid(KEY, problem));
        }
        self.augment_operations = in_order(&self.augment_operations);
        Ok(())
    }

    /// The other preconditionings have noise levels and weights of their own.
    fn check_preconditioning(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.preconditioning == Preconditioning::Edm {
            return Ok(());
        }
        match ["sigma_data", "p_mean", "p_std"]
            .into_iter()
            .find(|key| section.has(key))
        {
            Some(key) => {
                let problem = format!(
                    "belongs to `preconditioning` = \"edm\"; \"{}\" has noise levels and weights of its own",
                    self.preconditioning
                );
                Err(section.invalid(key, problem))
            }
            None => Ok(()),
        }
    }

    fn check_durations(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let duration = self.duration_images;
        let (ramp, decay) = (
            self.learning_rate_rampup_images,
            self.learning_rate_decay_images,
        );
        if decay > 0 && ramp.saturating_add(decay) > duration {
            let problem = format!(
                "is {decay}, which with `learning_rate_rampup_images` = {ramp} does not fit into \
                 `duration_images` = {duration}"
            );
            return Err(section.invalid("learning_rate_decay_images", problem));
        }
        Ok(())
    }

    fn check_snapshots(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let duration = self.duration_images;
        if self.snapshots_kept > 0 && self.snapshot_kimg.is_none() {
            let problem = "thins out the snapshots of `snapshot_kimg`, which is not set";
            return Err(section.invalid("snapshots_kept", problem));
        }
        if !self
            .snapshot_images
            .is_sorted_by(|earlier, later| earlier < later)
        {
            let problem = format!("must ascend, but are {:?}", self.snapshot_images);
            return Err(section.invalid("snapshot_images", problem));
        }
        if let Some(late) = self
            .snapshot_images
            .iter()
            .find(|images| **images >= duration)
        {
            let problem = format!(
                "has {late}, which is not below `duration_images` = {duration}; \
                 the final network is always kept"
            );
            return Err(section.invalid("snapshot_images", problem));
        }
        Ok(())
    }

    fn check_start(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        if self.resume_from.is_some() && self.init_from.is_some() {
            let problem =
                "resumes training from a checkpoint, weights included; leave out `init_from`";
            return Err(section.invalid("resume_from", problem));
        }
        Ok(())
    }
}
