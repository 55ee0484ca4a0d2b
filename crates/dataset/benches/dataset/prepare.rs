//! Raw images to shards: 4,000 JPEGs of CelebA's size to 64 x 64, against one process of Pillow that does what the
//! published tool does: decode, crop, resize, write PNG files into a zip.

use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use patchwork_dataset::compose::compose;
use patchwork_dataset::decode::{MemoryGate, decode};
use patchwork_dataset::source::{Labels, open};
use patchwork_dataset::transform::{Size, Transform, apply};
use patchwork_dataset::{Channels, PrepareSettings, SourceCache, SourceSettings, prepare};

use crate::readers::python;

/// Pictures with the spectrum of photographs, at the size and quality of CelebA's files.
const MAKE: &str = r"
import sys
import numpy as np
from PIL import Image
rng = np.random.default_rng(0)
height, width, distinct, count = 218, 178, 250, 4000
frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
frequency[0, 0] = 1
def field():
    noise = rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)
    values = np.fft.irfft2(noise / frequency ** 1.6, (height, width))
    return (values - values.mean()) / values.std()
for number in range(distinct):
    luma = field()
    colors = [luma + 0.25 * field() for _ in range(3)]
    pixels = np.clip(np.stack(colors, -1) * 50 + 120, 0, 255).astype(np.uint8)
    for copy in range(number, count, distinct):
        Image.fromarray(np.roll(pixels, copy // distinct * 5, 1)).save(f'{sys.argv[1]}/{copy:06}.jpg', quality=75)
";

const PILLOW: &str = r"
import io, os, sys, time, zipfile
from PIL import Image
start = time.perf_counter()
spent = [0.0, 0.0, 0.0]
names = sorted(os.listdir(sys.argv[1]))
with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_STORED) as archive:
    for name in names:
        a = time.perf_counter()
        with open(os.path.join(sys.argv[1], name), 'rb') as file:
            image = Image.open(file).convert('RGB')
        b = time.perf_counter()
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((64, 64), Image.LANCZOS)
        c = time.perf_counter()
        out = io.BytesIO()
        image.save(out, 'PNG', compress_level=0, optimize=False)
        archive.writestr(name[:-3] + 'png', out.getvalue())
        d = time.perf_counter()
        spent = [spent[0] + b - a, spent[1] + c - b, spent[2] + d - c]
print(time.perf_counter() - start, *(value / len(names) * 1000 for value in spent))
";

pub(crate) fn run() {
    let root = tempfile::tempdir().unwrap();
    let raw = root.path().join("raw");
    fs::create_dir(&raw).unwrap();
    python(MAKE, &[raw.as_os_str()]);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = PrepareSettings {
        size: Size::square(64),
        transform: Transform::CenterCrop,
        channels: Channels::Rgb,
        exif_orientation: false,
        background: [255; 3],
        images_per_shard: 1024,
        max_rejected: 0.0,
        mirror: false,
        depth: 16,
    };
    let source_settings = SourceSettings {
        source: raw.to_str().unwrap().to_owned(),
        labels: Labels::None,
        ..SourceSettings::default()
    };
    println!(
        "prepare: 4,000 JPEGs of 178 x 218 to 64 x 64, {threads} threads, against Pillow in one process"
    );
    // Alternately, because the machine's speed changes; the best of each.
    let (mut ours, mut theirs, mut stages) = (f64::INFINITY, f64::INFINITY, String::new());
    for round in 0..3 {
        let printed = python(
            PILLOW,
            &[raw.as_os_str(), root.path().join("pillow.zip").as_os_str()],
        );
        let mut numbers = printed
            .split_whitespace()
            .map(|word| word.parse::<f64>().unwrap());
        let seconds = numbers.next().unwrap();
        if seconds < theirs {
            theirs = seconds;
            let parts: Vec<String> = numbers.map(|value| format!("{value:.3}")).collect();
            stages = parts.join(" / ");
        }
        let out = root.path().join(format!("out-{round}"));
        let start = Instant::now();
        let source = open(&source_settings, &SourceCache::default()).unwrap();
        prepare(&settings, &*source, &out, threads, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        ours = f64::min(ours, start.elapsed().as_secs_f64());
    }
    println!(
        "  Pillow: {:.0} images/s; ms an image: decode / crop and resize / PNG = {stages}",
        4000.0 / theirs
    );
    println!(
        "  ours:   {:.0} images/s, from listing and digesting the folder to the synced index",
        4000.0 / ours
    );
    println!("  ratio:  {:.2} (wanted: 5)", theirs / ours);
    stage_times(&raw);
}

/// One thread's time a stage.
fn stage_times(raw: &std::path::Path) {
    let gate = MemoryGate::new(1 << 30);
    let mut spent = [Duration::ZERO; 3];
    let count = 1000;
    for number in 0..count {
        let start = Instant::now();
        let bytes = fs::read(raw.join(format!("{number:06}.jpg"))).unwrap();
        let read = Instant::now();
        let image = decode(&bytes, &gate).unwrap();
        let from = Size {
            width: image.width() as usize,
            height: image.height() as usize,
        };
        let pixels = compose(image, [255; 3]);
        let decoded = Instant::now();
        let resized = apply(Transform::CenterCrop, &pixels, 3, from, Size::square(64)).unwrap();
        std::hint::black_box(resized);
        spent[0] += read - start;
        spent[1] += decoded - read;
        spent[2] += decoded.elapsed();
    }
    let [read, decode, resize] = spent.map(|spent| spent.as_secs_f64() * 1000.0 / f64::from(count));
    println!(
        "  ours, one thread, ms an image: read {read:.3}, decode {decode:.3}, crop and resize {resize:.3}"
    );
}
