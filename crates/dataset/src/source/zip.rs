//! Image files in a zip archive, read where they lie.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use patchwork_core::Digest;
use patchwork_core::file_error;
use rawzip::{CompressionMethod, ErrorKind, FileReader, ZipArchive, ZipArchiveEntryWayfinder};
use rayon::prelude::*;

use super::cache::SourceCache;
use super::listing::{Listing, is_image_name};
use super::raw::Rejection;
use super::store::{
    DATASET_JSON, MAX_JSON_BYTES, ReadFailure, ReadFiles, Store, check_size, not_listed, sort_out,
    unreadable,
};
use crate::error::DatasetError;

pub(super) struct ZipStore {
    path: PathBuf,
    archive: ZipArchive<FileReader>,
    files: Listing<Place>,
    dataset_json: Option<Vec<u8>>,
    digest: Digest,
}

#[derive(Clone, Copy)]
struct Place {
    data: ZipArchiveEntryWayfinder,
    method: CompressionMethod,
}

/// The names of the first files of an archive.
pub(super) fn first_names(path: &Path, most: usize) -> Result<Vec<String>, DatasetError> {
    let malformed = |error| malformed(path, error);
    let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(file_error::open(path)?, &mut buffer).map_err(malformed)?;
    let mut entries = archive.entries(&mut buffer);
    let mut names = Vec::new();
    while names.len() < most
        && let Some(entry) = entries.next_entry().map_err(malformed)?
    {
        names.push(String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned());
    }
    Ok(names)
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

impl ZipStore {
    /// Lists an archive and digests it; `beside` are further files that tell about it.
    pub(super) fn open(
        path: &Path,
        beside: &[(&str, &Path)],
        cache: &SourceCache,
    ) -> Result<Self, DatasetError> {
        let malformed = |error| malformed(path, error);
        let mut buffer = vec![0; rawzip::RECOMMENDED_BUFFER_SIZE];
        let file: File = file_error::open(path)?;
        let archive = ZipArchive::from_file(file, &mut buffer).map_err(malformed)?;
        let mut found = Listing::default();
        let mut json = None;
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(malformed)? {
            let place = Place {
                data: entry.wayfinder(),
                method: entry.compression_method(),
            };
            let name = entry.file_path();
            let name = name.as_bytes();
            if name == DATASET_JSON.as_bytes() {
                json = Some(place);
            }
            if entry.is_dir() || !is_image_name(name) {
                continue;
            }
            if entry.flags().is_encrypted() {
                found.push_refused(name, place, "it is encrypted");
            } else {
                found.push(name, place);
            }
        }
        let mut files = found.sorted();
        files.refuse_duplicates();
        let mut hashed = vec![("archive", path)];
        hashed.extend(beside);
        let mut store = Self {
            path: path.to_owned(),
            digest: cache.digest(path, &hashed)?,
            archive,
            files,
            dataset_json: None,
        };
        store.dataset_json = match json {
            None => None,
            Some(place) => Some(store.unpack(place, MAX_JSON_BYTES).map_err(
                |failure| match failure {
                    ReadFailure::Failed(error) => error,
                    ReadFailure::Rejected(problem) => DatasetError::Archive {
                        path: store.path.clone(),
                        problem: format!("its `{DATASET_JSON}` is {problem}"),
                    },
                },
            )?),
        };
        Ok(store)
    }

    /// Reads a file and checks it against its size and checksum.
    fn unpack(&self, place: Place, most: u64) -> Result<Vec<u8>, ReadFailure> {
        let failed = |error| ReadFailure::of_reader(&self.path, error);
        let size = place.data.uncompressed_size_hint();
        let found = self.archive.get_entry(place.data);
        let entry = found.map_err(|error| failed(as_io(error)))?;
        let mut bytes = Vec::with_capacity(u64::min(size, most) as usize);
        // One byte more than promised is enough to tell a file that does not end there.
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

    fn read_file(&self, file: usize) -> Result<Cow<'_, [u8]>, ReadFailure> {
        if let Some(refused) = self.files.refused(file) {
            return Err(refused.clone().into());
        }
        check_size(self.bytes(file))?;
        self.unpack(self.files.place(file), crate::decode::MAX_FILE_BYTES)
            .map(Cow::Owned)
    }
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

    fn dataset_json(&self) -> Option<&[u8]> {
        self.dataset_json.as_deref()
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}
