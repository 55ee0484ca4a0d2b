//! The scores of a metric, best first.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_comparison::{differences, warning};
use patchwork_registry::{HistoryRow, Registry, ScoreRow};
use serde_json::{Value, json};

use super::settings::SettingsApart;
use crate::arguments::{CompareArguments, Format};
use crate::commands::show::subject;
use crate::error::CliError;
use crate::output::{Rows, remark, score_text};

/// So much of a fingerprint has room in a table.
const SHORT: usize = 12;

/// A score, with the run that measured it and later ones that found it made.
struct Ranked {
    run: String,
    score: ScoreRow,
    also: Vec<String>,
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
    table(&ranked, &settings, arguments.format).print(arguments.format)?;
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
            }),
        }
    }
    ranked
}

/// People get numbers and names that are shortened, programs everything.
fn table(ranked: &[Ranked], settings: &SettingsApart, format: Format) -> Rows {
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
        columns.extend(["stage", "also"]);
    }
    let mut rows = Rows::new(&columns);
    for (position, Ranked { run, score, also }) in ranked.iter().enumerate() {
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
