//! A group of ranks and its operations.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use std::{io, thread};

use patchwork_libtorch::LibtorchError;
use patchwork_libtorch::distributed::{Backend, ProcessGroup, Reduction, Store};
use tch::{Device, Tensor};

use crate::connections::{Sockets, interfaces, own_sockets};
use crate::error::Ranks;
use crate::rendezvous::{Met, not_joined};
use crate::{CollectiveError, Identity, Membership, Operation, Rendezvous, solo};

/// How a group is joined.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// Whether tensors of processors or of GPUs are exchanged. The interface of [`Backend::Gloo`] is taken from the
    /// rendezvous where it is absent.
    pub backend: Backend,
    /// How long to wait for all ranks to come.
    pub join_timeout: Duration,
    /// How long an operation waits for the slowest rank. While rank 0 writes a checkpoint or evaluates alone, the others
    /// wait in their next operation.
    pub timeout: Duration,
    /// What has to be equal on all ranks.
    pub identity: Identity,
}

/// One rank's place in a group.
///
/// All ranks issue the same operations in the same order, from one thread each. After an error the group is at its end:
/// its connections are closed, so that all other ranks fail in their next operation too.
#[derive(Debug)]
pub struct Group {
    // Dropped in this order: operations, then the store that they have met by.
    processes: ProcessGroup,
    store: Arc<Store>,
    membership: Membership,
    is_server: bool,
    /// Where numbers have to lie for an operation.
    device: Device,
    timeout: Duration,
    /// The sockets of this process before the group had its own.
    other_sockets: Sockets,
    /// Calls of [`Group::on_first`] so far.
    solos: Cell<u64>,
}

/// How long a store that may be dead is given to answer.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// How often a store is asked for what is not there yet.
const PAUSE: Duration = Duration::from_millis(10);

impl Group {
    /// Joins the group, once all ranks have come and have the same identity.
    ///
    /// # Errors
    /// Names the ranks that did not come, or the first one that differs from rank 0, and in what.
    pub fn join(
        membership: Membership,
        rendezvous: &Rendezvous,
        options: &JoinOptions,
    ) -> Result<Self, CollectiveError> {
        let Met { store, is_server } = rendezvous.meet(membership, options.join_timeout)?;
        let joining = introduce(&store, membership, options);
        if joining.is_err() && is_server {
            // The others learn the same from the store before it is gone.
            wait_for_the_others(&store, INTRODUCED, membership.ranks, STORE_PATIENCE);
        }
        joining?;
        let backend = match &options.backend {
            Backend::Gloo { host: None } => Backend::Gloo {
                host: rendezvous.interface(),
            },
            chosen => chosen.clone(),
        };
        let Membership { rank, ranks, .. } = membership;
        let other_sockets = own_sockets();
        let processes = store
            .under("group")
            .and_then(|store| ProcessGroup::join(&store, &backend, rank, ranks, options.timeout))
            .map_err(|error| {
                if error.text().contains("Duplicate GPU") {
                    CollectiveError::SharedGpu(error)
                } else {
                    CollectiveError::Connect(error)
                }
            })?;
        Ok(Self {
            processes,
            store: Arc::new(store),
            membership,
            is_server,
            device: match backend {
                Backend::Gloo { .. } => Device::Cpu,
                Backend::Nccl { device } => Device::Cuda(device as usize),
            },
            timeout: options.timeout,
            other_sockets,
            solos: Cell::new(0),
        })
    }

    /// Where tensors of the group lie.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Over which network interfaces this rank is connected with the others, each with its address; none where the system
    /// does not tell, or the ranks need no network.
    pub fn interfaces(&self) -> Vec<String> {
        let own = own_sockets();
        interfaces(&own.difference(&self.other_sockets).copied().collect())
    }

    /// Which rank of how many this process is.
    pub fn membership(&self) -> Membership {
        self.membership
    }

