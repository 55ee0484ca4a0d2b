//! From what a network of latents makes to images: in batches of the decoder's own, and in tiles where an image does not
//! fit into memory.

use std::path::{Path, PathBuf};

use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::{durable, file_error};
use patchwork_networks::autoencoder::{Autoencoder, AutoencoderFile, Part, Tiling};
use patchwork_networks::{LatentConfig, NetworkConfig};
use patchwork_recipes::Execution;
use patchwork_terms::PixelRange;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::data::encoded;
use crate::encode::{AUTOENCODER_FOLDER, at_once};
use crate::latents::{DecodeOptions, decode};

/// The sides of tiles that are tried, in latents, largest first; the last is taken whatever it needs.
const TILES: [i64; 5] = [64, 48, 32, 24, 16];

/// Where a stage notes how it decodes, so that a resumed attempt decodes alike.
const NOTE_FILE: &str = "decoding.json";

/// Why latents are not decoded.
#[derive(Debug, thiserror::Error)]
enum DecoderError {
    #[error(
        "the network makes latents, and no autoencoder decodes them\n\
         hint: list the stage of kind `encode` in `needs`, or set `autoencoder` to a folder such as its `autoencoder`"
    )]
    Missing,
    #[error(
        "the autoencoder in `{path}` makes {found}, and the network's latents are {wanted}\n\
         hint: `autoencoder` names one with the encoder that made the latents"
    )]
    Other {
        path: String,
        found: String,
        wanted: String,
    },
}

/// The autoencoder that a stage decodes with.
#[derive(Clone, Debug)]
pub(crate) struct DecoderPlace {
    folder: Option<PathBuf>,
    execution: Execution,
}

impl DecoderPlace {
    /// The files that the settings name, or the autoencoder that encoded what the stage's network was trained on.
    pub(crate) fn of(job: &Job, named: Option<&Path>, execution: &Execution) -> Self {
        let own = encoded(job).map(|encoded| encoded.folder.join(AUTOENCODER_FOLDER));
        Self {
            folder: named.map(Path::to_owned).or(own),
            execution: execution.clone(),
        }
    }

    /// Opens the decoder of a network; none for a network of pixels.
    ///
    /// # Errors
    /// No autoencoder, one that cannot be read, or one of other latents.
    pub(crate) fn open(
        &self,
        config: &NetworkConfig,
        device: Device,
        context: &Context,
    ) -> Result<Option<Decoder>, StageError> {
        let Some(latents) = &config.latents else {
            return Ok(None);
        };
        let size = [config.height(), config.width()];
        self.open_for(latents, size, device, context).map(Some)
    }

    /// Opens the decoder of latents of a height and a width.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_for(
        &self,
        latents: &LatentConfig,
        size: [i64; 2],
        device: Device,
        context: &Context,
    ) -> Result<Decoder, StageError> {
        let folder = self.folder.as_deref().ok_or(DecoderError::Missing)?;
        let autoencoder = AutoencoderFile::open(folder, None, device)?.autoencoder;
        check(&autoencoder, latents, folder)?;
        let tiling = self.tiling(&autoencoder, size, context)?;
        let at_once = at_once(
            &autoencoder,
            size.map(|side| side * latents.factor),
            &self.execution,
        );
        let pixel_range = PixelRange::from_name(&latents.pixel_range).unwrap_or_default();
        Ok(Decoder {
            options: DecodeOptions {
                pixel_range,
                at_once: i64::max(at_once, 1),
                tiling,
            },
            latents: latents.clone(),
            autoencoder,
        })
    }

    /// The tiles that latents are decoded in, where an image does not fit into memory whole. An image in tiles differs a
    /// little from one that is decoded whole, so that what the first attempt found is kept by the others.
    fn tiling(
        &self,
        autoencoder: &Autoencoder,
        size: [i64; 2],
        context: &Context,
    ) -> Result<Option<Tiling>, StageError> {
        let path = context.state().join(NOTE_FILE);
        if path.is_file() {
            let note: Note = file_error::read_json(&path)?;
            return Ok(note.tiles.map(tiling));
        }
        let factor = autoencoder.config().factor();
        let fits = |size: [i64; 2]| {
            let pixels = size.map(|side| side * factor);
            at_once(autoencoder, pixels, &self.execution) > 0
        };
        let tiles = if fits(size) {
            None
        } else {
            let is_smaller = |side: &i64| size.iter().any(|whole| side < whole);
            let smaller: Vec<i64> = TILES.into_iter().filter(is_smaller).collect();
            let fitting = smaller.iter().find(|side| fits([**side; 2]));
            fitting.or(smaller.last()).copied()
        };
        if let Some(side) = tiles {
            context.warn(format!(
                "decoding an image of {} × {} pixels does not fit into free memory: it is decoded in tiles of {} pixels, \
                 which changes it a little",
                size[1] * factor,
                size[0] * factor,
                side * factor
            ));
        }
        durable::write_json(&path, &Note { tiles })?;
        Ok(tiles.map(tiling))
    }
}

/// How a stage decodes.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The side of a tile in latents; none: images are decoded whole.
    tiles: Option<i64>,
}

fn tiling(size: i64) -> Tiling {
    Tiling {
        size,
        overlap: size / 4,
    }
}

fn check(
    autoencoder: &Autoencoder,
    latents: &LatentConfig,
    folder: &Path,
) -> Result<(), StageError> {
    let config = autoencoder.config();
    let in_words = |channels: i64, factor: i64| {
        format!("{channels} channels, {factor} pixels along a side for one latent")
    };
    let found = in_words(config.latent_channels, config.factor());
    let wanted = in_words(latents.shift.len() as i64, latents.factor);
    let (found, wanted) = if found == wanted {
        let own = autoencoder.digest(Part::Encoder)?.to_string();
        match &latents.encoder {
            Some(encoder) if *encoder != own => (
                format!("those of the encoder {own}"),
                format!("those of {encoder}"),
            ),
            _ => return Ok(()),
        }
    } else {
        (found, wanted)
    };
    let path = folder.display().to_string();
    Err(DecoderError::Other {
        path,
        found,
        wanted,
    }
    .into())
}

/// An autoencoder's decoder, for latents as a network sees them.
pub(crate) struct Decoder {
    autoencoder: Autoencoder,
    latents: LatentConfig,
    options: DecodeOptions,
}

impl Decoder {
    /// Pixels along a side of an image for one latent.
    pub(crate) fn factor(&self) -> i64 {
        self.latents.factor
    }

    /// Channels of the images.
    pub(crate) fn channels(&self) -> i64 {
        self.autoencoder.config().out_channels
    }

    /// The side of the tiles in pixels that images are decoded in; none where they are decoded whole.
    pub(crate) fn tile_pixels(&self) -> Option<i64> {
        let tiling = self.options.tiling;
        tiling.map(|tiling| tiling.size * self.latents.factor)
    }

    /// The images of scaled latents.
    ///
    /// # Shapes
    /// - `scaled`: `[n, channels, h, w]`, as the network makes them
    /// - returns `[n, image channels, h × factor, w × factor]`, u8
    pub(crate) fn images(&self, scaled: &Tensor) -> Tensor {
        let raw = self.latents.raw(&scaled.to_kind(Kind::Float));
        self.raw_images(&raw)
    }

    /// The images of raw latents, of the same shapes.
    pub(crate) fn raw_images(&self, raw: &Tensor) -> Tensor {
        decode(
            &self.autoencoder,
            &raw.to_device(self.autoencoder.device()),
            &self.options,
        )
    }
}
