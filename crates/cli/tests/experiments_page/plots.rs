//! The plots of an experiment: distance against images seen, and against processor time.

use std::path::Path;

use patchwork_plot::{Labels, Line, line_plot};

use crate::DISTANCE;
use crate::scores::{by_condition, read, spread, times};

/// Both plots of the experiment whose scores are in this folder, as PNG.
pub(crate) fn plots(folder: &Path) -> [Vec<u8>; 2] {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let scores = read(&folder.join(format!("{DISTANCE}.csv")));
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
            title: &name,
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
    [by_images, by_time]
}
