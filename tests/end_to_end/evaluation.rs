//! `evaluate` on files: raw images, archives' contents, prepared sets and samples, each against another.

use std::path::Path;

use patchwork_dataset::{ShardSet, export};
use serde_json::Value;

use crate::program::{Program, text, workspace};
use crate::readers::python;

const PIPELINE: &str = "pipelines/smoke.toml";

fn scores(folder: &Path) -> Vec<Value> {
    serde_json::from_slice(&std::fs::read(folder.join("scores.json")).unwrap()).unwrap()
}

#[test]
fn sets_on_disk_are_compared_as_in_a_pipeline() {
    let program = Program::new();
    program.succeed(&["run", PIPELINE, "--set", "stages.evaluate.neighbours=3"]);
    let (data, samples) = (program.artifact("prepare"), program.artifact("sample"));
    let in_pipeline = program.artifact("evaluate");
    let place = |name: &str| program.home().join(name);

    // Prepared images against samples, with their neighbours.
    let out = place("scores");
    let compare = [
        "evaluate",
        text(&data),
        text(&samples),
        "--neighbours",
        "3",
        "--set",
        "evaluate.baselines=[\"noise\", \"real-halves\"]",
        "--out",
        text(&out),
    ];
    let first = program.succeed(&compare);
    assert!(first.contains("fd_efficientnet_lite0 of"), "{first}");
    let (own, known) = (scores(&out), scores(&in_pipeline));
    assert_eq!(own.len(), known.len());
    for (own, known) in own.iter().zip(&known) {
        assert_eq!(own["value"], known["value"]);
    }
    for file in ["neighbours.png", "neighbours.json"] {
        assert!(
            std::fs::read(out.join(file)).unwrap()
                == std::fs::read(in_pipeline.join(file)).unwrap(),
            "{file}"
        );
    }
    // Finished already, it prints the result again.
    let again = program.succeed(&compare);
    assert!(again.contains("fd_efficientnet_lite0 of"), "{again}");

    // The same pixels as files: the samples are their own nearest neighbours, at no distance from themselves.
    let files = place("files");
    let options = export::ExportOptions {
        folder: &samples,
        out: &files,
        format: export::ExportFormat::PngFolder,
        drop_duplicates: false,
    };
    export::export(&options, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    let raw = place("raw");
    let output = program.run(&[
        "evaluate",
        text(&files),
        text(&samples),
        "--neighbours",
        "2",
        "--out",
        text(&raw),
    ]);
    let warned = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && warned.contains("near-copies among samples: 10 of 10"),
        "{warned}"
    );
    assert!(scores(&raw)[0]["value"].as_f64().unwrap().abs() < 1e-3);
    let rows: Vec<Value> =
        serde_json::from_slice(&std::fs::read(raw.join("neighbours.json")).unwrap()).unwrap();
    for (sample, row) in rows.iter().enumerate() {
        assert_eq!(row["nearest"][0]["distance"], 0.0, "{row}");
        let set = ShardSet::open(&samples).unwrap();
        let nearest = row["nearest"][0]["training_image"].as_u64().unwrap() as usize;
        assert!(set.pixels(sample) == set.pixels(nearest));
    }

    // Without `--out`, in the home folder, and evaluated again when the images change.
    let value = || {
        let printed = program.succeed(&["evaluate", text(&samples), text(&files)]);
        printed.lines().next().unwrap().to_owned()
    };
    let before = value();
    assert_eq!(value(), before);
    let removed = std::fs::read_dir(&files).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(removed.path()).unwrap();
    assert_ne!(value(), before);

    mistakes_are_told(&program, &samples, &files);
}

