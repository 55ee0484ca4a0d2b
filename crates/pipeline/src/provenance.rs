//! Under which circumstances a run happens: recorded with the run, part of no artifact.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The compiler that built this program, as it names itself.
pub const RUSTC_VERSION: &str = env!("PATCHWORK_RUSTC_VERSION");

/// Where, by what and how a run was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provenance {
    /// The command line.
    pub command: Vec<String>,
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
    /// The versions of the program and its main libraries.
    pub versions: Value,
}

impl Provenance {
    /// Looks around.
    pub fn collect(command: Vec<String>, working_folder: &Path, versions: Value) -> Self {
        let git_status = git(working_folder, &["status", "--porcelain"]);
        Self {
            command,
            working_folder: working_folder.display().to_string(),
            git_revision: git(working_folder, &["rev-parse", "HEAD"]),
            git_dirty: git_status.map(|status| !status.is_empty()),
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            cpu: cpu_name(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            versions,
        }
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

/// The processor's name as Linux tells it; elsewhere the architecture.
fn cpu_name() -> String {
    std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        })
        .unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
