//! How a stage is run.

use patchwork_config::schema::shape;
use patchwork_config::{ConfigError, Section};
use patchwork_terms::{Kind, OnDivergence};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smart_default::SmartDefault;

/// Where a stage computes that names no device.
pub(crate) const CPU: &str = "cpu";

/// The keyword by which the schema of a key lists the kinds of stages that alone have it.
pub const ONLY_OF_KIND: &str = "x-kind";

/// How a stage is run: no part of its fingerprint, but for `tf32`.
#[derive(Clone, Debug, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Execution {
    /// Threads of the worker, of each rank where there are several; none = all cores, shared out among the ranks
    /// of the machine; those that `launch` binds a rank to.
    #[schemars(range(min = 1, max = 4096))]
    pub threads: Option<usize>,
    /// Processes that share the work, the ranks; each has `threads` threads, and a GPU of its own where `device` is `cuda`.
    #[default = 1]
    #[serde(skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 4096), extend("x-kind" = ["encode", "reference", "train", "sample", "reconstruct", "evaluate"]), !skip_serializing_if)]
    pub ranks: u32,
    /// The command that starts the ranks, on other machines too, such as `srun --ntasks=16 --gpus-per-task=1`; none = the
    /// ranks are started on this machine. It says how many they are, and binds them to cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kind" = ["encode", "reference", "train", "sample", "reconstruct", "evaluate"]))]
    pub launch: Option<String>,
    /// How long one of the ranks waits for the others, at the start and in a step, in minutes.
    #[default(COLLECTIVE_TIMEOUT_MINUTES)]
    #[serde(skip_serializing_if = "is_default_timeout")]
    #[schemars(range(min = 0.01, max = 1e6), extend("x-kind" = ["encode", "reference", "train", "sample", "reconstruct", "evaluate"]), !skip_serializing_if)]
    pub collective_timeout_minutes: f64,
    /// Processor cores that the stage takes while it runs; none = as many as the threads of all ranks.
    #[schemars(range(min = 1, max = 4096))]
    pub cpus: Option<usize>,
    /// Memory that the stage takes while it runs, in GiB; none = not counted.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub memory_gib: Option<f64>,
    /// `cpu`, `cuda` or `cuda:N`. Where it is left out, that of the pipeline; a stage that prepares stays on the CPU.
    #[default = "cpu"]
    pub device: String,
    /// Whether a CUDA device may round the factors of float32 products to TF32; of these settings, this one alone changes
    /// what a stage gives, and is part of the fingerprint where it is on.
    // None where the other part of a job says that it is on.
    #[default(Some(false))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tf32: Option<bool>,
    /// Whether cuDNN tries its algorithms on each new shape and keeps the fastest, which need not be the same in every
    /// process.
    #[default = true]
    pub cudnn_benchmark: bool,
    /// How often a stage that failed for a cause that may pass is started again.
    #[schemars(range(max = 1000))]
    pub retries: u32,
    /// The stage fails when it takes longer, in minutes; none = it may take as long as it does.
    #[schemars(range(max = 525_600_000.0), extend("exclusiveMinimum" = 0))]
    pub timeout_minutes: Option<f64>,
    /// Between two checkpoints, in minutes.
    #[default = 5.0]
    #[schemars(range(min = 0.0, max = 1e6), extend("x-kind" = ["train", "autoencoder"]))]
    pub checkpoint_minutes: f64,
    /// Between two checkpoints, in thousands of images; none = by the minutes alone.
    #[schemars(range(min = 0.001, max = 1e9), extend("x-unit" = "thousand images", "x-kind" = ["train", "autoencoder"]))]
    pub checkpoint_kimg: Option<f64>,
    /// Training stops at a checkpoint after so many minutes, and is resumed when it is run again; none = it does not
    /// stop.
    #[schemars(range(max = 525_600_000.0), extend("exclusiveMinimum" = 0, "x-kind" = ["train"]))]
    pub max_minutes: Option<f64>,
    /// Training stops at a checkpoint at so many thousand images seen, and is resumed when it is run with a later one;
    /// none = it does not stop.
    #[schemars(range(min = 0.001, max = 1e9), extend("x-unit" = "thousand images", "x-kind" = ["train"]))]
    pub max_kimg: Option<f64>,
    /// What training does when it diverges.
    #[default(OnDivergence::Stop)]
    #[schemars(extend("x-kind" = ["train"]))]
    pub on_divergence: OnDivergence,
    /// A training that makes no step for so many minutes is ended as failed; none = it is only reported.
    #[schemars(range(max = 525_600_000.0), extend("exclusiveMinimum" = 0, "x-kind" = ["train"]))]
    pub stall_minutes: Option<f64>,
    /// Between two recorded points of training's progress, in seconds.
    #[default = 5.0]
    #[schemars(range(min = 0.0, max = 1e6), extend("x-kind" = ["train", "autoencoder"]))]
    pub log_every_seconds: f64,
    /// How many of the ranks are on the machine of the process that reads its job: no setting; none where it has no job.
    #[serde(skip)]
    pub local_ranks: Option<u32>,
}

