//! CIFAR-10 and CIFAR-100 as distributed: the Python or the binary version, in its archive or unpacked.

use std::path::Path;

use patchwork_core::Digest;
use patchwork_core::file_error::{self, FileError};

use super::batches::Batch;
use super::cache::SourceCache;
use super::detect::{Look, PathKind};
use super::format::{Content, Request, SourceFormat};
use super::pixels::PixelSource;
use super::raw::PixelFormat;
use super::settings::{Format, Split};
use super::tar_compression::Compression;
use super::tar_walk::walk;
use crate::error::DatasetError;

const SIDE: u32 = 32;
const PLANE: usize = (SIDE * SIDE) as usize;
const IMAGE: usize = 3 * PLANE;

/// The largest file of a distribution is 164 MB.
const MAX_BYTES: u64 = 256 << 20;

/// The files of both versions of CIFAR-10, without their folders.
const TEN_FILES: [&str; 7] = [
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
    "test_batch",
    "batches.meta",
];
const TEN_BINARY_NAMES: &str = "batches.meta.txt";
const HUNDRED_FILES: [&str; 3] = ["train", "test", "meta"];
const HUNDRED_BINARY_NAMES: &str = "fine_label_names.txt";

/// The folders in the archives.
const FOLDERS: [(&str, Format); 4] = [
    ("cifar-10-batches-py", Format::Cifar10),
    ("cifar-10-batches-bin", Format::Cifar10),
    ("cifar-100-python", Format::Cifar100),
    ("cifar-100-binary", Format::Cifar100),
];

/// One of the two data sets.
pub(super) struct Cifar(Format);

/// CIFAR-10.
pub(super) const TEN: Cifar = Cifar(Format::Cifar10);

/// CIFAR-100.
pub(super) const HUNDRED: Cifar = Cifar(Format::Cifar100);

impl SourceFormat for Cifar {
    fn format(&self) -> Format {
        self.0
    }

    fn splits(&self) -> &'static [Split] {
        &[Split::All, Split::Train, Split::Test]
    }

    fn usual_split(&self) -> Split {
        Split::Train
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        let is_of = |name: &str| format_of(name) == Some(self.0);
        Ok(match &look.kind {
            PathKind::Folder => {
                let named = look.path.file_name().unwrap_or_default().to_string_lossy();
                let within = |(folder, of): (&str, Format)| of == self.0 && look.has(folder);
                is_of(&named) || FOLDERS.into_iter().any(within)
            }
            PathKind::Tar(names) => names.iter().any(|name| is_of(name)),
            PathKind::Zip | PathKind::File => false,
        })
    }

    fn open(&self, request: &Request<'_>) -> Result<Content, DatasetError> {
        let (split, labelled) = (request.split, request.is_labelled());
        let source = open(&request.place, self.0, split, labelled, request.cache)?;
        Ok(Content::Pixels(Box::new(source)))
    }
}

/// Which of the data sets a path in an archive belongs to.
fn format_of(name: &str) -> Option<Format> {
    FOLDERS
        .into_iter()
        .find(|(folder, _)| name.split('/').any(|part| part == *folder))
        .map(|(_, format)| format)
}

/// Opens a distribution: an archive, its folder, or the folder above that.
fn open(
    path: &Path,
    format: Format,
    split: Split,
    labelled: bool,
    cache: &SourceCache,
) -> Result<PixelSource, DatasetError> {
    let malformed = |problem: String| DatasetError::Archive {
        path: path.to_owned(),
        problem,
    };
    let files = if path.is_dir() {
        from_folder(path, format)?
    } else {
        from_archive(path)?
    };
    if files.is_empty() {
        return Err(malformed(format!(
            "it holds none of the files of {}",
            format.name()
        )));
    }
    // In the folder's case the digest is taken of what was read: the files are few and small.
    let digest = if path.is_dir() {
        super::listing::digest_listing(
            files
                .iter()
                .map(|(name, bytes)| (name.as_str(), bytes.len() as u64, Digest::of(bytes))),
        )
    } else {
        cache.digest(path, &[("archive".to_owned(), path.to_owned())])?
    };
    let names = class_names(&files, format).map_err(malformed)?;
    let mut source = PixelSource::new(SIDE, PixelFormat::Rgb, names, labelled, digest);
    for (name, bytes) in &files {
        if !is_of_split(name, split) {
            if is_of_split(name, Split::All) {
                let images = images_in(name, bytes, format);
                source.leave_out(images.map_err(malformed)?);
            }
            continue;
        }
        let added = if name.strip_suffix(".bin").is_some() {
            add_binary(&mut source, name, bytes, format)
        } else {
            add_python(&mut source, name, bytes, format)
        };
        added.map_err(|problem| malformed(format!("its file `{name}`: {problem}")))?;
    }
    if super::raw::Source::is_empty(&source) {
        return Err(malformed(format!(
            "it has no images of the split `{}`",
            split.name()
        )));
    }
    Ok(source)
}

/// The distribution's files by their names without folders, sorted.
type Files = Vec<(String, Vec<u8>)>;

