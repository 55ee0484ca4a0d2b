//! The stage that turns a source into shards: read, compose, crop, resize, write; in parallel, in order.
//!
//! A shard is made from a fixed range of the source, so that any number of threads and any number of
//! attempts give the same files. In memory lie two shards, one of them being written, the files of a few images, and the images that are being
//! decoded, which wait for each other at a gate when they are large.

mod row;
mod settings;

use std::collections::{BTreeMap, HashMap};
use std::ops::{ControlFlow, Range};
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::thread::{Scope, ScopedJoinHandle};

use patchwork_core::Digest;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;

use self::row::{Shared, make_row, mirror_row};
pub use self::settings::PrepareSettings;
use crate::decode::{FULL_DEPTH, MemoryGate};
use crate::error::DatasetError;
use crate::shards::{Rejected, Row, ShardSetWriter, ShardSpec};
use crate::source::{Rejection, Source};
use crate::transform;

/// Images between two reports of progress.
const IMAGES_PER_REPORT: usize = 256;

/// Bytes of files that are held at once, unless one alone has more: the larger of these, and of those for each thread.
const BYTES_PER_REPORT: u64 = 32 << 20;
const BYTES_PER_REPORT_A_THREAD: u64 = 8 << 20;

/// What decoders of large images take together, at most: the larger of these, and of those for each thread.
const DECODER_BYTES: u64 = 400 << 20;
const DECODER_BYTES_A_THREAD: u64 = 64 << 20;

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
    /// Images of the source that were taken, by class.
    pub class_counts: Vec<u64>,
    /// Digest of the source.
    pub source_digest: Digest,
    /// The credit that the licence of the images asks for.
    pub credit: Option<String>,
    /// The 16-bit samples of the images that this attempt has read.
    #[serde(skip)]
    pub depth: DepthSeen,
}

/// What was seen of 16-bit samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DepthSeen {
    /// Images that have them.
    pub images: u64,
    /// The largest of them.
    pub largest: u16,
}

impl DepthSeen {
    /// The bits that the largest sample takes, where that is fewer than `depth` and half of the range or more is unused.
    pub fn unused(&self, depth: u32) -> Option<u32> {
        let bits = u32::max(8, u16::BITS - self.largest.leading_zeros());
        (self.images > 0 && bits < depth).then_some(bits)
    }
}

/// Makes a set of shards from a source in `folder`, resuming an earlier attempt.
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
    if !transform::suits(settings.transform, settings.size) {
        return Err(DatasetError::Setting {
            setting: "transform",
            value: format!("\"{}\"", settings.transform.name()),
            problem: format!(
                "it does not give images of {} x {} pixels",
                settings.size.width, settings.size.height
            ),
        });
    }
    let shared = Shared {
        gate: MemoryGate::new(for_threads(&pool, DECODER_BYTES, DECODER_BYTES_A_THREAD)),
        deep_images: AtomicU64::new(0),
        largest_sample: AtomicU32::new(0),
    };
    let writer = ShardSetWriter::open(folder, spec(settings, source))?;
    let shards_reused = writer.complete_shards();
    let writer = std::thread::scope(|scope| {
        make_shards(settings, source, &shared, &pool, writer, scope, progress)
    })?;

    let summary = Summary {
        images: writer.images(),
        shards: writer.complete_shards(),
        shards_reused,
        rejected: writer.rejected().len() as u64,
        class_names: source.class_names().to_vec(),
        class_counts: class_counts(source, writer.rejected()),
        source_digest: source.digest(),
        credit: source.credit().map(str::to_owned),
        depth: DepthSeen {
            images: shared.deep_images.into_inner(),
            largest: shared.largest_sample.into_inner() as u16,
        },
    };
    pool.install(|| writer.finish())?;
    Ok(summary)
}

/// How many images of each class are not among the rejected ones.
fn class_counts(source: &dyn Source, rejected: &[Rejected]) -> Vec<u64> {
    let mut counts = crate::source::class_counts(source);
    let mut without: HashMap<&str, u64> = HashMap::new();
    for image in rejected {
        *without.entry(image.key.as_str()).or_default() += 1;
    }
    for entry in (0..source.len()).map(|index| source.entry(index)) {
        // Of files of one name, which have one class, as many are left as were not rejected.
        if let Some(label) = entry.label
            && let Some(more) = without.get_mut(entry.key)
            && *more > 0
        {
            *more -= 1;
            counts[label as usize] -= 1;
        }
    }
    counts
}

