//! The network: its architecture and sizes, and whether these fit each other.

use patchwork_config::{ConfigError, Section};
use patchwork_terms::Architecture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// The network of a stage that trains. Defaults are the sizes of the published DDPM++; `arch` changes them to its own.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NetworkSettings {
    /// The published architecture whose layers and names are used.
    #[default(Architecture::Ddpmpp)]
    pub arch: Architecture,
    /// Channels that the multipliers are taken of; of ADM 192.
    #[default = 128]
    #[schemars(range(min = 4, max = 4096))]
    pub model_channels: u32,
    /// One multiplier a level, from the full side down by halves, 1 to 12 levels; of ADM [1, 2, 3, 4].
    #[default(vec![1, 2, 2, 2])]
    #[schemars(inner(range(min = 1, max = 64)))]
    pub channel_mult: Vec<u32>,
    /// Residual blocks a level; of ADM 3.
    #[default = 4]
    #[schemars(range(min = 1, max = 64))]
    pub num_blocks: u32,
    /// Sides of the full image's levels that have attention, in pixels; of ADM [32, 16, 8].
    // Largest first.
    #[default(vec![16])]
    pub attn_resolutions: Vec<u32>,
    /// Probability of dropout; of ADM 0.1.
    #[default = 0.05]
    #[schemars(range(min = 0.0, max = 0.99))]
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

    /// Gives what was not typed the architecture's own sizes, and checks that all fit each other. `section` is the
    /// table `[network]`, or that above it where there is none.
    pub(super) fn settle(&mut self, section: &Section<'_>) -> Result<(), ConfigError> {
        let published = Self::published(self.arch);
        if !section.has("model_channels") {
            self.model_channels = published.model_channels;
        }
        if !section.has("channel_mult") {
            self.channel_mult = published.channel_mult;
        }
        if !section.has("num_blocks") {
            self.num_blocks = published.num_blocks;
        }
        if !section.has("attn_resolutions") {
            self.attn_resolutions = published.attn_resolutions;
        }
        if !section.has("dropout") {
            self.dropout = published.dropout;
        }
        if self.channel_mult.is_empty() || self.channel_mult.len() > 12 {
            return Err(section.invalid("channel_mult", "must have 1 to 12 levels"));
        }
        // The same levels in another order are the same network.
        self.attn_resolutions
            .sort_unstable_by(|left, right| right.cmp(left));
        self.attn_resolutions.dedup();
        self.check_widths(section)
    }

    /// The sizes of the published models: EDM's for DDPM++ and NCSN++, with Patch Diffusion's
    /// dropout; ADM's as in its paper.
    fn published(arch: Architecture) -> Self {
        match arch {
            Architecture::Ddpmpp | Architecture::Ncsnpp => Self::default(),
            Architecture::Adm => Self {
                model_channels: 192,
                channel_mult: vec![1, 2, 3, 4],
                num_blocks: 3,
                attn_resolutions: vec![32, 16, 8],
                dropout: 0.1,
                ..Self::default()
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
