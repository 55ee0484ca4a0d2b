//! The network: its architecture and sizes, and whether these fit each other.

use patchwork_terms::Architecture;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::section::Section;

pub(crate) const KEYS: &[&str] = &[
    "arch",
    "model_channels",
    "channel_mult",
    "num_blocks",
    "attn_resolutions",
    "dropout",
    "implicit_mlp",
];

/// The network of a stage that trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkSettings {
    /// The published architecture whose layers and names are used.
    pub arch: Architecture,
    /// Channels that the multipliers are taken of.
    pub model_channels: u32,
    /// One multiplier a level, from the full side down by halves.
    pub channel_mult: Vec<u32>,
    /// Residual blocks a level.
    pub num_blocks: u32,
    /// Sides of the full image's levels that have attention, in pixels, largest first.
    pub attn_resolutions: Vec<u32>,
    /// Probability in [0, 1).
    pub dropout: f64,
    /// Whether the first convolution is three 1×1 layers and one 3×3 (Patch Diffusion's option).
    pub implicit_mlp: bool,
}

/// Channels of one attention head of ADM.
const ADM_HEAD_CHANNELS: u32 = 64;

impl NetworkSettings {
    /// How often the side is halved, plus one.
    pub fn levels(&self) -> usize {
        self.channel_mult.len()
    }

    /// What a side has to be divisible by to pass every level: `2^(levels - 1)`.
    pub fn side_divisor(&self) -> u32 {
        1 << (self.levels() - 1)
    }

    /// Reads `[network]`; an absent table means DDPM++ at the paper's size.
    pub(crate) fn read(section: Option<&Section<'_>>) -> Result<Self, ConfigError> {
        let Some(section) = section else {
            return Ok(Self::published(Architecture::Ddpmpp));
        };
        let default = Self::published(section.or("arch", Architecture::Ddpmpp)?);
        let mut network = Self {
            arch: default.arch,
            model_channels: section.integer(
                "model_channels",
                Some(default.model_channels),
                4..=4096,
            )?,
            channel_mult: section.or("channel_mult", default.channel_mult)?,
            num_blocks: section.integer("num_blocks", Some(default.num_blocks), 1..=64)?,
            attn_resolutions: section.or("attn_resolutions", default.attn_resolutions)?,
            dropout: section.number("dropout", Some(default.dropout), 0.0..=0.99)?,
            implicit_mlp: section.or("implicit_mlp", default.implicit_mlp)?,
        };
        if network.channel_mult.is_empty() || network.channel_mult.len() > 12 {
            return Err(section.invalid("channel_mult", "must have 1 to 12 levels"));
        }
        if let Some(factor) = network
            .channel_mult
            .iter()
            .find(|factor| !(1..=64).contains(*factor))
        {
            let problem = format!("has the multiplier {factor}; each is between 1 and 64");
            return Err(section.invalid("channel_mult", problem));
        }
        // The same levels in another order are the same network.
        network
            .attn_resolutions
            .sort_unstable_by(|left, right| right.cmp(left));
        network.attn_resolutions.dedup();
        network.check_widths(section)?;
        Ok(network)
    }

    /// The sizes of the published models: EDM's for DDPM++ and NCSN++, with Patch Diffusion's
    /// dropout; ADM's as in its paper.
    fn published(arch: Architecture) -> Self {
        match arch {
            Architecture::Ddpmpp | Architecture::Ncsnpp => Self {
                arch,
                model_channels: 128,
                channel_mult: vec![1, 2, 2, 2],
                num_blocks: 4,
                attn_resolutions: vec![16],
                dropout: 0.05,
                implicit_mlp: false,
            },
            Architecture::Adm => Self {
                arch,
                model_channels: 192,
                channel_mult: vec![1, 2, 3, 4],
                num_blocks: 3,
                attn_resolutions: vec![32, 16, 8],
                dropout: 0.1,
                implicit_mlp: false,
            },
        }
    }

    /// Group normalisation takes min(32, channels / 4) groups, which must divide the channels of
    /// every layer, the decoder's concatenations with a skip included.
    fn check_widths(&self, section: &Section<'_>) -> Result<(), ConfigError> {
        let widths: Vec<u32> = self
            .channel_mult
            .iter()
            .map(|factor| factor * self.model_channels)
            .collect();
        let same_level = widths.iter().map(|width| 2 * width);
        let next_level = widths
            .iter()
            .zip(widths.iter().skip(1))
            .map(|(upper, lower)| upper + lower);
        for width in widths.iter().copied().chain(same_level).chain(next_level) {
            let groups = (width / 4).clamp(1, 32);
            if !width.is_multiple_of(groups) || !width.is_multiple_of(4) {
                let problem = format!(
                    "is {}, which with `channel_mult` = {:?} makes a layer of {width} channels that \
                     group normalisation cannot divide into {groups} groups; \
                     use a multiple of 32",
                    self.model_channels, self.channel_mult
                );
                return Err(section.invalid("model_channels", problem));
            }
        }
        if self.arch == Architecture::Adm
            && let Some(width) = widths
                .iter()
                .find(|width| !width.is_multiple_of(ADM_HEAD_CHANNELS))
        {
            let problem = format!(
                "is {}, which makes a level of {width} channels, but `arch` = \"adm\" has \
                 attention heads of {ADM_HEAD_CHANNELS} channels; use a multiple of \
                 {ADM_HEAD_CHANNELS}",
                self.model_channels
            );
            return Err(section.invalid("model_channels", problem));
        }
        Ok(())
    }
}
