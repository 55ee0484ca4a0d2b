//! What an error says, and whether it may pass.

use std::error::Error;
use std::io;

use rustix::io::Errno;

/// The number of causes of an error that are reported, and the number of characters of each.
const MOST_CAUSES: usize = 32;
const MOST_CHARACTERS: usize = 4000;

/// What libtorch adds to an error: the addresses of its own functions.
const BACKTRACE: &str = "\nException raised from ";

/// The error and its causes, outermost first, as far as a person reads them.
pub fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next.filter(|_| chain.len() < MOST_CAUSES) {
        let text = readable(&error.to_string());
        // An error that shows its cause's text within its own needs no second line for it.
        if chain.last().is_none_or(|outer| !outer.contains(&text)) {
            chain.push(text);
        }
        next = error.source();
    }
    chain
}

/// An error of which whoever met it knows that it may pass.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Passing(pub Box<dyn Error + Send + Sync>);

/// A message without what only a debugger reads, and without an end where it has none: it may quote a file's content.
fn readable(text: &str) -> String {
    let text = text.split(BACKTRACE).next().unwrap_or_default();
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!(
            "{} … ({} characters in all)",
            &text[..end],
            text.chars().count()
        ),
        None => text.to_owned(),
    }
}

/// Whether the cause is a full disk or quota, where there may be room later, or a disk or file server that does not answer
/// now; or whoever met it says so ([`Passing`]).
///
/// The cause is the system's own error: what stands around it may be skipped on the way there, as
/// `#[error(transparent)]` does.
pub fn may_pass(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<Passing>() {
            return true;
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && (is_passing(error) || error.get_ref().is_some_and(|inner| may_pass(inner)))
        {
            return true;
        }
        next = error.source();
    }
    false
}

/// How libtorch and the libraries below it report that a device is out of memory. cuBLAS cannot be set up for want of
/// memory; an out-of-memory that a convolution met while it looked for an algorithm comes out as none found.
const OUT_OF_MEMORY: [&str; 6] = [
    "can't allocate memory",
    "out of memory",
    "ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
    "was unable to find an engine to execute this computation",
];

/// How they say that a device failed. After such an error, unless it was out of memory, CUDA refuses all further work
/// of the process.
const DEVICE_FAILED: [&str; 3] = ["CUDA error", "CUDA driver error", "cuDNN error"];

/// Whether an error of libtorch means that there is not enough memory now. The device can be used after it.
pub fn says_out_of_memory(text: &str) -> bool {
    OUT_OF_MEMORY.iter().any(|words| text.contains(words))
}

/// Whether an error of libtorch means that this process cannot use the device any more.
pub fn says_device_failed(text: &str) -> bool {
    !says_out_of_memory(text) && DEVICE_FAILED.iter().any(|words| text.contains(words))
}

/// Whether an error of libtorch names a cause that another process may not meet: memory that others hold now, a device that
/// was lost. "cuDNN Frontend error" is not among them: there is no algorithm for the computation, now or later.
pub fn says_it_may_pass(text: &str) -> bool {
    says_out_of_memory(text) || says_device_failed(text)
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
        assert!(may_pass(&Passing("the device was lost".into())));
        let denied = Outer::from(Inner::from(file_error(io::ErrorKind::PermissionDenied)));
        assert!(!may_pass(&denied));
    }

    #[test]
    fn errors_of_a_device_are_recognised() {
        // (text, out of memory, device failed)
        let cases = [
            (
                "CUDA out of memory. Tried to allocate 2.00 GiB",
                true,
                false,
            ),
            ("CUDA error: out of memory", true, false),
            ("CUDA driver error: out of memory", true, false),
            (
                "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
                true,
                false,
            ),
            (
                "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
                true,
                false,
            ),
            (
                "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
                true,
                false,
            ),
            (
                "GET was unable to find an engine to execute this computation",
                true,
                false,
            ),
            (
                "FIND was unable to find an engine to execute this computation",
                true,
                false,
            ),
            (
                "CUDA error: an illegal memory access was encountered",
                false,
                true,
            ),
            ("CUDA driver error: unknown error", false, true),
            ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", false, true),
            (
                "cuDNN Frontend error: [cudnn_frontend] Error: No valid execution plans built.",
                false,
                false,
            ),
            (
                "The size of tensor a (3) must match the size of tensor b (4)",
                false,
                false,
            ),
        ];
        for (text, out_of_memory, device_failed) in cases {
            assert_eq!(says_out_of_memory(text), out_of_memory, "{text}");
            assert_eq!(says_device_failed(text), device_failed, "{text}");
            assert_eq!(
                says_it_may_pass(text),
                out_of_memory || device_failed,
                "{text}"
            );
        }
    }

    #[test]
    fn a_message_has_an_end_and_no_backtrace() {
        let long = readable(&"x".repeat(1 << 20));
        assert!(
            long.len() < 5000 && long.ends_with("(1048576 characters in all)"),
            "{long}"
        );
        let torch = "size mismatch\nException raised from f at /a.cpp:1 (most recent call first):\nframe #0: 0x1";
        assert_eq!(readable(torch), "size mismatch");
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
