//! Under which circumstances a run happens: recorded with the run, part of no artifact.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The compiler that built this program, as it names itself.
pub const RUSTC_VERSION: &str = env!("PATCHWORK_RUSTC_VERSION");

/// Where, by what and how a run was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The command line, its words with spaces between them.
    #[serde(deserialize_with = "words")]
    pub command: String,
    /// The folder in which it was typed.
    pub working_folder: String,
    /// The git revision of that folder, if it lies in a repository.
    pub git_revision: Option<String>,
    /// Whether the repository had uncommitted changes.
    pub git_dirty: Option<bool>,
    /// The machine's name.
    pub host: String,
    /// The processor's name.
    pub cpu: String,
    /// How many threads the machine offers.
    pub threads: usize,
    /// The names of its graphics processors, with commas; none where it has none.
    #[serde(default)]
    pub gpus: Option<String>,
    /// The versions of the program and its main libraries.
    pub versions: Value,
}

impl Provenance {
    /// Looks around.
    pub fn collect(command: &[String], working_folder: &Path, versions: Value) -> Self {
        let git_status = git(working_folder, &["status", "--porcelain"]);
        Self {
            command: command.join(" "),
            working_folder: working_folder.display().to_string(),
            git_revision: git(working_folder, &["rev-parse", "HEAD"]),
            git_dirty: git_status.map(|status| !status.is_empty()),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            cpu: cpu_name(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            gpus: gpu_names(Path::new("/proc/driver/nvidia/gpus")),
            versions,
        }
    }
}

/// A text, or the list of words that earlier versions wrote.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Array(words) => Ok(words
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(" ")),
        other => Err(serde::de::Error::custom(format!(
            "{other} is not a command line"
        ))),
    }
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// What NVIDIA's driver reports of its devices: a folder each, with a file `information` (`Model: \t NVIDIA H100`).
fn gpu_names(folder: &Path) -> Option<String> {
    let mut names: Vec<(std::ffi::OsString, String)> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|device| {
            let device = device.ok()?;
            let text = std::fs::read_to_string(device.path().join("information")).ok()?;
            let line = text.lines().find(|line| line.starts_with("Model:"))?;
            let name = line.strip_prefix("Model:")?.trim().to_owned();
            Some((device.file_name(), name))
        })
        .collect();
    // By the address on the bus, which is the order of CUDA's numbers, as workers ask for it.
    names.sort();
    let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The processor's name as Linux reports it; elsewhere the architecture.
fn cpu_name() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphics_processors_are_named_in_the_order_of_the_bus() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(gpu_names(folder.path()), None);
        assert_eq!(gpu_names(&folder.path().join("none")), None);
        for (bus, model) in [("0000:41:00.0", "Abacus 9"), ("0000:01:00.0", "Abacus 8")] {
            let device = folder.path().join(bus);
            std::fs::create_dir(&device).unwrap();
            let text = format!("Model: \t\t {model}\nIRQ:   \t\t 170\n");
            std::fs::write(device.join("information"), text).unwrap();
        }
        assert_eq!(
            gpu_names(folder.path()).as_deref(),
            Some("Abacus 8, Abacus 9")
        );
    }
}
