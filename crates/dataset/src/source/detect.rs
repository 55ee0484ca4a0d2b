//! How a data set lies on disk, told from names and first bytes.

use std::path::Path;

use patchwork_core::FileError;

use super::lmdb::DATA_FILE;
use super::open::{tables, unknown_kind};
use super::settings::Format;
use super::tar_walk::{Compression, walk};
use super::{afhq, celeba, cifar, flowers, mnist, zip};
use crate::error::DatasetError;

/// Names of an archive that are looked at to tell its format.
const NAMES_LOOKED_AT: usize = 64;

/// Tells the format of a path from what lies there.
pub(super) fn detect(path: &Path) -> Result<Format, DatasetError> {
    if path.is_dir() {
        return Ok(detect_folder(path));
    }
    if starts_with(path, b"PAR1")? {
        return Ok(Format::Parquet);
    }
    let mut names: Vec<String> = Vec::new();
    if is_zip(path)? {
        names = zip::first_names(path, NAMES_LOOKED_AT)?;
    } else if let Some(compression) = Compression::of_tar(path)? {
        // The walk is ended by an error of its own when enough names are known.
        let walked = walk(path, compression, &mut |name, _, _, _| {
            names.push(String::from_utf8_lossy(name).into_owned());
            match names.len() {
                NAMES_LOOKED_AT => Err(DatasetError::Interrupted),
                _ => Ok(()),
            }
        });
        match walked {
            Ok(()) | Err(DatasetError::Interrupted) => {}
            Err(error) => return Err(error),
        }
    } else if path.to_string_lossy().contains("idx") && starts_with_idx(path)? {
        return Ok(Format::Mnist);
    } else {
        return Err(unknown_kind(path));
    }
    Ok(detect_names(&names))
}

fn detect_names(names: &[String]) -> Format {
    if let Some(format) = names.iter().find_map(|name| cifar::format_of(name)) {
        return format;
    }
    let images: Vec<&String> = names
        .iter()
        .filter(|name| super::listing::is_image_name(name.as_bytes()))
        .collect();
    let all = |holds: &dyn Fn(&str) -> bool| {
        !images.is_empty() && images.iter().all(|name| holds(name.as_str()))
    };
    if all(&|name| name.split('/').any(|part| part == celeba::FOLDER)) {
        Format::CelebA
    } else if all(&|name| afhq::place(name).is_some()) {
        Format::AfhqV2
    } else if all(&|name| flowers::number(name).is_some() && name.contains("jpg/")) {
        Format::Flowers102
    } else {
        Format::Images
    }
}

fn detect_folder(folder: &Path) -> Format {
    let has = |name: &str| folder.join(name).exists();
    if has(DATA_FILE) {
        return Format::Lmdb;
    }
    if mnist::is_there(folder) {
        return Format::Mnist;
    }
    let named = folder
        .file_name()
        .and_then(|name| cifar::format_of(&name.to_string_lossy()));
    let within = [
        ("cifar-10-batches-py", Format::Cifar10),
        ("cifar-10-batches-bin", Format::Cifar10),
        ("cifar-100-python", Format::Cifar100),
        ("cifar-100-binary", Format::Cifar100),
    ]
    .into_iter()
    .find(|(name, _)| has(name))
    .map(|(_, format)| format);
    if let Some(format) = named.or(within) {
        return format;
    }
    if tables(folder, None).is_ok_and(|tables| !tables.is_empty()) {
        return Format::Parquet;
    }
    let of_celeba = |path: &Path| path.file_name().is_some_and(|name| name == celeba::FOLDER);
    if of_celeba(folder)
        || has("img_align_celeba.zip")
        || has("Img/img_align_celeba.zip")
        || has(celeba::FOLDER)
    {
        return Format::CelebA;
    }
    if has("afhq_v2.zip")
        || [folder, &folder.join("afhq_v2")]
            .into_iter()
            .any(afhq::is_there)
    {
        return Format::AfhqV2;
    }
    if has("102flowers.tgz") || has("jpg/image_00001.jpg") || has("image_00001.jpg") {
        return Format::Flowers102;
    }
    Format::Images
}

pub(super) fn is_zip(path: &Path) -> Result<bool, DatasetError> {
    Ok(starts_with(path, b"PK\x03\x04")? || starts_with(path, b"PK\x05\x06")?)
}

fn starts_with_idx(path: &Path) -> Result<bool, DatasetError> {
    Ok(starts_with(path, &[0, 0, 8])? || starts_with(path, &[0x1F, 0x8B])?)
}

fn starts_with(path: &Path, mark: &[u8]) -> Result<bool, DatasetError> {
    use std::os::unix::fs::FileExt;
    let file = patchwork_core::file_error::open(path)?;
    let mut head = vec![0; mark.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(head == mark),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(FileError::new("read", path, error).into()),
    }
}
