//! The kind `reference`: a data set to the statistics of its features.

mod choice;
pub mod extractor;
mod job;
mod recipe;
mod settings;
mod torchscript;

pub use choice::ExtractorChoice;
pub use job::{Places, ReferenceJob, Resolved};
pub use settings::ReferenceSettings;
pub use torchscript::TorchScriptSettings;
