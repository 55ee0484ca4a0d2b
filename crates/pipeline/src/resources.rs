//! What this process has taken of the machine, as Linux tells it; elsewhere nothing is told.

use std::time::Duration;

use crate::protocol::Event;

/// How often a worker tells it.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The report of this process, if the system gives one.
pub(crate) fn report() -> Option<Event> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    Some(Event::Resources {
        cpu_seconds: cpu_seconds(&stat, rustix::param::clock_ticks_per_second())?,
        peak_memory_bytes: peak_memory_bytes(&status)?,
    })
}

/// `VmHWM:    1234 kB` (proc_pid_status(5)).
fn peak_memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
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
        assert_eq!(peak_memory_bytes(status), Some(12 * 1024));
        assert_eq!(peak_memory_bytes("Name: x"), None);
    }
}
