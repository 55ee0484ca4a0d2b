//! The next step's patches, gathered into memory for the device while it computes this step.

use std::cell::RefCell;

use patchwork_dataset::{DatasetError, PatchRequest, PatchSize, Prefetch};
use patchwork_libtorch::cuda::CopyStream;
use tch::Device;

use super::host::HostBatch;
use crate::data::TrainingData;

/// Patches that are likely to be wanted next.
///
/// What is taken is always what is asked for: a guess that was wrong, as after a rollback, costs its gathering and
/// changes nothing.
pub(super) struct Ahead {
    thread: RefCell<Prefetch<HostBatch>>,
    channels: usize,
    device: Device,
}

impl Ahead {
    /// Starts the thread that gathers, and where there is a stream for it begins the copy to the device.
    pub(super) fn start(
        data: &TrainingData,
        device: Device,
        stream: Option<CopyStream>,
    ) -> Result<Self, DatasetError> {
        Ok(Self {
            channels: data.channels(),
            thread: RefCell::new(Prefetch::start({
                let data = data.clone();
                move |requests, size, batch: &mut HostBatch| {
                    data.gather(requests, size, batch.as_mut())?;
                    if let Some(stream) = &stream {
                        batch.send(stream);
                    }
                    Ok(())
                }
            })?),
            device,
        })
    }

    /// Has patches gathered.
    pub(super) fn ask(&self, requests: Vec<PatchRequest>, size: PatchSize) {
        let memory = HostBatch::new(requests.len(), size, self.channels, self.device);
        self.thread.borrow_mut().ask(requests, size, memory);
    }

    /// The patches, if they are what was asked for; what was asked for before them is discarded.
    pub(super) fn take(
        &self,
        requests: &[PatchRequest],
        size: PatchSize,
    ) -> Result<Option<HostBatch>, DatasetError> {
        let mut thread = self.thread.borrow_mut();
        while let Some(found) = thread.take() {
            let found = found?;
            if found.size == size && found.requests == requests {
                return Ok(Some(found.buffer));
            }
        }
        Ok(None)
    }
}
