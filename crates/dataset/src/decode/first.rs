//! A look at what a source holds.

use super::file::decode;
use super::gate::MemoryGate;
use crate::error::DatasetError;
use crate::source::{Payload, RawImage, Source};

/// The first image of a source that can be decoded; none if there is none.
pub fn first_readable(source: &dyn Source) -> Result<Option<RawImage>, DatasetError> {
    // One decoder alone waits for nobody.
    let gate = MemoryGate::new(0);
    for index in 0..source.len() {
        let image = match source.fetch(index..index + 1)?.pop() {
            Some(Ok(Payload::Pixels(image))) => Some(image),
            Some(Ok(Payload::File(bytes))) => decode(&bytes, &gate).ok(),
            Some(Err(_)) | None => None,
        };
        if image.is_some() {
            return Ok(image);
        }
    }
    Ok(None)
}
