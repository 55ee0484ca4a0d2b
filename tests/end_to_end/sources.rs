//! What every stage says that it did, raw sources looked at, and small or lossy sets of images measured.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::{Program, text};
use crate::readers::python;

/// Pets in folders of splits, with files that are none; a few pictures as PNG and as poor JPEG.
const MAKE: &str = r#"
import os, sys
import numpy as np
from PIL import Image
root = sys.argv[1]
def picture(n, side=32):
    rng = np.random.default_rng(n)
    return Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
def put(path, n, **options):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    picture(n).save(path, **options)
for n in range(12):
    put(f'pets/{["train", "test"][n % 4 == 3]}/{["cat", "dog"][n % 2]}/{n}.png', n)
for name in ('notes.txt', 'train/labels.csv', 'train/.hidden'):
    open(os.path.join(root, 'pets', name), 'w').write('words')
for n in range(24):
    put(f'png/{n:03}.png', n)
    put(f'jpg/{n:03}.jpg', n, quality=30)
for n in range(30):
    put(f'other/{n:03}.png', 1000 + n)
for n in range(3):
    put(f'three/{n}.png', n)
"#;

fn made() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let root = tempfile::tempdir().unwrap();
    python(MAKE, &[root.path().as_os_str()]);
    let path = root.path().to_owned();
    (root, move |name: &str| path.join(name))
}

fn standard_error(program: &Program, arguments: &[&str]) -> String {
    let output = program.run(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {message}");
    message
}

#[test]
fn stages_say_what_they_did_and_raw_sources_are_looked_at() {
    let (_root, at) = made();
    let program = Program::new();
    let pets = at("pets");
    let shards = at("pets/shards");
    let build = [
        "dataset",
        "build",
        text(&pets),
        "--out",
        text(&shards),
        "--resolution",
        "16",
        "--set",
        "labels=folder",
    ];
    let report = "recognised as `images`, split `all`; 12 images taken, 4 passed over (1 .csv, 1 .txt, 1 folders of \
                  this program's own output, 1 hidden), 0 rejected; 2 classes: cat 6, dog 6";
    let said = standard_error(&program, &build);
    assert!(said.contains(report), "{said}");
    // What was made inside of the source is not part of it: nothing is to be done again.
    let said = standard_error(&program, &build);
    assert!(said.contains("up to date"), "{said}");

    let inspect = |arguments: &[&str]| -> Value {
        let all = [
            &["dataset", "inspect", text(&pets), "--format", "json"],
            arguments,
        ]
        .concat();
        serde_json::from_str(&program.succeed(&all)).unwrap()
    };
    let tables = inspect(&["--set", "labels=folder", "--set", "split=test"]);
    let overview = |what: &str| {
        let rows = tables["overview"].as_array().unwrap();
        rows.iter().find(|row| row["what"] == what).unwrap()["value"].clone()
    };
    assert_eq!(overview("reading"), "recognised as `images`, split `test`");
    assert_eq!(overview("images"), 3);
    assert_eq!(tables["classes"][0]["class"], "dog");
    let passed_over = tables["passed_over"].as_array().unwrap();
    assert!(
        passed_over
            .iter()
            .any(|row| row["reason"] == "of another split" && row["entries"] == 9)
    );
    assert!(
        program
            .succeed(&["dataset", "inspect", text(&pets)])
            .contains("recognised as `images`")
    );

    // Every stage of a pipeline ends with a line of its own, which the registry keeps.
    let said = standard_error(&program, &["run", "pipelines/smoke.toml"]);
    for words in [
        "images taken",
        "features of",
        "parameters on",
        "images of seeds",
        "fd_efficientnet_lite0 of",
    ] {
        assert!(said.contains(words), "`{words}` is missing in: {said}");
    }
    assert!(
        program
            .succeed(&["show", "latest"])
            .contains("images taken")
    );
    let kept = program.rows(&[
        "query",
        "SELECT kind, json_extract(summary, '$.report') AS report FROM artifacts",
    ]);
    assert_eq!(kept.len(), 5);
    assert!(kept.iter().all(|row| row["report"].is_string()), "{kept:?}");
}

fn scores(folder: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(folder.join("scores.json")).unwrap()).unwrap()
}

#[test]
fn small_sets_lose_a_metric_and_keep_the_distance() {
    let (_root, at) = made();
    let program = Program::new();
    let out = at("scores");
    let said = standard_error(
        &program,
        &[
            "evaluate",
            text(&at("png")),
            text(&at("other")),
            "--out",
            text(&out),
            "--set",
            "evaluate.metrics=[\"kernel\", \"manifold\", \"confidence\"]",
            "--set",
            "evaluate.nearest_k=24",
            "--set",
            "reference.keep_features=1000",
        ],
    );
    for words in [
        "`nearest_k = 24`",
        "`confidence`, which needs",
        "`kernel_subset_images = 1000`",
    ] {
        assert!(said.contains(words), "`{words}` is missing in: {said}");
    }
    let found = scores(&out);
    let metrics: Vec<&str> = found
        .iter()
        .map(|score| score["metric"].as_str().unwrap())
        .collect();
    assert!(metrics.contains(&"fd_efficientnet_lite0"), "{metrics:?}");
    assert_eq!(metrics.len(), 2, "{metrics:?}");

    // Subsets that hold everything do not vary; two images a half are too few for the halves.
    let same = at("same");
    standard_error(
        &program,
        &[
            "evaluate",
            text(&at("png")),
            text(&at("jpg")),
            "--out",
            text(&same),
            "--set",
            "evaluate.metrics=[\"kernel\"]",
            "--set",
            "reference.keep_features=1000",
        ],
    );
    for score in scores(&same) {
        assert!(score.get("deviation").is_none(), "{score}");
        // What the files were encoded in is recorded, and keeps them apart from raw samples in `compare`.
        assert_eq!(score["codec"], "jpeg");
    }
    assert!(found.iter().all(|score| score["codec"] == "raw u8"));
    let halves = at("halves");
    let said = standard_error(
        &program,
        &[
            "evaluate",
            text(&at("three")),
            text(&at("png")),
            "--out",
            text(&halves),
            "--set",
            "evaluate.baselines=[\"real-halves\"]",
        ],
    );
    assert!(said.contains("`real-halves`"), "{said}");
    assert_eq!(scores(&halves).len(), 1);
}
