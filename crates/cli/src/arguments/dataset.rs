//! Data sets.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::Format;

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Build a data set from raw images, without a pipeline.
    ///
    /// Does what a prepare stage does; after an interruption the same command resumes.
    #[command(
        after_help = "Examples:\n  patchwork dataset build data/ffhq --out shards --resolution 64\n  \
        patchwork dataset build data/flowers --out shards --resolution 64 --set labels=folder\n  \
        patchwork dataset build data/ffhq --out shards --config pipelines/celeba.toml"
    )]
    Build(BuildArguments),
    /// Show counts, classes, channels, duplicates and rejected images with causes; or how a raw source would be read.
    ///
    /// For a folder, archive or file of raw images: the detected format, its split, the number of images, what is
    /// passed over and why, images by class, and which images of a sample cannot be used. Writes nothing.
    #[command(after_help = "Examples:\n  patchwork dataset inspect shards\n  \
        patchwork dataset inspect shards --table rejected_images --format csv\n  \
        patchwork dataset inspect data/pets.zip --set labels=folder")]
    Inspect(InspectDatasetArguments),
    /// Show statistics of the images: channels, sizes in the source, aspect ratios, images of one colour.
    #[command(after_help = "Examples:\n  patchwork dataset stats shards\n  \
        patchwork dataset stats shards --table source_sizes --format json")]
    Stats(TablesArguments),
    /// Verify every image; repair damaged files.
    ///
    /// Compares each image's pixels with the digests in its shard and in the index, and each file with the manifest. Exit
    /// code 1: something is damaged.
    #[command(after_help = "Examples:\n  patchwork dataset verify shards\n  \
        patchwork dataset verify shards --repair --source data/ffhq")]
    Verify(VerifyArguments),
    /// Write a contact sheet of images of a data set.
    #[command(
        after_help = "Examples:\n  patchwork dataset grid shards first.png\n  \
        patchwork dataset grid shards roses.png --class rose --seed 1 --count 64 --columns 8"
    )]
    Grid(GridArguments),
    /// Export a data set for other programs.
    ///
    /// `edm` is an uncompressed zip of PNG files with a `dataset.json` of labels, for the tools of EDM and StyleGAN;
    /// `png` a folder of PNG files, with one folder per class; `hugging-face` a folder of Parquet files for
    /// `datasets.load_dataset`.
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
    /// The folder to create.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Width and height of the images in pixels.
    #[arg(long, value_name = "N")]
    pub(crate) resolution: Option<u32>,
    /// Channels of the images: 3, or 1 for grey.
    #[arg(long, value_name = "N")]
    pub(crate) channels: Option<u32>,
    /// A pipeline file or preset with the settings of a prepare stage; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The stage in that file whose settings are used.
    #[arg(long, default_value = "prepare", value_name = "NAME")]
    pub(crate) stage: String,
    /// Override another setting of the stage, such as `transform=stretch`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TablesArguments {
    /// The folder of a data set or of samples; `inspect` takes a raw source too.
    pub(crate) folder: PathBuf,
    /// Only this table, such as `classes`.
    #[arg(long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Output format; csv holds one table, and `table` shows the first 20 rows of each.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectDatasetArguments {
    #[command(flatten)]
    pub(crate) tables: TablesArguments,
    /// A setting of the prepare stage that a raw source is read with, such as `labels=folder`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// Rebuild damaged files from the source, and nothing else.
    #[arg(long)]
    pub(crate) repair: bool,
    /// The raw images that the data set was built from; their content must be the same.
    #[arg(long, value_name = "SOURCE", requires = "repair")]
    pub(crate) source: Option<String>,
    /// Output format of the list of faults.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GridArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// The PNG file to write.
    pub(crate) output: PathBuf,
    /// Number of images.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: u32,
    /// Images in a row.
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) columns: u32,
    /// Only images of this class.
    #[arg(long, value_name = "NAME")]
    pub(crate) class: Option<String>,
    /// Sample images uniformly with this seed instead of the first ones.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Overwrite an existing file.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportDatasetArguments {
    /// The folder of a data set or of samples.
    pub(crate) folder: PathBuf,
    /// The file or folder to create.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// The format to write.
    #[arg(long = "as", value_enum, value_name = "FORMAT")]
    pub(crate) format: ExportAs,
    /// Of images with identical pixels, write only the first.
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
