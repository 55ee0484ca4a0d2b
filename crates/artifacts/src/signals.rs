//! The signal of a connection that is gone.

use signal_hook::consts::SIGHUP;

/// Whether SIGHUP is ignored since this process began, as under `nohup`, and is left so; also where the system does
/// not report it.
pub fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").map_or(true, |status| ignores(&status, SIGHUP))
}

/// The line `SigIgn:` of proc_pid_status(5) is a mask in hexadecimal digits, with a bit a signal from 1.
fn ignores(status: &str, signal: i32) -> bool {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| (mask >> (signal - 1)) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_mask() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n";
        assert!(ignores(status, 1) && ignores(status, 13));
        assert!(!ignores(status, 2) && !ignores(status, 15));
        assert!(!ignores("Name:\tx\n", 1));
    }
}