    /// Replaces the tensors by the reduction of those of all ranks, in place. The same shapes on every rank; several
    /// tensors are of one kind and on one device, and take one operation together. They need not be contiguous.
    ///
    /// # Determinism
    /// Equal bits on all ranks and over repeats. With three ranks or more they depend on how the elements are shared out
    /// over tensors.
    pub fn all_reduce(
        &self,
        tensors: &mut [&mut Tensor],
        reduction: Reduction,
    ) -> Result<(), CollectiveError> {
        self.after(
            Operation::AllReduce,
            self.processes.all_reduce(tensors, reduction),
        )
    }

    /// Replaces the tensors by those of the rank `root`, in place.
    pub fn broadcast(&self, tensors: &mut [&mut Tensor], root: u32) -> Result<(), CollectiveError> {
        self.after(
            Operation::Broadcast,
            self.processes.broadcast(tensors, root),
        )
    }

    /// The tensors of all ranks, in their order: `[ranks, …]`. The same shape on every rank.
    pub fn all_gather(&self, tensor: &Tensor) -> Result<Tensor, CollectiveError> {
        self.after(Operation::AllGather, self.processes.all_gather(tensor))
    }

    /// Waits until every rank has come here.
    pub fn barrier(&self) -> Result<(), CollectiveError> {
        self.after(Operation::Barrier, self.processes.barrier())
    }

    /// Whether any rank says yes, to each of some questions.
    pub fn any<const N: usize>(&self, yes: [bool; N]) -> Result<[bool; N], CollectiveError> {
        let mut counts = Tensor::from_slice(&yes.map(i64::from)).to_device(self.device);
        self.all_reduce(&mut [&mut counts], Reduction::Sum)?;
        let counts = counts.to_device(Device::Cpu);
        Ok(std::array::from_fn(|index| {
            counts.int64_value(&[index as i64]) > 0
        }))
    }

    /// Has rank 0 do what it alone does, such as writing a checkpoint; gives what came of it, on rank 0.
    ///
    /// The others wait until it is done, however long it takes: only a rank 0 that ends or is stopped meanwhile breaks
    /// the group, the latter after the group's timeout.
    pub fn on_first<T>(&self, work: impl FnOnce() -> T) -> Result<Option<T>, CollectiveError> {
        let number = self.solos.replace(self.solos.get() + 1);
        let Membership { rank, ranks, .. } = self.membership;
        if ranks == 1 {
            return Ok(Some(work()));
        }
        if rank == 0 {
            return Ok(Some(solo::perform(&self.store, number, work)));
        }
        solo::wait(&self.store, number, self.timeout).map_err(|error| {
            let _ = self.processes.abort();
            CollectiveError::Broken {
                operation: Operation::Wait,
                suspects: Ranks(vec![0]),
                source: io::Error::new(io::ErrorKind::NotConnected, error),
            }
        })?;
        Ok(None)
    }

    /// Leaves together with all others, so that none loses its connections while it needs them.
    pub fn leave(self) -> Result<(), CollectiveError> {
        self.barrier()
    }

    /// Closes the connections: all other ranks fail in their next operation.
    pub fn abort(self) {
        let _ = self.processes.abort();
    }

    fn after<T>(
        &self,
        operation: Operation,
        result: Result<T, LibtorchError>,
    ) -> Result<T, CollectiveError> {
        result.map_err(|error| {
            if is_misuse(&error) {
                return CollectiveError::Invalid {
                    operation,
                    source: error,
                };
            }
            let suspects = self.suspects();
            CollectiveError::Broken {
                operation,
                suspects: Ranks(suspects),
                source: io::Error::new(io::ErrorKind::NotConnected, error),
            }
        })
    }

