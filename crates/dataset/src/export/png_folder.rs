//! A folder of PNG files by id, below a folder a class where images have classes.

use std::collections::HashSet;
use std::path::Path;

use patchwork_core::{FileError, durable};

use super::progress::ExportProgress;
use super::selection::Selection;
use crate::error::DatasetError;

/// The folder of images without a class, where others have one.
const NO_CLASS: &str = "unlabelled";

pub(super) fn write(
    selection: &Selection<'_>,
    folder: &Path,
    progress: &mut ExportProgress<'_>,
) -> Result<(), DatasetError> {
    let names = folder_names(selection.set.class_names());
    let has_class = |image: &usize| selection.set.label(*image).is_some();
    let has_classes = selection.images.iter().any(has_class);
    let mut made = HashSet::new();
    selection.for_each_png(progress, |_, image, png| {
        let place = match selection.set.label(image) {
            _ if !has_classes => folder.to_owned(),
            Some(label) => folder.join(&names[label as usize]),
            None => folder.join(NO_CLASS),
        };
        if made.insert(place.clone()) {
            durable::create_dir_all(&place)?;
        }
        let path = place.join(format!("{image:08}.png"));
        // The folder is synced as a whole when it is published.
        std::fs::write(&path, png).map_err(|source| FileError::new("write", &path, source))?;
        Ok(())
    })
}

/// A folder's name for each class: its own, without what a file system or a reader of folders would take ill.
fn folder_names(classes: &[String]) -> Vec<String> {
    const LONGEST: usize = 200;
    let mut taken = HashSet::from([NO_CLASS.to_owned()]);
    classes
        .iter()
        .enumerate()
        .map(|(label, class)| {
            let mut name: String = class
                .chars()
                .map(|letter| match letter {
                    '/' | '\\' | ':' | '\0'..='\u{1f}' => '_',
                    letter => letter,
                })
                .take(LONGEST / 4)
                .collect();
            // Some file systems are not case-sensitive.
            if name.is_empty() || name.starts_with('.') || !taken.insert(name.to_lowercase()) {
                name = format!("{label}_{name}");
                taken.insert(name.to_lowercase());
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::folder_names;

    #[test]
    fn classes_of_any_name_have_folders_of_their_own() {
        let classes = ["cat", "Cat", "a/b", "..", "", "unlabelled", "été"].map(str::to_owned);
        assert_eq!(
            folder_names(&classes),
            ["cat", "1_Cat", "a_b", "3_..", "4_", "5_unlabelled", "été"]
        );
    }
}
