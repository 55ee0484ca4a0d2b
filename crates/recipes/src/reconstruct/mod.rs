//! The kind `reconstruct`: decoded latents against reference statistics, the floor of every score of their samples.

mod job;
mod recipe;
mod settings;

pub use job::{Places, ReconstructJob};
pub use settings::ReconstructSettings;
