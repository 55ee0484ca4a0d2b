//! c10d, the engine of `torch.distributed`: a store by which processes find each other, and groups of processes that do
//! collective operations: Gloo between processors, NCCL between GPUs.
//!
//! One thread of a process issues all operations of a group, and every process issues the same ones in the same order.

mod process_group;
mod store;

pub use process_group::{Backend, ProcessGroup, Reduction, has_nccl};
pub use store::Store;

use std::time::Duration;

/// Milliseconds as c10d takes them; more than it can hold is as good as for ever.
fn milliseconds(duration: Duration) -> i64 {
    // A year: c10d adds it to a clock.
    const LONGEST: i64 = 365 * 24 * 3600 * 1000;
    i64::try_from(duration.as_millis()).map_or(LONGEST, |count| count.clamp(1, LONGEST))
}
