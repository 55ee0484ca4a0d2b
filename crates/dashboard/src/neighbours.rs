//! The training images nearest to samples, where an evaluation looked for them: `neighbours.json` and `neighbours.png`
//! of its artifact.

use std::path::Path;

use patchwork_registry::RunDetail;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::address;
use crate::error::DashboardError;
use crate::files;
use crate::home::Home;

const TABLE: &str = "neighbours.json";
const PICTURE: &str = "neighbours.png";

/// White pixels between the images of the picture, and around them.
const GAP: u32 = 4;

/// What one evaluation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Neighbours {
    /// The stage that evaluated.
    pub(crate) stage: String,
    /// None where samples and training images differ in size.
    pub(crate) sheet: Option<Sheet>,
    /// A row a sample.
    pub(crate) rows: Vec<Row>,
}

/// The picture: a line a sample, first the sample, then its neighbours.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sheet {
    /// The address that serves it.
    pub(crate) address: String,
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
}

/// A sample and its neighbours, the nearest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The sample's number in its set.
    pub(crate) sample: u64,
    /// Its seed, where it is known.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
    /// The training images.
    pub(crate) nearest: Vec<Near>,
}

/// A training image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Near {
    /// Its number in the data set.
    pub(crate) training_image: u64,
    /// The Euclidean distance of features.
    pub(crate) distance: f64,
}

/// Those of all evaluations of a run.
pub(crate) async fn of_run(
    home: &Home,
    run: &RunDetail,
) -> Result<Vec<Neighbours>, DashboardError> {
    let mut found = Vec::new();
    for stage in run.stages.iter().filter(|stage| stage.kind == "evaluate") {
        if stage.path.is_none() {
            continue;
        }
        let folder = match home.artifact(&stage.fingerprint).await {
            Ok((_, folder)) => folder,
            Err(DashboardError::Absent(_)) => continue,
            Err(error) => return Err(error),
        };
        let Some(manifest) = files::manifest(&folder) else {
            continue;
        };
        let listed = files::listed(&manifest);
        if !listed.contains(&TABLE) {
            continue;
        }
        let text = files::read(&folder.join(TABLE))?;
        let Ok(mut rows) = serde_json::from_slice::<Vec<Row>>(&text) else {
            continue;
        };
        let first = first_seed(home, &manifest).await?;
        for row in &mut rows {
            row.seed = first.map(|first| first.saturating_add(row.sample));
        }
        let sheet = listed
            .contains(&PICTURE)
            .then(|| sheet(&folder, &stage.fingerprint));
        found.push(Neighbours {
            stage: stage.name.clone(),
            sheet: sheet.flatten(),
            rows,
        });
    }
    Ok(found)
}

/// The seed of the first sample, where the seeds of its set are one range: what is searched are the samples of the
/// evaluation's first input of that kind.
async fn first_seed(home: &Home, manifest: &Value) -> Result<Option<u64>, DashboardError> {
    let inputs = manifest["inputs"].as_array().into_iter().flatten();
    let mut samples = inputs.filter(|input| input["kind"] == "sample");
    let Some(fingerprint) = samples
        .next()
        .and_then(|input| input["fingerprint"].as_str())
    else {
        return Ok(None);
    };
    let artifact = home.registry().await?.artifact(fingerprint).await?;
    let summary = artifact.map(|artifact| artifact.summary);
    let summary: Value = summary
        .and_then(|summary| serde_json::from_str(&summary).ok())
        .unwrap_or_default();
    let seeds = summary["seeds"].as_str().unwrap_or_default();
    Ok(start_of_range(seeds))
}

/// `0-23` begins with 0; `0-7,16-23` is not one range.
fn start_of_range(seeds: &str) -> Option<u64> {
    let (first, last) = seeds.split_once('-').unwrap_or((seeds, seeds));
    last.parse::<u64>().ok()?;
    first.parse().ok()
}

fn sheet(folder: &Path, fingerprint: &str) -> Option<Sheet> {
    let [width, height] = files::png_size(&folder.join(PICTURE))?;
    Some(Sheet {
        address: address::file(fingerprint, PICTURE),
        width,
        height,
    })
}

impl Sheet {
    /// The place of an image among `columns` in a line and `lines`: left, top, width, height, in pixels.
    pub(crate) fn place(
        &self,
        [column, line]: [usize; 2],
        [columns, lines]: [usize; 2],
    ) -> [u32; 4] {
        let along = |all: u32, number: usize, of: usize| {
            let each = all.saturating_sub(GAP) / u32::max(1, of as u32);
            (GAP + number as u32 * each, each.saturating_sub(GAP))
        };
        let (left, width) = along(self.width, column, columns);
        let (top, height) = along(self.height, line, lines);
        [left, top, width, height]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_between_white_lines() {
        let sheet = Sheet {
            address: String::new(),
            width: 4 + 3 * (64 + 4),
            height: 4 + 2 * (32 + 4),
        };
        assert_eq!(sheet.place([0, 0], [3, 2]), [4, 4, 64, 32]);
        assert_eq!(sheet.place([2, 1], [3, 2]), [140, 40, 64, 32]);
    }

    #[test]
    fn the_first_seed_is_known_of_one_range() {
        assert_eq!(start_of_range("0-23"), Some(0));
        assert_eq!(start_of_range("500-999"), Some(500));
        assert_eq!(start_of_range("7"), Some(7));
        for other in ["0-7,16-23", "", "a-b"] {
            assert_eq!(start_of_range(other), None, "{other}");
        }
    }
}
