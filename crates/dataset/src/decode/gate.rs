//! A bound on the memory that decoders take together.

use std::sync::{Condvar, Mutex, PoisonError};

/// What small images take is not counted, so that their threads need not wait for each other.
const UNCOUNTED_BYTES: u64 = 8 << 20;

/// Lets decoders through as long as what they take together is within a limit; one alone always passes.
#[derive(Debug)]
pub struct MemoryGate {
    limit: u64,
    taken: Mutex<u64>,
    returned: Condvar,
}

/// The right to some memory, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    gate: &'a MemoryGate,
    bytes: u64,
}

impl MemoryGate {
    /// A gate for decoders that together take at most `limit` bytes beside small images.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            taken: Mutex::new(0),
            returned: Condvar::new(),
        }
    }

    /// Waits until `bytes` are free.
    pub(crate) fn enter(&self, bytes: u64) -> Permit<'_> {
        if bytes <= UNCOUNTED_BYTES {
            return Permit {
                gate: self,
                bytes: 0,
            };
        }
        let bytes = u64::min(bytes, self.limit);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .returned
            .wait_while(taken, |taken| *taken + bytes > self.limit)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
        Permit { gate: self, bytes }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let taken = &self.gate.taken;
            *taken.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
            self.gate.returned.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_inside_stays_within_the_limit() {
        let gate = MemoryGate::new(100 << 20);
        let (inside, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [40 << 20, 30 << 20, 60 << 20, 100 << 20, 1 << 40] {
                let (gate, inside, most) = (&gate, &inside, &most);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let _permit = gate.enter(bytes);
                        let held = u64::min(bytes, 100 << 20);
                        let now = inside.fetch_add(held, Ordering::SeqCst) + held;
                        most.fetch_max(now, Ordering::SeqCst);
                        inside.fetch_sub(held, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100 << 20);
    }
}
