//! The kind `autoencoder`: a data set to a small KL autoencoder.

mod job;
mod recipe;
mod settings;

pub use job::{AutoencoderJob, Resolved};
pub use settings::AutoencoderSettings;
