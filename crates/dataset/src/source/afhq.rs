//! AFHQv2 as distributed (`afhq_v2.zip`, or its folder): `train` and `test`, each with `cat`, `dog` and `wild`.

use super::files::Selection;
use super::settings::Split;
use super::store::Store;

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

/// The images of a split, with their classes.
pub(super) fn select(store: &dyn Store, split: Split) -> Selection {
    let files = (0..store.len()).filter_map(|file| {
        let (of, class) = place(store.name(file))?;
        (split == Split::All || split == of).then_some((file, class))
    });
    Selection::by_name(files)
}
