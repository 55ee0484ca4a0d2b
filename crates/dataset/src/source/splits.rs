//! What splits are called.

use super::settings::Split;

/// The names of splits.
const SPLITS: [(Split, &[&str]); 3] = [
    (Split::Train, &["train", "training"]),
    (Split::Validation, &["val", "valid", "validation", "dev"]),
    (Split::Test, &["test", "testing"]),
];

/// The split of that name.
pub(super) fn split_of(name: &str) -> Option<Split> {
    let name = name.to_ascii_lowercase();
    (SPLITS.iter())
        .find(|(_, names)| names.contains(&name.as_str()))
        .map(|(split, _)| *split)
}
