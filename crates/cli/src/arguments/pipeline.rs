//! What pipelines are run by.

use std::path::PathBuf;

use super::Format;

/// Which pipeline, and which part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct PipelineArguments {
    /// The pipeline file.
    #[arg(value_name = "PIPELINE")]
    pub(crate) file: PathBuf,
    /// Override a setting, such as `stages.train.batch_size=64`; may be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The device of every stage that computes and has none of its own by the file or `--set`, such as `cuda:0`.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Stop after this stage; only it and what it needs is run.
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<String>,
    /// Only this stage; what it needs must be done already.
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
    /// Do this stage again even if its artifact is there; may be given often.
    #[arg(long, value_name = "STAGE")]
    pub(crate) force: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many stages may run at once [default: as many as have room by their `cpus`, `memory_gib` and `device`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Run this command when the run is over, with PATCHWORK_RUN, PATCHWORK_STATUS, PATCHWORK_METRIC, PATCHWORK_SCORE and
    /// PATCHWORK_ERROR in its environment. It has 30 seconds, and changes nothing of the run.
    #[arg(
        long,
        value_name = "COMMAND",
        env = "PATCHWORK_NOTIFY",
        hide_env_values = true
    )]
    pub(crate) notify: Option<String>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

impl PipelineArguments {
    /// All that is laid over the file.
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
    /// How many stages may run at once [default: as many as have room by their `cpus`, `memory_gib` and `device`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
    /// Run this command when the run is over, with PATCHWORK_RUN, PATCHWORK_STATUS, PATCHWORK_METRIC, PATCHWORK_SCORE and
    /// PATCHWORK_ERROR in its environment. It has 30 seconds, and changes nothing of the run.
    #[arg(
        long,
        value_name = "COMMAND",
        env = "PATCHWORK_NOTIFY",
        hide_env_values = true
    )]
    pub(crate) notify: Option<String>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArguments,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}
