//! How fast this machine is: the worker does some steps of the training that is planned.

use std::path::Path;

use patchwork_config::Override;
use patchwork_recipes::precision::resolve;
use patchwork_recipes::{SampleSettings, StageSettings, TrainSettings, load_stage};
use patchwork_terms::{Kind, Labels, Solver};
use serde::Deserialize;
use serde_json::json;

use super::findings::{Findings, prepare_stage};
use super::pace::Measured;
use super::places::PRESETS;
use super::plan::Plan;
use super::questions::Answers;
use super::setting::Table;
use crate::error::CliError;
use crate::output::remark;
use crate::worker_program;

/// A length for the presets that leave it open; it has no part in the speed.
const SOME_LENGTH: &str = "duration_images=1_000_000_000";

/// What the worker answers.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Done(Pace),
    Error(String),
}

#[derive(Deserialize)]
struct Pace {
    images_per_second: f64,
    gradient_accumulation: u32,
    memory_bytes: Option<u64>,
    seconds_per_evaluation: f64,
}

/// Has the worker measure the training that a plan describes, for some seconds.
pub(super) fn measure(
    found: &Findings,
    answers: &Answers,
    plan: &Plan,
) -> Result<Measured, CliError> {
    let preset = Path::new(PRESETS).join(format!("{}.toml", plan.preset));
    let labels = found
        .classes
        .as_ref()
        .map_or(Labels::None, |classes| classes.labels);
    let prepare = prepare_stage(&found.source, labels, answers.resolution)?;
    let device = Override::set(&format!("device={}", json!(answers.device)));
    let settings_of = |table: Table, prefix: &'static str| {
        let of_table = plan
            .settings
            .iter()
            .filter(move |setting| setting.table == table);
        of_table.map(move |setting| {
            Override::set(&format!("{prefix}{}={}", setting.key, setting.value))
        })
    };
    let train_settings: Vec<Override> = [Override::set(SOME_LENGTH), device.clone()]
        .into_iter()
        .chain(settings_of(Table::Train, ""))
        .chain(settings_of(Table::Network, "network."))
        .collect();
    let inputs = [prepare];
    let train = load_stage(
        Kind::Train,
        "train",
        Some(&preset),
        &train_settings,
        &inputs,
    )?
    .stage;
    let sample_settings: Vec<Override> = settings_of(Table::Sample, "").chain([device]).collect();
    let inputs = [inputs, [train.clone()]].concat();
    let sample = load_stage(
        Kind::Sample,
        "sample",
        Some(&preset),
        &sample_settings,
        &inputs,
    )?
    .stage;
    let (StageSettings::Train(settings), StageSettings::Sample(sampling)) =
        (train.settings, sample.settings)
    else {
        unreachable!("they were read as the settings of such stages")
    };
    let on_device = |precision| resolve(precision, &answers.device).unwrap_or(precision);
    let settings = TrainSettings {
        precision: on_device(settings.precision),
        ..settings
    };
    let sampling = SampleSettings {
        precision: on_device(sampling.precision),
        ..sampling
    };
    remark("measuring some steps of training …");
    let request = json!({
        "train": settings,
        "sample": sampling,
        "execution": train.execution,
        "images": {
            "height": answers.resolution,
            "width": answers.resolution,
            "channels": 3,
            "classes": found.classes.as_ref().map_or(0, |classes| classes.names.len()),
        },
    });
    let worker = worker_program::path()?;
    let request = request.to_string();
    let pace = match worker_program::ask(&worker, "measure", &request)? {
        Answer::Done(pace) => pace,
        Answer::Error(problem) => return Err(CliError::Measure(problem)),
    };
    let Pace {
        images_per_second,
        gradient_accumulation,
        memory_bytes,
        seconds_per_evaluation,
    } = pace;
    Ok(Measured {
        batch_size: settings.batch_size,
        gradient_accumulation,
        images_per_second,
        memory_bytes,
        seconds_per_sample: seconds_per_evaluation * f64::from(evaluations(&sampling)),
    })
}

/// How often the network is evaluated for an image.
fn evaluations(sampling: &SampleSettings) -> u32 {
    match sampling.solver {
        Solver::Heun => 2 * sampling.steps - 1,
        Solver::Euler | Solver::DpmSolver2m => sampling.steps,
    }
}
