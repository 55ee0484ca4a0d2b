//! Pipeline files: as typed, then resolved.
//!
//! [`load`] reads a pipeline's TOML and the presets that it extends, applies `--set` overrides,
//! refuses whatever is unknown, of a wrong type, out of range or contradictory, and returns a
//! [`Pipeline`] in which every setting that can change a result has its value, one for each combination
//! of a `[matrix]`. Every refusal says
//! where the value was typed, also when it stands in a preset.
//!
//! The way of a value: `file` (TOML to a tree that remembers places, `extends`, overrides) →
//! `section` (typed reading of one table against its list of keys) → `settings` (one module a
//! stage kind) → `graph` (who needs whom) → `rules` (what holds between stages); `resolve` goes
//! through all of them.
//!
//! Must not know: libtorch, the data, the registry, how stages run. It opens no file but the
//! pipeline's and its presets'.

mod error;
mod file;
mod graph;
mod matrix;
mod nearest;
mod overrides;
mod pipeline;
mod resolve;
mod rules;
mod section;
mod settings;
mod single;
mod tree;
mod value;

pub use error::{ConfigError, Location, Problem};
pub use pipeline::{Execution, Pipeline, Stage, Variant};
pub use resolve::load;
pub use settings::StageSettings;
pub use settings::evaluate::EvaluateSettings;
pub use settings::grid::Grid;
pub use settings::network::NetworkSettings;
pub use settings::prepare::{EmojiSettings, PrepareSettings};
pub use settings::reference::{ExtractorChoice, ReferenceSettings, TorchScriptSettings};
pub use settings::sample::{Region, SampleSettings};
pub use settings::seeds::SeedRange;
pub use settings::snapshot_evaluation::SnapshotEvaluationSettings;
pub use settings::train::{TrainSettings, images_of_kimg};
pub use single::{SingleStage, load_stage};
