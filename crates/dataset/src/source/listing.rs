//! The digest of a source's listing: names, sizes and contents in order.

use std::io::{Write, sink};

use patchwork_core::Digest;
use patchwork_core::digest::DigestWriter;

/// The digest over (key, size in bytes, content digest) of each image, in the order given.
pub(super) fn digest_listing<'a>(images: impl Iterator<Item = (&'a str, u64, Digest)>) -> Digest {
    let mut writer = DigestWriter::new(sink());
    let mut update = |bytes: &[u8]| writer.write_all(bytes).expect("a sink takes every byte");
    for (key, bytes, content) in images {
        update(&(key.len() as u64).to_le_bytes());
        update(key.as_bytes());
        update(&bytes.to_le_bytes());
        update(content.as_bytes());
    }
    let (_, digest, _) = writer.finish();
    digest
}
