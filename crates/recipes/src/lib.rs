//! What each kind of stage is: its settings, what it reads, what must hold, and its worker's job.
//!
//! One folder a kind ([`prepare`], [`autoencoder`], [`encode`], [`mod@reference`], [`train`], [`sample`], [`reconstruct`], [`evaluate`]): `settings` is the table in a
//! pipeline file, each setting a field with its default, its range and its documentation; `recipe` is what the stage reads
//! and what must hold between settings, `checks` what must hold between the stage and those that it reads; `job` is the
//! typed job in its two parts. `kinds` lists them.
//!
//! [`load()`] goes from a pipeline's files to a resolved [`Pipeline`], in which every setting that can change a result has
//! its value. [`specify()`] gives the graph that the supervisor runs: it digests the raw data, checks the weights and
//! resolves what depends on the machine, so that a fingerprint says all that a stage's output depends on. What is missing
//! goes with the stage: the plan reports it before anything runs, if the stage is to run.
//!
//! Must not know: libtorch, how stages compute, the registry, the command line.

pub mod autoencoder;
pub mod encode;
pub mod evaluate;
pub mod prepare;
pub mod reconstruct;
pub mod reference;
pub mod sample;
pub mod train;

mod autoencoder_files;
mod environment;
mod error;
mod execution;
mod format_check;
mod graph;
mod group_probe;
mod inputs;
mod job;
mod kinds;
mod lists;
mod load;
pub mod manual;
mod outside;
mod pipeline;
pub mod precision;
mod recipe;
mod remembered;
mod settings;
mod shards;
mod single;
mod specify;

pub use autoencoder::{AutoencoderJob, AutoencoderSettings};
pub use encode::{EncodeJob, EncodeSettings};
pub use error::SpecifyError;
pub use evaluate::{EvaluateJob, EvaluateSettings};
pub use execution::{Execution, ONLY_OF_KIND};
pub use format_check::check_format;
pub use group_probe::{GroupProbe, GroupProbed};
pub use job::{Covered, Nothing, TypedJob, Uncovered};
pub use kinds::{StageSettings, shape};
pub use load::{Common, Place, Title, load};
pub use outside::SpecifyOptions;
pub use pipeline::{Pipeline, Stage, Variant};
pub use prepare::{EmojiSettings, PrepareJob, PrepareSettings};
pub use reconstruct::{ReconstructJob, ReconstructSettings};
pub use reference::{ExtractorChoice, ReferenceJob, ReferenceSettings, TorchScriptSettings};
pub use sample::{Grid, Region, SampleJob, SampleSettings, SeedRange};
pub use settings::changes_results;
pub use single::{SingleStage, load_stage};
pub use specify::{specify, specify_stage};
pub use train::{
    NetworkSettings, SnapshotEvaluationSettings, TrainJob, TrainSettings, images_of_kimg,
};
