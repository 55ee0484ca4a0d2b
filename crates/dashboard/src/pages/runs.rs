//! `/`: all runs.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};
use patchwork_registry::RunRow;

use super::compare::MOST;
use super::parts::{encode, sparkline, status, time};
use super::{Place, frame};
use crate::error::DashboardError;
use crate::home::Home;
use crate::listing::{Cell, PAGE, Wanted};
use crate::text;

/// Points of a sparkline.
const OUTLINE: i64 = 48;
/// The series whose last value is the column "images/s".
const SPEED: &str = "images_per_second";

/// One page of the list.
pub(crate) struct Chosen {
    pub(crate) rows: Vec<RunRow>,
    found: usize,
    page: usize,
    pages: usize,
    settings: HashMap<String, HashMap<i64, String>>,
    speeds: HashMap<i64, f64>,
    outlines: HashMap<i64, Vec<f64>>,
}

/// Finds the rows of a page, and what is shown beside each.
pub(crate) async fn choose(home: &Home, wanted: &Wanted) -> Result<Chosen, DashboardError> {
    let registry = home.registry().await?;
    let mut settings = HashMap::new();
    for key in wanted.settings() {
        settings.insert(key.to_owned(), registry.setting_of_runs(key).await?);
    }
    let mut listing = home.listing.lock().await;
    let rows = listing.refresh(&registry).await?;
    let column = wanted.sort.trim_start_matches('-');
    let mut values: HashMap<i64, Cell> = HashMap::new();
    if column == SPEED {
        let all: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let speeds = registry.last_values(SPEED, &all).await?;
        values.extend(
            speeds
                .into_iter()
                .map(|(id, speed)| (id, Cell::Number(speed))),
        );
    } else if let Some(setting) = settings.get(column) {
        values.extend(setting.iter().map(|(id, value)| (*id, Cell::of(value))));
    }
    let found = wanted.select(rows, &values);
    let pages = found.len().div_ceil(PAGE).max(1);
    let page = wanted.page.clamp(1, pages);
    let count = found.len();
    let rows: Vec<RunRow> = found
        .into_iter()
        .skip((page - 1) * PAGE)
        .take(PAGE)
        .cloned()
        .collect();
    drop(listing);
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    Ok(Chosen {
        found: count,
        page,
        pages,
        settings,
        speeds: registry.last_values(SPEED, &ids).await?,
        outlines: registry.outlines("loss", &ids, OUTLINE).await?,
        rows,
    })
}

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, DashboardError> {
    let chosen = choose(&home, &wanted).await?;
    let content = html! {
        h1 { "Runs" }
        (filters(&wanted))
        form action="/compare" method="get" #runs data-live {
            div.actions {
                button type="submit" { "Compare selected" }
                span.muted { (text::grouped(chosen.found as i64)) @if chosen.found == 1 { " run" } @else { " runs" } }
                (pager(&wanted, &chosen))
            }
            @if chosen.rows.is_empty() { p.muted { "No run matches." } } @else { (table(&wanted, &chosen)) }
        }
    };
    Ok(frame("Runs", &Place::Runs, &content))
}

fn filters(wanted: &Wanted) -> Markup {
    const STATUSES: [&str; 4] = ["running", "succeeded", "failed", "interrupted"];
    html! {
        form.filters method="get" action="/" role="search" {
            label { "Search " input type="search" name="q" value=(wanted.q) placeholder="name or pipeline"; }
            label { "Status "
                select name="status" {
                    option value="" { "any" }
                    @for name in STATUSES { option value=(name) selected[wanted.status == name] { (name) } }
                }
            }
            label { "Group "
                select name="group" {
                    option value="" { "none" }
                    option value="pipeline" selected[wanted.group == "pipeline"] { "by pipeline" }
                }
            }
            label.wide { "Settings as columns "
                input type="text" name="columns" value=(wanted.columns) placeholder="stages.train.batch_size, seed";
            }
            @if !wanted.sort.is_empty() { input type="hidden" name="sort" value=(wanted.sort); }
            button type="submit" { "Apply" }
        }
    }
}

