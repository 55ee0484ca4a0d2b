//! What readers get from the registry: runs in short and in full.

use patchwork_artifacts::status::{RunStatus, StageStatus};
use serde::Serialize;

use crate::database::Registry;
use crate::error::RegistryError;

/// One line of a listing of runs. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct RunRow {
    /// The key of the table `runs`.
    pub id: i64,
    /// Its name.
    #[sqlx(rename = "run")]
    pub name: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub status: RunStatus,
    /// When it started.
    pub started: String,
    /// When it ended.
    pub ended: Option<String>,
    /// How long it took.
    pub seconds: Option<f64>,
    /// How many stages it has.
    pub stages: i64,
    /// How many made their artifact.
    pub succeeded: i64,
    /// How many found their artifact made.
    pub cached: i64,
    /// How many failed.
    pub failed: i64,
    /// How many were interrupted.
    pub interrupted: i64,
    /// The metric of the furthest trained network's score.
    pub metric: Option<String>,
    /// That score.
    pub value: Option<f64>,
    /// How many images it was measured on.
    pub samples: Option<i64>,
}

/// Everything about a run but its series' points.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDetail {
    /// As in a listing.
    pub run: RunRow,
    /// Under which circumstances it happened.
    #[serde(flatten)]
    pub circumstances: Circumstances,
    /// In the pipeline's order.
    pub stages: Vec<StageRow>,
    /// In order of start.
    pub attempts: Vec<AttemptRow>,
    /// By stage and name.
    pub metrics: Vec<MetricSummary>,
    /// By stage, images seen and subject.
    pub scores: Vec<ScoreRow>,
    /// In order of time.
    pub events: Vec<EventRow>,
    /// Every setting, by its dotted key.
    pub params: Vec<(String, String)>,
}

/// Where, by what and how a run was started, as the columns of `runs` have it.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct Circumstances {
    /// The command line.
    pub command: String,
    /// Where it was typed.
    pub working_folder: String,
    /// The repository's revision.
    pub git_revision: Option<String>,
    /// Whether the repository had uncommitted changes.
    pub git_dirty: Option<bool>,
    /// The machine's name.
    pub host: String,
    /// The processor's name.
    pub cpu: String,
    /// Threads that the machine offers.
    pub threads: i64,
    /// Its graphics processors; none where it has none, and in a registry of an older schema.
    #[sqlx(default)]
    pub gpus: Option<String>,
    /// Versions of the program and its libraries, a JSON object as text.
    pub versions: String,
    /// The resolved pipeline, JSON as text.
    pub definition: String,
}

/// A stage of a run.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct StageRow {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// In the pipeline, from 0.
    pub position: i64,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub status: StageStatus,
    /// Of the artifact that it is to make.
    pub fingerprint: String,
    /// The folder of its artifact below the home folder, once there is one.
    pub path: Option<String>,
    /// When its first attempt started.
    pub started: Option<String>,
    /// When it came to its state.
    pub ended: Option<String>,
    /// From the first attempt's start to the end.
    pub seconds: Option<f64>,
}

/// An attempt at a stage.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct AttemptRow {
    /// The stage.
    pub stage: String,
    /// From 1.
    pub number: i64,
    /// The worker.
    pub pid: i64,
    /// The machine's name.
    pub host: String,
    /// When it started.
    pub started: String,
    /// When it was last heard of.
    pub heartbeat: String,
    /// When it ended.
    pub ended: Option<String>,
    /// Exit status, signal, or what else ended it.
    pub exit: Option<String>,
    /// The error and its causes, one a line.
    pub error: Option<String>,
    /// Processor time of all its threads; none also in a registry of an older schema.
    #[sqlx(default)]
    pub cpu_seconds: Option<f64>,
    /// The most memory that was resident at once.
    #[sqlx(default)]
    pub peak_memory_bytes: Option<i64>,
}

/// A series in short. Values that are not numbers are none.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct MetricSummary {
    /// The stage.
    pub stage: String,
    /// The series.
    pub name: String,
    /// How many points.
    pub count: i64,
    /// The highest step.
    pub last_step: i64,
    /// The value there.
    pub last: Option<f64>,
    /// The lowest value.
    pub min: Option<f64>,
    /// The highest value.
    pub max: Option<f64>,
}

/// A recorded score, with what makes it comparable.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct ScoreRow {
    /// The stage that measured it.
    pub stage: String,
    /// What was measured: a sample stage's name, `noise`, `real-halves`.
    pub subject: String,
    /// Such as `fd_efficientnet_lite0`.
    pub metric: String,
    /// What kind of number it is, such as `frechet-distance`.
    pub quantity: String,
    /// Whether of two values the higher is the better one.
    pub higher_is_better: bool,
    /// The value.
    pub value: f64,
    /// Its standard deviation, where it was estimated.
    pub deviation: Option<f64>,
    /// The network whose features were compared.
    pub extractor: String,
    /// The hash of its weights.
    pub extractor_hash: String,
    /// How images were brought to its size.
    pub resize: String,
    /// The fingerprint of the statistics compared with.
    pub reference: String,
    /// Images behind these; 0 where nobody knows.
    pub reference_images: i64,
    /// Whether these are external.
    pub reference_foreign: bool,
    /// Images that were measured.
    pub samples: i64,
    /// Their seeds.
    pub seeds: String,
    /// What their pixels went through.
    pub codec: String,
    /// Images that the network had seen in training.
    pub images_seen: Option<i64>,
    /// When it was recorded.
    pub time: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct EventRow {
    /// To which stage; none: the run as a whole.
    pub stage: Option<String>,
    /// `info`, `warning` or `error`.
    pub level: String,
    /// What.
    pub message: String,
    /// When.
    pub time: String,
}

