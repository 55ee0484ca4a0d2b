//! Every kind of distance through a pipeline, statistics of other programs, and weights that are not there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{Program, text, with, workspace};
use crate::readers::python;

/// A small TorchScript program measures the smoke pipeline's samples in every way; `more` is appended.
fn pipeline(program: &Program, name: &str, reference: &str) -> PathBuf {
    let path = program.home().join(format!("{name}.toml"));
    let smoke = toml_string(&workspace().join("pipelines/smoke.toml"));
    let tiny = toml_string(&workspace().join("tests/fixtures/torchscript/tiny.pt"));
    let text = format!(
        "name = \"{name}\"\nextends = {smoke}\n\
         [stages.sample]\nseeds = \"0-47\"\n\
         [stages.reference]\nextractor = \"tiny\"\n{reference}\n\
         [stages.reference.torchscript.tiny]\nfile = {tiny}\nside = 32\nmean = [0.5, 0.5, 0.5]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A JSON string is a TOML string too.
fn toml_string(path: &Path) -> Value {
    Value::from(path.to_str().unwrap())
}

fn scores(program: &Program, run: &str) -> Vec<Value> {
    program.rows(&[
        "query",
        &format!(
            "SELECT metric, value, deviation, reference_foreign FROM fid_history \
             WHERE run = '{run}' AND subject = 'sample'"
        ),
    ])
}

#[test]
fn every_distance_is_recorded_and_compares_only_with_its_like() {
    let program = Program::new();
    let own = pipeline(&program, "own", "crops = [\"half\", \"quarter\"]");
    let own = own.to_str().unwrap();
    let all = "stages.evaluate.metrics=[\"confidence\", \"kernel\", \"manifold\"]";
    let printed = program.succeed(&["run", own, "--set", all]);
    let recorded = scores(&program, "own-1");
    let metrics = [
        "fd_tiny",
        "fd_infinity_tiny",
        "fd_crop_half_tiny",
        "fd_crop_quarter_tiny",
        "kd_tiny",
        "precision_tiny",
        "recall_tiny",
        "density_tiny",
        "coverage_tiny",
    ];
    let score = |metric: &str| {
        let found = recorded.iter().find(|row| row["metric"] == metric);
        found.unwrap_or_else(|| panic!("no {metric} in {recorded:?}"))
    };
    for metric in metrics {
        assert!(
            score(metric)["value"].as_f64().unwrap().is_finite(),
            "{metric}"
        );
    }
    assert_eq!(recorded.len(), metrics.len(), "{recorded:?}");
    for metric in ["fd_tiny", "kd_tiny"] {
        assert!(
            score(metric)["deviation"].as_f64().unwrap() > 0.0,
            "{metric}"
        );
    }
    assert_eq!(program.rows(&["runs"])[0]["metric"], "fd_tiny");
    // A kernel distance is a small number, of which people see four digits all the same.
    let line = printed.lines().find(|line| line.starts_with("kd_tiny of "));
    let line = line.unwrap_or_else(|| panic!("no kd_tiny in {printed}"));
    let shown: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let kernel = score("kd_tiny")["value"].as_f64().unwrap();
    assert!(
        (shown - kernel).abs() <= 1e-3 * kernel.abs(),
        "{line}, of {kernel}"
    );

    // Another run with the same reference is ranked beside it; one of fewer samples is not.
    program.succeed(&["run", own, "--set", "stages.sample.steps=3"]);
    let ranked = program.rows(&["compare", "--metric", "fd_tiny"]);
    assert_eq!(ranked.len(), 2, "{ranked:?}");
    program.succeed(&["run", own, "--set", "stages.sample.seeds=0-39"]);
    let refused = program.run(&["compare", "--metric", "fd_tiny"]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && message.contains("samples: 40 in own-3"),
        "{message}"
    );

    // The statistics as another program's: the same distance, marked, and not ranked beside one's own.
    let reference = program.artifact("reference");
    let statistics = format!(
        "statistics = {:?}\nimages = 30",
        reference.join("tiny-clean.npz")
    );
    let foreign = pipeline(&program, "foreign", &statistics);
    let baselines = "stages.evaluate.baselines=[]";
    program.succeed(&["run", foreign.to_str().unwrap(), "--set", baselines]);
    let imported = scores(&program, "foreign-1");
    assert_eq!(imported.len(), 1, "{imported:?}");
    assert_eq!(imported[0]["reference_foreign"], 1);
    let (theirs, ours) = (
        imported[0]["value"].as_f64().unwrap(),
        score("fd_tiny")["value"].as_f64().unwrap(),
    );
    assert!((theirs / ours - 1.0).abs() < 1e-9, "{theirs} {ours}");
    let refused = program.run(&["compare", "own-1", "foreign-1", "--metric", "fd_tiny"]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && message.contains("origin of the reference"),
        "{message}"
    );

    // What depends on settings of its evaluation is ranked beside its like, too.
    let otherwise = [
        all,
        "stages.evaluate.nearest_k=5",
        "stages.evaluate.kernel_subsets=50",
    ];
    program.succeed(&with(&["run", own], &otherwise));
    let both = ["compare", "own-1", "own-4", "--metric"];
    assert_eq!(program.rows(&[&both[..], &["fd_tiny"]].concat()).len(), 2);
    for (metric, difference) in [
        ("recall_tiny", "nearest_k: 3 in own-1; 5 in own-4"),
        ("kd_tiny", "kernel_subsets: 100 in own-1; 50 in own-4"),
    ] {
        let refused = program.run(&[&both[..], &[metric]].concat());
        let message = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{metric}: {message}");
        assert!(message.contains(difference), "{metric}: {message}");
        let compared = program.run(&["compare", "own-1", "own-4"]);
        let message = String::from_utf8(compared.stderr).unwrap();
        assert!(message.contains(difference), "{metric}: {message}");
    }

    // The picture is of the distance, whatever else was measured.
    let picture = || {
        let path = program.home().join("curves.png");
        let plot = ["--plot", text(&path), "--force"];
        program.succeed(&[&["compare", "own-1", "own-2"], &plot[..]].concat());
        std::fs::read(path).unwrap()
    };
    let before = picture();
    let distance_alone = "import sqlite3, sys\n\
        registry = sqlite3.connect(sys.argv[1])\n\
        registry.execute(\"DELETE FROM scores WHERE metric <> 'fd_tiny'\")\n\
        registry.commit()";
    python(
        distance_alone,
        &[program.home().join("registry.db").as_os_str()],
    );
    assert!(picture() == before);
}

#[test]
fn missing_weights_are_told_before_anything_runs_and_can_be_fetched() {
    let program = Program::new();
    let empty = program.home().join("empty");
    let empty = empty.to_str().unwrap();
    let fid = "stages.reference.extractor=\"inception-v3\"";
    let smoke = [
        "run",
        "pipelines/smoke.toml",
        "--weights",
        empty,
        "--set",
        fid,
    ];
    let refused = program.run(&smoke);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(
        message.contains("patchwork weights get inception"),
        "{message}"
    );
    assert!(!program.home().join("artifacts/prepare").exists());

    let wrong = workspace().join("README.md");
    let get = ["weights", "get", "inception", "--weights", empty, "--from"];
    let refused = program.run(&[&get[..], &[wrong.to_str().unwrap()]].concat());
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("SHA-256"), "{message}");

    let known = std::env::var_os("PATCHWORK_WEIGHTS")
        .map_or_else(|| workspace().join("weights"), PathBuf::from)
        .join("efficientnet-lite0-57934424.pth");
    let from = known.to_str().unwrap();
    let get = [
        "weights",
        "get",
        "efficientnet-lite0",
        "--weights",
        empty,
        "--from",
        from,
    ];
    assert!(program.succeed(&get).contains("is installed, from"));
    assert!(program.succeed(&get).contains("is installed already"));
    let list = program.succeed(&["weights", "list", "--weights", empty, "--format", "json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let states: Vec<&str> = list
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!((states.len(), states[0]), (5, "installed"), "{states:?}");
    assert!(states[1].starts_with("missing:"), "{states:?}");
}