/// Writes the shards that are missing from `writer`, each while the one before it is written by a thread of its own.
fn make_shards<'scope>(
    settings: &PrepareSettings,
    source: &dyn Source,
    shared: &Shared,
    pool: &ThreadPool,
    writer: ShardSetWriter,
    scope: &'scope Scope<'scope, '_>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ShardSetWriter, DatasetError> {
    let images_per_source = if settings.mirror { 2 } else { 1 };
    let step = usize::max(1, settings.images_per_shard / images_per_source);
    let total = source.len() as u64;
    check_rejected(settings, &writer, total)?;
    let mut number = writer.complete_shards();
    let mut rejected_before = writer.rejected().len() as u64;
    let mut writing = Writing::Done(writer);
    loop {
        let start = usize::min(source.len(), number * step);
        let end = usize::min(source.len(), start + step);
        let state = Progress {
            done: start as u64,
            total,
            rejected: rejected_before,
        };
        if progress(state).is_break() {
            writing.finish()?;
            return Err(DatasetError::Interrupted);
        }
        if start == end {
            break;
        }
        let made = make_shard(
            settings,
            source,
            shared,
            pool,
            start..end,
            &mut |done, rejected| {
                progress(Progress {
                    done: done as u64,
                    rejected: rejected_before + rejected as u64,
                    ..state
                })
            },
        );
        let mut writer = writing.finish()?;
        check_rejected(settings, &writer, total)?;
        let (rows, rejected) = made?;
        if number == writer.complete_shards() {
            rejected_before += rejected.len() as u64;
            number += 1;
            writing = Writing::Going(scope.spawn(move || {
                writer.write_shard(rows, rejected)?;
                writer.take_over();
                Ok(writer)
            }));
        } else {
            // Sound shards behind a gap that was just closed are taken over as they are.
            rejected_before = writer.rejected().len() as u64;
            number = writer.complete_shards();
            writing = Writing::Done(writer);
        }
    }
    let writer = writing.finish()?;
    check_rejected(settings, &writer, total)?;
    Ok(writer)
}

/// A writer, or the thread that has it.
enum Writing<'scope> {
    Done(ShardSetWriter),
    Going(ScopedJoinHandle<'scope, Result<ShardSetWriter, DatasetError>>),
}

impl Writing<'_> {
    fn finish(self) -> Result<ShardSetWriter, DatasetError> {
        match self {
            Self::Done(writer) => Ok(writer),
            Self::Going(thread) => thread.join().unwrap_or_else(|cause| resume_unwind(cause)),
        }
    }
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
    if settings.exif_orientation {
        metadata.insert("exif_orientation".to_owned(), "true".to_owned());
    }
    if settings.depth != FULL_DEPTH {
        metadata.insert("depth".to_owned(), settings.depth.to_string());
    }
    if let Some(credit) = source.credit() {
        metadata.insert("credit".to_owned(), credit.to_owned());
    }
    let size = transform::output(settings.transform, settings.size);
    ShardSpec {
        width: size.width,
        height: size.height,
        channels: settings.channels,
        images_per_shard: settings.images_per_shard,
        class_names: source.class_names().to_vec(),
        metadata,
    }
}

/// The rows and rejections of a range of the source, in its order.
fn make_shard(
    settings: &PrepareSettings,
    source: &dyn Source,
    shared: &Shared,
    pool: &ThreadPool,
    range: Range<usize>,
    report: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<(Vec<Row>, Vec<Rejected>), DatasetError> {
    let (mut rows, mut rejected) = (Vec::new(), Vec::new());
    let mut start = range.start;
    let bytes = for_threads(pool, BYTES_PER_REPORT, BYTES_PER_REPORT_A_THREAD);
    while start < range.end {
        let end = end_of_chunk(source, start, range.end, bytes);
        let made = pool.install(|| -> Result<Vec<Result<Row, Rejection>>, DatasetError> {
            Ok(source
                .fetch(start..end)?
                .into_par_iter()
                .enumerate()
                .map(|(offset, payload)| {
                    make_row(settings, source, shared, start + offset, payload?)
                })
                .collect())
        });
        for (index, made) in (start..end).zip(made?) {
            match made {
                Ok(row) => {
                    let mirrored = settings.mirror.then(|| mirror_row(settings, &row));
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

/// A bound of memory that many threads raise.
fn for_threads(pool: &ThreadPool, least: u64, a_thread: u64) -> u64 {
    u64::max(least, a_thread * pool.current_num_threads() as u64)
}

/// How far from `start` images are read together, within their number and `most` bytes.
fn end_of_chunk(source: &dyn Source, start: usize, end: usize, most: u64) -> usize {
    let end = usize::min(end, start + IMAGES_PER_REPORT);
    let mut bytes = source.stored_bytes(start);
    let more = (start + 1..end).take_while(|index| {
        bytes = bytes.saturating_add(source.stored_bytes(*index));
        bytes <= most
    });
    start + 1 + more.count()
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
