//! AFHQv2 as distributed (`afhq_v2.zip`, or its folder): `train` and `test`, each with `cat`, `dog` and `wild`.

use std::path::Path;

use patchwork_core::durable;

use super::detect::Look;
use super::files::Selection;
use super::format::{Request, SourceFormat};
use super::settings::{Format, SourceSettings, Split};
use super::store::Store;
use crate::error::DatasetError;

const CLASSES: [&str; 3] = ["cat", "dog", "wild"];

pub(super) struct AfhqV2;

impl SourceFormat for AfhqV2 {
    fn format(&self) -> Format {
        Format::AfhqV2
    }

    fn splits(&self) -> &'static [Split] {
        &[Split::All, Split::Train, Split::Test]
    }

    fn usual_split(&self) -> Split {
        Split::Train
    }

    fn is_at(&self, look: &Look<'_>) -> Result<bool, DatasetError> {
        Ok(look.has("afhq_v2.zip") || is_below(&look.path.join("afhq_v2")))
    }

    fn is_in(&self, _place: &Path, store: &dyn Store) -> bool {
        is_of_format(store)
    }

    fn is_recognised_by_names(&self) -> bool {
        true
    }

    fn places(&self) -> &'static [&'static str] {
        &["afhq_v2.zip", "afhq_v2", "afhq"]
    }

    fn select(&self, request: &Request<'_>, store: &dyn Store) -> Result<Selection, DatasetError> {
        if request.settings.format.is_none() {
            refuse_others(request.settings, store)?;
        }
        Ok(select(store, request.split))
    }
}

/// The split and the class in a path, wherever the data set's folder lies in it; the first version calls its test
/// images `val`.
fn place(name: &str) -> Option<(Split, &str)> {
    let parts: Vec<&str> = name.split('/').collect();
    let [.., split, class, _] = parts[..] else {
        return None;
    };
    let split = match split {
        "train" => Split::Train,
        "test" | "val" => Split::Test,
        _ => return None,
    };
    CLASSES.contains(&class).then_some((split, class))
}

/// Whether the split for training holds all of the data set's classes and no others, as data sets with cats among them
/// do.
fn is_of_format(store: &dyn Store) -> bool {
    let mut found = [false; CLASSES.len()];
    for file in 0..store.len() {
        let parts: Vec<&str> = store.name(file).split('/').collect();
        let [.., "train", class, _] = parts[..] else {
            continue;
        };
        match CLASSES.iter().position(|known| *known == class) {
            Some(class) => found[class] = true,
            None => return false,
        }
    }
    found == [true; CLASSES.len()]
}

/// The same of a folder that is not listed yet.
fn is_below(folder: &Path) -> bool {
    let Ok(listed) = durable::list(&folder.join("train")) else {
        return false;
    };
    let classes: Vec<_> = (listed.iter())
        .filter(|path| path.is_dir())
        .filter_map(|path| path.file_name()?.to_str())
        .collect();
    classes == CLASSES
}

/// Refuses what was taken for AFHQv2 by its look, and holds more: other data sets have cats and dogs among their classes.
fn refuse_others(settings: &SourceSettings, store: &dyn Store) -> Result<(), DatasetError> {
    let mut names = (0..store.len()).map(|file| store.name(file));
    match names.find(|name| place(name).is_none()) {
        None => Ok(()),
        Some(other) => Err(DatasetError::Setting {
            setting: "format",
            value: "left out".to_owned(),
            problem: format!(
                "`{}` looks like `afhqv2` and holds `{other}` besides; say `images` to take all of it, or `afhqv2`",
                settings.source
            ),
        }),
    }
}

/// The images of a split, with their classes.
fn select(store: &dyn Store, split: Split) -> Selection {
    let placed = || (0..store.len()).filter_map(|file| Some((file, place(store.name(file))?)));
    let files = placed()
        .filter(|(_, (of, _))| split == Split::All || split == *of)
        .map(|(file, (_, class))| (file, class));
    let mut selection = Selection::by_name(files);
    let (taken, known) = (selection.members.len(), placed().count());
    (selection.left_out).add_many("of another split", (known - taken) as u64);
    (selection.left_out).add_many(
        "in no folder of a split and a class",
        (store.len() - known) as u64,
    );
    selection.classes_by = Some("folder".to_owned());
    selection
}
