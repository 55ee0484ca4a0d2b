//! The scores of a metric, best first.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_comparison::{differences, warning};
use patchwork_registry::{HistoryRow, Registry, ScoreRow, Work};
use serde_json::{Value, json};

use super::groups;
use super::settings::SettingsApart;
use crate::arguments::{CompareArguments, Format, Over};
use crate::commands::show::subject;
use crate::error::CliError;
use crate::output::{Rows, remark, score_text};

/// So much of a fingerprint has room in a table.
pub(super) const SHORT: usize = 12;

/// A score, with the run that measured it and later ones that found it made.
pub(super) struct Ranked {
    pub(super) run: String,
    pub(super) score: ScoreRow,
    also: Vec<String>,
    processor: String,
    training: Option<String>,
}

/// What the training behind a score took.
#[derive(Default)]
struct Training {
    /// Until as many images had been seen.
    seconds: Option<f64>,
    /// All of it.
    work: Work,
}

pub(super) async fn rank(
    registry: &Registry,
    metric: &str,
    arguments: &CompareArguments,
) -> Result<(), CliError> {
    let mut history = registry
        .score_history(metric, arguments.pipeline.as_deref())
        .await?;
    if !arguments.runs.is_empty() {
        let mut named = BTreeSet::new();
        for selector in &arguments.runs {
            named.insert(registry.run(selector).await?.run.name);
        }
        history.retain(|row| named.contains(&row.run));
    }
    let (history, others): (Vec<_>, Vec<_>) = history
        .into_iter()
        .partition(|row| is_wanted(&row.score, arguments));
    if history.is_empty() {
        return Err(CliError::NoScores {
            metric: metric.to_owned(),
            scope: scope(arguments),
            known: if others.is_empty() {
                registry.score_metrics().await?.join(", ")
            } else {
                kinds(&others)
            },
        });
    }
    let ranked = ranked(history);
    let scores: Vec<(&str, &ScoreRow)> = ranked
        .iter()
        .map(|ranked| (ranked.run.as_str(), &ranked.score))
        .collect();
    let runs = ranked.iter().map(|ranked| ranked.run.as_str());
    let settings = SettingsApart::look_up(registry, metric, runs).await?;
    let setting = |run: &str, name: &str| settings.value(run, name).map(str::to_owned);
    let differences = differences(&scores, setting);
    if !differences.is_empty() && !arguments.incomparable {
        return Err(CliError::Incomparable {
            metric: metric.to_owned(),
            differences: differences.join("\n"),
        });
    }
    let rows = match arguments.over {
        None => {
            let trainings = trainings(registry, &ranked, arguments.format).await?;
            table(&ranked, &trainings, &settings, arguments.format)
        }
        Some(Over::Seed) => {
            let settings = settings.without_seeds();
            groups::table(&ranked, &settings, arguments.format)
        }
    };
    rows.print(arguments.format)?;
    if !differences.is_empty() {
        remark(&warning(metric, &differences));
    }
    Ok(())
}

fn is_wanted(score: &ScoreRow, arguments: &CompareArguments) -> bool {
    let stages = [&score.stage, &score.subject];
    (arguments.stage.as_ref()).is_none_or(|stage| stages.contains(&stage))
        && (arguments.samples).is_none_or(|samples| i64::from(samples) == score.samples)
}

