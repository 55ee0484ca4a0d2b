//! The tables of an experiment: at equal images seen, and after equal processor time.

use std::fmt::Write as _;
use std::path::Path;

use patchwork_comparison::Spread;

use crate::DISTANCE;
use crate::scores::{after, by_condition, moments, read, spread, times};

/// The other columns of a table, by their heads.
const OTHERS: [(&str, &str, usize); 3] = [
    ("of crops", "fd_crop_half_efficientnet_lite0", 1),
    ("precision", "precision_efficientnet_lite0", 3),
    ("recall", "recall_efficientnet_lite0", 3),
];

/// The tables of the experiment whose scores are in this folder.
pub(crate) fn tables(folder: &Path) -> String {
    let file = |metric: &str| folder.join(format!("{metric}.csv"));
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
            "best".to_owned()
        } else {
            own.difference(best).to_string()
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
            (Some(own), Some(best)) if *own == best => (text(*own, 1), "best".to_owned()),
            (Some(own), Some(best)) => (text(*own, 1), own.difference(best).to_string()),
            _ => ("before its first evaluation".to_owned(), String::new()),
        };
        writeln!(page, "| {condition} | {value} | {difference} |").unwrap();
    }
    page
}

fn text(spread: Spread, decimals: usize) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.decimals$} ± {deviation:.decimals$}", spread.mean),
        None => format!("{:.decimals$}", spread.mean),
    }
}
