//! The registry: which runs there were, what they made, what was measured, in SQLite.
//!
//! It is a projection of the runs' records ([`patchwork_artifacts::event`]): [`Registry::apply`] is the one way in, for the
//! supervisor of a run, which applies what happens, and for `registry rebuild`, which applies what happened. Questions
//! are answered from tables and views, through a connection that cannot write. All SQL of the project stands in this crate
//! and in `migrations/`; only the questions of others, which [`Registry::ask`] answers, come from outside. Writes begin
//! immediately (a read that turns into a write cannot wait for another writer), wait up to ten seconds for others, and are
//! on the disk when they return.
//!
//! Must not know: stages, settings' meanings, artifacts' contents. It stores what is recorded and is the index, not the
//! only copy.

mod apply;
mod browse;
mod database;
mod error;
mod gone;
mod history;
mod machine;
mod needs;
mod object;
mod older;
mod query;
mod runs;
mod series;
mod stale;
mod unfinished;
mod view;

pub use apply::Refusal;
pub use browse::{Activity, ArtifactRow, Points, Window};
pub use database::Registry;
pub use error::RegistryError;
pub use history::{HistoryRow, SecondHalf, TrainingTime, Work};
pub use needs::{BestScore, RunNeeds};
pub use query::{Answer, QueryTable, SqlValue, USUAL_QUERY_TIME};
pub use stale::StaleAttempt;
pub use unfinished::UnfinishedRun;
pub use view::{
    AttemptRow, Circumstances, EventRow, MetricSummary, RunDetail, RunRow, ScoreRow, StageRow,
};
