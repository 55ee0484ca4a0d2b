//! The kind `reference`: a data set to the statistics of its features.

mod choice;
pub mod extractor;
mod job;
mod settings;

pub use choice::ExtractorChoice;
pub use job::{Places, ReferenceJob, Resolved};
pub use settings::{ReferenceSettings, TorchScriptSettings};
