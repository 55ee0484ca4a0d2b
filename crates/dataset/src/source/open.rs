//! From what a pipeline file names to a source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_core::{Digest, FileError};

use super::account::{Account, classes_text};
use super::cache::SourceCache;
use super::detect::{detect, recognise};
use super::files::{FileSource, Selection};
use super::folder::FolderStore;
use super::images::Folders;
use super::listing::digest_listing;
use super::lmdb::LmdbStore;
use super::parquet::ParquetStore;
use super::raw::Source;
use super::settings::{Format, Labels, SourceSettings, Split};
use super::store::Store;
use super::tables::tables;
use super::tar::TarStore;
use super::tar_walk::Compression;
use super::twemoji::TwemojiSource;
use super::webdataset::WebDatasetStore;
use super::zip::{ZipStore, is_zip};
use super::{afhq, celeba, cifar, flowers, images, mnist};
use crate::error::DatasetError;

const BUILTIN: &str = "builtin:";
const TWEMOJI: &str = "builtin:twemoji";

/// Opens a source: lists its images and digests its content, without decoding anything.
pub fn open(
    settings: &SourceSettings,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
    if settings.source == TWEMOJI {
        if !matches!(
            settings.labels,
            Labels::None | Labels::Group | Labels::SkinTone
        ) {
            let problem = "`group`, `skin-tone` and `none` are the labels of";
            return Err(wrong_labels(settings, problem));
        }
        return Ok(Box::new(TwemojiSource::open(
            settings.labels,
            &settings.emoji,
        )?));
    }
    if settings.source.starts_with(BUILTIN) {
        return Err(DatasetError::NoSuchSource {
            source_name: settings.source.clone(),
            problem: format!("the one that ships with the build is `{TWEMOJI}`"),
        });
    }
    let path = Path::new(&settings.source);
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DatasetError::MissingSource {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(FileError::new("read", path, error).into()),
    };
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(DatasetError::NoSuchSource {
            source_name: settings.source.clone(),
            problem: "it is a pipe or a device; name a folder or a regular file".to_owned(),
        });
    }
    let known = match settings.format {
        Some(format) => Some(format),
        None => detect(path)?,
    };
    match known {
        Some(format @ (Format::Cifar10 | Format::Cifar100 | Format::Mnist)) => {
            open_pixels(settings, format, cache)
        }
        _ => open_files(settings, known, cache),
    }
}

/// Refuses a source without images, or without a single label where there should be some; notes what a person should know.
fn checked(
    settings: &SourceSettings,
    format: Format,
    source: &dyn Source,
    mut account: Account,
) -> Result<Account, DatasetError> {
    if source.is_empty() {
        let is_part = settings.part(format) != Split::All;
        let problem = if is_part || settings.classes.is_some() {
            "no image in it or below it is of the part and the classes that `split` and `classes` name"
        } else {
            "no file in it or below it is an image (.png, .jpg, .webp, ...), by its name or its first bytes"
        };
        let passed_over = match account.passed_over.total() {
            0 => String::new(),
            _ => format!("; passed over: {}", account.passed_over.text()),
        };
        return Err(DatasetError::EmptySource {
            source_name: settings.source.clone(),
            problem: format!("{problem}{passed_over}"),
        });
    }
    if settings.labels == Labels::None {
        return Ok(account);
    }
    let counts = class_counts(source);
    let labelled: u64 = counts.iter().sum();
    if labelled == 0 {
        let problem = "nothing gives any of its images a class: no name of theirs is among those that the labels are for, \
                       in";
        return Err(wrong_labels(settings, problem));
    }
    let unlabelled = source.len() as u64 - labelled;
    if unlabelled > 0 {
        account.warnings.push(format!(
            "{unlabelled} of {} images have no class: the labels are for other names",
            source.len()
        ));
    }
    let empty = counts.iter().filter(|images| **images == 0).count();
    if empty > 0 {
        account.warnings.push(format!(
            "{empty} of the {} classes have no images ({})",
            counts.len(),
            classes_text(source.class_names(), &counts)
        ));
    }
    Ok(account)
}

/// How many images of a source are of each class.
pub fn class_counts(source: &dyn Source) -> Vec<u64> {
    let mut counts = vec![0; source.class_names().len()];
    for label in (0..source.len()).filter_map(|index| source.entry(index).label) {
        if let Some(count) = counts.get_mut(label as usize) {
            *count += 1;
        }
    }
    counts
}

