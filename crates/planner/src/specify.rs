//! From a resolved pipeline to the graph of stages that the supervisor runs.

use std::path::Path;
use std::time::Duration;

use patchwork_artifacts::{Demand, Environment, PipelineSpec, StageSpec};
use patchwork_config::{Execution, Pipeline, ReferenceSettings, Stage, StageSettings};
use patchwork_core::{Digest, FileError};
use patchwork_terms::{AugmentOperation, Export, Kind, Precision, Resize, SampleLabels};
use serde_json::{Value, json};

use crate::network::{ForeignNetwork, images_seen};
use crate::outside::{Outside, missing_weights};
use crate::precision;

/// What keeps a pipeline from being planned.
#[derive(Debug, thiserror::Error)]
pub enum SpecifyError {
    /// A stage's raw data cannot be read.
    #[error("stage `{stage}`: {source}")]
    Source {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: Box<patchwork_dataset::DatasetError>,
    },
    /// The network that a training starts from has to be converted first.
    #[error("stage `{stage}`: `init_from`: {source}")]
    Network {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: ForeignNetwork,
    },
    /// A file that was made elsewhere, a network or statistics, cannot be read.
    #[error("stage `{stage}`: {problem}")]
    File {
        /// The stage.
        stage: String,
        /// Which setting names it, and what is wrong.
        problem: String,
        /// The cause.
        #[source]
        source: Box<FileError>,
    },
    /// A stage's weights are there, and cannot be used.
    #[error("stage `{stage}`: {source}")]
    Weights {
        /// The stage.
        stage: String,
        /// The cause.
        #[source]
        source: Box<patchwork_weights::WeightsError>,
    },
    /// What was read cannot be remembered.
    #[error(transparent)]
    Remember(#[from] FileError),
    /// A snapshot that no training makes.
    #[error(
        "stage `{stage}`: `at_images` is {images}, but training goes on by `resume_from` from {seen} images, and has \
         no snapshots before; draw those of the training that the checkpoint is of"
    )]
    EarlierSnapshot {
        /// The stage that samples.
        stage: String,
        /// The snapshot's images.
        images: u64,
        /// The checkpoint's images.
        seen: u64,
    },
    /// A stage's device does not compute in its precision.
    #[error(
        "stage `{stage}`: `precision = \"float16\"` is for CUDA devices; on a CPU use `bfloat16`, `float32` or `auto`"
    )]
    Float16OnCpu {
        /// The stage.
        stage: String,
    },
}

impl SpecifyError {
    /// Whether another file or another setting would help.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Remember(_))
    }
}

/// Where the planner looks and remembers.
#[derive(Clone, Debug)]
pub struct SpecifyOptions<'a> {
    /// The folder in which digests of sources are remembered.
    pub cache: &'a Path,
    /// The folder with the extractors' weights.
    pub weights: &'a Path,
    /// Whether sources are read again although they look unchanged.
    pub rehash: bool,
}

/// Describes the stages to the supervisor: all of them, or those that the stage `until` needs, and it.
///
/// `auto` precision is resolved here, since it changes what a stage gives; sources are digested and weights
/// checked. What is missing is listed with its stage, which may do without.
pub fn specify(
    pipeline: &Pipeline,
    until: Option<&str>,
    options: &SpecifyOptions<'_>,
) -> Result<PipelineSpec, SpecifyError> {
    let stages = pipeline
        .needed(until)
        .into_iter()
        .map(|stage| {
            let mut spec = specify_stage(stage, pipeline.seed, options)?;
            check_snapshot(stage, pipeline)?;
            if let Some(reference) = reference_of_evaluation(stage, pipeline) {
                spec.lacks
                    .extend(missing_weights(reference, options.weights));
            }
            Ok(spec)
        })
        .collect::<Result<Vec<_>, SpecifyError>>()?;
    let definition = serde_json::to_value(pipeline).expect("a resolved pipeline is plain data");
    Ok(PipelineSpec {
        name: pipeline.name.clone(),
        definition,
        stages,
    })
}

/// Refuses samples of a snapshot that lies before the checkpoint from which its training goes on.
fn check_snapshot(stage: &Stage, pipeline: &Pipeline) -> Result<(), SpecifyError> {
    let StageSettings::Sample(sample) = &stage.settings else {
        return Ok(());
    };
    let mut needs = stage.needs.iter().filter_map(|need| pipeline.stage(need));
    let resume_from = needs.find_map(|need| match &need.settings {
        StageSettings::Train(train) => train.resume_from.as_ref(),
        _ => None,
    });
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

/// The reference whose extractors an evaluate stage uses.
fn reference_of_evaluation<'a>(
    stage: &Stage,
    pipeline: &'a Pipeline,
) -> Option<&'a ReferenceSettings> {
    if stage.kind() != Kind::Evaluate {
        return None;
    }
    let mut needs = stage.needs.iter().filter_map(|need| pipeline.stage(need));
    needs.find_map(|need| match &need.settings {
        StageSettings::Reference(reference) => Some(reference),
        _ => None,
    })
}

