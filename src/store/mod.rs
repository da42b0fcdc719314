//! Objects in memory, by digest, within a budget of bytes. Owns what is kept and what goes first; does not know how objects travel
//! or what they hold.
//!
//! | file | owns |
//! |---|---|
//! | here | whole objects, pinned and loose, and those that were cut off |
//! | [`assembly`] | an object on its way |
//! | [`buffer_pool`] | memory of objects that have gone, for those that come |

mod assembly;
mod buffer_pool;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub use assembly::{Assembly, Part, Workbench, WrongDigest};
pub use buffer_pool::BufferPool;

use crate::digest::Digest;

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
    /// Those that are not pinned, by when they were used last.
    loose: BTreeMap<u64, Digest>,
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

#[derive(Debug)]
struct Entry {
    bytes: Arc<Vec<u8>>,
    pins: u32,
    /// The clock when it was used last.
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

    /// Keeps no more than so many bytes of what is here, but for what is pinned, and no memory of what has gone. More may come.
    pub fn trim(&self, bytes_max: u64) {
        let mut inner = self.inner();
        inner.evict(bytes_max, None, &self.buffers);
        inner.evict_partial(bytes_max / PARTIAL_SHARE);
        drop(inner);
        self.buffers.clear();
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
        whole.or_else(|| inner.partial.get(digest).map(|(_, part)| part.held_bytes() as usize)).unwrap_or(0) as u64
    }

    /// Takes in an object whose digest has been verified.
    pub fn insert(&self, digest: Digest, bytes: Arc<Vec<u8>>) {
        let mut inner = self.inner();
        if inner.insert(digest, bytes) {
            inner.evict(self.bytes_max(), Some(&digest), &self.buffers);
        }
    }

    /// The same, and [pins](Store::pin) it, before anybody else's can drive it out.
    pub fn insert_pinned(&self, digest: Digest, bytes: Arc<Vec<u8>>) {
        let mut inner = self.inner();
        let is_new = inner.insert(digest, bytes);
        inner.pin(&digest);
        if is_new {
            inner.evict(self.bytes_max(), None, &self.buffers);
        }
    }

    /// Keeps the object until as many [`Store::unpin`]s. False if it is not here.
    pub fn pin(&self, digest: &Digest) -> bool {
        self.inner().pin(digest)
    }

    /// Takes a pin back.
    pub fn unpin(&self, digest: &Digest) {
        let mut inner = self.inner();
        if let Some(entry) = inner.objects.get_mut(digest)
            && entry.pins > 0
        {
            entry.pins -= 1;
            if entry.pins == 0 {
                let used = entry.used;
                inner.loose.insert(used, *digest);
            }
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
            part.shrink();
        }
        let mut inner = self.inner();
        if part.held_bytes() == 0 || part.cost_bytes() > allowed || inner.objects.contains_key(&part.digest()) {
            return;
        }
        inner.take_partial(&part.digest());
        inner.clock += 1;
        let now = inner.clock;
        inner.partial_bytes += part.cost_bytes();
        inner.partial_order.insert(now, part.digest());
        inner.partial.insert(part.digest(), (now, part));
        inner.evict_partial(allowed);
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
        if self.loose.remove(&entry.used).is_some() {
            self.loose.insert(self.clock, *digest);
        }
        entry.used = self.clock;
        Some(entry)
    }

    /// Takes in an object, unless it is here. Says whether it is new.
    fn insert(&mut self, digest: Digest, bytes: Arc<Vec<u8>>) -> bool {
        self.take_partial(&digest);
        if self.touch(&digest).is_some() {
            return false;
        }
        self.bytes += bytes.len() as u64;
        let used = self.clock;
        self.objects.insert(digest, Entry { bytes, pins: 0, used });
        self.loose.insert(used, digest);
        true
    }

    fn pin(&mut self, digest: &Digest) -> bool {
        let Some(entry) = self.touch(digest) else { return false };
        entry.pins += 1;
        let used = entry.used;
        self.loose.remove(&used);
        true
    }

    fn forget(&mut self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        let entry = self.objects.remove(digest)?;
        self.loose.remove(&entry.used);
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

    /// Lets go of what was cut off first.
    fn evict_partial(&mut self, bytes_max: u64) {
        while self.partial_bytes > bytes_max
            && let Some((_, oldest)) = self.partial_order.first_key_value()
        {
            let oldest = *oldest;
            self.take_partial(&oldest);
        }
    }

    /// Lets go of what was used least recently, but not of `keep`, which has just come.
    fn evict(&mut self, bytes_max: u64, keep: Option<&Digest>, buffers: &BufferPool) {
        while self.bytes > bytes_max {
            // What has just come was used last: at most one is passed over.
            let Some(oldest) = self.loose.values().copied().find(|digest| Some(digest) != keep) else { return };
            if let Some(bytes) = self.forget(&oldest) {
                buffers.put(bytes);
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::assembly::PARTIAL_COST_BYTES;
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
    fn what_comes_pinned_stays_however_little_room_there_is_and_whatever_comes_after_it() {
        let store = Store::new(50);
        let [(a, bytes_a), (b, bytes_b)] = [1, 2].map(object);
        store.insert_pinned(a, bytes_a.clone());
        store.insert_pinned(a, bytes_a);
        store.insert(b, bytes_b);
        store.unpin(&b);
        assert!(store.holds(&a) && !store.holds(&b));
        store.unpin(&a);
        assert!(store.holds(&a), "it was pinned twice");
        store.unpin(&a);
        assert_eq!(store.bytes(), 0);
    }

    #[test]
    fn what_is_trimmed_is_what_was_used_least_recently_and_is_not_pinned() {
        let store = Store::new(u64::MAX);
        let objects: Vec<_> = (0..100).map(object).collect();
        objects.iter().for_each(|(digest, bytes)| store.insert(*digest, bytes.clone()));
        assert!(store.pin(&objects[3].0) && store.pin(&objects[3].0) && store.pin(&objects[4].0));
        store.unpin(&objects[3].0);
        store.unpin(&objects[4].0);
        assert!(store.get(&objects[7].0).is_some());
        let cut_off = cut_off(&store, 0, 4_000);
        store.trim(350);
        let held: Vec<usize> = (0..100).filter(|&index| store.holds(&objects[index].0)).collect();
        assert_eq!((held, store.held_bytes(&cut_off)), (vec![3, 4, 7], 0), "4 was used when it was pinned");
        store.unpin(&objects[3].0);
        store.trim(0);
        let inner = store.inner();
        assert_eq!((inner.objects.len(), inner.loose.len(), inner.bytes, inner.partial_bytes), (0, 0, 0, 0));
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
}
