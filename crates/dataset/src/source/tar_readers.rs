//! Readers of a tar archive: one that reads no more than is allowed, and one that skips within a plain file.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::rc::Rc;

/// A reader that ends in an error where more is read than is allowed, so that a header cannot claim all memory.
pub(super) struct Allowance<R> {
    pub(super) reader: R,
    pub(super) allowed: Rc<Cell<u64>>,
}

impl<R> Allowance<R> {
    fn count(&self, bytes: u64) -> io::Result<()> {
        let allowed = self.allowed.get().checked_sub(bytes);
        self.allowed
            .set(allowed.ok_or_else(|| io::Error::other("a header is longer than any name"))?);
        Ok(())
    }
}

impl<R: Read> Read for Allowance<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        // Blocks of zeros end an archive, and no memory is asked for because of them.
        if read != 512 || buffer[..read] != [0; 512] {
            self.count(read as u64)?;
        }
        Ok(read)
    }
}

impl<R: Seek> Seek for Allowance<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // What is skipped of a file was allowed for that file, and not for the next one's headers.
        if let SeekFrom::Current(skipped) = to {
            self.count(skipped.unsigned_abs())?;
        }
        self.reader.seek(to)
    }
}

/// A part of a file, of which parts are skipped, in the buffer where they end there, and never beyond its end.
pub(super) struct PlainFile {
    reader: BufReader<File>,
    position: u64,
    bytes: u64,
}

impl PlainFile {
    pub(super) fn new(mut file: File, part: Range<u64>) -> io::Result<Self> {
        file.seek(SeekFrom::Start(part.start))?;
        Ok(Self {
            bytes: part.end - part.start,
            // A small buffer: where files are large, all of it but a header is read in vain.
            reader: BufReader::new(file),
            position: 0,
        })
    }
}

impl Read for PlainFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.bytes - self.position).unwrap_or(usize::MAX);
        let most = usize::min(buffer.len(), left);
        let read = self.reader.read(&mut buffer[..most])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for PlainFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(skipped) = to else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        // A file may be sought beyond its end, where an archive that is cut off would seem to be over.
        let position = self
            .position
            .checked_add_signed(skipped)
            .filter(|position| *position <= self.bytes)
            .ok_or_else(|| io::Error::other("it ends within a file"))?;
        self.reader.seek_relative(skipped)?;
        self.position = position;
        Ok(position)
    }
}
