//! `/compare?runs=A,B`: runs side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};
use patchwork_comparison::{Facts, differences, differing, without_absent_stages};
use patchwork_registry::{RunDetail, ScoreRow};
use serde_json::{Value, json};

use super::parts::{Line, chart, encode, key, series_address, series_title, status, time};
use super::run::controls;
use super::samples::slider;
use super::scatter::{Spot, scatter};
use super::{Place, frame};
use crate::error::DashboardError;
use crate::home::Home;
use crate::pictures::{self, Pictures};
use crate::text;

/// Maximum number of runs side by side.
pub(super) const MOST: usize = 24;

/// What the address of a comparison says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// Names of runs.
    pub(crate) runs: Vec<String>,
    /// The ranking's metric; none is that of the first run with a score.
    metric: Option<String>,
    /// The setting along the scatter's axis.
    setting: Option<String>,
}

impl Asked {
    /// These runs, and nothing particular.
    pub(crate) fn runs(names: &[String]) -> Self {
        Self {
            runs: names.to_vec(),
            ..Self::default()
        }
    }

    /// `run=A&run=B`, as the list of runs sends it, and `runs=A,B`.
    pub(crate) fn of(pairs: Vec<(String, String)>) -> Self {
        let mut asked = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                "run" => asked.runs.push(value),
                "runs" => {
                    let names = value.split(',').filter(|name| !name.is_empty());
                    asked.runs.extend(names.map(str::to_owned));
                }
                "metric" => asked.metric = Some(value).filter(|value| !value.is_empty()),
                "setting" => asked.setting = Some(value).filter(|value| !value.is_empty()),
                _ => {}
            }
        }
        asked
    }
}

/// Runs, and what is to be said of them together.
pub(crate) struct Comparison {
    runs: Vec<RunDetail>,
    pictures: Vec<Pictures>,
    settings: Vec<(String, Vec<Option<String>>)>,
    metric: Option<String>,
    metrics: BTreeSet<String>,
    /// Scores of the metric, each with its run.
    scores: Vec<(String, ScoreRow)>,
    /// Why these cannot be ranked, a line each.
    differences: Vec<String>,
    setting: Option<String>,
}

/// Looks the runs up, and compares them.
pub(crate) async fn gather(home: &Home, asked: &Asked) -> Result<Comparison, DashboardError> {
    let registry = home.registry().await?;
    if asked.runs.is_empty() {
        let text =
            "name the runs to compare: select them in the list of runs, or write /compare?runs=A,B";
        return Err(DashboardError::Request(text.to_owned()));
    }
    if asked.runs.len() > MOST {
        let text = format!(
            "{} runs were asked for, and {MOST} fit on a page",
            asked.runs.len()
        );
        return Err(DashboardError::Request(text));
    }
    let (mut runs, mut pictures): (Vec<RunDetail>, Vec<Pictures>) = (Vec::new(), Vec::new());
    for name in &asked.runs {
        let run = registry.run(name).await?;
        if runs.iter().all(|known| known.run.id != run.run.id) {
            pictures.push(pictures::of_run(home, &run).await?);
            runs.push(run);
        }
    }
    let mut facts: Vec<Facts> = runs
        .iter()
        .map(|run| run.params.iter().cloned().collect())
        .collect();
    without_absent_stages(&mut facts);
    let settings: Vec<(String, Vec<Option<String>>)> = differing(&facts.iter().collect::<Vec<_>>())
        .into_iter()
        .map(|key| {
            let values = facts.iter().map(|facts| facts.get(&key).cloned()).collect();
            (key, values)
        })
        .collect();
    let trained = |run: &RunDetail| -> Vec<ScoreRow> {
        let scores = run
            .scores
            .iter()
            .filter(|score| score.images_seen.is_some());
        scores.cloned().collect()
    };
    let metrics: BTreeSet<String> = runs
        .iter()
        .flat_map(|run| trained(run).into_iter().map(|score| score.metric))
        .collect();
    let first = || runs.iter().find_map(|run| run.run.metric.clone());
    let metric = asked.metric.clone().or_else(first);
    let mut scores: Vec<(String, ScoreRow)> = Vec::new();
    for run in &runs {
        let scores_of_run = trained(run).into_iter();
        let wanted = scores_of_run.filter(|score| Some(&score.metric) == metric.as_ref());
        scores.extend(wanted.map(|score| (run.run.name.clone(), score)));
    }
    let setting = |run: &str, name: &str| {
        let run = runs.iter().find(|known| known.run.name == run)?;
        let mut params = run.params.iter();
        let found = params.find(|(key, _)| key.strip_prefix("stages.") == Some(name));
        found.map(|(_, value)| value.clone())
    };
    let borrowed: Vec<(&str, &ScoreRow)> = scores
        .iter()
        .map(|(run, score)| (run.as_str(), score))
        .collect();
    let differences = differences(&borrowed, setting);
    if differences.is_empty() {
        scores.sort_by(|(_, one), (_, other)| {
            let rising = one.value.total_cmp(&other.value);
            if one.higher_is_better {
                rising.reverse()
            } else {
                rising
            }
        });
    }
    let setting = asked.setting.clone().or_else(|| first_setting(&settings));
    Ok(Comparison {
        runs,
        pictures,
        settings,
        metric,
        metrics,
        scores,
        differences,
        setting,
    })
}

