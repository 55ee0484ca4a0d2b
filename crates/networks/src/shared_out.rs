//! A batch shared out among threads that do not meet before its end.
//!
//! Threads that share each operation wait for each other at its end: where another process takes one of the cores, all of them
//! wait for the thread that it delays, a few thousand times an image. Threads that each take parts of the batch through the
//! whole network, the next one when they are done, lose what the other process takes and no more; and operations on little
//! are not split into less.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

/// Most threads that take parts; where there are more, some share each operation.
pub const MOST_TAKERS: usize = 16;

/// Does `work` on each of `parts` and gives the results in their order.
///
/// As many threads as there are models take the parts one after another, each with a model of its own, whose tensors may
/// share their memory with the others', and with its share of `threads` of libtorch. With one model the calling thread does
/// it all, with the threads that libtorch has.
///
/// # Panics
/// With the panic of a part, once every thread has ended.
///
/// # Determinism
/// What a part gives depends on the part, and on `threads` and the number of models as far as the operations of libtorch
/// depend on their number of threads; not on the other parts, nor on which thread takes it.
pub fn shared_out<M: Send, P: Send, R: Send>(
    models: &mut [M],
    threads: usize,
    parts: Vec<P>,
    work: impl Fn(&M, P) -> R + Sync,
) -> Vec<R> {
    if let [model] = models {
        return parts.into_iter().map(|part| work(model, part)).collect();
    }
    let takers = usize::min(models.len(), parts.len());
    let each = usize::max(1, threads / usize::max(1, models.len()));
    let each = i32::try_from(each).unwrap_or(i32::MAX);
    let before = tch::get_num_threads();
    let count = parts.len();
    let queue = Mutex::new(parts.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut results: Vec<Option<R>> = (0..count).map(|_| None).collect();
    let ends: Vec<std::thread::Result<Vec<(usize, R)>>> = std::thread::scope(|scope| {
        let running: Vec<_> = (models.iter_mut().take(takers))
            .map(|model| {
                let (next, work) = (&next, &work);
                scope.spawn(move || {
                    tch::set_num_threads(each);
                    // A thread takes the number that was set last when it first asks, and keeps it.
                    let _ = tch::get_num_threads();
                    let mut done = Vec::new();
                    while let Some((place, part)) = next() {
                        done.push((place, work(model, part)));
                    }
                    done
                })
            })
            .collect();
        running.into_iter().map(ScopedJoinHandle::join).collect()
    });
    // libtorch takes the number of these threads for that of threads to come, too.
    tch::set_num_threads(before);
    for end in ends {
        for (place, result) in end.unwrap_or_else(|panic| resume_unwind(panic)) {
            results[place] = Some(result);
        }
    }
    results.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn parts_come_back_in_their_order_whoever_takes_them() {
        let model = || Tensor::from_slice(&[2.0_f64]);
        for count in [1, 2, 5] {
            let mut models: Vec<Tensor> = (0..count).map(|_| model()).collect();
            let parts: Vec<f64> = (0..7).map(f64::from).collect();
            let doubled = shared_out(&mut models, 4, parts, |model, part| {
                (model * part).double_value(&[0])
            });
            assert_eq!(doubled, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        }
        assert!(shared_out(&mut [model()], 4, Vec::<i32>::new(), |_, part| part).is_empty());
    }

    #[test]
    fn threads_are_split_and_given_back() {
        let before = tch::get_num_threads();
        let seen = shared_out(&mut [(), ()], 6, vec![(); 8], |(), ()| {
            tch::get_num_threads()
        });
        assert_eq!(seen, [3; 8]);
        assert_eq!(tch::get_num_threads(), before);
        let fresh = std::thread::spawn(|| {
            let _ = Tensor::ones([4], (Kind::Float, Device::Cpu)).sum(Kind::Float);
            tch::get_num_threads()
        });
        assert_eq!(fresh.join().unwrap(), before);
    }

    #[test]
    fn a_panic_comes_through() {
        let result = catch_unwind(AssertUnwindSafe(|| {
            shared_out(&mut [(), ()], 2, vec![1, 2, 3], |(), part| {
                assert!(part != 2, "the second part");
                part
            })
        }));
        let panic = result.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the second part"));
    }
}
