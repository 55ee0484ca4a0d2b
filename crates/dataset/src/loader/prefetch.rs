//! The next batch, gathered while the device computes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::patch::{PatchRequest, PatchSize};
use crate::error::DatasetError;

/// A batch that was asked for, and the memory that it was gathered into.
pub struct Fetched<B> {
    /// The patches, in the order of the buffer.
    pub requests: Vec<PatchRequest>,
    /// Their size.
    pub size: PatchSize,
    /// `[requests, channels, size.height, size.width]`, f32.
    pub buffer: B,
}

/// A thread that gathers the batches it is asked for, one after the other.
///
/// It is for a device that leaves the processor free; where the network runs on the processor itself, gathering
/// takes the same time from either thread. The thread ends when this is dropped.
pub struct Prefetch<B> {
    orders: SyncSender<Fetched<B>>,
    batches: Receiver<Result<Fetched<B>, DatasetError>>,
    waiting: usize,
}

impl<B: Send + 'static> Prefetch<B> {
    /// Starts the thread; `gather` copies patches of a size into a buffer, as [`ShardSet::gather`](super::ShardSet::gather)
    /// does, and may do more with it there.
    pub fn start(
        gather: impl Fn(&[PatchRequest], PatchSize, &mut B) -> Result<(), DatasetError> + Send + 'static,
    ) -> Result<Self, DatasetError> {
        const DEPTH: usize = 4;
        let (orders, next_order) = sync_channel::<Fetched<B>>(DEPTH);
        let (done, batches) = sync_channel(DEPTH);
        thread::Builder::new()
            .name("prefetch".to_owned())
            .spawn(move || {
                for mut order in next_order {
                    let gathered =
                        gather(&order.requests, order.size, &mut order.buffer).map(|()| order);
                    if done.send(gathered).is_err() {
                        break;
                    }
                }
            })
            .map_err(DatasetError::Thread)?;
        Ok(Self {
            orders,
            batches,
            waiting: 0,
        })
    }

    /// Asks for a batch; it is gathered into `buffer`.
    ///
    /// # Panics
    /// If four batches are asked for that have not been taken.
    pub fn ask(&mut self, requests: Vec<PatchRequest>, size: PatchSize, buffer: B) {
        let order = Fetched {
            requests,
            size,
            buffer,
        };
        assert!(
            self.orders.try_send(order).is_ok(),
            "at most four batches wait, and the thread lives as long as this"
        );
        self.waiting += 1;
    }

    /// The oldest batch that was asked for, as soon as it is there; none if all were taken.
    pub fn take(&mut self) -> Option<Result<Fetched<B>, DatasetError>> {
        self.waiting = self.waiting.checked_sub(1)?;
        let batch = self.batches.recv();
        Some(batch.expect("the thread answers every order and ends after the last"))
    }
}