    /// The ranks to which a failure is due: those that do not report that it has met them too.
    ///
    /// Whoever fails closes its connections and reports; so all do in turn that are at work. Those that are computing
    /// report when they come to their next operation, for which there is a while.
    fn suspects(&self) -> Vec<u32> {
        let _ = self.processes.abort();
        let (answer, answered) = channel();
        let (store, membership) = (Arc::clone(&self.store), self.membership);
        let is_server = self.is_server;
        // A store whose server is stopped answers never: the thread is left behind then.
        thread::spawn(move || {
            let silent = silent_ranks(&store, membership);
            if let Ok(silent) = &silent {
                conclude(&store, is_server, membership.ranks - silent.len() as u32);
            }
            let _ = answer.send(silent);
        });
        match answered.recv_timeout(REPORT_PATIENCE + STORE_PATIENCE) {
            Ok(Ok(silent)) => silent,
            // Its server is dead or stopped.
            _ => vec![0],
        }
    }
}

/// The other ranks that do not report a failure within a while, once at most one is left; reports this one's.
fn silent_ranks(store: &Store, membership: Membership) -> Result<Vec<u32>, LibtorchError> {
    let Membership { rank, ranks, .. } = membership;
    let deadline = Instant::now() + REPORT_PATIENCE;
    store.set(&failed(rank), b"")?;
    let mut silent: Vec<u32> = (0..ranks).filter(|&other| other != rank).collect();
    // Someone is at fault, so that one is left.
    loop {
        let mut still = Vec::new();
        for other in silent {
            if !store.has(&failed(other))? {
                still.push(other);
            }
        }
        silent = still;
        if silent.len() <= 1 || Instant::now() >= deadline {
            return Ok(silent);
        }
        thread::sleep(PAUSE);
    }
}

/// Lets the store live until all who report have found the same.
fn conclude(store: &Store, is_server: bool, reporting: u32) {
    let _ = store.add(CONCLUDED, 1);
    if is_server {
        wait_for_the_others(store, CONCLUDED, reporting, STORE_PATIENCE);
    }
}

/// How long ranks that compute are given to come to the operation that fails.
const REPORT_PATIENCE: Duration = Duration::from_secs(5);

/// How many ranks have seen the identities of all.
const INTRODUCED: &str = "introduced";

/// How many ranks know to whom a failure is due.
const CONCLUDED: &str = "concluded";

fn failed(rank: u32) -> String {
    format!("failed/{rank}")
}

/// Tells the others this rank's identity, and learns theirs.
fn introduce(
    store: &Store,
    membership: Membership,
    options: &JoinOptions,
) -> Result<(), CollectiveError> {
    let key = |rank: u32| format!("identity/{rank}");
    let timeout = options.join_timeout;
    let deadline = Instant::now() + timeout;
    let own = options
        .identity
        .clone()
        .with("number of ranks", membership.ranks.to_string());
    let bytes = serde_json::to_vec(&own).expect("texts by texts are JSON");
    let lost = |error: LibtorchError| not_joined(vec![0], timeout, error.text());
    store.set(&key(membership.rank), &bytes).map_err(lost)?;
    let mut all = Vec::with_capacity(membership.ranks as usize);
    let mut missing = Vec::new();
    let mut cause = String::new();
    for rank in 0..membership.ranks {
        let left = deadline.saturating_duration_since(Instant::now());
        match store.get(&key(rank), left) {
            Ok(bytes) => all.push(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) => {
                missing.push(rank);
                error.text().clone_into(&mut cause);
            }
        }
    }
    if !missing.is_empty() {
        return Err(not_joined(missing, timeout, &cause));
    }
    store.add(INTRODUCED, 1).map_err(lost)?;
    Identity::check(&all)
}

/// Waits until a counter that each rank raises by one has come to `count`.
fn wait_for_the_others(store: &Store, counter: &str, count: u32, patience: Duration) {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline
        && store
            .add(counter, 0)
            .is_ok_and(|sum| sum < i64::from(count))
    {
        thread::sleep(PAUSE);
    }
}

/// Whether an error is of a call that could not work, and not of the connections.
fn is_misuse(error: &LibtorchError) -> bool {
    [
        "only floating-point tensors",
        "nvalid scalar type",
        "nvalid tensor",
        "not contiguous",
    ]
    .iter()
    .any(|words| error.text().contains(words))
}
