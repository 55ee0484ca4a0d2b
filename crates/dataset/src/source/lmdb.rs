//! Image files in an LMDB database, as LSUN distributes its scenes: a key and the file, for each image.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use patchwork_core::FileError;
use patchwork_core::file_error;
use rayon::prelude::*;

use super::account::PassedOver;
use super::detect::Look;
use super::format::{Content, Request, SourceFormat};
use super::listing::Listing;
use super::lmdb_file::{Problem, Value, entries};
use super::settings::{Format, Labels};
use super::store::{ReadFailure, ReadFiles, Store, check_size, sort_out};
use crate::error::DatasetError;

/// The file that holds a database.
const DATA_FILE: &str = "data.mdb";

/// Its lock, which says nothing.
const LOCK_FILE: &str = "lock.mdb";

pub(super) struct Lmdb;

impl SourceFormat for Lmdb {
    fn format(&self) -> Format {
        Format::Lmdb
    }

    fn labels(&self) -> &'static [Labels] {
        &[Labels::None]
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        Ok(look.has(DATA_FILE))
    }

    fn open(&self, request: &Request<'_>) -> Result<Content, DatasetError> {
        let store = LmdbStore::open(&request.place)?;
        Ok(Content::Files(Box::new(store)))
    }
}

struct LmdbStore {
    data: PathBuf,
    file: File,
    images: Listing<Value>,
    passed_over: PassedOver,
}

impl LmdbStore {
    /// Lists a database: a `data.mdb`, or its folder. Nothing is written to the folder.
    fn open(place: &Path) -> Result<Self, DatasetError> {
        let mut passed_over = PassedOver::default();
        let data = if place.is_dir() {
            for path in patchwork_core::durable::list(place)? {
                let name = path.file_name().unwrap_or_default();
                if name != DATA_FILE && name != LOCK_FILE {
                    passed_over.add("files beside the database");
                }
            }
            place.join(DATA_FILE)
        } else {
            place.to_owned()
        };
        let unusable = |problem: String| DatasetError::Archive {
            path: data.clone(),
            problem: format!("it is not a complete LMDB database: {problem}"),
        };
        let metadata =
            std::fs::metadata(&data).map_err(|error| FileError::new("read", &data, error))?;
        if !metadata.is_file() {
            return Err(unusable("it is not a regular file".to_owned()));
        }
        let file = file_error::open(&data)?;
        let mut images = Listing::default();
        let nowhere = Value { start: 0, bytes: 0 };
        let listed = entries(&file, &mut |key, value| match value {
            Ok(value) => images.push(key, value),
            Err(cause) => images.push_refused(key, nowhere, &format!("not readable: {cause}")),
        });
        match listed {
            Ok(()) => Ok(Self {
                data,
                file,
                images,
                passed_over,
            }),
            Err(Problem::Read(error)) => Err(FileError::new("read", &data, error).into()),
            Err(Problem::Malformed(problem)) => Err(unusable(problem)),
        }
    }

    fn read_file(&self, file: usize) -> Result<Cow<'_, [u8]>, ReadFailure> {
        if let Some(refused) = self.images.refused(file) {
            return Err(refused.clone().into());
        }
        check_size(self.bytes(file))?;
        let Value { start, bytes } = self.images.place(file);
        let mut content = vec![0; bytes as usize];
        self.file
            .read_exact_at(&mut content, start)
            .map_err(|error| ReadFailure::of_reader(&self.data, error))?;
        Ok(Cow::Owned(content))
    }
}

impl Store for LmdbStore {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn name(&self, file: usize) -> &str {
        self.images.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        self.images.place(file).bytes.into()
    }

    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let read = files.par_iter().map(|file| self.read_file(*file));
        read.map(sort_out).collect()
    }

    fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    fn reads_more(&self) -> bool {
        false
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        vec![(DATA_FILE.to_owned(), self.data.clone())]
    }
}
