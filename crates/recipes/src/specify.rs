//! From a resolved pipeline to the graph of stages that the supervisor runs.

use std::time::Duration;

use patchwork_artifacts::{Demand, PipelineSpec, StageSpec};

use crate::error::SpecifyError;
use crate::execution::{CPU, Execution};
use crate::inputs::Inputs;
use crate::outside::{Outside, SpecifyOptions};
use crate::pipeline::{Pipeline, Stage};

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
    let described = stage.settings.describe(seed, &mut outside)?;
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
        external: None,
        missing: outside.missing,
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
            // The launcher chooses.
            "cuda" if execution.launch.is_some() => vec![Demand::EVERY_GPU.to_owned()],
            "cuda" => (0..execution.ranks)
                .map(|rank| format!("cuda:{rank}"))
                .collect(),
            other => vec![other.to_owned()],
        },
    }
}
