//! One image of a source to its row.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::settings::PrepareSettings;
use crate::compose::{compose, compose_grey};
use crate::decode::{MemoryGate, decode_with_depth, orientation};
use crate::shards::{Channels, Row};
use crate::source::{Payload, RawImage, Rejection, Source};
use crate::transform::{self, Size, mirror};

/// What the threads share.
pub(super) struct Shared {
    pub(super) gate: MemoryGate,
    pub(super) deep_images: AtomicU64,
    pub(super) largest_sample: AtomicU32,
}

/// The row of an image, or why it has none.
pub(super) fn make_row(
    settings: &PrepareSettings,
    source: &dyn Source,
    shared: &Shared,
    index: usize,
    payload: Payload<'_>,
) -> Result<Row, Rejection> {
    let entry = source.entry(index);
    let raw = to_pixels(settings, shared, payload)?;
    let (width, height) = (raw.width(), raw.height());
    let composed = match settings.channels {
        Channels::Rgb => compose(raw, settings.background),
        Channels::Grey => compose_grey(raw, settings.background),
    };
    let from = Size {
        width: width as usize,
        height: height as usize,
    };
    let channels = settings.channels.count();
    let pixels = transform::apply(settings.transform, &composed, channels, from, settings.size)?;
    Ok(Row {
        key: entry.key.to_owned(),
        label: entry.label,
        pixels,
        source_width: width as u16,
        source_height: height as u16,
    })
}

fn to_pixels(
    settings: &PrepareSettings,
    shared: &Shared,
    payload: Payload<'_>,
) -> Result<RawImage, Rejection> {
    let bytes = match payload {
        Payload::Pixels(image) => return Ok(image),
        Payload::File(bytes) => bytes,
    };
    let image = decode_with_depth(&bytes, &shared.gate, settings.depth)?;
    if let Some(largest) = image.largest_sample() {
        shared.deep_images.fetch_add(1, Ordering::Relaxed);
        (shared.largest_sample).fetch_max(largest.into(), Ordering::Relaxed);
    }
    let turned = settings.exif_orientation.then(|| orientation(&bytes));
    Ok(match turned.flatten() {
        Some(orientation) => orientation.apply(&image),
        None => image,
    })
}

/// The row of the mirrored image.
pub(super) fn mirror_row(settings: &PrepareSettings, row: &Row) -> Row {
    let width = transform::output(settings.transform, settings.size).width;
    Row {
        key: format!("{}#mirrored", row.key),
        pixels: mirror(&row.pixels, width, settings.channels.count()),
        ..*row
    }
}
