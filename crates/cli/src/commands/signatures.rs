//! The signatures of a run's trainings: how they fail, by its metrics and scores.

use std::path::Path;

use patchwork_artifacts::Manifest;
use patchwork_registry::{Registry, RunDetail};
use patchwork_signatures::{LOSS_BY_PATCH_SIZE, Losses, NearCopies, Score, of_losses, of_scores};
use patchwork_terms::Kind;

use crate::error::CliError;

/// The signatures of a run's losses, scores and neighbours, each a sentence.
pub(super) async fn signatures(
    home: &Path,
    registry: &Registry,
    run: &RunDetail,
) -> Result<Vec<String>, CliError> {
    let mut found = Vec::new();
    let by_patch_size = registry
        .second_halves(run.run.id, LOSS_BY_PATCH_SIZE)
        .await?;
    let trainings = (run.stages.iter()).filter(|stage| stage.kind == Kind::Train.name());
    for stage in trainings {
        let ratio = (run.metrics.iter())
            .find(|series| series.stage == stage.name && series.name == "loss_ratio");
        found.extend(of_losses(&Losses {
            by_patch_size: (by_patch_size.iter())
                .filter(|half| half.stage == stage.name)
                .filter_map(|half| Some((half.name.as_str(), half.points, half.mean?)))
                .collect(),
            highest_ratio: ratio.and_then(|series| series.max),
        }));
    }
    let scores: Vec<Score<'_>> = (run.scores.iter())
        .map(|score| Score {
            subject: &score.subject,
            metric: &score.metric,
            value: score.value,
            images_seen: score.images_seen,
        })
        .collect();
    found.extend(of_scores(&scores));
    let artifacts = run.stages.iter().filter_map(|stage| stage.path.as_ref());
    found.extend(artifacts.filter_map(|path| near_copies(&home.join(path))?.signature()));
    Ok(found)
}

/// The near-copies that an evaluation has counted, as its artifact has it; none of other artifacts.
fn near_copies(artifact: &Path) -> Option<NearCopies> {
    let manifest = Manifest::read(artifact).ok()?;
    let counted = manifest.outcome.summary.get("near_copies")?;
    let count = |name: &str| Some(counted.get(name)?.as_u64()? as usize);
    Some(NearCopies {
        copies: count("copies")?,
        samples: count("samples")?,
    })
}
