//! A data set to the statistics of its features, which samples are compared with.

use patchwork_artifacts::Outcome;
use patchwork_artifacts::event::Progress;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_dataset::ShardSet;
use patchwork_metrics::{Extraction, View, npz, open_extractors};
use patchwork_recipes::reference::extractor::extractors;
use patchwork_recipes::{ReferenceJob, ReferenceSettings};
use patchwork_terms::Crop;
use serde_json::{Value, json};
use std::path::Path;
use tch::Device;

use crate::device;
use crate::features::FeatureStore;
use crate::job::first_images;
use crate::shares::{Shares, no_outcome};
use crate::statistics::{write_external, write_own};

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let ReferenceJob { covered, uncovered } = ReferenceJob::read(job)?;
    let (settings, places) = (covered.settings, uncovered.places);
    let device = device::configure(&uncovered.execution)?;
    let extraction = open_extraction(&settings, &places.weights, device)?;
    if let Some(statistics) = &places.statistics {
        if !job.is_first() {
            return Ok(no_outcome());
        }
        return import(&settings, statistics, &extraction, context);
    }
    let shares = Shares::join(job, context, &uncovered.execution)?;
    shares.open()?;
    let data = ShardSet::open(&first_images(job)?.folder)?;
    let mut report = |done: usize, resumed: usize| {
        context.progress(Progress {
            done: done as u64,
            total: data.len() as u64,
            resumed: resumed as u64,
            unit: "images".to_owned(),
            note: names(&extraction).join(", "),
        });
        context.is_interrupted()
    };
    let folder = context.state().join("features");
    let batch_size = settings.batch_size as usize;
    let store = FeatureStore::fill(&data, &extraction, batch_size, &folder, shares, &mut report)?;
    if !shares.is_first() {
        return Ok(no_outcome());
    }
    let keep_features = settings.keep_features as usize;
    write_own(context.artifact(), &extraction, &store, keep_features)?;
    let mut summary = summary(&extraction);
    summary["images"] = json!(data.len());
    summary["height"] = json!(data.height());
    summary["width"] = json!(data.width());
    summary["foreign"] = json!(false);
    summary["report"] = json!(format!(
        "features of {} images by {}",
        data.len(),
        names(&extraction).join(", ")
    ));
    Ok(Outcome::new(summary, Vec::new()))
}

/// Imports external statistics; only the features' width can be checked.
fn import(
    settings: &ReferenceSettings,
    path: &Path,
    extraction: &Extraction,
    context: &Context,
) -> Result<Outcome, StageError> {
    let expected = extraction.streams()[0].dimension;
    let actual = npz::width(path)?;
    if actual != expected {
        return Err(WrongWidth {
            path: path.to_owned(),
            actual,
            expected,
            extractor: names(extraction).join(", "),
        }
        .into());
    }
    let gaussian = npz::read(path, settings.images.map(|images| images as i64))?;
    write_external(context.artifact(), extraction, gaussian)?;
    let mut summary = summary(extraction);
    summary["images"] = json!(settings.images);
    summary["foreign"] = json!(true);
    summary["report"] = json!(format!(
        "external statistics of {} by {}",
        settings.images.map_or_else(
            || "an unknown number of images".to_owned(),
            |images| format!("{images} images")
        ),
        names(extraction).join(", ")
    ));
    Ok(Outcome::new(summary, Vec::new()))
}

/// External statistics are of another extractor.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` holds statistics of features with {actual} dimensions, but `{extractor}` has {expected}: \
     they are of another extractor",
    path.display()
)]
struct WrongWidth {
    path: std::path::PathBuf,
    actual: i64,
    expected: i64,
    extractor: String,
}

/// The extractors of a reference with the views that it asks for.
pub(crate) fn open_extraction(
    settings: &ReferenceSettings,
    weights_folder: &Path,
    device: Device,
) -> Result<Extraction, StageError> {
    let open = open_extractors(&extractors(settings), weights_folder, device)?;
    let mut views: Vec<View> = (settings.crops.iter())
        .map(|crop| match crop {
            Crop::Half => View::CropHalf,
            Crop::Quarter => View::CropQuarter,
        })
        .collect();
    if settings.spatial {
        views.push(View::Spatial);
        if let Some(without) = (open.iter()).find(|open| {
            open.spec.has_spatial_features() && open.extractor.spatial_dimension().is_none()
        }) {
            let extractor = without.spec.to_string();
            return Err(NoSpatialFeatures { extractor }.into());
        }
    }
    Ok(Extraction::new(open, &views))
}

/// NVIDIA's program shows no inner maps.
#[derive(Debug, thiserror::Error)]
#[error(
    "`spatial` needs the inner maps of `{extractor}`, which its TorchScript program does not return: run `patchwork \
     weights get inception`"
)]
struct NoSpatialFeatures {
    extractor: String,
}

fn summary(extraction: &Extraction) -> Value {
    let extractors: Vec<Value> = (extraction.extractors().iter())
        .map(|open| {
            json!({
                "extractor": open.spec.name(),
                "resize": open.spec.preprocessing(),
                "dimension": open.extractor.dimension(),
            })
        })
        .collect();
    json!({ "extractors": extractors })
}

/// The extractors' names for people.
pub(crate) fn names(extraction: &Extraction) -> Vec<String> {
    (extraction.extractors().iter())
        .map(|open| open.spec.to_string())
        .collect()
}
