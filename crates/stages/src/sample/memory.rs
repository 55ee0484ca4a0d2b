//! How many images fit into memory at once.
//!
//! Drawing takes what one evaluation of the network takes. That is found out by having it look at one image and at
//! two, and reading from Linux the most that was resident; elsewhere, and on other devices than the processor, it is
//! not known and nothing is bounded.

use patchwork_pipeline::resources::{memory_bytes, peak_memory_bytes_of};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The share of the free memory that a batch may take: what is free changes while it is drawn.
const USABLE: f64 = 0.7;

/// The most that this process may still take, in bytes: what the system has available, what its control group leaves,
/// and what `limit` leaves.
pub(super) fn free_bytes(limit: Option<u64>) -> u64 {
    let system = System::new_with_specifics(
        RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()),
    );
    let group = system.cgroup_limits().map(|group| group.free_memory);
    let limit = limit
        .zip(memory_bytes())
        .map(|(limit, taken)| limit.saturating_sub(taken));
    [Some(system.available_memory()), group, limit]
        .into_iter()
        .flatten()
        .fold(u64::MAX, u64::min)
}

/// How many of `wished` images fit into `free` bytes, given the peaks of one image and of two; at least one.
fn fitting(wished: u32, free: u64, peaks: [u64; 2]) -> u32 {
    let each = peaks[1].saturating_sub(peaks[0]);
    match (USABLE * free as f64) as u64 / u64::max(each, 1) {
        0 => 1,
        most => u32::try_from(most).map_or(wished, |most| u32::min(most, wished)),
    }
}

/// The largest batch of at most `wished` images that fits into `free` bytes; `try_out` evaluates the network on so
/// many images.
pub(super) fn fitting_batch(wished: u32, free: u64, try_out: impl Fn(i64)) -> u32 {
    if wished == 1 {
        return wished;
    }
    // The first evaluation also takes what is made once.
    try_out(1);
    let peak = |images| peak_memory_bytes_of(|| try_out(images));
    match (peak(1), peak(2)) {
        (Some(one), Some(two)) => fitting(wished, free, [one, two]),
        _ => wished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_fits_and_never_nothing() {
        const MIB: u64 = 1 << 20;
        let peaks = [300 * MIB, 310 * MIB];
        for (wished, free, expected) in [
            (64, 1000 * MIB, 64),
            (64, 100 * MIB, 7),
            (64, MIB, 1),
            (5, u64::MAX, 5),
        ] {
            assert_eq!(fitting(wished, free, peaks), expected);
        }
        // Too little to be seen is no reason to bound.
        assert_eq!(fitting(64, MIB, [300 * MIB; 2]), 64);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_a_batch_takes_is_found_out() {
        const EACH: usize = 20 << 20;
        let try_out = |images: i64| {
            let bytes = vec![1_u8; images as usize * EACH];
            std::hint::black_box(&bytes);
        };
        let batch = fitting_batch(64, 100 << 20, try_out);
        assert!((2..=4).contains(&batch), "{batch}");
        assert!(free_bytes(Some(1 << 50)) < 1 << 50);
    }
}
