//! Threads that each take some images of a round, through a copy of the network of their own.
//!
//! Threads that share each operation wait for each other at its end, and operations on little are done by one of them:
//! with small patches or small networks that is a fourth of their time. Threads that share the images meet once a round.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use crate::NetworkDenoiser;
use patchwork_networks::Gradients;

use crate::replica::{Replica, ReplicaGradients};
use crate::round::{Round, RoundLoss, StepShare, back_propagate};

/// Most lanes: each has gradients of its own.
const MOST: usize = 8;

/// How the threads of a CPU share a round. A sum's terms are grouped by it: it is part of what makes a run repeatable to
/// the last bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// Threads that take a part of the images each; 1: the calling thread takes them all.
    pub count: usize,
    /// Threads that share each operation of a lane; of the calling thread's libtorch has its own number.
    pub threads: usize,
}

impl Lanes {
    /// The calling thread alone.
    pub const ONE: Self = Self {
        count: 1,
        threads: 1,
    };

    /// As many lanes of equally many threads as rounds of `images` images keep busy, so that few of `threads` are left.
    pub fn of(threads: usize, images: usize) -> Self {
        let most = usize::min(usize::min(images, threads), MOST);
        let all = (2..=most).map(|count| Self {
            count,
            threads: threads / count,
        });
        all.max_by_key(|lanes| (lanes.count * lanes.threads, lanes.count))
            .unwrap_or(Self::ONE)
    }
}

/// Lanes at work.
pub(crate) struct LaneThreads {
    lanes: Vec<Lane>,
}

struct Lane {
    /// None once the lane is to end.
    orders: Option<Sender<Order>>,
    answers: Receiver<std::thread::Result<RoundLoss>>,
    gradients: ReplicaGradients,
    thread: Option<JoinHandle<()>>,
}

struct Order {
    round: Round,
    share: StepShare,
}

impl LaneThreads {
    /// Starts the threads, each with a replica, of which the first may share the optimiser's gradients.
    pub(crate) fn start(lanes: Lanes, mut replica: impl FnMut(Gradients) -> Replica) -> Self {
        let threads = tch::get_num_threads();
        let started = Self {
            lanes: (0..lanes.count)
                .map(|index| match index {
                    0 => replica(Gradients::Shared),
                    _ => replica(Gradients::Own),
                })
                .map(|replica| Lane::start(replica, lanes.threads))
                .collect(),
        };
        // libtorch takes a lane's number for that of threads to come, too.
        tch::set_num_threads(threads);
        started
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }

    /// Forward and backward of a round: the losses of its parts, in the order of their images.
    pub(crate) fn back_propagate(&mut self, round: &Round, share: &StepShare) -> Vec<RoundLoss> {
        let busy = usize::min(round.rows.len(), self.lanes.len());
        for (lane, round) in self.lanes.iter().zip(round.parts(busy)) {
            lane.order(Order {
                round,
                share: *share,
            });
        }
        // All of them end before anything else happens, whatever one of them has met.
        let ends: Vec<_> = self.lanes.iter().take(busy).map(Lane::answer).collect();
        ends.into_iter()
            .map(|end| end.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    }

    /// The gradients of the lanes, in their order.
    pub(crate) fn gradients(&mut self) -> impl Iterator<Item = &mut ReplicaGradients> {
        self.lanes.iter_mut().map(|lane| &mut lane.gradients)
    }
}

impl Lane {
    fn start(replica: Replica, threads: usize) -> Self {
        let (denoiser, gradients) = replica.into_parts();
        let (orders, received) = channel();
        let (answer, answers) = channel();
        let (ready, is_ready) = channel();
        let thread = std::thread::spawn(move || {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
            // A thread takes the number that was set last when it first asks, and keeps it.
            let _ = tch::get_num_threads();
            let _ = ready.send(());
            work(&denoiser, &received, &answer);
        });
        let _ = is_ready.recv();
        Self {
            orders: Some(orders),
            answers,
            gradients,
            thread: Some(thread),
        }
    }

    fn order(&self, order: Order) {
        let orders = self.orders.as_ref();
        orders
            .and_then(|orders| orders.send(order).ok())
            .expect("a lane takes orders until it is dropped");
    }

    fn answer(&self) -> std::thread::Result<RoundLoss> {
        self.answers.recv().expect("a lane answers every order")
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does what is ordered, until no one can order any more.
fn work(
    denoiser: &NetworkDenoiser,
    orders: &Receiver<Order>,
    answers: &Sender<std::thread::Result<RoundLoss>>,
) {
    while let Ok(Order { round, share }) = orders.recv() {
        let result = catch_unwind(AssertUnwindSafe(|| {
            back_propagate(denoiser, &round, &share)
        }));
        // Freed here, before the order counts as done.
        drop(round);
        if answers.send(result).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_use_the_threads_and_have_an_image_each() {
        for (threads, images, count, each) in [
            (1, 512, 1, 1),
            (2, 8, 2, 1),
            (2, 1, 1, 1),
            (3, 2, 2, 1),
            (6, 4, 3, 2),
            (11, 64, 5, 2),
            (16, 8, 8, 2),
            (64, 256, 8, 8),
        ] {
            let expected = Lanes {
                count,
                threads: each,
            };
            assert_eq!(Lanes::of(threads, images), expected, "{threads}, {images}");
        }
    }
}
