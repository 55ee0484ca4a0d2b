//! The training images that samples resemble most: a look at what a network has by heart.
//!
//! Nearness is the Euclidean distance of features. A sample whose nearest training image shows the very same, at a
//! fraction of the distance of the next ones, was remembered rather than made.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use patchwork_artifacts::event::Progress;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_dataset::grid::grid_png;
use patchwork_dataset::{Channels, ShardSet};
use patchwork_metrics::{Extractor, Neighbours};
use patchwork_networks::checkpoint::{read_safetensors, to_safetensors_bytes};
use patchwork_signatures::NearCopies;
use serde_json::{Value, json};
use tch::Tensor;

use crate::features::Images;

/// Batches between two durable points.
const BATCHES_PER_STRETCH: usize = 10;

/// White pixels between the pictures, and how often a pixel is repeated in each direction.
const GAP: usize = 4;
const SCALE: u32 = 2;

/// What is compared, and how much of it is shown.
pub(crate) struct Comparison<'a> {
    pub(crate) samples: &'a ShardSet,
    pub(crate) training: &'a ShardSet,
    /// Samples that are shown, the first ones.
    pub(crate) shown: usize,
    /// Training images beside each.
    pub(crate) neighbours: usize,
    /// Images at once.
    pub(crate) batch_size: usize,
    pub(crate) extractor: &'a dyn Extractor,
}

/// Writes `neighbours.png`, a row a sample: the sample, then the training images nearest to it, and `neighbours.json`
/// with their distances. Images of another size than the samples stand in no picture with them. Resumes where an earlier
/// attempt stopped. Returns how many of the samples are near-copies.
pub(crate) fn write_neighbours(
    comparison: &Comparison<'_>,
    context: &Context,
) -> Result<NearCopies, StageError> {
    let [own, theirs] =
        [comparison.samples, comparison.training].map(|set| (set.width(), set.height()));
    if own != theirs {
        context.warn(format!(
            "the samples have {} x {} pixels and the images among which their neighbours are looked for {} x {}: \
             `neighbours.json` lists them, and there is no picture",
            own.0, own.1, theirs.0, theirs.1
        ));
    }
    let shown = usize::min(comparison.shown, comparison.samples.len());
    let queries = (0..shown)
        .step_by(comparison.batch_size)
        .map(|start| {
            let end = usize::min(start + comparison.batch_size, shown);
            let images = comparison.samples.batch(start..end)?;
            Ok(comparison.extractor.features(&images)?.pooled)
        })
        .collect::<Result<Vec<_>, StageError>>()?;
    let nearest = Neighbours::new(&Tensor::cat(&queries, 0), comparison.neighbours as i64)?;
    let found = search(comparison, nearest, context)?.found();
    let folder = context.artifact();
    if own == theirs {
        let picture = picture(comparison, &found)?;
        durable::write(&folder.join("neighbours.png"), &picture)?;
    }
    durable::write_json(&folder.join("neighbours.json"), &table(&found))?;
    let distances: Vec<Vec<f64>> = (found.iter())
        .map(|nearest| nearest.iter().map(|(distance, _)| *distance).collect())
        .collect();
    Ok(NearCopies::count(distances.iter().map(Vec::as_slice)))
}

/// Offers every training image, from the first that an earlier attempt had not.
fn search(
    comparison: &Comparison<'_>,
    mut nearest: Neighbours,
    context: &Context,
) -> Result<Neighbours, StageError> {
    let state: PathBuf = context.state().join("neighbours.safetensors");
    if state.is_file() {
        nearest.resume(&read_safetensors(&state)?)?;
    }
    let total = comparison.training.len();
    let resumed = nearest.offered() as usize;
    let mut done = resumed;
    while done < total {
        for _ in 0..BATCHES_PER_STRETCH {
            let end = usize::min(done + comparison.batch_size, total);
            let images = comparison.training.batch(done..end)?;
            nearest.offer(&comparison.extractor.features(&images)?.pooled)?;
            done = end;
            context.progress(Progress {
                done: done as u64,
                total: total as u64,
                resumed: resumed as u64,
                unit: "images".to_owned(),
                note: "looking for neighbours".to_owned(),
            });
            if context.is_interrupted() || done == total {
                break;
            }
        }
        let tensors: Vec<(String, Tensor)> = nearest.to_tensors().into_iter().collect();
        durable::write(&state, &to_safetensors_bytes(&tensors, &BTreeMap::new())?)?;
        if context.is_interrupted() && done < total {
            return Err(StageError::Interrupted);
        }
    }
    Ok(nearest)
}

fn picture(
    comparison: &Comparison<'_>,
    found: &[Vec<(f64, usize)>],
) -> Result<Vec<u8>, StageError> {
    let (samples, training) = (comparison.samples, comparison.training);
    // In colour, since one of the two sets may be grey.
    let images: Vec<Cow<'_, [u8]>> = found
        .iter()
        .enumerate()
        .flat_map(|(sample, nearest)| {
            let nearest = nearest.iter().map(|&(_, index)| training.rgb_pixels(index));
            std::iter::once(samples.rgb_pixels(sample)).chain(nearest)
        })
        .collect();
    let images: Vec<&[u8]> = images.iter().map(AsRef::as_ref).collect();
    let columns = 1 + found.first().map_or(0, Vec::len);
    Ok(grid_png(
        &images,
        training.width(),
        training.height(),
        Channels::Rgb,
        columns,
        GAP,
        SCALE,
    )?)
}

fn table(found: &[Vec<(f64, usize)>]) -> Value {
    let rows: Vec<Value> = found
        .iter()
        .enumerate()
        .map(|(sample, nearest)| {
            let nearest: Vec<Value> = nearest
                .iter()
                .map(|(distance, index)| json!({ "training_image": index, "distance": distance }))
                .collect();
            json!({ "sample": sample, "nearest": nearest })
        })
        .collect();
    json!(rows)
}
