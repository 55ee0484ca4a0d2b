//! Failures that do not end a training.

use std::any::Any;
use std::error::Error;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::{Duration, Instant};

use patchwork_artifacts::failure::{says_device_failed, says_it_may_pass};
use patchwork_artifacts::worker::{Context, StageError};

/// How long to wait before a disk that took nothing is written to again, at first and at most; how long between two looks
/// for a wish to stop meanwhile.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
const LOOK: Duration = Duration::from_millis(500);

/// Between two warnings that training waits, at first and at most.
const REMINDERS: [Duration; 2] = [Duration::from_mins(5), Duration::from_hours(1)];

/// How long to keep waiting once asked to stop: less than clusters leave between asking and killing.
const LAST_WAIT: Duration = Duration::from_secs(20);

/// Does what training can do without. Its failure, a panic of libtorch's included, becomes a warning: none.
///
/// # Errors
/// [`StageError::Interrupted`] and [`StageError::Paused`] alone.
/// # Panics
/// Where the device failed: nothing can be computed on it in this process any more.
pub(crate) fn dispensable<T>(
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

/// Does a write that training cannot do without. While it fails, training waits with all that it has in memory, whatever the
/// disk says: it may be full, away, read-only or forbidden until somebody mends it. Not for long once asked to stop. `beat` is
/// called while it waits.
///
/// # Errors
/// Those of `work` that have nothing to do with files; [`StageError::Interrupted`] where it was asked to stop and the disk
/// still took nothing.
pub(crate) fn once_the_disk_takes_it<T>(
    context: &Context,
    beat: impl Fn(),
    work: impl FnMut() -> Result<T, StageError>,
) -> Result<T, StageError> {
    let mut asked_at: Option<Instant> = None;
    let warn = |text: String| context.warn(text);
    until_written(work, warn, |pause, error| {
        let failed_at = Instant::now();
        while failed_at.elapsed() < pause {
            beat();
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
        Ok(())
    })
}

/// Does a write again until it succeeds, or fails for another reason than files; `wait` gets how long to wait after a failure.
fn until_written<T>(
    mut work: impl FnMut() -> Result<T, StageError>,
    warn: impl Fn(String),
    mut wait: impl FnMut(Duration, &dyn Error) -> Result<(), StageError>,
) -> Result<T, StageError> {
    let begin = Instant::now();
    let [mut pause, longest_pause] = WAITS;
    let [mut reminder, longest_reminder] = REMINDERS;
    let mut warned_at: Option<Instant> = None;
    loop {
        let error = match work() {
            Err(StageError::Failed(error)) if is_of_files(&*error) => error,
            result => {
                if warned_at.is_some() && result.is_ok() {
                    warn("the disk takes what is written again".to_owned());
                }
                return result;
            }
        };
        match warned_at {
            None => {
                let most = longest_pause.as_secs();
                warn(format!(
                    "training waits for the disk, and tries again after {most} s at most: {error}\nhint: make it \
                     writable again, by space, a mount or permissions; nothing is lost as long as this process lives"
                ));
                warned_at = Some(Instant::now());
            }
            Some(moment) if moment.elapsed() >= reminder => {
                let minutes = begin.elapsed().as_secs() / 60;
                warn(format!(
                    "training has waited for the disk for {minutes} min: {error}"
                ));
                warned_at = Some(Instant::now());
                reminder = Duration::min(2 * reminder, longest_reminder);
            }
            Some(_) => {}
        }
        wait(pause, &*error)?;
        pause = Duration::min(2 * pause, longest_pause);
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
    use std::cell::RefCell;
    use std::path::Path;

    use patchwork_artifacts::failure::may_pass;
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
    fn a_write_is_waited_for_whatever_the_disk_says() {
        use io::ErrorKind::{Other, PermissionDenied, ReadOnlyFilesystem, StorageFull};
        let said = RefCell::new(Vec::new());
        let pauses = RefCell::new(Vec::new());
        let mut failures = vec![Other, PermissionDenied, StorageFull, ReadOnlyFilesystem];
        let write = || match failures.pop() {
            Some(kind) => Err(FileError::new("write", Path::new("x"), kind.into()).into()),
            None => Ok(7),
        };
        let warn = |text: String| said.borrow_mut().push(text);
        let written = until_written(write, warn, |pause, error| {
            pauses
                .borrow_mut()
                .push((pause.as_secs(), error.to_string()));
            Ok(())
        });
        assert_eq!(written.ok(), Some(7));
        let said = said.into_inner();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("waits for the disk") && said[0].contains("cannot write `x`"));
        assert!(said[1].contains("takes what is written again"));
        let pauses = pauses.into_inner();
        let seconds: Vec<u64> = pauses.iter().map(|(seconds, _)| *seconds).collect();
        assert_eq!(seconds, [1, 2, 4, 8]);

        // What has nothing to do with files is not tried again.
        let other = || Err::<(), _>(std::fmt::Error.into());
        let failed = until_written(other, |_| panic!(), |_, _| panic!());
        assert!(matches!(failed, Err(StageError::Failed(_))));
        // Whoever waits may give up.
        let full = || Err::<(), _>(io::Error::from(StorageFull).into());
        let stopped = until_written(full, |_| (), |_, _| Err(StageError::Interrupted));
        assert!(matches!(stopped, Err(StageError::Interrupted)));
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
