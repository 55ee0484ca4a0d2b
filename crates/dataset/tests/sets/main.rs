//! Finished sets: read by programs that are not ours, exported, damaged, and cut into patches.
#![expect(clippy::unwrap_used, reason = "the helpers below belong to tests")]

mod latents;
mod loader;
mod other_readers;
#[path = "../../../../tests/support/readers.rs"]
mod readers;
mod recorded;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;

use patchwork_core::Seed;
use patchwork_dataset::{Channels, Row, ShardSet, ShardSetWriter, ShardSpec};

const WIDTH: usize = 20;
const HEIGHT: usize = 12;
/// In each shard but the last.
const PER_SHARD: usize = 16;
const IMAGES: usize = 42;
const CLASSES: [&str; 3] = ["red fox", "a/b", "été"];

/// Images of noise in three shards; image 40 has the pixels of image 3.
fn write_set(folder: &Path, labelled: bool) -> ShardSet {
    write_set_of(folder, labelled, Channels::Rgb)
}

fn write_set_of(folder: &Path, labelled: bool, channels: Channels) -> ShardSet {
    let spec = ShardSpec {
        width: WIDTH,
        height: HEIGHT,
        channels,
        images_per_shard: PER_SHARD,
        class_names: if labelled {
            CLASSES.map(str::to_owned).to_vec()
        } else {
            Vec::new()
        },
        metadata: BTreeMap::new(),
    };
    let rows: Vec<Row> = (0..IMAGES)
        .map(|image| {
            let mut noise = Seed::new(if image == 40 { 3 } else { image as u64 }).stream();
            Row {
                key: format!("folder/{image} ü.jpg"),
                label: labelled.then_some(image as u32 % 3),
                pixels: (0..WIDTH * HEIGHT * channels.count())
                    .map(|_| noise.next_u64() as u8)
                    .collect(),
                source_width: 100 + image as u16 % 2,
                source_height: 90,
            }
        })
        .collect();
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    for shard in rows.chunks(PER_SHARD) {
        writer.write_shard(shard.to_vec(), Vec::new()).unwrap();
    }
    writer.finish().unwrap();
    ShardSet::open(folder).unwrap()
}
