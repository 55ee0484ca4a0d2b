//! Copies from the host to a device.

use tch::{Device, Tensor};

/// Whether CUDA has read ordinary host memory once a copy's call returns. It has on x86, where it goes by a buffer of the
/// driver's; not where the device reads the processor's memory itself, as on Grace Hopper.
const IS_READ_AT_ONCE: bool = cfg!(target_arch = "x86_64");

/// Numbers of the host on a device, without waiting for what the device has to do before.
///
/// They may be given up at once: the copy is libtorch's `non_blocking` one only where CUDA has read ordinary host memory when
/// the call returns. For that it may wait where there is much to read (its documentation, "API synchronization
/// behavior"), so that whole batches go by page-locked memory instead, which libtorch keeps until the copy is through.
pub fn bring(numbers: &Tensor, device: Device) -> Tensor {
    let is_kept = || device.is_cuda() && numbers.is_pinned(device);
    let need_not_wait = IS_READ_AT_ONCE || is_kept();
    numbers.to_device_(device, numbers.kind(), need_not_wait, false)
}