impl Execution {
    /// How many of the ranks share this machine's memory, as far as is known.
    pub fn ranks_here(&self) -> u32 {
        let without_launcher = if self.launch.is_some() { 1 } else { self.ranks };
        self.local_ranks.unwrap_or(without_launcher)
    }
}

/// Long enough for the slowest step.
const COLLECTIVE_TIMEOUT_MINUTES: f64 = 10.0;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_one(ranks: &u32) -> bool {
    *ranks == 1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_default_timeout(minutes: &f64) -> bool {
    minutes.to_bits() == COLLECTIVE_TIMEOUT_MINUTES.to_bits()
}

/// Whether the kinds that alone have a key include one.
pub(crate) fn is_listed(only: &Value, kind: Kind) -> bool {
    let mut kinds = only.as_array().into_iter().flatten();
    kinds.any(|listed| listed == kind.name())
}

/// The keys that say how a stage of `kind` is run.
pub(crate) fn keys(kind: Kind) -> Vec<&'static str> {
    let execution = shape::<Execution>();
    let is_of_kind = |key: &&&str| {
        let only = execution
            .key(key)
            .and_then(|schema| schema.get(ONLY_OF_KIND));
        only.is_none_or(|only| is_listed(only, kind))
    };
    execution.keys.iter().filter(is_of_kind).copied().collect()
}

/// How a stage of `kind` is run; `pipeline_device` is that of the stages that compute and name none. Preparing computes
/// nothing that a device could do.
pub(crate) fn read(
    kind: Kind,
    section: &Section<'_>,
    pipeline_device: &str,
) -> Result<Execution, ConfigError> {
    let mut execution: Execution = section.read()?;
    if !section.has("device") && kind != Kind::Prepare {
        pipeline_device.clone_into(&mut execution.device);
    }
    check_device(section, &execution.device)?;
    if execution.tf32 == Some(true) && execution.device == CPU {
        let problem = "is for `device = \"cuda\"`, and the device is `cpu`";
        return Err(section.invalid("tf32", problem));
    }
    if execution
        .launch
        .as_deref()
        .is_some_and(|command| command.trim().is_empty())
    {
        let problem = "is empty; leave it out to start the ranks on this machine";
        return Err(section.invalid("launch", problem));
    }
    if execution.launch.is_some() && execution.device.contains(':') {
        let problem = format!(
            "is `{}`, one GPU, and each of the ranks that `launch` starts needs its own; use `cuda`",
            execution.device
        );
        return Err(section.invalid("device", problem));
    }
    if execution.ranks > 1 && execution.device.contains(':') {
        let problem = format!(
            "is `{}`, one GPU, and each of the {} ranks needs its own; `cuda` gives rank N the GPU `cuda:N`",
            execution.device, execution.ranks
        );
        return Err(section.invalid("device", problem));
    }
    Ok(execution)
}

/// Checks the name of a device.
pub(crate) fn check_device(section: &Section<'_>, device: &str) -> Result<(), ConfigError> {
    let number = device.strip_prefix("cuda:").map(str::parse::<u16>);
    if device == CPU || device == "cuda" || matches!(number, Some(Ok(_))) {
        return Ok(());
    }
    let problem = format!("is `{device}`; a device is `cpu`, `cuda` or `cuda:0`");
    Err(section.invalid("device", problem))
}
