//! Sources to shards and back: determinism, resuming, other readers, rejections.
#![expect(clippy::unwrap_used, reason = "the helpers below belong to tests")]

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int32Type, UInt16Type, UInt64Type};
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use patchwork_core::{Seed, durable};
use patchwork_dataset::inspect::inspect;
use patchwork_dataset::source::{EmojiFilter, Labels, open};
use patchwork_dataset::transform::{Size, Transform};
use patchwork_dataset::{
    Channels, DatasetError, PatchRequest, PatchSize, PrepareSettings, ShardSet, Source,
    SourceCache, SourceSettings, Summary, prepare,
};
use serde_json::json;

const SETTINGS: PrepareSettings = PrepareSettings {
    size: Size {
        width: 24,
        height: 24,
    },
    exif_orientation: false,
    transform: Transform::CenterCrop,
    channels: Channels::Rgb,
    background: [255; 3],
    images_per_shard: 50,
    max_rejected: 0.001,
    mirror: false,
    depth: 16,
};

fn emoji() -> Box<dyn Source> {
    let settings = SourceSettings {
        source: "builtin:twemoji".to_owned(),
        labels: Labels::Group,
        emoji: EmojiFilter {
            from: Some("hot beverage".to_owned()),
            to: Some("three-thirty".to_owned()),
            ..EmojiFilter::default()
        },
        ..SourceSettings::default()
    };
    open(&settings, &SourceCache::default()).unwrap()
}

fn folder_source(folder: &Path, labels: Labels, cache: &SourceCache) -> Box<dyn Source> {
    let source = folder.to_str().unwrap().to_owned();
    open(
        &SourceSettings {
            source,
            labels,
            ..SourceSettings::default()
        },
        cache,
    )
    .unwrap()
}

fn run(
    settings: &PrepareSettings,
    source: &dyn Source,
    folder: &Path,
    threads: usize,
) -> Result<Summary, DatasetError> {
    prepare(settings, source, folder, threads, &mut |_| {
        ControlFlow::Continue(())
    })
}

/// Names and contents of the files of a folder.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = durable::list(folder).unwrap();
    paths
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(folder).unwrap().to_owned(),
                fs::read(&path).unwrap(),
            )
        })
        .collect()
}

fn png(side: u32, seed: u64) -> Vec<u8> {
    let mut noise = Seed::new(seed).stream();
    let pixels: Vec<u8> = (0..side * side * 3)
        .map(|_| noise.next_u64() as u8)
        .collect();
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&pixels, side, side, ExtendedColorType::Rgb8)
        .unwrap();
    png
}

