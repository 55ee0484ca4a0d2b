//! WebDataset: tar archives, one or many as one source, in which the files of a sample have one name and other endings:
//! `0001.jpg` beside `0001.cls` or `0001.json`.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use patchwork_core::{FileError, durable};
use serde_json::Value;

use super::account::PassedOver;
use super::files::UNLABELLED;
use super::listing::Listing;
use super::store::{MOST_CLASSES, ReadFiles, Store, StoreLabels};
use super::tar::TarStore;
use super::tar_walk::{Compression, MemberKind, walk};
use crate::error::DatasetError;

/// Keys of a sample's JSON that hold its class.
const LABELS: [&str; 5] = ["label", "cls", "class", "class_name", "target"];

/// The largest file of a label.
const MAX_LABEL_BYTES: u64 = 1 << 20;

pub(super) struct WebDatasetStore {
    shards: Vec<Shard>,
    names: Listing<Place>,
    passed_over: PassedOver,
}

struct Shard {
    path: PathBuf,
    compression: Compression,
    files: TarStore,
}

/// A file of a shard.
#[derive(Clone, Copy)]
struct Place {
    shard: u32,
    file: u32,
}

/// Whether a file is called as tar archives are.
fn is_tar_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".tar", ".tar.gz", ".tgz", ".tar.zst"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

/// Whether a folder holds shards: tar archives, and no other files than those that say something about them.
pub(super) fn is_there(folder: &Path) -> Result<bool, DatasetError> {
    let listed = durable::list(folder)?;
    let files = || listed.iter().filter(|path| path.is_file());
    let says_something = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("txt" | "json" | "md" | "idx" | "index"))
    };
    Ok(files().any(|path| is_tar_name(path))
        && files().all(|path| is_tar_name(path) || says_something(path)))
}

/// Whether a file in an archive is a label as WebDataset has them, which no other archive of images does.
pub(super) fn is_label_name(name: &str) -> bool {
    name.strip_suffix(".cls").is_some()
}

/// The archives that a path stands for: itself or those in its folder.
fn shards(path: &Path) -> Result<(Vec<PathBuf>, PassedOver), DatasetError> {
    let mut passed_over = PassedOver::default();
    if path.is_file() {
        return Ok((vec![path.to_owned()], passed_over));
    }
    let mut shards = Vec::new();
    for file in durable::list(path)? {
        if is_tar_name(&file) && file.is_file() {
            shards.push(file);
        } else {
            passed_over.add("files beside the archives");
        }
    }
    Ok((shards, passed_over))
}

impl WebDatasetStore {
    /// Lists the images of archives.
    pub(super) fn open(path: &Path) -> Result<Self, DatasetError> {
        let (paths, passed_over) = shards(path)?;
        let mut store = Self {
            shards: Vec::new(),
            names: Listing::default(),
            passed_over,
        };
        for path in paths {
            let compression = Compression::of_tar(&path)?.ok_or_else(|| DatasetError::Archive {
                path: path.clone(),
                problem: "it is no tar archive".to_owned(),
            })?;
            let files = TarStore::open(&path, compression)?;
            let stem = stem(&path);
            for file in 0..files.len() {
                let place = Place {
                    shard: store.shards.len() as u32,
                    file: file as u32,
                };
                let name = format!("{stem}/{}", files.name(file));
                store.names.push(name.as_bytes(), place);
            }
            store.passed_over.merge(files.passed_over());
            store.shards.push(Shard {
                path,
                compression,
                files,
            });
        }
        Ok(store)
    }
}

/// A file's name without the endings of archives.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = name.find(".tar").or_else(|| name.find(".tgz"));
    name[..end.unwrap_or(name.len())].to_owned()
}

/// What the files of a sample have in common: their path up to the first dot of the file's name.
fn sample(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[file..].find('.').map_or(name.len(), |dot| file + dot);
    &name[..end]
}

/// A class as a sample's files name it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Number(i64),
    Text(String),
}

/// The label in a `.cls` file (a number or a name) or in an object of JSON.
fn label(ending: &str, content: &[u8]) -> Option<Label> {
    if ending == "cls" {
        let text = String::from_utf8_lossy(content).trim().to_owned();
        return match text.parse() {
            Ok(number) => Some(Label::Number(number)),
            Err(_) if text.is_empty() => None,
            Err(_) => Some(Label::Text(text)),
        };
    }
    let object: Value = serde_json::from_slice(content).ok()?;
    LABELS.iter().find_map(|key| match object.get(key)? {
        Value::Number(number) => number.as_i64().map(Label::Number),
        Value::String(text) if !text.is_empty() => Some(Label::Text(text.clone())),
        _ => None,
    })
}

