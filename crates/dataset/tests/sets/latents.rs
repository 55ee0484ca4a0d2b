//! Sets of latents: written in two attempts, read by pyarrow and NumPy, drawn from, damaged, and imported.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use patchwork_core::{Digest, Seed};
use patchwork_dataset::latents::{
    Draw, ImportSettings, LatentSet, LatentSpec, Scaling, StoredScale, import,
};
use patchwork_dataset::{
    DatasetError, PatchRequest, PatchSize, PatchStream, Row, ShardSet, ShardSetWriter, Share,
    verify,
};
use patchwork_terms::{LatentScaling, PixelRange, Spread};
use serde_json::Value;

use super::readers::python;

const CHANNELS: usize = 4;
const WIDTH: usize = 6;
const HEIGHT: usize = 8;
const VALUES: usize = CHANNELS * WIDTH * HEIGHT;
const IMAGES: usize = 11;
const PER_SHARD: usize = 4;

fn spec() -> LatentSpec {
    LatentSpec {
        width: WIDTH,
        height: HEIGHT,
        channels: CHANNELS,
        factor: 8,
        images_per_shard: PER_SHARD,
        class_names: vec!["church".to_owned(), "bedroom".to_owned()],
        pixel_range: PixelRange::Signed,
        scaling_factor: 0.18215,
        shift_factor: 0.0,
        encoder: Some(Digest::of(b"encoder")),
        metadata: BTreeMap::from([("precision".to_owned(), "float32".to_owned())]),
    }
}

/// Mean and log-variance of an image; means of another level and size in each channel.
fn moments(image: usize) -> (Vec<f32>, Vec<f32>) {
    let mut noise = Seed::new(image as u64).stream();
    let mut uniform = || noise.uniform() as f32 - 0.5;
    let mean = (0..VALUES).map(|value| {
        let channel = (value / (WIDTH * HEIGHT)) as f32;
        channel + (channel + 1.0) * uniform()
    });
    let mean = mean.collect();
    let log_variance = (0..VALUES).map(|_| -3.0 + uniform()).collect();
    (mean, log_variance)
}

fn rows() -> Vec<Row> {
    (0..IMAGES)
        .map(|image| {
            let (mean, log_variance) = moments(image);
            let label = (image % 3 < 2).then_some(image as u32 % 3);
            let key = format!("image {image}");
            spec().row(key, label, &mean, &log_variance).unwrap()
        })
        .collect()
}

pub(super) fn write(folder: &Path) -> LatentSet {
    let mut writer = ShardSetWriter::open(folder, spec()).unwrap();
    for shard in rows().chunks(PER_SHARD).skip(writer.complete_shards()) {
        writer.write_shard(shard.to_vec(), Vec::new()).unwrap();
    }
    writer.finish().unwrap();
    LatentSet::open(folder).unwrap()
}

fn request(index: usize, row: usize, column: usize, position: u64) -> PatchRequest {
    PatchRequest {
        index,
        row,
        column,
        mirrored: false,
        position,
    }
}

pub(super) fn sd(set: &LatentSet) -> Scaling {
    Scaling::of(LatentScaling::Sd, set.spec(), set.statistics(), 0.5).unwrap()
}

#[test]
fn a_set_made_in_two_attempts_is_one_made_in_one() {
    let root = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| root.path().join(name));
    write(&whole);
    let mut writer = ShardSetWriter::open(&broken, spec()).unwrap();
    for shard in rows().chunks(PER_SHARD).take(2) {
        writer.write_shard(shard.to_vec(), Vec::new()).unwrap();
    }
    drop(writer);
    // The second shard is damaged: it is written again.
    std::fs::write(broken.join("shard-00001.parquet"), "damaged").unwrap();
    let writer = ShardSetWriter::open(&broken, spec()).unwrap();
    assert_eq!((writer.complete_shards(), writer.images()), (1, 4));
    write(&broken);
    let mut files: Vec<_> = std::fs::read_dir(&whole).unwrap().collect();
    assert_eq!(files.len(), 5);
    while let Some(Ok(file)) = files.pop() {
        let [one, other] =
            [&whole, &broken].map(|folder| std::fs::read(folder.join(file.file_name())).unwrap());
        assert!(one == other, "{:?}", file.file_name());
    }
}

