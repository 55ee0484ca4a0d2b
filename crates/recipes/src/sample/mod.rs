//! The kind `sample`: a network to images.

mod checks;
mod classes;
mod grid;
mod job;
mod recipe;
mod region;
mod seeds;
mod settings;

pub use grid::Grid;
pub use job::{Places, SampleJob};
pub use region::Region;
pub use seeds::SeedRange;
pub use settings::{SampleSettings, distinguishes_samples};
