//! What the benchmarks of computing stages share: a worker's environment, and a device to wait for.

use std::os::unix::process::CommandExt;
use std::process::Command;

use patchwork_artifacts::Environment;
use tch::{Cuda, Device};

/// Starts this program again with the environment of a worker, which the C library and libtorch read as they are loaded.
pub(crate) fn run_as_a_worker() {
    const MARK: &str = "PATCHWORK_BENCH_WORKER";
    if std::env::var_os(MARK).is_some() {
        return;
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(&words).env(MARK, "1");
    let environment = if words.iter().any(|word| word.starts_with("cuda")) {
        Environment::of_cuda(words.iter().any(|word| word == "--tf32"))
    } else {
        Environment::of_training_on_cpu()
    };
    environment.apply(&mut command);
    panic!("{}", command.exec());
}

/// The device of a name: `cpu`, `cuda`, `cuda:N`.
pub(crate) fn device(name: &str) -> Device {
    if name == "cpu" {
        return Device::Cpu;
    }
    let index = name
        .strip_prefix("cuda")
        .map(|rest| rest.trim_start_matches(':'));
    let index = index.unwrap_or_else(|| panic!("device `{name}` is not known"));
    let index: usize = if index.is_empty() {
        0
    } else {
        index.parse().unwrap()
    };
    let found = Cuda::device_count();
    assert!(
        (index as i64) < found,
        "libtorch sees {found} CUDA devices; `PATCHWORK_CUDA=1 ./justw setup` fetches the CUDA build"
    );
    Device::Cuda(index)
}

/// Waits until a device has done what it was given.
pub(crate) fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(index as i64);
    }
}
