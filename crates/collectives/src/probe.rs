//! How fast a group is.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::{CollectiveError, Group, Reduction};

/// What an all-reduce costs in a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// The median time of an all-reduce of one number.
    pub latency: Duration,
    /// The median time of an all-reduce of [`Probe::bytes`].
    pub time: Duration,
    /// The size of the buffer.
    pub bytes: u64,
}

impl Probe {
    /// Bytes of the buffer in a second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.time.as_secs_f64()
    }
}

/// Times all-reduces of `elements` float32 numbers on a device, as a training of a network with as many weights does each
/// step. All ranks call it.
///
/// # Errors
/// As [`Group::all_reduce`]; also where a sum is wrong.
pub fn probe(group: &Group, elements: i64, device: Device) -> Result<Probe, CollectiveError> {
    let latency = median_time(group, 1, device, 101)?;
    let time = median_time(group, elements, device, 5)?;
    Ok(Probe {
        latency,
        time,
        bytes: 4 * elements.cast_unsigned(),
    })
}

fn median_time(
    group: &Group,
    elements: i64,
    device: Device,
    repeats: usize,
) -> Result<Duration, CollectiveError> {
    let ranks = f64::from(group.membership().ranks);
    let mut times = Vec::with_capacity(repeats);
    // The first one opens connections.
    for repeat in 0..=repeats {
        let mut tensor = Tensor::ones([elements], (Kind::Float, device));
        group.barrier()?;
        let begin = Instant::now();
        group.all_reduce(&mut [&mut tensor], Reduction::Sum)?;
        // Reading a number waits for a GPU.
        let sum = tensor.get(elements - 1).double_value(&[]);
        if repeat > 0 {
            times.push(begin.elapsed());
        }
        if (sum - ranks).abs() > 1e-6 {
            return Err(CollectiveError::WrongSum {
                expected: ranks,
                found: sum,
            });
        }
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}
