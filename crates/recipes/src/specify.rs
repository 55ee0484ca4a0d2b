//! From a resolved pipeline to the graph of stages that the supervisor runs.

use std::path::Path;
use std::time::Duration;

use patchwork_artifacts::{Demand, PipelineSpec, StageSpec};
use patchwork_core::FileError;

use crate::execution::{CPU, Execution};
use crate::graph::Inputs;
use crate::outside::Outside;
use crate::pipeline::{Pipeline, Stage};
use crate::train::start::ForeignNetwork;

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
    /// A file of another program, a network or statistics, cannot be read.
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
        "stage `{stage}`: `at_images` is {images}, but training resumes by `resume_from` from {seen} images, and has \
         no snapshots before; sample those of the training that the checkpoint is of"
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

/// Where describing a pipeline looks and remembers.
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
            let inputs = Inputs::of(stage, &pipeline.stages);
            describe(stage, pipeline.seed, options, Some(&inputs))
        })
        .collect::<Result<Vec<_>, SpecifyError>>()?;
    let definition = serde_json::to_value(pipeline).expect("a resolved pipeline is plain data");
    Ok(PipelineSpec {
        name: pipeline.name.clone(),
        definition,
        stages,
    })
}

/// Describes one stage to the supervisor; `seed` is the root of all randomness.
pub fn specify_stage(
    stage: &Stage,
    seed: u64,
    options: &SpecifyOptions<'_>,
) -> Result<StageSpec, SpecifyError> {
    describe(stage, seed, options, None)
}

fn describe(
    stage: &Stage,
    seed: u64,
    options: &SpecifyOptions<'_>,
    inputs: Option<&Inputs<'_>>,
) -> Result<StageSpec, SpecifyError> {
    let mut outside = Outside::of(stage, options);
    let recipe = stage.settings.recipe();
    let described = recipe.describe(stage, seed, &mut outside)?;
    if let Some(inputs) = inputs {
        recipe.look_behind(stage, inputs, &mut outside)?;
    }
    Ok(StageSpec {
        name: stage.name.clone(),
        kind: stage.kind().to_string(),
        format_version: described.format_version,
        needs: stage.needs.clone(),
        settings: described.covered,
        execution: described.uncovered,
        source: described.source,
        given: None,
        lacks: outside.lacks,
        demand: demand(&stage.execution),
        retries: stage.execution.retries,
        timeout: stage
            .execution
            .timeout_minutes
            // Longer than the clock counts is as good as never.
            .and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok()),
    })
}

fn demand(execution: &Execution) -> Demand {
    const GIBIBYTE: f64 = (1_u64 << 30) as f64;
    Demand {
        cpus: (execution.cpus).or_else(|| Some(execution.threads? * execution.ranks as usize)),
        memory_bytes: execution
            .memory_gib
            .map(|gibibytes| (gibibytes * GIBIBYTE) as u64),
        // `cuda` is the first of them, and of each rank the next.
        devices: match execution.device.as_str() {
            CPU => Vec::new(),
            "cuda" => (0..execution.ranks)
                .map(|rank| format!("cuda:{rank}"))
                .collect(),
            other => vec![other.to_owned()],
        },
    }
}
