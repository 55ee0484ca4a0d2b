//! The files of a tar archive, plain or compressed by gzip or zstd, one after the other.
//!
//! Of a plain archive the headers are read, and what nobody asks for is skipped: listing one of 100 GB reads a small
//! part of it. A compressed one is unpacked from its start to its end.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use patchwork_core::file_error;

use super::store::not_listed;
use super::tar_compression::{Compression, is_header};
use super::tar_readers::{Allowance, PlainFile};
use crate::error::DatasetError;

/// The most bytes of headers before a file: names and attributes are far shorter.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// An entry of an archive that is not a folder.
pub(super) struct Member<'a> {
    /// Its path, without `./` before it.
    pub(super) name: &'a [u8],
    pub(super) kind: MemberKind,
    /// The place of its content in the uncompressed archive.
    pub(super) start: u64,
    /// The size of its content.
    pub(super) bytes: u64,
    /// The file that a link leads to, as it is written.
    pub(super) target: Option<Vec<u8>>,
    /// Whether it lies in an archive within the archive, whose name without its ending is the first folder of its path.
    pub(super) is_within: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MemberKind {
    File,
    HardLink,
    SymbolicLink,
    /// A file with holes, whose content does not lie in the archive as it is.
    Sparse,
    /// A device, a pipe, and the like.
    Special,
}

/// Is given an entry and its content.
pub(super) type Take<'a> =
    &'a mut dyn FnMut(&Member<'_>, &mut dyn Read) -> Result<(), DatasetError>;

/// Goes through the entries of an archive one after the other, and those of archives behind it; in a plain one, also those
/// of plain archives within it, as ImageNet's has one for each class.
///
/// A compressed one is read to its end, where its checksum is.
pub(super) fn walk(
    path: &Path,
    compression: Compression,
    take: Take<'_>,
) -> Result<(), DatasetError> {
    let malformed = |error| not_listed(path, "tar", error);
    let file = file_error::open(path)?;
    let allowed = Rc::new(Cell::new(MAX_HEADER_BYTES));
    if compression == Compression::None {
        let all = 0..file.metadata().map_err(malformed)?.len();
        walk_part(
            path,
            all,
            &mut |member, content| match archive_within(&file, member).map_err(malformed)? {
                Some(folder) => walk_within(path, folder, member, take),
                None => take(member, content),
            },
        )
    } else {
        let mut archive = tar::Archive::new(Allowance {
            reader: compression.reader(&file).map_err(malformed)?,
            allowed: allowed.clone(),
        });
        archive.set_ignore_zeros(true);
        let entries = archive.entries().map_err(malformed)?;
        take_members(entries, &allowed, malformed, take)
    }
}

/// The entries of a plain archive that is a part of a file.
fn walk_part(path: &Path, part: Range<u64>, take: Take<'_>) -> Result<(), DatasetError> {
    let malformed = |error| not_listed(path, "tar", error);
    let start = part.start;
    let allowed = Rc::new(Cell::new(MAX_HEADER_BYTES));
    let mut archive = tar::Archive::new(Allowance {
        reader: PlainFile::new(file_error::open(path)?, part).map_err(malformed)?,
        allowed: allowed.clone(),
    });
    archive.set_ignore_zeros(true);
    let entries = archive.entries_with_seek().map_err(malformed)?;
    take_members(entries, &allowed, malformed, &mut |member, content| {
        let start = start + member.start;
        let target = member.target.clone();
        take(
            &Member {
                start,
                target,
                ..*member
            },
            content,
        )
    })
}

/// The folder that a plain archive within an archive stands for; none for any other entry.
fn archive_within<'a>(file: &File, member: &Member<'a>) -> io::Result<Option<&'a [u8]>> {
    let folder = member
        .name
        .strip_suffix(b".tar")
        .filter(|folder| !folder.is_empty());
    if folder.is_none() || member.kind != MemberKind::File || member.bytes < 512 {
        return Ok(None);
    }
    let mut head = [0; 512];
    file.read_exact_at(&mut head, member.start)?;
    Ok(folder.filter(|_| is_header(&head)))
}

/// The entries of an archive within an archive, in a folder.
fn walk_within(
    path: &Path,
    folder: &[u8],
    archive: &Member<'_>,
    take: Take<'_>,
) -> Result<(), DatasetError> {
    let part = archive.start..archive.start + archive.bytes;
    walk_part(path, part, &mut |member, content| {
        let below = |name: &[u8]| [folder, b"/", name].concat();
        let target = match member.kind {
            // It is written from the top of its own archive.
            MemberKind::HardLink => member.target.as_deref().map(below),
            _ => member.target.clone(),
        };
        let name = below(member.name);
        take(
            &Member {
                name: &name,
                target,
                is_within: true,
                ..*member
            },
            content,
        )
    })
}

/// Whether a plain archive ends as it should, in a block of zeros: one that is cut between two files does not.
pub(super) fn has_end(file: &File) -> io::Result<bool> {
    let bytes = file.metadata()?.len();
    let mut last = [1; 512];
    if bytes >= 512 {
        file.read_exact_at(&mut last, (bytes / 512 - 1) * 512)?;
    }
    Ok(last == [0; 512])
}