fn address(wanted: &Wanted, sort: &str, page: usize) -> String {
    format!(
        "/?q={}&status={}&group={}&columns={}&sort={}&page={page}",
        encode(&wanted.q),
        encode(&wanted.status),
        encode(&wanted.group),
        encode(&wanted.columns),
        encode(sort)
    )
}

fn pager(wanted: &Wanted, chosen: &Chosen) -> Markup {
    html! { @if chosen.pages > 1 { nav.pager aria-label="Pages" {
        @if chosen.page > 1 { a href=(address(wanted, &wanted.sort, chosen.page - 1)) rel="prev" { "‹ previous" } }
        span { "page " (chosen.page) " of " (chosen.pages) }
        @if chosen.page < chosen.pages { a href=(address(wanted, &wanted.sort, chosen.page + 1)) rel="next" { "next ›" } }
    } } }
}

/// The comparison of the first runs of a pipeline on the page: of a matrix, its combinations.
fn together(chosen: &Chosen, pipeline: &str) -> String {
    let of_pipeline = chosen.rows.iter().filter(|row| row.pipeline == pipeline);
    let names: Vec<String> = of_pipeline
        .take(MOST)
        .map(|row| encode(&row.name))
        .collect();
    format!("/compare?runs={}", names.join(","))
}

fn table(wanted: &Wanted, chosen: &Chosen) -> Markup {
    let settings = wanted.settings();
    let columns = 9 + settings.len();
    let heading = |title: &str, column: &str, is_number: bool| {
        let (sort, arrow, order) = if wanted.sort == column {
            (format!("-{column}"), " ▲", Some("ascending"))
        } else if wanted.sort.strip_prefix('-') == Some(column) {
            (String::new(), " ▼", Some("descending"))
        } else {
            (column.to_owned(), "", None)
        };
        html! {
            th.number[is_number] aria-sort=[order] { a href=(address(wanted, &sort, 1)) { (title) (arrow) } }
        }
    };
    let mut group = None;
    html! { div.scroll { table.runs {
        thead { tr {
            th { span.hidden { "Select" } }
            (heading("Run", "run", false))
            (heading("Status", "status", false))
            (heading("Started", "started", false))
            (heading("Duration", "duration", true))
            th.number { "Stages" }
            (heading("Images/s", SPEED, true))
            th { "Loss" }
            (heading("Score", "score", true))
            @for setting in &settings { (heading(setting.trim_start_matches("stages."), setting, false)) }
        } }
        tbody {
            @for row in &chosen.rows {
                @if wanted.group == "pipeline" && group.replace(&row.pipeline) != Some(&row.pipeline) {
                    tr.group { th colspan=(columns) scope="rowgroup" { (row.pipeline) " " a href=(together(chosen, &row.pipeline)) { "compare" } } }
                }
                tr {
                    td { input type="checkbox" name="run" value=(row.name) aria-label={ "Select " (row.name) }; }
                    td { a href={ "/runs/" (encode(&row.name)) } { (row.name) } }
                    td { (status(&row.status.to_string())) }
                    td { (time(&row.started)) }
                    td.number { (text::duration(row.seconds)) }
                    td.number title={ (row.succeeded) " made, " (row.cached) " cached, " (row.failed) " failed" } {
                        (row.succeeded + row.cached) "/" (row.stages)
                    }
                    td.number { (text::number(chosen.speeds.get(&row.id).copied())) }
                    td { @if let Some(values) = chosen.outlines.get(&row.id) { (sparkline(values)) } }
                    td.number {
                        @if let Some(metric) = &row.metric {
                            span title={ (metric) ", " (row.samples.unwrap_or_default()) " samples" } { (text::number(row.value)) }
                        } @else { "–" }
                    }
                    @for setting in &settings {
                        td { (chosen.settings[*setting].get(&row.id).map_or("–", String::as_str)) }
                    }
                }
            }
        }
    } } }
}
