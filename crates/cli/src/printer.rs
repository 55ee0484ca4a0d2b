//! Shows a run on a thread of its own: a terminal that takes nothing, stopped by Ctrl-S or behind a connection that
//! hangs, must not hold the run up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use patchwork_pipeline::observer::{Observer, Update};

use crate::progress;

/// Updates that wait to be shown, above which progress is left out; what else there is to tell is rare.
const MOST_WAITING: usize = 64;

/// Hands a run's updates on to the thread that shows them.
pub(crate) struct Printer {
    updates: Sender<Update>,
    waiting: Arc<AtomicUsize>,
    /// Closes once everything is shown.
    shown: Receiver<()>,
}

impl Printer {
    pub(crate) fn start() -> Self {
        Self::start_with(progress::view)
    }

    fn start_with(view: impl FnOnce() -> Box<dyn Observer> + Send + 'static) -> Self {
        let (updates, received) = channel::<Update>();
        let (open, shown) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let waiting_there = Arc::clone(&waiting);
        std::thread::spawn(move || {
            let mut view = view();
            for update in received {
                view.update(update);
                waiting_there.fetch_sub(1, Ordering::Relaxed);
            }
            drop(open);
        });
        Self {
            updates,
            waiting,
            shown,
        }
    }

    /// Waits until everything is shown, though not for long.
    pub(crate) fn finish(self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        drop(self.updates);
        let _ = self.shown.recv_timeout(PATIENCE);
    }
}

impl Observer for Printer {
    fn update(&mut self, update: Update) {
        let is_progress = matches!(update, Update::StageProgress { .. });
        if is_progress && self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread takes updates as long as there is a printer.
        let _ = self.updates.send(update);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use patchwork_pipeline::protocol::Progress;

    use super::*;

    /// A terminal that takes nothing before it is told to, and says what it took.
    struct Stopped {
        go_on: Receiver<()>,
        took: Sender<Update>,
    }

    impl Observer for Stopped {
        fn update(&mut self, update: Update) {
            // Once it goes on, the channel is closed.
            let _ = self.go_on.recv();
            let _ = self.took.send(update);
        }
    }

    fn progress(done: u64) -> Update {
        Update::StageProgress {
            stage: "train".to_owned(),
            progress: Progress {
                done,
                total: 1000,
                resumed: 0,
                unit: "images".to_owned(),
                note: String::new(),
            },
        }
    }

    #[test]
    fn a_terminal_that_takes_nothing_holds_nobody_up_and_misses_progress_alone() {
        let (start, go_on) = channel();
        let (took, taken) = channel();
        let mut printer = Printer::start_with(move || Box::new(Stopped { go_on, took }));
        let begin = Instant::now();
        for done in 0..1000 {
            printer.update(progress(done));
        }
        for _ in 0..100 {
            printer.update(Update::Stopping);
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "it blocks");
        printer.finish();
        assert!(begin.elapsed() < Duration::from_secs(10), "it waits long");

        drop(start);
        let taken: Vec<Update> = taken.iter().collect();
        let stopping = |update: &&Update| matches!(update, Update::Stopping);
        assert_eq!(taken.iter().filter(stopping).count(), 100);
        assert!(taken.len() <= 100 + MOST_WAITING, "{}", taken.len());
    }

    #[test]
    fn everything_is_shown_before_the_printer_is_over() {
        let (start, go_on) = channel();
        let (took, taken) = channel();
        drop(start);
        let mut printer = Printer::start_with(move || Box::new(Stopped { go_on, took }));
        for done in 0..50 {
            printer.update(progress(done));
        }
        printer.finish();
        assert_eq!(taken.try_iter().count(), 50);
    }
}
