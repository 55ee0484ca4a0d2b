//! Python as the reader that is not ours; its packages are made by `scripts/readers.sh` (`just readers`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a script in Python with pyarrow, Pillow, NumPy and TensorBoard, and returns what it printed.
///
/// # Panics
/// With Python's own message when the script fails, and with the remedy when the packages are not there.
pub(crate) fn python(script: &str, arguments: &[&OsStr]) -> String {
    let readers = folder();
    assert!(
        readers.join("stamp").is_file(),
        "{} is missing: run scripts/readers.sh (`just test` does)",
        readers.display()
    );
    let output = Command::new("python3")
        .env("PYTHONPATH", &readers)
        .arg("-c")
        .arg(script)
        .args(arguments)
        .output()
        .expect("python3 starts");
    assert!(
        output.status.success(),
        "python3: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("Python prints UTF-8")
}

fn folder() -> PathBuf {
    let repository = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::env::var_os("PATCHWORK_CACHE")
        .map_or_else(repository, PathBuf::from)
        .join(".tools/readers")
}
