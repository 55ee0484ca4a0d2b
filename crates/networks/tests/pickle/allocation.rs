//! Counts what a thread allocates, libtorch's own memory not included.

#![expect(
    unsafe_code,
    reason = "an allocator can be written in no other way; this one only counts and hands on"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: isize) {
    // At the end of a thread its counters are gone; nobody asks for them then.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new exist at the same time, at worst.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promise, handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What `run` gives, and the most bytes that this thread held during it beyond those it held before.
pub(crate) fn peak<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    (result, (PEAK.get() - before).cast_unsigned())
}

#[test]
fn allocations_of_this_thread_are_counted() {
    let (vector, bytes) = peak(|| vec![1u8; 1 << 20]);
    assert!((1 << 20..2 << 20).contains(&bytes), "{bytes}");
    drop(vector);
    let ((), bytes) = peak(|| drop(std::hint::black_box(Box::new([0u64; 100]))));
    assert!((800..4000).contains(&bytes), "{bytes}");
}
