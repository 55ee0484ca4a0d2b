//! The job of a worker: a typed value for each kind of stage, in two parts.
//!
//! The fingerprint covers [`Covered`]: the settings, but for where things lie, and what was resolved from them. It does
//! not cover [`Uncovered`]: how the stage is run, and where what it reads lies. Each kind's folder says what the two
//! parts hold for it; supervisor, journal and manifest carry both as data.

use patchwork_artifacts::Environment;
use patchwork_artifacts::protocol::Job;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::execution::Execution;
use crate::pipeline::Stage;

/// A job of one kind of stage: settings `S`, what is resolved from them `R`, places `P`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedJob<S, R = Nothing, P = Nothing> {
    /// What can change the output.
    pub covered: Covered<S, R>,
    /// What cannot.
    pub uncovered: Uncovered<P>,
}

/// The part of a job that the fingerprint covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Covered<S, R = Nothing> {
    /// The settings; what only says where something lies is left out.
    #[serde(flatten)]
    pub settings: S,
    /// What was resolved from them and from what the stage reads.
    #[serde(flatten)]
    pub resolved: R,
    /// Whether a CUDA device may round the factors of float32 products to TF32.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tf32: bool,
}

/// The part of a job that the fingerprint does not cover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uncovered<P = Nothing> {
    /// How the stage is run; TF32 that is on belongs to the other part.
    #[serde(flatten)]
    pub execution: Execution,
    /// Where what the stage reads lies.
    #[serde(flatten)]
    pub places: P,
    /// Variables of the worker's environment.
    #[serde(flatten)]
    pub environment: Environment,
}

/// A part of a job that holds nothing for a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}

impl<S, R, P> TypedJob<S, R, P> {
    /// The job of a stage that is run in this environment.
    pub(crate) fn new(
        stage: &Stage,
        settings: S,
        resolved: R,
        places: P,
        environment: Environment,
    ) -> Self {
        let mut execution = stage.execution.clone();
        let tf32 = execution.tf32.take_if(|tf32| *tf32).is_some();
        Self {
            covered: Covered {
                settings,
                resolved,
                tf32,
            },
            uncovered: Uncovered {
                execution,
                places,
                environment,
            },
        }
    }
}

impl<S: Serialize, R: Serialize, P: Serialize> TypedJob<S, R, P> {
    /// The two parts as data.
    pub(crate) fn parts(&self) -> (Value, Value) {
        let data = "a job is plain finite values with text keys";
        (
            serde_json::to_value(&self.covered).expect(data),
            serde_json::to_value(&self.uncovered).expect(data),
        )
    }
}

impl<S, R, P> TypedJob<S, R, P>
where
    Covered<S, R>: DeserializeOwned,
    Uncovered<P>: DeserializeOwned,
{
    /// A worker's job, as its type.
    pub fn read(job: &Job) -> Result<Self, serde_json::Error> {
        let mut uncovered = Uncovered::<P>::deserialize(&job.execution)?;
        let membership = job.place.as_ref().map(|place| place.membership);
        uncovered.execution.local_ranks = membership.map(|membership| membership.local_ranks);
        Ok(Self {
            covered: Covered::deserialize(&job.settings)?,
            uncovered,
        })
    }
}
