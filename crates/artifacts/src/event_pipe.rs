//! The worker's end of the pipe to the supervisor.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use patchwork_core::FileError;

use crate::event::Event;

/// The file descriptor on which a worker reports.
pub const EVENT_DESCRIPTOR: i32 = 3;

/// The pipe to the supervisor, shared with the panic hook.
#[derive(Clone)]
pub(crate) struct EventPipe {
    file: Arc<Mutex<File>>,
}

impl EventPipe {
    pub(crate) fn open() -> Result<Self, FileError> {
        let path = PathBuf::from(format!("/dev/fd/{EVENT_DESCRIPTOR}"));
        let file = File::options()
            .write(true)
            .open(&path)
            .map_err(|source| FileError::new("open the supervisor's pipe", &path, source))?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// A pipe of this process alone.
    #[cfg(test)]
    pub(crate) fn over(writer: std::io::PipeWriter) -> Self {
        Self {
            file: Arc::new(Mutex::new(File::from(std::os::fd::OwnedFd::from(writer)))),
        }
    }

    pub(crate) fn send(&self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("an event is plain data");
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A supervisor that is gone is noticed at the other pipe; the stage still comes to its durable point.
        let _ = file.write_all(&line);
    }

    /// Sends an event, unless the pipe takes nothing for a while: what watches over a stage must not hang with it.
    pub(crate) fn send_if_possible(&self, event: Event) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let events = self.clone();
        let (sent, is_sent) = channel();
        let _ = std::thread::Builder::new().spawn(move || {
            events.send(&event);
            let _ = sent.send(());
        });
        let _ = is_sent.recv_timeout(PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufRead};
    use std::time::Instant;

    use super::*;

    /// A pipe that nobody reads, and that is full.
    fn full_pipe() -> (io::PipeReader, EventPipe) {
        let (reader, writer) = io::pipe().unwrap();
        let events = EventPipe::over(writer);
        let filler = events.clone();
        std::thread::spawn(move || {
            // More than a pipe holds.
            for _ in 0..100_000 {
                filler.send(&Event::Waiting);
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        (reader, events)
    }

    #[test]
    fn what_watches_over_a_stage_does_not_hang_with_its_pipe() {
        let (_reader, events) = full_pipe();
        let begin = Instant::now();
        events.send_if_possible(Event::warning("stalled"));
        let time = begin.elapsed();
        assert!(
            (Duration::from_secs(1)..Duration::from_secs(10)).contains(&time),
            "{time:?}"
        );
    }

    #[test]
    fn what_can_be_sent_is_sent_in_order() {
        let (reader, writer) = io::pipe().unwrap();
        let events = EventPipe::over(writer);
        let warning = Event::warning("slow");
        events.send_if_possible(warning.clone());
        events.send(&Event::Waiting);
        drop(events);
        let read: Vec<Event> = io::BufReader::new(reader)
            .lines()
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        assert_eq!(read, [warning, Event::Waiting]);
    }
}
