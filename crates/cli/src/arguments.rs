//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Patch Diffusion from raw images to a recorded distance, resumable at every point.
#[derive(Debug, Parser)]
#[command(
    name = "patchwork",
    version,
    max_term_width = 110,
    propagate_version = true
)]
pub(crate) struct Arguments {
    /// The folder of artifacts, logs and the registry.
    #[arg(
        long,
        global = true,
        env = "PATCHWORK_HOME",
        default_value = "runs",
        value_name = "DIR"
    )]
    pub(crate) home: PathBuf,

    /// The folder of the feature extractors' weights [default: weights, which `./justw setup` fills].
    #[arg(long, global = true, env = patchwork_weights::WEIGHTS_VARIABLE, value_name = "DIR")]
    pub(crate) weights: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline; what is done already is not done again.
    #[command(after_help = "Examples:\n  patchwork run pipelines/demo.toml\n  \
        patchwork run pipelines/celeba.toml --set stages.train.batch_size=64 --until train\n  \
        patchwork run pipelines/celeba.toml --dry-run")]
    Run(RunArguments),
    /// List the recorded runs, newest first.
    Runs(ListArguments),
    /// Show one run: its stages, scores and settings.
    #[command(
        after_help = "A run is named by its name, any unambiguous prefix of it, or `latest`."
    )]
    Show(ShowArguments),
    /// Print the log of a stage of a run.
    Logs(LogsArguments),
    /// Ask the registry a question in SQL; it is opened read-only.
    #[command(
        after_help = "Example:\n  patchwork query \"SELECT run, metric, value FROM fid_history ORDER BY value\""
    )]
    Query(QueryArguments),
    /// Look at a prepared data set.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Say what is there, what is missing, and how to mend it.
    Doctor,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArguments {
    /// The pipeline file.
    pub(crate) pipeline: PathBuf,
    /// Override a setting, such as `stages.train.batch_size=64`; may be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Stop after this stage; only it and what it needs is run.
    #[arg(long, value_name = "STAGE")]
    pub(crate) until: Option<String>,
    /// Do this stage again even if its artifact is there; may be given often.
    #[arg(long, value_name = "STAGE")]
    pub(crate) force: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many stages may run at once; each uses all threads unless its `threads` says otherwise.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: u16,
    /// Read the raw data again even if its files look unchanged.
    #[arg(long)]
    pub(crate) rehash: bool,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// At most so many.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) limit: u32,
    /// How the list is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArguments {
    /// The run.
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// Also list every setting.
    #[arg(long)]
    pub(crate) settings: bool,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArguments {
    /// The run.
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// The stage; without it, every log of the run.
    pub(crate) stage: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct QueryArguments {
    /// A SELECT statement.
    pub(crate) sql: String,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Counts, classes, channel statistics, duplicates and rejected images.
    Inspect {
        /// The folder of a data set or of samples.
        folder: PathBuf,
        /// How the tables are printed.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Write a picture of many images of a data set.
    Grid {
        /// The folder of a data set or of samples.
        folder: PathBuf,
        /// The PNG file to write.
        output: PathBuf,
        /// How many images.
        #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        count: u32,
        /// How many in a row.
        #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        columns: u32,
    },
}

/// How lists and tables are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// With a header line.
    Csv,
}
