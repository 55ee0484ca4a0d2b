//! Images that are neither square nor in colour, through every stage.

use serde_json::{Value, json};

use crate::program::{Program, text};
use crate::readers;

/// Every stage with what depends on the shape of images: parts of them, coordinates, augmentation, pictures, crops.
const RUN: &[&str] = &[
    "run",
    "pipelines/smoke.toml",
    "--set",
    "stages.prepare.channels=1",
    "--set",
    "stages.prepare.height=24",
    "--set",
    "stages.prepare.emoji.groups=[\"activities\"]",
    "--set",
    "stages.reference.crops=[\"half\"]",
    "--set",
    "stages.train.duration_images=300",
    "--set",
    "stages.train.augment_probability=0.15",
    "--set",
    "stages.train.snapshot_samples=4",
    "--set",
    "stages.train.snapshot_evaluation.samples=8",
    "--set",
    "stages.train.snapshot_evaluation.reference_images=8",
    "--set",
    "stages.train.snapshot_evaluation.steps=2",
    "--set",
    "stages.evaluate.neighbours=2",
    "--set",
    "stages.evaluate.neighbour_samples=3",
];

/// Mode and size of a picture, the image bytes of a shard and its metadata, and the pictures of an archive.
const READ: &str = r"
import glob, io, json, sys, zipfile
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

data, samples, network, scores, archive = sys.argv[1:]
def shape(file):
    image = Image.open(file)
    return [image.mode, *image.size]
shards = {}
for name, folder in [('data', data), ('samples', samples)]:
    path = folder + '/shard-00000.parquet'
    metadata = pq.read_metadata(path).metadata
    width = pq.read_schema(path).field('image').type.byte_width
    shards[name] = [width, metadata[b'resolution'].decode(), metadata[b'channels'].decode()]
table = pa.concat_tables(pq.read_table(path) for path in sorted(glob.glob(samples + '/shard-*.parquet')))
drawn = np.frombuffer(b''.join(table['image'].to_pylist()), np.uint8).reshape(-1, 24, 16)
with zipfile.ZipFile(archive) as zip:
    names = sorted(name for name in zip.namelist() if name.endswith('.png'))
    images = [Image.open(io.BytesIO(zip.read(name))) for name in names]
    assert {image.mode for image in images} == {'L'}
    assert (np.stack([np.asarray(image) for image in images]) == drawn).all()
print(json.dumps({
    'shards': shards, 'images': len(drawn), 'grid': shape(samples + '/grid.png'),
    'snapshot': shape(network + '/network.png'), 'neighbours': shape(scores + '/neighbours.png'),
}))
";

#[test]
fn grey_images_that_are_not_square_pass_every_stage() {
    let program = Program::new();
    program.succeed(RUN);
    let [data, samples, network, scores] =
        ["prepare", "sample", "train", "evaluate"].map(|kind| program.artifact(kind));
    let archive = program.home().join("samples.zip");
    program.succeed(&[
        "dataset",
        "export",
        text(&samples),
        "--as",
        "edm",
        "--out",
        text(&archive),
    ]);
    let folders = [&data, &samples, &network, &scores, &archive];
    let printed = readers::python(READ, &folders.map(|folder| folder.as_os_str()));
    let found: Value = serde_json::from_str(&printed).unwrap();
    // Pictures are twice as large; between and around them lie gaps, of 4 pixels or of 2 in a snapshot's.
    assert_eq!(
        found,
        json!({
            "shards": {"data": [384, "16x24", "1"], "samples": [384, "16x24", "1"]},
            "images": 32,
            "grid": ["L", 8 * 36 + 4, 4 * 52 + 4],
            "snapshot": ["L", 2 * 34 + 2, 2 * 50 + 2],
            "neighbours": ["RGB", 3 * 36 + 4, 3 * 52 + 4],
        })
    );
    for folder in [&data, &samples] {
        program.succeed(&["dataset", "verify", text(folder)]);
    }
    let file = network.join("network.safetensors");
    let inspected = program.succeed(&["checkpoint", "inspect", text(&file), "--format", "json"]);
    let settings = serde_json::from_str::<Value>(&inspected).unwrap()["settings"].clone();
    assert_eq!(
        [
            &settings["img_resolution"],
            &settings["img_size"],
            &settings["img_channels"]
        ],
        [&json!(16), &json!([24, 16]), &json!(1)]
    );
    let values: Vec<Value> =
        serde_json::from_slice(&std::fs::read(scores.join("scores.json")).unwrap()).unwrap();
    assert!(
        values.iter().all(|score| score["value"].is_f64()),
        "{values:?}"
    );

    // The network's file alone says its shape; a part of the canvas is one of that grid.
    let part = program.home().join("part");
    program.succeed(&[
        "sample",
        text(&file),
        "--seeds",
        "0-3",
        "--steps",
        "2",
        "--set",
        "region={row=8, side=16}",
        "--out",
        text(&part),
    ]);
    // Files of the same pixels are the same set: their size is found, grey counts as colour.
    let pngs = program.home().join("pngs");
    let export = ["dataset", "export", text(&samples), "--as", "png", "--out"];
    program.succeed(&[&export[..], &[text(&pngs)]].concat());
    let evaluated = program.home().join("evaluated");
    program.succeed(&[
        "evaluate",
        text(&pngs),
        text(&samples),
        "--neighbours",
        "1",
        "--out",
        text(&evaluated),
    ]);
    let same: Vec<Value> =
        serde_json::from_slice(&std::fs::read(evaluated.join("scores.json")).unwrap()).unwrap();
    assert!(same[0]["value"].as_f64().unwrap().abs() < 1e-3, "{same:?}");

    // The default says nothing of channels, so that what was made before it stays what it is.
    let typed = ["--set", "stages.prepare.channels=3", "--dry-run"];
    let plan = |more: &[&str]| {
        let run = ["run", "pipelines/smoke.toml", "--until", "prepare"];
        program.rows(&[&run[..], more].concat())
    };
    assert_eq!(plan(&typed), plan(&["--dry-run"]));
    let manifest = std::fs::read_to_string(data.join("manifest.json")).unwrap();
    assert!(manifest.contains("\"channels\":1") || manifest.contains("\"channels\": 1"));
}

#[test]
fn a_set_on_files_is_grey_by_a_flag() {
    let program = Program::new();
    let grey = program.home().join("grey");
    program.succeed(&[
        "dataset",
        "build",
        "builtin:twemoji",
        "--out",
        text(&grey),
        "--resolution",
        "16",
        "--channels",
        "1",
        "--set",
        "emoji.groups=[\"activities\"]",
    ]);
    let printed = program.succeed(&["dataset", "inspect", text(&grey), "--format", "json"]);
    let inspected: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(inspected["channels"][0]["channel"], "grey");
    assert_eq!(inspected["channels"].as_array().unwrap().len(), 1);
}
