//! Which pictures a run has: its snapshots as frames of one slider, and those of its other stages.

use patchwork_registry::{RunDetail, StageRow};
use serde::Serialize;

use crate::address;
use crate::error::DashboardError;
use crate::files;
use crate::home::Home;
use crate::recorded;

/// One picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Picture {
    /// The stage that made it.
    pub(crate) stage: String,
    /// The file in its artifact.
    pub(crate) file: String,
    /// The address that serves it.
    pub(crate) address: String,
    /// Images that the network had seen in training; none where that is not said.
    pub(crate) images_seen: Option<u64>,
}

/// A stage's pictures: the same seeds in each, so that they can lie over one another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Snapshots {
    /// The stage.
    pub(crate) stage: String,
    /// Images in each, of the seeds from 0 on, in the squarest grid; none where that is not recorded.
    pub(crate) images: Option<u32>,
    /// In the order of training.
    pub(crate) frames: Vec<Picture>,
}

/// The pictures of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Pictures {
    /// Of stages that have several moments.
    pub(crate) sliders: Vec<Snapshots>,
    /// All others, such as grids of samples, curves and nearest training images.
    pub(crate) singles: Vec<Picture>,
}

/// Finds them by the files of the artifacts, and for a stage at work by what it has written so far.
pub(crate) async fn of_run(home: &Home, run: &RunDetail) -> Result<Pictures, DashboardError> {
    let mut pictures = Pictures::default();
    for stage in &run.stages {
        let found = of_stage(home, stage).await?;
        let (frames, singles): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|picture| picture.images_seen.is_some());
        if !frames.is_empty() {
            pictures.sliders.push(Snapshots {
                stage: stage.name.clone(),
                images: recorded::setting(run, &stage.name, "snapshot_samples")
                    .and_then(|images| images.parse().ok()),
                frames,
            });
        }
        pictures.singles.extend(singles);
    }
    Ok(pictures)
}

async fn of_stage(home: &Home, stage: &StageRow) -> Result<Vec<Picture>, DashboardError> {
    let finished = match &stage.path {
        Some(_) => match home.artifact(&stage.fingerprint).await {
            Ok((_, folder)) => Some(folder),
            Err(DashboardError::Absent(_)) => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let (names, last): (Vec<String>, _) = if let Some(folder) = &finished {
        let Some(manifest) = files::manifest(folder) else {
            return Ok(Vec::new());
        };
        let listed = files::listed(&manifest).into_iter();
        let names = listed.filter(|name| files::is_picture(name));
        let last = manifest["settings"]["duration_images"].as_u64();
        (names.map(str::to_owned).collect(), last)
    } else {
        let folder = home.work(&stage.fingerprint);
        let names = folder.map(|folder| files::pictures_in_the_making(&folder));
        (names.unwrap_or_default(), None)
    };
    let mut pictures: Vec<Picture> = names
        .into_iter()
        .map(|file| Picture {
            stage: stage.name.clone(),
            address: address::file(&stage.fingerprint, &file),
            images_seen: moment(&file, last),
            file,
        })
        .collect();
    pictures
        .sort_by(|one, other| (one.images_seen, &one.file).cmp(&(other.images_seen, &other.file)));
    Ok(pictures)
}

/// Images seen, by the name of a snapshot's picture; `network.png` is the end of training.
fn moment(file: &str, last: Option<u64>) -> Option<u64> {
    if file == "network.png" {
        return last;
    }
    file.strip_prefix("snapshot-")?
        .strip_suffix(".png")?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn snapshots_say_when_they_were_taken() {
        assert_eq!(moment("snapshot-000025000.png", None), Some(25_000));
        assert_eq!(moment("network.png", Some(36_000)), Some(36_000));
        assert_eq!(moment("network.png", None), None);
        assert_eq!(moment("snapshots.png", Some(9)), None);
        assert_eq!(moment("loss.png", Some(9)), None);
    }
}
