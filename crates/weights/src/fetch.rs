//! Puts a published file of weights in place: from its makers, from another address, or from a file.
//!
//! An interrupted download resumes where it stopped, in the same call while there is progress, and in the next call
//! after that. Nothing appears under the file's name before its hash is right.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use patchwork_core::durable::DurableFile;
use patchwork_core::lock::FileLock;
use patchwork_core::{Digest, FileError, durable, file_error};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::error::WeightsError;
use crate::file::{FoundWeights, WeightsFile, sha256_of_file};

/// A silence of this length ends an attempt.
const SILENCE: Duration = Duration::from_secs(30);

/// Attempts in a row that may bring next to nothing.
const FRUITLESS_ATTEMPTS: u32 = 3;

/// What an attempt, and each [`PATIENCE`] of one, brings at least; less is taken for a server that hangs.
const LEAST_BYTES: u64 = 64 << 10;

/// How long a server may take for [`LEAST_BYTES`].
const PATIENCE: Duration = Duration::from_mins(1);

/// Between two attempts, times those that were fruitless so far and one.
const PAUSE: Duration = Duration::from_millis(500);

/// No published file of weights comes near to this: what is larger is something else.
const LARGEST_BYTES: u64 = 2 << 30;

/// How far a transfer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes so far, those of earlier attempts included.
    pub done: u64,
    /// Bytes of the whole file, where they are known.
    pub total: Option<u64>,
}

/// What became of a wish for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file was installed already.
    AlreadyThere(FoundWeights),
    /// The file is installed now, from this address.
    Placed {
        /// The file in its place.
        found: FoundWeights,
        /// The address or the path that it came from.
        from: String,
    },
}