/// The labels of a shard's samples; that of a `.cls` file counts before one in JSON.
fn labels_of(shard: &Shard) -> Result<HashMap<String, Label>, DatasetError> {
    let mut found: HashMap<String, (bool, Label)> = HashMap::new();
    walk(&shard.path, shard.compression, &mut |member, content| {
        let name = String::from_utf8_lossy(member.name);
        let ending = name.rsplit('.').next().unwrap_or_default();
        let is_class = ending == "cls";
        if member.kind != MemberKind::File
            || !(is_class || ending == "json")
            || member.bytes > MAX_LABEL_BYTES
        {
            return Ok(());
        }
        let mut bytes = Vec::new();
        content
            .read_to_end(&mut bytes)
            .map_err(|error| FileError::new("read", &shard.path, error))?;
        let sample = sample(&name);
        if let Some(label) = label(ending, &bytes)
            && (is_class || !found.get(sample).is_some_and(|(is_class, _)| *is_class))
        {
            found.insert(sample.to_owned(), (is_class, label));
        }
        Ok(())
    })?;
    let labels = found.into_iter();
    Ok(labels.map(|(sample, (_, label))| (sample, label)).collect())
}

impl Store for WebDatasetStore {
    fn len(&self) -> usize {
        self.names.len()
    }

    fn name(&self, file: usize) -> &str {
        self.names.name(file)
    }

    fn bytes(&self, file: usize) -> u64 {
        let Place { shard, file } = self.names.place(file);
        self.shards[shard as usize].files.bytes(file as usize)
    }

    fn read(&self, files: &[usize]) -> ReadFiles<'_> {
        let places: Vec<Place> = files.iter().map(|file| self.names.place(*file)).collect();
        let mut read = Vec::with_capacity(files.len());
        for group in places.chunk_by(|a, b| a.shard == b.shard) {
            let files: Vec<usize> = group.iter().map(|place| place.file as usize).collect();
            read.extend(self.shards[group[0].shard as usize].files.read(&files)?);
        }
        Ok(read)
    }

    fn labels(&self) -> Result<Option<StoreLabels>, String> {
        let mut of_files = Vec::with_capacity(self.names.len());
        for (number, shard) in self.shards.iter().enumerate() {
            let labels = labels_of(shard).map_err(|error| error.to_string())?;
            for file in 0..shard.files.len() {
                debug_assert_eq!(self.names.place(of_files.len()).shard as usize, number);
                of_files.push(labels.get(sample(shard.files.name(file))).cloned());
            }
        }
        let are_numbers = of_files
            .iter()
            .flatten()
            .all(|label| matches!(label, Label::Number(_)));
        let (labels, class_names) = if are_numbers {
            numbered(&of_files)?
        } else {
            named(&of_files)
        };
        Ok(Some(StoreLabels {
            labels,
            class_names,
            by: "`.cls` and `.json` files".to_owned(),
            reads_more: false,
        }))
    }

    fn passed_over(&self) -> &PassedOver {
        &self.passed_over
    }

    fn reads_more(&self) -> bool {
        false
    }

    fn warnings(&self) -> Vec<String> {
        let shards = self.shards.iter();
        shards
            .flat_map(|shard| {
                let of = stem(&shard.path);
                let warnings = shard.files.warnings().into_iter();
                warnings.map(move |warning| format!("`{of}`: {warning}"))
            })
            .collect()
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        let shards = self.shards.iter();
        shards
            .map(|shard| (stem(&shard.path), shard.path.clone()))
            .collect()
    }
}

/// Classes by their numbers.
fn numbered(labels: &[Option<Label>]) -> Result<(Vec<i32>, Vec<String>), String> {
    let numbers: Vec<i64> = labels
        .iter()
        .map(|label| match label {
            Some(Label::Number(number)) => *number,
            _ => UNLABELLED.into(),
        })
        .collect();
    let most = numbers.iter().copied().max().unwrap_or(-1);
    if most >= MOST_CLASSES {
        return Err(format!(
            "a label is {most}, and class numbers are below {MOST_CLASSES}"
        ));
    }
    let names = (0..=most).map(|class| class.to_string()).collect();
    let labels = numbers.iter().map(|number| i64::max(-1, *number) as i32);
    Ok((labels.collect(), names))
}

/// Classes in the order of their names; numbers among names are names.
fn named(labels: &[Option<Label>]) -> (Vec<i32>, Vec<String>) {
    let name = |label: &Label| match label {
        Label::Number(number) => number.to_string(),
        Label::Text(text) => text.clone(),
    };
    let names: BTreeSet<String> = labels.iter().flatten().map(name).collect();
    let ranks: HashMap<&String, i32> = names.iter().zip(0..).collect();
    let labels = labels
        .iter()
        .map(|label| (label.as_ref()).map_or(UNLABELLED, |label| ranks[&name(label)]));
    (labels.collect(), names.iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_labels_are_told_apart() {
        assert_eq!(sample("a.b/0001.left.jpg"), "a.b/0001");
        assert_eq!(label("cls", b" 7\n"), Some(Label::Number(7)));
        assert_eq!(label("cls", b"cat"), Some(Label::Text("cat".to_owned())));
        assert_eq!(label("json", b"{\"label\": 3}"), Some(Label::Number(3)));
        assert_eq!(label("json", b"{\"caption\": \"x\"}"), None);
    }
}
