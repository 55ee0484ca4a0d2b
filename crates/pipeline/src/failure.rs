//! What an error says, and whether it may pass.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// The error and its causes, outermost first.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // An error that shows its cause's text within its own needs no second line for it.
        if chain.last().is_none_or(|outer| !outer.contains(&text)) {
            chain.push(text);
        }
        next = error.source();
    }
    chain
}

/// Whether the cause is a full disk or quota, where there may be room later, or a disk or file server that does not answer
/// now.
///
/// The cause is the system's own error: what stands around it may be skipped on the way there, as
/// `#[error(transparent)]` does.
pub fn may_pass(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && (is_passing(error) || error.get_ref().is_some_and(|inner| may_pass(inner)))
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// Whether an error of libtorch's tells of what another process may not meet: memory that others hold now, a device that
/// was lost.
pub fn says_it_may_pass(text: &str) -> bool {
    [
        "can't allocate memory",
        "out of memory",
        "CUDA error",
        "cuDNN error",
        "cuDNN Frontend error",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn is_passing(error: &io::Error) -> bool {
    // EIO is what soft mounts give, and disks that were pulled out.
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
        || matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::StaleNetworkFileHandle
                | io::ErrorKind::TimedOut
                | io::ErrorKind::NotConnected
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
        )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use patchwork_core::FileError;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Inner {
        #[error(transparent)]
        File(#[from] FileError),
    }

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error(transparent)]
        Inner(#[from] Inner),
        #[error("the shard cannot be written")]
        Shard(#[source] Inner),
    }

    fn file_error(kind: io::ErrorKind) -> FileError {
        FileError::new("write", Path::new("shard"), kind.into())
    }

    #[test]
    fn a_full_or_absent_disk_passes_whatever_stands_around_it() {
        for kind in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::StaleNetworkFileHandle,
        ] {
            let inner = || Inner::from(file_error(kind));
            let errors: [Box<dyn Error>; 6] = [
                Box::new(io::Error::from(kind)),
                Box::new(io::Error::other(io::Error::from(kind))),
                Box::new(io::Error::other(inner())),
                Box::new(file_error(kind)),
                Box::new(Outer::from(inner())),
                Box::new(Outer::Shard(inner())),
            ];
            for error in errors {
                assert!(may_pass(error.as_ref()), "{error:?}");
            }
        }
        assert!(may_pass(&io::Error::from(Errno::IO)));
        let denied = Outer::from(Inner::from(file_error(io::ErrorKind::PermissionDenied)));
        assert!(!may_pass(&denied));
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = Outer::Shard(file_error(io::ErrorKind::StorageFull).into());
        let chain = chain(&error);
        assert_eq!(chain.len(), 2, "{chain:?}");
        assert_eq!(chain[0], "the shard cannot be written");
        assert!(chain[1].starts_with("cannot write `shard`"), "{chain:?}");
    }
}