#[test]
fn other_programs_read_latents_as_they_were_written() {
    const SCRIPT: &str = r"
import glob, json, os, sys
import numpy as np
import pyarrow.parquet as pq

root = sys.argv[1]
channels, height, width = map(int, sys.argv[2:])
moments = np.fromfile(os.path.join(root, 'moments.bin'), np.float32).reshape(-1, 2, channels, height, width)
index = pq.read_table(os.path.join(root, 'set', 'index.parquet'))
entries = index.to_pylist()
rows = 0
for number, path in enumerate(sorted(glob.glob(os.path.join(root, 'set', 'shard-*.parquet')))):
    raw = open(path, 'rb').read()
    assert pq.read_metadata(path).metadata[b'format'] == b'patchwork.latents/1'
    for row in pq.read_table(path).to_pylist():
        stored = np.frombuffer(row['moments'], '<f2').reshape(2, channels, height, width)
        assert (stored == moments[row['id']].astype(np.float16)).all()
        entry = entries[row['id']]
        assert raw[entry['offset']:entry['offset'] + len(row['moments'])] == row['moments']
        assert (row['source_width'], row['source_height']) == (8 * width, 8 * height)
        mean, logvar = stored.astype(np.float64)
        for channel in range(channels):
            spread = np.sqrt(mean[channel].var() + np.exp(logvar[channel]).mean())
            assert abs(entry[f'mean_{channel}'] - mean[channel].mean()) < 1e-5
            assert abs(entry[f'std_{channel}'] - spread) < 1e-5
        rows += 1
means, logvars = moments.astype(np.float16).astype(np.float64).transpose(1, 2, 0, 3, 4).reshape(2, channels, -1)
metadata = pq.read_metadata(os.path.join(root, 'set', 'index.parquet')).metadata
assert np.allclose(json.loads(metadata[b'latent_mean']), means.mean(1), atol=1e-6)
assert np.allclose(json.loads(metadata[b'latent_std']), np.sqrt(means.var(1) + np.exp(logvars).mean(1)), atol=1e-6)
print(json.dumps([rows, entries[1]['label'], metadata[b'pixel_range'].decode()]))
";
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("set"));
    let values = (0..IMAGES).flat_map(|image| {
        let (mean, log_variance) = moments(image);
        mean.into_iter().chain(log_variance)
    });
    let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
    std::fs::write(root.path().join("moments.bin"), bytes).unwrap();
    let sides = [CHANNELS, HEIGHT, WIDTH].map(|side| side.to_string());
    let mut arguments = vec![root.path().as_os_str()];
    arguments.extend(sides.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    let found: Value = serde_json::from_str(&python(SCRIPT, &arguments)).unwrap();
    assert_eq!(found, serde_json::json!([IMAGES, 1, "-1..1"]));
}

