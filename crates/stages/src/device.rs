//! The device and the threads that a stage computes with.

use std::path::Path;

use patchwork_artifacts::environment::NARROWED_DEVICE;
use patchwork_artifacts::failure::Passing;
use patchwork_artifacts::resources::{self, Cores};
use patchwork_artifacts::worker::StageError;
use patchwork_recipes::Execution;
use patchwork_terms::Precision;
use tch::{Device, Kind};

/// What is wrong with a wished device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    #[error("device `{0}` is neither `cpu` nor `cuda` nor `cuda:N`")]
    Unknown(String),
    #[error(
        "device `{wished}` is not available: libtorch sees {found} CUDA devices; choose `device = \"cpu\"`, or {remedy}"
    )]
    Missing {
        wished: String,
        found: i64,
        remedy: &'static str,
    },
    #[error(
        "device `{0}` is not available, although the driver lists it: it was lost, or `CUDA_VISIBLE_DEVICES` hides it"
    )]
    Lost(String),
}

/// Sets the threads of libtorch and rayon, and finds the device.
///
/// The thread count is part of what makes a run repeatable to the last bit: sums are split by it.
///
/// # Errors
/// [`DeviceError`]; one that may pass ([`Passing`]) where the machine has the device and libtorch does not see it now.
pub(crate) fn configure(execution: &Execution) -> Result<Device, StageError> {
    let threads = threads(execution);
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    tch::Cuda::cudnn_set_benchmark(execution.cudnn_benchmark);
    match find(&execution.device) {
        Err(lost @ DeviceError::Lost(_)) => Err(Passing(lost.into()).into()),
        found => Ok(found?),
    }
}

/// How many threads a process of a stage uses.
pub(crate) fn threads(execution: &Execution) -> usize {
    execution.threads.unwrap_or_else(|| {
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        // Ranks that this program starts have their supervisor's cores together.
        let is_launched = execution.launch.is_some();
        let cores = is_launched.then(resources::cores).flatten();
        share_of_cores(usable, cores, execution.ranks_here() as usize)
    })
}

/// How many of `usable` processors one of so many ranks of a machine takes. A launcher binds a rank to `cores` of its own, or
/// several to the same, or none.
fn share_of_cores(usable: usize, cores: Option<Cores>, ranks: usize) -> usize {
    let share = match cores {
        Some(Cores { own, all }) if own < all => usize::min(usable, all / ranks),
        _ => usable / ranks,
    };
    usize::max(share, 1)
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
    // A worker sees its own device alone.
    let is_narrowed = std::env::var(NARROWED_DEVICE).is_ok_and(|narrowed| narrowed == name);
    let place = if is_narrowed { 0 } else { index };
    let found = tch::Cuda::device_count();
    if i64::try_from(place).is_ok_and(|place| place < found) {
        return Ok(Device::Cuda(place));
    }
    let has_runtime = tch::utils::has_cudart();
    let listed = listed_devices(Path::new("/"));
    if found == 0 && has_runtime && index < listed {
        return Err(DeviceError::Lost(name.to_owned()));
    }
    // Where the others are hidden from the worker, the driver lists them.
    let found = if is_narrowed { listed as i64 } else { found };
    Err(DeviceError::Missing {
        wished: name.to_owned(),
        found,
        remedy: match (found, has_runtime) {
            (0, true) => {
                "see that `nvidia-smi` lists one, with a driver for CUDA 13 (580 or newer)"
            }
            (_, false) => {
                "set up the CUDA build with `PATCHWORK_CUDA=1 ./justw setup`, then `./justw build`"
            }
            (_, true) => "one of those",
        },
    })
}

/// How many devices NVIDIA's driver has on the machine whose root folder is `root`, whoever may see them.
fn listed_devices(root: &Path) -> usize {
    let listed = std::fs::read_dir(root.join("proc/driver/nvidia/gpus"));
    let listed = listed.map_or(0, Iterator::count);
    let is_device = |number: &usize| root.join(format!("dev/nvidia{number}")).exists();
    usize::max(listed, (0..256).take_while(is_device).count())
}

/// libtorch's number type of a resolved precision.
pub(crate) fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Bfloat16 => Kind::BFloat16,
        Precision::Float16 => Kind::Half,
        Precision::Float32 | Precision::Auto => Kind::Float,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_the_cores_that_they_are_not_bound_to() {
        let of_64 = |own| Some(Cores { own, all: 64 });
        // Bound to nothing, to four cores each, to one of two sockets; a control group's limit of eight.
        assert_eq!(share_of_cores(64, of_64(64), 16), 4);
        assert_eq!(share_of_cores(4, of_64(4), 2), 4);
        assert_eq!(share_of_cores(32, of_64(32), 16), 4);
        assert_eq!(share_of_cores(8, of_64(64), 4), 2);
        assert_eq!(share_of_cores(2, of_64(64), 4), 1);
        assert_eq!(share_of_cores(6, None, 2), 3);
    }

    #[test]
    fn the_drivers_devices_are_counted() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| std::fs::create_dir_all(root.path().join(path)).unwrap();
        assert_eq!(listed_devices(root.path()), 0);
        make("proc/driver/nvidia/gpus/0000:01:00.0");
        assert_eq!(listed_devices(root.path()), 1);
        // A container may see the devices and nothing of the driver's folder.
        for device in ["nvidia0", "nvidia1", "nvidia3", "nvidiactl"] {
            make(&format!("dev/{device}"));
        }
        assert_eq!(listed_devices(root.path()), 2);
    }
}