#[test]
fn bytes_do_not_depend_on_threads_or_interruptions() {
    let source = emoji();
    let [one, two, resumed] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let summary = run(&SETTINGS, &*source, one.path(), 1).unwrap();
    assert!(summary.images > 120, "{summary:?}");
    assert_eq!(
        (summary.shards, summary.rejected),
        (source.len().div_ceil(50), 0)
    );
    run(&SETTINGS, &*source, two.path(), 2).unwrap();
    let expected = contents(one.path());
    assert!(
        contents(two.path()) == expected,
        "the bytes depend on the number of threads"
    );

    // Stopped after one shard; then the second is a torn file, a later one is stale, a partial remains.
    let calls = Cell::new(0);
    let stopped = prepare(&SETTINGS, &*source, resumed.path(), 2, &mut |_| {
        calls.set(calls.get() + 1);
        if calls.get() > 1 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(matches!(stopped, Err(DatasetError::Interrupted)));
    let shard = |number: usize| resumed.path().join(format!("shard-{number:05}.parquet"));
    assert!(shard(0).is_file() && !shard(1).exists());
    let first = fs::metadata(shard(0)).unwrap().modified().unwrap();
    let whole = fs::read(one.path().join("shard-00001.parquet")).unwrap();
    fs::write(shard(1), &whole[..whole.len() / 2]).unwrap();
    fs::write(shard(2), &whole).unwrap();
    fs::write(resumed.path().join(".shard-00003.parquet.partial"), b"left").unwrap();
    let summary = run(&SETTINGS, &*source, resumed.path(), 2).unwrap();
    assert_eq!(summary.shards_reused, 1);
    assert_eq!(fs::metadata(shard(0)).unwrap().modified().unwrap(), first);
    assert!(
        contents(resumed.path()) == expected,
        "resuming gives other bytes"
    );

    // Shards of other settings are not taken over.
    let other = PrepareSettings {
        background: [0; 3],
        ..SETTINGS
    };
    assert_eq!(
        run(&other, &*source, resumed.path(), 2)
            .unwrap()
            .shards_reused,
        0
    );
    assert!(contents(resumed.path()) != expected);
}

#[test]
fn another_reader_sees_the_bytes_that_the_mapped_path_sees() {
    let source = emoji();
    let folder = tempfile::tempdir().unwrap();
    let settings = PrepareSettings {
        mirror: true,
        depth: 16,
        ..SETTINGS
    };
    run(&settings, &*source, folder.path(), 2).unwrap();
    let set = ShardSet::open(folder.path()).unwrap();
    assert_eq!(
        (set.len(), set.width(), set.height(), set.channels()),
        (2 * source.len(), 24, 24, Channels::Rgb)
    );
    assert_eq!(set.class_names(), source.class_names());

    let read = |name: &str| {
        let file = fs::File::open(folder.path().join(name)).unwrap();
        let rows = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let (schema, rows) = (rows.schema().clone(), rows.build().unwrap());
        let batches: Vec<_> = rows.map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    };
    let index = read("index.parquet");
    let offsets = index["offset"].as_primitive::<UInt64Type>();
    let mut id = 0;
    for number in 0..set.len().div_ceil(50) {
        let name = format!("shard-{number:05}.parquet");
        let bytes = fs::read(folder.path().join(&name)).unwrap();
        let frame = read(&name);
        let images = frame["image"].as_fixed_size_binary();
        let digests = frame["digest"].as_fixed_size_binary();
        let labels = frame["label"].as_primitive::<Int32Type>();
        let widths = frame["source_width"].as_primitive::<UInt16Type>();
        let keys = frame["key"].as_string::<i32>();
        for row in 0..frame.num_rows() {
            let pixels = images.value(row);
            assert_eq!(pixels, set.pixels(id));
            let offset = offsets.value(id) as usize;
            assert_eq!(pixels, &bytes[offset..][..pixels.len()]);
            assert_eq!(digests.value(row), &blake3_of(pixels)[..16]);
            assert_eq!(
                labels.is_valid(row).then(|| labels.value(row) as u32),
                set.label(id)
            );
            assert_eq!(widths.value(row), 72);
            let suffix = if id % 2 == 1 { "#mirrored" } else { "" };
            assert_eq!(
                keys.value(row),
                format!("{}{suffix}", source.entry(id / 2).key)
            );
            id += 1;
        }
    }
    assert_eq!(id, set.len());

    // A mirrored patch of an image is the patch of its mirror image.
    let size = PatchSize {
        height: 7,
        width: 5,
    };
    let request = PatchRequest {
        index: 8,
        row: 3,
        column: 11,
        mirrored: true,
        position: 0,
    };
    let mut patches = vec![0.0; 2 * size.values(Channels::Rgb)];
    let twin = PatchRequest {
        index: 9,
        mirrored: false,
        ..request
    };
    set.gather(&[request, twin], size, &mut patches).unwrap();
    let (mirrored, plain) = patches.split_at(size.values(Channels::Rgb));
    assert_eq!(mirrored, plain);
    for (channel, row, column) in [(0, 0, 0), (1, 6, 4), (2, 3, 2)] {
        let byte = set.pixels(9)[((3 + row) * 24 + 11 + column) * 3 + channel];
        let expected = f32::from(byte) / 127.5 - 1.0;
        let value = plain[(channel * 7 + row) * 5 + column];
        assert_eq!(value.to_bits(), expected.to_bits());
    }
    let outside = PatchRequest {
        column: 20,
        ..request
    };
    assert!(
        set.gather(&[outside], size, &mut patches[..size.values(Channels::Rgb)])
            .is_err()
    );
    assert!(set.gather(&[request], size, &mut patches).is_err());

    // A large batch is copied in parallel: the same values.
    let whole = PatchSize::square(24);
    let requests: Vec<PatchRequest> = (0..4 * set.len())
        .map(|number| PatchRequest {
            index: number % set.len(),
            row: 0,
            column: 0,
            mirrored: number % 3 == 0,
            position: 0,
        })
        .collect();
    let mut batch = vec![0.0; requests.len() * whole.values(Channels::Rgb)];
    assert!(batch.len() > 1 << 20, "{} values", batch.len());
    set.gather(&requests, whole, &mut batch).unwrap();
    let mut single = vec![0.0; whole.values(Channels::Rgb)];
    for (request, patch) in requests
        .iter()
        .zip(batch.chunks_exact(whole.values(Channels::Rgb)))
    {
        set.gather(&[*request], whole, &mut single).unwrap();
        assert_eq!(patch, single);
    }
}

fn blake3_of(bytes: &[u8]) -> [u8; 32] {
    *patchwork_core::Digest::of(bytes).as_bytes()
}

#[test]
fn bad_images_are_listed_and_counted_and_too_many_stop_the_work() {
    let root = tempfile::tempdir().unwrap();
    let raw = root.path().join("raw");
    for class in ["cat", "dog"] {
        fs::create_dir_all(raw.join(class)).unwrap();
        for number in 0..20 {
            fs::write(
                raw.join(class).join(format!("{number:02}.png")),
                png(30, number),
            )
            .unwrap();
        }
    }
    fs::write(raw.join("cat/03.png"), &png(30, 3)[..900]).unwrap();
    fs::write(raw.join("dog/07.png"), b"").unwrap();
    fs::write(raw.join("dog/notes.txt"), b"not an image").unwrap();

    let cache = SourceCache {
        folder: Some(root.path().join("cache")),
        rehash: false,
    };
    let source = folder_source(&raw, Labels::Folder, &cache);
    assert_eq!((source.len(), source.class_names().len()), (40, 2));
    let out = root.path().join("out");
    let small = PrepareSettings {
        images_per_shard: 16,
        ..SETTINGS
    };
    let error = run(&small, &*source, &out, 2).unwrap_err();
    assert!(
        matches!(&error, DatasetError::TooManyRejected { total: 40, .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("`cat/03.png`: broken PNG"),
        "{error}"
    );

    let settings = PrepareSettings {
        max_rejected: 0.05,
        ..small
    };
    let summary = run(&settings, &*source, &out, 2).unwrap();
    assert_eq!(
        (summary.images, summary.rejected, summary.shards_reused),
        (38, 2, 1)
    );
    let set = ShardSet::open(&out).unwrap();
    assert_eq!(set.label_counts(), [19, 19]);

    // Both classes hold pictures of the same numbers: all but the rejected ones are duplicates.
    let [overview, classes, channels, duplicates, rejected] = inspect(&out).unwrap();
    assert_eq!(overview.rows[0], [json!("images"), json!(38)]);
    assert_eq!(json!(classes.rows), json!([[0, "cat", 19], [1, "dog", 19]]));
    assert_eq!(channels.rows.len(), 3);
    assert_eq!(
        (duplicates.rows.len(), &duplicates.rows[0]),
        (18, &vec![json!(2), json!("0, 19")])
    );
    assert_eq!(rejected.rows[1], ["dog/07.png", "the file is empty"]);

    // The digest is remembered by size and time, found again by hashing, and changes with the content.
    assert_eq!(
        folder_source(&raw, Labels::None, &cache).digest(),
        source.digest()
    );
    let rehash = SourceCache {
        rehash: true,
        ..cache.clone()
    };
    assert_eq!(
        folder_source(&raw, Labels::None, &rehash).digest(),
        source.digest()
    );
    assert_eq!(
        folder_source(&raw, Labels::None, &SourceCache::default()).digest(),
        source.digest()
    );
    fs::write(raw.join("dog/07.png"), png(30, 7)).unwrap();
    assert_ne!(
        folder_source(&raw, Labels::None, &cache).digest(),
        source.digest()
    );
}

#[test]
fn a_file_that_cannot_be_reached_now_is_no_bad_image() {
    let root = tempfile::tempdir().unwrap();
    let (raw, set) = (root.path().join("raw"), root.path().join("set"));
    fs::create_dir(&raw).unwrap();
    for number in 0..120 {
        fs::write(raw.join(format!("{number:03}.png")), png(24, number)).unwrap();
    }
    let source = folder_source(&raw, Labels::None, &SourceCache::default());
    let settings = PrepareSettings {
        max_rejected: 1.0,
        ..SETTINGS
    };
    // The mount goes away behind the first shard.
    let (away, lost) = (root.path().join("away"), raw.join("075.png"));
    fs::rename(&lost, &away).unwrap();
    let error = run(&settings, &*source, &set, 2).unwrap_err();
    assert!(matches!(error, DatasetError::File(_)), "{error}");
    assert!(error.to_string().contains("075.png"), "{error}");
    fs::rename(&away, &lost).unwrap();
    let summary = run(&settings, &*source, &set, 2).unwrap();
    assert_eq!((summary.images, summary.rejected), (120, 0));
    assert_eq!(summary.shards_reused, 1);
}

#[test]
fn damaged_sets_and_wrong_sources_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let raw = root.path().join("raw");
    fs::create_dir_all(&raw).unwrap();
    let refused = |source: &Path, labels: Labels| {
        let source = source.to_str().unwrap().to_owned();
        let settings = SourceSettings {
            source,
            labels,
            ..SourceSettings::default()
        };
        open(&settings, &SourceCache::default())
            .err()
            .unwrap()
            .to_string()
    };
    assert!(refused(&raw, Labels::None).contains("holds no images"));
    assert!(refused(Path::new("builtin:emoji"), Labels::None).contains("`builtin:twemoji`"));
    assert!(
        refused(&root.path().join("absent"), Labels::None)
            .contains("no file or folder has that path")
    );
    fs::write(raw.join("a.png"), png(8, 0)).unwrap();
    assert!(refused(&raw, Labels::Group).contains("`labels` cannot be \"group\""));
    assert!(refused(&raw, Labels::Folder).contains("lies in no class folder"));

    let out = root.path().join("out");
    let source = folder_source(&raw, Labels::None, &SourceCache::default());
    let huge = PrepareSettings {
        images_per_shard: 1 << 20,
        ..SETTINGS
    };
    let error = run(&huge, &*source, &out, 1).unwrap_err().to_string();
    assert!(error.contains("lies between 1 and 116508"), "{error}");
    run(&SETTINGS, &*source, &out, 1).unwrap();
    let shard = out.join("shard-00000.parquet");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..1000]).unwrap();
    let error = ShardSet::open(&out).err().unwrap().to_string();
    assert!(error.contains("too short for image 0"), "{error}");
    fs::remove_file(&shard).unwrap();
    assert!(ShardSet::open(&out).is_err());
}
