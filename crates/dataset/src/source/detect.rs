//! How a data set lies on disk, told from names and first bytes.

use std::path::Path;

use patchwork_core::FileError;

use super::lmdb::DATA_FILE;
use super::names::is_image_name;
use super::open::unknown_kind;
use super::settings::Format;
use super::store::Store;
use super::tables::holds_tables;
use super::tar_walk::{Compression, walk};
use super::{afhq, celeba, cifar, flowers, mnist, webdataset, zip};
use crate::error::DatasetError;

/// Names of an archive that are looked at before it is listed.
const NAMES_LOOKED_AT: usize = 64;

/// The format of what lies at a path; none if it is a folder or an archive of files, of which the names tell.
pub(super) fn detect(path: &Path) -> Result<Option<Format>, DatasetError> {
    if path.is_dir() {
        return detect_folder(path);
    }
    if starts_with(path, b"PAR1")? {
        return Ok(Some(Format::Parquet));
    }
    if zip::is_zip(path)? {
        return Ok(None);
    }
    if let Some(compression) = Compression::of_tar(path)? {
        let mut names: Vec<String> = Vec::new();
        // The walk is ended by an error of its own when enough names are known.
        let walked = walk(path, compression, &mut |member, _| {
            names.push(String::from_utf8_lossy(member.name).into_owned());
            match names.len() {
                NAMES_LOOKED_AT => Err(DatasetError::Interrupted),
                _ => Ok(()),
            }
        });
        return match walked {
            Ok(()) | Err(DatasetError::Interrupted) => {
                let has_labels = names.iter().any(|name| webdataset::is_label_name(name));
                let cifar = names.iter().find_map(|name| cifar::format_of(name));
                Ok(cifar.or(has_labels.then_some(Format::WebDataset)))
            }
            Err(error) => Err(error),
        };
    }
    if path.to_string_lossy().contains("idx") && starts_with_idx(path)? {
        return Ok(Some(Format::Mnist));
    }
    Err(unknown_kind(path))
}

/// The format of image files at a path, told from their names.
pub(super) fn recognise(path: &Path, store: &dyn Store) -> Format {
    let images = || {
        (0..store.len())
            .map(|file| store.name(file))
            .filter(|name| is_image_name(name.as_bytes()))
            .take(NAMES_LOOKED_AT)
    };
    let all = |holds: &dyn Fn(&str) -> bool| images().next().is_some() && images().all(holds);
    if all(&|name| name.split('/').any(|part| part == celeba::FOLDER)) {
        Format::CelebA
    } else if afhq::is_there(store) {
        Format::AfhqV2
    } else if flowers::is_near(path)
        && all(&|name| flowers::number(name).is_some() && name.contains("jpg/"))
    {
        Format::Flowers102
    } else {
        Format::Images
    }
}

fn detect_folder(folder: &Path) -> Result<Option<Format>, DatasetError> {
    let has = |name: &str| folder.join(name).exists();
    if has(DATA_FILE) {
        return Ok(Some(Format::Lmdb));
    }
    if mnist::is_there(folder) {
        return Ok(Some(Format::Mnist));
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
        return Ok(Some(format));
    }
    if webdataset::is_there(folder)? {
        return Ok(Some(Format::WebDataset));
    }
    if holds_tables(folder)? {
        return Ok(Some(Format::Parquet));
    }
    let of_celeba = |path: &Path| path.file_name().is_some_and(|name| name == celeba::FOLDER);
    if of_celeba(folder)
        || has("img_align_celeba.zip")
        || has("Img/img_align_celeba.zip")
        || has(celeba::FOLDER)
    {
        return Ok(Some(Format::CelebA));
    }
    if has("afhq_v2.zip") || afhq::is_below(&folder.join("afhq_v2")) {
        return Ok(Some(Format::AfhqV2));
    }
    let has_first = has("jpg/image_00001.jpg") || has("image_00001.jpg");
    if has("102flowers.tgz") || has_first && flowers::is_near(folder) {
        return Ok(Some(Format::Flowers102));
    }
    Ok(None)
}

fn starts_with_idx(path: &Path) -> Result<bool, DatasetError> {
    Ok(starts_with(path, &[0, 0, 8])? || starts_with(path, &[0x1F, 0x8B])?)
}

/// Whether a file begins so.
pub(super) fn starts_with(path: &Path, mark: &[u8]) -> Result<bool, DatasetError> {
    use std::os::unix::fs::FileExt;
    let file = patchwork_core::file_error::open(path)?;
    let mut head = vec![0; mark.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(head == mark),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(FileError::new("read", path, error).into()),
    }
}
