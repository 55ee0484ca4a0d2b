//! Any folder or archive of images: splits and classes by folders, or classes by `dataset.json`.

use std::collections::HashMap;

use serde_json::Value;

use super::account::PassedOver;
use super::files::{Member, Selection, UNLABELLED};
use super::settings::Split;
use super::store::{DATASET_JSON, Json, MOST_CLASSES, Store};

/// Folders that are splits, by name.
const SPLITS: [(Split, &[&str]); 3] = [
    (Split::Train, &["train", "training"]),
    (Split::Validation, &["val", "valid", "validation", "dev"]),
    (Split::Test, &["test", "testing"]),
];

/// The split that a folder of that name is.
fn split_of(folder: &str) -> Option<Split> {
    let folder = folder.to_ascii_lowercase();
    (SPLITS.iter())
        .find(|(_, names)| names.contains(&folder.as_str()))
        .map(|(split, _)| *split)
}

/// What the folders above the images mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Folders {
    /// The folders that hold everything, as they stand before each name: empty, or ending in `/`.
    top: String,
    /// Whether the folders below are splits, and the classes are below those.
    pub(super) splits: bool,
}

impl Folders {
    /// Reads the names of a store's images.
    ///
    /// Folders that hold all images in folders of their own say nothing. Where all folders that are left have names of
    /// splits, they are splits.
    pub(super) fn of(store: &dyn Store) -> Self {
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
pub(super) fn of_split(store: &dyn Store, folders: &Folders, split: Split) -> Selection {
    let mut selection = Selection::all(store);
    keep_split(&mut selection, store, folders, split);
    selection
}

/// Leaves out the images of other splits.
pub(super) fn keep_split(
    selection: &mut Selection,
    store: &dyn Store,
    folders: &Folders,
    split: Split,
) {
    if split != Split::All {
        selection.retain("of another split", |member| {
            folders.parts(store.name(member.file as usize)).0 == Some(split)
        });
    }
}

/// Labels each image by its class folder.
pub(super) fn by_folder(
    store: &dyn Store,
    folders: &Folders,
    split: Split,
) -> Result<Selection, String> {
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

/// Labels each image by what the store itself knows: its `dataset.json`, or a column of labels.
pub(super) fn by_store(store: &dyn Store) -> Result<Selection, String> {
    if let Some(known) = store.labels()? {
        let members = (known.labels.iter().zip(0..))
            .map(|(label, file)| Member {
                file,
                label: *label,
            })
            .collect();
        return Ok(Selection {
            members,
            class_names: known.class_names,
            classes_by: Some(known.by),
            reads_more: known.reads_more,
            ..Selection::default()
        });
    }
    let json = store.dataset_json().ok_or_else(|| {
        format!(
            "there is no `{DATASET_JSON}`, at the top or in the one folder there, and no other record of labels"
        )
    })?;
    by_json(store, json)
}

/// The labels of `dataset.json`: `{"labels": [["a.png", 3], ...]}`, a table from names to numbers, or either alone.
///
/// Names are relative to the folder of `dataset.json`. Files that it does not name have no class. The classes' names are
/// their numbers.
fn by_json(store: &dyn Store, json: &Json) -> Result<Selection, String> {
    let wrong = |problem: &str| format!("its `{}{DATASET_JSON}` {problem}", json.folder);
    let parsed: Value = serde_json::from_slice(&json.content)
        .map_err(|error| wrong(&format!("is damaged: {error}")))?;
    let bare = parsed.is_array();
    let labels = match parsed {
        list @ Value::Array(_) => list,
        Value::Object(mut object) => object.remove("labels").unwrap_or_default(),
        _ => Value::Null,
    };
    let labels: Vec<(String, Value)> = match labels {
        Value::Object(labels) => labels.into_iter().collect(),
        list @ Value::Array(_) => serde_json::from_value(list)
            .map_err(|error| wrong(&format!("has labels that are no pairs: {error}")))?,
        _ => return Err(wrong("holds no labels")),
    };
    let mut classes: HashMap<String, i32> = HashMap::with_capacity(labels.len());
    let mut most = UNLABELLED;
    for (name, label) in labels {
        let class = label
            .as_i64()
            .filter(|class| (0..MOST_CLASSES).contains(class));
        let Some(class) = class else {
            return Err(wrong(&format!(
                "gives `{name}` the label {label}, no class number below {MOST_CLASSES}"
            )));
        };
        let class = class as i32;
        most = i32::max(most, class);
        let plain = name.replace('\\', "/");
        let plain = plain.strip_prefix("./").unwrap_or(&plain);
        let key = format!("{}{plain}", json.folder);
        if let Some(other) = classes.insert(key, class)
            && other != class
        {
            return Err(wrong(&format!(
                "gives `{name}` the labels {other} and {class}"
            )));
        }
    }
    let mut named = 0;
    let members: Vec<Member> = (0..store.len())
        .map(|file| {
            let label = classes.get(store.name(file)).copied();
            named += usize::from(label.is_some());
            Member {
                file: file as u32,
                label: label.unwrap_or(UNLABELLED),
            }
        })
        .collect();
    let mut warnings = Vec::new();
    if named < classes.len() {
        warnings.push(format!(
            "{} of the {} names in `{}{DATASET_JSON}` are of no image",
            classes.len() - named,
            classes.len(),
            json.folder
        ));
    }
    Ok(Selection {
        members,
        class_names: (0..=most).map(|class| class.to_string()).collect(),
        classes_by: Some(format!("`{}{DATASET_JSON}`", json.folder)),
        reads_more: bare || !json.folder.is_empty(),
        left_out: PassedOver::default(),
        warnings,
    })
}
