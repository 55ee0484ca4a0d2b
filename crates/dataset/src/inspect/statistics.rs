//! What the images look like: channels, sizes in the source, flat images.

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::*;
use serde_json::{Value, json};

use super::contents::channel_moments;
use super::failed;
use super::frame::read_columns;
use super::table::{Table, rounded};
use crate::error::DatasetError;
use crate::shards::{Channels, INDEX_FILE, ShardSpec, channel_names, read_index, shard_file_name};

/// Deviation in 0..=255 below which an image shows next to nothing.
const FLAT_DEVIATION: f64 = 2.0;

/// The columns of a shard that say how large an image was in its source.
const SOURCE_SIZE: [&str; 2] = ["source_width", "source_height"];

/// Tables on the images of a prepared data set: `channels`, `source sides`, `source sizes`, `proportions`,
/// `flat images`.
pub fn stats(folder: &Path) -> Result<[Table; 5], DatasetError> {
    let index_path = folder.join(INDEX_FILE);
    let listed = read_index::<ShardSpec>(&index_path)?;
    let index = read_columns(&index_path, |_| true)?;
    let shards = listed
        .places
        .iter()
        .map(|(shard, _)| *shard as usize + 1)
        .max();
    let sizes = source_sizes(folder, shards.unwrap_or(0))?;
    let channels =
        channels(&index, listed.spec.channels).map_err(|error| failed(&index_path, error))?;
    let flat = flat(&index, listed.spec.channels).map_err(|error| failed(&index_path, error))?;
    Ok([
        channels,
        sides(&sizes, &listed.spec),
        most_frequent(&sizes),
        proportions(&sizes),
        flat,
    ])
}

/// Each channel and all together, as bytes and as training sees them, in [-1, 1]; there the deviation of all is what
/// `sigma_data` stands for.
fn channels(index: &DataFrame, channels: Channels) -> PolarsResult<Table> {
    let mut moments = channel_moments(index, channels)?;
    let mean = moments.iter().map(|(_, mean, _)| mean).sum::<f64>() / moments.len() as f64;
    let square = moments
        .iter()
        .map(|(_, mean, deviation)| mean * mean + deviation * deviation)
        .sum::<f64>()
        / moments.len() as f64;
    let deviation = f64::max(0.0, square - mean * mean).sqrt();
    moments.push(("all", mean, deviation));
    let rows = moments
        .into_iter()
        .map(|(name, mean, deviation)| {
            vec![
                json!(name),
                rounded(mean, 2),
                rounded(deviation, 2),
                rounded(mean / 127.5 - 1.0, 4),
                rounded(deviation / 127.5, 4),
            ]
        })
        .collect();
    let columns = [
        "channel",
        "mean",
        "deviation",
        "training mean",
        "training deviation",
    ];
    Ok(Table::new("channels", &columns, rows))
}

/// How many images of the source have each width and height.
pub type Sizes = BTreeMap<(u32, u32), u64>;

/// The sizes that the images of a prepared data set had in its source.
pub fn sizes_in_source(folder: &Path) -> Result<Sizes, DatasetError> {
    let listed = read_index::<ShardSpec>(&folder.join(INDEX_FILE))?;
    let shards = listed.places.iter().map(|(shard, _)| *shard as usize + 1);
    source_sizes(folder, shards.max().unwrap_or(0))
}

fn source_sizes(folder: &Path, shards: usize) -> Result<Sizes, DatasetError> {
    let mut sizes = Sizes::new();
    for shard in 0..shards {
        let path = folder.join(shard_file_name(shard));
        let frame = read_columns(&path, |name| SOURCE_SIZE.contains(&name))?;
        count_sizes(&frame, &mut sizes).map_err(|error| failed(&path, error))?;
    }
    Ok(sizes)
}

fn count_sizes(frame: &DataFrame, sizes: &mut Sizes) -> PolarsResult<()> {
    let [widths, heights] = SOURCE_SIZE.map(|name| frame.column(name));
    let (widths, heights) = (widths?.u32()?, heights?.u32()?);
    let groups = frame.group_by(SOURCE_SIZE)?;
    for group in groups.get_groups().iter() {
        let first = group.first() as usize;
        if let (Some(width), Some(height)) = (widths.get(first), heights.get(first)) {
            *sizes.entry((width, height)).or_default() += group.len() as u64;
        }
    }
    Ok(())
}