#[test]
fn patches_are_scaled_draws_that_depend_on_their_position_alone() {
    let root = tempfile::tempdir().unwrap();
    let set = write(root.path());
    assert_eq!((set.len(), set.label_counts()), (IMAGES, vec![4, 4]));
    assert_eq!((set.label(1), set.label(2)), (Some(1), None));
    let size = PatchSize {
        height: 3,
        width: 2,
    };
    let values = CHANNELS * 6;
    let gather = |requests: &[PatchRequest], draw| {
        let mut out = vec![0.0; requests.len() * values];
        set.gather(requests, size, &sd(&set), draw, &mut out)
            .unwrap();
        out
    };
    // Means: the place's own values, times the factor.
    let out = gather(&[request(5, 4, 3, 0)], Draw::Mean);
    let (mean, log_variance) = set.moments(5);
    for (channel, row, column) in [(0, 0, 0), (3, 2, 1), (1, 1, 0)] {
        let place = (channel * HEIGHT + 4 + row) * WIDTH + 3 + column;
        let found = out[(channel * 3 + row) * 2 + column];
        assert!((found - mean[place] * 0.18215).abs() < 1e-6);
    }
    // Draws: the same in any batch, others at another position or of another seed.
    let draw = Draw::Sample(Seed::new(9));
    let pair = gather(&[request(5, 4, 3, 70), request(5, 4, 3, 71)], draw);
    let alone = gather(&[request(5, 4, 3, 71)], draw);
    assert_eq!(pair[values..], alone);
    assert_ne!(pair[..values], alone);
    let other = gather(&[request(5, 4, 3, 71)], Draw::Sample(Seed::new(8)));
    assert_ne!(other, alone);
    // Their mean and spread are those of the distribution.
    let many: Vec<PatchRequest> = (0..4000)
        .map(|position| request(5, 4, 3, position))
        .collect();
    let drawn = gather(&many, draw);
    let place = (2 * HEIGHT + 4 + 1) * WIDTH + 3;
    let raw = drawn
        .chunks_exact(values)
        .map(|patch| f64::from(patch[(2 * 3 + 1) * 2] / 0.18215));
    let raw: Vec<f64> = raw.collect();
    let average = raw.iter().sum::<f64>() / raw.len() as f64;
    let square = raw
        .iter()
        .map(|value| (value - average).powi(2))
        .sum::<f64>();
    let deviation = (square / raw.len() as f64).sqrt();
    let expected = f64::from(log_variance[place] * 0.5).exp();
    assert!((average - f64::from(mean[place])).abs() < 4.0 * expected / 4000_f64.sqrt());
    assert!(
        (deviation / expected - 1.0).abs() < 0.05,
        "{deviation} {expected}"
    );

    let mirrored = PatchRequest {
        mirrored: true,
        ..request(0, 0, 0, 0)
    };
    let mut out = vec![0.0; values];
    let refused = set.gather(&[mirrored], size, &sd(&set), draw, &mut out);
    assert!(refused.unwrap_err().to_string().contains("mirrored latent"));
    let outside = request(0, 6, 0, 0);
    assert!(
        set.gather(&[outside], size, &sd(&set), draw, &mut out)
            .is_err()
    );
    // An epoch sees each image once, at positions of its own.
    let stream = PatchStream::of_latents(&set, Seed::new(1));
    let epoch = stream.patches(0..IMAGES as u64, Share::WHOLE, size);
    let mut images: Vec<usize> = epoch.iter().map(|request| request.index).collect();
    images.sort_unstable();
    assert!(images.into_iter().eq(0..IMAGES));
    assert!(
        epoch
            .iter()
            .enumerate()
            .all(|(at, request)| request.position == at as u64)
    );
}