/// Which scores were asked for, as the end of a sentence.
fn scope(arguments: &CompareArguments) -> String {
    let pipeline = arguments.pipeline.as_ref();
    let (stage, samples) = (arguments.stage.as_ref(), arguments.samples);
    [
        samples.map(|samples| format!(" of {samples} samples")),
        stage.map(|stage| format!(" by or of stage `{stage}`")),
        pipeline.map(|pipeline| format!(" in pipeline `{pipeline}`")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What there is to choose among.
fn kinds(history: &[HistoryRow]) -> String {
    let kinds: BTreeSet<String> = history
        .iter()
        .map(|HistoryRow { score, .. }| {
            format!(
                "`{}` by `{}` of {} samples",
                score.subject, score.stage, score.samples
            )
        })
        .collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

/// Each score of each evaluation once: runs that found an evaluation made have its scores too.
fn ranked(history: Vec<HistoryRow>) -> Vec<Ranked> {
    let mut ranked: Vec<Ranked> = Vec::new();
    let mut places: BTreeMap<(String, u64, usize), usize> = BTreeMap::new();
    // An evaluation may have found one value several times, of other subjects.
    let mut equals: BTreeMap<(String, String, String, u64), usize> = BTreeMap::new();
    for row in history {
        let bits = row.score.value.to_bits();
        let of_run = (
            row.run.clone(),
            row.score.stage.clone(),
            row.artifact.clone(),
            bits,
        );
        let number = equals.entry(of_run).or_default();
        let place = *places
            .entry((row.artifact, bits, *number))
            .or_insert(ranked.len());
        *number += 1;
        match ranked.get_mut(place) {
            Some(known) if known.run == row.run || known.also.contains(&row.run) => {}
            Some(known) => known.also.push(row.run),
            None => ranked.push(Ranked {
                run: row.run,
                score: row.score,
                also: Vec::new(),
                processor: row.processor,
                training: row.training,
            }),
        }
    }
    ranked
}

/// What each score's training took; only programs get it, so that nothing is looked up for a table.
async fn trainings(
    registry: &Registry,
    ranked: &[Ranked],
    format: Format,
) -> Result<Vec<Training>, CliError> {
    let mut trainings = Vec::with_capacity(ranked.len());
    for Ranked {
        score, training, ..
    } in ranked
    {
        let took = match training {
            Some(fingerprint) if format != Format::Table => Training {
                seconds: (registry.training_time(fingerprint).await?)
                    .seconds_until(score.images_seen.unwrap_or_default()),
                work: registry.work_on_artifact(fingerprint).await?,
            },
            _ => Training::default(),
        };
        trainings.push(took);
    }
    Ok(trainings)
}

/// People get numbers and names that are shortened, programs everything.
fn table(
    ranked: &[Ranked],
    trainings: &[Training],
    settings: &SettingsApart,
    format: Format,
) -> Rows {
    let is_table = format == Format::Table;
    let mut columns = vec![
        "rank",
        "run",
        "of",
        "value",
        "deviation",
        "images seen",
        "samples",
        "reference images",
        "reference",
        "settings",
    ];
    if !is_table {
        columns.extend([
            "stage",
            "also",
            "seed",
            "training seconds",
            "training processor seconds",
            "processor",
            "time",
        ]);
    }
    let mut rows = Rows::new(&columns);
    for (position, (one, training)) in ranked.iter().zip(trainings).enumerate() {
        let Ranked {
            run, score, also, ..
        } = one;
        let (mut of, mut reference) = (score.subject.clone(), score.reference.clone());
        if is_table {
            of = subject(score);
            reference.truncate(SHORT);
        }
        let number = |value: f64| match format {
            Format::Table => json!(score_text(value, 4)),
            Format::Json | Format::Csv => json!(value),
        };
        let mut row = vec![
            json!(position + 1),
            if is_table {
                json!(with_others(run, also))
            } else {
                json!(run)
            },
            json!(of),
            number(score.value),
            score.deviation.map_or(Value::Null, number),
            json!(score.images_seen),
            json!(score.samples),
            json!(score.reference_images),
            json!(reference),
            settings.of_run(run, format),
        ];
        match format {
            Format::Table => {}
            Format::Json => row.extend([json!(score.stage), json!(also)]),
            Format::Csv => row.extend([json!(score.stage), json!(also.join(" "))]),
        }
        if !is_table {
            row.extend([
                json!(settings.seed(run)),
                json!(training.seconds),
                json!(training.work.processor_seconds),
                json!(one.processor),
                json!(score.time),
            ]);
        }
        rows.push(row);
    }
    rows
}

/// A run with those that found its evaluation made.
fn with_others(run: &str, also: &[String]) -> String {
    match also {
        [] => run.to_owned(),
        [other] => format!("{run}, {other}"),
        [others @ .., newest] => format!("{run}, {} more, {newest}", others.len()),
    }
}
