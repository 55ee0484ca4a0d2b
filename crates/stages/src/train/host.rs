//! The memory that a batch is gathered into on its way to the device.

use patchwork_dataset::{DatasetError, PatchRequest, PatchSize};
use patchwork_diffusion::transfer::bring;
use patchwork_libtorch::cuda::{CopyStream, PendingCopy};
use tch::{Device, Kind, Tensor};

use crate::data::TrainingData;

/// A tensor on the host that patches are written into.
///
/// For a CUDA device it is page-locked, so that the copy to the device runs beside the processor and beside the
/// kernels that are in flight. libtorch keeps the memory from being used again before such a copy is through.
pub(super) struct HostBatch {
    values: Tensor,
    device: Device,
    /// The copy to the device, where it has begun.
    sent: Option<PendingCopy>,
}

impl HostBatch {
    /// Memory for `[patches, channels, height, width]`, not written yet.
    pub(super) fn new(patches: usize, size: PatchSize, channels: usize, device: Device) -> Self {
        let shape = [patches, channels, size.height, size.width].map(|length| length as i64);
        let values = Tensor::empty(shape, (Kind::Float, Device::Cpu));
        let values = match device {
            // Not `pin_memory`, which warns at each call that its argument will go, and tch must give one.
            Device::Cuda(_) => values.internal_pin_memory(device),
            _ => values,
        };
        Self {
            values,
            device,
            sent: None,
        }
    }

    /// Gathers patches of a set into memory for a device, without a copy in between.
    pub(super) fn gather(
        data: &TrainingData,
        requests: &[PatchRequest],
        size: PatchSize,
        device: Device,
    ) -> Result<Self, DatasetError> {
        let mut batch = Self::new(requests.len(), size, data.channels(), device);
        data.gather(requests, size, batch.as_mut())?;
        Ok(batch)
    }

    /// Begins the copy to the device, once the batch is gathered. One that fails, as for want of memory, is made by
    /// [`HostBatch::into_device`], which says why it fails if it does again.
    pub(super) fn send(&mut self, stream: &CopyStream) {
        self.sent = stream.begin(&self.values).ok();
    }

    /// The batch on its device; on CUDA the copy may still be under way, behind which every kernel waits.
    pub(super) fn into_device(self) -> Tensor {
        match self.sent {
            Some(copy) => copy.take().unwrap_or_else(|error| panic!("{error}")),
            None => bring(&self.values, self.device),
        }
    }
}

impl AsMut<[f32]> for HostBatch {
    fn as_mut(&mut self) -> &mut [f32] {
        #[expect(
            unsafe_code,
            reason = "the tensor is contiguous, of float32 and on the host; it is this one's alone, and a bit pattern \
                      that was left in its memory is a float32 too"
        )]
        unsafe {
            std::slice::from_raw_parts_mut(
                self.values.data_ptr().cast::<f32>(),
                self.values.numel(),
            )
        }
    }
}
