//! Faults on purpose: in each process, the N-th operation that makes bytes permanent fails, or the process dies
//! right before it.
//!
//! Off unless `PATCHWORK_FAULT` says `fail:N` or `kill:N`, N from 1. Tests use it to stop at every write, sync and
//! rename in turn; see `tests/end_to_end/faults.rs`.

use std::io;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file_error::FileError;

/// The environment variable that asks for a fault.
pub const VARIABLE: &str = "PATCHWORK_FAULT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Fail(u64),
    Kill(u64),
}

impl Fault {
    fn parse(text: &str) -> Option<Self> {
        let (kind, number) = text.split_once(':')?;
        let number = number.parse().ok()?;
        match kind {
            "fail" => Some(Self::Fail(number)),
            "kill" => Some(Self::Kill(number)),
            _ => None,
        }
    }
}

/// Called before each operation; `action` and `path` are as in [`FileError::new`].
pub(crate) fn point(action: &'static str, path: &Path) -> Result<(), FileError> {
    static WISHED: OnceLock<Option<Fault>> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let wished = WISHED.get_or_init(|| Fault::parse(&std::env::var(VARIABLE).ok()?));
    let Some(fault) = wished else {
        return Ok(());
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    match fault {
        Fault::Fail(number) if count == *number => Err(FileError::new(
            action,
            path,
            io::Error::other(format!("fault {count}, which {VARIABLE} asked for")),
        )),
        Fault::Kill(number) if count == *number => std::process::abort(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::Fault;

    #[test]
    fn a_fault_is_a_kind_and_a_number() {
        assert_eq!(Fault::parse("fail:3"), Some(Fault::Fail(3)));
        assert_eq!(Fault::parse("kill:12"), Some(Fault::Kill(12)));
        assert_eq!(Fault::parse("kill"), None);
        assert_eq!(Fault::parse("stop:1"), None);
    }
}
