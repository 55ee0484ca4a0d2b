//! Copies from the host to a device.

use tch::{Device, Tensor};

/// Numbers of the host on a device, without waiting for what the device has to do before.
///
/// They may be given up at once: the copy is libtorch's `non_blocking` one, and CUDA has read ordinary host memory when
/// the call returns. For that it may wait where there is much to read (its documentation, "API synchronization
/// behavior"), so that whole batches go by page-locked memory instead, which libtorch keeps until the copy is through.
pub fn bring(numbers: &Tensor, device: Device) -> Tensor {
    numbers.to_device_(device, numbers.kind(), true, false)
}
