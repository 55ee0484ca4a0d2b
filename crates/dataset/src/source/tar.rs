//! Image files in a tar archive, plain or compressed by gzip or zstd, read where they lie.
//!
//! The order is the archive's. A compressed archive can only be read forward: each time that it is opened it is
//! unpacked to list it, and then, in memory, for its images.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use patchwork_core::Digest;
use patchwork_core::file_error::{self, FileError};
use rayon::prelude::*;

use super::cache::SourceCache;
use super::listing::{Listing, is_image_name};
use super::raw::Rejection;
use super::store::{
    DATASET_JSON, MAX_JSON_BYTES, ReadFailure, ReadFiles, Store, check_size, sort_out,
};
use super::tar_walk::{Compression, walk};
use crate::error::DatasetError;

pub(super) struct TarStore {
    path: PathBuf,
    contents: Contents,
    files: Listing<Place>,
    dataset_json: Option<Vec<u8>>,
    digest: Digest,
}

/// A file's place in the uncompressed archive.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    bytes: u64,
}

/// The archive's bytes.
enum Contents {
    /// Any part can be read.
    File(File),
    /// Can be read forward from where the stream is, or from the start again.
    Stream {
        file: File,
        compression: Compression,
        stream: Mutex<Option<Stream>>,
    },
}

struct Stream {
    reader: Box<dyn Read + Send>,
    position: u64,
}

impl TarStore {
    /// Lists an archive and digests it; `beside` are further files that tell about it.
    pub(super) fn open(
        path: &Path,
        compression: Compression,
        beside: &[(&str, &Path)],
        cache: &SourceCache,
    ) -> Result<Self, DatasetError> {
        let mut files = Listing::default();
        let mut dataset_json = None;
        walk(path, compression, &mut |name, start, bytes, content| {
            let name = name.strip_prefix(b"./").unwrap_or(name);
            if is_image_name(name) {
                files.push(name, Place { start, bytes });
            } else if name == DATASET_JSON.as_bytes() && bytes <= MAX_JSON_BYTES {
                let mut json = Vec::new();
                content
                    .read_to_end(&mut json)
                    .map_err(|error| FileError::new("read", path, error))?;
                dataset_json = Some(json);
            }
            Ok(())
        })?;
        files.refuse_duplicates();
        let file = file_error::open(path)?;
        let mut hashed = vec![("archive", path)];
        hashed.extend(beside);
        Ok(Self {
            path: path.to_owned(),
            contents: match compression {
                Compression::None => Contents::File(file),
                compression => Contents::Stream {
                    file,
                    compression,
                    stream: Mutex::default(),
                },
            },
            files,
            dataset_json,
            digest: cache.digest(path, &hashed)?,
        })
    }

    /// The place of a file that may be read.
    fn usable(&self, file: usize) -> Result<Place, Rejection> {
        if let Some(refused) = self.files.refused(file) {
            return Err(refused.clone());
        }
        let place = self.files.place(file);
        check_size(place.bytes)?;
        Ok(place)
    }
}

impl Store for TarStore {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, file: usize) -> &str {
        self.files.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        self.files.place(file).bytes
    }

    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let failed = |error| ReadFailure::of_reader(&self.path, error);
        match &self.contents {
            Contents::File(archive) => files
                .par_iter()
                .map(|file| {
                    let place = self.usable(*file)?;
                    let mut bytes = vec![0; place.bytes as usize];
                    archive
                        .read_exact_at(&mut bytes, place.start)
                        .map_err(failed)?;
                    Ok(Cow::Owned(bytes))
                })
                .map(sort_out)
                .collect(),
            Contents::Stream {
                file,
                compression,
                stream,
            } => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                files
                    .iter()
                    .map(|number| {
                        let place = self.usable(*number)?;
                        let bytes = read_forward(&mut stream, file, *compression, place);
                        bytes.map(Cow::Owned).map_err(|error| {
                            // What the stream is worth after an error is not known.
                            *stream = None;
                            failed(error)
                        })
                    })
                    .map(sort_out)
                    .collect()
            }
        }
    }

    fn dataset_json(&self) -> Option<&[u8]> {
        self.dataset_json.as_deref()
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

fn read_forward(
    stream: &mut Option<Stream>,
    file: &File,
    compression: Compression,
    place: Place,
) -> io::Result<Vec<u8>> {
    if stream
        .as_ref()
        .is_none_or(|stream| stream.position > place.start)
    {
        *stream = Some(Stream {
            reader: compression.reader(file)?,
            position: 0,
        });
    }
    let stream = stream
        .as_mut()
        .expect("it was made above where there was none");
    let skipped = (&mut stream.reader).take(place.start - stream.position);
    stream.position += io::copy(&mut { skipped }, &mut io::sink())?;
    let mut bytes = Vec::with_capacity(place.bytes as usize);
    (&mut stream.reader)
        .take(place.bytes)
        .read_to_end(&mut bytes)?;
    stream.position += bytes.len() as u64;
    if bytes.len() as u64 != place.bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}
