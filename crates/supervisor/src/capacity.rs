//! What a machine has for stages, and whether another stage fits beside those at work.

use patchwork_artifacts::spec::{Demand, StageSpec};

use crate::error::PipelineError;

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    cpus: usize,
    /// None where the system does not tell.
    memory_bytes: Option<u64>,
}

impl Capacity {
    pub(crate) fn of_this_machine() -> Self {
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: total_memory(),
        }
    }

    /// Refuses a stage that no waiting would make fit.
    pub(crate) fn check(&self, stages: &[StageSpec]) -> Result<(), PipelineError> {
        let Some(available) = self.memory_bytes else {
            return Ok(());
        };
        let too_large = stages.iter().find_map(|stage| {
            let wanted = stage.demand.memory_bytes?;
            (wanted > available).then(|| (stage.name.clone(), wanted))
        });
        match too_large {
            Some((stage, wanted)) => Err(PipelineError::TooLittleMemory {
                stage,
                wanted_gib: gibibytes(wanted),
                available_gib: gibibytes(available),
            }),
            None => Ok(()),
        }
    }

    /// Whether a stage may start beside those at work. Where none is at work, it may.
    pub(crate) fn has_room(&self, at_work: &[&Demand], next: &Demand) -> bool {
        if at_work.is_empty() {
            return true;
        }
        let cpus = |demand: &Demand| demand.cpus.unwrap_or(self.cpus).min(self.cpus);
        let taken: usize = at_work.iter().copied().map(cpus).sum();
        let memory: u64 = at_work
            .iter()
            .filter_map(|demand| demand.memory_bytes)
            .chain(next.memory_bytes)
            .sum();
        let shares_a_device = |other: &&Demand| {
            let pairs = |device| other.devices.iter().map(move |taken| (device, taken));
            let mut pairs = next.devices.iter().flat_map(pairs);
            pairs.any(|(device, taken)| {
                device == taken
                    || [device, taken]
                        .iter()
                        .any(|name| *name == Demand::EVERY_GPU)
            })
        };
        taken + cpus(next) <= self.cpus
            && self
                .memory_bytes
                .is_none_or(|available| memory <= available)
            && !at_work.iter().any(shares_a_device)
    }
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// `MemTotal:       16384 kB` (proc_meminfo(5)).
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn demand(cpus: usize, memory: u64, devices: &[&str]) -> Demand {
        Demand {
            cpus: Some(cpus),
            memory_bytes: Some(memory * GIB),
            devices: devices.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn stages_share_cores_and_memory_and_never_a_device() {
        let machine = Capacity {
            cpus: 8,
            memory_bytes: Some(16 * GIB),
        };
        let at_work = [&demand(4, 8, &["cuda:0", "cuda:1"])];
        assert!(machine.has_room(&at_work, &demand(4, 8, &["cuda:2"])));
        assert!(machine.has_room(&at_work, &demand(4, 8, &[])));
        assert!(!machine.has_room(&at_work, &demand(5, 1, &[])));
        assert!(!machine.has_room(&at_work, &demand(1, 9, &[])));
        assert!(!machine.has_room(&at_work, &demand(1, 1, &["cuda:1"])));
        // A launcher may take any of them.
        let launched = demand(1, 1, &[Demand::EVERY_GPU]);
        assert!(!machine.has_room(&at_work, &launched));
        assert!(!machine.has_room(&[&launched], &demand(1, 1, &["cuda:2"])));
        assert!(machine.has_room(&[&launched], &demand(1, 1, &[])));
        // Nothing said is the whole machine's cores, and more than there is waits for all others.
        assert!(!machine.has_room(&at_work, &Demand::default()));
        assert!(machine.has_room(&[], &demand(64, 1, &[])));
    }
}
