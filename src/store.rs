//! Objects in memory, by digest, within a budget of bytes. Owns what is kept and what goes first, and the memory that
//! objects leave behind; does not know how objects travel or what they hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::digest::{Digest, Hasher};

/// Objects by digest. What is pinned stays; of the rest the least recently used goes when the budget is passed.
#[derive(Debug)]
pub struct Store {
    bytes_max: AtomicU64,
    inner: Mutex<Inner>,
    buffers: BufferPool,
}

#[derive(Debug, Default)]
struct Inner {
    objects: HashMap<Digest, Entry>,
    /// Objects that have begun to arrive and were cut off, each with when that was.
    partial: HashMap<Digest, (u64, Assembly)>,
    /// The same in that order.
    partial_order: BTreeMap<u64, Digest>,
    /// What they cost.
    partial_bytes: u64,
    bytes: u64,
    /// Grows with every use.
    clock: u64,
}

/// What is cut off may cost this part of the budget, beside the rest.
const PARTIAL_SHARE: u64 = 4;
/// What an object that was cut off costs beside its bytes: without, many that have hardly begun would cost nothing.
const PARTIAL_COST_BYTES: u64 = 512;

#[derive(Debug)]
struct Entry {
    bytes: Arc<Vec<u8>>,
    pins: u32,
    used: u64,
}

impl Store {
    /// A store that holds up to `bytes_max` bytes beyond what is pinned.
    pub fn new(bytes_max: u64) -> Store {
        Store::with_spares(bytes_max, BufferPool::default())
    }

    /// The same, that takes memory from `buffers` and leaves it there.
    pub fn with_spares(bytes_max: u64, buffers: BufferPool) -> Store {
        Store { bytes_max: AtomicU64::new(bytes_max), inner: Mutex::default(), buffers }
    }

    /// From now on it holds up to so many bytes beyond what is pinned.
    pub fn limit(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.inner().evict(bytes_max, None, &self.buffers);
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Where objects that it lets go leave their memory.
    pub fn buffers(&self) -> &BufferPool {
        &self.buffers
    }

    /// The object, whole.
    pub fn get(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        self.inner().touch(digest).map(|entry| entry.bytes.clone())
    }

    /// Bytes of whole objects held.
    pub fn bytes(&self) -> u64 {
        self.inner().bytes
    }

    /// Whether the object is here, whole.
    pub fn holds(&self, digest: &Digest) -> bool {
        self.inner().objects.contains_key(digest)
    }

    /// Bytes held of the object, from its start.
    pub fn held_bytes(&self, digest: &Digest) -> u64 {
        let inner = self.inner();
        let whole = inner.objects.get(digest).map(|entry| entry.bytes.len());
        whole.or_else(|| inner.partial.get(digest).map(|(_, part)| part.bytes.len())).unwrap_or(0) as u64
    }

    /// Takes in an object whose digest has been verified.
    pub fn insert(&self, digest: Digest, bytes: Arc<Vec<u8>>) {
        let mut inner = self.inner();
        inner.take_partial(&digest);
        if inner.touch(&digest).is_none() {
            inner.clock += 1;
            inner.bytes += bytes.len() as u64;
            let used = inner.clock;
            inner.objects.insert(digest, Entry { bytes, pins: 0, used });
            inner.evict(self.bytes_max(), Some(&digest), &self.buffers);
        }
    }

    /// Keeps the object until as many [`Store::unpin`]s. False if it is not here.
    pub fn pin(&self, digest: &Digest) -> bool {
        self.inner().touch(digest).map(|entry| entry.pins += 1).is_some()
    }

    /// Takes a pin back.
    pub fn unpin(&self, digest: &Digest) {
        let mut inner = self.inner();
        if let Some(entry) = inner.objects.get_mut(digest) {
            entry.pins = entry.pins.saturating_sub(1);
        }
        inner.evict(self.bytes_max(), None, &self.buffers);
    }

    /// Forgets the object, unless it is pinned.
    pub fn remove(&self, digest: &Digest) {
        let mut inner = self.inner();
        if inner.objects.get(digest).is_some_and(|entry| entry.pins == 0)
            && let Some(bytes) = inner.forget(digest)
        {
            self.buffers.put(bytes);
        }
    }

    /// What has arrived of an object that is not whole, to go on from there; or its beginning. What was kept beyond the budget, because
    /// it had come last, makes way for it.
    pub fn resume(&self, digest: &Digest) -> Assembly {
        let mut inner = self.inner();
        inner.evict(self.bytes_max(), None, &self.buffers);
        inner.take_partial(digest).unwrap_or_else(|| Assembly::new(*digest, self.buffers.clone()))
    }

    /// Keeps what has arrived of an object that was cut off. Where there is no room, those that were cut off before it go.
    pub fn suspend(&self, mut part: Assembly) {
        let allowed = self.bytes_max() / PARTIAL_SHARE;
        if part.cost_bytes() > allowed {
            part.bytes.shrink_to_fit();
        }
        let mut inner = self.inner();
        if part.bytes.is_empty() || part.cost_bytes() > allowed || inner.objects.contains_key(&part.digest) {
            return;
        }
        inner.take_partial(&part.digest);
        inner.clock += 1;
        let now = inner.clock;
        inner.partial_bytes += part.cost_bytes();
        inner.partial_order.insert(now, part.digest);
        inner.partial.insert(part.digest, (now, part));
        while inner.partial_bytes > allowed
            && let Some((_, oldest)) = inner.partial_order.first_key_value()
        {
            let oldest = *oldest;
            inner.take_partial(&oldest);
        }
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Every change is whole before anything can panic.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    fn touch(&mut self, digest: &Digest) -> Option<&mut Entry> {
        self.clock += 1;
        let entry = self.objects.get_mut(digest)?;
        entry.used = self.clock;
        Some(entry)
    }

    fn forget(&mut self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let entry = self.objects.remove(digest)?;
        self.bytes -= entry.bytes.len() as u64;
        Some(entry.bytes)
    }

    /// Takes out what was cut off of this object, if anything was.
    fn take_partial(&mut self, digest: &Digest) -> Option<Assembly> {
        let (since, part) = self.partial.remove(digest)?;
        self.partial_order.remove(&since);
        self.partial_bytes -= part.cost_bytes();
        Some(part)
    }

    /// Lets go of what was used least recently, but not of `keep`, which has just come.
    fn evict(&mut self, bytes_max: u64, keep: Option<&Digest>, buffers: &BufferPool) {
        while self.bytes > bytes_max {
            let loose = self.objects.iter().filter(|(digest, entry)| entry.pins == 0 && Some(*digest) != keep);
            let Some(oldest) = loose.min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest) else { return };
            if let Some(bytes) = self.forget(&oldest) {
                buffers.put(bytes);
            }
        }
    }
}

/// Memory smaller than this is not worth keeping: the allocator has it at hand.
const SPARE_BYTES_MIN: usize = 1 << 20;
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

impl Workbench for Store {
    type Part = Assembly;

