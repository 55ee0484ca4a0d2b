//! Standard input as a lifeline: whoever started this process holds the other end, which the kernel closes when that process
//! ends, however it ends.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

/// Reads what the process is asked for: the first line of standard input, which stays open behind it.
pub fn read_request() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

/// Ends this process once standard input has ended: `on_loss` is called at once, and `grace` later the process is killed, if
/// it is still alive.
pub fn watch(grace: Duration, on_loss: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut rest) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        on_loss();
        std::thread::sleep(grace);
        // Every durable point stands an abrupt end.
        kill_this_process();
    });
}

pub(crate) fn kill_this_process() {
    let _ = kill_process(getpid(), Signal::KILL);
}
