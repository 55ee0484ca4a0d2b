//! Sampling at scale, and measuring on the way: what may not change an image or a weight does not.

use std::path::Path;

use patchwork_dataset::ShardSet;
use serde_json::Value;

use crate::program::{Program, text, with};
use crate::readers::python;

const PIPELINE: &str = "pipelines/smoke.toml";

fn bytes(folder: &Path, file: &str) -> Vec<u8> {
    std::fs::read(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&bytes(folder, "manifest.json")).unwrap()
}

#[test]
fn measured_snapshots_leave_training_as_it_is() {
    let program = Program::new();
    program.succeed(&["run", PIPELINE, "--until", "train"]);
    let data = program.artifact("prepare");
    let plain = program.artifact("train");
    let measured = program.home().join("measured");
    program.succeed(&[
        "train",
        PIPELINE,
        "--data",
        text(&data),
        "--out",
        text(&measured),
        "--set",
        "snapshot_images=[0, 300]",
        "--set",
        "snapshot_evaluation={samples = 40, steps = 3, reference_images = 60}",
    ]);
    for file in ["network.safetensors", "loss.json"] {
        assert!(bytes(&plain, file) == bytes(&measured, file), "{file}");
    }
    let snapshots: Vec<Value> =
        serde_json::from_slice(&bytes(&measured, "snapshots.json")).unwrap();
    let seen: Vec<u64> = snapshots
        .iter()
        .map(|snapshot| snapshot["images_seen"].as_u64().unwrap())
        .collect();
    assert_eq!(seen[..2], [0, 300]);
    let best = snapshots
        .iter()
        .min_by(|left, right| {
            let value = |snapshot: &Value| snapshot["value"].as_f64().unwrap();
            value(left).total_cmp(&value(right))
        })
        .unwrap();
    let printed = &manifest(&measured)["summary"]["best"];
    assert_eq!(
        (&printed["value"], &printed["file"]),
        (&best["value"], &best["file"])
    );
    let file = best["file"].as_str().unwrap();
    assert!(bytes(&measured, file) == bytes(&measured, "best.safetensors"));
    assert!(bytes(&measured, "snapshots.png").starts_with(b"\x89PNG"));

    let samples = program.home().join("samples");
    let best_of = |network: &Path| {
        program.run(&[
            "sample",
            text(network),
            "--seeds",
            "0-3",
            "--steps",
            "2",
            "--set",
            "best_snapshot=true",
            "--out",
            text(&samples),
        ])
    };
    let refused = best_of(&plain);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("snapshot_evaluation"), "{message}");
    assert!(best_of(&measured).status.success());
    assert_eq!(
        manifest(&samples)["summary"]["images_seen"],
        best["images_seen"]
    );
}

#[test]
fn images_depend_on_their_seeds_alone() {
    let program = Program::new();
    program.succeed(&["run", PIPELINE, "--until", "train"]);
    let network = program.artifact("train");
    let draw = |name: &str, settings: &[&str]| {
        let out = program.home().join(name);
        let mut arguments = vec!["sample", text(&network), "--out", text(&out)];
        arguments.extend(["--config", PIPELINE, "--set", "images_per_shard=8"]);
        for setting in settings {
            arguments.extend(["--set", *setting]);
        }
        let output = program.run(&arguments);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{printed}");
        (out, printed)
    };
    let (whole, printed) = draw("whole", &[]);
    assert!(!printed.contains("does not fit"), "{printed}");
    // Other batches, and a memory in which not even one image has room.
    let (odd, _) = draw("odd", &["batch_size=3"]);
    let (scarce, printed) = draw("scarce", &["memory_gib=0.001"]);
    assert!(
        printed.contains("images at once; the images are the same"),
        "the smaller batch is reported: {printed}"
    );
    for shard in ["shard-00000.parquet", "shard-00003.parquet", "grid.png"] {
        for other in [&odd, &scarce] {
            assert!(bytes(&whole, shard) == bytes(other, shard), "{shard}");
        }
    }
    // As PNG files too, and those hold the same pixels.
    let (zipped, _) = draw("zipped", &["export=zip"]);
    let (folder, _) = draw("folder", &["export=folder"]);
    assert!(bytes(&whole, "index.parquet") == bytes(&zipped, "index.parquet"));
    assert!(bytes(&zipped, "images.zip").starts_with(b"PK"));
    let compared = program.home().join("compared");
    let png = folder.join("png");
    let compare = [
        "evaluate",
        text(&png),
        text(&whole),
        "--neighbours",
        "1",
        "--out",
        text(&compared),
    ];
    program.succeed(&compare);
    let nearest: Vec<Value> = serde_json::from_slice(&bytes(&compared, "neighbours.json")).unwrap();
    for (place, row) in nearest.iter().enumerate() {
        assert_eq!(row["nearest"][0]["distance"], 0.0, "{place}");
    }
    // Other seeds around them.
    let (part, _) = draw("part", &["seeds=\"100,12-15\""]);
    let (whole, part) = (
        ShardSet::open(&whole).unwrap(),
        ShardSet::open(&part).unwrap(),
    );
    for (seed, place) in (12..16).zip(1..) {
        assert!(whole.pixels(seed) == part.pixels(place), "seed {seed}");
    }
}

