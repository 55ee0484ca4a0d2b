//! Distance against training images, and against hours of training.

use std::path::{Path, PathBuf};

use patchwork_core::durable;
use patchwork_plot::{Labels, Line, line_plot};
use patchwork_registry::{Registry, RunDetail, ScoreRow};

use crate::error::{CliError, refuse_to_overwrite};

/// Draws both plots of the distance that stands for the first run with scores, beside each other in files of this name.
pub(super) async fn draw(
    registry: &Registry,
    runs: &[RunDetail],
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
    let metric = runs
        .iter()
        .find_map(|run| run.run.metric.clone())
        .unwrap_or_default();
    let (mut by_images, mut by_hours) = (Vec::new(), Vec::new());
    for run in runs {
        let mut scores: Vec<&ScoreRow> = trained(run)
            .filter(|score| score.metric == metric)
            .collect();
        scores.sort_by_key(|score| score.images_seen);
        let train = run.stages.iter().find(|stage| stage.kind == "train");
        let time = match train {
            Some(train) => registry.training_time(&train.fingerprint).await?,
            None => patchwork_registry::TrainingTime::default(),
        };
        let images = |score: &ScoreRow| score.images_seen.unwrap_or_default();
        by_images.push(Line {
            name: &run.run.name,
            points: scores
                .iter()
                .map(|score| (images(score) as f64, score.value))
                .collect(),
        });
        by_hours.push(Line {
            name: &run.run.name,
            points: scores
                .iter()
                .filter_map(|score| {
                    Some((time.seconds_until(images(score))? / 3600.0, score.value))
                })
                .collect(),
        });
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

fn trained(run: &RunDetail) -> impl Iterator<Item = &ScoreRow> {
    run.scores
        .iter()
        .filter(|score| score.images_seen.is_some())
}
