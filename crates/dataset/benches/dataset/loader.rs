//! Batches of patches out of the mapped shards, against PNG files that Pillow decodes from a zip.
//!
//! The baseline is what a training in Python does for a batch: read the entry, decode it, cut out the patch, stack,
//! and turn bytes into float32 planes. Its zip is our own export of the same set, so that both read the same images.
//! One process each; both files lie in the page cache.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;

use patchwork_core::Seed;
use patchwork_dataset::export::{ExportFormat, ExportOptions, export};
use patchwork_dataset::{
    Channels, PatchSize, PatchStream, Row, ShardSet, ShardSetWriter, ShardSpec, Share,
};

use super::readers::python;

const SIDE: usize = 64;
const IMAGES: usize = 4096;
const BATCH: u64 = 256;
const REPEATS: u64 = 40;
/// How many times as fast as Pillow the loader is to be.
const LIMIT: f64 = 20.0;

/// Seconds for a batch: the median over batches of random images, after one that warms up.
const BASELINE: &str = r"
import io, json, random, statistics, sys, time, zipfile
import numpy as np
from PIL import Image

path, batch, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
archive = zipfile.ZipFile(path)
names = sorted(name for name in archive.namelist() if name.endswith('.png'))
draw = random.Random(0)
seconds = {}
for side in (16, 32, 64):
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        patches = []
        for _ in range(batch):
            with archive.open(names[draw.randrange(len(names))]) as file:
                image = np.array(Image.open(file))
            row, column = (draw.randint(0, length - side) for length in image.shape[:2])
            patches.append(image[row:row + side, column:column + side].transpose(2, 0, 1))
        values = np.stack(patches).astype(np.float32) / 127.5 - 1
        times.append(time.perf_counter() - begin)
        assert values.shape == (batch, 3, side, side)
    seconds[side] = statistics.median(times[1:])
print(json.dumps(seconds))
";

pub(crate) fn run() {
    let folder = tempfile::tempdir().unwrap();
    let shards = folder.path().join("shards");
    let zip = folder.path().join("images.zip");
    write_set(&shards);
    let options = ExportOptions {
        folder: &shards,
        out: &zip,
        format: ExportFormat::EdmZip,
        drop_duplicates: false,
    };
    export(&options, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
    let bytes = std::fs::metadata(&zip).unwrap().len();
    println!(
        "loader: {BATCH} patches of {IMAGES} images of {SIDE} x {SIDE} pixels, {} KB a PNG",
        bytes / IMAGES as u64 / 1000
    );
    let baseline = baseline(&zip);
    let set = ShardSet::open(&shards).unwrap();
    for side in [16, 32, 64] {
        let ours = batch_seconds(&set, side);
        let theirs = baseline[&side.to_string()];
        println!(
            "  side {side}: {:7.3} ms, Pillow {:7.2} ms: {:6.1} times as fast ({:.1} of the limit {LIMIT})",
            ours * 1e3,
            theirs * 1e3,
            theirs / ours,
            theirs / ours / LIMIT
        );
    }
}

fn baseline(zip: &Path) -> BTreeMap<String, f64> {
    let (batch, repeats) = (BATCH.to_string(), REPEATS.to_string());
    let printed = python(
        BASELINE,
        &[zip.as_os_str(), OsStr::new(&batch), OsStr::new(&repeats)],
    );
    serde_json::from_str(&printed).unwrap()
}

/// Seconds for a batch, its patches chosen and its labels looked up: the median, after one that warms up.
fn batch_seconds(set: &ShardSet, side: usize) -> f64 {
    let size = PatchSize::square(side);
    let stream = PatchStream::new(set, Seed::new(0), 0.5);
    let mut batch = vec![0.0; BATCH as usize * size.values(set.channels())];
    let mut times: Vec<f64> = (0..=REPEATS)
        .map(|number| {
            let begin = Instant::now();
            let requests = stream.patches(number * BATCH..(number + 1) * BATCH, Share::WHOLE, size);
            set.gather(&requests, size, &mut batch).unwrap();
            let labels = set.gather_labels(&requests);
            let seconds = begin.elapsed().as_secs_f64();
            std::hint::black_box((&batch, labels));
            seconds
        })
        .skip(1)
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A set of pictures that compress like small photographs: a few waves and a little noise.
fn write_set(folder: &Path) {
    let spec = ShardSpec {
        width: SIDE,
        height: SIDE,
        channels: Channels::Rgb,
        images_per_shard: IMAGES,
        class_names: vec!["wave".to_owned()],
        metadata: BTreeMap::new(),
    };
    let rows = (0..IMAGES)
        .map(|image| Row {
            key: image.to_string(),
            label: Some(0),
            pixels: picture(image as u64),
            source_width: SIDE as u16,
            source_height: SIDE as u16,
        })
        .collect();
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    writer.write_shard(rows, Vec::new()).unwrap();
    writer.finish().unwrap();
}

fn picture(number: u64) -> Vec<u8> {
    const WAVES: usize = 4;
    const AMPLITUDE: f64 = 25.0;
    const NOISE: f64 = 6.0;
    let mut draws = Seed::new(number).stream();
    let waves: [[f64; 3]; WAVES * 3] = std::array::from_fn(|_| {
        [
            draws.uniform() * 0.4,
            draws.uniform() * 0.4,
            draws.uniform() * 6.3,
        ]
    });
    (0..SIDE * SIDE * 3)
        .map(|place| {
            let (channel, pixel) = (place % 3, place / 3);
            let (row, column) = ((pixel / SIDE) as f64, (pixel % SIDE) as f64);
            let value: f64 = waves[channel * WAVES..][..WAVES]
                .iter()
                .map(|[down, along, phase]| (down * row + along * column + phase).sin())
                .sum();
            (128.0 + AMPLITUDE * value + NOISE * draws.uniform()) as u8
        })
        .collect()
}
