//! Whether a worker's program makes what its job asks for: another one may lie in its place since the run was planned.

use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::StageError;
use patchwork_terms::Kind;

use crate::group_probe::GroupProbe;
use crate::kinds::StageSettings;

/// The worker's program was replaced by one that makes something else.
#[derive(Debug, thiserror::Error)]
#[error(
    "this worker makes format version {own} of a `{kind}` stage, and the run was planned for version {planned}: the program \
     was rebuilt or replaced since the run started; run the same command again"
)]
struct OtherFormat {
    kind: Kind,
    own: u32,
    planned: u32,
}

/// Refuses a job whose artifact would not be what its fingerprint says.
///
/// # Errors
/// A job of another format version than this program makes of its settings.
pub fn check_format(job: &Job) -> Result<(), StageError> {
    if job.kind == GroupProbe::KIND {
        return Ok(());
    }
    let kind: Kind = serde_json::from_value(job.kind.as_str().into())?;
    let own = StageSettings::from_json(kind, job.settings.clone())?.format_version();
    if own == job.format_version {
        return Ok(());
    }
    let planned = job.format_version;
    Err(OtherFormat { kind, own, planned }.into())
}