impl Comparison {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.runs.iter().map(|run| run.run.name.as_str()).collect()
    }

    /// Changes every text that may name a folder of the machine.
    pub(crate) fn shorten(&mut self, shortened: impl Fn(&str) -> String) {
        let values = self
            .settings
            .iter_mut()
            .flat_map(|(_, values)| values)
            .flatten();
        for value in values {
            *value = shortened(value);
        }
    }

    /// As JSON: the names, the settings that differ, the scores of the metric, and why they cannot be ranked.
    pub(crate) fn json(&self) -> Value {
        let names = self.names();
        let settings: Vec<Value> = self
            .settings
            .iter()
            .map(|(key, values)| {
                let mut row = serde_json::Map::from_iter([("what".to_owned(), json!(key))]);
                row.extend(
                    names
                        .iter()
                        .zip(values)
                        .map(|(name, value)| ((*name).to_owned(), json!(value))),
                );
                row.into()
            })
            .collect();
        let scores: Vec<Value> = self
            .scores
            .iter()
            .map(|(run, score)| json!({ "run": run, "score": score }))
            .collect();
        json!({
            "runs": names, "settings": settings, "metric": self.metric, "scores": scores,
            "incomparable": self.differences,
        })
    }
}

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Markup, DashboardError> {
    let comparison = gather(&home, &Asked::of(pairs)).await?;
    Ok(frame("Compare", &Place::Other, &content(&comparison)))
}

/// Everything on the page.
pub(crate) fn content(comparison: &Comparison) -> Markup {
    html! {
        h1 { "Compare" }
        (overview(comparison))
        (ranking(comparison))
        (settings(comparison))
        (plotted(comparison))
        (grids(comparison))
        section { h2 { "Series" } (controls()) (charts(comparison)) }
    }
}

fn overview(comparison: &Comparison) -> Markup {
    html! { section #overview data-live { div.scroll { table {
        thead { tr { th { "Run" } th { "Status" } th { "Started" } th.number { "Duration" } th { "Score" } } }
        tbody { @for (number, run) in comparison.runs.iter().enumerate() { tr {
            td { (key(number)) a href={ "/runs/" (encode(&run.run.name)) } { (run.run.name) } }
            td { (status(&run.run.status.to_string())) }
            td { (time(&run.run.started)) }
            td.number { (text::duration(run.run.seconds)) }
            td { @if let Some(metric) = &run.run.metric { (metric) " " (text::number(run.run.value)) } @else { "–" } }
        } } }
    } } } }
}

fn ranking(comparison: &Comparison) -> Markup {
    let Some(metric) = &comparison.metric else {
        return html! { section { h2 { "Ranking" } p.muted { "None of these runs has a score yet." } } };
    };
    html! { section #ranking data-live { h2 { "Ranking" }
        (chooser(comparison))
        @if comparison.differences.is_empty() {
            div.scroll { table {
                thead { tr { th.number { "Rank" } th { "Run" } th { "Of" } th.number { (metric) } th.number { "Deviation" } th.number { "Images seen" } th.number { "Samples" } } }
                tbody { @for (position, (run, score)) in comparison.scores.iter().enumerate() { tr {
                    td.number { (position + 1) }
                    td { (run) } td { (score.subject) }
                    td.number { (text::number(Some(score.value))) }
                    td.number { (text::number(score.deviation)) }
                    td.number { (score.images_seen.map_or("–".to_owned(), text::grouped)) }
                    td.number { (text::grouped(score.samples)) }
                } } }
            } }
        } @else {
            div.notice role="note" {
                p { "The scores of " code { (metric) } " do not compare, so they are not ranked:" }
                ul { @for line in &comparison.differences { li { (line.trim()) } } }
            }
        }
    } }
}

fn chooser(comparison: &Comparison) -> Markup {
    html! { @if comparison.metrics.len() > 1 || comparison.settings.len() > 1 {
        form.filters method="get" action="/compare" {
            input type="hidden" name="runs" value=(comparison.names().join(","));
            label { "Metric " select name="metric" { @for name in &comparison.metrics {
                option value=(name) selected[Some(name) == comparison.metric.as_ref()] { (name) }
            } } }
            @if !comparison.settings.is_empty() { label { "Setting " select name="setting" { @for (key, _) in &comparison.settings {
                option value=(key) selected[Some(key) == comparison.setting.as_ref()] { (key) }
            } } } }
            button type="submit" { "Show" }
        }
    } }
}

