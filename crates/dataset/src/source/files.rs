//! A data set of image files: some files of a store, in an order, with classes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use patchwork_core::Digest;

use super::account::{Account, PassedOver};
use super::raw::{Entry, Fetched, Payload, Source};
use super::store::Store;
use crate::error::DatasetError;

/// No class.
pub(super) const UNLABELLED: i32 = -1;

pub(super) struct FileSource {
    store: Box<dyn Store>,
    members: Vec<Member>,
    class_names: Vec<String>,
    digest: Digest,
    account: Account,
}

/// A file that is an image of the data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) file: u32,
    pub(super) label: i32,
}

/// What a data set takes of a store.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) members: Vec<Member>,
    pub(super) class_names: Vec<String>,
    /// Images of the store that are none of the data set.
    pub(super) left_out: PassedOver,
    /// What gives the classes, in words.
    pub(super) classes_by: Option<String>,
    /// Whether an earlier version of this program would have made another choice of the same store.
    pub(super) reads_more: bool,
    /// What a person should know of it.
    pub(super) warnings: Vec<String>,
    /// The lists beside the images by which it was made, with names for the digest.
    pub(super) lists: Vec<(String, PathBuf)>,
}

impl Selection {
    /// Every file, without classes.
    pub(super) fn all(store: &dyn Store) -> Self {
        let members = (0..store.len() as u32)
            .map(|file| Member {
                file,
                label: UNLABELLED,
            })
            .collect();
        Self {
            members,
            ..Self::default()
        }
    }

    /// Keeps the images for which `keep` is true and counts the others.
    pub(super) fn retain(&mut self, reason: &str, keep: impl FnMut(&Member) -> bool) {
        let all = self.members.len();
        self.members.retain(keep);
        let gone = all - self.members.len();
        self.left_out.add_many(reason, gone as u64);
    }

    /// Files with the names of their classes; the classes are numbered by their names' order.
    pub(super) fn by_name<'a>(files: impl Iterator<Item = (usize, &'a str)> + Clone) -> Self {
        let names: BTreeSet<&str> = files.clone().map(|(_, class)| class).collect();
        let numbers: BTreeMap<&str, i32> = names.into_iter().zip(0..).collect();
        Self {
            members: files
                .map(|(file, class)| Member {
                    file: file as u32,
                    label: numbers[class],
                })
                .collect(),
            class_names: numbers.into_keys().map(str::to_owned).collect(),
            ..Self::default()
        }
    }

    pub(super) fn with_lists(self, lists: Vec<(String, PathBuf)>) -> Self {
        Self { lists, ..self }
    }

    /// The same without its classes.
    pub(super) fn unlabelled(mut self) -> Self {
        for member in &mut self.members {
            member.label = UNLABELLED;
        }
        self.class_names.clear();
        self.classes_by = None;
        self
    }
}

impl FileSource {
    /// `digest` covers the store and everything else that the selection depends on outside the settings.
    pub(super) fn new(store: Box<dyn Store>, selection: Selection, digest: Digest) -> Self {
        Self {
            store,
            members: selection.members,
            class_names: selection.class_names,
            digest,
            account: Account::default(),
        }
    }

    pub(super) fn with_account(self, account: Account) -> Self {
        Self { account, ..self }
    }
}

impl Source for FileSource {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        let Member { file, label } = self.members[index];
        Entry {
            key: self.store.name(file as usize),
            label: u32::try_from(label).ok(),
        }
    }

    fn stored_bytes(&self, index: usize) -> u64 {
        self.store.bytes(self.members[index].file as usize)
    }

    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError> {
        let files: Vec<usize> = self.members[range]
            .iter()
            .map(|member| member.file as usize)
            .collect();
        let read = self.store.read(&files)?;
        Ok(read
            .into_iter()
            .map(|bytes| bytes.map(Payload::File))
            .collect())
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn credit(&self) -> Option<&str> {
        None
    }

    fn account(&self) -> &Account {
        &self.account
    }
}
