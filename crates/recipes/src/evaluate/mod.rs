//! The kind `evaluate`: sampled images against reference statistics.

mod checks;
mod job;
mod settings;

pub use job::{EvaluateJob, Places};
pub use settings::EvaluateSettings;
