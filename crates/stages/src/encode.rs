//! A data set to the latents of an autoencoder, shard by shard; or latents of another program as a set of ours.
//!
//! The artifact also holds the autoencoder, as a diffusers folder: whatever is made of the latents is decoded by what
//! encoded them, wherever its files have gone.

use std::path::Path;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_dataset::latents::{self, ImportSettings, StoredScale};
use patchwork_dataset::{DatasetError, LatentSet, ShardSet};
use patchwork_networks::autoencoder::{Autoencoder, AutoencoderConfig, AutoencoderFile, Part};
use patchwork_preparation::reporter;
use patchwork_recipes::encode::{Places, autoencoder_digest};
use patchwork_recipes::{EncodeJob, EncodeSettings, Execution};
use patchwork_terms::Kind;
use serde_json::json;
use tch::Device;

use crate::device;
use crate::job::input;
use crate::latents::{EncodeError, EncodeOptions, Encoding};
use crate::sample::memory::free_bytes;
use crate::shares::{Shares, no_outcome};

/// The folder of the autoencoder in the artifact.
pub(crate) const AUTOENCODER_FOLDER: &str = "autoencoder";

/// Images that are encoded at once, where memory suffices: more are no faster (EDM2 takes as many).
const MOST_AT_ONCE: i64 = 8;

/// What a batch may take of a device whose free memory libtorch does not tell.
const DEVICE_BYTES: u64 = 8 << 30;

/// The share of the free memory that a batch may take.
const USABLE: f64 = 0.7;

/// Why a stage does not encode.
#[derive(Debug, thiserror::Error)]
enum RefusedEncoding {
    #[error("the autoencoder in `{path}` has changed since the run was planned; run again")]
    Changed { path: String },
    #[error(
        "`factor` is {typed}, and the autoencoder has {found} pixels along a side of an image for one latent: set `factor` = {found}"
    )]
    Factor { typed: u32, found: i64 },
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let EncodeJob { covered, uncovered } = EncodeJob::read(job)?;
    let (settings, execution) = (covered.settings, uncovered.execution);
    let device = device::configure(&execution)?;
    let autoencoder = autoencoder(job, &settings, &uncovered.places, device)?;
    let factor = autoencoder.config().factor();
    if factor != i64::from(settings.factor) {
        let typed = settings.factor;
        let found = factor;
        return Err(RefusedEncoding::Factor { typed, found }.into());
    }
    let mut report = reporter(context);
    let import = settings
        .import
        .as_ref()
        .zip(uncovered.places.latents.as_ref());
    let rejected = if let Some((import, source)) = import {
        if !job.is_first() {
            return Ok(no_outcome());
        }
        let settings = import_settings(&settings, import, source, &autoencoder);
        let imported = latents::import(&settings, context.artifact(), &mut report);
        imported.map_err(interrupted)?.rejected
    } else {
        let pixels = &input(job, Kind::Prepare)?.folder;
        let options = encode_options(&settings, &execution, pixels, &autoencoder)?;
        let shares = Shares::join(job, context, &execution)?;
        let folder = context.artifact();
        let mut set = Encoding::open(&autoencoder, pixels, folder, &options, shares.is_first())?;
        shares.open()?;
        set.encode(shares.membership(), &mut report)
            .map_err(|error| match error {
                EncodeError::Dataset(error) => interrupted(error),
                other => other.into(),
            })?;
        if !shares.is_first() {
            return Ok(no_outcome());
        }
        shares.wait_until(|| set.is_complete())?;
        set.finish()?;
        0
    };
    if rejected > 0 {
        context.warn(format!(
            "rejected images: {rejected}; `rejected.parquet` in the artifact names each with its cause"
        ));
    }
    let folder = context.artifact().join(AUTOENCODER_FOLDER);
    write_files(&autoencoder, autoencoder.config(), &folder)?;
    outcome(&autoencoder, rejected, context)
}

/// The autoencoder that the settings name, as it was when the run was planned, or that of a stage.
fn autoencoder(
    job: &Job,
    settings: &EncodeSettings,
    places: &Places,
    device: Device,
) -> Result<Autoencoder, StageError> {
    let Some(path) = &places.autoencoder_files else {
        let trained = input(job, Kind::Autoencoder)?;
        return Ok(AutoencoderFile::open(&trained.folder, None, device)?.autoencoder);
    };
    let digest = autoencoder_digest(path)?.to_string();
    if settings.autoencoder.as_ref() != Some(&digest) {
        let path = path.display().to_string();
        return Err(RefusedEncoding::Changed { path }.into());
    }
    Ok(AutoencoderFile::open(path, None, device)?.autoencoder)
}

