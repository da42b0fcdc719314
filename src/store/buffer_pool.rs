//! Memory of large objects that have gone, for those that come. Owns which of it is kept, and how much; does not know what it held.

use std::sync::{Arc, Mutex, MutexGuard};

/// Memory smaller than this is not worth keeping: the allocator has it at hand.
pub(super) const SPARE_BYTES_MIN: usize = 1 << 20;
/// Memory that lacks one part in so many of what is wanted is grown.
const NEARLY_PART: u64 = 8;
/// So many pieces of memory are kept at most: one is filled while another is read.
const SPARES_MAX: usize = 2;

/// Memory of large objects that have gone, for those that come: a system that is asked for it anew, round after round,
/// takes longer to give it than the bytes take to arrive.
#[derive(Clone, Debug, Default)]
pub struct BufferPool(Arc<Mutex<Vec<Vec<u8>>>>);

impl BufferPool {
    /// Empty memory for `bytes` bytes, where some is kept that fits them, or nearly so: shards differ by a row, and were the memory
    /// of one left for another it would be kept beside it. Otherwise none yet.
    pub fn take(&self, bytes: u64) -> Vec<u8> {
        let mut kept = self.kept();
        let fits = |spare: &Vec<u8>| {
            let capacity = spare.capacity() as u64;
            capacity >= bytes - bytes / NEARLY_PART && capacity / 2 <= bytes
        };
        kept.iter().position(fits).map_or_else(Vec::new, |place| kept.swap_remove(place))
    }

    /// Keeps the memory of an object that nobody else holds.
    pub fn put(&self, bytes: Arc<Vec<u8>>) {
        let Some(mut bytes) = Arc::into_inner(bytes) else { return };
        if bytes.capacity() < SPARE_BYTES_MIN {
            return;
        }
        bytes.clear();
        let mut kept = self.kept();
        if kept.len() == SPARES_MAX {
            // The latest are of the size that is wanted now.
            kept.remove(0);
        }
        kept.push(bytes);
    }

    /// Gives all of it back to the system.
    pub fn clear(&self) {
        self.kept().clear();
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn kept(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_somebody_reads_or_that_does_not_fit_is_not_used_again() {
        let buffers = BufferPool::default();
        let held = Arc::new(vec![3; SPARE_BYTES_MIN]);
        buffers.put(held.clone());
        assert_eq!(buffers.take(SPARE_BYTES_MIN as u64).capacity(), 0, "it is held");
        buffers.put(held);
        for bytes in [0, 1000, SPARE_BYTES_MIN as u64 / 2 - 1, 2 * SPARE_BYTES_MIN as u64, u64::MAX] {
            assert_eq!(buffers.take(bytes).capacity(), 0, "{bytes} bytes");
        }
        assert_ne!(buffers.take(SPARE_BYTES_MIN as u64 / 2).capacity(), 0);
        buffers.put(Arc::new(vec![0; SPARE_BYTES_MIN - 1]));
        assert_eq!(buffers.take(SPARE_BYTES_MIN as u64 - 1).capacity(), 0, "too small to be kept");
    }

    #[test]
    fn no_more_memory_is_kept_than_is_worth_it() {
        let buffers = BufferPool::default();
        for times in 1..=SPARES_MAX + 1 {
            buffers.put(Arc::new(vec![0; times * SPARE_BYTES_MIN]));
        }
        assert_eq!(buffers.kept().iter().map(Vec::capacity).min(), Some(2 * SPARE_BYTES_MIN), "the oldest has gone");
        assert_eq!(buffers.kept().len(), SPARES_MAX);
        buffers.clear();
        assert!(buffers.kept().is_empty());
    }
}