fn account(settings: &SourceSettings, format: Format) -> Account {
    let has_splits = !matches!(format, Format::Lmdb | Format::WebDataset);
    Account {
        format: format.name().to_owned(),
        recognised: settings.format.is_none(),
        split: has_splits.then(|| settings.part(format).name().to_owned()),
        ..Account::default()
    }
}

fn open_pixels(
    settings: &SourceSettings,
    format: Format,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
    check_labels(settings, format)?;
    check_split(settings, format, false)?;
    let path = Path::new(&settings.source);
    let labelled = settings.labels == Labels::Source;
    let split = settings.part(format);
    let mut source = match format {
        Format::Mnist => {
            let folder = if path.is_dir() {
                path
            } else {
                path.parent().unwrap_or(path)
            };
            mnist::open(folder, split, labelled, cache)?
        }
        _ => cifar::open(path, format, split, labelled, cache)?,
    };
    let mut account = account(settings, format);
    (account.passed_over).add_many("of another split", source.of_other_splits());
    if let Some(classes) = &settings.classes {
        if !labelled {
            return Err(classes_without_labels(settings));
        }
        let all = source.len();
        let (numbers, names) = chosen(source.class_names(), classes)?;
        source.retain_classes(&numbers, names);
        let left_out = (all - source.len()) as u64;
        (account.passed_over).add_many(OTHER_CLASSES, left_out);
    }
    if labelled {
        account.classes_by = Some("the data set's labels".to_owned());
    }
    account.entries = source.len() as u64 + account.passed_over.total();
    let account = checked(settings, format, &source, account)?;
    Ok(Box::new(source.with_account(account)))
}

/// What `classes` leaves out.
const OTHER_CLASSES: &str = "of classes that are not chosen";

fn open_files(
    settings: &SourceSettings,
    known: Option<Format>,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
    let path = Path::new(&settings.source);
    let place = match known {
        Some(format) => place_of_images(path, format),
        None => path.to_owned(),
    };
    let store: Box<dyn Store> = match known {
        Some(Format::Lmdb) => Box::new(LmdbStore::open(&place)?),
        Some(Format::Parquet) => {
            let tables = tables(&place, settings.split)?;
            Box::new(ParquetStore::open(&place, tables)?)
        }
        Some(Format::WebDataset) => Box::new(WebDatasetStore::open(&place)?),
        _ => open_store(&place, &settings.without)?,
    };
    let format = known.unwrap_or_else(|| recognise(&place, &*store));
    check_labels(settings, format)?;
    let folders = match format {
        Format::Images => Folders::of(&*store),
        _ => Folders::default(),
    };
    check_split(settings, format, folders.splits)?;
    let Selected {
        mut selection,
        beside,
    } = select(settings, format, &place, &*store, &folders)?;
    if let Some(classes) = &settings.classes {
        if selection.class_names.is_empty() {
            return Err(classes_without_labels(settings));
        }
        choose_classes(&mut selection, classes)?;
    }
    if settings.labels == Labels::None {
        selection = selection.unlabelled();
    }
    let mut hashed = store.hashed();
    let digest = if place.is_dir() {
        let digest = cache.digest(&place, &hashed)?;
        if beside.is_empty() {
            digest
        } else {
            digest_with(digest, cache, &place, &beside)?
        }
    } else {
        hashed.extend(beside);
        cache.digest(&place, &hashed)?
    };
    let digest = if store.reads_more() || selection.reads_more {
        digest_as_read(digest, &*store, &selection)
    } else {
        digest
    };
    let mut account = account(settings, format);
    account.passed_over.merge(store.passed_over());
    account.passed_over.merge(&selection.left_out);
    account.entries = selection.members.len() as u64 + account.passed_over.total();
    account.classes_by = selection.classes_by.take();
    account.warnings = store.warnings();
    account.warnings.append(&mut selection.warnings);
    let source = FileSource::new(store, selection, digest);
    let account = checked(settings, format, &source, account)?;
    Ok(Box::new(source.with_account(account)))
}

/// The images of a data set, and the lists that they were chosen by.
struct Selected {
    selection: Selection,
    beside: Vec<(String, PathBuf)>,
}

