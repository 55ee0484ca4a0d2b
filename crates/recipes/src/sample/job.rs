//! A network to images.

use patchwork_terms::{Export, SampleLabels};

use super::SampleSettings;
use crate::environment;
use crate::job::{Nothing, TypedJob};
use crate::kinds::Described;
use crate::pipeline::Stage;
use crate::precision::resolved_precision;
use crate::specify::SpecifyError;

/// What a worker that samples is told.
pub type SampleJob = TypedJob<SampleSettings>;

pub(super) fn describe(
    settings: &SampleSettings,
    stage: &Stage,
) -> Result<Described, SpecifyError> {
    let covered = SampleSettings {
        precision: resolved_precision(settings.precision, stage)?,
        ..settings.clone()
    };
    let job = SampleJob::new(
        stage,
        covered,
        Nothing {},
        Nothing {},
        environment::of_device(stage),
    );
    Ok(Described::new(job.parts(), format_version(settings)))
}

fn format_version(settings: &SampleSettings) -> u32 {
    // PNG files of images that are sampled without a class lie in no folder of their own.
    if settings.export == Export::Folder && settings.labels == SampleLabels::None {
        return 6;
    }
    // No image depends on the number sampled beside it; the networks' sums are made in another order, twice so far;
    // below float32, normalisation and the first convolution keep their weights.
    5
}
