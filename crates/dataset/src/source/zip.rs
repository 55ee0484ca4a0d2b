//! Image files in a zip archive, read where they lie.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use patchwork_core::file_error;
use rawzip::{CompressionMethod, ErrorKind, FileReader, ZipArchive, ZipArchiveEntryWayfinder};
use rayon::prelude::*;

use super::account::PassedOver;
use super::links::resolved;
use super::listing::{HEAD_BYTES, Listing};
use super::names::is_image_name;
use super::raw::Rejection;
use super::store::{
    DATASET_JSON, Json, MAX_JSON_BYTES, ReadFailure, ReadFiles, Store, check_size, not_listed,
    sort_out, starts_with, unreadable,
};
use crate::error::DatasetError;

/// The longest target of a link.
const MAX_LINK_BYTES: u64 = 4096;

pub(super) struct ZipStore {
    path: PathBuf,
    archive: ZipArchive<FileReader>,
    files: Listing<Place>,
    dataset_json: Option<Json>,
}

#[derive(Clone, Copy)]
struct Place {
    data: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
}

/// Whether a file is a zip archive, which may begin with a program that unpacks it.
pub(super) fn is_zip(path: &Path) -> Result<bool, DatasetError> {
    if starts_with(path, b"PK\x03\x04")? || starts_with(path, b"PK\x05\x06")? {
        return Ok(true);
    }
    if !starts_with(path, b"MZ")? && !starts_with(path, b"\x7fELF")? && !starts_with(path, b"#!")? {
        return Ok(false);
    }
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    Ok(ZipArchive::from_file(file_error::open(path)?, &mut buffer).is_ok())
}

fn malformed(path: &Path, error: rawzip::Error) -> DatasetError {
    not_listed(path, "zip", as_io(error))
}

/// The error of the system behind it, or itself as one of reading.
fn as_io(error: rawzip::Error) -> io::Error {
    match error.into_kind() {
        ErrorKind::IO(error) => error,
        kind => io::Error::other(rawzip::Error::from(kind)),
    }
}

/// How the names of an archive are written.
#[derive(Clone, Copy)]
struct Names {
    /// Whether `\\` stands between folders, as some programs for Windows write it.
    backslashes: bool,
}

impl Names {
    fn of(path: &Path, archive: &ZipArchive<FileReader>) -> Result<Self, DatasetError> {
        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries
            .next_entry()
            .map_err(|error| malformed(path, error))?
        {
            if entry.file_path().as_bytes().contains(&b'/') {
                return Ok(Self { backslashes: false });
            }
        }
        Ok(Self { backslashes: true })
    }

    /// A name with `/` between its folders, and without `./` before them.
    fn plain(self, name: &[u8]) -> Cow<'_, [u8]> {
        let mut name = Cow::Borrowed(name);
        if self.backslashes && name.contains(&b'\\') {
            for byte in name.to_mut() {
                if *byte == b'\\' {
                    *byte = b'/';
                }
            }
        }
        while name.starts_with(b"./") {
            name = Cow::Owned(name[2..].to_vec());
        }
        name
    }
}

impl ZipStore {
    /// Lists an archive.
    pub(super) fn open(path: &Path) -> Result<Self, DatasetError> {
        let malformed = |error| malformed(path, error);
        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let file: File = file_error::open(path)?;
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(malformed)?;
        let names = Names::of(path, &archive)?;
        let mut found = Listing::default();
        let mut json = Vec::new();
        let mut links: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut listed: u64 = 0;
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(malformed)? {
            listed += 1;
            let place = Place {
                data: entry.wayfinder(),
                method: entry.compression_method(),
            };
            let path_in_zip = entry.file_path();
            let name = names.plain(path_in_zip.as_bytes());
            if entry.is_dir() || name.ends_with(b"/") {
                continue;
            }
            if name != path_in_zip.as_bytes() && is_image_name(&name) {
                found.note_reads_more();
            }
            if name.ends_with(DATASET_JSON.as_bytes()) && is_at_top(&name) {
                json.push((name.to_vec(), place));
            }
            if entry.flags().is_encrypted() {
                if is_image_name(&name) {
                    found.push_refused(&name, place, "it is encrypted");
                } else {
                    found.pass_over("encrypted");
                }
            } else if entry.mode().is_symlink() {
                if !is_image_name(&name) {
                    found.pass_over("links");
                    continue;
                }
                found.note_reads_more();
                found.push(&name, place);
                let target = unpack(path, &archive, place, MAX_LINK_BYTES);
                links.push((found.len() - 1, target.unwrap_or_default()));
            } else {
                found.offer(&name, place, || head(path, &archive, place))?;
            }
        }
        // Programs without ZIP64 count modulo 65,536.
        if listed % 65_536 != archive.entries_hint() % 65_536 {
            return Err(DatasetError::Archive {
                path: path.to_owned(),
                problem: format!(
                    "it lists {listed} entries and says that it has {}",
                    archive.entries_hint()
                ),
            });
        }
        if !links.is_empty() {
            follow(path, &archive, names, &mut found, &links)?;
        }
        let mut files = found.sorted();
        files.refuse_duplicates();
        let mut store = Self {
            path: path.to_owned(),
            archive,
            files,
            dataset_json: None,
        };
        let top = json
            .iter()
            .position(|(name, _)| name == DATASET_JSON.as_bytes());
        if let Some(at) = top.or((json.len() == 1).then_some(0)) {
            let (name, place) = &json[at];
            let content = unpack(path, &store.archive, *place, MAX_JSON_BYTES);
            store.dataset_json = Some(Json {
                content: content.map_err(|failure| match failure {
                    ReadFailure::Failed(error) => error,
                    ReadFailure::Rejected(problem) => DatasetError::Archive {
                        path: path.to_owned(),
                        problem: format!("its `{DATASET_JSON}` is {problem}"),
                    },
                })?,
                folder: String::from_utf8_lossy(&name[..name.len() - DATASET_JSON.len()])
                    .into_owned(),
            });
        }
        Ok(store)
    }

