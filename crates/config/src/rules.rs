//! What must hold between the settings of different stages.

use patchwork_terms::{
    AugmentOperation, Baseline, Channels, EmaKind, Kind, Labels, PatchShare, SampleLabels,
    patch_shares,
};

use crate::error::ConfigError;
use crate::graph::Draft;
use crate::pipeline::Stage;
use crate::section::Section;
use crate::settings::StageSettings;
use crate::settings::evaluate::EvaluateSettings;
use crate::settings::network::KEYS as NETWORK_KEYS;
use crate::settings::prepare::PrepareSettings;
use crate::settings::sample::{Region, SampleSettings};
use crate::settings::shards;
use crate::settings::train::TrainSettings;

/// Fits every stage to those that it reads, where its defaults depend on them. `drafts` and `stages` are in the same order.
pub(crate) fn fit(drafts: &[Draft<'_>], stages: &mut [Stage]) -> Result<(), ConfigError> {
    (drafts.iter().enumerate()).try_for_each(|(place, draft)| fit_stage(draft, place, stages))
}

/// Fits the stage at `place` to those of `stages` that it reads: samples come to a shard as their size allows.
pub(crate) fn fit_stage(
    draft: &Draft<'_>,
    place: usize,
    stages: &mut [Stage],
) -> Result<(), ConfigError> {
    let Some(data) = data_of_samples(&stages[place], stages) else {
        return Ok(());
    };
    let channels = data.channels.count();
    let size = region_of_samples(&stages[place]).unwrap_or(data.image_size());
    if let StageSettings::Sample(sample) = &mut stages[place].settings {
        sample.images_per_shard =
            shards::fitting(&draft.section, sample.images_per_shard, size, channels)?;
    }
    Ok(())
}

/// Checks every stage against those that it reads. `drafts` and `stages` are in the same order.
pub(crate) fn check(drafts: &[Draft<'_>], stages: &[Stage]) -> Result<(), ConfigError> {
    drafts
        .iter()
        .zip(stages)
        .try_for_each(|(draft, stage)| check_stage(draft, stage, stages))
}

/// Checks one stage against those of `stages` that it reads.
pub(crate) fn check_stage(
    draft: &Draft<'_>,
    stage: &Stage,
    stages: &[Stage],
) -> Result<(), ConfigError> {
    match &stage.settings {
        StageSettings::Prepare(_) | StageSettings::Reference(_) => Ok(()),
        StageSettings::Train(train) => {
            check_ranks(&draft.section, train, stage.execution.ranks)?;
            match prepare_above(stage, stages) {
                Some(data) => check_train(&draft.section, train, data),
                None => Ok(()),
            }
        }
        StageSettings::Sample(sample) => match needed(stage, Kind::Train, stages).next() {
            Some(train) => check_sample(&draft.section, sample, train, stages),
            None => Ok(()),
        },
        StageSettings::Evaluate(evaluate) => {
            check_features(&draft.section, evaluate, stage, stages)?;
            check_evaluate(&draft.section, stage, stages)
        }
    }
}

/// Each process that trains has an image of its own in every micro-batch.
fn check_ranks(
    section: &Section<'_>,
    train: &TrainSettings,
    ranks: u32,
) -> Result<(), ConfigError> {
    let (batch, rounds) = (train.batch_size, train.gradient_accumulation);
    if ranks <= batch / rounds {
        return Ok(());
    }
    let problem = format!(
        "is {ranks}, more than the {} images of a micro-batch (`batch_size` = {batch}, `gradient_accumulation` = \
         {rounds})",
        batch / rounds
    );
    Err(section.invalid("ranks", problem))
}

fn check_train(
    section: &Section<'_>,
    train: &TrainSettings,
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
    let network_section = section.table("network", NETWORK_KEYS)?;
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
            "has `{}`, whose quarter turns change the shape of images of {width} x {height} pixels; leave it out",
            turn.name()
        );
        return Err(section.invalid("augment_operations", problem));
    }
    if data.channels == Channels::Grey
        && let Some(color) = chosen(AugmentOperation::COLOR)
    {
        let problem = format!(
            "has `{}`, which transforms colours, and the images are grey: the data set has `channels` = 1; leave it out",
            color.name()
        );
        return Err(section.invalid("augment_operations", problem));
    }
    Ok(())
}

