//! How a tar archive is compressed, by its content.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use patchwork_core::file_error::{self, FileError};

use super::store::is_of_system;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The compression of a tar archive, or none if the file is no such archive.
    pub(super) fn of_tar(path: &Path) -> Result<Option<Self>, FileError> {
        let failed = |error| FileError::new("read", path, error);
        let file = file_error::open(path)?;
        let mut head = [0; 4];
        let read = file.read_at(&mut head, 0).map_err(failed)?;
        let compression = match head {
            _ if read < head.len() => return Ok(None),
            [0x1F, 0x8B, ..] => Self::Gzip,
            [0x28, 0xB5, 0x2F, 0xFD] => Self::Zstd,
            _ => Self::None,
        };
        let mut header = Vec::with_capacity(512);
        let unpacked = compression
            .reader(&file)
            .and_then(|reader| reader.take(512).read_to_end(&mut header));
        match unpacked {
            Err(error) if is_of_system(&error) => Err(failed(error)),
            // What cannot be unpacked is not an archive.
            Ok(_) if is_header(&header) => Ok(Some(compression)),
            _ => Ok(None),
        }
    }

    /// Reads what is uncompressed from the start of the archive.
    pub(super) fn reader(self, file: &File) -> io::Result<Box<dyn Read + Send>> {
        let mut file = file.try_clone()?;
        file.rewind()?;
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(match self {
            Self::None => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(file)),
            Self::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }
}

/// Whether a block is a header: since POSIX it has a mark, and in every archive the sum of its bytes.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.first_chunk::<512>() else {
        return false;
    };
    if &block[257..262] == b"ustar" {
        return true;
    }
    let header = tar::Header::from_byte_slice(block);
    // The sum is taken with spaces in its own place.
    let sum: u32 = (block[..148].iter().chain(&block[156..]))
        .map(|byte| u32::from(*byte))
        .sum::<u32>()
        + 8 * u32::from(b' ');
    block[0] != 0 && header.cksum().is_ok_and(|recorded| recorded == sum)
}