    fn read_file(&self, file: usize) -> Result<Cow<'_, [u8]>, ReadFailure> {
        if let Some(refused) = self.files.refused(file) {
            return Err(refused.clone().into());
        }
        check_size(self.bytes(file))?;
        let place = self.files.place(file);
        unpack(
            &self.path,
            &self.archive,
            place,
            crate::decode::MAX_FILE_BYTES,
        )
        .map(Cow::Owned)
    }
}

/// Whether a path lies at the top or in a folder there.
fn is_at_top(name: &[u8]) -> bool {
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    file == DATASET_JSON.as_bytes() && name.split(|byte| *byte == b'/').count() <= 2
}

/// Gives links the places of the files that they lead to.
fn follow(
    path: &Path,
    archive: &ZipArchive<FileReader>,
    names: Names,
    found: &mut Listing<Place>,
    links: &[(usize, Vec<u8>)],
) -> Result<(), DatasetError> {
    let named: Vec<(Vec<u8>, Vec<u8>)> = links
        .iter()
        .map(|(file, target)| (found.name(*file).as_bytes().to_vec(), target.clone()))
        .collect();
    let targets = resolved(&named);
    let mut places = HashMap::new();
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries
        .next_entry()
        .map_err(|error| malformed(path, error))?
    {
        let path_in_zip = entry.file_path();
        let name = names.plain(path_in_zip.as_bytes());
        let is_file = !entry.mode().is_symlink() && !entry.flags().is_encrypted();
        if is_file && targets.iter().flatten().any(|target| *target == *name) {
            let place = Place {
                data: entry.wayfinder(),
                method: entry.compression_method(),
            };
            places.insert(name.into_owned(), place);
        }
    }
    for ((file, _), target) in links.iter().zip(targets) {
        match target.and_then(|target| places.get(&target)) {
            Some(place) => found.set_place(*file, *place),
            None => found.refuse(*file, "it is a link to what is not in the archive"),
        }
    }
    Ok(())
}

/// The first bytes of a file of an archive; none if it cannot be unpacked, which is reported of images and matters of no
/// others.
fn head(
    path: &Path,
    archive: &ZipArchive<FileReader>,
    place: Place,
) -> Result<Vec<u8>, DatasetError> {
    let system = |error: io::Error| match ReadFailure::of_reader(path, error) {
        ReadFailure::Failed(error) => Err(error),
        ReadFailure::Rejected(_) => Ok(Vec::new()),
    };
    let entry = match archive.get_entry(place.data) {
        Ok(entry) => entry,
        Err(error) => return system(as_io(error)),
    };
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let most = HEAD_BYTES as u64;
    let read = match place.method {
        CompressionMethod::STORE => entry.reader().take(most).read_to_end(&mut head),
        CompressionMethod::DEFLATE => DeflateDecoder::new(entry.reader())
            .take(most)
            .read_to_end(&mut head),
        CompressionMethod::ZSTD => zstd::Decoder::new(entry.reader())
            .and_then(|decoder| decoder.take(most).read_to_end(&mut head)),
        _ => Ok(0),
    };
    match read {
        Ok(_) => Ok(head),
        Err(error) => system(error),
    }
}

/// Reads a file and checks it against its size and checksum.
fn unpack(
    path: &Path,
    archive: &ZipArchive<FileReader>,
    place: Place,
    most: u64,
) -> Result<Vec<u8>, ReadFailure> {
    let failed = |error| ReadFailure::of_reader(path, error);
    let size = place.data.uncompressed_size_hint();
    let found = archive.get_entry(place.data);
    let entry = found.map_err(|error| failed(as_io(error)))?;
    let mut bytes = Vec::with_capacity(u64::min(size, most) as usize);
    // One byte more than promised is enough to detect a file that does not end there.
    let limit = u64::min(size, most) + 1;
    let outcome = match place.method {
        CompressionMethod::STORE => entry
            .verifying_reader(entry.reader())
            .take(limit)
            .read_to_end(&mut bytes),
        CompressionMethod::DEFLATE => entry
            .verifying_reader(DeflateDecoder::new(entry.reader()))
            .take(limit)
            .read_to_end(&mut bytes),
        CompressionMethod::ZSTD => {
            let decoder = zstd::Decoder::new(entry.reader()).map_err(failed)?;
            entry
                .verifying_reader(decoder)
                .take(limit)
                .read_to_end(&mut bytes)
        }
        other => {
            let name = other.name().unwrap_or("of an unknown kind");
            let cause = format!("its compression is {name}, not deflate, zstd or none");
            return Err(Rejection::new(cause).into());
        }
    };
    outcome.map_err(failed)?;
    if bytes.len() as u64 != size {
        let cause = format!(
            "it has {} bytes or more, and the archive promises {size}",
            bytes.len()
        );
        return Err(unreadable(cause).into());
    }
    Ok(bytes)
}

impl Store for ZipStore {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, file: usize) -> &str {
        self.files.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        self.files.place(file).data.uncompressed_size_hint()
    }

    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let read = files.par_iter().map(|file| self.read_file(*file));
        read.map(sort_out).collect()
    }

    fn dataset_json(&self) -> Option<&Json> {
        self.dataset_json.as_ref()
    }

    fn passed_over(&self) -> &PassedOver {
        self.files.passed_over()
    }

    fn reads_more(&self) -> bool {
        self.files.reads_more()
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        vec![("archive".to_owned(), self.path.clone())]
    }
}
