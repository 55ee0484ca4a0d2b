//! The scores of an experiment, as its export in docs/experiments has them, by condition, moment of training and seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use patchwork_comparison::Spread;

/// One evaluation: a line of an export.
pub(crate) struct Scored {
    condition: String,
    seed: u64,
    images_seen: u64,
    value: f64,
    processor_seconds: Option<f64>,
}

/// The fields of a line of CSV (RFC 4180) that has no line breaks in its fields.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

pub(crate) fn read(path: &Path) -> Vec<Scored> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let heads = fields(lines.next().unwrap());
    let place = |name: &str| {
        let place = heads.iter().position(|head| head == name);
        place.unwrap_or_else(|| panic!("{}: no column `{name}`", path.display()))
    };
    let [settings, seed, images, value, processor] = [
        "settings",
        "seed",
        "images_seen",
        "value",
        "training_processor_seconds",
    ]
    .map(place);
    lines
        .map(|line| {
            let fields = fields(line);
            Scored {
                condition: condition(&fields[settings]),
                seed: fields[seed].parse().unwrap(),
                images_seen: fields[images].parse().unwrap(),
                value: fields[value].parse().unwrap(),
                processor_seconds: fields[processor].parse().ok(),
            }
        })
        .collect()
}

/// Settings as a reader knows them, but for the seed: runs that differ in it alone have one condition.
fn condition(settings: &str) -> String {
    let mut texts: Vec<String> = Vec::new();
    for setting in settings.split(' ').filter(|setting| !setting.is_empty()) {
        if let Some((name, value)) = setting.split_once('=') {
            if name.rsplit('.').next() == Some("seed") {
                continue;
            }
            texts.push(match name {
                "train.full_image_ratio" => format!("p = {value}"),
                "prepare.source" => {
                    format!("source = {}", value.split('/').nth(1).unwrap_or(value))
                }
                name => format!("{} = {value}", name.rsplit('.').next().unwrap()),
            });
        } else {
            // A value with blanks, such as a list.
            let last = texts.last_mut().unwrap();
            write!(last, " {setting}").unwrap();
        }
    }
    let text = texts.join(", ").replace('"', "");
    if text.is_empty() {
        "all".to_owned()
    } else {
        text
    }
}

/// The moments of training at which samples were evaluated: the last step may go beyond a round number.
pub(crate) fn moments(scores: &[Scored]) -> Vec<u64> {
    let all: BTreeSet<u64> = scores
        .iter()
        .map(|score| rounded(score.images_seen))
        .collect();
    all.into_iter().collect()
}

fn rounded(images: u64) -> u64 {
    (images as f64 / 1000.0).round() as u64 * 1000
}

/// Values by condition, moment of training and seed.
pub(crate) type ByCondition = BTreeMap<String, BTreeMap<u64, BTreeMap<u64, f64>>>;

pub(crate) fn by_condition(scores: &[Scored]) -> ByCondition {
    let mut found = ByCondition::new();
    for score in scores {
        let moments = found.entry(score.condition.clone()).or_default();
        let seeds = moments.entry(rounded(score.images_seen)).or_default();
        seeds.insert(score.seed, score.value);
    }
    found
}

pub(crate) fn spread(seeds: &BTreeMap<u64, f64>) -> Spread {
    Spread::of(&seeds.values().copied().collect::<Vec<_>>()).unwrap()
}

/// Mean processor time of a training of each condition.
pub(crate) fn times(scores: &[Scored]) -> BTreeMap<String, f64> {
    let mut seconds: BTreeMap<String, BTreeMap<u64, f64>> = BTreeMap::new();
    for score in scores {
        if let Some(time) = score.processor_seconds {
            let seeds = seconds.entry(score.condition.clone()).or_default();
            seeds.insert(score.seed, time);
        }
    }
    (seconds.into_iter())
        .map(|(condition, seeds)| (condition, spread(&seeds).mean))
        .collect()
}

/// A curve's value at so many images, between its points in proportion to the logarithm of images; none outside of them.
fn at(curve: &BTreeMap<u64, f64>, images: f64) -> Option<f64> {
    let points: Vec<(f64, f64)> = curve
        .iter()
        .map(|(images, value)| (*images as f64, *value))
        .collect();
    points.windows(2).find_map(|pair| {
        let [(before, low), (after, high)] = [pair[0], pair[1]];
        (before..=after).contains(&images).then(|| {
            let share = (images / before).ln() / (after / before).ln();
            low + share * (high - low)
        })
    })
}

/// The values of a condition after so many seconds, by seed.
pub(crate) fn after(
    moments: &BTreeMap<u64, BTreeMap<u64, f64>>,
    time: f64,
    seconds: f64,
) -> BTreeMap<u64, f64> {
    let (last, seeds) = moments.last_key_value().unwrap();
    let images = *last as f64 * f64::min(1.0, seconds / time);
    (seeds.keys())
        .filter_map(|seed| {
            let curve = moments
                .iter()
                .filter_map(|(images, seeds)| Some((*images, *seeds.get(seed)?)))
                .collect();
            Some((*seed, at(&curve, images)?))
        })
        .collect()
}

#[test]
fn a_curve_is_read_between_its_points() {
    let curve = BTreeMap::from([(8_000, 300.0), (16_000, 200.0), (32_000, 100.0)]);
    assert_eq!(at(&curve, 16_000.0), Some(200.0));
    assert!((at(&curve, 8_000.0 * 2_f64.sqrt()).unwrap() - 250.0).abs() < 1e-9);
    assert_eq!(at(&curve, 7_000.0), None);
    assert_eq!(fields("a,\"b, \"\"c\"\"\",,d"), ["a", "b, \"c\"", "", "d"]);
    let settings = r#"train.full_image_ratio=0.5 train.patch_sizes=["quarter", "half"]"#;
    assert_eq!(
        condition(settings),
        "p = 0.5, patch_sizes = [quarter, half]"
    );
}
