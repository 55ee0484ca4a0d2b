//! The first pipeline file for a set of pictures.

#[derive(Debug, clap::Args)]
pub(crate) struct InitArguments {
    /// A folder or archive of images, or a file of a known data set [default: the only one in the folder `data`].
    pub(crate) source: Option<String>,
    /// The pipeline's name; the file is `pipelines/NAME.toml` [default: derived from the source's].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Width and height of the images in pixels, a multiple of 16 [default: 16, 32 or, on a GPU, 64, as the images allow].
    #[arg(long, value_name = "N")]
    pub(crate) resolution: Option<u32>,
    /// The device, such as `cpu` or `cuda:0` [default: the first GPU, or the CPU without one].
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Expected time of training on this machine, from which its length follows [default: 15 on a CPU; on a GPU a length by
    /// the number of images].
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    pub(crate) minutes: Option<f64>,
}

/// A time between three seconds and a year.
fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.05..=525_600.0).contains(&minutes) => Ok(minutes),
        _ => Err("write minutes between 0.05 and 525600".to_owned()),
    }
}