    fn resume(&self, digest: &Digest) -> Assembly {
        self.resume(digest)
    }

    fn suspend(&self, part: Assembly) {
        self.suspend(part);
    }
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
    fn new(digest: Digest, buffers: BufferPool) -> Assembly {
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
    fn cost_bytes(&self) -> u64 {
        self.bytes.capacity() as u64 + PARTIAL_COST_BYTES
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

    fn object(byte: u8) -> (Digest, Arc<Vec<u8>>) {
        let bytes = vec![byte; 100];
        (Digest::of(&bytes), Arc::new(bytes))
    }

    #[test]
    fn what_came_last_stays_beyond_the_budget_only_until_the_next_begins_to_come() {
        let store = Store::new(50);
        let [(a, bytes_a), (b, bytes_b)] = [1, 2].map(object);
        store.insert(a, bytes_a.clone());
        assert!(store.holds(&a));
        let mut part = store.resume(&b);
        assert_eq!((store.bytes(), Arc::strong_count(&bytes_a)), (0, 1), "the two are never here together");
        part.append(&bytes_b, 100);
        store.insert(b, Arc::new(part.finish().unwrap()));
        assert!(store.holds(&b));
    }

    #[test]
    fn memory_is_used_again_for_what_is_a_little_larger() {
        let buffers = BufferPool::default();
        buffers.put(Arc::new(vec![0; 1 << 20]));
        assert_eq!(buffers.take(2 << 20).capacity(), 0);
        let mut assembly = Assembly::new(Digest([0; 32]), buffers.clone());
        assembly.append(&[7; 100], (1 << 20) + 1_000);
        assert!(assembly.bytes.capacity() >= 1 << 20);
        assert_eq!(buffers.kept().len(), 0, "none of it lies idle beside what comes");
    }

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_pinned_stays() {
        let store = Store::new(250);
        let [(a, bytes_a), (b, bytes_b), (c, bytes_c), (d, bytes_d)] = [1, 2, 3, 4].map(object);
        store.insert(a, bytes_a);
        store.insert(b, bytes_b);
        assert!(store.pin(&b));
        assert!(store.get(&a).is_some(), "now b is the least recently used");
        store.insert(c, bytes_c);
        assert!(!store.holds(&a) && store.holds(&b) && store.holds(&c));
        store.insert(d, bytes_d);
        assert!(store.holds(&b) && !store.holds(&c) && store.holds(&d));
        store.remove(&b);
        assert!(store.holds(&b), "pinned");
        store.unpin(&b);
        store.remove(&b);
        assert!(!store.holds(&b));
    }

    #[test]
    fn an_object_that_was_cut_off_goes_on_where_it_stopped() {
        let store = Store::new(1 << 20);
        let (digest, bytes) = object(7);
        let mut part = store.resume(&digest);
        part.append(&bytes[..60], 100);
        store.suspend(part);
        assert_eq!(store.held_bytes(&digest), 60);
        let mut part = store.resume(&digest);
        part.append(&bytes[60..], 100);
        assert_eq!(part.finish().as_ref(), Ok(&*bytes));
    }

    /// A store in which an object of this number was cut off after so many bytes.
    fn cut_off(store: &Store, number: u32, bytes: usize) -> Digest {
        let digest = Digest::of(&number.to_le_bytes());
        let mut part = store.resume(&digest);
        part.append(&vec![1; bytes], u64::MAX);
        store.suspend(part);
        digest
    }

    #[test]
    fn of_what_was_cut_off_the_oldest_goes_however_little_has_come_of_it() {
        let store = Store::new(64 << 20);
        let first = cut_off(&store, 0, 1);
        assert_eq!(store.held_bytes(&first), 1);
        for number in 1..60_000 {
            cut_off(&store, number, 1);
        }
        let kept = store.inner().partial.len() as u64;
        assert!(kept * PARTIAL_COST_BYTES <= (64 << 20) / PARTIAL_SHARE, "{kept} are kept");
        assert_eq!(store.held_bytes(&first), 0);
        // The next transfer that is cut off finds room, and one that goes on keeps its place.
        let large = cut_off(&store, 60_000, 15 << 20);
        assert_eq!(store.held_bytes(&large), 15 << 20);
        let second = cut_off(&store, 60_001, 1 << 19);
        assert_eq!(cut_off(&store, 60_000, 1), large);
        cut_off(&store, 60_002, 1 << 19);
        assert_eq!((store.held_bytes(&large), store.held_bytes(&second)), ((15 << 20) + 1, 0));
        // What fits nowhere drives nobody out.
        let huge = cut_off(&store, 60_003, 17 << 20);
        assert_eq!((store.held_bytes(&huge), store.held_bytes(&large)), (0, (15 << 20) + 1));
        // What is whole or goes on costs nothing here.
        let kept: Vec<Digest> = store.inner().partial.keys().copied().collect();
        for digest in kept {
            store.insert(digest, Arc::new(Vec::new()));
        }
        let inner = store.inner();
        assert_eq!((inner.partial.len(), inner.partial_order.len(), inner.partial_bytes), (0, 0, 0));
    }

    #[test]
    fn bytes_of_another_digest_are_refused() {
        let mut part = Store::new(1000).resume(&object(1).0);
        part.append(&object(2).1, 100);
        assert_eq!(part.finish(), Err(WrongDigest { wanted: object(1).0, got: object(2).0 }));
    }

    /// An object in memory of so many bytes, and where that lies.
    fn large(bytes: usize) -> (Digest, Arc<Vec<u8>>, *const u8) {
        let bytes = Arc::new(vec![3; bytes]);
        (Digest::of(&bytes), bytes.clone(), bytes.as_ptr())
    }

    #[test]
    fn a_large_object_comes_into_the_memory_of_one_that_has_gone() {
        let store = Store::new(u64::MAX);
        let (digest, bytes, place) = large(SPARE_BYTES_MIN);
        store.insert(digest, bytes);
        store.remove(&digest);
        let mut part = store.resume(&digest);
        part.append(&[1; 10], SPARE_BYTES_MIN as u64);
        assert_eq!(part.bytes.as_ptr(), place);
        assert_eq!(part.held_bytes(), 10);
        // It is taken once.
        let mut other = store.resume(&object(1).0);
        other.append(&[1; 10], SPARE_BYTES_MIN as u64);
        assert!(other.bytes.capacity() < SPARE_BYTES_MIN);
    }

    #[test]
    fn memory_that_somebody_reads_or_that_does_not_fit_is_not_used_again() {
        let buffers = BufferPool::default();
        let (_, held, _) = large(SPARE_BYTES_MIN);
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
