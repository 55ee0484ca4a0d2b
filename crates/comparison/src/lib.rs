//! What makes runs comparable, and what does not: the rules that `patchwork compare` and the dashboard share.
//!
//! - [`differences`] names each circumstance in which scores differ that must not: extractor, resize, reference, …;
//! - [`Spread`] takes runs together that differ in their seed alone, and says what is a difference beyond it;
//! - [`differing()`] names the facts that some runs do not have in common.
//!
//! Must not know: how either is shown.

mod comparable;
mod differing;
mod spread;

pub use comparable::{differences, warning, warnings};
pub use differing::{Facts, differing, without_absent_stages};
pub use spread::{Difference, Spread};
