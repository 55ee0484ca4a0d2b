//! Stages without a pipeline.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;

#[derive(Debug, clap::Args)]
pub(crate) struct TrainArguments {
    /// A pipeline file or preset with the settings of a train stage.
    pub(crate) config: PathBuf,
    /// The folder of a prepared data set.
    #[arg(long, value_name = "SHARDS")]
    pub(crate) data: PathBuf,
    /// The folder to create.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The stage in the file whose settings are used.
    #[arg(long, default_value = "train", value_name = "NAME")]
    pub(crate) stage: String,
    /// Number of processes of this machine that train together; the same as `--set ranks=N`.
    #[arg(long, value_name = "N")]
    pub(crate) ranks: Option<u32>,
    /// Override a setting of the stage, such as `batch_size=64`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SampleArguments {
    /// A run, such as `demo-1` or `latest` (`RUN/STAGE` where it has several trainings), the folder of a training, a
    /// network's file, or a training's checkpoint.
    pub(crate) network: PathBuf,
    /// The folder to create [default: one in the home folder for this network and these settings].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// A pipeline file or preset with the settings of a sample stage; without it, the defaults.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The stage in that file whose settings are used.
    #[arg(long, default_value = "sample", value_name = "NAME")]
    pub(crate) stage: String,
    /// Seeds, one image per seed: `0-63`, `1,5,7-9`.
    #[arg(long, value_name = "SEEDS")]
    pub(crate) seeds: Option<String>,
    /// The class to sample, by name or number; several, separated by commas or repeated, take turns image by image;
    /// `dataset`, `balanced` and `none` as in a pipeline file.
    #[arg(long, value_name = "CLASS")]
    pub(crate) labels: Vec<String>,
    /// Sample this part of the image: its first row and column and its size, such as `0,16,32` or `0,16,48x32`.
    #[arg(long, value_name = "ROW,COLUMN,SIDE")]
    pub(crate) region: Option<RegionText>,
    /// Interpolate from each seed to the next in this number of images, as a strip and an animated GIF.
    #[arg(long, value_name = "N")]
    pub(crate) interpolate: Option<u32>,
    /// Steps of the sampler.
    #[arg(long, value_name = "N")]
    pub(crate) steps: Option<u32>,
    /// Also write the images as PNG files.
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) export: Option<PngFormat>,
    /// Override another setting of the stage, such as `solver=heun`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// A part of the image as it is typed: `ROW,COLUMN,SIDE` or `ROW,COLUMN,WIDTHxHEIGHT`.
#[derive(Clone, Debug)]
pub(crate) struct RegionText {
    pub(crate) typed: String,
    pub(crate) row: u32,
    pub(crate) column: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl FromStr for RegionText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write ROW,COLUMN,SIDE or ROW,COLUMN,WIDTHxHEIGHT, in pixels".to_owned();
        let [row, column, size] = text.split(',').collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let (width, height) = size.split_once('x').unwrap_or((size, size));
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| wrong());
        Ok(Self {
            typed: text.to_owned(),
            row: number(row)?,
            column: number(column)?,
            width: number(width)?,
            height: number(height)?,
        })
    }
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
    /// The real images: raw images, a prepared data set, the statistics of a reference stage, or an external `.npz`.
    pub(crate) reference: PathBuf,
    /// The images to evaluate: raw images, a prepared data set, or samples.
    pub(crate) images: PathBuf,
    /// The folder to create [default: one in the home folder for these two sets].
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The network whose features are compared.
    #[arg(long, value_name = "NAME")]
    pub(crate) extractor: Option<String>,
    /// Crop and resize raw images to this size; without it, all must have one size.
    #[arg(long, value_name = "PIXELS")]
    pub(crate) resolution: Option<u32>,
    /// Show this number of nearest real images beside each of the first evaluated ones.
    #[arg(long, value_name = "N")]
    pub(crate) neighbours: Option<u32>,
    /// Another setting, `reference.KEY=VALUE` or `evaluate.KEY=VALUE`; may be repeated.
    #[arg(long = "set", value_name = "STAGE.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
