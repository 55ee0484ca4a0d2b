//! The kind `evaluate`: sampled images against reference statistics.

mod checks;
mod job;
mod recipe;
mod settings;

pub use job::{EvaluateJob, Places};
pub use settings::EvaluateSettings;