fn from_folder(folder: &Path, format: Format) -> Result<Files, DatasetError> {
    let inner = FOLDERS
        .into_iter()
        .filter(|(_, of)| *of == format)
        .map(|(name, _)| folder.join(name))
        .find(|inner| inner.is_dir());
    let folder = inner.as_deref().unwrap_or(folder);
    let mut files = Vec::new();
    for path in patchwork_core::durable::list(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if is_wanted(&name) && path.is_file() && bytes <= MAX_BYTES {
            files.push((name.into_owned(), file_error::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

fn from_archive(path: &Path) -> Result<Files, DatasetError> {
    let compression = Compression::of_tar(path)?.ok_or_else(|| DatasetError::Archive {
        path: path.to_owned(),
        problem: "it is not a tar archive".to_owned(),
    })?;
    let mut files: Files = Vec::new();
    walk(path, compression, &mut |member, content| {
        let (name, bytes) = (String::from_utf8_lossy(member.name), member.bytes);
        let file = name.rsplit('/').next().unwrap_or_default();
        if format_of(&name).is_some() && is_wanted(file) && bytes <= MAX_BYTES {
            let mut read = Vec::new();
            content
                .read_to_end(&mut read)
                .map_err(|error| FileError::new("read", path, error))?;
            files.push((file.to_owned(), read));
        }
        Ok(())
    })?;
    files.sort();
    Ok(files)
}

/// Whether a file of that name is one of a distribution's.
fn is_wanted(file: &str) -> bool {
    let stem = file.strip_suffix(".bin").unwrap_or(file);
    TEN_FILES.contains(&stem)
        || HUNDRED_FILES.contains(&stem)
        || [TEN_BINARY_NAMES, HUNDRED_BINARY_NAMES].contains(&file)
}

/// Whether a file holds images of a split; those with names hold none.
fn is_of_split(file: &str, split: Split) -> bool {
    let stem = file.strip_suffix(".bin").unwrap_or(file);
    let of = match stem {
        "test_batch" | "test" => Split::Test,
        "train" => Split::Train,
        _ if stem.starts_with("data_batch_") => Split::Train,
        _ => return false,
    };
    split == Split::All || split == of
}

/// How many images a file of a distribution holds.
fn images_in(name: &str, bytes: &[u8], format: Format) -> Result<u64, String> {
    if name.strip_suffix(".bin").is_some() {
        let row = IMAGE + if format == Format::Cifar100 { 2 } else { 1 };
        return Ok((bytes.len() / row) as u64);
    }
    let batch = Batch::read(bytes).map_err(|problem| format!("its file `{name}`: {problem}"))?;
    Ok((batch.array("data").map_or(0, <[u8]>::len) / IMAGE) as u64)
}

fn class_names(files: &Files, format: Format) -> Result<Vec<String>, String> {
    let (table, key, text, count) = match format {
        Format::Cifar100 => ("meta", "fine_label_names", HUNDRED_BINARY_NAMES, 100),
        _ => ("batches.meta", "label_names", TEN_BINARY_NAMES, 10),
    };
    let find = |wanted: &str| files.iter().find(|(name, _)| name == wanted);
    if let Some((name, bytes)) = find(table) {
        let batch =
            Batch::read(bytes).map_err(|problem| format!("its file `{name}`: {problem}"))?;
        if let Some(names) = batch.texts(key) {
            return Ok(names);
        }
    }
    if let Some((_, bytes)) = find(text) {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        return Ok(lines.map(str::to_owned).collect());
    }
    Ok((0..count).map(|class| class.to_string()).collect())
}

fn add_python(
    source: &mut PixelSource,
    file: &str,
    bytes: &[u8],
    format: Format,
) -> Result<(), String> {
    let batch = Batch::read(bytes)?;
    let missing = |key: &str| format!("it has no sound `{key}`");
    let data = batch.array("data").ok_or_else(|| missing("data"))?;
    let key = match format {
        Format::Cifar100 => "fine_labels",
        _ => "labels",
    };
    let labels = batch.integers(key).ok_or_else(|| missing(key))?;
    let names = batch.texts("filenames").unwrap_or_default();
    if data.len() != labels.len() * IMAGE {
        return Err(format!(
            "it has {} bytes of pixels for {} labels",
            data.len(),
            labels.len()
        ));
    }
    for (index, (planes, label)) in data.chunks_exact(IMAGE).zip(labels).enumerate() {
        let key = match names.get(index) {
            Some(name) => format!("{file}/{name}"),
            None => format!("{file}/{index}"),
        };
        source.push(key, label, &interleave(planes));
    }
    Ok(())
}

/// Rows of a label (two for CIFAR-100, the coarse one first) and the planes of an image.
fn add_binary(
    source: &mut PixelSource,
    file: &str,
    bytes: &[u8],
    format: Format,
) -> Result<(), String> {
    let labels = match format {
        Format::Cifar100 => 2,
        _ => 1,
    };
    let rows = bytes.chunks_exact(labels + IMAGE);
    if !rows.remainder().is_empty() {
        return Err(format!(
            "its {} bytes are not a whole number of images",
            bytes.len()
        ));
    }
    for (index, row) in rows.enumerate() {
        let (labels, planes) = row.split_at(labels);
        let label = labels.last().copied().unwrap_or_default().into();
        source.push(format!("{file}/{index}"), label, &interleave(planes));
    }
    Ok(())
}

/// A plane a colour to a triple a pixel.
fn interleave(planes: &[u8]) -> Vec<u8> {
    (0..PLANE)
        .flat_map(|pixel| [0, 1, 2].map(|color| planes[color * PLANE + pixel]))
        .collect()
}
