//! Distance against training images, and against hours of training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_comparison::Spread;
use patchwork_core::durable;
use patchwork_plot::{Labels, Line, line_plot};
use patchwork_registry::{Registry, RunDetail, ScoreRow, TrainingTime};

use super::column::Column;
use crate::error::{CliError, refuse_to_overwrite};

/// Draws both plots of the distance that stands for the first run with scores, beside each other in files of this name.
/// Several runs of a column are one line of their means, with bars of a standard deviation.
pub(super) async fn draw(
    registry: &Registry,
    columns: &[Column],
    path: &Path,
    force: bool,
) -> Result<[PathBuf; 2], CliError> {
    let hours_path = path.with_file_name(format!(
        "{}-hours.png",
        path.file_stem().unwrap_or_default().to_string_lossy()
    ));
    for file in [path, &hours_path] {
        refuse_to_overwrite(file, force)?;
    }
    let metric = columns
        .iter()
        .flat_map(|column| &column.runs)
        .find_map(|run| run.run.metric.clone())
        .unwrap_or_default();
    let (mut by_images, mut by_hours) = (Vec::new(), Vec::new());
    for column in columns {
        let mut moments = Moments::new();
        for run in &column.runs {
            let train = run.stages.iter().find(|stage| stage.kind == "train");
            let time = match train {
                Some(train) => registry.training_time(&train.fingerprint).await?,
                None => TrainingTime::default(),
            };
            for score in trained(run).filter(|score| score.metric == metric) {
                let images = score.images_seen.unwrap_or_default();
                let (scores, hours) = moments.entry((images, score.subject.as_str())).or_default();
                scores.push(score.value);
                hours.extend(time.seconds_until(images).map(|seconds| seconds / 3600.0));
            }
        }
        by_images.push(line(&column.name, &moments, |images, _| {
            Some(images as f64)
        }));
        by_hours.push(line(&column.name, &moments, |_, hours| {
            Some(Spread::of(hours)?.mean)
        }));
    }
    for (file, x, lines) in [
        (path, "training images seen", &by_images),
        (&hours_path, "hours of training", &by_hours),
    ] {
        let labels = Labels {
            title: "distance to the real images",
            x,
            y: &metric,
        };
        durable::write(file, &line_plot(&labels, lines, true)?)?;
    }
    Ok([path.to_owned(), hours_path])
}

/// Of each number of images seen, and each set of samples then, the scores and the hours until then.
type Moments<'a> = BTreeMap<(i64, &'a str), (Vec<f64>, Vec<f64>)>;

/// A line of means at what `x` makes of the images seen and the hours of training.
fn line<'a>(
    name: &'a str,
    moments: &Moments<'_>,
    x: impl Fn(i64, &[f64]) -> Option<f64>,
) -> Line<'a> {
    let (points, deviations) = moments
        .iter()
        .filter_map(|(&(images, _), (scores, hours))| {
            let spread = Spread::of(scores)?;
            let point = (x(images, hours)?, spread.mean);
            Some((point, spread.deviation.unwrap_or(0.0)))
        })
        .unzip();
    Line {
        name,
        points,
        deviations,
    }
}

fn trained(run: &RunDetail) -> impl Iterator<Item = &ScoreRow> {
    run.scores
        .iter()
        .filter(|score| score.images_seen.is_some())
}
