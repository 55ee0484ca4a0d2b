//! The registry: which runs there were, what they made, what was measured — in SQLite.
//!
//! A [`Registry`] is opened for writing by the supervisor of a run and read-only by everything
//! that asks. All SQL of the project stands in this crate and in `migrations/`. Writes begin
//! immediately (a read that turns into a write cannot wait for another writer), wait up to ten
//! seconds for others, and are on the disk when they return.
//!
//! The way through it: [`NewRun`] → stages, attempts, heartbeats → artifacts, metrics, scores,
//! events → [`RunDetail`] and [`QueryTable`].
//!
//! Must not know: stages, settings' meanings, artifacts' contents. It stores what it is told and is
//! the index, not the only copy.

mod artifacts;
mod attempts;
mod clock;
mod database;
mod error;
mod family;
mod history;
mod measurements;
mod needs;
mod query;
mod record;
mod restore;
mod runs;
mod stale;
mod status;
mod unfinished;
mod view;

pub use clock::now;
pub use database::Registry;
pub use error::RegistryError;
pub use family::MetricFamily;
pub use history::{HistoryRow, TrainingTime};
pub use needs::{BestScore, RunNeeds};
pub use query::{QueryTable, SqlValue};
pub use record::{
    AttemptEnd, EventLevel, MetricPoint, NewArtifact, NewRun, NewScore, NewStage, RunRecord,
};
pub use restore::{PastAttempt, PastRun, PastStage};
pub use stale::StaleAttempt;
pub use status::{RunStatus, StageStatus};
pub use unfinished::UnfinishedRun;
pub use view::{AttemptRow, EventRow, MetricSummary, RunDetail, RunRow, ScoreRow, StageRow};