/// Installs a file, unless it is installed.
///
/// `from` is an address (`http://`, `https://`) or a path; without it the makers' address is used.
pub fn fetch(
    file: &'static WeightsFile,
    from: Option<&str>,
    folder: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<Fetched, WeightsError> {
    if let Ok(found) = file.check(folder) {
        return Ok(Fetched::AlreadyThere(found));
    }
    let from = match (from, file.address) {
        (Some(from), _) => from,
        (None, Some(address)) => address,
        (None, None) => {
            let (name, remedy) = (file.name, file.remedy);
            return Err(WeightsError::NoAddress { name, remedy });
        }
    };
    durable::create_dir_all(folder)?;
    let path = folder.join(file.file_name);
    let _lock = FileLock::acquire(&folder.join(format!(".{}.lock", file.file_name)))?;
    let unfinished = if from.starts_with("http://") || from.starts_with("https://") {
        download(file, from, &path, report)?
    } else {
        copy(Path::new(from), &path, report)?
    };
    let actual = sha256_of_file(unfinished.partial_path())?;
    if actual != file.sha256 {
        unfinished.discard();
        return Err(WeightsError::Fetched {
            from: from.to_owned(),
            file: file.file_name,
            expected: file.sha256,
            actual,
        });
    }
    unfinished.commit()?;
    let digest = Digest::of_file(&path)?;
    Ok(Fetched::Placed {
        found: FoundWeights { path, digest },
        from: from.to_owned(),
    })
}

fn copy(
    from: &Path,
    to: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<DurableFile, WeightsError> {
    let error = |source| FileError::new("read", from, source);
    let mut source = file_error::open(from)?;
    let total = Some(source.metadata().map_err(error)?.len());
    let mut target = DurableFile::create(to)?;
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let count = source.read(&mut buffer).map_err(error)?;
        if count == 0 {
            flush(&mut target, to)?;
            return Ok(target);
        }
        write(&mut target, &buffer[..count], to)?;
        done += count as u64;
        report(Progress { done, total });
    }
}

/// What ends an attempt.
enum Failure {
    /// Another attempt may do better.
    Passing(String),
    /// Another attempt would end in the same way.
    Lasting(String),
    /// The disk, not the network.
    File(FileError),
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

fn download(
    file: &WeightsFile,
    address: &str,
    to: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<DurableFile, WeightsError> {
    let (target, have) = DurableFile::resume(to)?;
    if have > 0 && sha256_of_file(target.partial_path())? == file.sha256 {
        return Ok(target);
    }
    let mut transfer = Transfer {
        agent: agent(),
        address,
        to: to.to_owned(),
        target,
        have,
    };
    let mut fruitless = 0;
    loop {
        let before = transfer.have;
        let cause = match transfer.attempt(report) {
            Ok(()) => return Ok(transfer.target),
            Err(Failure::File(error)) => return Err(error.into()),
            Err(Failure::Lasting(cause)) => {
                fruitless = FRUITLESS_ATTEMPTS;
                cause
            }
            Err(Failure::Passing(cause)) => {
                fruitless = if transfer.have >= before + LEAST_BYTES {
                    0
                } else {
                    fruitless + 1
                };
                cause
            }
        };
        if fruitless >= FRUITLESS_ATTEMPTS {
            return Err(WeightsError::Transfer {
                address: address.to_owned(),
                cause,
                have: transfer.have,
            });
        }
        std::thread::sleep(PAUSE * (fruitless + 1));
    }
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(SILENCE))
        .timeout_recv_response(Some(SILENCE))
        .timeout_per_read(Some(SILENCE))
        .user_agent(concat!("patchwork/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// A file on its way.
struct Transfer<'a> {
    agent: Agent,
    address: &'a str,
    to: PathBuf,
    target: DurableFile,
    have: u64,
}

impl Transfer<'_> {
    fn attempt(&mut self, report: &mut dyn FnMut(Progress)) -> Result<(), Failure> {
        let mut request = self.agent.get(self.address);
        if self.have > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.have));
        }
        let response = request
            .call()
            .map_err(|error| Failure::Passing(error.to_string()))?;
        let total = self.agree(&response)?;
        let mut body = response
            .into_body()
            .into_with_config()
            .limit(u64::MAX)
            .reader();
        let mut buffer = vec![0; 1 << 16];
        let (mut since, mut had) = (Instant::now(), self.have);
        loop {
            report(Progress {
                done: self.have,
                total,
            });
            if since.elapsed() > PATIENCE {
                if self.have < had + LEAST_BYTES {
                    return Err(Failure::Passing(format!(
                        "the server sent {} bytes in {} s",
                        self.have - had,
                        since.elapsed().as_secs()
                    )));
                }
                (since, had) = (Instant::now(), self.have);
            }
            let read = body.read(&mut buffer);
            let count = read.map_err(|error| Failure::Passing(error.to_string()))?;
            if count == 0 {
                break;
            }
            write(&mut self.target, &buffer[..count], &self.to)?;
            self.have += count as u64;
            if self.have > LARGEST_BYTES {
                self.restart()?;
                return Err(Failure::Lasting(
                    "the download is larger than any file of weights".to_owned(),
                ));
            }
        }
        flush(&mut self.target, &self.to)?;
        match total {
            Some(total) if self.have < total => Err(Failure::Passing(format!(
                "the connection ended after {} of {total} bytes",
                self.have
            ))),
            _ => Ok(()),
        }
    }

    /// Reads where the answer begins, and gives the length of the whole file.
    fn agree(&mut self, response: &Response<Body>) -> Result<Option<u64>, Failure> {
        let text = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        match response.status() {
            StatusCode::OK => {
                // The server sends the whole file, whatever was asked for.
                if self.have > 0 {
                    self.restart()?;
                }
                Ok(response.body().content_length())
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = text(header::CONTENT_RANGE).and_then(parse_content_range);
                match range {
                    Some((start, total)) if start == self.have => Ok(total),
                    _ => {
                        self.restart()?;
                        Err(Failure::Passing(
                            "the server sent another range than was requested".to_owned(),
                        ))
                    }
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE if self.have > 0 => {
                self.restart()?;
                Err(Failure::Passing(
                    "the kept part is not the beginning of the server's file".to_owned(),
                ))
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Passing(format!("the server answers {status}")))
            }
            status => Err(Failure::Lasting(format!("the server answers {status}"))),
        }
    }

    fn restart(&mut self) -> Result<(), FileError> {
        self.target.restart()?;
        self.have = 0;
        Ok(())
    }
}

/// Start and whole length out of `bytes 100-199/200`; the length may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn write(target: &mut DurableFile, bytes: &[u8], to: &Path) -> Result<(), FileError> {
    target
        .write_all(bytes)
        .map_err(|source| FileError::new("write", to, source))
}

fn flush(target: &mut DurableFile, to: &Path) -> Result<(), FileError> {
    target
        .flush()
        .map_err(|source| FileError::new("write", to, source))
}
