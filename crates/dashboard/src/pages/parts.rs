//! Pieces that several pages show.

use std::fmt::Write;

use maud::{Markup, html};
use patchwork_registry::ScoreRow;

use crate::text;

/// A status with a shape of its own, so that nobody has to distinguish colours.
pub(super) fn status(status: &str) -> Markup {
    let mark = match status {
        "succeeded" => "✓",
        "cached" => "=",
        "running" => "▶",
        "failed" => "✗",
        "interrupted" => "‖",
        "skipped" => "↷",
        _ => "·",
    };
    html! { span.status.{ "is-" (status) } { span aria-hidden="true" { (mark) } " " (status) } }
}

/// A time, relative, with the exact one on hovering.
pub(super) fn time(moment: &str) -> Markup {
    html! { time datetime=(moment) title=(moment) { (text::ago(moment)) } }
}

/// The outline of a series, for a line of a table.
pub(super) fn sparkline(values: &[f64]) -> Markup {
    const WIDTH: f64 = 96.0;
    const HEIGHT: f64 = 22.0;
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (lowest, highest) = finite
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if values.len() < 2 || lowest > highest {
        return html! {};
    }
    let range = (highest - lowest).max(f64::MIN_POSITIVE);
    let mut points = String::new();
    for (position, value) in values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_finite())
    {
        let x = position as f64 / (values.len() - 1) as f64 * WIDTH;
        let y = HEIGHT - 1.0 - (value - lowest) / range * (HEIGHT - 2.0);
        let _ = write!(points, "{x:.1},{y:.1} ");
    }
    let label = format!(
        "loss from {} to {}",
        text::number(values.first().copied()),
        text::number(values.last().copied())
    );
    html! {
        svg.spark width=(WIDTH) height=(HEIGHT) viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            polyline points=(points.trim_end()) {}
        }
    }
}

/// A table of scores with what makes each comparable.
pub(super) fn scores(scores: &[ScoreRow]) -> Markup {
    html! {
        div.scroll { table.scores {
            thead { tr {
                th { "Of" } th { "Metric" } th.number { "Value" } th.number { "Deviation" }
                th.number { "Images seen" } th.number { "Samples" } th.number { "Reference images" }
                th { "Extractor" } th { "Resize" } th { "Codec" } th { "Reference" }
            } }
            tbody { @for score in scores { tr {
                td { (score.subject) @if score.stage != "evaluate" { " (" (score.stage) ")" } }
                td { (score.metric) }
                td.number { (text::number(Some(score.value))) }
                td.number { (text::number(score.deviation)) }
                td.number { (score.images_seen.map_or("–".to_owned(), text::grouped)) }
                td.number { (text::grouped(score.samples)) }
                td.number { @if score.reference_images > 0 { (text::grouped(score.reference_images)) } @else { "unknown" } }
                td title={ "weights " (score.extractor_hash) } { (score.extractor) }
                td { (score.resize) }
                td { (score.codec) }
                td.mono title=(score.reference) {
                    (score.reference.chars().take(8).collect::<String>()) @if score.reference_foreign { " (external)" }
                }
            } } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_leaves_out_what_is_not_finite() {
        assert_eq!(sparkline(&[]).into_string(), "");
        assert_eq!(sparkline(&[f64::NAN, f64::NAN]).into_string(), "");
        let drawn = sparkline(&[2.0, f64::NAN, 1.0]).into_string();
        assert!(drawn.contains("points=\"0.0,1.0 96.0,21.0\""), "{drawn}");
        assert!(sparkline(&[1.0, 1.0]).into_string().contains("polyline"));
    }
}
