//! `scripts/gpu-check.sh` on the processor: as on a GPU, in little.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::workspace;

/// A bundle of the programs under test, without benchmarks and parity suite.
fn bundle(folder: &Path) {
    let link = |from: &Path, to: &str| {
        let to = folder.join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        symlink(from, to).unwrap();
    };
    link(Path::new(env!("CARGO_BIN_EXE_patchwork")), "bin/patchwork");
    link(
        Path::new(env!("CARGO_BIN_EXE_patchwork-worker")),
        "bin/patchwork-worker",
    );
    for (part, place) in [
        ("pipelines", "pipelines"),
        ("configs", "configs"),
        ("weights", "weights"),
        ("tests/fixtures/parity", "fixtures/parity"),
        ("python", "python"),
    ] {
        link(&workspace().join(part), place);
    }
}

fn check(bundle: &Path, out: &Path, words: &[&str]) -> (Output, Value, String) {
    let output = Command::new(workspace().join("scripts/gpu-check.sh"))
        .arg("--bundle")
        .arg(bundle)
        .args(words)
        .env("PATCHWORK_DEVICE", "cpu")
        .env("OUT", out)
        // Tests run beside each other: threads that wait must not hold the cores.
        .env("OMP_WAIT_POLICY", "passive")
        .env("GOMP_SPINCOUNT", "0")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let report = std::fs::read(out.join("report.json"))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let text = std::fs::read_to_string(out.join("report.md")).unwrap();
    (output, serde_json::from_slice(&report).unwrap(), text)
}

fn step<'a>(report: &'a Value, name: &str) -> &'a Value {
    let mut steps = report["steps"].as_array().unwrap().iter();
    steps.find(|step| step["name"] == name).unwrap()
}

#[test]
fn a_check_trains_is_killed_samples_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("bundle"), folder.path().join("out"));
    bundle(&place);
    let steps = "loading,parity,resume,one-seed,memory,waits,demo";
    let words = ["--steps", steps, "--seconds", "1200", "--limit", "600"];
    let (output, report, text) = check(&place, &out, &words);
    assert!(output.status.success(), "{text}");
    assert_eq!(report["format"], "patchwork.gpu-check/1");
    assert_eq!(report["failures"], 0);
    for (name, status) in [
        ("loading", "pass"),
        ("parity", "skipped"),
        ("resume", "pass"),
        ("one-seed", "pass"),
        ("memory", "pass"),
        ("waits", "skipped"),
        ("demo", "pass"),
    ] {
        assert_eq!(step(&report, name)["status"], status, "{name}: {text}");
        assert!(text.contains(&format!("## {name}: {status}")), "{text}");
    }
    let resumed = &step(&report, "resume")["facts"]["killed and resumed against undisturbed"];
    assert_eq!(resumed["same_bytes"], true, "{text}");
    // Both computed the same way here.
    assert_eq!(step(&report, "one-seed")["facts"]["largest"], 0);
    let picture = std::fs::read(out.join("demo.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert!(out.join("log.txt").is_file());
}

#[test]
fn a_step_that_hangs_costs_its_limit_and_not_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (place, out) = (folder.path().join("bundle"), folder.path().join("out"));
    bundle(&place);
    let hanging = place.join("bin/bench-train");
    let mark = folder.path().join("child");
    let script = format!(
        "#!/bin/sh\nsleep 1000 & echo $! >{}\nwait\n",
        mark.display()
    );
    std::fs::write(&hanging, script).unwrap();
    std::fs::set_permissions(&hanging, PermissionsExt::from_mode(0o755)).unwrap();
    let words = ["--steps", "loading,train-bfloat16,group", "--limit", "20"];
    let (output, report, text) = check(&place, &out, &words);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let hung = step(&report, "train-bfloat16");
    assert_eq!(hung["status"], "fail");
    assert!(text.contains("ran past its limit after 2"), "{text}");
    assert_eq!(step(&report, "loading")["status"], "pass", "{text}");
    // What comes after it is done.
    assert_ne!(step(&report, "group")["status"], "no time left", "{text}");
    let child = std::fs::read_to_string(mark).unwrap();
    let child = Path::new("/proc").join(child.trim()).join("stat");
    let state = std::fs::read_to_string(child).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "{state}");
}
