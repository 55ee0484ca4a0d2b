//! The program under test, with a home folder of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The workspace's top.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// A command with settings of its own.
pub(crate) fn with<'a>(run: &[&'a str], settings: &[&'a str]) -> Vec<&'a str> {
    let set = settings.iter().flat_map(|setting| ["--set", setting]);
    run.iter().copied().chain(set).collect()
}

/// A home folder and the program that works in it.
pub(crate) struct Program {
    home: TempDir,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// A command in the workspace's top, as the README's are.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchwork"));
        command
            .args(arguments)
            .current_dir(workspace())
            .env("PATCHWORK_HOME", self.home.path())
            // Tests run beside each other: threads that wait must not hold the cores.
            .env("OMP_WAIT_POLICY", "passive")
            .env("GOMP_SPINCOUNT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// Standard output of a command that succeeds.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}\n{}",
            output.status,
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// The rows that a command prints as JSON.
    pub(crate) fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.succeed(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The one artifact of a kind.
    pub(crate) fn artifact(&self, kind: &str) -> PathBuf {
        let mut found = std::fs::read_dir(self.home().join("artifacts").join(kind)).unwrap();
        found.next().unwrap().unwrap().path()
    }

    /// Every file of every artifact with its content.
    pub(crate) fn artifacts(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.home().join("artifacts"))
    }
}

/// Every file below a folder with its content.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    collect(folder, folder, &mut files);
    files
}

fn collect(folder: &Path, root: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, root, files);
        } else {
            files.insert(
                path.strip_prefix(root).unwrap().to_owned(),
                std::fs::read(&path).unwrap(),
            );
        }
    }
}

/// The names of the files that differ between two sets of artifacts or are in one alone.
pub(crate) fn differences(
    left: &BTreeMap<PathBuf, Vec<u8>>,
    right: &BTreeMap<PathBuf, Vec<u8>>,
) -> Vec<PathBuf> {
    let names: std::collections::BTreeSet<&PathBuf> = left.keys().chain(right.keys()).collect();
    names
        .into_iter()
        .filter(|name| left.get(*name) != right.get(*name))
        .cloned()
        .collect()
}

/// The processes that a process has started, by Linux's account of its threads; elsewhere none are found.
pub(crate) fn children(process: u32) -> Vec<String> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else {
        return Vec::new();
    };
    threads
        .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The processes that work in a home folder, by the name of their program, or of the command of `patchwork` that they are;
/// `patchwork` for all of them. By Linux's account of them; elsewhere none are found.
pub(crate) fn processes(home: &Path, name: &str) -> Vec<String> {
    let variable = format!("PATCHWORK_HOME={}", home.display());
    let works_there = |process: &Path| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment
            .split(|&byte| byte == 0)
            .any(|entry| entry == variable.as_bytes())
    };
    let is_named = |process: &Path| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|&byte| byte == 0).map(String::from_utf8_lossy);
        let program = words.next().unwrap_or_default().into_owned();
        let program = program.rsplit('/').next().unwrap_or_default();
        let command = words.next().unwrap_or_default();
        program == name
            || (name == "patchwork" && program.starts_with(name))
            || (program == "patchwork" && command == name)
    };
    let mut found: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| works_there(&process.path()) && is_named(&process.path()))
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect();
    found.sort_unstable();
    found.iter().map(u32::to_string).collect()
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(process: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(process).join("stat"));
    status.is_ok_and(|status| {
        let state = status.rsplit(") ").next().unwrap_or_default();
        !state.starts_with(['Z', 'X'])
    })
}

/// Whether an unfinished training in a home folder has a checkpoint.
pub(crate) fn has_checkpoint(home: &Path) -> bool {
    std::fs::read_dir(home.join("work"))
        .into_iter()
        .flatten()
        .filter_map(|folder| std::fs::read_dir(folder.ok()?.path().join("state")).ok())
        .flatten()
        .flatten()
        .any(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            name.starts_with("checkpoint-")
                && file.path().extension().is_some_and(|end| end == "json")
        })
}

/// Waits until a training has a checkpoint.
pub(crate) fn wait_for_checkpoint(child: &mut Child, program: &Program) {
    let begin = Instant::now();
    while !has_checkpoint(program.home()) {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        assert!(begin.elapsed() < Duration::from_mins(2), "nothing happens");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills a process that may be over already.
pub(crate) fn kill(process: &str) {
    send("KILL", process);
}

/// Sends a signal to a process that may be over already.
pub(crate) fn send(signal: &str, process: &str) {
    let _ = Command::new("kill")
        .args([&format!("-{signal}"), process])
        .stderr(Stdio::null())
        .status();
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
