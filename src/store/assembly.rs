//! An object on its way, and what puts one together. Owns its bytes until its digest has been found right; does not know where they
//! come from, or who keeps them then.

use std::sync::Arc;

use super::BufferPool;
use crate::digest::{Digest, Hasher};

/// What an object that was cut off costs beside its bytes: without, many that have hardly begun would cost nothing.
pub(super) const PARTIAL_COST_BYTES: u64 = 512;

/// An object on its way: grows as bytes arrive, whatever size was announced, and is believed once its digest is right.
#[derive(Clone, Debug)]
pub struct Assembly {
    digest: Digest,
    bytes: Vec<u8>,
    hasher: Hasher,
    buffers: BufferPool,
}

/// An object on its way, wherever it is put together.
pub trait Part: Sized {
    /// The object, once it is here.
    type Whole;

    /// Bytes that have arrived.
    fn held_bytes(&self) -> u64;

    /// Whether there is room for the object's first `bytes` bytes, of `object_bytes` in all, and if so, takes it. Asked
    /// before the peer is asked for them.
    fn makes_room(&mut self, _bytes: u64, _object_bytes: u64) -> bool {
        true
    }

    /// Takes the next bytes in. The object is said to have `object_bytes` in all.
    fn append(&mut self, bytes: &[u8], object_bytes: u64);

    /// The same object, of which nothing has arrived.
    fn begin_again(&self) -> Self;

    /// The whole object, if its digest is right.
    fn finish(self) -> Result<Self::Whole, WrongDigest>;
}

/// Where objects are put together as they arrive.
pub trait Workbench {
    /// An object on its way.
    type Part: Part;

    /// What has arrived of an object that was cut off, to go on from there; or its beginning.
    fn resume(&self, digest: &Digest) -> Self::Part;

    /// An object is cut off: what has arrived of it may be kept.
    fn suspend(&self, part: Self::Part);
}

impl Part for Assembly {
    type Whole = Arc<Vec<u8>>;

    fn held_bytes(&self) -> u64 {
        self.held_bytes()
    }

    fn append(&mut self, bytes: &[u8], object_bytes: u64) {
        self.append(bytes, object_bytes);
    }

    fn begin_again(&self) -> Assembly {
        self.begin_again()
    }

    fn finish(self) -> Result<Arc<Vec<u8>>, WrongDigest> {
        self.finish().map(Arc::new)
    }
}

/// The bytes do not have the digest that names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongDigest {
    /// The name.
    pub wanted: Digest,
    /// The digest of what came.
    pub got: Digest,
}

impl std::fmt::Display for WrongDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an object named {} has digest {}", self.wanted.short(), self.got.short())
    }
}

impl std::error::Error for WrongDigest {}

impl Assembly {
    /// An object of which nothing has arrived.
    pub(super) fn new(digest: Digest, buffers: BufferPool) -> Assembly {
        Assembly { digest, bytes: Vec::new(), hasher: Hasher::default(), buffers }
    }

    /// Begins anew.
    pub fn begin_again(&self) -> Assembly {
        Assembly::new(self.digest, self.buffers.clone())
    }

    /// The name.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes that have arrived.
    pub fn held_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What keeping it costs.
    pub(super) fn cost_bytes(&self) -> u64 {
        self.bytes.capacity() as u64 + PARTIAL_COST_BYTES
    }

    /// Gives back memory that no byte has come into.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Takes the next bytes in. The object is said to have `object_bytes` in all: where memory of that size is to spare, it
    /// is used; none is asked for ahead of the bytes.
    pub fn append(&mut self, bytes: &[u8], object_bytes: u64) {
        if self.bytes.capacity() == 0 {
            self.bytes = self.buffers.take(object_bytes);
        }
        // Memory doubles as bytes come, and ends with the object: it would else have up to twice its size for as long as it is here.
        let (length, needed) = (self.bytes.len(), self.bytes.len() + bytes.len());
        if needed > self.bytes.capacity() {
            let whole = usize::try_from(object_bytes).unwrap_or(usize::MAX).max(needed);
            self.bytes.reserve_exact((2 * length).clamp(needed, whole) - length);
        }
        self.hasher.update_and_copy(bytes, &mut self.bytes);
    }

    /// The whole object, if its digest is right.
    pub fn finish(self) -> Result<Vec<u8>, WrongDigest> {
        let got = self.hasher.finish();
        if got == self.digest {
            return Ok(self.bytes);
        }
        self.buffers.put(Arc::new(self.bytes));
        Err(WrongDigest { wanted: self.digest, got })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use crate::store::buffer_pool::SPARE_BYTES_MIN;

    #[test]
    fn memory_is_used_again_for_what_is_a_little_larger() {
        let buffers = BufferPool::default();
        buffers.put(Arc::new(vec![0; 1 << 20]));
        assert_eq!(buffers.take(2 << 20).capacity(), 0);
        let mut assembly = Assembly::new(Digest([0; 32]), buffers.clone());
        assembly.append(&[7; 100], (1 << 20) + 1_000);
        assert!(assembly.bytes.capacity() >= 1 << 20);
        assert_eq!(buffers.take(1 << 20).capacity(), 0, "none of it lies idle beside what comes");
    }

    #[test]
    fn a_large_object_comes_into_the_memory_of_one_that_has_gone() {
        let store = Store::new(u64::MAX);
        let bytes = Arc::new(vec![3; SPARE_BYTES_MIN]);
        let (digest, place) = (Digest::of(&bytes), bytes.as_ptr());
        store.insert(digest, bytes);
        store.remove(&digest);
        let mut part = store.resume(&digest);
        part.append(&[1; 10], SPARE_BYTES_MIN as u64);
        assert_eq!(part.bytes.as_ptr(), place);
        assert_eq!(part.held_bytes(), 10);
        // It is taken once.
        let mut other = store.resume(&Digest::of(&[1; 10]));
        other.append(&[1; 10], SPARE_BYTES_MIN as u64);
        assert!(other.bytes.capacity() < SPARE_BYTES_MIN);
    }
}
