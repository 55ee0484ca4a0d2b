//! Variables of a worker's environment, which the libraries that it loads read.

use patchwork_artifacts::Environment;

use crate::execution::CPU;
use crate::pipeline::Stage;

/// Of a training stage.
pub(crate) fn of_training(stage: &Stage) -> Environment {
    match stage.execution.device.as_str() {
        CPU => Environment::of_training_on_cpu(),
        _ => of_device(stage),
    }
}

/// Of a stage on its device: nothing of its own on a CPU.
pub(crate) fn of_device(stage: &Stage) -> Environment {
    match stage.execution.device.as_str() {
        CPU => Environment::default(),
        _ => Environment::of_cuda(stage.execution.tf32 == Some(true)),
    }
}
