//! Image files in a tar archive, plain or compressed by gzip or zstd, read where they lie.
//!
//! The order is the archive's. A compressed archive can only be read forward: each time that it is opened it is
//! unpacked to list it, and then, in memory, for its images.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use patchwork_core::file_error::{self, FileError};
use rayon::prelude::*;

use super::account::PassedOver;
use super::links::resolved;
use super::listing::{HEAD_BYTES, Listing};
use super::names::is_image_name;
use super::raw::Rejection;
use super::store::{
    DATASET_JSON, Json, MAX_JSON_BYTES, ReadFailure, ReadFiles, Store, check_size, sort_out,
};
use super::tar_compression::Compression;
use super::tar_walk::{MemberKind, has_end, walk};
use crate::error::DatasetError;

pub(super) struct TarStore {
    path: PathBuf,
    contents: Contents,
    files: Listing<Place>,
    dataset_json: Option<Json>,
    /// Whether a plain archive ends as one that is whole.
    has_end: bool,
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
    /// The last file's place and content, which links may lead to again.
    last: Option<(u64, Vec<u8>)>,
}

impl TarStore {
    /// Lists an archive.
    pub(super) fn open(path: &Path, compression: Compression) -> Result<Self, DatasetError> {
        let mut files = Listing::default();
        let mut jsons: Vec<Json> = Vec::new();
        let mut links: Vec<(usize, Vec<u8>, Vec<u8>)> = Vec::new();
        let failed = |error| DatasetError::from(FileError::new("read", path, error));
        walk(path, compression, &mut |member, content| {
            let (name, bytes) = (member.name, member.bytes);
            if member.is_within {
                files.note_reads_more();
            }
            let place = Place {
                start: member.start,
                bytes,
            };
            match member.kind {
                MemberKind::File => {
                    if let Some(folder) = folder_of_json(name)
                        && bytes <= MAX_JSON_BYTES
                    {
                        let mut json = Json {
                            content: Vec::new(),
                            folder,
                        };
                        content.read_to_end(&mut json.content).map_err(failed)?;
                        jsons.push(json);
                    }
                    files.offer(name, place, || {
                        let mut head = Vec::with_capacity(HEAD_BYTES);
                        content
                            .take(HEAD_BYTES as u64)
                            .read_to_end(&mut head)
                            .map_err(failed)?;
                        Ok::<_, DatasetError>(head)
                    })?;
                }
                MemberKind::HardLink | MemberKind::SymbolicLink if is_image_name(name) => {
                    let mut target = member.target.clone().unwrap_or_default();
                    if member.kind == MemberKind::HardLink {
                        // It is written from the top.
                        let depth = name.split(|byte| *byte == b'/').count() - 1;
                        target = [b"../".repeat(depth), target].concat();
                    }
                    files.note_reads_more();
                    files.push(name, place);
                    links.push((files.len() - 1, name.to_vec(), target));
                }
                MemberKind::HardLink | MemberKind::SymbolicLink => files.pass_over("links"),
                MemberKind::Sparse if is_image_name(name) => {
                    let cause = "not supported: it is stored as a sparse file; pack the archive without `--sparse`";
                    files.push_refused(name, place, cause);
                }
                MemberKind::Sparse => files.pass_over("sparse files"),
                MemberKind::Special => files.pass_over("devices and pipes"),
            }
            Ok(())
        })?;
        if !links.is_empty() {
            follow(path, compression, &mut files, &links)?;
            // A compressed archive is read forward.
            if compression != Compression::None {
                files = files.sorted_by_place(|place| place.start);
            }
        }
        files.refuse_duplicates();
        let file = file_error::open(path)?;
        let top = jsons.iter().position(|json| json.folder.is_empty());
        let json = top.or((jsons.len() == 1).then_some(0));
        Ok(Self {
            path: path.to_owned(),
            has_end: compression != Compression::None || has_end(&file).map_err(failed)?,
            contents: match compression {
                Compression::None => Contents::File(file),
                compression => Contents::Stream {
                    file,
                    compression,
                    stream: Mutex::default(),
                },
            },
            files,
            dataset_json: json.map(|at| jsons.swap_remove(at)),
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

    fn dataset_json(&self) -> Option<&Json> {
        self.dataset_json.as_ref()
    }

    fn passed_over(&self) -> &PassedOver {
        self.files.passed_over()
    }

    fn reads_more(&self) -> bool {
        self.files.reads_more()
    }

    fn warnings(&self) -> Vec<String> {
        let cut = "the archive has no end mark: it may be cut off between two files";
        (!self.has_end)
            .then(|| cut.to_owned())
            .into_iter()
            .collect()
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        vec![("archive".to_owned(), self.path.clone())]
    }
}

/// The folder of a `dataset.json` at the top (empty) or one folder down (ending in `/`).
fn folder_of_json(name: &[u8]) -> Option<String> {
    let folder = std::str::from_utf8(name).ok()?.strip_suffix(DATASET_JSON)?;
    let is_near = folder.is_empty() || folder.find('/') == Some(folder.len() - 1);
    is_near.then(|| folder.to_owned())
}

/// Gives links the places of the files that they lead to.
fn follow(
    path: &Path,
    compression: Compression,
    files: &mut Listing<Place>,
    links: &[(usize, Vec<u8>, Vec<u8>)],
) -> Result<(), DatasetError> {
    let named: Vec<(Vec<u8>, Vec<u8>)> = links
        .iter()
        .map(|(_, name, target)| (name.clone(), target.clone()))
        .collect();
    let targets = resolved(&named);
    let wanted: HashSet<&[u8]> = targets.iter().flatten().map(Vec::as_slice).collect();
    let mut places: HashMap<Vec<u8>, Place> = HashMap::new();
    walk(path, compression, &mut |member, _| {
        if member.kind == MemberKind::File && wanted.contains(member.name) {
            let place = Place {
                start: member.start,
                bytes: member.bytes,
            };
            places.insert(member.name.to_vec(), place);
        }
        Ok(())
    })?;
    for ((file, ..), target) in links.iter().zip(&targets) {
        match target.as_ref().and_then(|target| places.get(target)) {
            Some(place) => files.set_place(*file, *place),
            None => files.refuse(*file, "it is a link to what is not in the archive"),
        }
    }
    Ok(())
}

fn read_forward(
    stream: &mut Option<Stream>,
    file: &File,
    compression: Compression,
    place: Place,
) -> io::Result<Vec<u8>> {
    let last = stream.as_ref().and_then(|stream| stream.last.as_ref());
    if let Some((start, content)) = last
        && *start == place.start
        && content.len() as u64 == place.bytes
    {
        return Ok(content.clone());
    }
    if stream
        .as_ref()
        .is_none_or(|stream| stream.position > place.start)
    {
        *stream = Some(Stream {
            reader: compression.reader(file)?,
            position: 0,
            last: None,
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
    stream.last = Some((place.start, bytes.clone()));
    Ok(bytes)
}
