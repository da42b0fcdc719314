//! A global allocator that counts. Owns the counters. That of bytes is the process's: whoever measures must be alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    // Needs no memory itself, neither to be made nor to be unmade.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}
static HELD: AtomicU64 = AtomicU64::new(0);
static HELD_MOST: AtomicU64 = AtomicU64::new(0);

/// The allocator, for `#[global_allocator]` of a test program that measures.
pub struct Counting;

fn taken(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    let held = HELD.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
    HELD_MOST.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    // Growing is the system's: it moves large blocks without having them twice.
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        taken(bytes);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(place, layout, bytes) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What was taken from the system while something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Calls for memory, of the thread that did it.
    pub allocations: u64,
    /// Bytes that the process held at the same time beyond those held before, at most.
    pub bytes_most: u64,
}

/// Does something, and says what it took.
pub fn measure<T>(act: impl FnOnce() -> T) -> (T, Taken) {
    let allocations = ALLOCATIONS.get();
    let held = HELD.load(Ordering::Relaxed);
    HELD_MOST.store(held, Ordering::Relaxed);
    let done = act();
    let allocations = ALLOCATIONS.get() - allocations;
    (done, Taken { allocations, bytes_most: HELD_MOST.load(Ordering::Relaxed) - held })
}
