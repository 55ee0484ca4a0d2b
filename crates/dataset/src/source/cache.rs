//! The digest of a source's content, remembered file by file so that a large source is hashed once.
//!
//! Each source has a file of its own in the cache, written only where something was hashed or has gone. A source's
//! files may be given in parts, such as the splits of a data set: what is known of the others stays.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use patchwork_core::Digest;
use patchwork_core::file_error::FileError;
use rayon::prelude::*;

use super::cache_file::{CacheFile, FileState, Known};
use super::listing::digest_listing;
use crate::error::DatasetError;

/// How long hashing runs before its results are saved: an interrupted one resumes from there.
const SAVE_EVERY: Duration = Duration::from_mins(1);

/// Where digests of source files are remembered, by path, size, inode and times.
#[derive(Clone, Debug, Default)]
pub struct SourceCache {
    /// The folder of the cache's files, made when it is needed; with `None` every file is hashed each time.
    pub folder: Option<PathBuf>,
    /// Hash every file again, whatever the cache says.
    pub rehash: bool,
}

impl SourceCache {
    /// The digest over (key, size, content digest) of files of a source, in the order given, each with its key.
    ///
    /// # Errors
    /// [`DatasetError::File`] where a file cannot be read.
    pub fn digest(
        &self,
        source: &Path,
        files: &[(String, PathBuf)],
    ) -> Result<Digest, DatasetError> {
        let states = self.states(source, files, SAVE_EVERY)?;
        let listing = files
            .iter()
            .zip(&states)
            .map(|((key, _), state)| (key.as_str(), state.bytes, state.digest));
        Ok(digest_listing(listing))
    }

    fn states(
        &self,
        source: &Path,
        files: &[(String, PathBuf)],
        save_every: Duration,
    ) -> Result<Vec<FileState>, FileError> {
        let Some(folder) = &self.folder else {
            return files
                .par_iter()
                .map(|(_, path)| FileState::of(path))
                .collect();
        };
        let root = canonical(source)?;
        let file = CacheFile::of(folder, &root);
        let known = if self.rehash {
            Known::new()
        } else {
            file.load()
        };
        let unsaved = Unsaved::new(&file, save_every);
        let states = files
            .par_iter()
            .map(|(_, path)| {
                let name = name_in(source, path)?;
                if let Some(state) = known.get(&*name)
                    && state.is_of(path)?
                {
                    return Ok(*state);
                }
                let state = FileState::of(path)?;
                unsaved.add(name.into_owned(), state)?;
                Ok(state)
            })
            .collect::<Result<Vec<FileState>, FileError>>()?;
        // Where others come as some go, these are found the next time.
        let gone = if known.len() > files.len() {
            gone(source, &root, files, known)?
        } else {
            Vec::new()
        };
        unsaved.save_rest(&gone)?;
        Ok(states)
    }
}

/// A file's name in the cache: its path below the source, or else its whole path.
fn name_in<'a>(source: &Path, path: &'a Path) -> Result<Cow<'a, str>, FileError> {
    match path.strip_prefix(source) {
        Ok(below) if !below.as_os_str().is_empty() => Ok(below.to_string_lossy()),
        _ => Ok(canonical(path)?.to_string_lossy().into_owned().into()),
    }
}

fn canonical(path: &Path) -> Result<PathBuf, FileError> {
    path.canonicalize()
        .map_err(|cause| FileError::new("open", path, cause))
}

/// The names of known files that are not among those given and are not what they were.
fn gone(
    source: &Path,
    root: &Path,
    files: &[(String, PathBuf)],
    known: Known,
) -> Result<Vec<String>, FileError> {
    let given = files
        .iter()
        .map(|(_, path)| name_in(source, path))
        .collect::<Result<HashSet<Cow<'_, str>>, FileError>>()?;
    Ok(known
        .into_iter()
        .filter(|(name, state)| {
            let is_there = || state.is_of(&root.join(name)).is_ok_and(|is| is);
            !given.contains(name.as_str()) && !is_there()
        })
        .map(|(name, _)| name)
        .collect())
}