fn share(images: u64, sizes: &Sizes) -> Value {
    let all: u64 = sizes.values().sum();
    rounded(images as f64 / all.max(1) as f64, 4)
}

/// A histogram of the shorter side in octaves, and whether images of that size were made larger.
fn sides(sizes: &Sizes, spec: &ShardSpec) -> Table {
    let mut octaves: BTreeMap<u32, u64> = BTreeMap::new();
    for ((width, height), images) in sizes {
        *octaves
            .entry(u32::min(*width, *height).max(1).ilog2())
            .or_default() += images;
    }
    let side = usize::min(spec.width, spec.height);
    let rows = octaves
        .into_iter()
        .map(|(octave, images)| {
            let (from, to) = (1_usize << octave, (2_usize << octave) - 1);
            let enlarged = match () {
                () if to < side => "yes",
                () if from >= side => "no",
                () => "some",
            };
            vec![
                json!(from),
                json!(to),
                json!(images),
                share(images, sizes),
                json!(enlarged),
            ]
        })
        .collect();
    let columns = ["from", "to", "images", "share", "enlarged"];
    Table::new("source sides", &columns, rows)
}

fn most_frequent(sizes: &Sizes) -> Table {
    let mut counts: Vec<(u64, (u32, u32))> = sizes
        .iter()
        .map(|(size, images)| (*images, *size))
        .collect();
    counts.sort_by_key(|(images, size)| (std::cmp::Reverse(*images), *size));
    let rows = counts
        .into_iter()
        .map(|(images, (width, height))| {
            vec![
                json!(width),
                json!(height),
                json!(images),
                share(images, sizes),
            ]
        })
        .collect();
    Table::new(
        "source sizes",
        &["width", "height", "images", "share"],
        rows,
    )
}

/// How far images are from square, of which a square crop loses more the farther they are.
fn proportions(sizes: &Sizes) -> Table {
    const BOUNDS: [(&str, f64); 7] = [
        ("taller than 1:2", 0.5),
        ("1:2 to 3:4", 0.75),
        ("3:4 to square", 0.999),
        ("square", 1.001),
        ("square to 4:3", 4.0 / 3.0),
        ("4:3 to 2:1", 2.0),
        ("wider than 2:1", f64::INFINITY),
    ];
    let mut counts = [0; BOUNDS.len()];
    for ((width, height), images) in sizes {
        let ratio = f64::from(*width) / f64::from(*height);
        let bin = BOUNDS.iter().position(|(_, bound)| ratio < *bound);
        counts[bin.unwrap_or(BOUNDS.len() - 1)] += images;
    }
    let rows = BOUNDS
        .iter()
        .zip(counts)
        .filter(|(_, images)| *images > 0)
        .map(|((name, _), images)| vec![json!(name), json!(images), share(images, sizes)])
        .collect();
    let columns = ["width to height", "images", "share"];
    Table::new("proportions", &columns, rows)
}

/// Images of next to one colour: often a placeholder for a picture that is gone.
fn flat(index: &DataFrame, channels: Channels) -> PolarsResult<Table> {
    let ids = index.column("id")?.u64()?;
    let deviations = channel_names(channels)
        .iter()
        .map(|(_, short)| index.column(&format!("std_{short}"))?.f32().cloned())
        .collect::<PolarsResult<Vec<_>>>()?;
    let rows = (0..index.height())
        .filter_map(|row| {
            let largest = deviations
                .iter()
                .filter_map(|deviation| deviation.get(row))
                .fold(0.0, |largest, value| f64::max(largest, value.into()));
            (largest < FLAT_DEVIATION).then(|| vec![json!(ids.get(row)), rounded(largest, 2)])
        })
        .collect();
    let columns = ["id", "largest deviation"];
    Ok(Table::new("flat images", &columns, rows))
}
