//! From what a pipeline file names to a source.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchwork_core::durable;

use super::cache::SourceCache;
use super::detect::{detect, is_zip};
use super::files::{FileSource, Selection};
use super::folder::FolderStore;
use super::lmdb::LmdbStore;
use super::parquet::ParquetStore;
use super::raw::Source;
use super::settings::{Format, Labels, SourceSettings, Split};
use super::store::Store;
use super::tar::TarStore;
use super::tar_walk::Compression;
use super::twemoji::TwemojiSource;
use super::zip::ZipStore;
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
    if !path.exists() {
        return Err(DatasetError::MissingSource {
            path: path.to_owned(),
        });
    }
    let format = match settings.format {
        Some(format) => format,
        None => detect(path)?,
    };
    check_labels(settings, format)?;
    check_split(settings, format)?;
    let source: Box<dyn Source> = match format {
        Format::Cifar10 | Format::Cifar100 | Format::Mnist => open_pixels(settings, format, cache)?,
        _ => open_files(settings, format, cache)?,
    };
    if source.is_empty() {
        let is_part = settings.part(format) != Split::All;
        let problem = if is_part || settings.classes.is_some() {
            "no image in it or below it is of the part and the classes that `split` and `classes` name"
        } else {
            "no file in it or below it ends as an image's name does (.png, .jpg, .webp, ...)"
        };
        return Err(DatasetError::EmptySource {
            source_name: settings.source.clone(),
            problem: problem.to_owned(),
        });
    }
    if settings.labels != Labels::None
        && (0..source.len()).all(|index| source.entry(index).label.is_none())
    {
        let problem = "nothing gives any of its images a class: no name of theirs is among those that the labels are for, \
                       in";
        return Err(wrong_labels(settings, problem));
    }
    Ok(source)
}

fn open_pixels(
    settings: &SourceSettings,
    format: Format,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
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
    if let Some(classes) = &settings.classes {
        if !labelled {
            return Err(classes_without_labels(settings));
        }
        let (numbers, names) = chosen(source.class_names(), classes)?;
        source.retain_classes(&numbers, names);
    }
    Ok(Box::new(source))
}

/// Takes the images of a data set out of a store.
type Select<'a> = Box<dyn FnMut(&dyn Store) -> Result<Selection, DatasetError> + 'a>;

fn open_files(
    settings: &SourceSettings,
    format: Format,
    cache: &SourceCache,
) -> Result<Box<dyn Source>, DatasetError> {
    let path = Path::new(&settings.source);
    let labelled = settings.labels != Labels::None;
    let attributes = match settings.labels {
        Labels::Attributes => &settings.attributes[..],
        _ => &[],
    };
    let split = settings.split;
    let part = settings.part(format);
    let place = place_of_images(path, format);
    let celeba_lists;
    let flower_lists;
    let (beside, mut selection_of): (_, Select<'_>) = match format {
        Format::CelebA => {
            celeba_lists = celeba::Lists::find(&place, split, attributes)?;
            let lists = &celeba_lists;
            (
                lists.paths(),
                Box::new(move |store| lists.select(store, split, attributes)),
            )
        }
        Format::Flowers102 => {
            flower_lists = flowers::Lists::find(&place, part, labelled)?;
            let lists = &flower_lists;
            (
                lists.paths(),
                Box::new(move |store| lists.select(store, part)),
            )
        }
        Format::AfhqV2 => (
            Vec::new(),
            Box::new(move |store| {
                if settings.format.is_none() {
                    afhq::refuse_others(settings, store)?;
                }
                Ok(afhq::select(store, part))
            }),
        ),
        _ => (
            Vec::new(),
            Box::new(move |store| {
                match settings.labels {
                    Labels::Folder => images::by_folder(store),
                    Labels::Source => images::by_store(store),
                    _ => Ok(Selection::all(store)),
                }
                .map_err(|problem| DatasetError::Setting {
                    setting: "labels",
                    value: format!("\"{}\"", settings.labels.name()),
                    problem: format!("{problem} in `{}`", settings.source),
                })
            }),
        ),
    };
    let store: Box<dyn Store> = match format {
        Format::Lmdb => Box::new(LmdbStore::open(&place, cache)?),
        Format::Parquet => Box::new(ParquetStore::open(&place, &tables(&place, split)?, cache)?),
        _ => open_store(&place, &beside, cache)?,
    };
    let mut selection = selection_of(&*store)?;
    drop(selection_of);
    if let Some(classes) = &settings.classes {
        if selection.class_names.is_empty() {
            return Err(classes_without_labels(settings));
        }
        let (numbers, names) = chosen(&selection.class_names, classes)?;
        selection.members.retain_mut(|member| {
            let number = usize::try_from(member.label)
                .ok()
                .and_then(|label| numbers.get(label).copied().flatten());
            member.label = number.map_or(member.label, |number| number as i32);
            number.is_some()
        });
        selection.class_names = names;
    }
    if !labelled {
        selection = selection.unlabelled();
    }
    let mut digest = store.digest();
    if place.is_dir() && !beside.is_empty() {
        digest = digest_with(digest, cache, &place, &beside)?;
    }
    Ok(Box::new(FileSource::new(store, selection, digest)))
}

