//! What must hold between samples and the training whose network makes them.

use std::path::Path;

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{EmaKind, SampleLabels};

use super::SampleSettings;
use crate::error::SpecifyError;
use crate::inputs::Inputs;
use crate::pipeline::Stage;
use crate::train::start::images_seen;
use crate::train::{TrainSettings, TrainingData};

/// Checks samples against the training whose network makes them.
pub(super) fn fits(
    sample: &SampleSettings,
    section: &Section<'_>,
    inputs: &Inputs<'_>,
) -> Result<(), ConfigError> {
    let Some((_, train)) = inputs.training() else {
        return Ok(());
    };
    match (TrainingData::of_samples(inputs), sample.region) {
        (Some(data), _) => check_data(sample, section, train, data)?,
        // Of a training that is given, the size of its images is not known.
        (None, Some(region)) => {
            let (levels, size) = (train.network.levels(), (u32::MAX, u32::MAX));
            if let Some(problem) = region.problem(train.position_channels, size, levels) {
                return Err(section.invalid("region", problem));
            }
        }
        (None, None) => {}
    }
    if sample.ema_width.is_some() && train.ema != EmaKind::Power {
        let problem =
            "needs averages of several widths, which training keeps with `ema` = \"power\"";
        return Err(section.invalid("ema_width", problem));
    }
    if sample.best_snapshot && train.snapshot_evaluation.is_none() {
        let problem =
            "needs snapshots that training measured; give it a table `snapshot_evaluation`";
        return Err(section.invalid("best_snapshot", problem));
    }
    if let Some(images) = sample
        .at_images
        .filter(|&images| !train.keeps_snapshot(images))
    {
        let regular = match (train.snapshot_kimg, train.snapshots_kept) {
            (None, _) => String::new(),
            (Some(kimg), 0) => format!(", nor one of every {kimg} thousand images"),
            (Some(kimg), kept) => {
                format!(", nor one of the newest {kept} of every {kimg} thousand images")
            }
        };
        let problem = format!(
            "is {images}, which is not among the `snapshot_images` of training: {:?}{regular}; leave it \
             out for the final network",
            train.snapshot_images
        );
        return Err(section.invalid("at_images", problem));
    }
    if sample.guidance.is_some() && train.label_dropout == 0.0 {
        let problem = "works only with a network that was trained with `class_conditional` and a \
                       `label_dropout` above 0";
        return Err(section.invalid("guidance", problem));
    }
    if !sample.classes.is_empty() {
        if !train.class_conditional {
            let problem = "names classes, but training is not `class_conditional`";
            return Err(section.invalid("classes", problem));
        }
        return Ok(());
    }
    match (train.class_conditional, sample.labels) {
        (false, SampleLabels::Dataset | SampleLabels::Balanced) => {
            let problem = format!(
                "are `{}`, but training is not `class_conditional`",
                sample.labels
            );
            Err(section.invalid("labels", problem))
        }
        (true, SampleLabels::None) if train.label_dropout == 0.0 => {
            let problem = "are `none`, but the network was trained with `class_conditional` and \
                           never without a class; use `dataset` or `balanced`";
            Err(section.invalid("labels", problem))
        }
        (true, SampleLabels::None) if sample.guidance.is_some() => {
            let problem = "are `none`, but `guidance` needs a class to lead to";
            Err(section.invalid("labels", problem))
        }
        // Either would do; which one is meant decides what a distance is of.
        (true, SampleLabels::None) if !section.has("labels") => {
            let problem = "must be chosen, since the network samples with a class and, by `label_dropout`, without: \
                           `dataset` (as often as the data set has them), `balanced` (each as often as any other) or \
                           `none` (no class, as an unconditional model)";
            Err(section.invalid("labels", problem))
        }
        _ => Ok(()),
    }
}

/// What is defined on latents alone, or on pixels alone.
fn check_data(
    sample: &SampleSettings,
    section: &Section<'_>,
    train: &TrainSettings,
    data: TrainingData<'_>,
) -> Result<(), ConfigError> {
    match (data.encoding, sample.region) {
        (Some(_), Some(_)) => {
            let problem =
                "is for networks of pixels, and this one was trained on latents; leave it out";
            return Err(section.invalid("region", problem));
        }
        (None, _) if sample.autoencoder.is_some() => {
            let problem = "decodes latents, and the network was trained on pixels; leave it out";
            return Err(section.invalid("autoencoder", problem));
        }
        _ => {}
    }
    if let (Some(region), Some(size)) = (sample.region, data.size()) {
        let levels = train.network.levels();
        if let Some(problem) = region.problem(train.position_channels, size, levels) {
            return Err(section.invalid("region", problem));
        }
    }
    Ok(())
}

/// Refuses samples of a snapshot that lies before the checkpoint from which its training is resumed.
pub(super) fn look_behind(
    sample: &SampleSettings,
    stage: &Stage,
    inputs: &Inputs<'_>,
) -> Result<(), SpecifyError> {
    let resume_from = inputs
        .training()
        .and_then(|(_, train)| train.resume_from.as_ref());
    let seen = resume_from.and_then(|path| images_seen(Path::new(path)));
    match (sample.at_images, seen) {
        (Some(images), Some(seen)) if images < seen => Err(SpecifyError::EarlierSnapshot {
            stage: stage.name.clone(),
            images,
            seen,
        }),
        _ => Ok(()),
    }
}
