//! How the ranks find each other.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use patchwork_core::membership::{LauncherError, host_name};
use patchwork_core::{FileError, durable};
use patchwork_libtorch::LibtorchError;
use patchwork_libtorch::distributed::Store;
use serde::{Deserialize, Serialize};

use crate::error::Ranks;
use crate::{CollectiveError, Membership};

/// On which machines the ranks of a group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// All on this one: nothing is opened to the network.
    This,
    /// On several.
    Several,
}

/// Where rank 0 is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendezvous {
    /// Rank 0 opens a free port and writes its address into a file that all ranks see.
    ///
    /// The file's name is of this attempt alone: ranks of another one would read an address where no one listens.
    File {
        /// The file, which no one has written yet.
        path: PathBuf,
        /// On which machines the ranks are.
        hosts: Hosts,
    },
    /// The address that `torchrun` gives.
    Address {
        /// The machine, MASTER_ADDR.
        host: String,
        /// The port, MASTER_PORT.
        port: u16,
        /// Whether `torchrun` itself serves the store there, and no rank does: TORCHELASTIC_USE_AGENT_STORE.
        is_served: bool,
        /// What keeps this attempt's keys apart from those of one before it: TORCHELASTIC_RESTART_COUNT.
        attempt: String,
    },
}

/// What the file holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    /// The name of rank 0's machine.
    host: String,
    port: u16,
}

/// A store, and whether this process serves it.
pub(crate) struct Met {
    pub(crate) store: Store,
    pub(crate) is_server: bool,
}

impl Rendezvous {
    /// What `torchrun` says; none where it gives no address.
    ///
    /// # Errors
    /// [`LauncherError`].
    pub fn of_torchrun(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, LauncherError> {
        let Some(host) = variable("MASTER_ADDR") else {
            return Ok(None);
        };
        let Some(port) = variable("MASTER_PORT") else {
            return Err(LauncherError::HalfSet {
                present: "MASTER_ADDR",
                missing: "MASTER_PORT",
            });
        };
        Ok(Some(Self::Address {
            host,
            port: port.trim().parse().map_err(|_| LauncherError::Variable {
                variable: "MASTER_PORT",
                value: port,
                limit: 1 << 16,
            })?,
            is_served: variable("TORCHELASTIC_USE_AGENT_STORE").is_some_and(|it| it == "True"),
            attempt: variable("TORCHELASTIC_RESTART_COUNT").unwrap_or_default(),
        }))
    }

    /// The name whose network interface connects the ranks, if it is not left to the environment.
    pub(crate) fn interface(&self) -> Option<String> {
        let is_here = match self {
            Self::File { hosts, .. } => *hosts == Hosts::This,
            Self::Address { host, .. } => host == "localhost" || host == LOOPBACK,
        };
        is_here.then(|| LOOPBACK.to_owned())
    }

    /// The store of all ranks, once rank 0 serves it.
    pub(crate) fn meet(
        &self,
        membership: Membership,
        timeout: Duration,
    ) -> Result<Met, CollectiveError> {
        let is_first = membership.rank == 0;
        let absent = |error: LibtorchError| not_joined(vec![0], timeout, error.text());
        let (store, is_server, prefix) = match self {
            Self::File { path, hosts } => {
                let store = if is_first {
                    serve(path, *hosts, timeout)?
                } else {
                    let deadline = Instant::now() + timeout;
                    let Published { host, port } = read(path, deadline)?.ok_or_else(|| {
                        not_joined(vec![0], timeout, "it has not published an address")
                    })?;
                    let host = if host == host_name() { LOOPBACK } else { &host };
                    let left = deadline.saturating_duration_since(Instant::now());
                    Store::connect(host, port, left).map_err(absent)?
                };
                (store, is_first, "patchwork".to_owned())
            }
            Self::Address {
                host,
                port,
                is_served,
                attempt,
            } => {
                let is_server = is_first && !is_served;
                let store = if is_server {
                    Store::serve_at(host, *port, timeout).map_err(|error| {
                        CollectiveError::Listen {
                            host: format!("{host}:{port}"),
                            source: io::Error::other(error),
                        }
                    })?
                } else {
                    Store::connect(host, *port, timeout).map_err(absent)?
                };
                (store, is_server, format!("patchwork/{attempt}"))
            }
        };
        let store = store.under(&prefix).map_err(absent)?;
        Ok(Met { store, is_server })
    }
}

const LOOPBACK: &str = "127.0.0.1";

/// Ranks that did not come; counts as a time-out for those who ask whether trying again may help.
pub(crate) fn not_joined(missing: Vec<u32>, after: Duration, cause: &str) -> CollectiveError {
    CollectiveError::NotJoined {
        missing: Ranks(missing),
        after,
        source: io::Error::new(io::ErrorKind::TimedOut, cause.to_owned()),
    }
}

/// Serves a store at a free port, and publishes where.
fn serve(path: &Path, hosts: Hosts, timeout: Duration) -> Result<Store, CollectiveError> {
    let interface = match hosts {
        Hosts::This => LOOPBACK,
        Hosts::Several => "0.0.0.0",
    };
    let failed = |source| CollectiveError::Listen {
        host: interface.to_owned(),
        source,
    };
    let listener = TcpListener::bind((interface, 0)).map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let store = Store::serve(listener, timeout).map_err(|error| failed(io::Error::other(error)))?;
    let host = host_name();
    durable::write_json(path, &Published { host, port })?;
    Ok(store)
}

/// The address in the file, once there is one before the deadline.
fn read(path: &Path, deadline: Instant) -> Result<Option<Published>, CollectiveError> {
    const PAUSE: Duration = Duration::from_millis(10);
    loop {
        match std::fs::read(path) {
            Ok(bytes) => {
                let published = serde_json::from_slice(&bytes).map_err(|error| {
                    CollectiveError::NoRendezvous {
                        path: path.display().to_string(),
                        problem: error.to_string(),
                    }
                })?;
                return Ok(Some(published));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(FileError::new("read", path, error).into()),
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_torchrun_says_is_understood() {
        let found = Rendezvous::of_torchrun(|name| {
            let value = match name {
                "MASTER_ADDR" => "node1",
                "MASTER_PORT" => "29500",
                "TORCHELASTIC_USE_AGENT_STORE" => "True",
                "TORCHELASTIC_RESTART_COUNT" => "2",
                _ => return None,
            };
            Some(value.to_owned())
        });
        let expected = Rendezvous::Address {
            host: "node1".to_owned(),
            port: 29500,
            is_served: true,
            attempt: "2".to_owned(),
        };
        assert_eq!(found.unwrap(), Some(expected));
        assert!(Rendezvous::of_torchrun(|_| None).unwrap().is_none());
        let half = |name: &str| (name == "MASTER_ADDR").then(|| "node1".to_owned());
        let error = Rendezvous::of_torchrun(half).unwrap_err().to_string();
        assert!(error.contains("`MASTER_PORT`"), "{error}");
    }
}
