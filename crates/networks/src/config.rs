//! Which network: its architecture and sizes, and the rules between them.

pub use patchwork_terms::{Architecture, Preconditioning};
use serde::{Deserialize, Serialize};

use crate::error::NetworkError;
use crate::latent_config::LatentConfig;

/// How the noise level enters the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingType {
    /// Sines and cosines at fixed geometric frequencies.
    #[default]
    Positional,
    /// Sines and cosines at random frequencies, drawn once and stored with the weights.
    Fourier,
}

/// What the encoder sees of the input below the top level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderType {
    /// Nothing.
    #[default]
    Standard,
    /// The downsampled input through a 1×1 convolution, added.
    Skip,
    /// The running downsampled path through a 3×3 convolution, added and scaled.
    Residual,
}

/// Where the output is formed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderType {
    /// At the top level.
    #[default]
    Standard,
    /// At every level, upsampled and summed.
    Skip,
}

/// A network's settings; with its weights, all there is to know about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// The family.
    pub arch: Architecture,
    /// Side of the whole image in pixels, the shorter one where it is not square; parameter names carry it, inputs may
    /// be smaller.
    pub img_resolution: i64,
    /// Height and width of a whole image that is not square; none = square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub img_size: Option<[i64; 2]>,
    /// Channels of the image, without coordinates.
    pub img_channels: i64,
    /// Channels that the network reads: the image's and, with coordinates, two more.
    pub in_channels: i64,
    /// Channels that the network predicts.
    pub out_channels: i64,
    /// Whether two coordinate channels follow the image's.
    pub position_channels: bool,
    /// Number of classes; 0 = unconditional.
    pub label_dim: i64,
    /// Length of the augmentation label; 0 = none.
    pub augment_dim: i64,
    /// Channels at the top level before `channel_mult`.
    pub model_channels: i64,
    /// Channel multiplier of each level, from the top.
    pub channel_mult: Vec<i64>,
    /// Noise embedding's channels as a multiple of `model_channels`.
    #[serde(default = "one")]
    pub channel_mult_noise: i64,
    /// Noise embedding.
    #[serde(default)]
    pub embedding_type: EmbeddingType,
    /// Encoder.
    #[serde(default)]
    pub encoder_type: EncoderType,
    /// Decoder.
    #[serde(default)]
    pub decoder_type: DecoderType,
    /// One-dimensional resampling filter, not normalised.
    #[serde(default = "box_filter")]
    pub resample_filter: Vec<i64>,
    /// Residual blocks a level.
    pub num_blocks: i64,
    /// Resolutions (of the whole image) with self-attention; one that no level has changes nothing, as in the
    /// published networks.
    pub attn_resolutions: Vec<i64>,
    /// Dropout probability inside the blocks, in training.
    pub dropout: f64,
    /// Whether the first convolution is a pixel-wise perceptron.
    #[serde(default)]
    pub implicit_mlp: bool,
    /// Standard deviation of the data, for the preconditioning around the network.
    pub sigma_data: f64,
    /// The preconditioning around the network.
    #[serde(default)]
    pub preconditioning: Preconditioning,
    /// Version of the augmentation labels of quarter turns and whole shifts: 2 are EDM's. None where the network has no
    /// such labels, or those of version 1, which only earlier versions of this program gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blit_labels: Option<u32>,
    /// The latents that it was trained on; none for pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latents: Option<LatentConfig>,
}

/// The version of the augmentation labels of quarter turns and whole shifts: EDM's.
pub const BLIT_LABELS: u32 = 2;

fn one() -> i64 {
    1
}

fn box_filter() -> Vec<i64> {
    vec![1, 1]
}

/// Channels of one attention head in ADM.
pub(crate) const ADM_HEAD_CHANNELS: i64 = 64;

impl NetworkConfig {
    /// Channels at a level (0 = top).
    pub(crate) fn level_channels(&self, level: usize) -> i64 {
        self.model_channels * self.channel_mult[level]
    }

    /// Side of the whole image at a level.
    pub(crate) fn level_resolution(&self, level: usize) -> i64 {
        self.img_resolution >> level
    }

