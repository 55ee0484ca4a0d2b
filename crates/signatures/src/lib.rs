//! How trainings on patches fail, told by what was measured.
//!
//! Each signature is a sentence with the values behind it. They are hints where to look, not verdicts; `docs/experiments.md`
//! says where the thresholds come from.
//!
//! Must not know: where the measurements are kept, how they are shown.

mod copies;
mod losses;
mod scores;

pub use copies::{NEAR_COPY, NearCopies};
pub use losses::{LOSS_BY_SIDE, Losses, of_losses};
pub use scores::{Score, of_scores};
