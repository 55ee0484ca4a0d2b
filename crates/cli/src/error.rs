//! What a command can fail with, and the exit code that says so.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use patchwork_config::ConfigError;
use patchwork_core::{ClaimError, FileError, durable};
use patchwork_dashboard::DashboardError;
use patchwork_dataset::DatasetError;
use patchwork_recipes::SpecifyError;
use patchwork_recipes::train::start::ExternalNetwork;
use patchwork_registry::RegistryError;
use patchwork_supervisor::{PipelineError, RankError};
use patchwork_weights::WeightsError;

/// The exit code of a failed stage, an unreadable file and the like.
pub(crate) const EXIT_FAILED: u8 = 1;

/// Exit code: stopped at a limit that it was given; the same command resumes.
pub(crate) const EXIT_PAUSED: u8 = 130;

/// The exit code of a mistake in the command line or a pipeline file.
pub(crate) const EXIT_USAGE: u8 = 2;

/// The exit code of what a signal stopped, as shells have it.
pub(crate) fn exit_signalled(signal: i32) -> u8 {
    const SIGNAL_BASE: i32 = 128;
    u8::try_from(SIGNAL_BASE + signal).unwrap_or(EXIT_FAILED)
}

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Specify(#[from] SpecifyError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Rank(#[from] RankError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Dashboard(#[from] DashboardError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Raw images that a command was given.
    #[error(transparent)]
    Source(Box<DatasetError>),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Claim(#[from] ClaimError),
    #[error(transparent)]
    ExternalNetwork(#[from] ExternalNetwork),
    #[error("{message}")]
    Checkpoint {
        message: String,
        hint: Option<String>,
        /// Whether the user can fix it, by another file or other arguments.
        is_input: bool,
    },
    #[error("`{}` exists already", path.display())]
    WouldOverwrite { path: PathBuf },
    #[error("`{}` exists and is something else", path.display())]
    OutputThere { path: PathBuf },
    #[error("`{}` exists and is not a folder: the logs go there", path.display())]
    LogsThere { path: PathBuf },
    #[error("`{network}` is not a file or folder, and {cause}")]
    NoNetwork { network: String, cause: String },
    #[error("run {run} has {}", trainings(stages))]
    WhichTraining { run: String, stages: Vec<String> },
    #[error("`--labels {label}` is not a class of this network; {known}{suggestion}")]
    NoSuchClass {
        label: String,
        known: String,
        suggestion: String,
    },
    #[error("there is already a pipeline `{}`", path.display())]
    PipelineThere { path: PathBuf },
    #[error("no source was named, and `data` {}", list_of(found))]
    WhichSource { found: Vec<String> },
    #[error("`{}` is a prepared data set already", path.display())]
    PreparedAlready { path: PathBuf },
    #[error(
        "none of the {looked_at} images of `{source_name}` that were looked at can be used, such as `{image}`: {cause}"
    )]
    NoUsableImage {
        source_name: String,
        looked_at: usize,
        image: String,
        cause: String,
    },
    #[error("`--{option}` {problem}")]
    Answer {
        option: &'static str,
        problem: String,
    },
    #[error("the questions were not answered; nothing was written")]
    NoAnswer,
    #[error("cannot read the answer: {0}")]
    Question(#[source] io::Error),
    #[error("cannot measure the speed of training: {0}")]
    Measure(String),
    #[error("`{}` is not an artifact of a stage of kind {wanted}: {problem}", path.display())]
    NoArtifact {
        path: PathBuf,
        wanted: String,
        problem: String,
    },
    #[error("`{}` {problem}", path.display())]
    Sizes { path: PathBuf, problem: String },
    #[error("`--set {setting}` names neither a setting of the reference nor one of the evaluation")]
    NoStageNamed { setting: String },
    #[error("there is no table `{table}`; there are `{known}`")]
    NoTable { table: String, known: String },
    #[error("csv holds one table, and there are `{known}`")]
    OneTable { known: String },
    #[error("`{}` is damaged: {faults} faults in `{files}`", folder.display())]
    Damaged {
        folder: PathBuf,
        faults: usize,
        files: String,
    },
    #[error("`{}` cannot be repaired: {problem}", folder.display())]
    NotRepairable { folder: PathBuf, problem: String },
    #[error("there is no stage `{stage}` in `{pipeline}`; it has {known}")]
    NoSuchStage {
        stage: String,
        pipeline: String,
        known: String,
    },
    #[error("run {run} has nothing to retry: all its stages are finished")]
    NothingToRetry {
        run: String,
        /// Runs that can be resumed, with their progress.
        others: Option<String>,
    },
    #[error("the pipeline that run {run} recorded cannot be read by this version: {source}")]
    Definition {
        run: String,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "the registry is missing {count} runs whose folders are in `{}`, such as {names}: what they need is not known",
        logs.display()
    )]
    UnknownRuns {
        count: usize,
        names: String,
        logs: PathBuf,
    },
    #[error("what the run of `{}` needs is not known: {problem}", folder.display())]
    UnreadableRun { folder: PathBuf, problem: String },
    #[error("process {pid} is using this home folder; wait until it ends, or stop it")]
    AtWork { pid: u32 },
    #[error("stopped by signal {signal} before the next run; the same command resumes")]
    Stopped { signal: i32 },
    #[error("`compare` needs two or more different runs")]
    TooFewRuns,
    #[error("no run has a score of `{metric}`{scope}; recorded are {known}")]
    NoScores {
        metric: String,
        /// Which scores were asked for, as a part of the sentence; may be empty.
        scope: String,
        known: String,
    },
    #[error("these scores of `{metric}` do not compare:\n{differences}")]
    Incomparable { metric: String, differences: String },
    #[error("cannot compare: {0}")]
    Frame(#[from] polars::error::PolarsError),
    #[error(transparent)]
    Plot(#[from] patchwork_plot::PlotError),
    #[error("there is no log at `{0}`: the stage was cached or never started")]
    NoLog(String),
    #[error("cannot start the asynchronous runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("cannot print: {0}")]
    Print(#[source] io::Error),
    #[error("`{text}` is not valid UTF-8, and what is run is recorded as text")]
    NotText { text: String },
    #[error("cannot find this program's own file: {0}")]
    Program(#[source] io::Error),
    #[error("`{}`, which runs the stages, is missing", path.display())]
    NoWorker { path: PathBuf },
    #[error("`{}` does not start: {cause}", path.display())]
    WorkerStart {
        path: PathBuf,
        cause: String,
        /// The version of libtorch that it is built with.
        libtorch: &'static str,
    },
    #[error("`{}` has not started in {:.0} s", path.display(), limit.as_secs_f64())]
    WorkerHangs { path: PathBuf, limit: Duration },
}

/// Refuses a file that is there, unless it may go.
pub(crate) fn refuse_to_overwrite(path: &Path, force: bool) -> Result<(), CliError> {
    if path.symlink_metadata().is_ok() && !force {
        return Err(CliError::WouldOverwrite {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// What a folder holds that one thing was expected in, as the end of a sentence.
fn list_of(found: &[String]) -> String {
    const SHOWN: usize = 8;
    if found.is_empty() {
        return "holds nothing".to_owned();
    }
    let more = match found.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown: Vec<String> = found
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect();
    format!("holds {}{more}", shown.join(", "))
}

/// The finished trainings of a run, as the end of a sentence.
fn trainings(stages: &[String]) -> String {
    match stages {
        [] => "no finished training".to_owned(),
        stages => format!("several trainings: {}", stages.join(", ")),
    }
}

impl CliError {
    /// The next step, for a line of its own.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Dashboard(error) => error.hint().map(str::to_owned),
            Self::NothingToRetry { others, .. } => others.as_ref().map(|others| {
                format!("these have unfinished stages: {others}; resume one with `patchwork retry RUN`")
            }),
            Self::Incomparable { .. } => Some(
                "choose scores of one kind by `--samples N`, `--stage NAME`, `--pipeline NAME` or by naming runs, \
                 or rank them anyway with `--incomparable`"
                    .to_owned(),
            ),
            Self::Registry(RegistryError::QueryTime(_)) => {
                Some("`--timeout SECONDS` allows more".to_owned())
            }
            Self::Registry(RegistryError::Open { .. } | RegistryError::Migrate { .. }) => Some(
                "if the file is damaged, `patchwork registry rebuild` rebuilds it from the runs' folders"
                    .to_owned(),
            ),
            Self::Registry(RegistryError::Missing(path) | RegistryError::Empty(path)) => {
                let logs = path.with_file_name("logs");
                let has_logs = durable::list(&logs).is_ok_and(|runs| !runs.is_empty());
                has_logs.then(|| {
                    "`patchwork registry rebuild` rebuilds it from the runs' folders in `logs/`"
                        .to_owned()
                })
            }
            Self::Pipeline(PipelineError::OtherDisk { .. }) => Some(
                "put the whole home folder on the larger disk, by `--home` or PATCHWORK_HOME, or link both to one disk"
                    .to_owned(),
            ),
            Self::NotText { .. } => Some(
                "rename it, or make a link to it whose name is UTF-8 and give that".to_owned(),
            ),
            Self::UnknownRuns { .. } => Some(
                "run `patchwork registry rebuild` first: it adds them from their folders".to_owned(),
            ),
            Self::UnreadableRun { .. } => {
                Some("fix the file, or move the folder out of `logs/`".to_owned())
            }
            Self::Checkpoint { hint, .. } => hint.clone(),
            Self::WouldOverwrite { .. } => {
                Some("give another name, or `--force` to replace it".to_owned())
            }
            Self::NoNetwork { .. } => Some(
                "`--home` names another home folder than `runs`".to_owned(),
            ),
            Self::WhichTraining { run, stages } => Some(match stages.first() {
                Some(stage) => format!("name one, such as `{run}/{stage}`"),
                None => {
                    "one on its way is sampled by its checkpoint, below `work/` in the home folder"
                        .to_owned()
                }
            }),
            Self::PipelineThere { .. } => {
                Some("give another name by `--name`, or move the file away: it is not overwritten".to_owned())
            }
            Self::WhichSource { .. } => Some(
                "name a folder or an archive of images: `patchwork init FOLDER`; `patchwork init builtin:twemoji` takes the \
                 emoji that ship with the program"
                    .to_owned(),
            ),
            Self::PreparedAlready { .. } => Some(
                "`patchwork train CONFIG --data FOLDER` trains on it; `init` takes the raw images that it was made of"
                    .to_owned(),
            ),
            Self::LogsThere { .. } => {
                Some("give another name to `--out`, or move it away".to_owned())
            }
            Self::OutputThere { .. } => {
                Some("give another name to `--out`, or remove the folder".to_owned())
            }
            Self::NoArtifact { .. } => Some(
                "artifacts are in runs/artifacts/KIND/; `patchwork show RUN` lists the folder of each stage"
                    .to_owned(),
            ),
            Self::Sizes { .. } => Some(
                "`--resolution N` crops and scales every image to N x N pixels first, the same for both sets"
                    .to_owned(),
            ),
            Self::NoStageNamed { .. } => Some(
                "write `--set reference.KEY=VALUE` or `--set evaluate.KEY=VALUE`".to_owned(),
            ),
            Self::OneTable { .. } => Some("name one by `--table`".to_owned()),
            Self::Damaged { .. } => Some(
                "`--repair --source SOURCE` rebuilds the damaged files from the raw images".to_owned(),
            ),
            Self::NoWorker { .. } => Some(
                "build both programs: `./justw build`, or `cargo build --release --package patchwork`"
                    .to_owned(),
            ),
            Self::WorkerHangs { .. } => Some(
                "what it waits for may hang: a GPU (does `nvidia-smi` answer?) or the file server that holds libtorch"
                    .to_owned(),
            ),
            Self::WorkerStart { libtorch, .. } => Some(format!(
                "it needs libtorch {libtorch} where it was built with it: run `./justw setup`, then \
                 `./justw build`"
            )),
            _ => None,
        }
    }
}

impl CliError {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Stopped { signal } => exit_signalled(*signal),
            Self::Specify(error) if !error.is_input() => EXIT_FAILED,
            Self::Config(_)
            | Self::Specify(_)
            | Self::ExternalNetwork(_)
            | Self::Weights(WeightsError::UnknownFile { .. } | WeightsError::NoAddress { .. })
            | Self::NoSuchStage { .. }
            | Self::WouldOverwrite { .. }
            | Self::OutputThere { .. }
            | Self::LogsThere { .. }
            | Self::NotText { .. }
            | Self::Claim(ClaimError::NotOurs { .. })
            | Self::Dataset(DatasetError::Claim(ClaimError::NotOurs { .. }))
            | Self::Source(_)
            | Self::NoNetwork { .. }
            | Self::WhichTraining { .. }
            | Self::NoSuchClass { .. }
            | Self::PipelineThere { .. }
            | Self::WhichSource { .. }
            | Self::PreparedAlready { .. }
            | Self::NoUsableImage { .. }
            | Self::Answer { .. }
            | Self::NoAnswer
            | Self::NoArtifact { .. }
            | Self::Sizes { .. }
            | Self::NoStageNamed { .. }
            | Self::NoTable { .. }
            | Self::OneTable { .. }
            | Self::NotRepairable { .. }
            | Self::Checkpoint { is_input: true, .. }
            | Self::TooFewRuns
            | Self::Incomparable { .. }
            | Self::Pipeline(
                PipelineError::UnknownStage { .. }
                | PipelineError::Cycle { .. }
                | PipelineError::InputMissing { .. }
                | PipelineError::MissingInputs { .. }
                | PipelineError::OtherDisk { .. }
                | PipelineError::TooLittleMemory { .. },
            ) => EXIT_USAGE,
            _ => EXIT_FAILED,
        })
    }
}
