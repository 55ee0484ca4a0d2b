//! Scores of runs that differ in their seed alone, taken together: mean, deviation, number, best mean first.
//!
//! A seed counts once in a group: of two evaluations of the same settings and the same seed the newer one counts.

use std::collections::BTreeMap;

use patchwork_comparison::{Facts, Spread};
use serde_json::{Value, json};

use super::ranking::{Ranked, SHORT};
use super::settings::SettingsApart;
use crate::arguments::Format;
use crate::commands::show::subject;
use crate::output::{Rows, score_text};

/// Runs of one column or row: their scores by seed.
struct Group<'a> {
    members: Vec<&'a Ranked>,
    spread: Spread,
}

/// What runs of a group have in common: what was measured, when in training, on how many samples, and all settings.
type Common<'a> = (&'a str, &'a str, Option<i64>, i64, Option<&'a Facts>);

pub(super) fn table(ranked: &[Ranked], settings: &SettingsApart, format: Format) -> Rows {
    let is_table = format == Format::Table;
    let mut columns = vec![
        "rank",
        "of",
        "images seen",
        "mean",
        "deviation",
        "seeds",
        "difference",
        "samples",
        "reference images",
        "reference",
        "settings",
    ];
    if !is_table {
        columns.extend(["stage", "seed values", "values", "runs"]);
    }
    let number = |value: f64| match format {
        Format::Table => json!(score_text(value, 4)),
        Format::Json | Format::Csv => json!(value),
    };
    let groups = groups(ranked, settings);
    let mut rows = Rows::new(&columns);
    for (position, group) in groups.iter().enumerate() {
        let score = &group.members[0].score;
        let (mut of, mut reference) = (score.subject.clone(), score.reference.clone());
        if is_table {
            of = subject(score);
            reference.truncate(SHORT);
        }
        let mut row = vec![
            json!(position + 1),
            json!(of),
            json!(score.images_seen),
            number(group.spread.mean),
            group.spread.deviation.map_or(Value::Null, number),
            json!(group.spread.number),
            json!(difference(group, &groups)),
            json!(score.samples),
            json!(score.reference_images),
            json!(reference),
            settings.of_run(&group.members[0].run, format),
        ];
        if !is_table {
            let listed = |texts: Vec<Value>| match format {
                Format::Csv => json!(
                    texts
                        .iter()
                        .map(|text| text.as_str().map_or(text.to_string(), str::to_owned))
                        .collect::<Vec<_>>()
                        .join(" ")
                ),
                _ => Value::Array(texts),
            };
            let each = |of: &dyn Fn(&Ranked) -> Value| {
                listed(group.members.iter().map(|member| of(member)).collect())
            };
            row.extend([
                json!(score.stage),
                each(&|member| json!(settings.seed(&member.run))),
                each(&|member| json!(member.score.value)),
                each(&|member| json!(member.run)),
            ]);
        }
        rows.push(row);
    }
    rows
}

/// The groups, best mean first; within a group by seed.
fn groups<'a>(ranked: &'a [Ranked], settings: &'a SettingsApart) -> Vec<Group<'a>> {
    let mut found: BTreeMap<Common<'a>, BTreeMap<&'a str, &'a Ranked>> = BTreeMap::new();
    for one in ranked {
        let score = &one.score;
        let common = (
            score.stage.as_str(),
            score.subject.as_str(),
            score.images_seen,
            score.samples,
            settings.all(&one.run),
        );
        let seeds = found.entry(common).or_default();
        let known = seeds.entry(settings.seed(&one.run)).or_insert(one);
        if known.score.time < score.time {
            *known = one;
        }
    }
    let mut groups: Vec<Group<'a>> = found
        .into_values()
        .filter_map(|seeds| {
            let members: Vec<&Ranked> = seeds.into_values().collect();
            let values: Vec<f64> = members.iter().map(|member| member.score.value).collect();
            let spread = Spread::of(&values)?;
            Some(Group { members, spread })
        })
        .collect();
    groups.sort_by(|one, other| {
        let order = one.spread.mean.total_cmp(&other.spread.mean);
        if one.members[0].score.higher_is_better {
            order.reverse()
        } else {
            order
        }
    });
    groups
}

/// How a group stands to the best of those that had seen as many images and have as many samples; the first is the best.
fn difference(group: &Group<'_>, groups: &[Group<'_>]) -> String {
    let circumstances = |group: &Group<'_>| {
        let score = &group.members[0].score;
        (score.images_seen, score.samples)
    };
    let best = (groups.iter()).find(|other| circumstances(other) == circumstances(group));
    match best {
        Some(best) if !std::ptr::eq(best, group) => {
            group.spread.difference(best.spread).to_string()
        }
        _ => "best".to_owned(),
    }
}
