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
    /// Train on a prepared data set, without a pipeline.
    ///
    /// Does what a train stage does, and goes on after an interruption when the same command is given again. The
    /// network, its snapshots and its loss become the folder of `--out`, the logs a folder beside it.
    #[command(
        after_help = "Examples:\n  patchwork train configs/pixel-64.toml --data shards --out network\n  \
        patchwork train pipelines/demo.toml --data runs/artifacts/prepare/0a1b2c --out network --set batch_size=64"
    )]
    Train(TrainArguments),
    /// Draw images from a network, without a pipeline.
    ///
    /// The network is a folder that training made, or a file that `patchwork checkpoint import` made. The images
    /// become a set of shards with a picture of the first ones.
    #[command(
        after_help = "Examples:\n  patchwork sample network --seeds 0-63 --steps 18 --out samples\n  \
        patchwork sample ffhq.safetensors --config pipelines/ffhq.toml --seeds 0-99 --out samples\n  \
        patchwork sample network --set solver=dpm-solver-2m --set steps=10 --out fast"
    )]
    Sample(SampleArguments),
    /// Measure how far one set of images is from another, without a pipeline.
    ///
    /// Each set is a folder or archive of raw images, a prepared data set, or samples; the first may also be the
    /// folder of a reference stage. Does what reference and evaluate stages do; an interrupted evaluation goes on when
    /// the same command is given again. Raw images must have one size, or are brought to one by `--resolution`.
    #[command(
        after_help = "Examples:\n  patchwork evaluate data/real data/generated\n  \
        patchwork evaluate shards samples --neighbours 5 --out scores\n  \
        patchwork evaluate real.zip samples --resolution 64 --set evaluate.baselines=real-halves"
    )]
    Evaluate(EvaluateArguments),
    /// Run again what failed or was interrupted in a run, and what waits on it.
    #[command(
        after_help = "The run's pipeline is carried out as it was resolved then; what finished is not done again.\n\n\
        Examples:\n  patchwork retry\n  patchwork retry celeba-3"
    )]
    Retry(RetryArguments),
    /// Say for each stage whether it would run, and which settings make it so.
    #[command(after_help = "Example:\n  patchwork explain pipelines/celeba.toml \
        --set stages.train.batch_size=64")]
    Explain(ExplainArguments),
    /// Say where the stages of the runs at work stand, or those of one run.
    Status(StatusArguments),
    /// Compare runs: settings that differ, scores and series side by side, distance against training.
    #[command(
        after_help = "Scores of different extractors, references or numbers of samples are not ranked.\n\n\
        Examples:\n  patchwork compare celeba-3 celeba-4 --plot curves.png\n  \
        patchwork compare --metric fid --pipeline celeba"
    )]
    Compare(CompareArguments),
    /// Delete what no recorded run needs, or say what would be deleted.
    #[command(
        after_help = "Runs outside of the limits stay in the registry and no longer keep their artifacts.\n\n\
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
    /// Print the log of a stage of a run.
    #[command(after_help = "Examples:\n  patchwork logs\n  patchwork logs celeba-3 train --follow")]
    Logs(LogsArguments),
    /// Ask the registry a question in SQL; it is opened read-only.
    #[command(
        after_help = "Example:\n  patchwork query \"SELECT run, metric, value FROM fid_history ORDER BY value\""
    )]
    Query(QueryArguments),
    /// Make data sets, look at them, check them, write them for other programs.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Take care of the registry itself.
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// Look into network checkpoints, and convert them from and for other programs.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// Fetch the published weights of feature extractors, and say which are there.
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Say what is there, what is missing, and how to mend it.
    Doctor,
    /// Print the completions of a shell.
    #[command(
        after_help = "Example:\n  patchwork completions bash > ~/.local/share/bash-completion/completions/patchwork"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one a command, into a folder.
    #[command(
        after_help = "Example:\n  patchwork man ~/.local/share/man/man1 && man patchwork-run"
    )]
    Man {
        /// The folder; it is made if it is not there.
        folder: PathBuf,
    },
}

