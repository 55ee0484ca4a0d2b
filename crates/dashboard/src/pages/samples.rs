//! `/runs/NAME/samples`: the snapshots of a run under one slider, the same seeds in each.

use std::sync::Arc;

use axum::extract::{Path, State};
use maud::{Markup, html};

use super::{Place, frame};
use crate::error::DashboardError;
use crate::home::Home;
use crate::pictures::{self, Frames};
use crate::text;

pub(crate) async fn page(
    State(home): State<Arc<Home>>,
    Path(name): Path<String>,
) -> Result<Markup, DashboardError> {
    let run = home.registry().await?.run(&name).await?;
    let pictures = pictures::of_run(&home, &run).await?;
    let is_neighbours = |picture: &&pictures::Picture| picture.file == "neighbours.png";
    let content = html! {
        h1 { "Snapshots of " (run.run.name) }
        @if pictures.sliders.is_empty() {
            p.muted { "This run has no snapshots. " code { "snapshot_images" } " or " code { "snapshot_kimg" } " in the train stage keep some." }
        }
        @for frames in &pictures.sliders { (slider(frames)) }
        @for neighbours in pictures.singles.iter().filter(is_neighbours) {
            figure { img src=(neighbours.address) alt="samples beside their nearest training images";
                figcaption { "Samples and their nearest training images (" (neighbours.stage) ")" } }
        }
    };
    Ok(frame(
        &format!("Snapshots of {}", run.run.name),
        &Place::Run(&run.run.name),
        &content,
    ))
}

/// Frames under a slider; without script the last one, and links to all.
pub(super) fn slider(frames: &Frames) -> Markup {
    let list: Vec<_> = frames
        .frames
        .iter()
        .map(|frame| serde_json::json!({ "address": frame.address, "images": frame.images_seen }))
        .collect();
    let list = serde_json::Value::from(list).to_string();
    let last = frames.frames.last();
    html! { @if let Some(last) = last {
        figure.slider data-slider data-frames=(list) {
            div.stagebox { img src=(last.address) alt={ "samples of " (frames.stage) }; canvas hidden width="0" height="0" {} }
            figcaption {
                button type="button" data-play aria-label="Play" { "▶" }
                input type="range" min="0" max=(frames.frames.len() - 1) value=(frames.frames.len() - 1) step="1"
                    aria-label="Images seen";
                output { (text::grouped(last.images_seen.unwrap_or_default() as i64)) " images seen" }
                span.muted { "Click an image to follow its seed, again to see all." }
            }
            noscript { ul { @for frame in &frames.frames {
                li { a href=(frame.address) { (text::grouped(frame.images_seen.unwrap_or_default() as i64)) " images seen" } }
            } } }
        }
    } }
}
