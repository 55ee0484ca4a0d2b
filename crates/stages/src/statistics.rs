//! What a reference keeps of a data set: moments of every kind of features, and some of the features themselves.
//!
//! `statistics.safetensors` holds, for each kind of features such as `inception-v3-tf1/whole`, the moments of its
//! even-numbered and odd-numbered images (`…/even/moments/sum`), or, for external statistics, `…/mean`,
//! `…/covariance` and `…/count`. `features.safetensors` holds `[images, dimension]` under the same names.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_artifacts::worker::StageError;
use patchwork_core::{Seed, durable};
use patchwork_metrics::{Extraction, Gaussian, Moments, View, npz};
use patchwork_networks::checkpoint::{read_safetensors, to_safetensors_bytes};
use tch::Tensor;

use crate::features::{FeatureStore, Halves};

const STATISTICS_FILE: &str = "statistics.safetensors";
const FEATURES_FILE: &str = "features.safetensors";

/// One kind of features of the reference.
#[derive(Debug)]
pub(crate) enum Statistics {
    /// Measured here.
    Own(Halves),
    /// Computed by another program.
    External(Gaussian),
}

impl Statistics {
    /// Mean and covariance of all images.
    pub(crate) fn gaussian(self) -> Result<Gaussian, StageError> {
        match self {
            Self::Own(halves) => halves.whole(),
            Self::External(gaussian) => Ok(gaussian),
        }
    }

    fn to_tensors(&self, stream: &str) -> Vec<(String, Tensor)> {
        match self {
            Self::Own(halves) => [("even", &halves.even), ("odd", &halves.odd)]
                .into_iter()
                .flat_map(|(half, moments)| {
                    (moments.to_tensors().into_iter())
                        .map(move |(name, tensor)| (format!("{stream}/{half}/{name}"), tensor))
                })
                .collect(),
            Self::External(gaussian) => vec![
                (format!("{stream}/mean"), gaussian.mean().shallow_clone()),
                (
                    format!("{stream}/covariance"),
                    gaussian.covariance().shallow_clone(),
                ),
                (
                    format!("{stream}/count"),
                    Tensor::from_slice(&[gaussian.count()]),
                ),
            ],
        }
    }

    fn from_tensors(tensors: &BTreeMap<String, Tensor>, stream: &str) -> Result<Self, StageError> {
        let under = |prefix: String| -> BTreeMap<String, Tensor> {
            (tensors.iter())
                .filter_map(|(name, tensor)| {
                    let rest = name.strip_prefix(&prefix)?.to_owned();
                    Some((rest, tensor.shallow_clone()))
                })
                .collect()
        };
        let own = under(format!("{stream}/"));
        if let (Some(mean), Some(covariance), Some(count)) =
            (own.get("mean"), own.get("covariance"), own.get("count"))
        {
            let gaussian = Gaussian::new(mean, covariance, count.int64_value(&[0]))?;
            return Ok(Self::External(gaussian));
        }
        Ok(Self::Own(Halves {
            even: Moments::from_tensors(&under(format!("{stream}/even/")))?,
            odd: Moments::from_tensors(&under(format!("{stream}/odd/")))?,
        }))
    }
}

/// Writes what is kept of a data set's features into the artifact, with an `.npz` file for other programs of each
/// extractor's whole images.
pub(crate) fn write_own(
    folder: &Path,
    extraction: &Extraction,
    store: &FeatureStore,
    keep_features: usize,
) -> Result<(), StageError> {
    let mut statistics = Vec::new();
    let mut features = Vec::new();
    let chosen = chosen_images(store.count(), keep_features);
    for (position, stream) in extraction.streams().iter().enumerate() {
        let name = extraction.stream_name(stream);
        let own = Statistics::Own(store.moments(position)?);
        statistics.extend(own.to_tensors(&name));
        if stream.view == View::Whole {
            write_npz(folder, extraction, stream.extractor, &own.gaussian()?)?;
            if !chosen.is_empty() {
                features.push((name, store.rows(position, &chosen)?));
            }
        }
    }
    write_tensors(folder, STATISTICS_FILE, &statistics)?;
    if !features.is_empty() {
        write_tensors(folder, FEATURES_FILE, &features)?;
    }
    Ok(())
}

/// Writes external statistics into the artifact.
pub(crate) fn write_external(
    folder: &Path,
    extraction: &Extraction,
    gaussian: Gaussian,
) -> Result<(), StageError> {
    write_npz(folder, extraction, 0, &gaussian)?;
    let name = extraction.stream_name(&extraction.streams()[0]);
    let statistics = Statistics::External(gaussian).to_tensors(&name);
    write_tensors(folder, STATISTICS_FILE, &statistics)
}

fn write_npz(
    folder: &Path,
    extraction: &Extraction,
    extractor: usize,
    gaussian: &Gaussian,
) -> Result<(), StageError> {
    let name = format!(
        "{}.npz",
        extraction.extractors()[extractor].spec.file_stem()
    );
    Ok(durable::write(
        &folder.join(name),
        &npz::to_bytes(gaussian)?,
    )?)
}

fn write_tensors(
    folder: &Path,
    file: &str,
    tensors: &[(String, Tensor)],
) -> Result<(), StageError> {
    let bytes = to_safetensors_bytes(tensors, &BTreeMap::new())?;
    Ok(durable::write(&folder.join(file), &bytes)?)
}

/// A reference's artifact, read kind by kind.
#[derive(Debug)]
pub(crate) struct Reference {
    statistics: BTreeMap<String, Tensor>,
    features: BTreeMap<String, Tensor>,
}

impl Reference {
    pub(crate) fn open(folder: &Path) -> Result<Self, StageError> {
        let features = folder.join(FEATURES_FILE);
        Ok(Self {
            statistics: read_safetensors(&folder.join(STATISTICS_FILE))?,
            features: if features.is_file() {
                read_safetensors(&features)?
            } else {
                BTreeMap::new()
            },
        })
    }

    /// The statistics of a kind of features.
    pub(crate) fn statistics(&self, stream: &str) -> Result<Statistics, StageError> {
        Statistics::from_tensors(&self.statistics, stream)
    }

    /// The features that were kept of a kind.
    pub(crate) fn features(&self, stream: &str) -> Option<&Tensor> {
        self.features.get(stream)
    }
}

/// The images of which features are compared one by one: all, or a random choice in their order.
pub(crate) fn chosen_images(count: usize, at_most: usize) -> Vec<i64> {
    let mut order: Vec<i64> = (0..count as i64).collect();
    if count <= at_most {
        return order;
    }
    let mut stream = Seed::new(0).derive("kept features").stream();
    for position in 0..at_most {
        let remaining = (count - position) as u64;
        order.swap(position, position + stream.below(remaining) as usize);
    }
    order.truncate(at_most);
    order.sort_unstable();
    order
}
