//! Pieces that several pages show.

use std::fmt::Write;

use maud::{Markup, html};
use patchwork_registry::ScoreRow;

use crate::text;

/// Text as a component of an address.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A status with a shape of its own, so that nobody has to tell colours apart.
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

/// A series in a chart.
pub(super) struct Line {
    /// What the legend calls it.
    pub(super) label: String,
    /// Where its points are.
    pub(super) address: String,
    /// Its colour and dashes, those of [`key`].
    pub(super) key: usize,
}

/// The colour and dashes of a line, before its name.
pub(super) fn key(number: usize) -> Markup {
    html! { span.key.{ "key-" (number % 8) }.{ "dash-" (number / 8 % 4) } aria-hidden="true" {} " " }
}

/// A chart that `app.js` draws; without script, a link to the numbers.
///
/// `lines` are its series.
pub(super) fn chart(title: &str, lines: &[Line], kind: &str) -> Markup {
    let series: Vec<_> = lines
        .iter()
        .map(|line| serde_json::json!({ "label": line.label, "address": line.address, "key": line.key }))
        .collect();
    let series = serde_json::Value::from(series).to_string();
    html! {
        figure.chart data-chart=(kind) data-title=(title) data-series=(series) {
            figcaption { (title) }
            div.plot { noscript {
                @for line in lines { a href=(line.address) { (line.label) " as JSON" } " " }
            } }
        }
    }
}

/// What a chart of a family of series, such as `loss_by_side/16`, or of one of its members, is called.
pub(super) fn series_title(name: &str) -> String {
    let (family, member) = name.split_once('/').unwrap_or((name, ""));
    let title = match family {
        "loss_by_side" => "loss by patch size".to_owned(),
        "loss_by_noise" => "loss by noise level".to_owned(),
        "images_per_second" => "images/s".to_owned(),
        "memory_mib" => "memory, MiB".to_owned(),
        "data_share" => "share of time waiting for data".to_owned(),
        other => other.replace('_', " "),
    };
    match (family, member) {
        (_, "") => title,
        ("loss_by_side", side) => format!("{title}: {side} px"),
        ("loss_by_noise", level) => format!("{title}: σ {level}"),
        (_, member) => format!("{title}: {member}"),
    }
}

/// The address of a series' points.
pub(crate) fn series_address(run: &str, stage: &str, name: &str) -> String {
    format!(
        "/api/runs/{}/series?stage={}&name={}",
        encode(run),
        encode(stage),
        encode(name)
    )
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
    fn addresses_carry_any_name() {
        assert_eq!(encode("demo-1_x.~"), "demo-1_x.~");
        assert_eq!(encode("a/b?c=<é>"), "a%2Fb%3Fc%3D%3C%C3%A9%3E");
    }

    #[test]
    fn series_are_called_by_their_meaning() {
        for (name, expected) in [
            ("loss", "loss"),
            ("images_per_second", "images/s"),
            ("loss_by_side", "loss by patch size"),
            ("loss_by_side/16", "loss by patch size: 16 px"),
            (
                "loss_by_noise/0.05-0.10",
                "loss by noise level: σ 0.05-0.10",
            ),
            ("other_thing/a", "other thing: a"),
        ] {
            assert_eq!(series_title(name), expected);
        }
    }

    #[test]
    fn an_outline_leaves_out_what_is_not_finite() {
        assert_eq!(sparkline(&[]).into_string(), "");
        assert_eq!(sparkline(&[f64::NAN, f64::NAN]).into_string(), "");
        let drawn = sparkline(&[2.0, f64::NAN, 1.0]).into_string();
        assert!(drawn.contains("points=\"0.0,1.0 96.0,21.0\""), "{drawn}");
        assert!(sparkline(&[1.0, 1.0]).into_string().contains("polyline"));
    }
}
