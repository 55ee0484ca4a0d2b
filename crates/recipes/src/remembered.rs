//! Digests of what plans have read, so that what was made from it is found when it is gone.
//!
//! One file in the home's cache, by path and by what was read there. The folder `sources` beside it, which the data
//! set's crate keeps, is about files that exist: it saves hashing them again.

use std::path::Path;

use patchwork_core::file_error::{self, FileError};
use patchwork_core::lock::FileLock;
use patchwork_core::{Digest, durable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

const FORMAT: &str = "patchwork.remembered/1";
const FILE: &str = "remembered.json";

#[derive(Serialize, Deserialize)]
struct Remembered {
    format: String,
    /// One for each place, path and way of reading, the newest last; those of one place have one digest.
    readings: Vec<Reading>,
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Reading {
    /// As it was typed.
    path: String,
    /// The same from the root.
    place: String,
    /// What it was read as, with the settings that say what of it.
    read_as: Value,
    digest: Digest,
}

/// Remembers, in the folder `cache`, the digest of what was read at a path.
pub(crate) fn remember(
    cache: &Path,
    path: &str,
    read_as: &Value,
    digest: Digest,
) -> Result<(), FileError> {
    let reading = Reading {
        path: path.to_owned(),
        place: place(path),
        read_as: read_as.clone(),
        digest,
    };
    if reading.is_newest_of(&load(cache).readings) {
        return Ok(());
    }
    let file = cache.join(FILE);
    let _lock = FileLock::acquire(&file.with_extension("lock"))?;
    let mut remembered = load(cache);
    let readings = &mut remembered.readings;
    readings.retain(|known| !known.is_at_place_of(&reading) || known.path != reading.path);
    for known in readings
        .iter_mut()
        .filter(|known| known.is_at_place_of(&reading))
    {
        known.digest = digest;
    }
    readings.push(reading);
    durable::write_json(&file, &remembered)
}

impl Reading {
    fn is_at_place_of(&self, other: &Self) -> bool {
        self.place == other.place && self.read_as == other.read_as
    }

    /// Whether it is known, and nothing newer at the same place or of the same path.
    fn is_newest_of(&self, readings: &[Self]) -> bool {
        let is_of_path = |known: &&Self| known.path == self.path && known.read_as == self.read_as;
        readings.iter().rfind(is_of_path) == Some(self)
            && readings
                .iter()
                .filter(|known| known.is_at_place_of(self))
                .all(|known| known.digest == self.digest)
    }
}

/// The digest of what was last read at a path; where nothing was ever read at that place, at the same path from
/// another folder that is gone, as after a project's move to another machine.
pub(crate) fn recall(cache: &Path, path: &str, read_as: &Value) -> Option<Digest> {
    let mut readings = load(cache).readings;
    readings.retain(|reading| reading.read_as == *read_as);
    let place = place(path);
    readings
        .iter()
        .rfind(|reading| reading.place == place)
        .or_else(|| {
            let is_elsewhere = |reading: &&Reading| !Path::new(&reading.place).exists();
            let mut of_path = readings.iter().filter(|reading| reading.path == path);
            of_path.rfind(is_elsewhere)
        })
        .map(|reading| reading.digest)
}

/// A memory that is missing or damaged is an empty one.
fn load(cache: &Path) -> Remembered {
    file_error::read_json::<Remembered>(&cache.join(FILE))
        .ok()
        .filter(|remembered| remembered.format == FORMAT)
        .unwrap_or_else(|| Remembered {
            format: FORMAT.to_owned(),
            readings: Vec::new(),
        })
}

fn place(path: &str) -> String {
    std::path::absolute(path).map_or_else(
        |_| path.to_owned(),
        |place| place.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_read_last_is_remembered_by_place_and_by_path() {
        let cache = tempfile::tempdir().unwrap();
        let cache = cache.path();
        let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
        let (all, part) = (json!({ "split": null }), json!({ "split": "test" }));
        assert_eq!(recall(cache, "data/raw.zip", &all), None);
        for digest in [first, second, second] {
            remember(cache, "data/raw.zip", &all, digest).unwrap();
        }
        assert_eq!(recall(cache, "data/raw.zip", &all), Some(second));
        assert_eq!(recall(cache, &place("data/raw.zip"), &all), Some(second));
        assert_eq!(recall(cache, "data/raw.zip", &part), None);
        assert_eq!(recall(cache, "raw.zip", &all), None);

        // Typed in full, it is one place all the same, and is known as it was typed before, too.
        remember(cache, &place("data/raw.zip"), &all, second).unwrap();
        remember(cache, &place("data/raw.zip"), &all, first).unwrap();
        assert_eq!(recall(cache, "data/raw.zip", &all), Some(first));
        remember(cache, "data/raw.zip", &all, second).unwrap();
        assert_eq!(recall(cache, &place("data/raw.zip"), &all), Some(second));

        // As on a machine that the project was copied to: the same path below another folder.
        let file = cache.join(FILE);
        let text = file_error::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace(&place("data"), "/elsewhere/data")).unwrap();
        assert_eq!(recall(cache, "data/raw.zip", &all), Some(second));
        assert_eq!(recall(cache, &place("data/raw.zip"), &all), None);

        std::fs::write(&file, "no JSON").unwrap();
        assert_eq!(recall(cache, "data/raw.zip", &all), None);
        remember(cache, "data/raw.zip", &all, first).unwrap();
        assert_eq!(recall(cache, "data/raw.zip", &all), Some(first));
    }
}