fn settings(comparison: &Comparison) -> Markup {
    html! { section { h2 { "Settings that differ" }
        @if comparison.settings.is_empty() { p.muted { "None." } } @else { div.scroll { table {
            thead { tr { th { "Setting" } @for name in comparison.names() { th { (name) } } } }
            tbody { @for (key, values) in &comparison.settings { tr {
                td.mono { (key) }
                @for value in values { td.mono { (value.as_deref().unwrap_or("–")) } }
            } } }
        } } }
    } }
}

/// The setting that scores are plotted against where none is chosen: the first that is a number in all runs, or the first.
fn first_setting(settings: &[(String, Vec<Option<String>>)]) -> Option<String> {
    let is_number = |value: &Option<String>| {
        let number = value.as_ref().and_then(|value| value.parse::<f64>().ok());
        number.is_some_and(f64::is_finite)
    };
    let mut all = settings.iter();
    let numeric = all.find(|(_, values)| values.iter().all(is_number));
    let first = numeric.or(settings.first());
    first.map(|(key, _)| key.clone())
}

/// Score against the chosen setting.
fn plotted(comparison: &Comparison) -> Markup {
    let settings = &comparison.settings;
    let column = settings
        .iter()
        .find(|(key, _)| Some(key) == comparison.setting.as_ref());
    let Some((setting, values)) = column.filter(|_| comparison.differences.is_empty()) else {
        return html! {};
    };
    let spots: Vec<Spot<'_>> = comparison
        .scores
        .iter()
        .filter_map(|(run, score)| {
            let mut names = comparison.runs.iter();
            let key = names.position(|known| known.run.name == *run)?;
            Some(Spot {
                run,
                key,
                setting: values[key].as_deref(),
                score: score.value,
            })
        })
        .collect();
    let metric = comparison.metric.as_deref().unwrap_or("score");
    scatter(setting, metric, &spots)
}

/// Snapshots of all runs under one slider, and two grids as a wipe.
fn grids(comparison: &Comparison) -> Markup {
    let pairs: Vec<(&RunDetail, &Pictures)> =
        comparison.runs.iter().zip(&comparison.pictures).collect();
    let last: Vec<Value> = pairs
        .iter()
        .filter_map(|(run, pictures)| {
            let sliders = pictures.sliders.iter().flat_map(|frames| &frames.frames);
            let grids = pictures
                .singles
                .iter()
                .filter(|picture| picture.file == "grid.png");
            let picture = grids.chain(sliders).next_back()?;
            Some(json!({ "run": run.run.name, "address": picture.address }))
        })
        .collect();
    html! { @if pairs.iter().any(|(_, pictures)| !pictures.sliders.is_empty()) { section { h2 { "Snapshots" }
        p { label { "All together " input type="range" min="0" max="100" value="100" data-together aria-label="Share of the training"; } }
        div.side { @for (run, pictures) in &pairs { @for frames in &pictures.sliders { div { h3 { (run.run.name) } (slider(frames)) } } } }
    } }
    @if last.len() > 1 { section { h2 { "Wipe" }
        figure.wipe data-wipe=(Value::from(last)) { div.stagebox {} figcaption {} }
    } } }
}

fn charts(comparison: &Comparison) -> Markup {
    // Families of series, such as loss by noise level, would be a thicket here: each member has a chart of its own.
    let mut charts: BTreeMap<(bool, &str), Vec<Line>> = BTreeMap::new();
    for (key, run) in comparison.runs.iter().enumerate() {
        for series in &run.metrics {
            let line = Line {
                label: run.run.name.clone(),
                address: series_address(&run.run.name, &series.stage, &series.name),
                key,
            };
            charts
                .entry((series.name != "loss", &series.name))
                .or_default()
                .push(line);
        }
    }
    html! { div.charts { @for ((_, name), lines) in &charts { (chart(&series_title(name), lines, "lines")) } } }
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn runs_come_from_a_list_or_from_boxes() {
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()));
            Asked::of(pairs.collect())
        };
        assert_eq!(
            pairs(&[("runs", "a,b"), ("run", "c"), ("x", "y")]).runs,
            ["a", "b", "c"]
        );
        assert_eq!(
            pairs(&[("metric", ""), ("setting", "seed")])
                .setting
                .as_deref(),
            Some("seed")
        );
        assert!(pairs(&[("runs", ",")]).runs.is_empty());
    }
}
