//! Damage of every kind is found and named, and a damaged set never makes the check itself fail.

use std::ops::ControlFlow;
use std::path::Path;

use patchwork_core::Seed;
use patchwork_dataset::{Fault, Verified, verify};

use super::{IMAGES, write_set};

fn check(folder: &Path) -> Verified {
    verify(folder, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

/// The one fault of a set after one of its files was changed, which is put back.
fn fault_after(folder: &Path, file: &str, change: impl FnOnce(&Path)) -> Fault {
    let path = folder.join(file);
    let sound = std::fs::read(&path).unwrap();
    change(&path);
    let found = check(folder).faults;
    std::fs::write(&path, sound).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn flip(path: &Path, place: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Where the bytes of a value lie in a file, which holds them once.
fn find(path: &Path, wanted: &[u8]) -> usize {
    let bytes = std::fs::read(path).unwrap();
    let mut places = bytes.windows(wanted.len()).enumerate();
    places.find(|(_, window)| *window == wanted).unwrap().0
}

#[test]
fn the_damaged_file_and_image_are_named() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("set");
    let set = write_set(&folder, true);
    let sound = check(&folder);
    assert_eq!(
        (sound.images, sound.shards, sound.faults.len()),
        (IMAGES as u64, 3, 0)
    );

    let pixel = fault_after(&folder, "shard-00001.parquet", |path| {
        flip(path, find(path, set.pixels(20)) + 100);
    });
    assert_eq!(
        (pixel.image, pixel.key.as_deref()),
        (Some(20), Some("folder/20 ü.jpg"))
    );
    assert_eq!(
        (pixel.file.as_str(), pixel.problem.as_str()),
        (
            "shard-00001.parquet",
            "its pixels do not have the digest recorded for them"
        )
    );
    let digest = patchwork_core::Digest::of(set.pixels(9));
    let digest = &digest.as_bytes()[..16];
    let in_shard = fault_after(&folder, "shard-00000.parquet", |path| {
        flip(path, find(path, digest));
    });
    assert_eq!(in_shard.image, Some(9));
    assert!(
        in_shard
            .problem
            .contains("the shard records another digest")
    );
    let in_index = fault_after(&folder, "index.parquet", |path| {
        flip(path, find(path, digest));
    });
    assert_eq!(in_index.image, Some(9));
    assert!(
        in_index
            .problem
            .contains("the index records another digest")
    );
    let torn = fault_after(&folder, "shard-00002.parquet", |path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
    });
    assert!(
        torn.problem.ends_with("it holds images 32 to 41"),
        "{torn:?}"
    );
    let missing = fault_after(&folder, "shard-00001.parquet", |path| {
        std::fs::remove_file(path).unwrap();
    });
    assert_eq!(missing.problem, "it is missing; it holds images 16 to 31");
    for file in ["index.parquet", "rejected.parquet"] {
        let gone = fault_after(&folder, file, |path| std::fs::remove_file(path).unwrap());
        assert_eq!(
            (gone.file.as_str(), gone.problem.as_str()),
            (file, "it is missing")
        );
    }
    let swapped = fault_after(&folder, "shard-00001.parquet", |path| {
        std::fs::copy(folder.join("shard-00002.parquet"), path).unwrap();
    });
    assert!(swapped.problem.contains("it has 10 images, the index 16"));

    let empty = root.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(verify(&empty, &mut |_, _| ControlFlow::Continue(())).is_err());
}

/// A flipped bit anywhere may make a file unreadable, or change what no digest covers; it never stops the check.
#[test]
fn no_damage_stops_the_check() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("set");
    write_set(&folder, true);
    let mut draws = Seed::new(5).stream();
    for file in ["shard-00001.parquet", "index.parquet", "rejected.parquet"] {
        let path = folder.join(file);
        let sound = std::fs::read(&path).unwrap();
        for _ in 0..60 {
            let mut bytes = sound.clone();
            // The footer, where a file says what it holds, is the last kilobytes.
            let near_end = bytes.len() - 1 - draws.below(2000.min(bytes.len() as u64)) as usize;
            let anywhere = draws.below(bytes.len() as u64) as usize;
            let place = if draws.below(2) == 0 {
                near_end
            } else {
                anywhere
            };
            bytes[place] ^= 1 << draws.below(8);
            if draws.below(4) == 0 {
                bytes.truncate(draws.below(bytes.len() as u64) as usize);
            }
            std::fs::write(&path, bytes).unwrap();
            check(&folder);
        }
        std::fs::write(&path, sound).unwrap();
    }
    assert!(check(&folder).faults.is_empty());
}