#[test]
fn scalings_standardise_and_go_back() {
    let root = tempfile::tempdir().unwrap();
    let set = write(root.path());
    let of = |kind, spec: &LatentSpec| Scaling::of(kind, spec, set.statistics(), 0.5);
    let scaling = of(LatentScaling::PerChannel, set.spec()).unwrap();
    let whole = PatchSize {
        height: HEIGHT,
        width: WIDTH,
    };
    let requests: Vec<PatchRequest> = (0..60 * IMAGES as u64)
        .map(|position| request(position as usize % IMAGES, 0, 0, position))
        .collect();
    let mut out = vec![0.0; requests.len() * VALUES];
    let draw = Draw::Sample(Seed::new(2));
    set.gather(&requests, whole, &scaling, draw, &mut out)
        .unwrap();
    for channel in 0..CHANNELS {
        let area = WIDTH * HEIGHT;
        let values = out
            .chunks_exact(VALUES)
            .flat_map(|image| &image[channel * area..][..area]);
        let values: Vec<f64> = values.map(|value| f64::from(*value)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>();
        let deviation = (square / values.len() as f64).sqrt();
        assert!(mean.abs() < 0.01, "channel {channel}: mean {mean}");
        assert!(
            (deviation - 0.5).abs() < 0.005,
            "channel {channel}: {deviation}"
        );
        let back = scaling.inverse(channel, scaling.forward(channel, 1.7));
        assert!((back - 1.7).abs() < 1e-12);
    }
    // EDM2's constants belong to pixels in [0, 1].
    let refused = of(LatentScaling::Edm2, set.spec()).unwrap_err().to_string();
    assert!(
        refused.contains("`per-channel`") && refused.contains("0..1"),
        "{refused}"
    );
    let unsigned = LatentSpec {
        pixel_range: PixelRange::Unsigned,
        ..spec()
    };
    let edm2 = of(LatentScaling::Edm2, &unsigned).unwrap();
    assert!((edm2.forward(3, -2.15 + 3.28) - 0.5).abs() < 1e-12);
}

#[test]
fn what_is_wrong_is_said() {
    let root = tempfile::tempdir().unwrap();
    write(root.path());
    let check = || verify(root.path(), &mut |_, _| ControlFlow::Continue(())).unwrap();
    assert_eq!((check().images, check().faults.len()), (IMAGES as u64, 0));
    let refused = ShardSet::open(root.path()).err().unwrap().to_string();
    assert!(
        refused.contains("patchwork.latents/1") && refused.contains("patchwork.shards/1"),
        "{refused}"
    );
    let path = root.path().join("shard-00001.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[700] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let faults = check().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].image.is_some_and(|image| (4..8).contains(&image)));

    let (mut mean, log_variance) = moments(0);
    mean[VALUES - 1] = 1e6;
    let refused = spec().row("large".to_owned(), None, &mean, &log_variance);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("`large`") && refused.contains("channel 3"),
        "{refused}"
    );
    mean.pop();
    assert!(matches!(
        spec().row("short".to_owned(), None, &mean, &log_variance),
        Err(DatasetError::Length { .. })
    ));
}

/// Files as EDM2's and LightningDiT's tools write them, by NumPy; what is imported is compared with what was written.
#[test]
fn latents_of_other_programs_are_imported() {
    const SCRIPT: &str = r"
import json, os, struct, sys
import numpy as np

root = sys.argv[1]
rng = np.random.default_rng(0)
mean = rng.normal(size=(5, 4, 8, 8)).astype(np.float32) * 4
std = np.exp(rng.normal(size=(5, 4, 8, 8)) - 4).astype(np.float32)
os.makedirs(f'{root}/edm2/00000')
labels = []
for i in range(5):
    name = f'00000/img-mean-std-{i:08d}.npy'
    np.save(f'{root}/edm2/{name}', np.concatenate([mean[i], std[i]]))
    labels.append([name, i % 3])
json.dump({'labels': labels}, open(f'{root}/edm2/dataset.json', 'w'))
np.save(f'{root}/edm2/00000/img-mean-std-00000009.npy', np.full((8, 8, 8), np.inf, np.float32))

def safetensors(path, tensors):
    header, data = {}, b''
    for name, value in tensors.items():
        kind = {'float32': 'F32', 'int64': 'I64'}[str(value.dtype)]
        raw = value.tobytes()
        header[name] = {'dtype': kind, 'shape': value.shape, 'data_offsets': [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    open(path, 'wb').write(struct.pack('<Q', len(text)) + text + data)

os.makedirs(f'{root}/lightning')
for part in range(2):
    of = slice(part * 3, part * 3 + 3)
    safetensors(f'{root}/lightning/latents_rank00_shard{part:03d}.safetensors', {
        'latents': mean[of] * np.float32(0.18215), 'latents_flip': mean[of] * np.float32(-0.18215),
        'labels': np.arange(5)[of] + 7})
mean.tofile(f'{root}/mean.bin')
np.log(std.astype(np.float64) ** 2).astype(np.float32).tofile(f'{root}/logvar.bin')
";
    let root = tempfile::tempdir().unwrap();
    python(SCRIPT, &[root.path().as_os_str()]);
    let floats = |name: &str| -> Vec<f32> {
        let bytes = std::fs::read(root.path().join(name)).unwrap();
        let values = bytes.chunks_exact(4).map(|each| each.try_into().unwrap());
        values.map(f32::from_le_bytes).collect()
    };
    let (mean, log_variance) = (floats("mean.bin"), floats("logvar.bin"));
    let settings = |source: &str, spread, stored| ImportSettings {
        source: root.path().join(source),
        spread,
        stored,
        channels: 4,
        pixel_range: PixelRange::Unsigned,
        factor: 8,
        scaling_factor: 0.18215,
        shift_factor: 0.0,
        images_per_shard: 2,
        max_rejected: 0.2,
    };
    let run = |settings: &ImportSettings, name: &str| {
        let folder = root.path().join(name);
        let imported = import(settings, &folder, &mut |_| ControlFlow::Continue(()))?;
        Ok::<_, DatasetError>((imported, LatentSet::open(&folder)?))
    };
    let near = |found: &[f32], expected: &[f32]| {
        let close = |(found, expected): (&f32, &f32)| (found - expected).abs() < 0.02;
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(close));
    };
    let values = 4 * 64;

    let edm2 = settings("edm2", Spread::Std, StoredScale::RAW);
    let (imported, set) = run(&edm2, "from-edm2").unwrap();
    assert_eq!((imported.images, imported.rejected), (5, 1));
    assert_eq!((set.spec().channels, set.spec().encoder), (4, None));
    for image in 0..5 {
        let (found, spread) = set.moments(image);
        near(&found, &mean[image * values..][..values]);
        near(&spread, &log_variance[image * values..][..values]);
        assert_eq!(set.label(image), Some(image as u32 % 3));
    }
    // Deviations are not taken for log-variances, nor log-variances for deviations.
    let mistaken = settings("edm2", Spread::LogVariance, StoredScale::RAW);
    let refused = run(&mistaken, "mistaken").err().unwrap().to_string();
    assert!(
        refused.contains("are these standard deviations?"),
        "{refused}"
    );
    let strict = ImportSettings {
        max_rejected: 0.0,
        ..edm2
    };
    let refused = run(&strict, "strict").err().unwrap().to_string();
    assert!(refused.contains("00000009.npy"), "{refused}");

    let whole = run(&settings("edm2", Spread::None, StoredScale::RAW), "whole");
    let refused = whole.err().unwrap().to_string();
    assert!(
        refused.contains("`spread`") && refused.contains("has 8 channels"),
        "{refused}"
    );

    let scaled = StoredScale {
        factor: 0.18215,
        shift: 0.0,
    };
    let (imported, set) = run(
        &settings("lightning", Spread::None, scaled),
        "from-lightning",
    )
    .unwrap();
    assert_eq!((imported.images, imported.rejected), (10, 0));
    for image in 0..5 {
        let expected = &mean[image * values..][..values];
        near(&set.moments(2 * image).0, expected);
        let mirrored: Vec<f32> = expected.iter().map(|value| -value).collect();
        near(&set.moments(2 * image + 1).0, &mirrored);
        assert!(set.moments(image).1.iter().all(|value| *value <= -30.0));
        assert_eq!(set.label(2 * image + 1), Some(image as u32 + 7));
    }
    let json = root.path().join("edm2/dataset.json");
    std::fs::write(
        &json,
        r#"{"labels": [["00000/img-mean-std-00000001.npy", 4000000000]]}"#,
    )
    .unwrap();
    let damaged = run(&settings("edm2", Spread::Std, StoredScale::RAW), "damaged");
    let refused = damaged.err().unwrap().to_string();
    assert!(refused.contains("4000000000"), "{refused}");
    let nothing = settings("mean.bin", Spread::None, scaled);
    assert!(run(&nothing, "nothing").is_err());
}
