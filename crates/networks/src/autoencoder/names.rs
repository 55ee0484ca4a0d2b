//! Parameter names: those of diffusers today from those of diffusers in 2022 and of CompVis.
//!
//! | today | 2022 | CompVis |
//! | --- | --- | --- |
//! | `….attentions.0.to_q / to_k / to_v` | `query / key / value` | `mid.attn_1.q / k / v`, `[C, C, 1, 1]` |
//! | `….attentions.0.to_out.0` | `proj_attn` | `mid.attn_1.proj_out`, `[C, C, 1, 1]` |
//! | `….attentions.0.group_norm` | | `mid.attn_1.norm` |
//! | `….mid_block.resnets.0 / 1` | | `mid.block_1 / block_2` |
//! | `encoder.down_blocks.i.resnets.j` | | `encoder.down.i.block.j` |
//! | `encoder.down_blocks.i.downsamplers.0.conv` | | `encoder.down.i.downsample.conv` |
//! | `decoder.up_blocks.i.resnets.j` | | `decoder.up.(L − 1 − i).block.j` of L levels |
//! | `decoder.up_blocks.i.upsamplers.0.conv` | | `decoder.up.(L − 1 − i).upsample.conv` |
//! | `conv_shortcut`, `conv_norm_out` | | `nin_shortcut`, `norm_out` |

use std::collections::BTreeMap;

use tch::Tensor;

use crate::error::NetworkError;

/// Prefix of the autoencoder in a full checkpoint of CompVis.
pub(super) const FIRST_STAGE: &str = "first_stage_model.";

/// What a file holds beside the autoencoder: the loss of its training with a discriminator, and its averaged copy.
const IGNORED: [&str; 2] = ["loss.", "model_ema."];

/// Chooses among a file's tensors by their names and renames them.
pub(super) struct Names {
    prefix: &'static str,
    /// Levels of CompVis' decoder, which are counted from full resolution.
    levels: usize,
}

impl Names {
    /// From all names of a file.
    pub(super) fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let prefix = if names.clone().any(|name| name.starts_with(FIRST_STAGE)) {
            FIRST_STAGE
        } else {
            ""
        };
        let levels = names
            .filter_map(|name| {
                let rest = name.strip_prefix(prefix)?.strip_prefix("decoder.up.")?;
                rest.split('.').next()?.parse::<usize>().ok()
            })
            .max()
            .map_or(0, |last| last.saturating_add(1));
        Self { prefix, levels }
    }

    /// Today's name of a tensor; none of one that does not belong to the autoencoder.
    pub(super) fn current(&self, name: &str) -> Option<String> {
        let name = name.strip_prefix(self.prefix)?;
        if IGNORED.iter().any(|ignored| name.starts_with(ignored)) {
            return None;
        }
        let parts: Vec<&str> = name.split('.').collect();
        let renamed = match parts.as_slice() {
            [part @ ("encoder" | "decoder"), rest @ ..] => {
                let rest = self.inner(rest).unwrap_or_else(|| rest.join("."));
                format!("{part}.{rest}")
            }
            _ => name.to_owned(),
        };
        Some(renamed)
    }

    /// A name inside of encoder or decoder, where it changes.
    fn inner(&self, name: &[&str]) -> Option<String> {
        let text = match name {
            ["down", level, "block", block, rest @ ..] => {
                let rest = shortcut(rest);
                format!("down_blocks.{level}.resnets.{block}.{rest}")
            }
            ["down", level, "downsample", rest @ ..] => {
                format!("down_blocks.{level}.downsamplers.0.{}", rest.join("."))
            }
            ["up", level, "block", block, rest @ ..] => {
                let (level, rest) = (self.mirrored(level)?, shortcut(rest));
                format!("up_blocks.{level}.resnets.{block}.{rest}")
            }
            ["up", level, "upsample", rest @ ..] => {
                let level = self.mirrored(level)?;
                format!("up_blocks.{level}.upsamplers.0.{}", rest.join("."))
            }
            ["mid", "block_1", rest @ ..] => format!("mid_block.resnets.0.{}", shortcut(rest)),
            ["mid", "block_2", rest @ ..] => format!("mid_block.resnets.1.{}", shortcut(rest)),
            ["mid", "attn_1", layer, rest @ ..]
            | ["mid_block", "attentions", "0", layer, rest @ ..] => {
                let layer = match *layer {
                    "q" | "query" => "to_q",
                    "k" | "key" => "to_k",
                    "v" | "value" => "to_v",
                    "proj_out" | "proj_attn" => "to_out.0",
                    "norm" => "group_norm",
                    other => other,
                };
                format!("mid_block.attentions.0.{layer}.{}", rest.join("."))
            }
            ["norm_out", rest @ ..] => format!("conv_norm_out.{}", rest.join(".")),
            _ => return None,
        };
        Some(text)
    }

    fn mirrored(&self, level: &str) -> Option<usize> {
        self.levels.checked_sub(1 + level.parse::<usize>().ok()?)
    }
}

fn shortcut(rest: &[&str]) -> String {
    match rest {
        ["nin_shortcut", rest @ ..] => format!("conv_shortcut.{}", rest.join(".")),
        rest => rest.join("."),
    }
}

/// The autoencoder's tensors of a file under today's names, attention as linear layers.
///
/// # Errors
/// [`NetworkError::Weights`] where two tensors come to one name.
pub(super) fn current(
    tensors: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>, NetworkError> {
    let names = Names::of(tensors.keys().map(String::as_str));
    let mut renamed = BTreeMap::new();
    let mut twice = Vec::new();
    for (name, tensor) in tensors {
        let Some(current) = names.current(&name) else {
            continue;
        };
        let tensor = if current.contains(".attentions.") {
            as_linear(tensor)
        } else {
            tensor
        };
        if renamed.insert(current, tensor).is_some() {
            twice.push(name);
        }
    }
    if twice.is_empty() {
        return Ok(renamed);
    }
    Err(NetworkError::Weights {
        missing: Vec::new(),
        unexpected: twice,
        misshapen: Vec::new(),
    })
}

/// A 1×1 convolution's weight as that of a linear layer.
fn as_linear(weight: Tensor) -> Tensor {
    match weight.size().as_slice() {
        [outputs, inputs, 1, 1] => weight.reshape([*outputs, *inputs]),
        _ => weight,
    }
}
