//! Failures that do not end a training.

use std::any::Any;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::{Duration, Instant};

use patchwork_artifacts::failure::{may_pass, says_device_failed, says_it_may_pass};
use patchwork_artifacts::worker::{Context, StageError};

/// How long to wait before a disk that took nothing is written to again, and between two looks for a wish to stop meanwhile.
const WAIT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(500);

/// How long to keep waiting once asked to stop: less than clusters leave between asking and killing.
const LAST_WAIT: Duration = Duration::from_secs(20);

/// Does what training can do without. Its failure, a panic of libtorch's included, becomes a warning: none.
///
/// # Errors
/// [`StageError::Interrupted`] and [`StageError::Paused`] alone.
/// # Panics
/// Where the device failed: nothing can be computed on it in this process any more.
pub(super) fn dispensable<T>(
    context: &Context,
    what: &str,
    work: impl FnOnce() -> Result<T, StageError>,
) -> Result<Option<T>, StageError> {
    or_warning(context, what, caught(work))
}

/// The same at the end of training, which then is to be kept whatever comes of it: a failure of files or for lack of memory
/// counts, since it may pass; any other becomes a warning: none.
///
/// # Errors
/// [`StageError::Interrupted`], [`StageError::Paused`], and failures of files.
/// # Panics
/// For lack of memory, and where the device failed.
pub(super) fn dispensable_at_last<T>(
    context: &Context,
    what: &str,
    work: impl FnOnce() -> Result<T, StageError>,
) -> Result<Option<T>, StageError> {
    match caught(work) {
        Ok(Err(StageError::Failed(error))) if is_of_files(&*error) => {
            Err(StageError::Failed(error))
        }
        Err(panic) if says_it_may_pass(&panic) => panic!("{panic}"),
        done => or_warning(context, what, done),
    }
}

/// What came of something that training can do without: none after a failure, which becomes a warning.
fn or_warning<T>(
    context: &Context,
    what: &str,
    done: Result<Result<T, StageError>, String>,
) -> Result<Option<T>, StageError> {
    let problem = match done {
        Ok(Ok(value)) => return Ok(Some(value)),
        Ok(Err(StageError::Failed(error))) => error.to_string(),
        Ok(Err(stop)) => return Err(stop),
        Err(panic) if says_device_failed(&panic) => panic!("{panic}"),
        Err(panic) => panic,
    };
    context.warn(format!(
        "{what} failed ({problem}); training continues without it"
    ));
    Ok(None)
}

/// Does what training cannot do without; where the disk is full or does not answer it waits, and not for long once asked to
/// stop.
///
/// # Errors
/// Those of `work`; [`StageError::Interrupted`] where it was asked to stop and the disk still took nothing.
pub(super) fn once_the_disk_takes_it<T>(
    context: &Context,
    mut work: impl FnMut() -> Result<T, StageError>,
) -> Result<T, StageError> {
    let mut is_told = false;
    let mut asked_at: Option<Instant> = None;
    loop {
        let error = match work() {
            Err(StageError::Failed(error)) if may_pass(&*error) => error,
            result => {
                if is_told {
                    context.warn("the disk takes what is written again".to_owned());
                }
                return result;
            }
        };
        if !is_told {
            context.warn(format!("training waits for the disk: {error}"));
            is_told = true;
        }
        let failed_at = Instant::now();
        while failed_at.elapsed() < WAIT {
            if context.is_interrupted() {
                let asked_at = *asked_at.get_or_insert_with(Instant::now);
                if asked_at.elapsed() >= LAST_WAIT {
                    context.warn(format!(
                        "asked to stop while the disk takes nothing; what was trained since the last checkpoint is lost: {error}"
                    ));
                    return Err(StageError::Interrupted);
                }
            }
            sleep(LOOK);
        }
    }
}

/// Whether an error goes back to reading or writing.
pub(super) fn is_of_files(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<io::Error>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The result of `work`, or what its panic said. The worker's own hook would report the panic as the failure of the stage.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    // A panic within `tch::no_grad` leaves gradients off for the thread; the guard remembers that they were on.
    let gradients = tch::no_grad_guard();
    let result = catch_unwind(AssertUnwindSafe(|| tch::with_grad(work)));
    drop(gradients);
    std::panic::set_hook(hook);
    result.map_err(|panic| message(&*panic))
}

/// What a panic said.
fn message(panic: &dyn Any) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use patchwork_core::FileError;
    use patchwork_networks::NetworkError;
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn a_full_disk_is_known_whatever_wraps_it() {
        let wrapped = |kind| {
            let source = io::Error::from(kind);
            NetworkError::from(FileError::new("write", Path::new("x"), source))
        };
        let full = wrapped(io::ErrorKind::StorageFull);
        let other = wrapped(io::ErrorKind::PermissionDenied);
        assert!(may_pass(&full) && is_of_files(&full));
        assert!(!may_pass(&other) && is_of_files(&other));
        assert!(!is_of_files(&std::fmt::Error));
    }

    #[test]
    fn a_panic_is_caught_with_its_words() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(
            caught(|| panic!("{} is not a side", 7)),
            Err::<(), _>("7 is not a side".to_owned())
        );
        // Gradients are computed after it as before.
        assert!(caught(|| tch::no_grad(|| panic!("in vain"))).is_err());
        let weight = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        (&weight * 2.0).sum(Kind::Float).backward();
        assert_eq!(weight.grad().double_value(&[0]).to_string(), "2");
    }
}