/// Describes one stage to the supervisor; `seed` is the root of all randomness.
pub fn specify_stage(
    stage: &Stage,
    seed: u64,
    options: &SpecifyOptions<'_>,
) -> Result<StageSpec, SpecifyError> {
    let mut settings = stage.settings.clone();
    let mut outside = Outside::of(stage, options);
    let mut source_digest: Option<Digest> = None;
    let mut places: Vec<(&str, String)> = Vec::new();
    let mut extra = Vec::new();
    match &mut settings {
        StageSettings::Prepare(prepare) => {
            source_digest = outside.source(prepare)?;
            prepare.obtain = None;
            // The path tells where the data lies; what it holds is told by the digest.
            extra.push(("source", Value::Null));
        }
        StageSettings::Reference(reference) => {
            let weights = outside.weights(reference)?;
            extra.push(("extractor_weights", json!(weights)));
            if let Some(statistics) = &reference.statistics {
                source_digest = outside.statistics(statistics)?;
                extra.push(("statistics", Value::Null));
            }
        }
        StageSettings::Train(train) => {
            train.precision = resolved_precision(train.precision, stage)?;
            if let Some(evaluation) = &train.snapshot_evaluation {
                let weights = outside.weights(&evaluation.reference())?;
                extra.push(("extractor_weights", json!(weights)));
            }
            extra.push(("seed", json!(seed)));
            if let Some(path) = train.init_from.take() {
                let digest = outside.network(Path::new(&path))?;
                train.init_from = digest.map(|digest| digest.to_string());
                places.push(("init_file", path));
            }
            if let Some(path) = train.resume_from.take() {
                let digest = outside.checkpoint(Path::new(&path))?;
                train.resume_from = digest.map(|digest| digest.to_string());
                places.push(("resume_file", path));
            }
        }
        StageSettings::Sample(sample) => {
            sample.precision = resolved_precision(sample.precision, stage)?;
        }
        StageSettings::Evaluate(_) => {}
    }
    let mut settings = serde_json::to_value(&settings).expect("settings are plain data");
    let mut execution = serde_json::to_value(&stage.execution).expect("settings are plain data");
    if matches!(stage.kind(), Kind::Reference | Kind::Evaluate | Kind::Train) {
        execution["weights"] = json!(options.weights);
    }
    if let Some(environment) = environment(stage) {
        let environment = serde_json::to_value(environment).expect("an environment is plain data");
        for (key, value) in environment.as_object().into_iter().flatten() {
            execution[key] = value.clone();
        }
    }
    if stage.execution.device != "cpu" && stage.execution.tf32 {
        extra.push(("tf32", json!(true)));
        // A setting once is on one side alone.
        execution
            .as_object_mut()
            .expect("settings are an object")
            .remove("tf32");
    }
    for (place, path) in places {
        execution[place] = json!(path);
    }
    for (key, value) in extra {
        if value.is_null() {
            execution[key] = settings[key].take();
            settings
                .as_object_mut()
                .expect("settings are an object")
                .remove(key);
        } else {
            settings[key] = value;
        }
    }
    Ok(StageSpec {
        name: stage.name.clone(),
        kind: stage.kind().to_string(),
        format_version: format_version(&stage.settings),
        needs: stage.needs.clone(),
        settings,
        execution,
        source: source_digest,
        given: None,
        lacks: outside.lacks,
        demand: demand(&stage.execution),
        retries: stage.execution.retries,
        timeout: stage
            .execution
            .timeout_minutes
            .map(|minutes| Duration::from_secs_f64(minutes * 60.0)),
    })
}

fn resolved_precision(precision: Precision, stage: &Stage) -> Result<Precision, SpecifyError> {
    precision::resolve(precision, &stage.execution.device).ok_or_else(|| {
        SpecifyError::Float16OnCpu {
            stage: stage.name.clone(),
        }
    })
}

/// What a stage's worker finds in its environment; none = nothing of its own.
fn environment(stage: &Stage) -> Option<Environment> {
    if stage.execution.device != "cpu" {
        Some(Environment::of_cuda(stage.execution.tf32))
    } else if stage.kind() == Kind::Train {
        Some(Environment::of_training_on_cpu())
    } else {
        None
    }
}

/// The version of what a stage makes of the same settings and inputs; it is raised when those bytes change.
fn format_version(settings: &StageSettings) -> u32 {
    match settings {
        StageSettings::Prepare(_) => 1,
        // For `inception-v3/torch`, NVIDIA's program is given pixels that come out normalised as pytorch-fid does.
        StageSettings::Reference(reference)
            if (reference.extractor.iter()).any(|choice| choice.resize == Some(Resize::Torch)) =>
        {
            3
        }
        StageSettings::Reference(_) => 2,
        // Samples of one network are told apart by their settings.
        StageSettings::Evaluate(_) => 3,
        // PNG files of images that are drawn without a class lie in no folder of their own.
        StageSettings::Sample(sample)
            if sample.export == Export::Folder && sample.labels == SampleLabels::None =>
        {
            6
        }
        // Train: a patch's corner is drawn by its own position. Sample: no image depends on the number drawn beside it.
        // Both: the networks' sums are made in another order, twice so far; below float32, normalisation and the first
        // convolution keep their weights.
        StageSettings::Sample(_) => 5,
        // The labels of quarter turns and whole shifts are EDM's, and a whole shift moves rows the other way.
        StageSettings::Train(train)
            if (train.augment_operations.iter()).any(|operation| {
                matches!(
                    operation,
                    AugmentOperation::RotateInt | AugmentOperation::TranslateInt
                )
            }) =>
        {
            7
        }
        // A round's images are shared out among threads, and dropout has draws of its own.
        StageSettings::Train(_) => 6,
    }
}

fn demand(execution: &Execution) -> Demand {
    const GIBIBYTE: f64 = (1_u64 << 30) as f64;
    let device = execution.device.as_str();
    Demand {
        cpus: (execution.cpus).or_else(|| Some(execution.threads? * execution.ranks as usize)),
        memory_bytes: execution
            .memory_gib
            .map(|gibibytes| (gibibytes * GIBIBYTE) as u64),
        // `cuda` is the first of them.
        device: match device {
            "cpu" => None,
            "cuda" => Some("cuda:0".to_owned()),
            other => Some(other.to_owned()),
        },
    }
}
