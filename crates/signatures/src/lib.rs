//! Signatures of trainings on patches that fail, found in their metrics and scores.
//!
//! Each signature is a sentence with the values behind it. They are hints where to look, not verdicts; `docs/experiments.md`
//! has the measurements behind the thresholds.
//!
//! Must not know: where the measurements are kept, how they are shown.

mod copies;
mod losses;
mod scores;

pub use copies::{NEAR_COPY, NearCopies};
pub use losses::{LOSS_BY_PATCH_SIZE, Losses, of_losses};
pub use scores::{Score, of_scores};