fn select(
    settings: &SourceSettings,
    format: Format,
    place: &Path,
    store: &dyn Store,
    folders: &Folders,
) -> Result<Selected, DatasetError> {
    let labelled = settings.labels != Labels::None;
    let part = settings.part(format);
    let alone = |selection| Selected {
        selection,
        beside: Vec::new(),
    };
    let of_labels = |problem: String| DatasetError::Setting {
        setting: "labels",
        value: format!("\"{}\"", settings.labels.name()),
        problem: format!("{problem} in `{}`", settings.source),
    };
    Ok(match format {
        Format::CelebA => {
            let attributes = match settings.labels {
                Labels::Attributes => &settings.attributes[..],
                _ => &[],
            };
            let lists = celeba::Lists::find(place, settings.split, attributes)?;
            Selected {
                selection: lists.select(store, settings.split, attributes)?,
                beside: lists.paths(),
            }
        }
        Format::Flowers102 => {
            let lists = flowers::Lists::find(place, part, labelled)?;
            Selected {
                selection: lists.select(store, part)?,
                beside: lists.paths(),
            }
        }
        Format::AfhqV2 => {
            if settings.format.is_none() {
                afhq::refuse_others(settings, store)?;
            }
            alone(afhq::select(store, part))
        }
        _ => alone(match settings.labels {
            Labels::Folder => images::by_folder(store, folders, part).map_err(of_labels)?,
            Labels::Source => {
                let mut selection = images::by_store(store).map_err(of_labels)?;
                if format == Format::Images {
                    images::keep_split(&mut selection, store, folders, part);
                }
                selection
            }
            _ if format == Format::Images => images::of_split(store, folders, part),
            _ => Selection::all(store),
        }),
    })
}

/// Keeps the images of classes by name, and numbers those anew.
fn choose_classes(selection: &mut Selection, classes: &[String]) -> Result<(), DatasetError> {
    let (numbers, names) = chosen(&selection.class_names, classes)?;
    let number = |label: i32| {
        usize::try_from(label)
            .ok()
            .and_then(|label| numbers.get(label).copied().flatten())
    };
    selection.retain("without a class", |member| member.label >= 0);
    selection.retain(OTHER_CLASSES, |member| number(member.label).is_some());
    for member in &mut selection.members {
        member.label = number(member.label).map_or(member.label, |number| number as i32);
    }
    selection.class_names = names;
    Ok(())
}

/// A folder's digest, and those of the lists that tell about it; an archive's covers them already.
fn digest_with(
    folder: Digest,
    cache: &SourceCache,
    place: &Path,
    beside: &[(String, PathBuf)],
) -> Result<Digest, DatasetError> {
    let uncached = SourceCache {
        folder: None,
        rehash: cache.rehash,
    };
    let lists = uncached.digest(place, beside)?;
    Ok(digest_listing(
        [("images", 0, folder), ("lists", 0, lists)].into_iter(),
    ))
}

/// The digest of a source of which an earlier version of this program would have read something else: what is read is part
/// of it, so that nothing that was made then is taken for what would be made now.
fn digest_as_read(source: Digest, store: &dyn Store, selection: &Selection) -> Digest {
    let class = |label: i32| {
        let name = usize::try_from(label)
            .ok()
            .and_then(|label| selection.class_names.get(label));
        Digest::of(name.map_or(&b""[..], |name| name.as_bytes()))
    };
    let images = selection.members.iter().map(|member| {
        let name = store.name(member.file as usize);
        (name, i64::from(member.label) as u64, class(member.label))
    });
    let read = digest_listing(images);
    digest_listing([("source", 0, source), ("read", 0, read)].into_iter())
}

/// The folder, zip or tar archive at a path.
fn open_store(path: &Path, without: &[PathBuf]) -> Result<Box<dyn Store>, DatasetError> {
    if path.is_dir() {
        return Ok(Box::new(FolderStore::open(path, without)?));
    }
    if is_zip(path)? {
        return Ok(Box::new(ZipStore::open(path)?));
    }
    match Compression::of_tar(path)? {
        Some(compression) => Ok(Box::new(TarStore::open(path, compression)?)),
        None => Err(unknown_kind(path)),
    }
}

pub(super) fn unknown_kind(path: &Path) -> DatasetError {
    DatasetError::NoSuchSource {
        source_name: path.display().to_string(),
        problem: "the file is no zip archive, tar archive (plain, gzip, zstd) or Parquet file\n\
                  hint: a download that ended early or a page instead of a file looks like this; archives of other \
                  kinds have to be unpacked, and their folder named"
            .to_owned(),
    }
}

