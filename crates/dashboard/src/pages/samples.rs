//! `/runs/NAME/samples`: the snapshots of a run under one slider, the same seeds in each.

use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};

use super::frame::{Place, frame};
use crate::error::DashboardError;
use crate::home::Home;
use crate::neighbours::{self, Neighbours};
use crate::pictures::{self, Snapshots};
use crate::text;

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Path(name): Path<String>,
) -> Result<Markup, DashboardError> {
    let run = home.registry().await?.run(&name).await?;
    let pictures = pictures::of_run(&home, &run).await?;
    let found = neighbours::of_run(&home, &run).await?;
    let content = html! {
        h1 { "Snapshots of " (run.run.name) }
        @if pictures.sliders.is_empty() {
            p.muted { "This run has no snapshots. " code { "snapshot_images" } " or " code { "snapshot_kimg" } " in the train stage keep some." }
        }
        div.beside {
            div { @for frames in &pictures.sliders { (slider(frames)) } }
            div { @for neighbours in &found { (nearest(neighbours)) }
                @if found.is_empty() && !pictures.sliders.is_empty() {
                    p.muted { "Nearest training images were not looked for: " code { "neighbours = 5" } " in the evaluate stage does." }
                }
            }
        }
    };
    Ok(frame(
        &format!("Snapshots of {}", run.run.name),
        &Place::Run(&run.run.name),
        &content,
    ))
}

/// Samples, each beside its nearest training images; while one seed is followed, that one alone.
fn nearest(neighbours: &Neighbours) -> Markup {
    let lines = neighbours.rows.len();
    html! { section.nearest data-nearest {
        h2 { "Nearest training images" }
        p.muted { "By the Euclidean distance of features, as " code { (neighbours.stage) } " found them. A sample beside its own copy was remembered." }
        p.notice data-none hidden { "No nearest training images were looked for of this seed." }
        @for (line, row) in neighbours.rows.iter().enumerate() {
            figure data-seed=[row.seed] {
                figcaption { "Sample " (row.sample) @if let Some(seed) = row.seed { ", seed " (seed) } }
                div.cells {
                    @let columns = 1 + row.nearest.len();
                    @let cell = |column: usize, label: &str| neighbours.sheet.as_ref().map(|sheet| {
                        let [left, top, width, height] = sheet.place([column, line], [columns, lines]);
                        html! { svg viewBox={ (left) " " (top) " " (width) " " (height) } role="img" aria-label=(label) {
                            image href=(sheet.address) width=(sheet.width) height=(sheet.height) {}
                        } }
                    });
                    div { @if let Some(svg) = cell(0, "the sample") { (svg) } span { "the sample" } }
                    @for (number, near) in row.nearest.iter().enumerate() {
                        @let label = format!("training image {}", near.training_image);
                        div { @if let Some(svg) = cell(number + 1, &label) { (svg) } span { (near.training_image) " at " (text::number(Some(near.distance))) } }
                    }
                }
            }
        }
    } }
}

/// Snapshots under a slider; without script the last one, and links to all.
pub(super) fn slider(frames: &Snapshots) -> Markup {
    let list: Vec<_> = frames
        .frames
        .iter()
        .map(|frame| serde_json::json!({ "address": frame.address, "images": frame.images_seen }))
        .collect();
    let list = serde_json::Value::from(list).to_string();
    let last = frames.frames.last();
    html! { @if let Some(last) = last {
        figure.slider data-slider data-frames=(list) data-count=[frames.images] {
            div.stagebox { img src=(last.address) alt={ "samples of " (frames.stage) }; canvas hidden width="0" height="0" {} }
            figcaption {
                button type="button" data-play aria-label="Play" { "▶" }
                input type="range" min="0" max=(frames.frames.len() - 1) value=(frames.frames.len() - 1) step="1"
                    aria-label="Images seen";
                output { (text::grouped(last.images_seen.unwrap_or_default() as i64)) " images seen" }
                label.seed hidden { "Seed " select { option value="" { "all" } } }
                span.muted { "Click an image to follow its seed, again to see all." }
            }
            noscript { ul { @for frame in &frames.frames {
                li { a href=(frame.address) { (text::grouped(frame.images_seen.unwrap_or_default() as i64)) " images seen" } }
            } } }
        }
    } }
}
