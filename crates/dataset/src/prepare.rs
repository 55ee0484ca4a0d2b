//! The stage that turns a source into shards: read, compose, crop, resize, write; in parallel, in order.
//!
//! A shard is made from a fixed range of the source, so that any number of threads and any number of
//! attempts give the same files. In memory lie one shard and, per thread, one raw image.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use patchwork_core::Digest;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use crate::compose::compose;
use crate::error::DatasetError;
use crate::shards::{Rejected, Row, ShardSetWriter, ShardSpec};
use crate::source::{Rejection, Source};
use crate::transform::{Transform, mirror};

/// Images between two reports of progress.
const IMAGES_PER_REPORT: usize = 128;

/// What the shards of a source depend on, beside the source.
#[derive(Clone, Debug, PartialEq)]
pub struct PrepareSettings {
    /// Side of the images in pixels.
    pub resolution: u32,
    /// How images become square.
    pub transform: Transform,
    /// The ground under transparent pixels: red, green, blue.
    pub background: [u8; 3],
    /// The most images in a shard.
    pub images_per_shard: usize,
    /// The largest fraction of the source that may be rejected.
    pub max_rejected: f64,
    /// Whether each image is followed by its mirror image.
    pub mirror: bool,
}

/// How far the work has come, in images of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Read and either taken or rejected.
    pub done: u64,
    /// All.
    pub total: u64,
    /// Rejected so far.
    pub rejected: u64,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Images in the set.
    pub images: u64,
    /// Shards in the set.
    pub shards: usize,
    /// Shards of these that an earlier attempt had made.
    pub shards_reused: usize,
    /// Images of the source that were left out.
    pub rejected: u64,
    /// The names of the classes, by label.
    pub class_names: Vec<String>,
    /// Digest of the source.
    pub source_digest: Digest,
    /// The credit that the licence of the images asks for.
    pub credit: Option<String>,
}

/// Makes a set of shards from a source in `folder`, going on where an earlier attempt stopped.
///
/// `progress` is called after every few images; when it breaks, the finished shards remain and the result
/// is [`DatasetError::Interrupted`].
///
/// # Determinism
/// The files are the same whatever `threads` is and however often the work was interrupted.
pub fn prepare(
    settings: &PrepareSettings,
    source: &dyn Source,
    folder: &Path,
    threads: usize,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Summary, DatasetError> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(usize::max(1, threads))
        .build()
        .map_err(|source| DatasetError::Threads { threads, source })?;
    let mut writer = ShardSetWriter::open(folder, spec(settings, source))?;
    let shards_reused = writer.complete_shards();
    let images_per_source = if settings.mirror { 2 } else { 1 };
    let step = usize::max(1, settings.images_per_shard / images_per_source);
    let total = source.len() as u64;

    loop {
        check_rejected(settings, &writer, total)?;
        let start = usize::min(source.len(), writer.complete_shards() * step);
        let end = usize::min(source.len(), start + step);
        let state = Progress {
            done: start as u64,
            total,
            rejected: writer.rejected().len() as u64,
        };
        if progress(state).is_break() {
            return Err(DatasetError::Interrupted);
        }
        if start == end {
            break;
        }
        let (rows, rejected) = make_shard(
            settings,
            source,
            &pool,
            start..end,
            &mut |done, rejected| {
                let rejected = state.rejected + rejected as u64;
                progress(Progress {
                    done: done as u64,
                    rejected,
                    ..state
                })
            },
        )?;
        writer.write_shard(rows, rejected)?;
        writer.take_over();
    }

    let summary = Summary {
        images: writer.images(),
        shards: writer.complete_shards(),
        shards_reused,
        rejected: writer.rejected().len() as u64,
        class_names: source.class_names().to_vec(),
        source_digest: source.digest(),
        credit: source.credit().map(str::to_owned),
    };
    pool.install(|| writer.finish())?;
    Ok(summary)
}

fn spec(settings: &PrepareSettings, source: &dyn Source) -> ShardSpec {
    let [red, green, blue] = settings.background;
    let mut metadata = BTreeMap::from([
        ("transform".to_owned(), settings.transform.name().to_owned()),
        (
            "background".to_owned(),
            format!("#{red:02x}{green:02x}{blue:02x}"),
        ),
        ("mirror".to_owned(), settings.mirror.to_string()),
        ("source_digest".to_owned(), source.digest().to_string()),
    ]);
    if let Some(credit) = source.credit() {
        metadata.insert("credit".to_owned(), credit.to_owned());
    }
    ShardSpec {
        width: settings.resolution as usize,
        height: settings.resolution as usize,
        images_per_shard: settings.images_per_shard,
        class_names: source.class_names().to_vec(),
        metadata,
    }
}

/// The rows and rejections of a range of the source, in its order.
fn make_shard(
    settings: &PrepareSettings,
    source: &dyn Source,
    pool: &ThreadPool,
    range: Range<usize>,
    report: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<(Vec<Row>, Vec<Rejected>), DatasetError> {
    let (mut rows, mut rejected) = (Vec::new(), Vec::new());
    let mut start = range.start;
    while start < range.end {
        let end = usize::min(range.end, start + IMAGES_PER_REPORT);
        let made: Vec<Result<Row, Rejection>> = pool.install(|| {
            (start..end)
                .into_par_iter()
                .map(|index| make_row(settings, source, index))
                .collect()
        });
        for (index, made) in (start..end).zip(made) {
            match made {
                Ok(row) => {
                    let mirrored = settings
                        .mirror
                        .then(|| mirror_row(&row, settings.resolution));
                    rows.push(row);
                    rows.extend(mirrored);
                }
                Err(rejection) => rejected.push(Rejected {
                    key: source.entry(index).key.to_owned(),
                    cause: rejection.cause().to_owned(),
                }),
            }
        }
        if end < range.end && report(end, rejected.len()).is_break() {
            return Err(DatasetError::Interrupted);
        }
        start = end;
    }
    Ok((rows, rejected))
}

fn make_row(
    settings: &PrepareSettings,
    source: &dyn Source,
    index: usize,
) -> Result<Row, Rejection> {
    let entry = source.entry(index);
    let raw = source.read(index)?;
    let (width, height) = (raw.width(), raw.height());
    let composed = compose(raw, settings.background);
    let side = settings.resolution as usize;
    let pixels = settings
        .transform
        .apply(&composed, width as usize, height as usize, side)?;
    Ok(Row {
        key: entry.key.to_owned(),
        label: entry.label,
        pixels,
        source_width: width as u16,
        source_height: height as u16,
    })
}

fn mirror_row(row: &Row, resolution: u32) -> Row {
    Row {
        key: format!("{}#mirrored", row.key),
        pixels: mirror(&row.pixels, resolution as usize),
        ..*row
    }
}

/// Fails as soon as too many images are rejected, and at the end if none is left.
fn check_rejected(
    settings: &PrepareSettings,
    writer: &ShardSetWriter,
    total: u64,
) -> Result<(), DatasetError> {
    let rejected = writer.rejected().len() as u64;
    let Some(first) = writer.rejected().first() else {
        return Ok(());
    };
    if rejected < total && rejected as f64 <= settings.max_rejected * total as f64 {
        return Ok(());
    }
    Err(DatasetError::TooManyRejected {
        rejected,
        total,
        max_rejected: settings.max_rejected,
        first: format!("`{}`: {}", first.key, first.cause),
        list: writer.write_rejected()?,
    })
}
