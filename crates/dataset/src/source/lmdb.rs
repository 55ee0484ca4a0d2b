//! Image files in an LMDB database, as LSUN distributes its scenes: a key and the file, for each image.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, WithoutTls};
use patchwork_core::Digest;

use super::cache::SourceCache;
use super::listing::Listing;
use super::store::{ReadFailure, ReadFiles, Store, check_size, sort_out, unreadable};
use crate::error::DatasetError;

/// The file that holds a database.
pub(super) const DATA_FILE: &str = "data.mdb";

pub(super) struct LmdbStore {
    data: PathBuf,
    environment: Env<WithoutTls>,
    images: Database<Bytes, Bytes>,
    files: Listing<u32>,
    digest: Digest,
}

impl LmdbStore {
    /// Lists a database, the folder of a `data.mdb`, and digests it. Nothing is written to the folder.
    pub(super) fn open(folder: &Path, cache: &SourceCache) -> Result<Self, DatasetError> {
        let malformed = |error: heed::Error| DatasetError::Archive {
            path: folder.join(DATA_FILE),
            problem: format!("it is no database of LMDB: {error}"),
        };
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        #[expect(
            unsafe_code,
            reason = "the database is opened for reading, without its lock file, and maps a file that must not \
                      change meanwhile, as every source must not"
        )]
        let environment = unsafe {
            options
                .flags(EnvFlags::READ_ONLY | EnvFlags::NO_LOCK)
                .open(folder)
        }
        .map_err(malformed)?;
        let transaction = environment.read_txn().map_err(malformed)?;
        let images: Option<Database<Bytes, Bytes>> = environment
            .open_database(&transaction, None)
            .map_err(malformed)?;
        let images = images.ok_or_else(|| malformed(heed::Error::Mdb(heed::MdbError::NotFound)))?;
        let mut files = Listing::default();
        for image in images.iter(&transaction).map_err(malformed)? {
            let (key, file) = image.map_err(malformed)?;
            files.push(key, u32::try_from(file.len()).unwrap_or(u32::MAX));
        }
        drop(transaction);
        let data = folder.join(DATA_FILE);
        Ok(Self {
            digest: cache.digest(folder, &[(DATA_FILE, &data)])?,
            data,
            environment,
            images,
            files,
        })
    }

    fn read_file(&self, file: usize) -> Result<Cow<'_, [u8]>, ReadFailure> {
        if let Some(refused) = self.files.refused(file) {
            return Err(refused.clone().into());
        }
        check_size(self.bytes(file))?;
        let failed = |error| match error {
            heed::Error::Io(error) => ReadFailure::of_reader(&self.data, error),
            error => unreadable(error).into(),
        };
        let transaction = self.environment.read_txn().map_err(failed)?;
        let key = self.files.name(file).as_bytes();
        match self.images.get(&transaction, key).map_err(failed)? {
            Some(bytes) => Ok(Cow::Owned(bytes.to_vec())),
            None => Err(unreadable("the database has lost its key").into()),
        }
    }
}

impl Store for LmdbStore {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn name(&self, file: usize) -> &str {
        self.files.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        self.files.place(file).into()
    }

    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let read = files.iter().map(|file| self.read_file(*file));
        read.map(sort_out).collect()
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}
