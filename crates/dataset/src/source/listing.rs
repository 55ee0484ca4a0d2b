//! Lists of files: names in little memory, what is wrong with some of them, and the digest of a list.

use std::collections::BTreeMap;
use std::io::{Write, sink};

use patchwork_core::Digest;
use patchwork_core::digest::DigestWriter;

use super::account::PassedOver;
use super::names::{ByName, by_name, was_image_name};
use super::raw::Rejection;
use crate::decode::is_image_head;

/// The digest over (key, size in bytes, content digest) of each image, in the order given.
pub(super) fn digest_listing<'a>(images: impl Iterator<Item = (&'a str, u64, Digest)>) -> Digest {
    let mut writer = DigestWriter::new(sink());
    let mut update = |bytes: &[u8]| writer.write_all(bytes).expect("a sink takes every byte");
    for (key, bytes, content) in images {
        update(&(key.len() as u64).to_le_bytes());
        update(key.as_bytes());
        update(&bytes.to_le_bytes());
        update(content.as_bytes());
    }
    let (_, digest, _) = writer.finish();
    digest
}

/// Files of a folder or an archive by name, each with a place of type `P`; a data set of millions has tens of bytes
/// for each beside its name.
#[derive(Debug)]
pub(super) struct Listing<P> {
    text: String,
    /// Where each name ends in `text`, and the file's place.
    files: Vec<(usize, P)>,
    refused: BTreeMap<usize, Rejection>,
    passed_over: PassedOver,
    /// Whether an earlier version of this program would have listed other files or other names.
    reads_more: bool,
}

impl<P> Default for Listing<P> {
    fn default() -> Self {
        Self {
            text: String::new(),
            files: Vec::new(),
            refused: BTreeMap::new(),
            passed_over: PassedOver::default(),
            reads_more: false,
        }
    }
}

/// The first bytes of a file, by which it is known whether it is an image.
pub(super) const HEAD_BYTES: usize = 32;

impl<P: Copy> Listing<P> {
    /// Adds a file if it is an image, by its name or, where that says nothing, by its first bytes; else it is counted.
    pub(super) fn offer<E>(
        &mut self,
        name: &[u8],
        place: P,
        head: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        match by_name(name) {
            ByName::Image => {
                self.reads_more |= !was_image_name(name);
                self.push(name, place);
            }
            ByName::PassedOver(reason) => self.pass_over(&reason),
            ByName::Unknown(reason) => {
                if is_image_head(&head()?) {
                    self.reads_more = true;
                    self.push(name, place);
                } else {
                    self.pass_over(&reason);
                }
            }
        }
        Ok(())
    }

    /// Counts an entry that is not an image.
    pub(super) fn pass_over(&mut self, reason: &str) {
        self.passed_over.add(reason);
    }

    /// What was counted and not added.
    pub(super) fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    /// Notes that an earlier version would have listed other files or other names.
    pub(super) fn note_reads_more(&mut self) {
        self.reads_more = true;
    }

    pub(super) fn reads_more(&self) -> bool {
        self.reads_more
    }

    /// Adds a file. A name that is not text or leads out of the archive makes it an image that is refused.
    pub(super) fn push(&mut self, name: &[u8], place: P) {
        let text = String::from_utf8_lossy(name);
        if std::str::from_utf8(name).is_err() {
            self.refuse_next("its name is not UTF-8");
        } else if leads_out(&text) {
            self.refuse_next("its name leads out of the archive");
        }
        self.text.push_str(&text);
        self.files.push((self.text.len(), place));
    }

    /// Adds a file that cannot be used whatever it holds.
    pub(super) fn push_refused(&mut self, name: &[u8], place: P, cause: &str) {
        self.push(name, place);
        self.refuse(self.files.len() - 1, cause);
    }

    /// Marks a file as one that cannot be used.
    pub(super) fn refuse(&mut self, file: usize, cause: &str) {
        self.refused.insert(file, Rejection::new(cause));
    }

    pub(super) fn set_place(&mut self, file: usize, place: P) {
        self.files[file].1 = place;
    }

    fn refuse_next(&mut self, cause: &str) {
        self.refused.insert(self.files.len(), Rejection::new(cause));
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    pub(super) fn name(&self, file: usize) -> &str {
        let start = match file {
            0 => 0,
            _ => self.files[file - 1].0,
        };
        &self.text[start..self.files[file].0]
    }

    pub(super) fn place(&self, file: usize) -> P {
        self.files[file].1
    }

    pub(super) fn refused(&self, file: usize) -> Option<&Rejection> {
        self.refused.get(&file)
    }

    /// The same files by name, in the order of bytes.
    pub(super) fn sorted(&self) -> Self {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| self.name(*a).cmp(self.name(*b)));
        self.in_order(order)
    }

    /// The same files by their places.
    pub(super) fn sorted_by_place<K: Ord>(&self, key: impl Fn(P) -> K) -> Self {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|file| key(self.place(*file)));
        self.in_order(order)
    }

    fn in_order(&self, order: Vec<usize>) -> Self {
        let mut sorted = Self {
            passed_over: self.passed_over.clone(),
            reads_more: self.reads_more,
            ..Self::default()
        };
        for file in order {
            sorted.text.push_str(self.name(file));
            if let Some(refused) = self.refused(file) {
                sorted.refused.insert(sorted.files.len(), refused.clone());
            }
            sorted.files.push((sorted.text.len(), self.place(file)));
        }
        sorted
    }

    /// Refuses each file that has the name of an earlier one.
    pub(super) fn refuse_duplicates(&mut self) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| self.name(*a).cmp(self.name(*b)));
        let repeated: Vec<usize> = order
            .windows(2)
            .filter(|pair| self.name(pair[0]) == self.name(pair[1]))
            .map(|pair| pair[1])
            .collect();
        for file in repeated {
            let cause = "an earlier file has the same name";
            self.refused
                .entry(file)
                .or_insert_with(|| Rejection::new(cause));
        }
    }
}

/// Whether a path is absolute, or climbs, or could not be a file's.
fn leads_out(name: &str) -> bool {
    let drive = name.as_bytes().get(1) == Some(&b':');
    name.starts_with(['/', '\\'])
        || drive
        || name.contains('\0')
        || name.split(['/', '\\']).any(|part| part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_deceive_are_refused_and_others_are_not() {
        let names: [(&[u8], Option<&str>); 9] = [
            (b"a/b.png", None),
            (b"a..b/c.png", None),
            (b"../x.png", Some("leads out")),
            (b"a/../../x.png", Some("leads out")),
            (b"/etc/x.png", Some("leads out")),
            (b"C:\\x.png", Some("leads out")),
            (b"a\\..\\x.png", Some("leads out")),
            (b"caf\xe9.png", Some("not UTF-8")),
            (b"a/b.png", Some("same name")),
        ];
        let mut listing = Listing::default();
        for (number, (name, _)) in names.iter().enumerate() {
            listing.push(name, number);
        }
        listing.refuse_duplicates();
        let sorted = listing.sorted();
        for file in 0..sorted.len() {
            let (name, cause) = names[sorted.place(file)];
            assert_eq!(sorted.name(file), String::from_utf8_lossy(name));
            let refused = sorted.refused(file).map(Rejection::cause);
            assert_eq!(refused.is_some(), cause.is_some(), "{}", sorted.name(file));
            assert!(
                refused
                    .unwrap_or_default()
                    .contains(cause.unwrap_or_default())
            );
        }
    }
}
