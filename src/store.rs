//! Objects in memory, by digest, within a budget of bytes. Owns what is kept and what goes first; does not know how
//! objects travel or what they hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::digest::{Digest, Hasher};

/// Objects by digest. What is pinned stays; of the rest the least recently used goes when the budget is passed.
#[derive(Debug)]
pub struct Store {
    bytes_max: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    objects: HashMap<Digest, Entry>,
    /// Objects that have begun to arrive and were cut off.
    partial: HashMap<Digest, Assembly>,
    bytes: u64,
    /// Grows with every use.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    bytes: Arc<Vec<u8>>,
    pins: u32,
    used: u64,
}

impl Store {
    /// A store that holds up to `bytes_max` bytes beyond what is pinned.
    pub fn new(bytes_max: u64) -> Store {
        Store { bytes_max, inner: Mutex::default() }
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
        whole.or_else(|| inner.partial.get(digest).map(|part| part.bytes.len())).unwrap_or(0) as u64
    }

    /// Takes in an object whose digest has been verified.
    pub fn insert(&self, digest: Digest, bytes: Arc<Vec<u8>>) {
        let mut inner = self.inner();
        inner.partial.remove(&digest);
        if inner.touch(&digest).is_none() {
            inner.clock += 1;
            inner.bytes += bytes.len() as u64;
            let used = inner.clock;
            inner.objects.insert(digest, Entry { bytes, pins: 0, used });
            inner.evict(self.bytes_max, Some(&digest));
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
        inner.evict(self.bytes_max, None);
    }

    /// Forgets the object, unless it is pinned.
    pub fn remove(&self, digest: &Digest) {
        let mut inner = self.inner();
        if inner.objects.get(digest).is_some_and(|entry| entry.pins == 0) {
            inner.forget(digest);
        }
    }

    /// What has arrived of an object that is not whole, to go on from there; or its beginning.
    pub fn resume(&self, digest: &Digest) -> Assembly {
        self.inner().partial.remove(digest).unwrap_or_else(|| Assembly::new(*digest))
    }

    /// Keeps what has arrived of an object that was cut off.
    pub fn suspend(&self, part: Assembly) {
        let mut inner = self.inner();
        let held: usize = inner.partial.values().map(|part| part.bytes.len()).sum();
        let fits = held as u64 + part.bytes.len() as u64 <= self.bytes_max / 4;
        if !part.bytes.is_empty() && fits && !inner.objects.contains_key(&part.digest) {
            inner.partial.insert(part.digest, part);
        }
    }

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

    fn forget(&mut self, digest: &Digest) {
        if let Some(entry) = self.objects.remove(digest) {
            self.bytes -= entry.bytes.len() as u64;
        }
    }

    /// Lets go of what was used least recently, but not of `keep`, which has just come.
    fn evict(&mut self, bytes_max: u64, keep: Option<&Digest>) {
        while self.bytes > bytes_max {
            let loose = self.objects.iter().filter(|(digest, entry)| entry.pins == 0 && Some(*digest) != keep);
            let Some(oldest) = loose.min_by_key(|(_, entry)| entry.used).map(|(digest, _)| *digest) else { return };
            self.forget(&oldest);
        }
    }
}

/// An object on its way: grows as bytes arrive, whatever size was announced, and is believed once its digest is right.
#[derive(Clone, Debug)]
pub struct Assembly {
    digest: Digest,
    bytes: Vec<u8>,
    hasher: Hasher,
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
    pub fn new(digest: Digest) -> Assembly {
        Assembly { digest, bytes: Vec::new(), hasher: Hasher::default() }
    }

    /// The name.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes that have arrived.
    pub fn held_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Takes the next bytes in.
    pub fn append(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes.extend_from_slice(bytes);
    }

    /// The whole object, if its digest is right.
    pub fn finish(self) -> Result<Vec<u8>, WrongDigest> {
        let got = self.hasher.finish();
        if got == self.digest { Ok(self.bytes) } else { Err(WrongDigest { wanted: self.digest, got }) }
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
        let store = Store::new(1000);
        let (digest, bytes) = object(7);
        let mut part = store.resume(&digest);
        part.append(&bytes[..60]);
        store.suspend(part);
        assert_eq!(store.held_bytes(&digest), 60);
        let mut part = store.resume(&digest);
        part.append(&bytes[60..]);
        assert_eq!(part.finish().as_ref(), Ok(&*bytes));
    }

    #[test]
    fn bytes_of_another_digest_are_refused() {
        let mut part = Assembly::new(object(1).0);
        part.append(&object(2).1);
        assert_eq!(part.finish(), Err(WrongDigest { wanted: object(1).0, got: object(2).0 }));
    }
}
