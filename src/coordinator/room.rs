//! Room for jobs' data: what is here of jobs that have not ended, and what is on its way from clients, charged as it comes. What
//! a client only says that it has costs nothing. Owns that sum; does not know jobs, nor who gives way where there is no room.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_key::ClientKey;
use crate::digest::Digest;
use crate::store::{Assembly, Part, Store, Workbench, WrongDigest};

/// The room that there is for jobs' data.
#[derive(Clone)]
pub(super) struct Room(Arc<Mutex<State>>);

struct State {
    bytes_max: u64,
    /// Of jobs that have not ended, as far as it is here.
    kept_bytes: u64,
    /// On its way.
    coming: HashMap<ClientKey, u64>,
}

impl Room {
    pub(super) fn new(bytes_max: u64) -> Room {
        Room(Arc::new(Mutex::new(State { bytes_max, kept_bytes: 0, coming: HashMap::new() })))
    }

    /// So much is here.
    pub(super) fn keep(&self, bytes: u64) {
        self.state().kept_bytes = bytes;
    }

    /// What is on its way from each client.
    pub(super) fn coming(&self) -> Vec<(ClientKey, u64)> {
        self.state().coming.iter().map(|(client, bytes)| (*client, *bytes)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an object takes of the room until its job keeps it; given back when dropped.
pub(super) struct Charge {
    room: Room,
    client: ClientKey,
    bytes: u64,
}

impl Charge {
    fn new(room: &Room, client: ClientKey) -> Charge {
        Charge { room: room.clone(), client, bytes: 0 }
    }

    /// Whether there is room for so many bytes, and if so, takes it.
    fn grow_to(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let mut state = self.room.state();
        let taken = state.coming.values().fold(state.kept_bytes, |sum, bytes| sum.saturating_add(*bytes));
        if more > 0 && taken.saturating_add(more) > state.bytes_max {
            return false;
        }
        *state.coming.entry(self.client).or_default() += more;
        self.bytes += more;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.room.state();
        if let Some(coming) = state.coming.get_mut(&self.client) {
            *coming = coming.saturating_sub(self.bytes);
            if *coming == 0 {
                state.coming.remove(&self.client);
            }
        }
    }
}

/// Where the objects come together that come from one client.
pub(super) struct Inbox {
    store: Arc<Store>,
    room: Room,
    client: ClientKey,
}

impl Inbox {
    pub(super) fn new(store: Arc<Store>, room: Room, client: ClientKey) -> Inbox {
        Inbox { store, room, client }
    }
}

impl Workbench for Inbox {
    type Part = Coming;

    fn resume(&self, digest: &Digest) -> Coming {
        Coming { part: self.store.resume(digest), charge: Charge::new(&self.room, self.client) }
    }

    fn suspend(&self, part: Coming) {
        self.store.suspend(part.part);
    }
}

/// An object on its way from a client.
pub(super) struct Coming {
    part: Assembly,
    charge: Charge,
}

impl Part for Coming {
    type Whole = (Arc<Vec<u8>>, Charge);

    fn held_bytes(&self) -> u64 {
        self.part.held_bytes()
    }

    fn makes_room(&mut self, bytes: u64, _: u64) -> bool {
        self.charge.grow_to(bytes)
    }

    fn append(&mut self, bytes: &[u8], object_bytes: u64) {
        self.part.append(bytes, object_bytes);
    }

    fn begin_again(&self) -> Coming {
        Coming { part: self.part.begin_again(), charge: Charge::new(&self.charge.room, self.charge.client) }
    }

    fn finish(self) -> Result<Self::Whole, WrongDigest> {
        Ok((Arc::new(self.part.finish()?), self.charge))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_charged_until_it_is_kept_or_dropped_and_what_is_only_announced_is_not() {
        let (room, store) = (Room::new(1_000), Arc::new(Store::new(1_000)));
        let inbox = |client| Inbox::new(store.clone(), room.clone(), ClientKey(client));
        let object = vec![7; 600];
        let digest = Digest::of(&object);
        let mut first = inbox(1).resume(&digest);
        assert!(first.makes_room(400, u64::MAX) && first.makes_room(300, u64::MAX));
        assert_eq!(room.coming(), [(ClientKey(1), 400)]);
        let mut second = inbox(2).resume(&Digest([1; 32]));
        assert!(second.makes_room(600, 700) && !second.makes_room(601, 700));
        assert!(!first.makes_room(401, 600), "all is taken");
        inbox(2).suspend(second);
        assert!(first.makes_room(600, 600));
        first.append(&object, 600);
        let (whole, charge) = first.finish().unwrap();
        assert_eq!((whole.len(), room.coming()), (600, vec![(ClientKey(1), 600)]));
        // Its job has it now.
        room.keep(600);
        drop(charge);
        let mut third = inbox(3).resume(&Digest([2; 32]));
        assert!(third.makes_room(400, 400) && !third.makes_room(401, 401));
        drop(third);
        assert_eq!(room.coming(), []);
    }
}
