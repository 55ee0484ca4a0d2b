//! A file of any of the formats, opened: the object in it and where its storages' bytes are.

use super::arena::{Arena, Handle};
use super::budget::Budget;
use super::error::{PickleProblem, listed};
use super::tensor::TensorReader;
use super::{archive, legacy, machine};

/// An opened file.
pub(crate) struct PickleFile<'a> {
    pub(crate) arena: Arena,
    /// The object that was stored.
    pub(crate) root: Handle,
    pub(crate) reader: TensorReader<'a>,
    pub(crate) budget: Budget,
}

/// Whether the bytes begin like one of the formats.
pub(crate) fn is_pickle(data: &[u8]) -> bool {
    archive::is_archive(data) || matches!(data, [0x80, 2..=5, ..])
}

impl<'a> PickleFile<'a> {
    /// Detects the format by content, and reads everything but the tensors.
    pub(crate) fn open(data: &'a [u8]) -> Result<Self, PickleProblem> {
        let mut budget = Budget::for_file(data);
        let (outcome, places) = if archive::is_archive(data) {
            archive::read(data, &mut budget)?
        } else if legacy::is_legacy(data) {
            legacy::read(data, &mut budget)?
        } else if is_pickle(data) {
            let outcome = machine::run(data, 0..data.len(), false, &mut budget)?;
            (outcome, std::collections::BTreeMap::new())
        } else {
            return Err(PickleProblem::structure(
                "it is neither a pickle nor a file of PyTorch",
            ));
        };
        Ok(Self {
            arena: outcome.arena,
            root: outcome.root,
            reader: TensorReader::new(data, places),
            budget,
        })
    }

    /// The value of the entry of that name, or an error that lists what entries there are.
    pub(crate) fn entry(&self, entry: &str) -> Result<Handle, PickleProblem> {
        self.arena.lookup(self.root, entry).ok_or_else(|| {
            let entries = self.arena.entries(self.root).unwrap_or_default();
            let names: Vec<&str> = (entries.iter())
                .filter_map(|(name, _)| self.arena.text(*name))
                .collect();
            PickleProblem::Structure(if names.is_empty() {
                format!("it has no entry `{entry}`: it is not a dictionary of named things")
            } else {
                format!(
                    "it has no entry `{entry}`; its entries are: {}",
                    listed(names.into_iter())
                )
            })
        })
    }
}