fn interrupted(error: DatasetError) -> StageError {
    match error {
        DatasetError::Interrupted => StageError::Interrupted,
        error => error.into(),
    }
}

fn encode_options(
    settings: &EncodeSettings,
    execution: &Execution,
    pixels: &Path,
    autoencoder: &Autoencoder,
) -> Result<EncodeOptions, StageError> {
    let pixels = ShardSet::open(pixels)?;
    let size = [pixels.height() as i64, pixels.width() as i64];
    Ok(EncodeOptions {
        pixel_range: settings.pixel_range,
        images_per_shard: settings.images_per_shard as usize,
        at_once: i64::max(at_once(autoencoder, size, execution), 1),
    })
}

/// How many images of a height and a width fit into memory at once, at most [`MOST_AT_ONCE`]; none where not even one is
/// sure to.
pub(crate) fn at_once(
    autoencoder: &Autoencoder,
    [height, width]: [i64; 2],
    execution: &Execution,
) -> i64 {
    let each = autoencoder.config().working_bytes(height, width);
    let free = match autoencoder.device() {
        Device::Cpu => {
            let limit = execution.memory_gib;
            free_bytes(limit.map(|gibibytes| (gibibytes * f64::from(1 << 30)) as u64))
                .map(|free| free / u64::from(execution.ranks_here()))
        }
        _ => Some(DEVICE_BYTES),
    };
    let Some(free) = free else {
        return MOST_AT_ONCE;
    };
    let fitting = (USABLE * free as f64) as i64 / i64::max(each, 1);
    i64::min(fitting, MOST_AT_ONCE)
}

fn import_settings(
    settings: &EncodeSettings,
    import: &patchwork_recipes::encode::ImportSettings,
    source: &Path,
    autoencoder: &Autoencoder,
) -> ImportSettings {
    let config = autoencoder.config();
    ImportSettings {
        source: source.to_owned(),
        spread: import.spread,
        stored: StoredScale {
            factor: import.stored_factor,
            shift: import.stored_shift,
        },
        channels: config.latent_channels as usize,
        pixel_range: settings.pixel_range,
        factor: settings.factor as usize,
        scaling_factor: config.scaling_factor,
        shift_factor: config.shift_factor.unwrap_or(0.0),
        images_per_shard: settings.images_per_shard as usize,
        max_rejected: import.max_rejected,
    }
}

/// Writes the files of a diffusers folder, with these settings.
pub(crate) fn write_files(
    autoencoder: &Autoencoder,
    config: &AutoencoderConfig,
    folder: &Path,
) -> Result<(), StageError> {
    durable::create_dir_all(folder)?;
    for (name, bytes) in autoencoder.to_diffusers_files(config)? {
        durable::write(&folder.join(name), &bytes)?;
    }
    Ok(())
}

fn outcome(
    autoencoder: &Autoencoder,
    rejected: u64,
    context: &Context,
) -> Result<Outcome, StageError> {
    let set = LatentSet::open(context.artifact())?;
    let spec = set.spec();
    let encoder = spec.encoder.map(|digest| digest.to_string());
    let by = match &encoder {
        Some(digest) => format!("the encoder {}", &digest[..12]),
        None => "another program".to_owned(),
    };
    let (pixels_wide, pixels_high) = (spec.width * spec.factor, spec.height * spec.factor);
    let summary = json!({
        "report": format!(
            "{} images of {pixels_wide} × {pixels_high} pixels as {} × {} latents of {} channels, by {by}; {rejected} rejected",
            set.len(), spec.width, spec.height, spec.channels,
        ),
        "images": set.len(),
        "rejected": rejected,
        "channels": spec.channels,
        "height": spec.height,
        "width": spec.width,
        "factor": spec.factor,
        "pixel_range": spec.pixel_range,
        "scaling_factor": spec.scaling_factor,
        "shift_factor": spec.shift_factor,
        "latent_mean": set.statistics().mean,
        "latent_std": set.statistics().deviation,
        "encoder": encoder,
        "decoder": autoencoder.digest(Part::Decoder)?.to_string(),
        "class_names": spec.class_names,
        "class_counts": set.label_counts(),
    });
    Ok(Outcome::new(summary, Vec::new()))
}
