//! AFHQv2 as distributed (`afhq_v2.zip`, or its folder): `train` and `test`, each with `cat`, `dog` and `wild`.

use std::path::Path;

use patchwork_core::durable;

use super::files::Selection;
use super::settings::{SourceSettings, Split};
use super::store::Store;
use crate::error::DatasetError;

const CLASSES: [&str; 3] = ["cat", "dog", "wild"];

/// The split and the class in a path, wherever the data set's folder lies in it; the first version calls its test
/// images `val`.
pub(super) fn place(name: &str) -> Option<(Split, &str)> {
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

/// Whether the folder `train` of a folder holds the data set's classes and no others, as data sets with cats among them
/// do.
pub(super) fn is_there(folder: &Path) -> bool {
    let Ok(listed) = durable::list(&folder.join("train")) else {
        return false;
    };
    let classes: Vec<_> = listed.iter().filter(|path| path.is_dir()).collect();
    !classes.is_empty()
        && classes.iter().all(|path| {
            let name = path.file_name().unwrap_or_default();
            CLASSES.iter().any(|class| name == *class)
        })
}

/// Refuses what was taken for AFHQv2 by its look, and holds more: other data sets have cats and dogs among their classes.
pub(super) fn refuse_others(
    settings: &SourceSettings,
    store: &dyn Store,
) -> Result<(), DatasetError> {
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
pub(super) fn select(store: &dyn Store, split: Split) -> Selection {
    let files = (0..store.len()).filter_map(|file| {
        let (of, class) = place(store.name(file))?;
        (split == Split::All || split == of).then_some((file, class))
    });
    Selection::by_name(files)
}
