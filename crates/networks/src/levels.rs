//! The blocks of a U-Net, level by level: what DDPM++, NCSN++ and ADM have in common.
//!
//! The encoder goes down the levels: a block that halves the sides (but for the top level), then `num_blocks` blocks,
//! each of which leaves a skip. The decoder comes up again: two blocks at the lowest level or one that doubles the
//! sides, then `num_blocks + 1` blocks, each of which joins the newest skip to its input.
//! Sources: Score-SDE (arXiv 2011.13456) and ADM (arXiv 2105.05233), as parametrised by EDM (arXiv 2206.00364, Appendix F).

use crate::block::BlockShape;
use crate::config::NetworkConfig;
use crate::resample::Direction;

/// Which of the decoder's blocks attend at a resolution with attention; all of the encoder's do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecoderAttention {
    /// All (ADM).
    Every,
    /// The last one (DDPM++, NCSN++).
    Last,
}

/// A block to build.
#[derive(Debug)]
pub(crate) struct PlannedBlock {
    /// Its published name.
    pub(crate) name: String,
    pub(crate) shape: BlockShape,
    /// Whether its input is joined with a skip.
    pub(crate) joins_skip: bool,
}

/// One level of the encoder or the decoder.
#[derive(Debug)]
pub(crate) struct Level {
    /// What the level's names begin with, as in `enc.16x16`.
    pub(crate) prefix: String,
    /// The blocks that lead to the level: one with down or up, two at the start of the decoder, none at the
    /// start of the encoder.
    pub(crate) entrance: Vec<PlannedBlock>,
    /// Channels after these.
    pub(crate) entrance_channels: i64,
    /// The level's own blocks.
    pub(crate) blocks: Vec<PlannedBlock>,
    /// Channels after all of them.
    pub(crate) channels: i64,
}

/// Both halves, in the order in which they run.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) encoder: Vec<Level>,
    pub(crate) decoder: Vec<Level>,
}

impl Levels {
    /// From a validated configuration; `first_channels` are those of the convolution before the first block.
    pub(crate) fn new(
        config: &NetworkConfig,
        first_channels: i64,
        attention: DecoderAttention,
    ) -> Self {
        let mut skips = Vec::new();
        let encoder = encoder(config, first_channels, &mut skips);
        let decoder = decoder(config, attention, &mut skips);
        Self { encoder, decoder }
    }
}

fn plain(
    name: String,
    channels: i64,
    direction: Option<Direction>,
    attention: bool,
) -> PlannedBlock {
    PlannedBlock {
        name,
        shape: BlockShape {
            inputs: channels,
            outputs: channels,
            direction,
            attention,
        },
        joins_skip: false,
    }
}

/// `skips` receives the channels of every skip: the first convolution's, then each block's.
fn encoder(config: &NetworkConfig, first_channels: i64, skips: &mut Vec<i64>) -> Vec<Level> {
    let mut channels = first_channels;
    (0..config.levels())
        .map(|level| {
            let resolution = config.level_resolution(level);
            let prefix = format!("enc.{resolution}x{resolution}");
            let mut entrance = Vec::new();
            if level > 0 {
                let name = format!("{prefix}_down");
                entrance.push(plain(name, channels, Some(Direction::Down), false));
            }
            skips.push(channels);
            let entrance_channels = channels;
            let blocks = (0..config.num_blocks)
                .map(|index| {
                    let shape = BlockShape {
                        inputs: channels,
                        outputs: config.level_channels(level),
                        direction: None,
                        attention: config.attn_resolutions.contains(&resolution),
                    };
                    channels = shape.outputs;
                    skips.push(channels);
                    PlannedBlock {
                        name: format!("{prefix}_block{index}"),
                        shape,
                        joins_skip: false,
                    }
                })
                .collect();
            Level {
                prefix,
                entrance,
                entrance_channels,
                blocks,
                channels,
            }
        })
        .collect()
}

fn decoder(
    config: &NetworkConfig,
    attention: DecoderAttention,
    skips: &mut Vec<i64>,
) -> Vec<Level> {
    let lowest = config.levels() - 1;
    let mut channels = config.level_channels(lowest);
    (0..config.levels())
        .rev()
        .map(|level| {
            let resolution = config.level_resolution(level);
            let prefix = format!("dec.{resolution}x{resolution}");
            let entrance = if level == lowest {
                vec![
                    plain(format!("{prefix}_in0"), channels, None, true),
                    plain(format!("{prefix}_in1"), channels, None, false),
                ]
            } else {
                let name = format!("{prefix}_up");
                vec![plain(name, channels, Some(Direction::Up), false)]
            };
            let entrance_channels = channels;
            let attends = config.attn_resolutions.contains(&resolution);
            let blocks = (0..=config.num_blocks)
                .map(|index| {
                    let skip = skips
                        .pop()
                        .expect("the encoder leaves num_blocks + 1 skips a level");
                    let is_last = index == config.num_blocks;
                    let shape = BlockShape {
                        inputs: channels + skip,
                        outputs: config.level_channels(level),
                        direction: None,
                        attention: attends && (is_last || attention == DecoderAttention::Every),
                    };
                    channels = shape.outputs;
                    PlannedBlock {
                        name: format!("{prefix}_block{index}"),
                        shape,
                        joins_skip: true,
                    }
                })
                .collect();
            Level {
                prefix,
                entrance,
                entrance_channels,
                blocks,
                channels,
            }
        })
        .collect()
}
