//! Prints for a command that carries out runs, on a thread of its own: a terminal or a pipe that takes nothing, stopped by
//! Ctrl-S or behind a connection that hangs, must not hold a run up, nor keep the next one from its start.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use patchwork_supervisor::observer::{Observer, Update};

use crate::error::CliError;
use crate::output::lines::remark;
use crate::progress;

/// What waits to be printed, above which progress is left out; anything else is rare.
const MOST_WAITING: usize = 64;

/// What the thread prints.
enum Message {
    Update(Update),
    Remark(String),
    /// The next of the results.
    Result,
}

/// Hands what a command reports to the thread that prints it.
pub(crate) struct Printer {
    /// None once everything is handed over.
    messages: Option<Sender<Message>>,
    waiting: Arc<AtomicUsize>,
    results: Arc<Results>,
    /// Closes once everything is printed.
    printed: Receiver<()>,
}

impl Printer {
    pub(crate) fn start() -> Self {
        Self::start_with(progress::view, Box::new(io::stdout()))
    }

    fn start_with(
        view: impl FnOnce() -> Box<dyn Observer> + Send + 'static,
        output: Box<dyn Write + Send>,
    ) -> Self {
        let (messages, received) = channel::<Message>();
        let (open, printed) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let results = Arc::new(Results::new(output));
        let (waiting_there, results_there) = (Arc::clone(&waiting), Arc::clone(&results));
        std::thread::spawn(move || {
            let mut view = view();
            for message in received {
                match message {
                    Message::Update(update) => view.update(update),
                    Message::Remark(text) => remark(&text),
                    Message::Result => results_there.print(),
                }
                waiting_there.fetch_sub(1, Ordering::Relaxed);
            }
            drop(open);
        });
        Self {
            messages: Some(messages),
            waiting,
            results,
            printed,
        }
    }

    /// Prints a part of the result, one line or several.
    pub(crate) fn result(&self, text: String) {
        self.results.add(text);
        self.send(Message::Result);
    }

    /// Prints a remark that is not a result.
    pub(crate) fn remark(&self, text: String) {
        self.send(Message::Remark(text));
    }

    /// Waits until everything is printed: the results as long as it takes, the rest not for long.
    ///
    /// # Errors
    /// The first one that printing a result met; those after it were not printed.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        self.end();
        // Standard error may take nothing while somebody waits for the results.
        self.results.print();
        let error = lock(&self.results.output).error.take();
        error.map_or(Ok(()), |error| Err(CliError::Print(error)))
    }

    fn send(&self, message: Message) {
        if let Some(sender) = &self.messages {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // The thread takes what it is handed as long as there is a printer.
            let _ = sender.send(message);
        }
    }

    fn end(&mut self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let was_open = self.messages.take().is_some();
        if was_open {
            let _ = self.printed.recv_timeout(PATIENCE);
        }
    }
}

/// A command that fails on its way has reported something before.
impl Drop for Printer {
    fn drop(&mut self) {
        self.end();
    }
}

impl Observer for Printer {
    fn update(&mut self, update: Update) {
        let is_progress = matches!(update, Update::StageProgress { .. });
        if is_progress && self.waiting.load(Ordering::Relaxed) >= MOST_WAITING {
            return;
        }
        self.send(Message::Update(update));
    }
}

/// Results on their way to standard output.
struct Results {
    waiting: Mutex<VecDeque<String>>,
    output: Mutex<Output>,
}

struct Output {
    writer: Box<dyn Write + Send>,
    error: Option<io::Error>,
}

impl Results {
    fn new(writer: Box<dyn Write + Send>) -> Self {
        Self {
            waiting: Mutex::default(),
            output: Mutex::new(Output {
                writer,
                error: None,
            }),
        }
    }

    fn add(&self, text: String) {
        lock(&self.waiting).push_back(text);
    }

