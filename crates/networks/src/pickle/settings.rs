//! From the arguments that a published network was constructed with to our settings.
//!
//! Of the preconditioning around it `sigma_data` is taken; its `use_fp16` is a matter of the machine (the weights
//! are float32), and its `sigma_min` and `sigma_max` bound what a sampler may ask, which ours gets from its own settings.

use super::arena::{Arena, Handle};
use super::error::{PickleProblem, shortened};
use super::module::Module;
use crate::config::{
    Architecture, DecoderType, EmbeddingType, EncoderType, NetworkConfig, Preconditioning,
};

/// Longest list among the arguments.
const MAX_LIST: usize = 64;

/// The settings of the network inside the preconditioning `outer`.
pub(crate) fn network_config(
    arena: &Arena,
    outer: &Module,
) -> Result<NetworkConfig, PickleProblem> {
    if !matches!(outer.class, "EDMPrecond" | "Patch_EDMPrecond") {
        return Err(PickleProblem::Structure(format!(
            "its preconditioning is `{}`; only EDM's and Patch Diffusion's (`EDMPrecond`, `Patch_EDMPrecond`) are known",
            shortened(outer.class)
        )));
    }
    let sigma_data = arena
        .lookup(outer.state, "sigma_data")
        .and_then(|value| arena.number(value))
        .ok_or_else(|| {
            PickleProblem::structure("the preconditioning has no number `sigma_data`")
        })?;
    let inner = arena
        .lookup(outer.state, "_modules")
        .and_then(|modules| arena.lookup(modules, "model"))
        .and_then(|model| Module::of(arena, model))
        .ok_or_else(|| PickleProblem::structure("the preconditioning holds no module `model`"))?;
    let is_song = match inner.class {
        "SongUNet" => true,
        "DhariwalUNet" => false,
        other => {
            return Err(PickleProblem::Structure(format!(
                "its network is a `{}`; `SongUNet` (DDPM++, NCSN++) and `DhariwalUNet` (ADM) are known",
                shortened(other)
            )));
        }
    };
    let positional = arena
        .lookup(inner.state, "_init_args")
        .and_then(|arguments| arena.sequence(arguments));
    if positional.is_some_and(|arguments| !arguments.is_empty()) {
        return Err(PickleProblem::structure(
            "its network was made with positional arguments, whose meaning is not known",
        ));
    }
    let keywords = arena
        .lookup(inner.state, "_init_kwargs")
        .and_then(|keywords| arena.entries(keywords))
        .ok_or_else(|| PickleProblem::structure("its network carries no constructor arguments"))?;
    let mut config = published_defaults(is_song, sigma_data);
    for (name, value) in keywords {
        let name = arena
            .text(*name)
            .ok_or_else(|| PickleProblem::structure("a constructor argument has no name"))?;
        apply(arena, &mut config, name, *value)?;
    }
    finish(config, is_song)
}

/// The published constructors' defaults.
fn published_defaults(is_song: bool, sigma_data: f64) -> NetworkConfig {
    NetworkConfig {
        arch: if is_song {
            Architecture::Ddpmpp
        } else {
            Architecture::Adm
        },
        img_resolution: 0,
        img_size: None,
        img_channels: 0,
        in_channels: 0,
        out_channels: 0,
        position_channels: false,
        label_dim: 0,
        augment_dim: 0,
        model_channels: if is_song { 128 } else { 192 },
        channel_mult: if is_song {
            vec![1, 2, 2, 2]
        } else {
            vec![1, 2, 3, 4]
        },
        channel_mult_noise: 1,
        embedding_type: EmbeddingType::Positional,
        encoder_type: EncoderType::Standard,
        decoder_type: DecoderType::Standard,
        resample_filter: vec![1, 1],
        num_blocks: if is_song { 4 } else { 3 },
        attn_resolutions: if is_song { vec![16] } else { vec![32, 16, 8] },
        dropout: 0.1,
        implicit_mlp: false,
        sigma_data,
        preconditioning: Preconditioning::Edm,
        // The files do not say what their labels mean.
        blit_labels: None,
        latents: None,
    }
}

fn apply(
    arena: &Arena,
    config: &mut NetworkConfig,
    name: &str,
    value: Handle,
) -> Result<(), PickleProblem> {
    let wrong = || {
        PickleProblem::Structure(format!(
            "the network's argument `{}` has an unexpected value",
            shortened(name)
        ))
    };
    let integer = || arena.integer(value).ok_or_else(wrong);
    let integers = || arena.integers(value, MAX_LIST).ok_or_else(wrong);
    match name {
        "img_resolution" => config.img_resolution = integer()?,
        "in_channels" => config.in_channels = integer()?,
        "out_channels" => config.out_channels = integer()?,
        "label_dim" => config.label_dim = integer()?,
        "augment_dim" => config.augment_dim = integer()?,
        "model_channels" => config.model_channels = integer()?,
        "channel_mult" => config.channel_mult = integers()?,
        "channel_mult_noise" => config.channel_mult_noise = integer()?,
        "resample_filter" => config.resample_filter = integers()?,
        "num_blocks" => config.num_blocks = integer()?,
        "attn_resolutions" => config.attn_resolutions = integers()?,
        "dropout" => config.dropout = arena.number(value).ok_or_else(wrong)?,
        "implicit_mlp" => config.implicit_mlp = integer()? != 0,
        "embedding_type" => {
            config.embedding_type = match arena.text(value) {
                Some("positional") => EmbeddingType::Positional,
                Some("fourier") => EmbeddingType::Fourier,
                _ => return Err(wrong()),
            }
        }
        "encoder_type" => {
            config.encoder_type = match arena.text(value) {
                Some("standard") => EncoderType::Standard,
                Some("skip") => EncoderType::Skip,
                Some("residual") => EncoderType::Residual,
                _ => return Err(wrong()),
            }
        }
        "decoder_type" => {
            config.decoder_type = match arena.text(value) {
                Some("standard") => DecoderType::Standard,
                Some("skip") => DecoderType::Skip,
                _ => return Err(wrong()),
            }
        }
        // The embedding is four times as wide as the network in everything published.
        "channel_mult_emb" if integer()? == 4 => {}
        // A matter of training.
        "label_dropout" => {}
        _ => {
            return Err(PickleProblem::Structure(format!(
                "the network's argument `{}` (or its value) is not known",
                shortened(name)
            )));
        }
    }
    Ok(())
}

fn finish(mut config: NetworkConfig, is_song: bool) -> Result<NetworkConfig, PickleProblem> {
    config.img_channels = config.out_channels;
    config.position_channels = config.out_channels.checked_add(2) == Some(config.in_channels);
    if is_song && config.embedding_type == EmbeddingType::Fourier {
        config.arch = Architecture::Ncsnpp;
    }
    // The published constructors pass over attention resolutions that no level has.
    if (1..=12).contains(&config.channel_mult.len()) {
        let levels: Vec<i64> = (0..config.levels())
            .map(|level| config.level_resolution(level))
            .collect();
        config
            .attn_resolutions
            .retain(|resolution| levels.contains(resolution));
    }
    config
        .validate()
        .map_err(|error| PickleProblem::Settings(Box::new(error)))?;
    Ok(config)
}