/// The images of a set and their classes.
fn images(folder: &Path) -> Vec<(Vec<u8>, Option<u32>)> {
    let set = ShardSet::open(folder).unwrap();
    (0..set.len())
        .map(|image| (set.pixels(image).to_vec(), set.label(image)))
        .collect()
}

#[test]
fn a_run_is_sampled_by_name_class_region_and_between_seeds() {
    let program = Program::new();
    let labelled = [
        "stages.prepare.labels=group",
        "stages.train.class_conditional=true",
        "stages.sample.labels=dataset",
    ];
    let run = with(&["run", PIPELINE, "--until", "train"], &labelled);
    program.succeed(&run);
    let sample = |name: &str, arguments: &[&str]| {
        let out = program.home().join(name);
        let fixed = ["sample", "smoke-1", "--steps", "3", "--out", text(&out)];
        program.succeed(&[&fixed[..], arguments].concat());
        out
    };
    let labels = |folder: &Path| -> Vec<u32> {
        images(folder)
            .into_iter()
            .map(|image| image.1.unwrap())
            .collect()
    };
    // Classes by name and by number, in turn, image by image.
    let one = sample("one", &["--seeds", "3-8", "--labels", "activities"]);
    assert_eq!(labels(&one), [1; 6]);
    let turns = ["--seeds", "3-7", "--labels", "1,smileys-and-emotion"];
    let turns = sample("turns", &turns);
    assert_eq!(labels(&turns), [1, 0, 1, 0, 1]);
    let all = images(&one);
    for (image, seed) in images(&turns)
        .iter()
        .zip(0..)
        .filter(|(image, _)| image.1 == Some(1))
    {
        assert!(
            *image == all[seed],
            "an image is a function of its seed and class: {seed}"
        );
    }

    let way = [
        "--seeds",
        "3,7",
        "--interpolate",
        "5",
        "--labels",
        "activities",
    ];
    let way = sample("way", &way);
    let between = images(&way);
    assert_eq!(between.len(), 5);
    assert!(between[0] == all[0] && between[4] == all[4]);
    assert!(between[2] != all[0] && between[2] != all[4]);
    let script = "import sys; from PIL import Image; a = Image.open(sys.argv[1]); \
                  print(a.format, a.n_frames, a.size[0], a.info['loop'])";
    let read = python(script, &[way.join("animation.gif").as_os_str()]);
    assert_eq!(read.trim(), "GIF 8 192 0");
    assert!(way.join("strip.png").is_file());

    let size = |folder: &Path| {
        let set = ShardSet::open(folder).unwrap();
        (set.width(), set.height())
    };
    let seeds = ["--seeds", "0-3", "--labels", "balanced", "--region"];
    let square = sample("square", &[&seeds[..], &["0,8,8"]].concat());
    let oblong = sample("oblong", &[&seeds[..], &["4,0,16x8"]].concat());
    assert_eq!((size(&square), size(&oblong)), ((8, 8), (16, 8)));

    // Without a folder: the same one for the same settings, printed at the end.
    let unnamed = [
        "sample", "latest", "--seeds", "0-1", "--steps", "3", "--labels", "0",
    ];
    let printed = program.succeed(&unnamed);
    let folder = printed.lines().last().unwrap();
    assert!(
        folder.contains("samples/latest-") && Path::new(folder).is_dir(),
        "{printed}"
    );
    assert_eq!(program.succeed(&unnamed), printed);

    for (arguments, words) in [
        (
            &["nosuch-1"][..],
            &[
                "`nosuch-1` is not a file or folder, and no run",
                "`patchwork runs`",
            ][..],
        ),
        (
            &["smoke-1", "--labels", "activites"],
            &["--labels activites", "did you mean `activities`"],
        ),
        (&["smoke-1", "--labels", "2"], &["--labels 2"]),
        (
            &["smoke-1", "--labels", "0", "--seeds", "5-1"],
            &["--seeds 5-1"],
        ),
        (
            &["smoke-1", "--labels", "0", "--steps", "1"],
            &["--steps 1"],
        ),
        (
            &["smoke-1", "--labels", "0", "--set", "solver=hein"],
            &["--set solver=hein", "heun"],
        ),
        (
            &["smoke-1", "--labels", "0", "--region", "0,0,7"],
            &["--region 0,0,7", "divisible"],
        ),
        (
            &["smoke-1", "--labels", "0", "--region", "0,0"],
            &["--region", "ROW,COLUMN,SIDE"],
        ),
        (
            &[
                "smoke-1",
                "--labels",
                "0",
                "--seeds",
                "3",
                "--interpolate",
                "4",
            ],
            &["--interpolate 4", "two or more"],
        ),
        (&["smoke-1/nosuch"], &["no finished training"]),
    ] {
        let out = program.home().join("refused");
        let output = program.run(&[&["sample", "--out", text(&out)], arguments].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is missing in: {said}");
        }
    }
}
