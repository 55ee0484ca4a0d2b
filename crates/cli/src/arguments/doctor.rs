//! Arguments of `doctor`.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Start this number of processes on this machine as the ranks of a training, and time an all-reduce.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub(crate) ranks: Option<u32>,

    /// Start the ranks by this command, on other machines too, as by `launch` in a pipeline file.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) launch: Option<String>,

    /// The device of the ranks: `cpu` or `cuda`.
    #[arg(long, default_value = "cpu", value_parser = ["cpu", "cuda"])]
    pub(crate) device: String,

    /// Numbers to sum: the parameters of the network.
    #[arg(long, value_name = "N", default_value_t = 61_800_000, value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) parameters: i64,
}
