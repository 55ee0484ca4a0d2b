//! Snapshots of EDM and Patch Diffusion: a dictionary whose entry `ema` is the preconditioned network.
//!
//! Every module in it is a persistent object: a class name, source text (ignored) and a state with `_parameters`,
//! `_buffers`, `_modules` and the constructor's keyword arguments `_init_kwargs`.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::file_error;
use tch::Tensor;

use super::arena::{Arena, Handle, Node};
use super::error::{PickleError, PickleProblem};
use super::globals::Global;
use super::machine;
use super::tensor::TensorReader;
use crate::config::{
    Architecture, DecoderType, EmbeddingType, EncoderType, NetworkConfig, Preconditioning,
};

/// Deepest nesting of modules.
const MAX_DEPTH: usize = 32;
/// Most modules, counted as often as they are reached.
const MAX_MODULES: usize = 1 << 16;

/// A network of a published snapshot.
#[derive(Debug)]
pub struct EdmSnapshot {
    /// Its settings.
    pub config: NetworkConfig,
    /// Its tensors by their published names, which begin with `model.`.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Reads the network `entry` ("ema") of a snapshot.
///
/// # Errors
/// [`PickleError`]: unreadable, damaged, of another preconditioning or architecture,
/// or it refers to a name that does not stand for data.
pub fn read_edm_snapshot(path: &Path, entry: &str) -> Result<EdmSnapshot, PickleError> {
    let data = file_error::read(path)?;
    parse_edm_snapshot(&data, entry).map_err(|problem| PickleError::Content {
        file: path.to_owned(),
        problem,
    })
}

/// As [`read_edm_snapshot`], from the file's bytes.
pub fn parse_edm_snapshot(data: &[u8], entry: &str) -> Result<EdmSnapshot, PickleProblem> {
    let outcome = machine::run(data, 0..data.len(), false)?;
    let arena = &outcome.arena;
    let network = arena.lookup(outcome.root, entry).ok_or_else(|| {
        let keys: Vec<&str> = arena
            .entries(outcome.root)
            .unwrap_or_default()
            .iter()
            .filter_map(|(name, _)| arena.text(*name))
            .collect();
        PickleProblem::Structure(format!(
            "it has no entry `{entry}`; its entries are: {}",
            keys.join(", ")
        ))
    })?;
    let outer = Module::of(arena, network)
        .ok_or_else(|| PickleProblem::Structure(format!("its entry `{entry}` is not a network")))?;
    let config = network_config(arena, &outer)?;
    let mut collector = Collector {
        arena,
        reader: TensorReader::new(data, BTreeMap::new()),
        tensors: BTreeMap::new(),
        modules: 0,
    };
    collector.collect("", network, 0)?;
    Ok(EdmSnapshot {
        config,
        tensors: collector.tensors,
    })
}

/// A module's class and state.
struct Module<'a> {
    class: &'a str,
    state: Handle,
}

impl<'a> Module<'a> {
    fn of(arena: &'a Arena, handle: Handle) -> Option<Self> {
        match arena.get(handle) {
            Node::Object {
                class: Global::PersistentObject,
                arguments,
                ..
            } => {
                let meta = *arena.sequence(*arguments)?.first()?;
                let class = arena.text(arena.lookup(meta, "class_name")?)?;
                Some(Self {
                    class,
                    state: arena.lookup(meta, "state")?,
                })
            }
            Node::Object {
                class: Global::Opaque,
                state: Some(state),
                ..
            } => Some(Self {
                class: "",
                state: *state,
            }),
            _ => None,
        }
    }
}

struct Collector<'a> {
    arena: &'a Arena,
    reader: TensorReader<'a>,
    tensors: BTreeMap<String, Tensor>,
    modules: usize,
}

impl Collector<'_> {
    fn collect(&mut self, prefix: &str, handle: Handle, depth: usize) -> Result<(), PickleProblem> {
        self.modules += 1;
        if depth > MAX_DEPTH || self.modules > MAX_MODULES {
            return Err(PickleProblem::Limit {
                what: "modules or levels of modules",
                limit: MAX_MODULES,
            });
        }
        let Some(module) = Module::of(self.arena, handle) else {
            return Err(PickleProblem::Structure(format!(
                "`{prefix}` is not a module"
            )));
        };
        let hidden: Vec<&str> = match self
            .arena
            .lookup(module.state, "_non_persistent_buffers_set")
        {
            Some(set) => match self.arena.get(set) {
                Node::Set(items) => items
                    .iter()
                    .filter_map(|item| self.arena.text(*item))
                    .collect(),
                _ => Vec::new(),
            },
            None => Vec::new(),
        };
        for group in ["_parameters", "_buffers"] {
            for (name, value) in self.children(module.state, group) {
                if let (Some(name), Node::Tensor(view)) =
                    (self.arena.text(name), self.arena.get(value))
                    && !hidden.contains(&name)
                {
                    let full = format!("{prefix}{name}");
                    let tensor = self.reader.read(self.arena, &full, view)?;
                    self.tensors.insert(full, tensor);
                }
            }
        }
        for (name, value) in self.children(module.state, "_modules") {
            if let Some(name) = self.arena.text(name)
                && !matches!(self.arena.get(value), Node::None)
            {
                self.collect(&format!("{prefix}{name}."), value, depth + 1)?;
            }
        }
        Ok(())
    }

    fn children(&self, state: Handle, group: &str) -> Vec<(Handle, Handle)> {
        let group = self.arena.lookup(state, group);
        group
            .and_then(|group| self.arena.entries(group))
            .unwrap_or_default()
            .to_vec()
    }
}

fn network_config(arena: &Arena, outer: &Module) -> Result<NetworkConfig, PickleProblem> {
    if !matches!(outer.class, "EDMPrecond" | "Patch_EDMPrecond") {
        return Err(PickleProblem::Structure(format!(
            "its preconditioning is `{}`; only EDM's and Patch Diffusion's (`EDMPrecond`, `Patch_EDMPrecond`) are known",
            outer.class
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
                "its network is a `{other}`; `SongUNet` (DDPM++, NCSN++) and `DhariwalUNet` (ADM) are known"
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
            "the network's argument `{name}` has an unexpected value"
        ))
    };
    let integer = || arena.integer(value).ok_or_else(wrong);
    let integers = || arena.integers(value).ok_or_else(wrong);
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
                "the network's argument `{name}` (or its value) is not known"
            )));
        }
    }
    Ok(())
}

fn finish(mut config: NetworkConfig, is_song: bool) -> Result<NetworkConfig, PickleProblem> {
    config.img_channels = config.out_channels;
    config.position_channels = config.in_channels == config.out_channels + 2;
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
    config.validate().map_err(Box::new)?;
    Ok(config)
}
