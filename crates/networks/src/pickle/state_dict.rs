//! The tensors of a PyTorch file that holds a dictionary of them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use patchwork_core::file_error;
use tch::Tensor;

use super::arena::{Arena, Handle, Node};
use super::container::PickleFile;
use super::error::{PickleError, PickleProblem, listed};

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
    StateDict::open(data)?.read(|_| true)
}

/// A dictionary of tensors whose names are known and whose elements are not read yet.
pub(crate) struct StateDict<'a> {
    file: PickleFile<'a>,
    dictionary: Handle,
}

impl<'a> StateDict<'a> {
    /// The dictionary of a file, chosen as [`read_state_dict`] does.
    pub(crate) fn open(data: &'a [u8]) -> Result<Self, PickleProblem> {
        let file = PickleFile::open(data)?;
        let dictionary = find(&file.arena, file.root)?;
        Ok(Self { file, dictionary })
    }

    /// The names of its entries.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        let entries = self.file.arena.entries(self.dictionary);
        entries
            .unwrap_or_default()
            .iter()
            .filter_map(|(name, _)| self.file.arena.text(*name))
    }

    /// The tensors with wanted names.
    pub(crate) fn read(
        self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Tensor>, PickleProblem> {
        tensors(self.file, self.dictionary, wanted)
    }
}

/// The tensors of a dictionary with wanted names; values of other kinds are passed over.
pub(crate) fn tensors(
    file: PickleFile,
    dictionary: Handle,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Tensor>, PickleProblem> {
    let PickleFile {
        arena, mut reader, ..
    } = file;
    let mut tensors = BTreeMap::new();
    for (name, value) in arena.entries(dictionary).unwrap_or_default() {
        if let (Some(name), Node::Tensor(view)) = (arena.text(*name), arena.get(*value))
            && wanted(name)
        {
            tensors.insert(name.to_owned(), reader.read(&arena, name, view)?);
        }
    }
    Ok(tensors)
}

/// The dictionary of tensors that is meant where none is named.
pub(crate) fn find(arena: &Arena, root: Handle) -> Result<Handle, PickleProblem> {
    let Some(entries) = arena.entries(root) else {
        return Err(PickleProblem::structure("it does not hold a dictionary"));
    };
    if holds_tensors(arena, root) {
        return Ok(root);
    }
    // Many entries may be one dictionary, which is looked through once.
    let mut known: HashMap<Handle, bool> = HashMap::new();
    let mut inner: Vec<(&str, Handle)> = Vec::new();
    for (name, value) in entries {
        let holds = *known
            .entry(*value)
            .or_insert_with(|| holds_tensors(arena, *value));
        if let (true, Some(name)) = (holds, arena.text(*name)) {
            inner.push((name, *value));
        }
    }
    match inner.as_slice() {
        [] => Err(PickleProblem::structure("it holds no tensors")),
        [(_, only)] => Ok(*only),
        several => several
            .iter()
            .find(|(name, _)| *name == "state_dict")
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                PickleProblem::Structure(format!(
                    "it holds several dictionaries of tensors ({}) and none is called `state_dict`; name the one to read",
                    listed(several.iter().map(|(name, _)| *name))
                ))
            }),
    }
}

/// Whether a value is a dictionary with a tensor in it.
pub(crate) fn holds_tensors(arena: &Arena, handle: Handle) -> bool {
    arena.entries(handle).is_some_and(|entries| {
        entries
            .iter()
            .any(|(_, value)| matches!(arena.get(*value), Node::Tensor(_)))
    })
}
