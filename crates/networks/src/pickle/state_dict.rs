//! The tensors of a PyTorch file that holds a dictionary of them.

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::file_error;
use tch::Tensor;

use super::arena::{Arena, Handle, Node};
use super::error::{PickleError, PickleProblem};
use super::tensor::TensorReader;
use super::{archive, legacy};

/// Reads the tensors of a `.pt` / `.pth` file, zip archive or older format, by their names.
///
/// The file holds a dictionary of tensors, or a dictionary with one such dictionary inside
/// (`state_dict` where there are several); other entries are ignored.
///
/// # Errors
/// [`PickleError`]: unreadable, damaged, or it refers to a name that does not stand for data.
pub fn read_state_dict(path: &Path) -> Result<BTreeMap<String, Tensor>, PickleError> {
    let data = file_error::read(path)?;
    parse_state_dict(&data).map_err(|problem| PickleError::Content {
        file: path.to_owned(),
        problem,
    })
}

/// As [`read_state_dict`], from the file's bytes.
pub fn parse_state_dict(data: &[u8]) -> Result<BTreeMap<String, Tensor>, PickleProblem> {
    let (outcome, places) = if archive::is_archive(data) {
        archive::read(data)?
    } else if legacy::is_legacy(data) {
        legacy::read(data)?
    } else {
        return Err(PickleProblem::structure(
            "it is neither a PyTorch zip archive nor of PyTorch's older format",
        ));
    };
    let dictionary = find_dictionary(&outcome.arena, outcome.root)?;
    let mut reader = TensorReader::new(data, places);
    let mut tensors = BTreeMap::new();
    for (name, value) in outcome.arena.entries(dictionary).unwrap_or_default() {
        if let (Some(name), Node::Tensor(view)) =
            (outcome.arena.text(*name), outcome.arena.get(*value))
        {
            tensors.insert(name.to_owned(), reader.read(&outcome.arena, name, view)?);
        }
    }
    Ok(tensors)
}

fn find_dictionary(arena: &Arena, root: Handle) -> Result<Handle, PickleProblem> {
    let Some(entries) = arena.entries(root) else {
        return Err(PickleProblem::structure("it does not hold a dictionary"));
    };
    if holds_tensors(arena, root) {
        return Ok(root);
    }
    let inner: Vec<(&str, Handle)> = entries
        .iter()
        .filter(|(_, value)| holds_tensors(arena, *value))
        .filter_map(|(name, value)| Some((arena.text(*name)?, *value)))
        .collect();
    match inner.as_slice() {
        [] => Err(PickleProblem::structure("it holds no tensors")),
        [(_, only)] => Ok(*only),
        several => several
            .iter()
            .find(|(name, _)| *name == "state_dict")
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
                PickleProblem::Structure(format!(
                    "it holds several dictionaries of tensors ({}) and none is called `state_dict`",
                    names.join(", ")
                ))
            }),
    }
}

fn holds_tensors(arena: &Arena, handle: Handle) -> bool {
    arena.entries(handle).is_some_and(|entries| {
        entries
            .iter()
            .any(|(_, value)| matches!(arena.get(*value), Node::Tensor(_)))
    })
}