fn check_sample(
    section: &Section<'_>,
    sample: &SampleSettings,
    stage: &Stage,
    stages: &[Stage],
) -> Result<(), ConfigError> {
    let StageSettings::Train(train) = &stage.settings else {
        return Ok(());
    };
    if let (Some(region), Some(data)) = (sample.region, prepare_above(stage, stages)) {
        let levels = train.network.levels();
        if let Some(problem) = region.problem(train.position_channels, data.image_size(), levels) {
            return Err(section.invalid("region", problem));
        }
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
    match (train.class_conditional, sample.labels) {
        (false, SampleLabels::Dataset | SampleLabels::Balanced) => {
            let problem = format!(
                "are `{}`, but training is not `class_conditional`",
                sample.labels.name()
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
            let problem = "must be chosen, since the network draws with a class and, by `label_dropout`, without: \
                           `dataset` (as often as the data set has them), `balanced` (each as often as any other) or \
                           `none` (no class, as an unconditional model)";
            Err(section.invalid("labels", problem))
        }
        _ => Ok(()),
    }
}

/// Some metrics compare features themselves, which the reference has to keep.
fn check_features(
    section: &Section<'_>,
    evaluate: &EvaluateSettings,
    stage: &Stage,
    stages: &[Stage],
) -> Result<(), ConfigError> {
    let reference =
        needed(stage, Kind::Reference, stages).find_map(|stage| match &stage.settings {
            StageSettings::Reference(settings) => Some(settings),
            _ => None,
        });
    let Some(reference) = reference else {
        return Ok(());
    };
    if evaluate.needs_features() && reference.keep_features == 0 {
        let problem = "has `kernel` or `manifold`, which compare features, but the reference keeps none: \
                       its `keep_features` is 0";
        return Err(section.invalid("metrics", problem));
    }
    if reference.statistics.is_some() && evaluate.baselines.contains(&Baseline::RealHalves) {
        let problem = "has `real-halves`, but the reference's `statistics` were made elsewhere and have no halves";
        return Err(section.invalid("baselines", problem));
    }
    Ok(())
}

/// Images of different sides or channels are no fair comparison.
fn check_evaluate<'a>(
    section: &Section<'_>,
    stage: &'a Stage,
    stages: &'a [Stage],
) -> Result<(), ConfigError> {
    let reference = needed(stage, Kind::Reference, stages).next();
    let Some(reference) = reference.and_then(|stage| prepare_above(stage, stages)) else {
        return Ok(());
    };
    for sample in needed(stage, Kind::Sample, stages) {
        let train = data_of_samples(sample, stages);
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

/// The data set that the network of a sample stage was trained on.
fn data_of_samples<'a>(sample: &'a Stage, stages: &'a [Stage]) -> Option<&'a PrepareSettings> {
    let train = needed(sample, Kind::Train, stages).next()?;
    prepare_above(train, stages)
}

/// Width and height of the part of the canvas that a sample stage draws, where it is not the whole.
fn region_of_samples(sample: &Stage) -> Option<(u32, u32)> {
    match &sample.settings {
        StageSettings::Sample(settings) => settings.region.map(|Region { side, .. }| (side, side)),
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

fn needed<'a>(
    stage: &'a Stage,
    kind: Kind,
    stages: &'a [Stage],
) -> impl Iterator<Item = &'a Stage> + 'a {
    stages
        .iter()
        .filter(move |other| other.kind() == kind && stage.needs.contains(&other.name))
}

fn prepare_above<'a>(stage: &'a Stage, stages: &'a [Stage]) -> Option<&'a PrepareSettings> {
    needed(stage, Kind::Prepare, stages).find_map(|stage| match &stage.settings {
        StageSettings::Prepare(settings) => Some(settings),
        _ => None,
    })
}
