//! docs/experiments.md is made of the scores in docs/experiments: its tables and plots are current.
//!
//! `just experiments` writes them anew. A folder has the export of one experiment, a file a metric.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use patchwork_comparison::{Difference, Spread};
use patchwork_plot::{Labels, Line, line_plot};

/// The distance that a table is ordered by, and that is plotted.
const DISTANCE: &str = "fd_efficientnet_lite0";

/// The other columns of a table, by their heads.
const OTHERS: [(&str, &str, usize); 3] = [
    ("of crops", "fd_crop_half_efficientnet_lite0", 1),
    ("precision", "precision_efficientnet_lite0", 3),
    ("recall", "recall_efficientnet_lite0", 3),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// One evaluation: a line of an export.
struct Scored {
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

fn read(path: &Path) -> Vec<Scored> {
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

/// Settings as a reader knows them: those of the curve's sample stages tell nothing.
fn condition(settings: &str) -> String {
    let mut texts: Vec<String> = Vec::new();
    for setting in settings.split(' ').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=') {
            Some((name, value)) => texts.push(match name {
                "train.full_image_ratio" => format!("p = {value}"),
                "prepare.source" => {
                    format!("source = {}", value.split('/').nth(1).unwrap_or(value))
                }
                name => format!("{} = {value}", name.rsplit('.').next().unwrap()),
            }),
            // A value with blanks, such as a list.
            None => {
                let last = texts.last_mut().unwrap();
                write!(last, " {setting}").unwrap();
            }
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
fn moments(scores: &[Scored]) -> Vec<u64> {
    let all: BTreeSet<u64> = scores
        .iter()
        .map(|score| rounded(score.images_seen))
        .collect();
    all.into_iter().collect()
}

fn rounded(images: u64) -> u64 {
    (images as f64 / 1000.0).round() as u64 * 1000
}

type ByCondition = BTreeMap<String, BTreeMap<u64, BTreeMap<u64, f64>>>;

/// Values by condition, moment and seed.
fn by_condition(scores: &[Scored]) -> ByCondition {
    let mut found = ByCondition::new();
    for score in scores {
        let moments = found.entry(score.condition.clone()).or_default();
        let seeds = moments.entry(rounded(score.images_seen)).or_default();
        seeds.insert(score.seed, score.value);
    }
    found
}

fn spread(seeds: &BTreeMap<u64, f64>) -> Spread {
    Spread::of(&seeds.values().copied().collect::<Vec<_>>()).unwrap()
}

fn text(spread: Spread, decimals: usize) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.decimals$} ± {deviation:.decimals$}", spread.mean),
        None => format!("{:.decimals$}", spread.mean),
    }
}

/// Mean processor time of a training of each condition.
fn times(scores: &[Scored]) -> BTreeMap<String, f64> {
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
fn after(
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

fn called(difference: Difference) -> &'static str {
    match difference {
        Difference::Beyond => "beyond spread",
        Difference::Within => "within spread",
        Difference::Unknown => "one seed",
    }
}

/// The tables of an experiment: at equal images seen, and after equal processor time.
fn tables(name: &str) -> String {
    let file = |metric: &str| {
        folder()
            .join("experiments")
            .join(name)
            .join(format!("{metric}.csv"))
    };
    let scores = read(&file(DISTANCE));
    let conditions = by_condition(&scores);
    let others = OTHERS.map(|(_, metric, _)| by_condition(&read(&file(metric))));
    let times = times(&scores);
    let last = *moments(&scores).last().unwrap();
    let mut order: Vec<(&String, Spread)> = conditions
        .iter()
        .filter_map(|(condition, moments)| Some((condition, spread(moments.get(&last)?))))
        .collect();
    order.sort_by(|one, other| one.1.mean.total_cmp(&other.1.mean));
    let mut page = format!("| after {last} images seen | seeds | distance |");
    for (head, ..) in OTHERS {
        write!(page, " {head} |").unwrap();
    }
    page.push_str(
        " from the best | processor time |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let best = order[0].1;
    for (condition, own) in &order {
        write!(page, "| {condition} | {} | {} |", own.number, text(*own, 1)).unwrap();
        for ((_, _, decimals), scores) in OTHERS.iter().zip(&others) {
            let seeds = scores
                .get(*condition)
                .and_then(|moments| moments.get(&last));
            let cell = seeds.map_or(String::new(), |seeds| text(spread(seeds), *decimals));
            write!(page, " {cell} |").unwrap();
        }
        let difference = if *own == best {
            "best"
        } else {
            called(own.difference(best))
        };
        let time = times
            .get(*condition)
            .map_or(String::new(), |time| format!("{time:.0} s"));
        writeln!(page, " {difference} | {time} |").unwrap();
    }
    let Some(budget) = times.values().copied().reduce(f64::min) else {
        return page;
    };
    let mut equal: Vec<(&String, Option<Spread>)> = conditions
        .iter()
        .filter_map(|(condition, moments)| {
            let seeds = after(moments, *times.get(condition)?, budget);
            let values: Vec<f64> = seeds.values().copied().collect();
            Some((condition, Spread::of(&values)))
        })
        .collect();
    equal.sort_by(|one, other| {
        let mean = |spread: &Option<Spread>| spread.map_or(f64::INFINITY, |spread| spread.mean);
        mean(&one.1).total_cmp(&mean(&other.1))
    });
    let best = equal[0].1;
    write!(
        page,
        "\n| after {budget:.0} s of processor time | distance | from the best |\n| --- | --- | --- |\n"
    )
    .unwrap();
    for (condition, spread) in &equal {
        let (value, difference) = match (spread, best) {
            (Some(own), Some(best)) if *own == best => (text(*own, 1), "best"),
            (Some(own), Some(best)) => (text(*own, 1), called(own.difference(best))),
            _ => ("before its first evaluation".to_owned(), ""),
        };
        writeln!(page, "| {condition} | {value} | {difference} |").unwrap();
    }
    page
}

/// Distance against images seen, and against processor time.
fn plots(name: &str) -> [(PathBuf, Vec<u8>); 2] {
    let folder = folder().join("experiments");
    let scores = read(&folder.join(name).join(format!("{DISTANCE}.csv")));
    let conditions = by_condition(&scores);
    let times = times(&scores);
    let lines = |x: &dyn Fn(&str, u64, u64) -> f64| -> Vec<Line<'_>> {
        conditions
            .iter()
            .map(|(condition, moments)| {
                let last = *moments.keys().last().unwrap();
                let spreads = moments
                    .iter()
                    .map(|(images, seeds)| (*images, spread(seeds)));
                let (points, deviations) = spreads
                    .map(|(images, spread)| {
                        let point = (x(condition, images, last), spread.mean);
                        (point, spread.deviation.unwrap_or(0.0))
                    })
                    .unzip();
                Line {
                    name: condition,
                    points,
                    deviations,
                }
            })
            .collect()
    };
    let plot = |x: &str, lines: &[Line<'_>]| {
        let labels = Labels {
            title: name,
            x,
            y: "distance to the real images",
        };
        line_plot(&labels, lines, false).unwrap()
    };
    let by_images = plot(
        "training images seen",
        &lines(&|_, images, _| images as f64),
    );
    let by_time = plot(
        "seconds of processor time",
        &lines(&|condition, images, last| {
            let time = times.get(condition).copied().unwrap_or(f64::NAN);
            time * images as f64 / last as f64
        }),
    );
    [
        (folder.join(format!("{name}.png")), by_images),
        (folder.join(format!("{name}-time.png")), by_time),
    ]
}

/// The experiments that have scores.
fn measured() -> Vec<String> {
    let entries = std::fs::read_dir(folder().join("experiments")).unwrap();
    let folders = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    let mut names: Vec<String> = folders
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The page with each generated part in its place, between `<!-- NAME -->` and `<!-- end of NAME -->`.
fn renewed(page: &str) -> String {
    let mut renewed = page.to_owned();
    for name in measured() {
        let (start, end) = (
            format!("<!-- {name} -->\n"),
            format!("<!-- end of {name} -->"),
        );
        let place = |mark: &str| {
            let found = renewed.find(mark);
            found.unwrap_or_else(|| panic!("docs/experiments.md has no `{mark}`"))
        };
        let (from, to) = (place(&start) + start.len(), place(&end));
        renewed.replace_range(from..to, &tables(&name));
    }
    renewed
}

#[test]
fn the_page_of_experiments_is_current() {
    let path = folder().join("experiments.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let renewed = renewed(&page);
    let plots: Vec<(PathBuf, Vec<u8>)> = measured().iter().flat_map(|name| plots(name)).collect();
    if std::env::var_os("PATCHWORK_WRITE_EXPERIMENTS").is_some() {
        std::fs::write(&path, &renewed).unwrap();
        for (path, plot) in &plots {
            std::fs::write(path, plot).unwrap();
        }
    }
    let current = std::fs::read_to_string(&path).unwrap();
    assert!(
        current == renewed,
        "docs/experiments.md is stale; `just experiments` writes it"
    );
    for (path, plot) in plots {
        let current = std::fs::read(&path).unwrap_or_default();
        assert!(
            current == plot,
            "{} is stale; `just experiments` writes it",
            path.display()
        );
    }
}

/// Every experiment that ships is on the page, measured or said to be unmeasured with its command.
#[test]
fn every_experiment_is_on_the_page() {
    let page = std::fs::read_to_string(folder().join("experiments.md")).unwrap();
    let experiments = folder().join("../pipelines/experiments");
    for entry in std::fs::read_dir(experiments).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy();
        let command = format!("./justw pipeline experiments/{name}");
        assert!(
            page.contains(&command),
            "docs/experiments.md lacks `{command}`"
        );
    }
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
