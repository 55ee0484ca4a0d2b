//! Memory of preparing a large set. The one test of its program, because it asks for the process's peak.
#![cfg(target_os = "linux")]

use std::ops::{ControlFlow, Range};

use patchwork_core::Digest;
use patchwork_dataset::source::{Account, Entry, Fetched, Payload, PixelFormat, RawImage};
use patchwork_dataset::transform::{Size, Transform};
use patchwork_dataset::{Channels, DatasetError, PrepareSettings, ShardSet, Source, prepare};

const IMAGES: usize = 200_000;
const SIDE: usize = 44;
const LIMIT: u64 = 1 << 30;

/// Images made as they are asked for; all of them together do not fit the limit.
struct Endless {
    keys: Vec<String>,
    account: Account,
}

impl Source for Endless {
    fn len(&self) -> usize {
        IMAGES
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        Entry {
            key: &self.keys[index],
            label: None,
        }
    }

    fn stored_bytes(&self, _: usize) -> u64 {
        (SIDE * SIDE * 3) as u64
    }

    fn fetch(&self, range: Range<usize>) -> Result<Fetched<'_>, DatasetError> {
        let side = SIDE as u32;
        let images = range
            .map(|index| {
                let mut pixels = vec![(index % 251) as u8; SIDE * SIDE * 3];
                pixels[..8].copy_from_slice(&(index as u64).to_le_bytes());
                RawImage::new(side, side, PixelFormat::Rgb, pixels).map(Payload::Pixels)
            })
            .collect();
        Ok(images)
    }

    fn class_names(&self) -> &[String] {
        &[]
    }

    fn digest(&self) -> Digest {
        Digest::of(b"endless")
    }

    fn credit(&self) -> Option<&str> {
        None
    }

    fn account(&self) -> &Account {
        &self.account
    }
}

#[test]
fn a_set_larger_than_the_limit_is_prepared_within_it() {
    let all = (IMAGES * SIDE * SIDE * 3) as u64;
    assert!(all > LIMIT, "all images together would fit");
    let folder = tempfile::tempdir().unwrap();
    let source = Endless {
        keys: (0..IMAGES).map(|index| format!("{index:06}")).collect(),
        account: Account::default(),
    };
    let settings = PrepareSettings {
        size: Size::square(SIDE),
        exif_orientation: false,
        transform: Transform::CenterCrop,
        channels: Channels::Rgb,
        background: [255; 3],
        images_per_shard: 10_000,
        max_rejected: 0.0,
        mirror: false,
        depth: 16,
    };
    let out = folder.path().join("set");
    let go_on = &mut |_| ControlFlow::Continue(());
    let summary = prepare(&settings, &source, &out, 2, go_on).unwrap();
    assert_eq!(summary.images, IMAGES as u64);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kibibytes: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak memory: {} MiB", kibibytes / 1024);
    assert!(kibibytes * 1024 < LIMIT, "{} MiB", kibibytes / 1024);
    let set = ShardSet::open(&out).unwrap();
    assert_eq!(set.len(), IMAGES);
    let last = IMAGES - 1;
    assert_eq!(set.pixels(last)[..8], (last as u64).to_le_bytes());
}
