//! Commands that run pipelines.

use std::path::PathBuf;

use super::Format;

/// Which pipeline, and which part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct PipelineArguments {
    /// The pipeline file.
    #[arg(value_name = "PIPELINE")]
    pub(crate) file: PathBuf,
    /// Override a setting, such as `stages.train.batch_size=64`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The device of every stage that does not set its own, such as `cuda:0`.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Stop after this stage; runs it and the stages that it needs.
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<String>,
    /// Run only this stage; the stages that it needs must be finished.
    #[arg(long, value_name = "STAGE", conflicts_with = "until")]
    pub(crate) only: Option<String>,
    /// Read the raw data again even if its files look unchanged.
    #[arg(long)]
    pub(crate) rehash: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Run this stage even if it is up to date; may be repeated. A matrix runs it once. Its artifact is kept until the new one
    /// is published.
    #[arg(long, value_name = "STAGE")]
    pub(crate) force: Vec<String>,
    /// Print the plan and run nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) execution: ExecutionArguments,
}

/// How the stages of a run are executed, and how it is reported.
#[derive(Debug, clap::Args)]
pub(crate) struct ExecutionArguments {
    /// Maximum number of stages at once [default: as many as fit by their `cpus`, `memory_gib` and `device`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Run this command when the run is over, with PATCHWORK_RUN, PATCHWORK_STATUS, PATCHWORK_METRIC, PATCHWORK_SCORE and
    /// PATCHWORK_ERROR in its environment. It has 30 seconds (PATCHWORK_NOTIFY_SECONDS), and changes nothing of the run.
    #[arg(
        long,
        value_name = "COMMAND",
        env = "PATCHWORK_NOTIFY",
        hide_env_values = true
    )]
    pub(crate) notify: Option<String>,
    /// Output format of the results.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

impl PipelineArguments {
    /// Everything that overrides the file.
    pub(crate) fn overrides(&self) -> Vec<String> {
        let device = self.device.iter().map(|device| format!("device={device}"));
        self.set.iter().cloned().chain(device).collect()
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArguments {
    /// The run.
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) execution: ExecutionArguments,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}
