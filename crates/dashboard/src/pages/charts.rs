//! Charts as `assets/charts.js` draws them: which series, where their points are, in which colours.

use maud::{Markup, html};

use crate::address::encode;

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

/// A chart that `charts.js` draws; without script, links to the numbers. No other on the page has its title.
pub(super) fn chart(title: &str, lines: &[Line], kind: &str) -> Markup {
    let series: Vec<_> = lines
        .iter()
        .map(|line| serde_json::json!({ "label": line.label, "address": line.address, "key": line.key }))
        .collect();
    let series = serde_json::Value::from(series).to_string();
    html! {
        figure.chart id={ "chart-" (encode(title)) } data-chart=(kind) data-title=(title) data-series=(series) {
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

/// What all charts of a page obey.
pub(super) fn controls() -> Markup {
    html! { form.controls data-controls {
        label { "x axis " select name="axis" {
            option value="steps" { "images seen" }
            option value="relative" { "time since the first point" }
            option value="time" { "wall time" }
        } }
        label { "Smoothing " input type="range" name="smoothing" min="0" max="0.99" step="0.01" value="0"; }
        label { input type="checkbox" name="log"; " log scale" }
        span.muted { "Drag in a chart to zoom, double click to see all." }
    } }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
