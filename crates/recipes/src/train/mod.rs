//! The kind `train`: a data set to a network.

mod checks;
mod data;
mod job;
mod network;
mod recipe;
mod settings;
mod snapshot_evaluation;
pub mod start;

pub(crate) use data::TrainingData;
pub use job::{Places, Resolved, TrainJob};
pub use network::NetworkSettings;
pub use settings::{TrainSettings, images_of_kimg};
pub use snapshot_evaluation::SnapshotEvaluationSettings;
