//! A global allocator that counts. Owns the counters, which are the process's: whoever measures must be alone.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicU64 = AtomicU64::new(0);
static HELD_MOST: AtomicU64 = AtomicU64::new(0);

/// The allocator, for `#[global_allocator]` of a test program that measures.
pub struct Counting;

fn taken(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

/// What the process has taken from the system while something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Calls for memory.
    pub allocations: u64,
    /// Bytes held at the same time beyond those held before, at most.
    pub bytes_most: u64,
}

/// Does something, and says what it took.
pub fn measure<T>(act: impl FnOnce() -> T) -> (T, Taken) {
    let allocations = ALLOCATIONS.load(Ordering::Relaxed);
    let held = HELD.load(Ordering::Relaxed);
    HELD_MOST.store(held, Ordering::Relaxed);
    let done = act();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    (done, Taken { allocations, bytes_most: HELD_MOST.load(Ordering::Relaxed) - held })
}
