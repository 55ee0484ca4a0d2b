//! A place in the file's bytes that moves forward and never beyond its end.

use std::ops::Range;

use super::error::PickleProblem;

/// Reads numbers, counted bytes and lines from a range of a file.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    /// The whole file; ranges that are handed out refer to it.
    data: &'a [u8],
    position: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `range`, whose end is moved to the file's where it lies beyond.
    pub(crate) fn new(data: &'a [u8], range: Range<usize>) -> Self {
        let end = range.end.min(data.len());
        Self {
            data,
            position: range.start.min(end),
            end,
        }
    }

    /// The whole file.
    pub(crate) fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where the next byte is read, counted from the start of the file.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: u64) -> Result<Range<usize>, PickleProblem> {
        let available = self.end - self.position;
        match usize::try_from(count) {
            Ok(count) if count <= available => {
                let range = self.position..self.position + count;
                self.position = range.end;
                Ok(range)
            }
            _ => Err(PickleProblem::Truncated {
                offset: self.position,
                needed: count,
                available,
            }),
        }
    }

    /// The next byte.
    pub(crate) fn byte(&mut self) -> Result<u8, PickleProblem> {
        let range = self.take(1)?;
        Ok(self.data[range.start])
    }

    /// A little-endian number of up to eight bytes.
    pub(crate) fn unsigned(&mut self, width: u64) -> Result<u64, PickleProblem> {
        let range = self.take(width)?;
        Ok(self.data[range]
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A length of `width` bytes and as many bytes.
    pub(crate) fn counted(&mut self, width: u64) -> Result<Range<usize>, PickleProblem> {
        let length = self.unsigned(width)?;
        self.take(length)
    }

    /// The text up to the next end of line.
    pub(crate) fn line(&mut self) -> Result<&'a str, PickleProblem> {
        let rest = &self.data[self.position..self.end];
        let length =
            rest.iter()
                .position(|byte| *byte == b'\n')
                .ok_or(PickleProblem::Truncated {
                    offset: self.end,
                    needed: 1,
                    available: 0,
                })?;
        let text = std::str::from_utf8(&rest[..length])
            .map_err(|_| self.malformed("a name is not UTF-8"))?;
        self.position += length + 1;
        Ok(text)
    }

    /// An error at the present position.
    pub(crate) fn malformed(&self, problem: &'static str) -> PickleProblem {
        PickleProblem::Malformed {
            offset: self.position,
            problem,
        }
    }
}
