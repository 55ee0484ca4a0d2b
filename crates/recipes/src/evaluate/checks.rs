//! What must hold between samples and the reference that they are compared with.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Baseline, Kind, Metric};

use super::EvaluateSettings;
use crate::inputs::Inputs;
use crate::kinds::StageSettings;
use crate::pipeline::Stage;
use crate::prepare::PrepareSettings;
use crate::sample::Region;
use crate::train::TrainingData;

/// Some metrics compare features themselves, which the reference has to keep, and some are of one extractor alone.
pub(super) fn features(
    evaluate: &EvaluateSettings,
    section: &Section<'_>,
    inputs: &Inputs<'_>,
) -> Result<(), ConfigError> {
    let Some((_, reference)) = inputs.reference() else {
        return Ok(());
    };
    if let Some(metric) = evaluate.feature_metric()
        && reference.keep_features == 0
    {
        let problem = format!(
            "has `{metric}`, which compares features, but the reference keeps none: its `keep_features` is 0"
        );
        return Err(section.invalid("metrics", problem));
    }
    for metric in &evaluate.metrics {
        let mut extractors = reference.extractor.iter();
        if !extractors.any(|choice| metric.is_of(&choice.network)) {
            let problem = format!(
                "has `{metric}`, which is defined for `{}` alone, and the reference's `extractor` does not name it",
                metric.extractor().unwrap_or_default()
            );
            return Err(section.invalid("metrics", problem));
        }
    }
    if reference.statistics.is_some() && evaluate.baselines.contains(&Baseline::RealHalves) {
        let problem =
            "has `real-halves`, but the reference's `statistics` are external and have no halves";
        return Err(section.invalid("baselines", problem));
    }
    Ok(())
}

/// Reconstructions are the floor of scores by the same reference and the same decoder.
pub(super) fn floor(section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
    let Some((stage, reconstruct)) = inputs.reconstruction() else {
        return Ok(());
    };
    let theirs = inputs.of_input(stage).reference();
    if let (Some((own, _)), Some((other, _))) = (inputs.reference(), theirs)
        && own.name != other.name
    {
        let problem = format!(
            "lead to the reference `{}` and, through `{}`, to `{}`",
            own.name, stage.name, other.name
        );
        return Err(section.invalid("needs", problem));
    }
    for sample in inputs.of_kind(Kind::Sample) {
        if let StageSettings::Sample(settings) = &sample.settings
            && settings.autoencoder != reconstruct.autoencoder
        {
            let problem = format!(
                "lead to samples and to reconstructions of different decoders: give `{}` and `{}` the same `autoencoder`",
                sample.name, stage.name
            );
            return Err(section.invalid("needs", problem));
        }
    }
    Ok(())
}

/// Images that the deviation of a Fréchet distance is taken of at least: two in each of twenty groups.
const CONFIDENCE_IMAGES: u64 = 40;

/// Metrics that need more images than are sampled: the last stage would leave them out.
pub(super) fn samples(
    evaluate: &EvaluateSettings,
    section: &Section<'_>,
    inputs: &Inputs<'_>,
) -> Result<(), ConfigError> {
    let kept = inputs
        .reference()
        .map(|(_, reference)| u64::from(reference.keep_features));
    for sample in inputs.of_kind(Kind::Sample) {
        let StageSettings::Sample(settings) = &sample.settings else {
            continue;
        };
        let images = settings.images();
        if evaluate.metrics.contains(&Metric::Confidence) && images < CONFIDENCE_IMAGES {
            let problem = format!(
                "has `confidence`, which needs {CONFIDENCE_IMAGES} images, and `{}` samples {images}",
                sample.name
            );
            return Err(section.invalid("metrics", problem));
        }
        let compared = u64::min(images, kept.unwrap_or(images));
        if evaluate.metrics.contains(&Metric::Manifold) && compared <= evaluate.nearest_k.into() {
            let problem = format!(
                "has `manifold`, which compares more images than `nearest_k` = {}, and of `{}` there are {compared}",
                evaluate.nearest_k, sample.name
            );
            return Err(section.invalid("metrics", problem));
        }
    }
    Ok(())
}

/// Images of different sizes or channels do not compare fairly.
pub(super) fn images(section: &Section<'_>, inputs: &Inputs<'_>) -> Result<(), ConfigError> {
    let reference = inputs
        .reference()
        .and_then(|(stage, _)| inputs.of_input(stage).data_set());
    let Some(reference) = reference else {
        return Ok(());
    };
    for sample in inputs.of_kind(Kind::Sample) {
        let data = TrainingData::of_samples(&inputs.of_input(sample));
        let train = data.and_then(|data| data.images);
        let sampled = region_of_samples(sample).or(train.map(PrepareSettings::image_size));
        if let Some(sampled) = sampled
            && reference.image_size() != sampled
        {
            let problem = format!(
                "lead to a reference of {} and, through `{}`, to samples of {}",
                in_words(reference.image_size()),
                sample.name,
                in_words(sampled)
            );
            return Err(section.invalid("needs", problem));
        }
        if let Some(train) = train
            && reference.channels != train.channels
        {
            let problem = format!(
                "lead to a reference of `channels` = {} and, through `{}`, to samples of `channels` = {}",
                reference.channels.count(),
                sample.name,
                train.channels.count()
            );
            return Err(section.invalid("needs", problem));
        }
    }
    Ok(())
}

/// Width and height of the part of the canvas that a sample stage samples, where it is not the whole.
fn region_of_samples(sample: &Stage) -> Option<(u32, u32)> {
    match &sample.settings {
        StageSettings::Sample(settings) => settings.region.map(Region::size),
        _ => None,
    }
}

/// The size of images, width and height.
fn in_words((width, height): (u32, u32)) -> String {
    if width == height {
        format!("side {width}")
    } else {
        format!("{width} x {height} pixels")
    }
}