const ACTION: &str = "look up runs";

/// The view of runs with the samples behind each one's score, which the view has not, and which of them.
macro_rules! summary {
    ($which:literal) => {
        concat!(
            "SELECT run_summary.*,
                    (SELECT samples FROM scores
                     WHERE run_id = run_summary.id AND scores.metric = run_summary.metric AND images_seen IS NOT NULL
                     ORDER BY images_seen DESC, stage, subject LIMIT 1) AS samples
             FROM run_summary WHERE ",
            $which
        )
    };
}
pub(crate) use summary;

/// Bound to a run's key or none, and to a limit.
const SUMMARY: &str = summary!("?1 IS NULL OR id = ?1 ORDER BY id DESC LIMIT ?2");

impl Registry {
    /// The newest runs, at most `limit`, newest first.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunRow>, RegistryError> {
        sqlx::query_as(SUMMARY)
            .bind(None::<i64>)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(RegistryError::during(ACTION))
    }

    /// The run of this name, or whose name alone starts so, or the newest for `latest`.
    pub async fn run(&self, selector: &str) -> Result<RunDetail, RegistryError> {
        let id = self.select(selector).await?;
        self.detail(id).await.map_err(RegistryError::during(ACTION))
    }

    /// The key of the run that a selector names.
    pub(crate) async fn select(&self, selector: &str) -> Result<i64, RegistryError> {
        let exact: Option<i64> = sqlx::query_scalar("SELECT id FROM runs WHERE name = ?")
            .bind(selector)
            .fetch_optional(&self.pool)
            .await
            .map_err(RegistryError::during(ACTION))?;
        if let Some(id) = exact {
            return Ok(id);
        }
        let found: Vec<(i64, String, i64)> = sqlx::query_as(
            "SELECT id, name, count(*) OVER () FROM runs
             WHERE ?1 = 'latest' OR substr(name, 1, length(?1)) = ?1
             ORDER BY id DESC LIMIT 10",
        )
        .bind(selector)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))?;
        match found.first() {
            None => Err(RegistryError::NoRun(selector.to_owned())),
            Some((id, ..)) if found.len() == 1 || selector == "latest" => Ok(*id),
            Some((.., all)) => Err(RegistryError::AmbiguousRun {
                selector: selector.to_owned(),
                more: all - found.len() as i64,
                candidates: found.into_iter().map(|(_, name, _)| name).collect(),
            }),
        }
    }

    async fn detail(&self, id: i64) -> Result<RunDetail, sqlx::Error> {
        // One transaction, so that all parts show the same moment.
        let mut snapshot = self.pool.begin().await?;
        let run = sqlx::query_as(SUMMARY)
            .bind(Some(id))
            .bind(1)
            .fetch_one(&mut *snapshot)
            .await?;
        let circumstances = sqlx::query_as("SELECT * FROM runs WHERE id = ?")
            .bind(id)
            .fetch_one(&mut *snapshot)
            .await?;
        let stages = sqlx::query_as(
            "SELECT name, stages.kind, position, status, stages.fingerprint, path, started, ended,
                    (julianday(ended) - julianday(started)) * 86400.0 AS seconds
             FROM stages LEFT JOIN artifacts ON artifacts.fingerprint = stages.artifact
             WHERE run_id = ? ORDER BY position",
        )
        .bind(id)
        .fetch_all(&mut *snapshot)
        .await?;
        let attempts = sqlx::query_as("SELECT * FROM attempts WHERE run_id = ? ORDER BY id")
            .bind(id)
            .fetch_all(&mut *snapshot)
            .await?;
        let metrics =
            sqlx::query_as("SELECT * FROM metric_summary WHERE run_id = ? ORDER BY stage, name")
                .bind(id)
                .fetch_all(&mut *snapshot)
                .await?;
        let scores = sqlx::query_as(
            "SELECT * FROM scores WHERE run_id = ? ORDER BY stage, images_seen, subject, metric",
        )
        .bind(id)
        .fetch_all(&mut *snapshot)
        .await?;
        let events = sqlx::query_as("SELECT * FROM events WHERE run_id = ? ORDER BY id")
            .bind(id)
            .fetch_all(&mut *snapshot)
            .await?;
        let params = sqlx::query_as("SELECT key, value FROM params WHERE run_id = ? ORDER BY key")
            .bind(id)
            .fetch_all(&mut *snapshot)
            .await?;
        snapshot.rollback().await?;
        Ok(RunDetail {
            run,
            circumstances,
            stages,
            attempts,
            metrics,
            scores,
            events,
            params,
        })
    }
}
