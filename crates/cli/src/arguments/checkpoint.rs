//! Network checkpoints.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// Import a checkpoint of another program.
    ///
    /// Reads the pickles (.pkl) that EDM and Patch Diffusion publish, PyTorch's state dictionaries (.pt, .pth) and
    /// safetensors with the published names; the format is detected by content. Pickles are read as data: nothing in
    /// them is executed. The output holds the weights in float32, the published names and the network's settings;
    /// all names and shapes are checked against the settings first.
    #[command(
        after_help = "Examples:\n  patchwork checkpoint import edm-ffhq-64x64-uncond-vp.pkl --out ffhq.safetensors\n  \
        patchwork checkpoint import weights.pth --config network.json --out weights.safetensors\n  \
        patchwork checkpoint import training-state-002000.pt --entry net --out net.safetensors\n\n\
        For --config, start from the settings of a similar checkpoint:\n  \
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
    /// The network's settings as JSON, for weights without settings (state dictionaries).
    #[arg(long, value_name = "JSON")]
    pub(crate) config: Option<PathBuf>,
    /// Which entry of a pickle or of a training checkpoint to read [default: `ema`, or the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// Overwrite an existing file.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArguments {
    /// The checkpoint to read.
    pub(crate) file: PathBuf,
    /// Which entry of a pickle or of a training checkpoint to read [default: `ema`, or the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// Output format; csv lists the tensors alone.
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
    /// Which entry of a pickle or of a training checkpoint to read [default: `ema`, or the only one].
    #[arg(long, value_name = "NAME")]
    pub(crate) entry: Option<String>,
    /// Overwrite an existing file.
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