/// Where the images of a distribution lie when the folder of its files is named.
fn place_of_images(path: &Path, format: Format) -> PathBuf {
    let candidates: &[&str] = match format {
        Format::CelebA => &[
            "img_align_celeba.zip",
            "Img/img_align_celeba.zip",
            celeba::FOLDER,
        ],
        Format::Flowers102 => &["102flowers.tgz", "jpg"],
        Format::AfhqV2 => &["afhq_v2.zip", "afhq_v2", "afhq"],
        _ => &[],
    };
    candidates
        .iter()
        .map(|name| path.join(name))
        .find(|place| place.exists())
        .unwrap_or_else(|| path.to_owned())
}

/// New numbers for the classes to keep, in the order of the data set, and their names.
fn chosen(
    known: &[String],
    wanted: &[String],
) -> Result<(Vec<Option<u32>>, Vec<String>), DatasetError> {
    if let Some(unknown) = wanted.iter().find(|class| !known.contains(class)) {
        let shown: Vec<&str> = known.iter().take(20).map(String::as_str).collect();
        let otherwise = format!("the classes are {}", shown.join(", "));
        let names = known.iter().map(String::as_str);
        return Err(DatasetError::unknown_name(
            "class", unknown, names, &otherwise,
        ));
    }
    let kept: BTreeMap<usize, u32> = (0..known.len())
        .filter(|class| wanted.contains(&known[*class]))
        .zip(0..)
        .collect();
    let numbers = (0..known.len()).map(|class| kept.get(&class).copied());
    let names = kept.keys().map(|class| known[*class].clone()).collect();
    Ok((numbers.collect(), names))
}

fn classes_without_labels(settings: &SourceSettings) -> DatasetError {
    DatasetError::Setting {
        setting: "classes",
        value: format!("{:?}", settings.classes.as_deref().unwrap_or_default()),
        problem: "without `labels` no image of this source has a class".to_owned(),
    }
}

fn wrong_labels(settings: &SourceSettings, problem: &str) -> DatasetError {
    DatasetError::Setting {
        setting: "labels",
        value: format!("\"{}\"", settings.labels.name()),
        problem: format!("{problem} `{}`", settings.source),
    }
}

fn check_labels(settings: &SourceSettings, format: Format) -> Result<(), DatasetError> {
    let allowed: &[Labels] = match format {
        Format::Images => &[Labels::None, Labels::Folder, Labels::Source],
        Format::CelebA => &[Labels::None, Labels::Attributes],
        Format::Lmdb => &[Labels::None],
        Format::AfhqV2
        | Format::Flowers102
        | Format::Cifar10
        | Format::Cifar100
        | Format::Mnist
        | Format::Parquet
        | Format::WebDataset => &[Labels::None, Labels::Source],
    };
    if allowed.contains(&settings.labels) {
        return Ok(());
    }
    let names: Vec<String> = allowed
        .iter()
        .map(|labels| format!("`{}`", labels.name()))
        .collect();
    let problem = format!(
        "{} are the labels of the format `{}`, as which is read",
        names.join(", "),
        format.name()
    );
    let hint = match (settings.format, format) {
        (None, Format::CelebA | Format::AfhqV2 | Format::Flowers102) => {
            "\nhint: it was recognised by its names; `format = \"images\"` reads it as any folder of images"
        }
        _ => "",
    };
    Err(DatasetError::Setting {
        setting: "labels",
        value: format!("\"{}\"", settings.labels.name()),
        problem: format!("{problem} `{}`{hint}", settings.source),
    })
}

/// `has_folders`: whether the images lie in folders of splits.
fn check_split(
    settings: &SourceSettings,
    format: Format,
    has_folders: bool,
) -> Result<(), DatasetError> {
    let Some(split) = settings.split else {
        return Ok(());
    };
    let has = match format {
        Format::Images => split == Split::All || has_folders,
        Format::Lmdb | Format::WebDataset => split == Split::All,
        Format::CelebA | Format::Flowers102 | Format::Parquet => true,
        Format::AfhqV2 | Format::Cifar10 | Format::Cifar100 | Format::Mnist => {
            split != Split::Validation
        }
    };
    if has {
        return Ok(());
    }
    let problem = match format {
        Format::Images => format!(
            "the format `images` has splits where the first folders are called train, val and test, and those of `{}` \
             are not",
            settings.source
        ),
        _ => format!("the format `{}` has no such part", format.name()),
    };
    Err(DatasetError::Setting {
        setting: "split",
        value: format!("\"{}\"", split.name()),
        problem,
    })
}