/// Which pipeline, and which part of it.
#[derive(Debug, clap::Args)]
pub(crate) struct PipelineArguments {
    /// The pipeline file.
    #[arg(value_name = "PIPELINE")]
    pub(crate) file: PathBuf,
    /// Override a setting, such as `stages.train.batch_size=64`; may be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
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
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArguments {
    /// A pipeline file or preset with the settings of a train stage.
    pub(crate) config: PathBuf,
    /// The folder of a prepared data set.
    #[arg(long, value_name = "SHARDS")]
    pub(crate) data: PathBuf,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The stage in the file whose settings are meant.
    #[arg(long, default_value = "train", value_name = "NAME")]
    pub(crate) stage: String,
    /// Override a setting of the stage, such as `batch_size=64`; may be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SampleArguments {
    /// The folder of a training, or a network's file.
    pub(crate) network: PathBuf,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// A pipeline file or preset with the settings of a sample stage; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The stage in that file whose settings are meant.
    #[arg(long, default_value = "sample", value_name = "NAME")]
    pub(crate) stage: String,
    /// One image a seed: `0-63`, `1,5,7-9`.
    #[arg(long, value_name = "SEEDS")]
    pub(crate) seeds: Option<String>,
    /// Steps of the sampler.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// Write the images as PNG files too, beside the shards.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) export: Option<PngFormat>,
    /// Override another setting of the stage, such as `solver=heun`; may be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// How PNG files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PngFormat {
    /// In a folder `png`.
    Folder,
    /// In an uncompressed archive `images.zip`, as the tools of EDM read it.
    Zip,
}

impl PngFormat {
    /// As a pipeline file calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Zip => "zip",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArguments {
    /// The real images: raw images, a prepared data set, or the statistics of a reference stage.
    pub(crate) reference: PathBuf,
    /// The images to measure: raw images, a prepared data set, or samples.
    pub(crate) images: PathBuf,
    /// The folder to make [default: one in the home folder for these two sets].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The network whose features are compared.
    #[arg(long, value_name = "NAME")]
    pub(crate) extractor: Option<String>,
    /// Crop and scale raw images to this side; without it, all must have one size.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) resolution: Option<u32>,
    /// Show so many of the nearest real images beside each of the first measured ones.
    #[arg(long, value_name = "N")]
    pub(crate) neighbours: Option<u32>,
    /// Another setting, `reference.KEY=VALUE` or `evaluate.KEY=VALUE`; may be given often.
    #[arg(long = "set", value_name = "STAGE.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetryArguments {
    /// The run.
    #[arg(default_value = "latest")]
    pub(crate) run: String,
    /// How many stages may run at once [default: as many as have room by their `cpus`, `memory_gib` and `device`].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: Option<u16>,
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

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArguments {
    /// The run; without it, every run at work, or else the newest.
    pub(crate) run: Option<String>,
    /// How it is printed.
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
    /// With `--metric`: rank scores even if they do not compare.
    #[arg(long, requires = "metric")]
    pub(crate) incomparable: bool,
    /// Draw the distance against training images and against hours into two PNG files of this name.
    #[arg(long, value_name = "FILE.png", conflicts_with = "metric")]
    pub(crate) plot: Option<PathBuf>,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GcArguments {
    /// Delete; without it, only say what would be deleted.
    #[arg(long)]
    pub(crate) apply: bool,
    /// Of each pipeline, only the newest N runs keep their artifacts.
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u32>,
    /// Runs older than this keep nothing.
    #[arg(long, value_name = "DAYS")]
    pub(crate) older_than: Option<u32>,
    /// Older runs keep nothing once the artifacts of newer ones reach this size.
    #[arg(long, value_name = "GB")]
    pub(crate) max_gigabytes: Option<f64>,
    /// How the list is printed.
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
    /// Go on with what is printed, until the run ends.
    #[arg(long, short)]
    pub(crate) follow: bool,
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
pub(crate) enum RegistryCommand {
    /// Make the registry again from the runs' folders and the artifacts' manifests.
    #[command(
        after_help = "For a registry that is lost or damaged. What was there is kept beside it under another name."
    )]
    Rebuild,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Make a data set from raw images, without a pipeline.
    ///
    /// Does what a prepare stage does, and goes on after an interruption when the same command is given again.
    #[command(
        after_help = "Examples:\n  patchwork dataset build data/ffhq --out shards --resolution 64\n  \
        patchwork dataset build data/flowers --out shards --resolution 64 --set labels=folder\n  \
        patchwork dataset build data/ffhq --out shards --config pipelines/celeba.toml"
    )]
    Build(BuildArguments),
    /// Counts, classes, channels, duplicates and rejected images with their causes.
    #[command(after_help = "Examples:\n  patchwork dataset inspect shards\n  \
        patchwork dataset inspect shards --table rejected_images --format csv")]
    Inspect(TablesArguments),
    /// What the images look like: channels, sizes in the source, proportions, images of one colour.
    #[command(after_help = "Examples:\n  patchwork dataset stats shards\n  \
        patchwork dataset stats shards --table source_sizes --format json")]
    Stats(TablesArguments),
    /// Read every image and say which are damaged; make damaged files again.
    ///
    /// Each image's pixels are held against the digests that its shard and the index record, and each file against the
    /// manifest. Exit code 1 says that something is damaged.
    #[command(after_help = "Examples:\n  patchwork dataset verify shards\n  \
        patchwork dataset verify shards --repair --source data/ffhq")]
    Verify(VerifyArguments),
    /// Write a picture of many images of a data set.
    #[command(
        after_help = "Examples:\n  patchwork dataset grid shards first.png\n  \
        patchwork dataset grid shards roses.png --class rose --seed 1 --count 64 --columns 8"
    )]
    Grid(GridArguments),
    /// Write a data set for other programs.
    ///
    /// `edm` is an uncompressed zip of PNG files with a `dataset.json` of labels, as the tools of EDM and StyleGAN read
    /// it; `png` a folder of PNG files, with a folder a class where there are classes; `hugging-face` a folder of
    /// Parquet files that `datasets.load_dataset` reads.
    #[command(
        after_help = "Examples:\n  patchwork dataset export shards --as edm --out ffhq-64x64.zip\n  \
        patchwork dataset export shards --as hugging-face --out ffhq-64 --drop-duplicates"
    )]
    Export(ExportDatasetArguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct BuildArguments {
    /// The raw images, as `source` of a prepare stage names them.
    pub(crate) source: String,
    /// The folder to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Side of the images in pixels.
    #[arg(long, value_name = "N")]
    pub(crate) resolution: Option<u32>,
    /// A pipeline file or preset with the settings of a prepare stage; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The stage in that file whose settings are meant.
    #[arg(long, default_value = "prepare", value_name = "NAME")]
    pub(crate) stage: String,
    /// Override another setting of the stage, such as `transform=stretch`; may be given often.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TablesArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// Only this table, such as `classes`.
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// How the tables are printed; csv holds one, and people are shown the first 20 rows of each.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// Make what is damaged again from the source, and nothing else.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Where the raw images lie; its content must be what the data set was made from.
    #[arg(long, value_name = "SOURCE", requires = "repair")]
    pub(crate) source: Option<String>,
    /// How the list of faults is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// The PNG file to write.
    pub(crate) output: PathBuf,
    /// How many images.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// How many in a row.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) columns: u32,
    /// Only images of this class.
    #[arg(long, value_name = "NAME")]
    pub(crate) class: Option<String>,
    /// Images drawn by this seed instead of the first ones.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportDatasetArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// The file or folder to make.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// What to write.
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub(crate) format: ExportAs,
    /// Of images with the same pixels, write only the first.
    #[arg(long)]
    pub(crate) drop_duplicates: bool,
}

/// What a data set is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportAs {
    /// A zip for the tools of EDM and StyleGAN.
    Edm,
    /// A folder of PNG files.
    Png,
    /// Parquet files for `datasets`.
    HuggingFace,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// Put a published file of weights in place.
    ///
    /// The file comes from its makers' address, from another address, or from a file that you have. Its SHA-256 has to
    /// be the published one. A transfer that breaks off goes on where it stopped when the same command is given again.
    #[command(
        after_help = "Names: `inception` (Inception-v3 of 2015-12-05 for FID, 95 MB, by pytorch-fid), `inception-torchscript` (the \
        same network by NVIDIA, as a TorchScript program), `efficientnet-lite0` (from a file; `./justw setup` fetches it).\n\n\
        Examples:\n  patchwork weights get inception\n  \
        patchwork weights get inception --from ~/Downloads/pt_inception-2015-12-05-6726825d.pth"
    )]
    Get {
        /// Which weights: `inception`, `inception-torchscript`, `efficientnet-lite0`.
        name: String,
        /// A file, or an http:// or https:// address, instead of the makers' address.
        #[arg(long, value_name = "FILE|URL")]
        from: Option<String>,
    },
    /// List the published files of weights: where each belongs, and whether it is there.
    List {
        /// How the list is printed.
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Make a checkpoint of another program ours.
    ///
    /// Reads the pickles (.pkl) that EDM and Patch Diffusion publish, PyTorch's state dictionaries (.pt, .pth) and
    /// safetensors with the published names; the format is told by the content. Pickles are read as data: nothing in
    /// them is run. What is written holds the weights in float32, the published names and the network's settings,
    /// after all names and shapes have been checked against the settings.
    #[command(
        after_help = "Examples:\n  patchwork checkpoint import edm-ffhq-64x64-uncond-vp.pkl --out ffhq.safetensors\n  \
        patchwork checkpoint import weights.pth --config network.json --out weights.safetensors\n  \
        patchwork checkpoint import training-state-002000.pt --entry net --out net.safetensors\n\n\
        The settings of a checkpoint like it are a good start for --config:\n  \
        patchwork checkpoint inspect OTHER --format json | jq .settings > network.json"
    )]
    Import(ImportArguments),
    /// Show a checkpoint's settings, parameter count and tensors.
    #[command(
        after_help = "Examples:\n  patchwork checkpoint inspect network-snapshot-200000.pkl\n  \
        patchwork checkpoint inspect network.safetensors --format json"
    )]
    Inspect(InspectArguments),
    /// Write a checkpoint for other programs: safetensors with the published names.
    ///
    /// Python loads the file with `safetensors.torch.load_file` and gives it to the published network's
    /// `load_state_dict` without renaming. The settings stay in the file's metadata.
    #[command(
        after_help = "Examples:\n  patchwork checkpoint export network.safetensors --out shared.safetensors\n  \
        patchwork checkpoint export network.safetensors --out half.safetensors --dtype float16"
    )]
    Export(ExportArguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArguments {
    /// The checkpoint to read.
    pub(crate) file: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "OUT.safetensors")]
    pub(crate) out: PathBuf,
    /// The network's settings as JSON, for weights that come without (state dictionaries).
    #[arg(long, value_name = "JSON")]
    pub(crate) config: Option<PathBuf>,
    /// Which entry of a pickle to read [default: `ema`, or the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// Replace the file to write if it is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArguments {
    /// The checkpoint to read.
    pub(crate) file: PathBuf,
    /// Which entry of a pickle to read [default: `ema`, or the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// How it is printed; csv has the tensors alone.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArguments {
    /// The checkpoint to read.
    pub(crate) file: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "OUT.safetensors")]
    pub(crate) out: PathBuf,
    /// The element type of the weights; resampling filters and Fourier frequencies stay float32.
    #[arg(long, value_enum, default_value_t = Dtype::Float32)]
    pub(crate) dtype: Dtype,
    /// Which entry of a pickle to read [default: `ema`, or the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// Replace the file to write if it is there.
    #[arg(long)]
    pub(crate) force: bool,
}

/// The element type of exported weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    /// As trained.
    Float32,
    /// Half the size, three decimal digits.
    Float16,
    /// Half the size, two decimal digits, the range of float32.
    Bfloat16,
}

impl Dtype {
    /// As the worker calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Bfloat16 => "bfloat16",
        }
    }
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
