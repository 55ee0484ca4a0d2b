//! Oxford Flowers-102 as distributed: `102flowers.tgz` (or its folder `jpg`), with `imagelabels.mat` for the classes
//! and `setid.mat` for the splits beside it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use patchwork_core::file_error;

use super::detect::{Look, first_images_are};
use super::files::{Member, Selection, UNLABELLED};
use super::format::{Request, SourceFormat};
use super::matlab;
use super::settings::{Format, Split};
use super::store::Store;
use crate::error::DatasetError;

const ARCHIVE: &str = "102flowers.tgz";
const LABELS: &str = "imagelabels.mat";
const SPLITS: &str = "setid.mat";
const CLASSES: usize = 102;

pub(super) struct Flowers102;

impl SourceFormat for Flowers102 {
    fn format(&self) -> Format {
        Format::Flowers102
    }

    fn splits(&self) -> &'static [Split] {
        Split::ALL
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        let has_first = look.has("jpg/image_00001.jpg") || look.has("image_00001.jpg");
        Ok(look.has(ARCHIVE) || has_first && is_near(look.path))
    }

    fn is_in(&self, place: &Path, store: &dyn Store) -> bool {
        let is_image = |name: &str| number(name).is_some() && name.contains("jpg/");
        is_near(place) && first_images_are(store, is_image)
    }

    fn is_recognised_by_names(&self) -> bool {
        true
    }

    fn places(&self) -> &'static [&'static str] {
        &[ARCHIVE, "jpg"]
    }

    fn select(&self, request: &Request<'_>, store: &dyn Store) -> Result<Selection, DatasetError> {
        let lists = Lists::find(&request.place, request.split, request.is_labelled())?;
        let selection = lists.select(store, request.split)?;
        Ok(selection.with_lists(lists.paths()))
    }
}

/// The lists that are needed, and where they were found.
#[derive(Debug, Default)]
struct Lists {
    labels: Option<PathBuf>,
    splits: Option<PathBuf>,
}

/// The number of an image, from 1, in a name such as `jpg/image_00042.jpg`.
fn number(name: &str) -> Option<usize> {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.strip_prefix("image_")?
        .strip_suffix(".jpg")
        .filter(|digits| digits.len() == 5)?
        .parse()
        .ok()
}

/// Whether images at a path are those of Flowers-102, by their surroundings: the archive is called so, or one
/// of the lists lies near. The images alone are called as many others are.
fn is_near(path: &Path) -> bool {
    let is_called_so = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("102flowers")
    };
    is_called_so(path)
        || [LABELS, SPLITS]
            .iter()
            .any(|name| near(path, name).is_some())
}

/// A file in a folder, or in the two above.
fn near(source: &Path, name: &str) -> Option<PathBuf> {
    source
        .ancestors()
        .take(3)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

impl Lists {
    /// Finds the lists that the settings need near the images.
    fn find(source: &Path, split: Split, labelled: bool) -> Result<Self, DatasetError> {
        let find = |wanted: bool, name: &str, setting: &'static str| {
            if !wanted {
                return Ok(None);
            }
            near(source, name).map(Some).ok_or_else(|| DatasetError::NoSuchSource {
                source_name: name.to_owned(),
                problem: format!(
                    "`{setting}` of Flowers-102 needs it\nhint: put it beside `{}`; it is distributed with the images",
                    source.display()
                ),
            })
        };
        Ok(Self {
            labels: find(labelled, LABELS, "labels")?,
            splits: find(split != Split::All, SPLITS, "split")?,
        })
    }

    /// The files that the data set depends on beside the images.
    fn paths(&self) -> Vec<(String, PathBuf)> {
        let labels = self
            .labels
            .iter()
            .map(|path| (LABELS.to_owned(), path.clone()));
        let splits = self
            .splits
            .iter()
            .map(|path| (SPLITS.to_owned(), path.clone()));
        labels.chain(splits).collect()
    }

    /// The images of the split, with their classes.
    fn select(&self, store: &dyn Store, split: Split) -> Result<Selection, DatasetError> {
        let mut selection = Selection::all(store);
        let number_of = |member: &Member| number(store.name(member.file as usize));
        if let Some(path) = &self.splits {
            let variable = match split {
                Split::Validation => "valid",
                Split::Test => "tstid",
                Split::Train | Split::All => "trnid",
            };
            let wanted: HashSet<usize> = read(path, variable)?.into_iter().collect();
            selection.retain("of another split", |member| {
                number_of(member).is_some_and(|image| wanted.contains(&image))
            });
        }
        if let Some(path) = &self.labels {
            let classes = read(path, "labels")?;
            for member in &mut selection.members {
                let class = number_of(member)
                    .and_then(|image| classes.get(image.checked_sub(1)?).copied())
                    .filter(|class| (1..=CLASSES).contains(class));
                member.label = class.map_or(UNLABELLED, |class| class as i32 - 1);
            }
            selection.class_names = (1..=CLASSES).map(|class| class.to_string()).collect();
        }
        Ok(selection)
    }
}

fn read(path: &Path, variable: &str) -> Result<Vec<usize>, DatasetError> {
    let bytes = file_error::read(path)?;
    matlab::whole_numbers(&bytes, variable).map_err(|problem| DatasetError::Archive {
        path: path.to_owned(),
        problem,
    })
}