    /// Height of the whole image.
    pub fn height(&self) -> i64 {
        self.img_size
            .map_or(self.img_resolution, |[height, _]| height)
    }

    /// Width of the whole image.
    pub fn width(&self) -> i64 {
        self.img_size
            .map_or(self.img_resolution, |[_, width]| width)
    }

    /// Number of levels.
    pub fn levels(&self) -> usize {
        self.channel_mult.len()
    }

    /// Height and width of an input must be multiples of this.
    pub fn size_multiple(&self) -> i64 {
        1 << (self.levels() - 1)
    }

    /// Checks every rule within and between the settings, so that a network that passes can be built and run.
    pub fn validate(&self) -> Result<(), NetworkError> {
        let limits: [(&'static str, i64, i64); 7] = [
            ("img_resolution", self.img_resolution, 1 << 16),
            ("img_channels", self.img_channels, 1 << 12),
            ("in_channels", self.in_channels, 1 << 12),
            ("out_channels", self.out_channels, 1 << 12),
            ("model_channels", self.model_channels, 1 << 14),
            ("channel_mult_noise", self.channel_mult_noise, 1 << 8),
            ("num_blocks", self.num_blocks, 1 << 8),
        ];
        for (key, value, limit) in limits {
            require(key, (1..=limit).contains(&value), || {
                format!("{value} is not in 1 to {limit}")
            })?;
        }
        for (key, value) in [
            ("label_dim", self.label_dim),
            ("augment_dim", self.augment_dim),
        ] {
            require(key, (0..=1 << 20).contains(&value), || {
                format!("{value} is not in 0 to {}", 1 << 20)
            })?;
        }
        self.validate_channels()?;
        if let Some(latents) = &self.latents {
            latents.validate(self.img_channels)?;
        }
        self.validate_levels()?;
        require("dropout", (0.0..1.0).contains(&self.dropout), || {
            format!("{} is not a probability below 1", self.dropout)
        })?;
        require(
            "blit_labels",
            self.blit_labels
                .is_none_or(|version| version == BLIT_LABELS),
            || {
                format!(
                    "{:?} is not the version {BLIT_LABELS} that is known here",
                    self.blit_labels
                )
            },
        )?;
        require(
            "sigma_data",
            self.sigma_data.is_finite() && self.sigma_data > 0.0,
            || format!("{} is not a positive number", self.sigma_data),
        )?;
        let filter = &self.resample_filter;
        require(
            "resample_filter",
            !filter.is_empty() && filter.len() <= 16 && filter.len().is_multiple_of(2),
            || {
                format!(
                    "{filter:?} has {} taps; an even number up to 16 is needed",
                    filter.len()
                )
            },
        )?;
        require(
            "resample_filter",
            filter.iter().all(|tap| (1..=1 << 20).contains(tap)),
            || format!("{filter:?} has a tap that is not positive"),
        )?;
        self.validate_family()
    }

    fn validate_channels(&self) -> Result<(), NetworkError> {
        let coordinates = if self.position_channels { 2 } else { 0 };
        require(
            "in_channels",
            self.in_channels == self.img_channels + coordinates,
            || {
                format!(
                    "{} does not equal img_channels = {} plus {coordinates} coordinate channels (position_channels = {})",
                    self.in_channels, self.img_channels, self.position_channels
                )
            },
        )?;
        require(
            "out_channels",
            self.out_channels == self.img_channels,
            || {
                format!(
                    "{} does not equal img_channels = {}: coordinates are not predicted",
                    self.out_channels, self.img_channels
                )
            },
        )?;
        let noise_channels = self.model_channels * self.channel_mult_noise;
        require(
            "model_channels",
            noise_channels % 2 == 0 && noise_channels >= 4,
            || {
                format!(
                    "times channel_mult_noise is {noise_channels}; the noise embedding needs an even number of 4 or more"
                )
            },
        )
    }

    fn validate_levels(&self) -> Result<(), NetworkError> {
        require("channel_mult", (1..=12).contains(&self.levels()), || {
            format!(
                "{:?} has {} levels; 1 to 12 are possible",
                self.channel_mult,
                self.levels()
            )
        })?;
        require(
            "channel_mult",
            self.channel_mult
                .iter()
                .all(|factor| (1..=1 << 8).contains(factor)),
            || {
                format!(
                    "{:?} has a factor that is not in 1 to 256",
                    self.channel_mult
                )
            },
        )?;
        require(
            "img_resolution",
            self.img_resolution % self.size_multiple() == 0,
            || {
                format!(
                    "{} cannot be halved {} times, which the levels of channel_mult = {:?} need",
                    self.img_resolution,
                    self.levels() - 1,
                    self.channel_mult
                )
            },
        )?;
        self.validate_size()?;
        // Every width that a group normalisation meets: each level's own, and the decoder's concatenations
        // with what the encoder left at the same level, whose first entry still has the width of the level above.
        let mut widths = vec![self.model_channels];
        for level in 0..self.levels() {
            let own = self.level_channels(level);
            let above = if level == 0 {
                self.model_channels
            } else {
                self.level_channels(level - 1)
            };
            let below = if level + 1 < self.levels() {
                self.level_channels(level + 1)
            } else {
                own
            };
            widths.extend([own, 2 * own, own + above, own + below]);
        }
        for width in widths {
            let groups = group_count(width);
            require("model_channels", groups >= 1 && width % groups == 0, || {
                format!(
                    "{} with channel_mult = {:?} leads to a layer of {width} channels, which do not divide into {groups} groups; \
                     multiples of 32 always do",
                    self.model_channels, self.channel_mult
                )
            })?;
        }
        Ok(())
    }

    fn validate_size(&self) -> Result<(), NetworkError> {
        let Some(size @ [height, width]) = self.img_size else {
            return Ok(());
        };
        require("img_size", height != width, || {
            format!("{size:?} is square: leave it out and give img_resolution alone")
        })?;
        require(
            "img_size",
            i64::min(height, width) == self.img_resolution,
            || {
                format!(
                    "{size:?} has another shorter side than img_resolution = {}",
                    self.img_resolution
                )
            },
        )?;
        let multiple = self.size_multiple();
        let fits = |side: i64| side <= 1 << 16 && side % multiple == 0;
        require("img_size", fits(height) && fits(width), || {
            format!(
                "{size:?} has a side that is above 65536 or not a multiple of {multiple}, which the levels of \
                 channel_mult = {:?} need",
                self.channel_mult
            )
        })
    }

    fn validate_family(&self) -> Result<(), NetworkError> {
        if self.arch != Architecture::Adm {
            return Ok(());
        }
        let of_others: [(&'static str, bool); 6] = [
            ("channel_mult_noise", self.channel_mult_noise != 1),
            (
                "embedding_type",
                self.embedding_type != EmbeddingType::Positional,
            ),
            ("encoder_type", self.encoder_type != EncoderType::Standard),
            ("decoder_type", self.decoder_type != DecoderType::Standard),
            ("resample_filter", self.resample_filter != box_filter()),
            ("implicit_mlp", self.implicit_mlp),
        ];
        for (key, given) in of_others {
            require(key, !given, || {
                "belongs to ddpmpp and ncsnpp; leave it out for adm".to_owned()
            })?;
        }
        for level in 0..self.levels() {
            let attends = level + 1 == self.levels()
                || self
                    .attn_resolutions
                    .contains(&self.level_resolution(level));
            let channels = self.level_channels(level);
            require(
                "channel_mult",
                !attends || channels % ADM_HEAD_CHANNELS == 0,
                || {
                    format!(
                        "level {level} has {channels} channels and attention, whose heads have {ADM_HEAD_CHANNELS} channels each: \
                     a multiple of {ADM_HEAD_CHANNELS} is needed"
                    )
                },
            )?;
        }
        Ok(())
    }
}

/// Groups of a group normalisation over `channels` channels.
pub(crate) fn group_count(channels: i64) -> i64 {
    (channels / 4).min(32)
}

fn require(
    key: &'static str,
    holds: bool,
    problem: impl FnOnce() -> String,
) -> Result<(), NetworkError> {
    if holds {
        Ok(())
    } else {
        Err(NetworkError::Config {
            key,
            problem: problem(),
        })
    }
}
