//! The command line, a file a family of commands.

mod checkpoint;
mod dashboard;
mod dataset;
mod doctor;
mod init;
mod pipeline;
mod records;
mod standalone;
mod weights;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use checkpoint::{CheckpointCommand, InspectArguments};
pub(crate) use dashboard::{ReportArguments, ServeArguments};
pub(crate) use dataset::{
    BuildArguments, DatasetCommand, ExportAs, ExportDatasetArguments, GridArguments,
    InspectDatasetArguments, TablesArguments, VerifyArguments,
};
pub(crate) use doctor::DoctorArguments;
pub(crate) use init::InitArguments;
pub(crate) use pipeline::{ExplainArguments, PipelineArguments, RetryArguments, RunArguments};
pub(crate) use records::{
    CompareArguments, GcArguments, ListArguments, LogsArguments, Over, QueryArguments,
    RegistryCommand, ShowArguments, StatusArguments,
};
pub(crate) use standalone::{EvaluateArguments, PngFormat, SampleArguments, TrainArguments};
pub(crate) use weights::WeightsCommand;

/// Patch Diffusion from raw images to a recorded Fréchet distance, resumable at every point.
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
        help_heading = "Global options",
        env = "PATCHWORK_HOME",
        default_value = "runs",
        value_name = "DIR"
    )]
    pub(crate) home: PathBuf,

    /// The folder of published weights [default: weights, which `./justw setup` fills].
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        env = patchwork_weights::WEIGHTS_VARIABLE,
        value_name = "DIR"
    )]
    pub(crate) weights: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a pipeline file for a folder or archive of images.
    ///
    /// Inspects the images and prints what it found, asks on a terminal for the name, resolution and device that are not
    /// given, measures a few steps of training, and writes `pipelines/NAME.toml`: every setting with its reason, and
    /// the expected time of the run on this machine. An existing file is not overwritten.
    #[command(after_help = "Examples:\n  patchwork init data/pets\n  \
        patchwork init photos.zip --name photos --resolution 64 --device cuda:0\n  \
        patchwork init data/pets --minutes 60")]
    Init(InitArguments),
    /// Run a pipeline; finished stages are cached, interrupted ones resume.
    #[command(after_help = "Examples:\n  patchwork run pipelines/demo.toml\n  \
        patchwork run pipelines/celeba.toml --device cuda:0\n  \
        patchwork run pipelines/celeba.toml --set stages.train.batch_size=64 --until train\n  \
        patchwork run pipelines/celeba.toml --dry-run")]
    Run(RunArguments),
    /// Train on a prepared data set, without a pipeline.
    ///
    /// Does what a train stage does; after an interruption the same command resumes. The network, its snapshots and its
    /// loss are written to the folder of `--out`, the logs to a folder beside it.
    #[command(
        after_help = "Examples:\n  patchwork train configs/pixel-64.toml --data shards --out network\n  \
        patchwork train pipelines/demo.toml --data runs/artifacts/prepare/0a1b2c --out network --set batch_size=64"
    )]
    Train(TrainArguments),
    /// Generate images with a network, without a pipeline.
    ///
    /// The network is that of a run, of a training's folder, of a checkpoint of an unfinished training, or of a file that
    /// `patchwork checkpoint import` wrote. The output is a set of shards, with a contact sheet of the first images.
    #[command(after_help = "Examples:\n  patchwork sample demo-1 --seeds 0-15\n  \
        patchwork sample pets-2 --seeds 0-15 --labels cat --out cats\n  \
        patchwork sample pets-2 --seeds 3,7 --interpolate 16\n  \
        patchwork sample network --seeds 0-63 --steps 18 --out samples\n  \
        patchwork sample ffhq.safetensors --config pipelines/ffhq.toml --seeds 0-99 --out samples\n  \
        patchwork sample network --set solver=dpm-solver-2m --set steps=10 --out fast")]
    Sample(SampleArguments),
    /// Evaluate one set of images against another, without a pipeline.
    ///
    /// Each set is a folder or archive of raw images, a prepared data set, or samples; the first may also be the
    /// folder of a reference stage. Does what reference and evaluate stages do; after an interruption the same command
    /// resumes. Raw images must have one size, or are resized to one by `--resolution`.
    #[command(
        after_help = "Examples:\n  patchwork evaluate data/real data/generated\n  \
        patchwork evaluate shards samples --neighbours 5 --out scores\n  \
        patchwork evaluate real.zip samples --resolution 64 --set 'evaluate.baselines=[\"real-halves\"]'"
    )]
    Evaluate(EvaluateArguments),
    /// Run the failed and interrupted stages of a run again, and those that depend on them.
    #[command(
        after_help = "The pipeline runs with the settings that the run recorded; finished stages are cached.\n\n\
        Examples:\n  patchwork retry\n  patchwork retry celeba-3"
    )]
    Retry(RetryArguments),
    /// Explain for each stage whether it would run, and because of which settings.
    #[command(after_help = "Example:\n  patchwork explain pipelines/celeba.toml \
        --set stages.train.batch_size=64")]
    Explain(ExplainArguments),
    /// Show the progress of active runs, or of one run.
    Status(StatusArguments),
    /// Compare runs: differing settings, scores and series side by side, Fréchet distance against training.
    #[command(
        after_help = "Scores of different extractors, references or numbers of samples are not ranked.\n\n\
        Examples:\n  patchwork compare celeba-3 celeba-4 --plot curves.png\n  \
        patchwork compare --metric fid --pipeline celeba --samples 50000"
    )]
    Compare(CompareArguments),
    /// Delete artifacts that no recorded run needs, or list what would be deleted.
    #[command(
        after_help = "Runs outside the limits stay in the registry and keep their evaluations, nothing else.\n\n\
        Examples:\n  patchwork gc\n  patchwork gc --keep 5 --older-than 30 --apply"
    )]
    Gc(GcArguments),
    /// List the recorded runs, newest first.
    Runs(ListArguments),
    /// Show one run: its stages, scores and settings.
    #[command(
        after_help = "A run is named by its name, any unambiguous prefix of it, or `latest`."
    )]
    Show(ShowArguments),
    /// Show runs in a browser: tables, charts, snapshots, comparisons; read-only.
    #[command(
        after_help = "Examples:\n  patchwork serve --open\n  patchwork serve --host 0.0.0.0 --port 8080"
    )]
    Serve(ServeArguments),
    /// Write the page of a run, or of several side by side, as one HTML file to share.
    #[command(
        after_help = "Examples:\n  patchwork report celeba-3 --out celeba-3.html\n  patchwork report celeba-3 celeba-4 --out compare.html"
    )]
    Report(ReportArguments),
    /// Print the log of a stage of a run.
    #[command(after_help = "Examples:\n  patchwork logs\n  patchwork logs celeba-3 train --follow")]
    Logs(LogsArguments),
    /// Query the registry in SQL, read-only.
    #[command(
        after_help = "Example:\n  patchwork query \"SELECT run, metric, value FROM fid_history ORDER BY value\""
    )]
    Query(QueryArguments),
    /// Build, inspect, verify and export data sets.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Registry maintenance.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Inspect, import and export network checkpoints.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Fetch published weights, and list which are installed.
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Check the installation and suggest fixes.
    #[command(
        after_help = "Examples:\n  patchwork doctor\n  patchwork doctor --ranks 8 --device cuda\n  \
        patchwork doctor --launch 'srun --nodes=2 --ntasks=16 --gpus-per-task=1' --device cuda"
    )]
    Doctor(DoctorArguments),
    /// Work as one rank of a stage: what `launch` starts.
    #[command(hide = true)]
    Rank {
        /// The folder in which the supervisor says what is to be done.
        folder: PathBuf,
    },
    /// Print shell completions.
    #[command(
        after_help = "Example:\n  patchwork completions bash > ~/.local/share/bash-completion/completions/patchwork"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one per command, to a folder.
    #[command(
        after_help = "Example:\n  patchwork man ~/.local/share/man/man1 && man patchwork-run"
    )]
    Man {
        /// The folder; it is created if needed.
        folder: PathBuf,
    },
}

/// Output format of lists and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// With a header line.
    Csv,
}
