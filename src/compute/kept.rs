//! Updates too large for a TRAINED message, until their coordinator has fetched them. Owns how long they stay: until they
//! have been read to their end, or the link that they were trained for ends (protocol.md, "A task's life"); and the
//! memory that they leave to those after them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::duties::{Duties, Duty, Kind};
use crate::digest::Digest;
use crate::store::Store;
use crate::wire::message::Fetch;

/// One link's updates. Pinned in the store while they are kept here; what is left when this is dropped is let go.
pub(super) struct Kept {
    store: Arc<Store>,
    duties: Duties,
    updates: Mutex<Updates>,
}

#[derive(Default)]
struct Updates {
    /// One may be there more than once.
    kept: Vec<Update>,
    /// Asked for to their end: on their way still, perhaps, and soon of no more use.
    fetched: Vec<Digest>,
}

struct Update {
    digest: Digest,
    object_bytes: u64,
    /// Owed until it is let go.
    _duty: Duty,
}

impl Kept {
    pub(super) fn new(store: Arc<Store>, duties: Duties) -> Kept {
        Kept { store, duties, updates: Mutex::default() }
    }

    /// Memory for an update of so many bytes: that of one that has been fetched, where there is one.
    pub(super) fn room(&self, bytes: u64) -> Vec<u8> {
        for digest in self.updates().fetched.drain(..) {
            self.store.remove(&digest);
        }
        self.store.spares().take(bytes)
    }

    /// Keeps an update.
    pub(super) fn keep(&self, digest: Digest, bytes: Arc<Vec<u8>>) {
        let object_bytes = bytes.len() as u64;
        self.store.insert(digest, bytes);
        if self.store.pin(&digest) {
            let duty = self.duties.owe(Kind::Update);
            self.updates().kept.push(Update { digest, object_bytes, _duty: duty });
        }
    }

    /// Lets an update go once its end has been asked for.
    pub(super) fn fetched(&self, fetch: &Fetch) {
        let mut updates = self.updates();
        let is_it = |update: &Update| update.digest == fetch.digest;
        let Some(place) = updates.kept.iter().position(is_it) else { return };
        if fetch.offset.saturating_add(fetch.bytes_max.into()) < updates.kept[place].object_bytes {
            return;
        }
        updates.kept.remove(place);
        if !updates.kept.iter().any(is_it) {
            updates.fetched.push(fetch.digest);
        }
        self.store.unpin(&fetch.digest);
    }

    #[inline(never)] // Locking takes more code than a call, and is done in many places.
    fn updates(&self) -> MutexGuard<'_, Updates> {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let updates = std::mem::take(&mut *self.updates());
        updates.kept.iter().for_each(|update| self.store.unpin(&update.digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_stays_until_its_end_has_been_asked_for_however_little_room_there_is() {
        let store = Arc::new(Store::new(0));
        let kept = Kept::new(store.clone(), Duties::default());
        let (update, other) = (vec![1; 1000], vec![2; 1000]);
        let digest = Digest::of(&update);
        kept.keep(digest, Arc::new(update));
        kept.keep(Digest::of(&other), Arc::new(other));
        kept.fetched(&Fetch { digest, offset: 0, bytes_max: 999 });
        assert!(store.holds(&digest));
        kept.fetched(&Fetch { digest, offset: 999, bytes_max: 1 });
        assert!(!store.holds(&digest), "a store without room lets it go at once");
    }

    #[test]
    fn an_update_that_was_fetched_leaves_its_memory_to_the_next() {
        let store = Arc::new(Store::new(u64::MAX));
        let kept = Kept::new(store.clone(), Duties::default());
        let update = vec![1; 1 << 20];
        let (digest, place) = (Digest::of(&update), update.as_ptr());
        kept.keep(digest, Arc::new(update));
        assert_eq!(kept.room(1 << 20).capacity(), 0, "it is kept");
        kept.fetched(&Fetch { digest, offset: 0, bytes_max: 1 << 20 });
        assert!(store.holds(&digest), "it may still be on its way");
        let room = kept.room(1 << 20);
        assert_eq!((room.as_ptr(), room.len()), (place, 0));
    }

    #[test]
    fn what_was_never_fetched_goes_with_the_link() {
        let store = Arc::new(Store::new(0));
        let kept = Kept::new(store.clone(), Duties::default());
        let digest = Digest::of(&[1; 1000]);
        kept.keep(digest, Arc::new(vec![1; 1000]));
        kept.keep(digest, Arc::new(vec![1; 1000]));
        assert!(store.holds(&digest));
        drop(kept);
        assert!(!store.holds(&digest));
    }
}
