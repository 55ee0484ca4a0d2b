//! What rank 0 does alone while the others wait.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use patchwork_libtorch::LibtorchError;
use patchwork_libtorch::distributed::Store;

/// How often rank 0 shows that it is alive.
const BEAT: Duration = Duration::from_millis(200);

fn done(number: u64) -> String {
    format!("solo/{number}/done")
}

fn alive(number: u64) -> String {
    format!("solo/{number}/alive")
}

/// Rank 0's side: does the work, with signs of life beside it.
pub(crate) fn perform<T>(store: &Store, number: u64, work: impl FnOnce() -> T) -> T {
    let (working, over) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while over.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                // A store that is lost is noticed in the next operation.
                let _ = store.add(&alive(number), 1);
            }
            let _ = store.set(&done(number), b"");
        });
        // Dropped when the work is done, and also when it panics.
        let _working = working;
        work()
    })
}

/// The others' side: waits for the end of the work, or for `timeout` without a sign of life.
pub(crate) fn wait(
    store: &Arc<Store>,
    number: u64,
    timeout: Duration,
) -> Result<(), LibtorchError> {
    let (news, heard) = channel();
    let store = Arc::clone(store);
    // A store whose server is stopped answers never: the thread is left behind then.
    thread::spawn(move || {
        loop {
            if store.get(&done(number), BEAT).is_ok() {
                let _ = news.send(Ok(None));
                return;
            }
            let count = store.add(&alive(number), 0);
            let is_lost = count.is_err();
            if news.send(count.map(Some)).is_err() || is_lost {
                return;
            }
        }
    });
    let mut last = (0, Instant::now());
    loop {
        let left = timeout.saturating_sub(last.1.elapsed());
        match heard.recv_timeout(left) {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(count))) if count > last.0 => last = (count, Instant::now()),
            Ok(Ok(Some(_))) if last.1.elapsed() < timeout => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(Some(_))) | Err(_) => {
                return Err(LibtorchError::new(format!(
                    "no sign of life for {:.0} s",
                    timeout.as_secs_f64()
                )));
            }
        }
    }
}
