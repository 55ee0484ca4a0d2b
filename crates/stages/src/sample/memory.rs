//! How many images fit into memory at once.
//!
//! Sampling takes what one evaluation of the network takes, and the noise of stochastic steps, which is sampled ahead. The
//! former is found out by having it look at few images and at twice as many, and reading from Linux the most that was
//! resident; elsewhere, and on other devices than the processor, it is not known and nothing is bounded.

use patchwork_artifacts::resources::{free_memory_bytes, memory, peak_memory_bytes_of};

/// The share of the free memory that a batch may take: what is free changes while it is sampled.
const USABLE: f64 = 0.7;

/// The most that this process may still take, in bytes, if that is known: what the machine and its control group have
/// free, and what `limit` leaves.
pub(crate) fn free_bytes(limit: Option<u64>) -> Option<u64> {
    let own = limit
        .zip(memory())
        .map(|(limit, taken)| limit.saturating_sub(taken.resident_bytes));
    free_memory_bytes().into_iter().chain(own).min()
}

/// How many of `wished` images fit into `free` bytes, given what each takes: a multiple of `multiple`, or all.
fn fitting(wished: u32, multiple: u32, free: u64, each: u64) -> u32 {
    let most = (USABLE * free as f64) as u64 / u64::max(each, 1);
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    u32::min(wished, u32::max(most - most % multiple, multiple))
}

/// The largest batch of at most `wished` images that fits into `free` bytes; `try_out` evaluates the network on so
/// many images, which come in multiples of `multiple`, and each takes `noise` bytes beside that.
pub(super) fn fitting_batch(
    wished: u32,
    multiple: u32,
    free: u64,
    noise: u64,
    try_out: impl Fn(u32),
) -> u32 {
    if wished <= multiple {
        return wished;
    }
    // The first evaluation also takes what is made once.
    try_out(multiple);
    let peak = |images| peak_memory_bytes_of(|| try_out(images));
    let more = 2 * multiple;
    match (peak(multiple), peak(more)) {
        (Some(few), Some(many)) => {
            let each = many.saturating_sub(few) / u64::from(more - multiple);
            fitting(wished, multiple, free, each + noise)
        }
        _ => wished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_what_fits_and_never_too_few() {
        const MIB: u64 = 1 << 20;
        for (wished, free, expected) in [
            (64, 1000 * MIB, 64),
            (64, 100 * MIB, 4),
            (64, 180 * MIB, 12),
            (64, MIB, 4),
            (5, u64::MAX, 5),
            (2, 0, 2),
        ] {
            assert_eq!(fitting(wished, 4, free, 10 * MIB), expected);
        }
        // Too little to be seen is no reason to bound.
        assert_eq!(fitting(64, 4, MIB, 0), 64);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_limit_counts_what_the_process_has_already() {
        assert!(free_bytes(Some(1 << 50)).is_some_and(|free| free < 1 << 50));
    }
}
