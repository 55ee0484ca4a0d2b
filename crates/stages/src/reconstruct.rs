//! Encoded images, decoded and compared with the reference: the floor of every score of samples of their latents.

use patchwork_artifacts::Outcome;
use patchwork_artifacts::event::Progress;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_artifacts::{Score, Subject};
use patchwork_core::durable;
use patchwork_dataset::grid::grid_png;
use patchwork_dataset::{LatentSet, ShardSet};
use patchwork_networks::LatentConfig;
use patchwork_recipes::{EvaluateSettings, ReconstructJob};
use patchwork_terms::{Channels, Kind};
use serde_json::json;

use crate::decoder::DecoderPlace;
use crate::device;
use crate::evaluate::OpenReference;
use crate::features::{Evenly, FeatureStore, Images};
use crate::job::{input, inputs};
use crate::reconstructions::Reconstructions;
use crate::reference::names;
use crate::shares::{Shares, no_outcome};

/// The scores, which evaluations record.
pub(crate) const SCORES_FILE: &str = "scores.json";

/// What the scores are of, in evaluations.
const BASELINE: &str = "reconstructions";

/// Pairs of an image and its reconstruction in a row of the picture.
const PAIRS_IN_A_ROW: usize = 4;

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let ReconstructJob { covered, uncovered } = ReconstructJob::read(job)?;
    let (settings, execution, places) = (covered.settings, uncovered.execution, uncovered.places);
    let device = device::configure(&execution)?;
    let only_distances = EvaluateSettings::default();
    let reference = OpenReference::open(job, &places.weights, &only_distances, device)?;
    let set = LatentSet::open(&input(job, Kind::Encode)?.folder)?;
    let spec = set.spec();
    let raw = LatentConfig {
        factor: spec.factor as i64,
        pixel_range: spec.pixel_range.name().to_owned(),
        scaling: "none".to_owned(),
        shift: vec![0.0; spec.channels],
        scale: vec![1.0; spec.channels],
        encoder: spec.encoder.map(|digest| digest.to_string()),
    };
    let size = [spec.height as i64, spec.width as i64];
    let shares = Shares::join(job, context, &execution)?;
    let place = DecoderPlace::of(job, places.decoder_files.as_deref(), &execution);
    let decoder = place.open_for(&raw, size, device, context)?;
    let tile_pixels = decoder.tile_pixels();
    // They decode as it was noted.
    shares.open()?;
    let all = Reconstructions { set, decoder };
    let chosen = Evenly::of(&all, settings.images as usize);
    let note = names(&reference.comparison.extraction).join(", ");
    let mut report = |done: usize, resumed: usize| {
        context.progress(Progress {
            done: done as u64,
            total: chosen.count() as u64,
            resumed: resumed as u64,
            unit: "images".to_owned(),
            note: note.clone(),
        });
        context.is_interrupted()
    };
    let store = FeatureStore::fill(
        &chosen,
        &reference.comparison.extraction,
        reference.batch_size,
        &context.state().join("features"),
        shares,
        &mut report,
    )?;
    if !shares.is_first() {
        return Ok(no_outcome());
    }
    let compared = reference.comparison.scores(&store, true)?;
    for warning in compared.warnings {
        context.warn(warning);
    }
    let scores: Vec<Score> = (compared.scores.into_iter())
        .map(|score| Score {
            subject: Subject::Baseline(BASELINE.to_owned()),
            ..score
        })
        .collect();
    let shown = settings.shown as usize;
    if let (Some(prepared), true) = (inputs(job, Kind::Prepare).next(), shown > 0) {
        let images = ShardSet::open(&prepared.folder)?;
        // Of latents of another program some may be missing.
        if images.len() == all.count() {
            let png = picture(&Evenly::of(&images, shown), &Evenly::of(&all, shown))?;
            durable::write(&context.artifact().join("reconstructions.png"), &png)?;
        }
    }
    durable::write_json(&context.artifact().join(SCORES_FILE), &scores)?;
    let distances: Vec<String> = (scores.iter())
        .map(|score| format!("{} {:.3}", score.metric, score.value))
        .collect();
    let mut summary = json!({
        "report": format!("reconstructions of {} images: {}", chosen.count(), distances.join(", ")),
        "images": chosen.count(),
        "distances": (scores.iter())
            .map(|score| json!({ "metric": score.metric, "value": score.value }))
            .collect::<Vec<_>>(),
    });
    if let Some(pixels) = tile_pixels {
        summary["decoded_in_tiles_of_pixels"] = json!(pixels);
    }
    // Evaluations record them, beside their own.
    Ok(Outcome::new(summary, Vec::new()))
}

/// Images, each with its reconstruction to its right.
fn picture(images: &Evenly<'_>, reconstructions: &Evenly<'_>) -> Result<Vec<u8>, StageError> {
    let bytes = |set: &Evenly<'_>| -> Result<Vec<Vec<u8>>, StageError> {
        (0..set.count())
            .map(|number| {
                let pixels = set.batch(number..number + 1)?.permute([0, 2, 3, 1]);
                Ok(Vec::<u8>::try_from(pixels.contiguous().flatten(0, -1))?)
            })
            .collect()
    };
    let size = images.batch(0..1)?.size();
    let (left, right) = (bytes(images)?, bytes(reconstructions)?);
    let pairs: Vec<&[u8]> = (left.iter().zip(&right))
        .flat_map(|(image, reconstruction)| [image.as_slice(), reconstruction.as_slice()])
        .collect();
    let (width, height) = (size[3] as usize, size[2] as usize);
    let columns = 2 * PAIRS_IN_A_ROW;
    Ok(grid_png(
        &pairs,
        width,
        height,
        Channels::Rgb,
        columns,
        2,
        1,
    )?)
}
