//! BLAKE3 digests of bytes and files.

use std::io::{self, Write};
use std::path::Path;

use crate::file_error::{self, FileError};
use crate::hex::hex_text;

/// A BLAKE3 digest: 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

hex_text!(Digest, 32);

impl Digest {
    /// Digests a slice.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Digests a file's content, mapped where the system allows it.
    pub fn of_file(path: &Path) -> Result<Self, FileError> {
        // Before the hasher opens it, which waits at a pipe.
        file_error::open(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_mmap(path)
            .map_err(|source| FileError::new("read", path, source))?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A writer that digests and counts what passes through it.
pub struct DigestWriter<W> {
    inner: W,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<W: Write> DigestWriter<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: blake3::Hasher::new(),
            bytes: 0,
        }
    }

    /// The wrapped writer, the digest of everything written, and its length in bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (
            self.inner,
            Digest(*self.hasher.finalize().as_bytes()),
            self.bytes,
        )
    }
}

impl<W: Write> Write for DigestWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
