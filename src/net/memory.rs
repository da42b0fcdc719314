//! Giving free memory back to the system, after a crowd or when it is asked for. Owns when; the allocator owns the memory.
//!
//! glibc keeps what is freed below the highest block that is still in use: of 5,000 connections 60 MB stay with a program
//! that has ended them all, for good. Other allocators (musl's) return pages on their own.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Smaller crowds leave too little to be worth a look at the whole heap.
const CROWD_MIN: usize = 256;

/// How many there were at the height of the crowd.
#[derive(Debug, Default)]
pub(super) struct Crowd(AtomicUsize);

impl Crowd {
    /// There are so many now.
    pub(super) fn grown(&self, count: usize) {
        self.0.fetch_max(count, Ordering::Relaxed);
    }

    /// So many are left now. Says whether most of a crowd has gone since it was last asked.
    fn has_left(&self, count: usize) -> bool {
        let peak = self.0.load(Ordering::Relaxed);
        let has_left = peak >= CROWD_MIN && count <= peak / 4;
        // Of many that leave at the same time, one sees it.
        has_left && self.0.compare_exchange(peak, count, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// So many are left now: gives free memory back if most of a crowd has gone.
    pub(super) fn shrunk(&self, count: usize) {
        if self.has_left(count) {
            give_memory_back();
        }
    }
}

/// Gives free memory back to the system, as much as the allocator can. It looks at all of it: not for every little thing.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
pub fn give_memory_back() {
    // SAFETY: malloc_trim(3) takes any number, touches free memory alone, and may be called by any thread at any time.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do it on their own.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_memory_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_when_most_of_a_crowd_has_gone() {
        let crowd = Crowd::default();
        (0..=1_000).for_each(|count| crowd.grown(count));
        let seen: Vec<usize> = (0..1_000).rev().filter(|&count| crowd.has_left(count)).collect();
        assert_eq!(seen, [250], "250 are no crowd themselves");
        crowd.grown(CROWD_MIN - 1);
        assert!(!crowd.has_left(0));
        give_memory_back();
    }
}