    /// Prints those that wait. The output is held before one is taken, so that who comes second finds it printed.
    fn print(&self) {
        let mut output = lock(&self.output);
        loop {
            let next = lock(&self.waiting).pop_front();
            let Some(text) = next else { return };
            if output.error.is_none() {
                let written = writeln!(output.writer, "{text}");
                output.error = written.err();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use patchwork_artifacts::event::Progress;

    use super::*;

    /// A terminal that takes nothing before it is allowed to, and says what it took.
    struct Stopped<T> {
        go_on: Receiver<()>,
        took: Sender<T>,
    }

    impl<T> Stopped<T> {
        fn take(&mut self, what: T) {
            // Once it continues, the channel is closed.
            let _ = self.go_on.recv();
            let _ = self.took.send(what);
        }
    }

    impl Observer for Stopped<Update> {
        fn update(&mut self, update: Update) {
            self.take(update);
        }
    }

    impl Write for Stopped<u8> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            for byte in bytes {
                self.take(*byte);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that is gone.
    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Something stopped; the sender's end makes it continue, and the receiver gives what it took.
    fn stopped<T>() -> (Sender<()>, Stopped<T>, Receiver<T>) {
        let (start, go_on) = channel();
        let (took, taken) = channel();
        (start, Stopped { go_on, took }, taken)
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
        let (start, terminal, taken) = stopped::<Update>();
        let (open, output, results) = stopped::<u8>();
        drop(open);
        let mut printer = Printer::start_with(move || Box::new(terminal), Box::new(output));
        let begin = Instant::now();
        for done in 0..1000 {
            printer.update(progress(done));
        }
        for _ in 0..100 {
            printer.update(Update::Stopping);
        }
        printer.result("done".to_owned());
        assert!(begin.elapsed() < Duration::from_secs(1), "it blocks");
        printer.finish().unwrap();
        assert!(begin.elapsed() < Duration::from_secs(10), "it waits long");
        let results: Vec<u8> = results.try_iter().collect();
        assert_eq!(results, b"done\n", "standard output is another place");

        drop(start);
        let taken: Vec<Update> = taken.iter().collect();
        let stopping = |update: &&Update| matches!(update, Update::Stopping);
        assert_eq!(taken.iter().filter(stopping).count(), 100);
        assert!(taken.len() <= 100 + MOST_WAITING, "{}", taken.len());
    }

    #[test]
    fn everything_is_shown_before_the_printer_is_over() {
        let (start, terminal, taken) = stopped::<Update>();
        drop(start);
        let mut printer = Printer::start_with(move || Box::new(terminal), Box::new(io::sink()));
        for done in 0..50 {
            printer.update(progress(done));
        }
        printer.finish().unwrap();
        assert_eq!(taken.try_iter().count(), 50);
    }

    #[test]
    fn results_wait_for_their_reader_who_holds_nobody_up_before_the_end() {
        let (open, terminal, _shown) = stopped::<Update>();
        drop(open);
        let (start, output, taken) = stopped::<u8>();
        let printer = Printer::start_with(move || Box::new(terminal), Box::new(output));
        let begin = Instant::now();
        for number in 0..3 {
            printer.result(number.to_string());
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "it blocks");
        let end = std::thread::spawn(move || printer.finish().is_ok());
        std::thread::sleep(Duration::from_secs(3));
        assert!(!end.is_finished(), "results are lost");
        drop(start);
        assert!(end.join().unwrap());
        let taken: Vec<u8> = taken.try_iter().collect();
        assert_eq!(taken, b"0\n1\n2\n");
    }

    #[test]
    fn a_reader_that_is_gone_is_reported_at_the_end() {
        let (open, terminal, shown) = stopped::<Update>();
        drop(open);
        let mut printer = Printer::start_with(move || Box::new(terminal), Box::new(Gone));
        printer.result("first".to_owned());
        printer.update(Update::Stopping);
        printer.result("second".to_owned());
        let Err(CliError::Print(error)) = printer.finish() else {
            panic!("it was not printed")
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(shown.try_iter().count(), 1);
    }
}
