//! Snapshots of EDM and Patch Diffusion: a dictionary whose entry `ema` is the preconditioned network.
//!
//! Every module in it is a persistent object: a class name, source text (ignored) and a state with `_parameters`,
//! `_buffers`, `_modules` and the constructor's keyword arguments `_init_kwargs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use patchwork_core::file_error;
use tch::Tensor;

use super::arena::{Arena, Handle, Node};
use super::budget::Budget;
use super::container::PickleFile;
use super::error::{PickleError, PickleProblem, shortened};
use super::module::Module;
use super::settings::network_config;
use super::tensor::TensorReader;
use crate::config::NetworkConfig;

/// Deepest nesting of modules.
const MAX_DEPTH: usize = 32;

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
    let file = PickleFile::open(data)?;
    let network = file.entry(entry)?;
    snapshot(file, network)
}

/// Whether a value is a pickled module.
pub(crate) fn is_network(arena: &Arena, handle: Handle) -> bool {
    Module::of(arena, handle).is_some()
}

/// The network that is `network` in an opened file.
pub(crate) fn snapshot(file: PickleFile, network: Handle) -> Result<EdmSnapshot, PickleProblem> {
    let PickleFile {
        arena,
        reader,
        budget,
        ..
    } = file;
    let outer = Module::of(&arena, network)
        .ok_or_else(|| PickleProblem::structure("the entry is not a network"))?;
    let config = network_config(&arena, &outer)?;
    let mut collector = Collector {
        arena: &arena,
        reader,
        budget,
        tensors: BTreeMap::new(),
    };
    collector.collect("", network, 0)?;
    Ok(EdmSnapshot {
        config,
        tensors: collector.tensors,
    })
}

struct Collector<'a> {
    arena: &'a Arena,
    reader: TensorReader<'a>,
    budget: Budget,
    tensors: BTreeMap<String, Tensor>,
}

impl<'a> Collector<'a> {
    fn collect(&mut self, prefix: &str, handle: Handle, depth: usize) -> Result<(), PickleProblem> {
        if depth > MAX_DEPTH {
            return Err(PickleProblem::Limit {
                what: "levels of modules",
                limit: MAX_DEPTH,
            });
        }
        let Some(module) = Module::of(self.arena, handle) else {
            return Err(PickleProblem::Structure(format!(
                "`{}` is not a module",
                shortened(prefix)
            )));
        };
        // A module is paid for as often as it is reached, with the names that it is given.
        self.budget.spend(1 + module.entries)?;
        let hidden = self.hidden_buffers(module.state)?;
        for group in ["_parameters", "_buffers"] {
            for &(name, value) in self.children(module.state, group)? {
                if let (Some(name), Node::Tensor(view)) =
                    (self.arena.text(name), self.arena.get(value))
                    && !hidden.contains(name)
                {
                    self.budget.spend(prefix.len() + name.len())?;
                    let full = format!("{prefix}{name}");
                    let tensor = self.reader.read(self.arena, &full, view)?;
                    self.tensors.insert(full, tensor);
                }
            }
        }
        for &(name, value) in self.children(module.state, "_modules")? {
            if let Some(name) = self.arena.text(name)
                && !matches!(self.arena.get(value), Node::None)
            {
                self.budget.spend(prefix.len() + name.len())?;
                self.collect(&format!("{prefix}{name}."), value, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The names of buffers that a module does not store in its state dictionary.
    fn hidden_buffers(&mut self, state: Handle) -> Result<BTreeSet<&'a str>, PickleProblem> {
        let set = self.arena.lookup(state, "_non_persistent_buffers_set");
        let Some(Node::Set(items)) = set.map(|set| self.arena.get(set)) else {
            return Ok(BTreeSet::new());
        };
        self.budget.spend(items.len())?;
        Ok(items
            .iter()
            .filter_map(|item| self.arena.text(*item))
            .collect())
    }

    fn children(
        &mut self,
        state: Handle,
        group: &str,
    ) -> Result<&'a [(Handle, Handle)], PickleProblem> {
        let group = self.arena.lookup(state, group);
        let children = group
            .and_then(|group| self.arena.entries(group))
            .unwrap_or_default();
        self.budget.spend(children.len())?;
        Ok(children)
    }
}
