//! Any folder or archive of images: splits and classes by folders, or classes by `dataset.json`.

use std::path::Path;

use super::detect::Look;
use super::files::Selection;
use super::format::{Request, SourceFormat};
use super::settings::{Format, Labels, Split};
use super::splits::split_of;
use super::store::Store;
use super::store_labels;
use crate::error::DatasetError;

pub(super) struct Images;

impl SourceFormat for Images {
    fn format(&self) -> Format {
        Format::Images
    }

    fn labels(&self) -> &'static [Labels] {
        &[Labels::None, Labels::Folder, Labels::Source]
    }

    // Which ones a folder has is seen once it is listed.
    fn splits(&self) -> &'static [Split] {
        Split::ALL
    }

    fn is_at(&self, _look: &Look<'_>) -> Result<bool, DatasetError> {
        Ok(false)
    }

    fn is_in(&self, _place: &Path, _store: &dyn Store) -> bool {
        true
    }

    fn select(&self, request: &Request<'_>, store: &dyn Store) -> Result<Selection, DatasetError> {
        let folders = Folders::of(store);
        let split = request.split;
        if split != Split::All && !folders.splits {
            let problem = format!(
                "the format `images` has splits where the first folders are called train, val and test, and those of \
                 `{}` are not",
                request.settings.source
            );
            return Err(DatasetError::wrong_word("split", split.name(), problem));
        }
        match request.settings.labels {
            Labels::Folder => by_folder(store, &folders, split),
            Labels::Source => store_labels::select(store).map(|mut selection| {
                keep_split(&mut selection, store, &folders, split);
                selection
            }),
            _ => Ok(of_split(store, &folders, split)),
        }
        .map_err(|problem| request.no_labels(&problem))
    }
}

/// What the folders above the images mean.
#[derive(Debug, Default, PartialEq, Eq)]
struct Folders {
    /// The folders that hold everything, as they stand before each name: empty, or ending in `/`.
    top: String,
    /// Whether the folders below are splits, and the classes are below those.
    splits: bool,
}

impl Folders {
    /// Reads the names of a store's images.
    ///
    /// Folders that hold all images in folders of their own say nothing. Where all folders that are left have names of
    /// splits, they are splits.
    fn of(store: &dyn Store) -> Self {
        let names = || (0..store.len()).map(|file| store.name(file));
        let mut top = String::new();
        while let Some(first) = names()
            .next()
            .and_then(|name| name[top.len()..].split_once('/'))
            .map(|(folder, _)| folder.to_owned())
        {
            let is_above_all = names().all(|name| {
                (name[top.len()..].strip_prefix(first.as_str()))
                    .and_then(|rest| rest.strip_prefix('/'))
                    .is_some_and(|rest| rest.contains('/'))
            });
            if !is_above_all {
                break;
            }
            top.push_str(&first);
            top.push('/');
        }
        let splits = store.len() > 0
            && names().all(|name| {
                (name[top.len()..].split_once('/'))
                    .is_some_and(|(folder, _)| split_of(folder).is_some())
            });
        Self { top, splits }
    }

    /// Split and class of an image by its name, and what is left of the name.
    fn parts<'a>(&self, name: &'a str) -> (Option<Split>, Option<&'a str>) {
        let mut rest = &name[self.top.len()..];
        let mut split = None;
        if self.splits
            && let Some((folder, below)) = rest.split_once('/')
        {
            split = split_of(folder);
            rest = below;
        }
        (split, rest.split_once('/').map(|(class, _)| class))
    }

    /// Where the classes lie, in words.
    fn place_of_classes(&self) -> String {
        match (self.top.as_str(), self.splits) {
            ("", false) => "first folder".to_owned(),
            ("", true) => "folder below the split's".to_owned(),
            (top, false) => format!("folder below `{top}`"),
            (top, true) => format!("folder below the split's in `{top}`"),
        }
    }
}

/// The images of a split, without classes.
fn of_split(store: &dyn Store, folders: &Folders, split: Split) -> Selection {
    let mut selection = Selection::all(store);
    keep_split(&mut selection, store, folders, split);
    selection
}

/// Leaves out the images of other splits.
fn keep_split(selection: &mut Selection, store: &dyn Store, folders: &Folders, split: Split) {
    if split != Split::All {
        selection.retain("of another split", |member| {
            folders.parts(store.name(member.file as usize)).0 == Some(split)
        });
    }
}

/// Labels each image by its class folder.
fn by_folder(store: &dyn Store, folders: &Folders, split: Split) -> Result<Selection, String> {
    let chosen = of_split(store, folders, split);
    let class = |file: usize| folders.parts(store.name(file)).1;
    let files = || chosen.members.iter().map(|member| member.file as usize);
    if let Some(file) = files().find(|file| class(*file).is_none()) {
        return Err(format!("`{}` lies in no class folder", store.name(file)));
    }
    let named = files().map(|file| (file, class(file).unwrap_or_default()));
    let mut selection = Selection::by_name(named);
    selection.left_out = chosen.left_out;
    selection.classes_by = Some(folders.place_of_classes());
    // An earlier version took the first folder, whatever it was.
    selection.reads_more = *folders != Folders::default();
    if selection.class_names.len() == 1 {
        selection.warnings.push(format!(
            "every image has the one class `{}`",
            selection.class_names[0]
        ));
    }
    Ok(selection)
}
