//! What is written, read back by pyarrow, NumPy and Pillow, byte for byte.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use patchwork_dataset::export::{ExportFormat, ExportOptions, Exported, export};
use patchwork_dataset::inspect::{inspect, stats};
use patchwork_dataset::{Channels, Row, ShardSetWriter, ShardSpec, verify};
use serde_json::{Value, json};

use super::readers::python;
use super::{CLASSES, IMAGES, write_set, write_set_of};

/// Compares every form of the set in a folder with its pixels in one file.
const SCRIPT: &str = r"
import glob, json, os, sys, zipfile
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

root = sys.argv[1]
width, height, channels = map(int, sys.argv[2:])
pixels = np.fromfile(os.path.join(root, 'pixels.bin'), np.uint8).reshape(-1, height, width, channels)
found = {}

# The shards as any reader of Parquet sees them, and by the offsets of the index.
index = pq.read_table(os.path.join(root, 'set', 'index.parquet')).to_pylist()
rows = 0
for number, path in enumerate(sorted(glob.glob(os.path.join(root, 'set', 'shard-*.parquet')))):
    table = pq.read_table(path)
    assert table.schema.field('image').type.byte_width == height * width * channels
    assert pq.read_metadata(path).metadata[b'channels'] == str(channels).encode()
    raw = open(path, 'rb').read()
    for row in table.to_pylist():
        image = pixels[row['id']].tobytes()
        entry = index[row['id']]
        assert row['image'] == image
        assert raw[entry['offset']:entry['offset'] + len(image)] == image
        assert (entry['shard'], entry['label'], entry['digest']) == (number, row['label'], row['digest'])
        for channel, name in enumerate('rgb' if channels == 3 else 'l'):
            values = pixels[row['id']][..., channel]
            assert abs(entry['mean_' + name] - values.mean()) < 1e-3
            assert abs(entry['std_' + name] - values.std()) < 1e-3
        rows += 1
assert rows == len(index) == len(pixels)
found['shards'] = rows

def same(file, id):
    image = Image.open(file)
    assert (image.format, image.mode) == ('PNG', 'RGB' if channels == 3 else 'L')
    assert (np.asarray(image).reshape(height, width, channels) == pixels[id]).all(), id

# The archive: entries are stored, their names sort as the labels are listed.
with zipfile.ZipFile(os.path.join(root, 'edm.zip')) as archive:
    assert archive.testzip() is None
    names = sorted(info.filename for info in archive.infolist() if info.filename.endswith('.png'))
    assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    for id, name in enumerate(names):
        with archive.open(name) as file:
            same(file, id)
    description = json.loads(archive.read('dataset.json'))
    assert [name for name, _ in description['labels']] == names
    found['edm'] = [names[0], names[-1], [label for _, label in description['labels']][:4], description['class_names']]

# The folder: names are ids.
files = sorted(glob.glob(os.path.join(root, 'png', '*', '*.png')))
for file in files:
    same(file, int(os.path.basename(file)[:-4]))
found['png'] = [len(files), sorted(os.listdir(os.path.join(root, 'png')))]

# Parquet as Hugging Face has it; duplicates were left out.
import io
(path,) = glob.glob(os.path.join(root, 'hub', 'data', '*.parquet'))
table = pq.read_table(path)
features = json.loads(table.schema.metadata[b'huggingface'])['info']['features']
kept = [id for id in range(len(pixels)) if id != 40]
for id, row in zip(kept, table.to_pylist(), strict=True):
    same(io.BytesIO(row['image']['bytes']), id)
    assert row['image']['path'] == f'folder/{id} ü.jpg'
    assert row['label'] == id % 3
found['hub'] = [os.path.basename(path), str(table.schema.field('image').type), features]
print(json.dumps(found))
";

#[test]
fn programs_that_are_not_ours_read_every_form_of_a_set() {
    for channels in [Channels::Rgb, Channels::Grey] {
        check(channels);
    }
}

