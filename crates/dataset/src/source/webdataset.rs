//! WebDataset: tar archives, one or many as one source, in which the files of a sample share their name up to the first
//! dot: `0001.jpg` beside `0001.cls` or `0001.json`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use patchwork_core::{FileError, durable};
use serde_json::Value;

use super::account::PassedOver;
use super::detect::{Look, PathKind, first_names};
use super::files::UNLABELLED;
use super::format::{Content, Request, SourceFormat};
use super::listing::Listing;
use super::names::is_image_name;
use super::settings::{Format, Labels, Split};
use super::splits::split_of;
use super::store::{MOST_CLASSES, ReadFiles, Store, StoreLabels, is_file};
use super::tar::TarStore;
use super::tar_compression::Compression;
use super::tar_walk::{MemberKind, walk};
use crate::error::DatasetError;

pub(super) struct WebDataset;

impl SourceFormat for WebDataset {
    fn format(&self) -> Format {
        Format::WebDataset
    }

    fn splits(&self) -> &'static [Split] {
        Split::ALL
    }

    // A single archive has its images under the same names as `images`, which older pipelines read it as: it is recognised
    // only where classes are wanted that `images` cannot give.
    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        match &look.kind {
            PathKind::Folder => holds_shards(look.path),
            PathKind::Tar(names) => Ok(look.settings.labels == Labels::Source
                && names.iter().any(|name| ending(name) == "cls")),
            PathKind::Zip | PathKind::File => Ok(false),
        }
    }

    fn open(&self, request: &Request<'_>) -> Result<Content, DatasetError> {
        let store = WebDatasetStore::open(&request.place, request.split)?;
        Ok(Content::Files(Box::new(store)))
    }
}

/// Keys of a sample's JSON that hold its class.
const LABELS: [&str; 5] = ["label", "cls", "class", "class_name", "target"];

/// The largest file of a label.
const MAX_LABEL_BYTES: u64 = 1 << 20;

struct WebDatasetStore {
    shards: Vec<Shard>,
    names: Listing<Place>,
    passed_over: PassedOver,
}

struct Shard {
    path: PathBuf,
    /// Its name in the digest.
    name: String,
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
    let name = name_of(path);
    [".tar", ".tar.gz", ".tgz", ".tar.zst"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Whether a folder holds tar archives of images and nothing but small files beside them: anything else is a folder in
/// which an archive happens to lie.
fn holds_shards(folder: &Path) -> Result<bool, DatasetError> {
    let describes = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        matches!(ending, Some("txt" | "json" | "md" | "idx" | "index"))
    };
    let mut first = None;
    for path in durable::list(folder)? {
        if is_tar_name(&path) && is_file(&path).unwrap_or(true) {
            first.get_or_insert(path);
        } else if !(describes(&path) && path.is_file() || name_of(&path).starts_with('.')) {
            return Ok(false);
        }
    }
    let Some(first) = first else {
        return Ok(false);
    };
    let Some(compression) = Compression::of_tar(&first)? else {
        return Ok(false);
    };
    let names = first_names(&first, compression)?;
    Ok(names.iter().any(|name| is_image_name(name.as_bytes())))
}

/// The split of an archive, by the words in its name: `train` in `imagenet-train-0003.tar`.
fn split_of_shard(path: &Path) -> Option<Split> {
    let name = name_of(path);
    name.split(|letter: char| !letter.is_ascii_alphabetic())
        .find_map(split_of)
}

impl WebDatasetStore {
    /// Lists the images of an archive, or of those in a folder that are of a split.
    fn open(place: &Path, split: Split) -> Result<Self, DatasetError> {
        let mut store = Self {
            shards: Vec::new(),
            names: Listing::default(),
            passed_over: PassedOver::default(),
        };
        if place.is_file() {
            // Not by its own name, so that an archive can be renamed.
            store.add(place, "webdataset", "")?;
            return Ok(store);
        }
        for path in durable::list(place)? {
            if !is_tar_name(&path) || !is_file(&path)? {
                store.passed_over.add("files beside the archives");
            } else if split != Split::All && split_of_shard(&path) != Some(split) {
                store.passed_over.add("archives of another split");
            } else {
                let name = name_of(&path);
                store.add(&path, &name, &format!("{name}/"))?;
            }
        }
        Ok(store)
    }

    /// Adds an archive, whose images' names get a prefix.
    fn add(&mut self, path: &Path, name: &str, prefix: &str) -> Result<(), DatasetError> {
        let compression = Compression::of_tar(path)?.ok_or_else(|| DatasetError::Archive {
            path: path.to_owned(),
            problem: "it is not a tar archive".to_owned(),
        })?;
        let files = TarStore::open(path, compression)?;
        let shard = self.shards.len() as u32;
        for file in 0..files.len() {
            let name = format!("{prefix}{}", files.name(file));
            let file = file as u32;
            self.names.push(name.as_bytes(), Place { shard, file });
        }
        self.passed_over.merge(files.passed_over());
        self.shards.push(Shard {
            path: path.to_owned(),
            name: name.to_owned(),
            compression,
            files,
        });
        Ok(())
    }
}

/// What the files of a sample have in common: their path up to the first dot of the file's name.
fn sample(name: &str) -> &str {
    let file = name.rfind('/').map_or(0, |slash| slash + 1);
    let end = name[file..].find('.').map_or(name.len(), |dot| file + dot);
    &name[..end]
}

/// What a file's name ends in, without the dot.
fn ending(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
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
        let ending = ending(&name);
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
        for shard in &self.shards {
            let labels = labels_of(shard).map_err(|error| error.to_string())?;
            let files = (0..shard.files.len()).map(|file| shard.files.name(file));
            of_files.extend(files.map(|name| labels.get(sample(name)).cloned()));
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
        let of_shard = |shard: &Shard| {
            let name = name_of(&shard.path);
            let warnings = shard.files.warnings().into_iter();
            warnings.map(move |warning| format!("`{name}`: {warning}"))
        };
        self.shards.iter().flat_map(of_shard).collect()
    }

    fn hashed(&self) -> Vec<(String, PathBuf)> {
        let shards = self.shards.iter();
        shards
            .map(|shard| (shard.name.clone(), shard.path.clone()))
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
    fn a_sample_is_named_up_to_the_first_dot_and_its_label_read_from_either_file() {
        assert_eq!(sample("a.b/0001.left.jpg"), "a.b/0001");
        assert_eq!(label("cls", b" 7\n"), Some(Label::Number(7)));
        assert_eq!(label("cls", b"cat"), Some(Label::Text("cat".to_owned())));
        assert_eq!(label("json", b"{\"label\": 3}"), Some(Label::Number(3)));
        assert_eq!(label("json", b"{\"caption\": \"x\"}"), None);
        for (name, split) in [
            ("imagenet1k-train-0001.tar", Some(Split::Train)),
            ("val_3.tar.gz", Some(Split::Validation)),
            ("training.tar", Some(Split::Train)),
            ("contest-0001.tar", None),
        ] {
            assert_eq!(split_of_shard(Path::new(name)), split, "{name}");
        }
    }
}
