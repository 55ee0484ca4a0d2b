//! Why a group fails.

use std::fmt;
use std::io;
use std::time::Duration;

use patchwork_core::FileError;
use patchwork_core::membership::LauncherError;
use patchwork_libtorch::LibtorchError;

/// A collective operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Tensors are summed or averaged over the ranks.
    AllReduce,
    /// One rank's tensors go to all.
    Broadcast,
    /// All ranks get the tensors of all.
    AllGather,
    /// All ranks wait for each other.
    Barrier,
    /// The others wait for what rank 0 does alone.
    Wait,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::AllReduce => "all-reduce",
            Self::Broadcast => "broadcast",
            Self::AllGather => "all-gather",
            Self::Barrier => "barrier",
            Self::Wait => "waiting for rank 0",
        })
    }
}

/// Why a group cannot be joined, or is at its end.
#[derive(Debug, thiserror::Error)]
pub enum CollectiveError {
    /// What the launcher says makes no sense.
    #[error(transparent)]
    Launcher(#[from] LauncherError),
    /// The rendezvous file cannot be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The rendezvous file is not one.
    #[error("`{path}` is not a rendezvous file: {problem}")]
    NoRendezvous {
        /// Its path.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// No port can be opened.
    #[error("cannot open a port on `{host}` for the other ranks")]
    Listen {
        /// The interface.
        host: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Not all ranks came.
    #[error("{missing} did not join within {:.0} s", .after.as_secs_f64())]
    NotJoined {
        /// Those that did not come.
        missing: Ranks,
        /// How long was waited.
        after: Duration,
        /// A time-out, for those who ask whether trying again may help.
        #[source]
        source: io::Error,
    },
    /// A rank started from something else.
    #[error(
        "rank {rank} has another {part} than rank 0: {theirs} instead of {reference}; start all ranks from the same one"
    )]
    Differs {
        /// The first rank that differs.
        rank: u32,
        /// In what.
        part: String,
        /// What rank 0 has.
        reference: String,
        /// What that rank has.
        theirs: String,
    },
    /// Two ranks were given one GPU.
    #[error(
        "two ranks have the same GPU, which NCCL refuses; start as many ranks on a machine as it has GPUs, and leave \
         CUDA_VISIBLE_DEVICES to the launcher"
    )]
    SharedGpu(#[source] LibtorchError),
    /// The group could not be formed though all ranks are there.
    #[error(
        "the ranks cannot connect to each other; GLOO_SOCKET_IFNAME names the network interface to use"
    )]
    Connect(#[source] LibtorchError),
    /// An operation failed: the group is at its end.
    #[error("{operation} failed: {suspects} ended or hangs")]
    Broken {
        /// The operation.
        operation: Operation,
        /// The ranks that did not report this failure.
        suspects: Ranks,
        /// What libtorch says; counts as a lost connection for those who ask whether trying again may help.
        #[source]
        source: io::Error,
    },
    /// Ones do not add up to the number of ranks.
    #[error("an all-reduce of ones over the ranks gives {found}, not {expected}")]
    WrongSum {
        /// The number of ranks.
        expected: f64,
        /// What came.
        found: f64,
    },
    /// An operation was called in a way that cannot work.
    #[error("{operation} cannot be done")]
    Invalid {
        /// The operation.
        operation: Operation,
        /// What libtorch says.
        #[source]
        source: LibtorchError,
    },
}

/// Some ranks, for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks(pub Vec<u32>);

impl fmt::Display for Ranks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More would not help.
        const MOST: usize = 8;
        match self.0.as_slice() {
            [] => formatter.write_str("a rank that is not known"),
            [rank] => write!(formatter, "rank {rank}"),
            ranks => {
                let shown: Vec<String> = ranks.iter().take(MOST).map(u32::to_string).collect();
                write!(formatter, "ranks {}", shown.join(", "))?;
                match ranks.len().saturating_sub(MOST) {
                    0 => Ok(()),
                    more => write!(formatter, " and {more} more"),
                }
            }
        }
    }
}