/// A folder's digest, and those of the lists that tell about it; an archive's covers them already.
fn digest_with(
    folder: patchwork_core::Digest,
    cache: &SourceCache,
    place: &Path,
    beside: &[(&str, &Path)],
) -> Result<patchwork_core::Digest, DatasetError> {
    let uncached = SourceCache {
        folder: None,
        rehash: cache.rehash,
    };
    let lists = uncached.digest(place, beside)?;
    Ok(super::listing::digest_listing(
        [("images", 0, folder), ("lists", 0, lists)].into_iter(),
    ))
}

/// The folder, zip or tar archive at a path.
fn open_store(
    path: &Path,
    beside: &[(&str, &Path)],
    cache: &SourceCache,
) -> Result<Box<dyn Store>, DatasetError> {
    if path.is_dir() {
        return Ok(Box::new(FolderStore::open(path, &|_| true, cache)?));
    }
    if is_zip(path)? {
        return Ok(Box::new(ZipStore::open(path, beside, cache)?));
    }
    match Compression::of_tar(path)? {
        Some(compression) => Ok(Box::new(TarStore::open(path, compression, beside, cache)?)),
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

/// The Parquet files at a path, in its folder `data`, or of a split by the Hub's names, sorted.
pub(super) fn tables(path: &Path, split: Option<Split>) -> Result<Vec<PathBuf>, DatasetError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let within = path.join("data");
    let mut tables = Vec::new();
    for folder in [path, &within] {
        if !tables.is_empty() || !folder.is_dir() {
            continue;
        }
        let listed = durable::list(folder)?;
        tables = listed
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "parquet"))
            .collect();
    }
    // A prepared data set is Parquet too, but no raw one.
    if tables
        .iter()
        .any(|path| path.ends_with(crate::shards::INDEX_FILE))
    {
        return Ok(Vec::new());
    }
    let prefix = match split {
        None | Some(Split::All) => "",
        Some(Split::Train) => "train",
        Some(Split::Validation) => "valid",
        Some(Split::Test) => "test",
    };
    tables.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(prefix)
    });
    tables.sort();
    Ok(tables)
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
        | Format::Parquet => &[Labels::None, Labels::Source],
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
    Err(wrong_labels(settings, &problem))
}

fn check_split(settings: &SourceSettings, format: Format) -> Result<(), DatasetError> {
    let Some(split) = settings.split else {
        return Ok(());
    };
    let has = match format {
        Format::Images | Format::Lmdb => split == Split::All,
        Format::CelebA | Format::Flowers102 | Format::Parquet => true,
        Format::AfhqV2 | Format::Cifar10 | Format::Cifar100 | Format::Mnist => {
            split != Split::Validation
        }
    };
    if has {
        return Ok(());
    }
    Err(DatasetError::Setting {
        setting: "split",
        value: format!("\"{}\"", split.name()),
        problem: format!("the format `{}` has no such part", format.name()),
    })
}
