//! MNIST and those that share its files (FashionMNIST, KMNIST): IDX, plain or compressed by gzip.

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use patchwork_core::file_error::{self, FileError};

use super::cache::SourceCache;
use super::detect::{Look, PathKind};
use super::format::{Content, Request, SourceFormat};
use super::pixels::PixelSource;
use super::raw::PixelFormat;
use super::settings::{Format, Split};
use super::store::starts_with;
use crate::error::DatasetError;

/// The largest file unpacked is 47 MB; EMNIST's is 550.
const MAX_BYTES: u64 = 640 << 20;

pub(super) struct Mnist;

impl SourceFormat for Mnist {
    fn format(&self) -> Format {
        Format::Mnist
    }

    fn splits(&self) -> &'static [Split] {
        &[Split::All, Split::Train, Split::Test]
    }

    fn usual_split(&self) -> Split {
        Split::Train
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        match look.kind {
            PathKind::Folder => Ok(holds_images(look.path)),
            PathKind::File if look.path.to_string_lossy().contains("idx") => {
                Ok(starts_with(look.path, &[0, 0, 8])? || starts_with(look.path, &[0x1F, 0x8B])?)
            }
            PathKind::File | PathKind::Zip | PathKind::Tar(_) => Ok(false),
        }
    }

    fn open(&self, request: &Request<'_>) -> Result<Content, DatasetError> {
        let place = request.place.as_path();
        let folder = if place.is_dir() {
            place
        } else {
            place.parent().unwrap_or(place)
        };
        let source = open(folder, request.split, request.is_labelled(), request.cache)?;
        Ok(Content::Pixels(Box::new(source)))
    }
}

/// The names of the files of a split, without `images-idx3-ubyte`.
const PARTS: [(Split, &str, &str); 2] = [
    (Split::Train, "train", "train"),
    (Split::Test, "t10k", "test"),
];

/// A file of a folder: `train-images-idx3-ubyte`, also with a dot for its last hyphen, and `.gz`.
fn locate(folder: &Path, part: &str, kind: &str) -> Option<PathBuf> {
    let dimensions = if kind == "images" { 3 } else { 1 };
    ['-', '.']
        .into_iter()
        .flat_map(|mark| {
            ["", ".gz"].map(|ending| {
                folder.join(format!("{part}-{kind}{mark}idx{dimensions}-ubyte{ending}"))
            })
        })
        .find(|path| path.is_file())
}

/// Whether a folder holds the files.
fn holds_images(folder: &Path) -> bool {
    PARTS
        .into_iter()
        .any(|(_, part, _)| locate(folder, part, "images").is_some())
}

/// Opens the files of a folder.
fn open(
    folder: &Path,
    split: Split,
    labelled: bool,
    cache: &SourceCache,
) -> Result<PixelSource, DatasetError> {
    let mut parts = Vec::new();
    let mut hashed: Vec<(&str, PathBuf)> = Vec::new();
    let mut of_other_splits = 0;
    for (of, part, name) in PARTS {
        if split != Split::All && split != of {
            if let Some(images) = locate(folder, part, "images") {
                of_other_splits += images_in(&images)?;
            }
            continue;
        }
        let missing = |kind: &str| DatasetError::NoSuchSource {
            source_name: format!("{part}-{kind}"),
            problem: format!(
                "the split `{}` needs it in `{}`",
                of.name(),
                folder.display()
            ),
        };
        let images = locate(folder, part, "images").ok_or_else(|| missing("images-idx3-ubyte"))?;
        let labels = locate(folder, part, "labels").ok_or_else(|| missing("labels-idx1-ubyte"))?;
        hashed.push((name, images.clone()));
        hashed.push((part, labels.clone()));
        parts.push((name, images, labels));
    }
    let hashed: Vec<(String, PathBuf)> = hashed
        .into_iter()
        .enumerate()
        .map(|(number, (name, path))| (format!("{name}-{number}"), path))
        .collect();
    let digest = cache.digest(folder, &hashed)?;
    let mut source: Option<PixelSource> = None;
    for (name, images, labels) in parts {
        let malformed = |path: &Path, problem: &str| DatasetError::Archive {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        let bytes = read(&images)?;
        let (sizes, pixels) = idx(&bytes, 3).map_err(|problem| malformed(&images, problem))?;
        let label_bytes = read(&labels)?;
        let (counts, classes) =
            idx(&label_bytes, 1).map_err(|problem| malformed(&labels, problem))?;
        let [count, height, width] = sizes[..] else {
            return Err(malformed(&images, "it has no three dimensions"));
        };
        if counts != [count] {
            return Err(malformed(
                &labels,
                "its labels are not as many as the images",
            ));
        }
        if height != width || height == 0 || height > 4096 {
            return Err(malformed(&images, "its images are not square"));
        }
        let side = height as u32;
        let source = source.get_or_insert_with(|| {
            let most = classes.iter().copied().max().unwrap_or_default();
            let names = (0..=u8::max(most, 9)).map(|class| class.to_string());
            PixelSource::new(side, PixelFormat::Grey, names.collect(), labelled, digest)
        });
        if source.image_bytes() != height * width {
            return Err(malformed(
                &images,
                "its images have another size than those of the other split",
            ));
        }
        for (index, (pixels, class)) in pixels.chunks_exact(height * width).zip(classes).enumerate()
        {
            source.push(format!("{name}/{index:05}"), (*class).into(), pixels);
        }
    }
    if let Some(source) = &mut source {
        source.leave_out(of_other_splits);
    }
    source.ok_or_else(|| DatasetError::EmptySource {
        source_name: folder.display().to_string(),
        problem: format!("it has no split `{}`", split.name()),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    read_part(path, MAX_BYTES)
}

fn read_part(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let failed = |error| FileError::new("read", path, error);
    let file = file_error::open(path)?;
    let mut bytes = Vec::new();
    let compressed = path.extension().is_some_and(|ending| ending == "gz");
    if compressed {
        MultiGzDecoder::new(file).take(most).read_to_end(&mut bytes)
    } else {
        file.take(most).read_to_end(&mut bytes)
    }
    .map_err(failed)?;
    Ok(bytes)
}

/// How many images a file of images says that it has.
fn images_in(path: &Path) -> Result<u64, FileError> {
    let heading = read_part(path, 8)?;
    let count = heading.get(4..).and_then(|count| count.first_chunk());
    Ok(count.map_or(0, |count| u32::from_be_bytes(*count).into()))
}

/// The sizes and bytes of an array of unsigned bytes.
fn idx(bytes: &[u8], dimensions: usize) -> Result<(Vec<usize>, &[u8]), &'static str> {
    if bytes.get(..4) != Some(&[0, 0, 8, dimensions as u8]) {
        return Err("it is not an IDX file of bytes with that number of dimensions");
    }
    let sizes = bytes
        .get(4..4 + 4 * dimensions)
        .ok_or("it ends within its heading")?;
    let sizes: Vec<usize> = sizes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|size| u32::from_be_bytes(*size) as usize)
        .collect();
    let count = sizes
        .iter()
        .try_fold(1usize, |count, size| count.checked_mul(*size))
        .ok_or("its sizes are not sound")?;
    let values = &bytes[4 + 4 * dimensions..];
    if values.len() != count {
        return Err("its sizes and its length do not agree: it is truncated or damaged");
    }
    Ok((sizes, values))
}
