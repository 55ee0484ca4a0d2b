//! Where the feature extractors' weights lie.

use std::path::PathBuf;

/// The environment variable that names the folder, when it is not the default.
pub const WEIGHTS_VARIABLE: &str = "PATCHWORK_WEIGHTS";

/// The folder of the weights: the given one, else `weights` beside the program's project, else in the
/// current folder.
pub fn weights_folder(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| PathBuf::from("weights"))
}
