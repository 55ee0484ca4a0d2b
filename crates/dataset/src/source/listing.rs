//! Lists of files: names in little memory, what is wrong with some of them, and the digest of a list.

use std::collections::BTreeMap;
use std::io::{Write, sink};

use patchwork_core::Digest;
use patchwork_core::digest::DigestWriter;

use super::raw::Rejection;

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
}

impl<P> Default for Listing<P> {
    fn default() -> Self {
        Self {
            text: String::new(),
            files: Vec::new(),
            refused: BTreeMap::new(),
        }
    }
}

impl<P: Copy> Listing<P> {
    /// Adds a file. A name that is no text or leads out of the archive makes it an image that is refused.
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
        self.refused
            .insert(self.files.len() - 1, Rejection::new(cause));
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
        let mut sorted = Self::default();
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

/// Whether a name ends as images' names do, and is not hidden.
pub(super) fn is_image_name(name: &[u8]) -> bool {
    const ENDINGS: [&[u8]; 15] = [
        b"png", b"jpg", b"jpeg", b"jpe", b"webp", b"bmp", b"gif", b"tif", b"tiff", b"ppm", b"pgm",
        b"avif", b"heic", b"jxl", b"jp2",
    ];
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let hidden = name.split(|byte| *byte == b'/').any(|part| {
        (part.starts_with(b".") && part != b"." && part != b"..") || part == b"__MACOSX"
    });
    let ending = match file.iter().rposition(|byte| *byte == b'.') {
        Some(dot) => &file[dot + 1..],
        None => return false,
    };
    !hidden
        && ENDINGS
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
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

    #[test]
    fn images_are_told_by_their_ending() {
        for name in ["a.png", "b/c.JPEG", "d/e.f.webp", "../x.png"] {
            assert!(is_image_name(name.as_bytes()), "{name}");
        }
        for name in [
            "a.txt",
            "png",
            ".a.png",
            "__MACOSX/a.png",
            ".git/a.png",
            "a.png/",
        ] {
            assert!(!is_image_name(name.as_bytes()), "{name}");
        }
    }
}
