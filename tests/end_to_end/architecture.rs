//! Who may depend on whom, as docs/architecture.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::program::workspace;

/// Each crate of the workspace, by its folder, and the crates that it may depend on: the arrows of docs/architecture.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("terms", &[]),
    ("libtorch", &[]),
    ("plot", &[]),
    ("signatures", &[]),
    ("config", &["core"]),
    ("dataset", &["core", "terms"]),
    ("networks", &["core", "libtorch", "terms"]),
    ("tensorboard", &["core"]),
    ("weights", &["core", "terms"]),
    ("artifacts", &["core", "terms"]),
    ("registry", &["artifacts", "core"]),
    ("comparison", &["registry", "terms"]),
    (
        "dashboard",
        &[
            "artifacts",
            "comparison",
            "core",
            "dataset",
            "registry",
            "terms",
        ],
    ),
    ("collectives", &["core", "libtorch"]),
    ("diffusion", &["core", "libtorch", "networks", "terms"]),
    ("metrics", &["core", "networks", "weights"]),
    (
        "recipes",
        &["artifacts", "config", "core", "dataset", "terms", "weights"],
    ),
    ("preparation", &["artifacts", "dataset", "recipes"]),
    ("supervisor", &["artifacts", "core", "registry"]),
    (
        "stages",
        &[
            "artifacts",
            "collectives",
            "core",
            "dataset",
            "diffusion",
            "libtorch",
            "metrics",
            "networks",
            "recipes",
            "plot",
            "preparation",
            "signatures",
            "tensorboard",
            "terms",
            "weights",
        ],
    ),
    (
        "cli",
        &[
            "artifacts",
            "comparison",
            "config",
            "core",
            "dashboard",
            "dataset",
            "plot",
            "preparation",
            "recipes",
            "registry",
            "signatures",
            "stages",
            "supervisor",
            "terms",
            "weights",
        ],
    ),
];

/// Libraries, and the crates that use them. What else reaches one does so through these.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("arrow", &["dataset"]),
    ("axum", &["dashboard"]),
    ("clap", &["cli"]),
    ("comfy-table", &["cli"]),
    ("indicatif", &["cli"]),
    ("parquet", &["dataset"]),
    ("polars", &["cli", "dataset"]),
    ("sqlx", &["registry"]),
    (
        "tch",
        &[
            "collectives",
            "diffusion",
            "libtorch",
            "metrics",
            "networks",
            "stages",
        ],
    ),
    ("ureq", &["weights"]),
];

/// What a crate is built from: what it names itself, and all that is reached.
struct Dependencies {
    direct: BTreeSet<String>,
    reached: BTreeSet<String>,
}

fn package(folder: &str) -> String {
    match folder {
        "cli" => "patchwork".to_owned(),
        folder => format!("patchwork-{folder}"),
    }
}

fn dependencies(folder: &str) -> Dependencies {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal"])
        .args(["--prefix", "depth", "--format", " {p}"])
        .args(["--package", &package(folder)])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    // `1 serde v1.0.228`
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?.to_owned()))
    });
    let lines: Vec<(&str, String)> = lines.collect();
    assert_eq!(lines[0], ("0", package(folder)), "cargo tree lists itself");
    let of_depth = |wanted: fn(&str) -> bool| {
        let lines = lines.iter().filter(|(depth, _)| wanted(depth));
        lines.map(|(_, name)| name.clone()).collect()
    };
    Dependencies {
        direct: of_depth(|depth| depth == "1"),
        reached: of_depth(|depth| depth != "0"),
    }
}

#[test]
fn crates_know_only_what_they_may() {
    let folders: BTreeSet<String> = (workspace().join("crates").read_dir().unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|folder| folder.join("Cargo.toml").is_file())
        .map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let listed: BTreeSet<String> = ARROWS
        .iter()
        .map(|(folder, _)| (*folder).to_owned())
        .collect();
    assert_eq!(folders, listed, "every crate has its row");

    let known: BTreeMap<&str, Dependencies> = ARROWS
        .iter()
        .map(|(folder, _)| (*folder, dependencies(folder)))
        .collect();
    let packages: BTreeSet<String> = folders.iter().map(|folder| package(folder)).collect();
    for (folder, may) in ARROWS {
        let may: BTreeSet<String> = may.iter().map(|folder| package(folder)).collect();
        let wrong: Vec<&String> = known[folder]
            .direct
            .intersection(&packages)
            .filter(|other| !may.contains(*other))
            .collect();
        assert!(wrong.is_empty(), "`{folder}` depends on {wrong:?}");
        for (library, users) in LIBRARIES {
            assert!(
                users.contains(folder) || !known[folder].direct.contains(*library),
                "`{folder}` uses `{library}`"
            );
        }
    }
    // What computes knows no SQL, and what answers questions starts without libtorch.
    for (library, reaching) in [
        (
            "sqlx",
            &["registry", "comparison", "dashboard", "supervisor", "cli"][..],
        ),
        (
            "tch",
            &[
                "libtorch",
                "collectives",
                "diffusion",
                "metrics",
                "networks",
                "stages",
                "cli",
            ],
        ),
    ] {
        for (folder, dependencies) in &known {
            assert!(
                reaching.contains(folder) || !dependencies.reached.contains(library),
                "`{folder}` reaches `{library}`"
            );
        }
    }
}

/// Whether a program's file has these bytes.
fn contains(program: &str, bytes: &[u8]) -> bool {
    let program = std::fs::read(program).unwrap();
    program.windows(bytes.len()).any(|window| window == bytes)
}

/// A program's file names the libraries that it loads.
#[test]
fn only_the_worker_loads_libtorch() {
    let library = b"libtorch_cpu.";
    assert!(!contains(env!("CARGO_BIN_EXE_patchwork"), library));
    assert!(!contains(env!("CARGO_BIN_EXE_patchwork-prepare"), library));
    assert!(contains(env!("CARGO_BIN_EXE_patchwork-worker"), library));
}

/// SQLite is linked into a program, which then has the words that each of its databases begins with.
#[test]
fn workers_have_no_sqlite() {
    let first_words = b"SQLite format 3\0";
    assert!(contains(env!("CARGO_BIN_EXE_patchwork"), first_words));
    for worker in [
        env!("CARGO_BIN_EXE_patchwork-prepare"),
        env!("CARGO_BIN_EXE_patchwork-worker"),
    ] {
        assert!(!contains(worker, first_words), "{worker}");
    }
}
