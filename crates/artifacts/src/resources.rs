//! What this process has used of the machine, as Linux reports it; elsewhere nothing is known.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::event::Event;

/// The highest peak that [`peak_memory_bytes_of`] made the system forget.
static EARLIER_PEAK: AtomicU64 = AtomicU64::new(0);

/// How often a worker reports it.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The report of this process, if the system gives one.
pub(crate) fn report() -> Option<Event> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let peak = kibibytes(&status()?, "VmHWM:")?;
    Some(Event::Resources {
        cpu_seconds: cpu_seconds(&stat, rustix::param::clock_ticks_per_second())?,
        peak_memory_bytes: u64::max(peak, EARLIER_PEAK.load(Ordering::Relaxed)),
    })
}

/// The most memory of this process that is resident at once while `work` is done, in bytes, if the system reports it.
pub fn peak_memory_bytes_of(work: impl FnOnce()) -> Option<u64> {
    const FORGET_THE_PEAK: &str = "5";
    let earlier = kibibytes(&status()?, "VmHWM:")?;
    EARLIER_PEAK.fetch_max(earlier, Ordering::Relaxed);
    // proc_pid_clear_refs(5)
    std::fs::write("/proc/self/clear_refs", FORGET_THE_PEAK).ok()?;
    work();
    kibibytes(&status()?, "VmHWM:")
}

fn status() -> Option<String> {
    std::fs::read_to_string("/proc/self/status").ok()
}

/// Memory of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What is resident now.
    pub resident_bytes: u64,
    /// The most that was resident at once.
    pub peak_bytes: u64,
}

/// The memory of this process, if the system reports it.
pub fn memory() -> Option<Memory> {
    let status = status()?;
    Some(Memory {
        resident_bytes: kibibytes(&status, "VmRSS:")?,
        peak_bytes: u64::max(
            kibibytes(&status, "VmHWM:")?,
            EARLIER_PEAK.load(Ordering::Relaxed),
        ),
    })
}

/// Memory that this process may still take, as the machine and its control group (cgroups(7), either version) report it.
/// Files that the system keeps in memory give way.
pub fn free_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = kibibytes(&text, "MemAvailable:")?;
    let groups = [
        ["memory.max", "memory.current", "memory.stat"]
            .map(|file| format!("/sys/fs/cgroup/{file}")),
        [
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "memory.stat",
        ]
        .map(|file| format!("/sys/fs/cgroup/memory/{file}")),
    ];
    let group = groups.into_iter().filter_map(|files| {
        let [limit, used, stat] = files.map(|file| std::fs::read_to_string(file).ok());
        free_in_group(&limit?, &used?, &stat.unwrap_or_default())
    });
    group.chain([machine]).min()
}

/// From the limit of a control group, what it uses, and what that consists of.
fn free_in_group(limit: &str, used: &str, stat: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let bytes = |key: &str| -> Option<u64> {
        let mut entries = stat.lines().filter_map(|line| line.split_once(' '));
        entries.find(|(name, _)| *name == key)?.1.parse().ok()
    };
    // With the groups below it: version 1 has that sum under a name of its own.
    let files: u64 = ["inactive_file", "active_file"]
        .iter()
        .filter_map(|key| bytes(&format!("total_{key}")).or_else(|| bytes(key)))
        .sum();
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

/// Processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Those that this process may run on.
    pub own: usize,
    /// Those that the first process of the machine or container may run on: all that there are.
    pub all: usize,
}

/// The processors of this process and of its machine, if the system reports them.
pub fn cores() -> Option<Cores> {
    let all = std::fs::read_to_string("/proc/1/status").ok();
    let all = all.as_deref().and_then(allowed_cores).or_else(|| {
        // Some machines hide the processes of others.
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
        listed(online.ok()?.trim())
    });
    Some(Cores {
        own: allowed_cores(&status()?)?,
        all: all?,
    })
}

/// `Cpus_allowed_list: 0-3,8` (proc_pid_status(5)).
fn allowed_cores(status: &str) -> Option<usize> {
    let mut lines = status.lines();
    listed(
        lines
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?
            .trim(),
    )
}

/// How many numbers a list such as `0-3,8` has (cpuset(7)).
fn listed(list: &str) -> Option<usize> {
    list.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let [first, last] = [first, last].map(|number| number.parse::<usize>().ok());
            Some((last? + 1).saturating_sub(first?))
        })
        .sum()
}

/// A line such as `VmHWM:    1234 kB` (proc_pid_status(5), proc_meminfo(5)) in bytes.
fn kibibytes(account: &str, key: &str) -> Option<u64> {
    let line = account.lines().find(|line| line.starts_with(key))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Fields 14 and 15, utime and stime in clock ticks (proc_pid_stat(5)); the second field, a name in brackets, may
/// hold spaces.
fn cpu_seconds(stat: &str, ticks_per_second: u64) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / ticks_per_second as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linux_accounts_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 2 0 9 9 9 9";
        assert_eq!(cpu_seconds(stat, 100), Some(2.0));
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t   12 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(12 * 1024));
        assert_eq!(kibibytes("Name: x", "VmHWM:"), None);
    }

    #[test]
    fn processors_are_counted() {
        let status = "Cpus_allowed:\tf,00000001\nCpus_allowed_list:\t0,32-35\nMems_allowed:\t1\n";
        assert_eq!(allowed_cores(status), Some(5));
        assert_eq!(listed("7"), Some(1));
        assert_eq!(listed(""), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_has_some_of_the_machines_processors() {
        let Cores { own, all } = cores().unwrap();
        assert!(own >= 1 && all >= own, "{own} of {all}");
    }

    #[test]
    fn files_in_memory_count_as_free() {
        let second = "anon 500\nfile 300\ninactive_file 200\nactive_file 100\n";
        let first =
            "inactive_file 1\nactive_file 1\ntotal_inactive_file 200\ntotal_active_file 100\n";
        for stat in [second, first] {
            assert_eq!(free_in_group("1000\n", "950\n", stat), Some(350));
        }
        assert_eq!(free_in_group("1000\n", "950\n", ""), Some(50));
        assert_eq!(free_in_group("max\n", "950\n", second), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_peak_is_that_of_the_work_and_no_peak_is_forgotten() {
        let take = |bytes: usize| {
            std::hint::black_box(vec![1_u8; bytes]);
        };
        take(200 << 20);
        let peak = peak_memory_bytes_of(|| take(50 << 20)).unwrap();
        assert!(peak < 200 << 20 && peak > 50 << 20, "{peak}");
        let Some(Event::Resources {
            peak_memory_bytes, ..
        }) = report()
        else {
            panic!("Linux reports it")
        };
        assert!(peak_memory_bytes > 200 << 20);
    }
}
