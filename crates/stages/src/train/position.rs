//! Where training stands: the one thing, beside the seed, that all draws of a step depend on.

use serde::{Deserialize, Serialize};

/// Where training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Steps done.
    pub(crate) step: u64,
    /// The training clock.
    pub(crate) images_seen: u64,
    /// Images taken from the data set so far: the position in its endless shuffled order.
    pub(crate) images_drawn: u64,
    /// Steps whose draws were skipped when training rolled back: a step's draws are those of the sum.
    pub(crate) skipped_steps: u64,
}

impl Position {
    /// The position in the sequence of draws.
    pub(crate) fn draw(&self) -> u64 {
        self.step + self.skipped_steps
    }
}
