//! Streams of a CUDA device beside the one that a step computes on: copies that run beside its kernels, and graphs, by which
//! a few thousand kernels are started at once.

mod copies;
mod graphs;

pub use copies::{CopyStream, PendingCopy};
pub use graphs::{Graph, GraphStream};

use std::ffi::c_int;

use tch::Device;

use crate::error::LibtorchError;

/// The index of a CUDA device.
fn index(device: Device) -> Result<c_int, LibtorchError> {
    match device {
        Device::Cuda(index) => Ok(c_int::try_from(index).unwrap_or(c_int::MAX)),
        _ => Err(LibtorchError::new(format!(
            "streams are of a CUDA device, not of {device:?}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_devices_are_refused() {
        let error = GraphStream::new(Device::Cpu).unwrap_err();
        assert!(error.text().contains("not of Cpu"), "{error}");
        assert!(CopyStream::new(Device::Cpu).is_err());
        if !tch::Cuda::is_available() {
            let error = CopyStream::new(Device::Cuda(0)).unwrap_err();
            assert!(error.text().contains("there is none"), "{error}");
            assert!(GraphStream::new(Device::Cuda(0)).is_err());
        }
    }
}
