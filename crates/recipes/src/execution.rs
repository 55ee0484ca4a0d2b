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
    /// Threads of the worker; none = all cores.
    #[schemars(range(min = 1, max = 4096))]
    pub threads: Option<usize>,
    /// Processor cores that the stage takes while it runs; none = as many as `threads`.
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
