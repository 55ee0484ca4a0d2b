//! Who may depend on whom, as docs/architecture.md says.

use std::collections::BTreeSet;
use std::process::Command;

use crate::program::workspace;

/// The workspace's crates, but for the program, which may know everything.
const CRATES: &[&str] = &[
    "core",
    "terms",
    "collectives",
    "config",
    "registry",
    "dataset",
    "libtorch",
    "networks",
    "diffusion",
    "metrics",
    "pipeline",
    "planner",
    "plot",
    "preparation",
    "stages",
    "tensorboard",
    "weights",
];

/// Everything that a crate is built from, directly or not.
fn dependencies(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(["--package", &format!("patchwork-{name}")])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_know_only_what_they_may() {
    let allowed: &[(&str, &[&str])] = &[
        ("clap", &[]),
        (
            "sqlx",
            &["registry", "pipeline", "planner", "preparation", "stages"],
        ),
        ("parquet", &["dataset", "planner", "preparation", "stages"]),
        ("polars", &["dataset", "planner", "preparation", "stages"]),
        (
            "tch",
            &[
                "libtorch",
                "collectives",
                "networks",
                "diffusion",
                "metrics",
                "stages",
            ],
        ),
        ("patchwork-libtorch", &["libtorch", "collectives", "stages"]),
        ("patchwork-collectives", &["collectives", "stages"]),
        (
            "patchwork-registry",
            &["registry", "pipeline", "planner", "preparation", "stages"],
        ),
    ];
    for name in CRATES {
        let reached = dependencies(name);
        assert!(
            reached.contains(&format!("patchwork-{name}")),
            "cargo tree lists the crate itself"
        );
        for (library, may) in allowed {
            assert!(
                may.contains(name) || !reached.contains(*library),
                "`{name}` reaches `{library}`"
            );
        }
    }
}

/// A program's file names the libraries that it loads.
#[test]
fn only_the_worker_loads_libtorch() {
    let loads_libtorch = |program: &str| {
        let bytes = std::fs::read(program).unwrap();
        let library = b"libtorch_cpu.";
        bytes.windows(library.len()).any(|window| window == library)
    };
    assert!(!loads_libtorch(env!("CARGO_BIN_EXE_patchwork")));
    assert!(!loads_libtorch(env!("CARGO_BIN_EXE_patchwork-prepare")));
    assert!(loads_libtorch(env!("CARGO_BIN_EXE_patchwork-worker")));
}
