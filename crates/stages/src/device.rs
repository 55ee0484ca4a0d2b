//! The device and the threads that a stage computes with.

use patchwork_config::Execution;
use patchwork_terms::Precision;
use tch::{Device, Kind};

/// What is wrong with a wished device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("device `{0}` is neither `cpu` nor `cuda` nor `cuda:N`")]
    Unknown(String),
    #[error(
        "device `{wished}` is not there: libtorch sees {found} CUDA devices; choose `device = \"cpu\"`, or {remedy}"
    )]
    Missing {
        wished: String,
        found: i64,
        remedy: &'static str,
    },
}

/// Sets the threads of libtorch and rayon, and finds the device.
///
/// The thread count is part of what makes a run repeatable to the last bit: sums are split by it.
pub(crate) fn configure(execution: &Execution) -> Result<Device, DeviceError> {
    let threads = threads(execution);
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    tch::Cuda::cudnn_set_benchmark(execution.cudnn_benchmark);
    find(&execution.device)
}

/// How many threads a stage uses.
pub(crate) fn threads(execution: &Execution) -> usize {
    execution
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

fn find(name: &str) -> Result<Device, DeviceError> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .and_then(|index| index.parse::<usize>().ok())
            .ok_or_else(|| DeviceError::Unknown(name.to_owned()))?,
    };
    let found = tch::Cuda::device_count();
    if i64::try_from(index).is_ok_and(|index| index < found) {
        Ok(Device::Cuda(index))
    } else {
        Err(DeviceError::Missing {
            wished: name.to_owned(),
            found,
            remedy: match (found, tch::utils::has_cudart()) {
                (0, true) => {
                    "see that `nvidia-smi` lists one, with a driver for CUDA 13 (580 or newer)"
                }
                (0, false) => {
                    "set up the CUDA build with `PATCHWORK_CUDA=1 ./justw setup`, then `./justw build`"
                }
                _ => "one of those",
            },
        })
    }
}

/// libtorch's number type of a resolved precision.
pub(crate) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Bfloat16 => Kind::BFloat16,
        Precision::Float16 => Kind::Half,
        Precision::Float32 | Precision::Auto => Kind::Float,
    }
}
