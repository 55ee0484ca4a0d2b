//! Commands that read records: runs, their logs and scores, the registry.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Format;

/// The default time limit of a query, in seconds.
const USUAL_QUERY_SECONDS: u32 = 60;

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArguments {
    /// The run; without it, every active run, or else the newest.
    pub(crate) run: Option<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArguments {
    /// The runs, two or more; with `--metric`, all runs if none is named.
    #[arg(value_name = "RUN", required_unless_present = "metric")]
    pub(crate) runs: Vec<String>,
    /// Rank the scores of this metric, such as `fid`, best first.
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// With `--metric`: only runs of this pipeline.
    #[arg(long, value_name = "NAME", requires = "metric")]
    pub(crate) pipeline: Option<String>,
    /// With `--metric`: only scores of this evaluate or sample stage.
    #[arg(long, value_name = "NAME", requires = "metric")]
    pub(crate) stage: Option<String>,
    /// With `--metric`: only scores of this number of samples.
    #[arg(long, value_name = "N", requires = "metric")]
    pub(crate) samples: Option<u32>,
    /// With `--metric`: rank scores even where they are not comparable.
    #[arg(long, requires = "metric")]
    pub(crate) incomparable: bool,
    /// Group runs that differ in nothing else: mean, deviation, number, and whether differences exceed the spread.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) over: Option<Over>,
    /// Plot the Fréchet distance against training images and against hours, into two PNG files of this name.
    #[arg(long, value_name = "FILE.png", conflicts_with = "metric")]
    pub(crate) plot: Option<PathBuf>,
    /// With `--plot`: overwrite existing files.
    #[arg(long, requires = "plot")]
    pub(crate) force: bool,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// What the runs of a group may differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Over {
    /// The pipeline's seed.
    Seed,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GcArguments {
    /// Delete; without it, only list what would be deleted.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Of each pipeline, only the newest N runs keep their artifacts, and those with unfinished work.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u32>,
    /// Runs that ended longer ago than this keep nothing, unfinished work included.
    #[arg(long, value_name = "DAYS")]
    pub(crate) older_than: Option<u32>,
    /// Older runs keep nothing once the artifacts of newer ones reach this size, but for unfinished work.
    #[arg(long, value_name = "GB")]
    pub(crate) max_gigabytes: Option<f64>,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Maximum number of runs.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) limit: u32,
    /// Output format.
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
    /// Output format.
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
    /// Follow the log until the run ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct QueryArguments {
    /// One statement that only reads: SELECT, WITH, EXPLAIN, or a reading PRAGMA.
    pub(crate) sql: String,
    /// Time limit of the query in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = USUAL_QUERY_SECONDS, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) timeout: u32,
    /// Output format.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Rebuild the registry from the runs' folders and the artifacts' manifests.
    #[command(
        after_help = "For a lost or damaged registry. The old file is kept beside it under another name."
    )]
    Rebuild,
}