/// What was hashed and is not in the cache's file yet.
struct Unsaved<'a> {
    file: &'a CacheFile,
    save_every: Duration,
    hashed: Mutex<Hashed>,
}

struct Hashed {
    files: Vec<(String, FileState)>,
    saved: Instant,
}

impl<'a> Unsaved<'a> {
    fn new(file: &'a CacheFile, save_every: Duration) -> Self {
        Self {
            file,
            save_every,
            hashed: Mutex::new(Hashed {
                files: Vec::new(),
                saved: Instant::now(),
            }),
        }
    }

    /// Adds a file, and saves what there is when it is time to.
    fn add(&self, name: String, state: FileState) -> Result<(), FileError> {
        let mut hashed = self.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        hashed.files.push((name, state));
        if hashed.saved.elapsed() < self.save_every {
            return Ok(());
        }
        hashed.saved = Instant::now();
        let files = std::mem::take(&mut hashed.files);
        // Other threads keep hashing while this one writes.
        drop(hashed);
        self.file.change(files, &[])
    }

    /// Saves what is left, without files that have gone.
    fn save_rest(self, gone: &[String]) -> Result<(), FileError> {
        let hashed = self
            .hashed
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if hashed.files.is_empty() && gone.is_empty() {
            return Ok(());
        }
        self.file.change(hashed.files, gone)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use patchwork_core::durable;

    use super::*;

    /// A folder `source`, and the cache beside it.
    struct Case(tempfile::TempDir);

    impl Case {
        fn new(names: &[&str]) -> Self {
            let case = Self(tempfile::tempdir().unwrap());
            fs::create_dir(case.source()).unwrap();
            for name in names {
                case.write(name, "old");
            }
            case
        }

        fn source(&self) -> PathBuf {
            self.0.path().join("source")
        }

        fn cache(&self, rehash: bool) -> SourceCache {
            SourceCache {
                folder: Some(self.0.path().join("cache/sources")),
                rehash,
            }
        }

        /// The one file of the cache.
        fn file(&self) -> PathBuf {
            let mut files = durable::list(&self.0.path().join("cache/sources")).unwrap();
            files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
            assert_eq!(files.len(), 1);
            files.remove(0)
        }

        /// Every file has one time of modification, also where another file takes its place.
        fn write(&self, name: &str, content: &str) {
            let path = self.source().join(name);
            fs::write(&path, content).unwrap();
            set_time(&path, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        }

        fn states(&self, names: &[&str]) -> Vec<FileState> {
            self.states_with(&self.cache(false), names, SAVE_EVERY)
                .unwrap()
        }

        fn states_with(
            &self,
            cache: &SourceCache,
            names: &[&str],
            save_every: Duration,
        ) -> Result<Vec<FileState>, FileError> {
            let files: Vec<(String, PathBuf)> = names
                .iter()
                .map(|name| ((*name).to_owned(), self.source().join(name)))
                .collect();
            cache.states(&self.source(), &files, save_every)
        }

        fn remembered(&self) -> Vec<String> {
            let folder = self.0.path().join("cache/sources");
            let root = canonical(&self.source()).unwrap();
            CacheFile::of(&folder, &root).load().into_keys().collect()
        }
    }

    fn set_time(path: &Path, time: SystemTime) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    fn time(path: &Path) -> SystemTime {
        fs::metadata(path).unwrap().modified().unwrap()
    }

    #[test]
    fn parts_of_a_source_do_not_forget_each_other() {
        let case = Case::new(&["a", "b", "c"]);
        let (first, second) = (case.states(&["a", "b"]), case.states(&["c"]));
        assert_eq!(case.remembered(), ["a", "b", "c"]);
        assert_eq!(case.states(&["a", "b"]), first);
        assert_eq!(case.states(&["c"]), second);

        // What has gone or changed is forgotten, and the rest of the part stays.
        fs::remove_file(case.source().join("a")).unwrap();
        case.write("c", "longer");
        assert_ne!(case.states(&["c"]), second);
        assert_eq!(case.remembered(), ["b", "c"]);
        case.write("b", "longer");
        case.states(&["c"]);
        assert_eq!(case.remembered(), ["c"]);
    }

    #[test]
    fn another_file_of_the_same_size_and_time_is_hashed_again() {
        let case = Case::new(&["a", "b"]);
        // Before 1970, too.
        set_time(
            &case.source().join("b"),
            SystemTime::UNIX_EPOCH - Duration::from_hours(24),
        );
        let old = case.states(&["a", "b"]);
        // What is remembered holds as long as nothing happens to the file.
        let file = case.file();
        set_time(&file, SystemTime::UNIX_EPOCH);
        assert_eq!(case.states(&["a", "b"]), old);
        assert_eq!(time(&file), SystemTime::UNIX_EPOCH);

        for (name, seconds) in [("a", 1), ("b", -86_400_i64)] {
            let (path, beside) = (case.source().join(name), case.source().join("beside"));
            fs::write(&beside, "new").unwrap();
            let time = Duration::from_secs(seconds.unsigned_abs());
            let time = match seconds {
                0.. => SystemTime::UNIX_EPOCH + time,
                _ => SystemTime::UNIX_EPOCH - time,
            };
            set_time(&beside, time);
            fs::rename(&beside, &path).unwrap();
        }
        let new = case.states(&["a", "b"]);
        for (old, new) in old.iter().zip(&new) {
            assert_eq!(old.bytes, new.bytes);
            assert_eq!(new.digest, Digest::of(b"new"));
        }
        // The same file, written again within one time.
        case.write("a", "odd");
        assert_eq!(case.states(&["a"])[0].digest, Digest::of(b"odd"));
    }

    #[test]
    fn a_source_that_did_not_change_leaves_the_cache_as_it_is() {
        let case = Case::new(&["a", "b"]);
        let states = case.states(&["a", "b"]);
        let file = case.file();
        set_time(&file, SystemTime::UNIX_EPOCH);
        assert_eq!(case.states(&["a", "b"]), states);
        assert_eq!(case.states(&["a"]), states[..1]);
        assert_eq!(time(&file), SystemTime::UNIX_EPOCH);
        case.write("b", "longer");
        assert_ne!(case.states(&["a", "b"]), states);
        assert_ne!(time(&file), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn an_interrupted_hashing_goes_on_from_what_was_saved() {
        let one_thread = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        for (save_every, saved) in [
            (Duration::ZERO, vec!["a", "b"]),
            (Duration::MAX, Vec::new()),
        ] {
            let case = Case::new(&["a", "b"]);
            let cache = case.cache(false);
            let stopped =
                one_thread.install(|| case.states_with(&cache, &["a", "b", "missing"], save_every));
            assert!(stopped.is_err());
            assert_eq!(case.remembered(), saved);
        }
    }

    #[test]
    fn a_damaged_cache_is_made_again() {
        let case = Case::new(&["a", "b"]);
        let states = case.states(&["a", "b"]);
        let whole = fs::read(case.file()).unwrap();
        for damaged in [&b""[..], b"no JSON", &whole[..whole.len() / 2]] {
            fs::write(case.file(), damaged).unwrap();
            assert_eq!(case.states(&["a", "b"]), states);
            assert_eq!(fs::read(case.file()).unwrap(), whole);
        }
    }

    #[test]
    fn an_archive_and_the_lists_beside_it_are_known_by_their_paths() {
        let case = Case::new(&["a", "list", "other"]);
        let archive = case.source().join("a");
        let cache = case.cache(false);
        for list in ["list", "other", "list"] {
            let list = case.source().join(list);
            let files = [
                ("archive".to_owned(), archive.clone()),
                ("list".to_owned(), list),
            ];
            cache.states(&archive, &files, SAVE_EVERY).unwrap();
        }
        let folder = case.0.path().join("cache/sources");
        let known = CacheFile::of(&folder, &canonical(&archive).unwrap()).load();
        let paths = ["a", "list", "other"].map(|name| canonical(&case.source().join(name)));
        let names = paths.map(|path| path.unwrap().to_str().unwrap().to_owned());
        assert!(known.into_keys().eq(names));
    }
}
