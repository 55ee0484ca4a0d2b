//! A look at what a source holds.

use super::file::decode;
use super::gate::MemoryGate;
use crate::source::{Payload, RawImage, Source};

/// The first image of a source that can be decoded; none if there is none.
pub fn first_readable(source: &dyn Source) -> Option<RawImage> {
    // One decoder alone waits for nobody.
    let gate = MemoryGate::new(0);
    (0..source.len()).find_map(|index| {
        let payload = source.fetch(index..index + 1).pop()?.ok()?;
        match payload {
            Payload::Pixels(image) => Some(image),
            Payload::File(bytes) => decode(&bytes, &gate).ok(),
        }
    })
}