fn check(channels: Channels) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("set");
    let set = write_set_of(&folder, true, channels);
    assert!(
        verify(&folder, &mut |_, _| ControlFlow::Continue(()))
            .unwrap()
            .faults
            .is_empty()
    );
    let [_, _, table, _, _] = inspect(&folder).unwrap();
    assert_eq!(table.rows.len(), channels.count());
    let pixels: Vec<u8> = (0..set.len())
        .flat_map(|image| set.pixels(image))
        .copied()
        .collect();
    std::fs::write(root.path().join("pixels.bin"), pixels).unwrap();
    let write = |name: &str, format, drop_duplicates| {
        let out = root.path().join(name);
        let options = ExportOptions {
            folder: &folder,
            out: &out,
            format,
            drop_duplicates,
        };
        let mut go_on = |_, _| ControlFlow::Continue(());
        let exported = export(&options, &mut go_on).unwrap();
        let again = export(&options, &mut go_on).unwrap_err().to_string();
        assert!(again.contains("exists already"), "{again}");
        exported
    };
    let whole = Exported {
        images: IMAGES,
        duplicates: 0,
    };
    assert_eq!(write("edm.zip", ExportFormat::EdmZip, false), whole);
    assert_eq!(write("png", ExportFormat::PngFolder, false), whole);
    let fewer = Exported {
        images: IMAGES - 1,
        duplicates: 1,
    };
    assert_eq!(write("hub", ExportFormat::HuggingFace, true), fewer);

    let printed = python(
        SCRIPT,
        &[
            root.path().as_os_str(),
            "20".as_ref(),
            "12".as_ref(),
            channels.count().to_string().as_ref(),
        ],
    );
    let found: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        found,
        json!({
            "shards": IMAGES,
            "edm": ["00000/img00000000.png", "00000/img00000041.png", [0, 1, 2, 0], CLASSES],
            "png": [IMAGES, ["a_b", "red fox", "été"]],
            "hub": [
                "train-00000-of-00001.parquet",
                "struct<bytes: binary, path: string>",
                {
                    "image": {"_type": "Image"},
                    "label": {"_type": "ClassLabel", "names": CLASSES},
                },
            ],
        })
    );
}

#[test]
fn an_export_is_the_same_again_and_one_broken_off_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("set");
    write_set(&folder, false);
    let formats = [
        ExportFormat::EdmZip,
        ExportFormat::PngFolder,
        ExportFormat::HuggingFace,
    ];
    for format in formats {
        let out = root.path().join("out");
        let options = ExportOptions {
            folder: &folder,
            out: &out,
            format,
            drop_duplicates: false,
        };
        assert!(export(&options, &mut |_, _| ControlFlow::Break(())).is_err());
    }
    let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let archives = ["a.zip", "b.zip"].map(|name| {
        let out = root.path().join(name);
        let options = ExportOptions {
            folder: &folder,
            out: &out,
            format: ExportFormat::EdmZip,
            drop_duplicates: false,
        };
        export(&options, &mut |_, _| ControlFlow::Continue(())).unwrap();
        std::fs::read(out).unwrap()
    });
    assert!(archives[0] == archives[1]);
}

/// As of samples of a network without a class condition, though its training images have some.
#[test]
fn a_folder_a_class_is_made_where_images_have_one() {
    let root = tempfile::tempdir().unwrap();
    for (labels, expected) in [
        ([None, None], ["00000000.png", "00000001.png"]),
        ([None, Some(1)], ["a_b", "unlabelled"]),
    ] {
        let folder = root.path().join(expected[0]);
        let spec = ShardSpec {
            width: 4,
            height: 4,
            channels: Channels::Grey,
            images_per_shard: labels.len(),
            class_names: CLASSES.map(str::to_owned).to_vec(),
            metadata: BTreeMap::new(),
        };
        let rows = labels.map(|label| Row {
            key: String::new(),
            label,
            pixels: vec![0; 16],
            source_width: 4,
            source_height: 4,
        });
        let mut writer = ShardSetWriter::open(&folder, spec).unwrap();
        writer.write_shard(rows.to_vec(), Vec::new()).unwrap();
        writer.finish().unwrap();
        let out = folder.join("png");
        let options = ExportOptions {
            folder: &folder,
            out: &out,
            format: ExportFormat::PngFolder,
            drop_duplicates: false,
        };
        export(&options, &mut |_, _| ControlFlow::Continue(())).unwrap();
        let mut names: Vec<String> = std::fs::read_dir(out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, expected);
    }
}

#[test]
fn statistics_are_those_of_the_pixels() {
    for channels in [Channels::Rgb, Channels::Grey] {
        check_statistics(channels);
    }
}

fn check_statistics(channels: Channels) {
    let folder = tempfile::tempdir().unwrap();
    let set = write_set_of(folder.path(), true, channels);
    let [moments, sides, sizes, proportions, flat] = stats(folder.path()).unwrap();
    let values: Vec<f64> = (0..set.len())
        .flat_map(|image| set.pixels(image))
        .map(|byte| f64::from(*byte) / 127.5 - 1.0)
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>();
    let deviation = (variance / values.len() as f64).sqrt();
    assert_eq!(moments.rows.len(), channels.count() + 1);
    let all = moments.rows.last().unwrap();
    for (found, expected) in [(&all[3], mean), (&all[4], deviation)] {
        assert!((found.as_f64().unwrap() - expected).abs() < 1e-4);
    }
    assert_eq!(json!(sides.rows), json!([[64, 127, IMAGES, 1.0, "no"]]));
    assert_eq!(
        json!(sizes.rows),
        json!([[100, 90, 21, 0.5], [101, 90, 21, 0.5]])
    );
    assert_eq!(
        json!(proportions.rows),
        json!([["square to 4:3", IMAGES, 1.0]])
    );
    assert!(flat.rows.is_empty());
}
