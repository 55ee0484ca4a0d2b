//! A setting against a score: what the runs of a matrix are looked at for.

use maud::{Markup, html};
use serde_json::{Value, json};

/// A score beside the value of the setting in its run.
pub(super) struct Spot<'a> {
    /// The run's name.
    pub(super) run: &'a str,
    /// The number of the run on the page, by which it has its colour.
    pub(super) key: usize,
    /// The setting, as text.
    pub(super) setting: Option<&'a str>,
    /// The score.
    pub(super) score: f64,
}

/// The chart; nothing for fewer than two spots.
pub(super) fn scatter(setting: &str, metric: &str, spots: &[Spot<'_>]) -> Markup {
    if spots.len() < 2 {
        return html! {};
    }
    let numbers: Option<Vec<f64>> = spots.iter().map(|spot| number(spot.setting)).collect();
    let (positions, names): (Vec<f64>, Vec<&str>) = match numbers {
        Some(numbers) => (numbers, Vec::new()),
        None => categories(spots),
    };
    let points: Vec<Value> = spots
        .iter()
        .zip(positions)
        .map(|(spot, x)| json!({ "x": x, "y": spot.score, "run": spot.run, "key": spot.key }))
        .collect();
    html! {
        figure.chart.scatter data-chart="scatter" data-title=(setting) data-metric=(metric)
            data-spots=(Value::from(points)) data-names=(Value::from(names)) {
            figcaption { (metric) " against " (setting) }
            div.plot {}
        }
    }
}

/// A finite number that is not a word such as `inf`.
fn number(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Values that are not all numbers stand side by side, in the order of their texts.
fn categories<'a>(spots: &[Spot<'a>]) -> (Vec<f64>, Vec<&'a str>) {
    let mut names: Vec<&str> = spots
        .iter()
        .map(|spot| spot.setting.unwrap_or("–"))
        .collect();
    names.sort_unstable();
    names.dedup();
    let place = |spot: &Spot<'_>| {
        let name = spot.setting.unwrap_or("–");
        names.iter().position(|known| *known == name).unwrap_or(0) as f64
    };
    (spots.iter().map(place).collect(), names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_are_no_numbers_stand_side_by_side() {
        let spots = ["heun", "dpmpp", "heun"].map(|setting| Spot {
            run: "a",
            key: 0,
            setting: Some(setting),
            score: 1.0,
        });
        assert_eq!(
            categories(&spots),
            (vec![1.0, 0.0, 1.0], vec!["dpmpp", "heun"])
        );
        assert_eq!(number(Some("2e-4")), Some(2e-4));
        for other in [Some("inf"), Some("NaN"), Some("heun"), None] {
            assert_eq!(number(other), None);
        }
        assert_eq!(
            scatter("solver", "fid", &spots[..1]).into_string(),
            "",
            "one spot shows nothing"
        );
    }
}