fn take_members<R: Read>(
    entries: tar::Entries<'_, R>,
    allowed: &Cell<u64>,
    malformed: impl Fn(io::Error) -> DatasetError,
    take: Take<'_>,
) -> Result<(), DatasetError> {
    for entry in entries {
        let mut entry = entry.map_err(&malformed)?;
        let bytes = entry.size();
        // What is left of this file is skipped before the next one's headers; the zeros at the end are many at times.
        allowed.set(bytes.saturating_add(MAX_HEADER_BYTES));
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let (sparse, name) = match sparse_name(&mut entry).map_err(&malformed)? {
            Some(name) => (true, name),
            None => (false, entry.path_bytes().into_owned()),
        };
        let mut plain = name.as_slice();
        while let Some(rest) = plain.strip_prefix(b"./") {
            plain = rest;
        }
        // Before POSIX a folder was known by its name alone.
        if plain.ends_with(b"/") {
            continue;
        }
        let member = Member {
            name: plain,
            kind: match kind {
                _ if sparse || kind.is_gnu_sparse() => MemberKind::Sparse,
                _ if kind.is_file() || kind.is_contiguous() => MemberKind::File,
                _ if kind.is_hard_link() => MemberKind::HardLink,
                _ if kind.is_symlink() => MemberKind::SymbolicLink,
                _ => MemberKind::Special,
            },
            start: entry.raw_file_position(),
            bytes,
            target: entry.link_name_bytes().map(std::borrow::Cow::into_owned),
            is_within: false,
        };
        take(&member, &mut entry)?;
    }
    Ok(())
}

/// The name of a file with holes as the newer formats of GNU tar write it; none for any other entry.
fn sparse_name<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Option<Vec<u8>>> {
    let own = entry.path_bytes().into_owned();
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(None);
    };
    let mut sparse = None;
    for extension in extensions {
        let extension = extension?;
        if extension.key_bytes() == b"GNU.sparse.name" {
            sparse = Some(extension.value_bytes().to_vec());
        } else if extension.key_bytes().starts_with(b"GNU.sparse.") {
            sparse.get_or_insert_with(|| own.clone());
        }
    }
    Ok(sparse)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use flate2::Compression as Level;
    use flate2::write::GzEncoder;

    use super::*;

    /// Path, place, size and what was read of each file.
    type Files = Vec<(Vec<u8>, u64, u64, Vec<u8>)>;

    /// Of each file in turn nothing, half or all is read.
    fn files(path: &Path, compression: Compression) -> Result<Files, DatasetError> {
        let mut files = Files::new();
        walk(path, compression, &mut |member, content| {
            let (start, bytes) = (member.start, member.bytes);
            let wanted = [0, bytes / 2, bytes][files.len() % 3];
            let mut read = Vec::new();
            content.take(wanted).read_to_end(&mut read).unwrap();
            files.push((member.name.to_owned(), start, bytes, read));
            Ok(())
        })?;
        Ok(files)
    }

    fn add(builder: &mut tar::Builder<impl Write>, name: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content).unwrap();
    }

    #[test]
    fn a_plain_archive_is_skipped_through_as_it_is_read_through() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, packed) = (folder.path().join("plain"), folder.path().join("packed"));
        let mut builder = tar::Builder::new(Vec::new());
        for (number, bytes) in [0, 1, 511, 512, 513, 9_000, 40_000, 700, 20_000, 3]
            .into_iter()
            .enumerate()
        {
            // A name of more than 100 bytes has a header of its own.
            let name = format!("{}{number}.png", "long/".repeat(30 * (number % 2)));
            let content: Vec<u8> = (0..bytes).map(|byte| (byte % 251) as u8).collect();
            add(&mut builder, &name, &content);
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        let nothing = io::empty();
        builder.append_data(&mut header, "folder", nothing).unwrap();
        add(&mut builder, "last.png", &[7; 5_000]);
        let archive = builder.into_inner().unwrap();

        // Whole, and cut off in headers, contents and between files.
        let cuts = (0..archive.len()).step_by(256);
        let mut sound = 0;
        for bytes in cuts.chain([archive.len() - 1, archive.len()]) {
            std::fs::write(&plain, &archive[..bytes]).unwrap();
            let mut encoder = GzEncoder::new(Vec::new(), Level::fast());
            encoder.write_all(&archive[..bytes]).unwrap();
            std::fs::write(&packed, encoder.finish().unwrap()).unwrap();
            let skipped = files(&plain, Compression::None).ok();
            let read = files(&packed, Compression::Gzip).ok();
            assert_eq!(skipped, read, "{bytes} bytes");
            sound += usize::from(skipped.is_some());
        }
        assert!(sound > 10, "{sound}");
        let whole = files(&plain, Compression::None).unwrap();
        assert_eq!(whole.len(), 11);
        for (name, start, bytes, read) in whole {
            let content = &archive[start as usize..][..bytes as usize];
            assert!(content.starts_with(&read), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn what_nobody_asks_for_is_not_read() {
        const HOLE: u64 = 1 << 40;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain");
        // A file of a tebibyte that takes no room, which would be read for minutes.
        let mut file = File::create(&path).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_path("large.png").unwrap();
        header.set_size(HOLE);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        file.seek(SeekFrom::Start(512 + HOLE)).unwrap();
        let mut builder = tar::Builder::new(file);
        add(&mut builder, "small.png", b"small");
        builder.finish().unwrap();

        let mut names = Vec::new();
        walk(&path, Compression::None, &mut |member, _| {
            names.push((member.name.to_owned(), member.start, member.bytes));
            Ok(())
        })
        .unwrap();
        let small = (b"small.png".to_vec(), HOLE + 1024, 5);
        assert_eq!(names, [(b"large.png".to_vec(), 512, HOLE), small]);

        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(HOLE).unwrap();
        let cut = walk(&path, Compression::None, &mut |_, _| Ok(()));
        assert!(
            cut.unwrap_err()
                .to_string()
                .contains("not a complete tar archive")
        );
    }
}
