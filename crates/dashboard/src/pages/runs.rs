//! `/`: all runs.

use std::sync::Arc;

use axum::extract::{Query, State};
use maud::{Markup, html};

use super::frame::{Place, frame};
use super::parts::{sparkline, status, time};
use crate::address::{self, encode};
use crate::comparison::MOST;
use crate::error::DashboardError;
use crate::home::Home;
use crate::listing::{Chosen, Listed, SPEED, Wanted, choose};
use crate::text;

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Query(wanted): Query<Wanted>,
) -> Result<Markup, DashboardError> {
    let chosen = choose(&home.registry().await?, &home.listing, &wanted).await?;
    let content = html! {
        h1 { "Runs" }
        (filters(&wanted))
        form action="/compare" method="get" #runs {
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

fn list_address(wanted: &Wanted, sort: &str, page: usize) -> String {
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
        @if chosen.page > 1 { a href=(list_address(wanted, &wanted.sort, chosen.page - 1)) rel="prev" { "‹ previous" } }
        span { "page " (chosen.page) " of " (chosen.pages) }
        @if chosen.page < chosen.pages { a href=(list_address(wanted, &wanted.sort, chosen.page + 1)) rel="next" { "next ›" } }
    } } }
}

/// The comparison of the first runs of a pipeline on the page: of a matrix, its combinations.
fn together(chosen: &Chosen, pipeline: &str) -> String {
    let of_pipeline = chosen
        .rows
        .iter()
        .filter(|row| row.run.pipeline == pipeline);
    let names: Vec<String> = of_pipeline
        .take(MOST)
        .map(|row| encode(&row.run.name))
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
            th.number[is_number] aria-sort=[order] { a href=(list_address(wanted, &sort, 1)) { (title) (arrow) } }
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
            @for Listed { run: row, speed } in &chosen.rows {
                @if wanted.group == "pipeline" && group.replace(&row.pipeline) != Some(&row.pipeline) {
                    tr.group { th colspan=(columns) scope="rowgroup" { (row.pipeline) " " a href=(together(chosen, &row.pipeline)) { "compare" } } }
                }
                tr id={ "row-" (row.name) } {
                    td { input type="checkbox" name="run" value=(row.name) aria-label={ "Select " (row.name) }; }
                    td { a href=(address::run(&row.name)) { (row.name) } }
                    td { (status(&row.status.to_string())) }
                    td { (time(&row.started)) }
                    td.number { (text::duration(row.seconds)) }
                    td.number title={ (row.succeeded) " made, " (row.cached) " cached, " (row.failed) " failed" } {
                        (row.succeeded + row.cached) "/" (row.stages)
                    }
                    td.number { (text::number(*speed)) }
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