fn mistakes_are_told(program: &Program, samples: &Path, files: &Path) {
    let network = program.artifact("train");
    let large = include_bytes!("../../docs/images/demo.png");
    std::fs::write(files.join("zz.png"), large).unwrap();
    for (arguments, words) in [
        (vec![text(samples), text(files)], ["sizes", "--resolution"]),
        (vec![text(samples), text(&network)], ["train", "sample"]),
        (
            vec![text(samples), "no-such-folder"],
            ["no-such-folder", "no file or folder"],
        ),
        (
            vec![text(samples), text(samples), "--set", "batch_size=3"],
            ["batch_size=3", "reference.KEY"],
        ),
        (
            vec![text(samples), text(samples), "--extractor", "resnet"],
            ["resnet", "efficientnet-lite0"],
        ),
    ] {
        let output = program.run(&[&["evaluate"], &arguments[..]].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        for word in words {
            assert!(message.contains(word), "`{word}` is missing in: {message}");
        }
    }
    let scaled = ["evaluate", text(samples), text(files), "--resolution", "16"];
    program.succeed(&scaled);
}

/// Colour images and the same in grey files, one image, equal images, another size among them.
const UNUSUAL: &str = r"
import os, sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(0)
def folder(name, images):
    os.makedirs(f'{sys.argv[1]}/{name}')
    for number, image in enumerate(images):
        image.save(f'{sys.argv[1]}/{name}/{number:03}.png')
grey = [Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)) for _ in range(12)]
folder('grey', grey)
folder('colour', [image.convert('RGB') for image in grey])
folder('large', [image.resize((32, 24)) for image in grey])
folder('one', grey[:1])
folder('dark', [Image.new('RGB', (16, 16), (20, 20, 20))] * 8)
folder('light', [Image.new('RGB', (16, 16), (230, 230, 230))] * 8)
folder('mixed', grey[:6] + [image.resize((24, 16)) for image in grey[6:]])
";

#[test]
fn unusual_sets_have_sensible_answers() {
    let program = Program::new();
    python(UNUSUAL, &[program.home().as_os_str()]);
    let evaluate = |real: &str, other: &str, more: &[&str]| {
        let place = |name: &str| program.home().join(name);
        let (real, other, out) = (place(real), place(other), place("scores"));
        let sets = ["evaluate", text(&real), text(&other), "--out", text(&out)];
        let output = program.run(&[&sets[..], more].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        let value = output.status.success().then(|| {
            let value = scores(&out)[0]["value"].as_f64().unwrap();
            std::fs::remove_dir_all(&out).unwrap();
            value
        });
        (value, said)
    };
    // Grey counts as three equal channels.
    let (same, said) = evaluate("colour", "grey", &[]);
    assert!(same.unwrap().abs() < 1e-3, "{same:?}");
    assert!(
        said.contains("12 images"),
        "few images are warned of: {said}"
    );
    // Images of two sizes have a distance and neighbours, which stand in no picture.
    let (apart, said) = evaluate("colour", "large", &["--neighbours", "1"]);
    assert!(apart.unwrap() > 0.0);
    for words in ["16 × 16", "32 x 24 pixels", "there is no picture"] {
        assert!(said.contains(words), "`{words}` is missing in: {said}");
    }
    // Sets without any spread are as far apart as their means.
    let (apart, _) = evaluate("dark", "light", &[]);
    assert!(apart.unwrap() > 1.0, "{apart:?}");
    let (equal, _) = evaluate("dark", "dark", &[]);
    assert!(equal.unwrap().abs() < 1e-3, "{equal:?}");
    // One image has no covariance, whichever side it is on.
    for (real, other) in [("one", "colour"), ("colour", "one")] {
        let (none, said) = evaluate(real, other, &[]);
        assert!(none.is_none() && said.contains("covariance"), "{said}");
    }
    // Of several sizes: a refusal that says what brings them to one, and then a number.
    let (none, said) = evaluate("colour", "mixed", &[]);
    assert!(none.is_none() && said.contains("--resolution"), "{said}");
    let (scaled, _) = evaluate("colour", "mixed", &["--resolution", "16"]);
    assert!(scaled.unwrap() > 0.0);
}

#[test]
fn samples_of_one_network_are_named_after_their_settings() {
    let program = Program::new();
    let path = program.home().join("steps.toml");
    let smoke = workspace().join(PIPELINE);
    let pipeline = format!(
        "name = \"steps\"\nextends = {smoke:?}\n\
         [stages.sample-fast]\nkind = \"sample\"\nseeds = \"0-31\"\nsteps = 2\nbatch_size = 8\n"
    );
    std::fs::write(&path, pipeline).unwrap();
    let printed = program.succeed(&["run", text(&path)]);
    for steps in [2, 4] {
        let words = format!(" images (steps={steps}): ");
        assert!(
            printed.contains(&words),
            "`{words}` is missing in: {printed}"
        );
    }
    let curve = std::fs::read(program.artifact("evaluate").join("curve.png")).unwrap();
    assert!(curve.starts_with(b"\x89PNG"));
    let rank = ["compare", "--metric", "fd_efficientnet_lite0"];
    assert_eq!(program.rows(&rank).len(), 2);
    let fast = program.rows(&[&rank[..], &["--stage", "sample-fast"]].concat());
    assert_eq!((fast.len(), &fast[0]["of"]), (1, &"sample-fast".into()));
}
