//! What a checkpoint of another program holds: a pickled network with its settings, or a dictionary of tensors alone.

use std::collections::BTreeMap;

use tch::Tensor;

use super::container::PickleFile;
use super::edm::{self, EdmSnapshot};
use super::error::{PickleProblem, shortened};
use super::state_dict;

/// The entry in which EDM and Patch Diffusion publish the averaged network.
pub const PUBLISHED_ENTRY: &str = "ema";

/// The content of a checkpoint of another program.
#[derive(Debug)]
pub enum ExternalCheckpoint {
    /// A pickled network: tensors and the settings it was made with.
    Network(Box<EdmSnapshot>),
    /// A dictionary of tensors by their names, without settings.
    StateDict(BTreeMap<String, Tensor>),
}

/// Reads a checkpoint of another program, of any format, from its bytes.
///
/// Of a file with several things in it, `entry` names the one to read. Without it: the network under
/// [`PUBLISHED_ENTRY`], the network that is the whole file, or the dictionary of tensors that is the whole file,
/// its only one, or the one called `state_dict`.
///
/// # Errors
/// [`PickleProblem`]: damaged, of another structure, or it refers to a name that does not stand for data.
pub fn parse_checkpoint(
    data: &[u8],
    entry: Option<&str>,
) -> Result<ExternalCheckpoint, PickleProblem> {
    let file = PickleFile::open(data)?;
    let chosen = entry.map(|entry| file.entry(entry)).transpose()?;
    let arena = &file.arena;
    let network = match chosen {
        Some(value) => Some(value).filter(|value| edm::is_network(arena, *value)),
        None => [arena.lookup(file.root, PUBLISHED_ENTRY), Some(file.root)]
            .into_iter()
            .flatten()
            .find(|value| edm::is_network(arena, *value)),
    };
    if let Some(network) = network {
        return edm::snapshot(file, network)
            .map(|snapshot| ExternalCheckpoint::Network(Box::new(snapshot)));
    }
    let dictionary = match chosen {
        None => state_dict::find(arena, file.root)?,
        Some(value) if state_dict::holds_tensors(arena, value) => value,
        Some(_) => {
            return Err(PickleProblem::Structure(format!(
                "its entry `{}` is neither a network nor a dictionary of tensors",
                shortened(entry.unwrap_or_default())
            )));
        }
    };
    state_dict::tensors(file, dictionary, |_| true).map(ExternalCheckpoint::StateDict)
}
