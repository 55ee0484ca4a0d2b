//! How much work and memory one file may cause.
//!
//! A pickle can refer to one part of itself any number of times, two bytes each, so a small file could ask for
//! copies without end. Everything that is done more than once for a part of the file is paid from here.

use super::error::PickleProblem;

/// Units for each byte of the file. Checkpoints that are what they say need less than two.
const PER_BYTE: usize = 4;
/// Units that even the smallest file has.
const FLOOR: usize = 1 << 16;

/// What is left for a file: about a step of the machine, or a byte of a copy, for each unit.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    /// In proportion to the file's length.
    pub(crate) fn for_file(data: &[u8]) -> Self {
        let limit = data.len().saturating_mul(PER_BYTE).saturating_add(FLOOR);
        Self { left: limit, limit }
    }

    /// Takes `units`, or says that the file asks for too much.
    pub(crate) fn spend(&mut self, units: usize) -> Result<(), PickleProblem> {
        self.left = self.left.checked_sub(units).ok_or(PickleProblem::Limit {
            what: "units of work for its size: it repeats itself as no checkpoint does",
            limit: self.limit,
        })?;
        Ok(())
    }
}
