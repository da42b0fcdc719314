//! Large updates between being offered and being merged. Owns how many bytes of them there may be at a time, so that the
//! coordinator's memory does not grow with nodes and shards; does not know how updates travel or what is in them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::Sender;

use super::driver::Input;
use crate::digest::Digest;
use crate::engine::LinkKey;

/// Updates that wait for room, and those that have it.
pub(super) struct Transfers {
    bytes_max: u64,
    in_flight: Arc<InFlight>,
    inputs: Sender<Input>,
    offered: VecDeque<(LinkKey, Digest, u64)>,
    under_way: HashMap<(LinkKey, Digest), Room>,
}

/// So many updates may be in flight however large they are: one at the end of a slow line does not hold up all others.
const UPDATES_MIN: usize = 2;

#[derive(Default)]
struct InFlight {
    updates: AtomicUsize,
    bytes: AtomicU64,
}

/// A share of what may be in flight; given back when dropped.
pub(super) struct Room {
    own_bytes: u64,
    in_flight: Arc<InFlight>,
    inputs: Sender<Input>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.in_flight.updates.fetch_sub(1, Ordering::AcqRel);
        self.in_flight.bytes.fetch_sub(self.own_bytes, Ordering::AcqRel);
        // Where the channel is full the driver is busy, and looks for room at its next beat; where it is closed there is
        // nothing left to fetch.
        let _ = self.inputs.try_send(Input::Room);
    }
}

impl Transfers {
    pub(super) fn new(bytes_max: u64, inputs: Sender<Input>) -> Transfers {
        Transfers { bytes_max, in_flight: Arc::default(), inputs, offered: VecDeque::new(), under_way: HashMap::new() }
    }

    /// A node has an update of so many bytes.
    pub(super) fn offer(&mut self, link: LinkKey, digest: Digest, bytes: u64) {
        self.offered.push_back((link, digest, bytes));
    }

    /// The next update that there is room for.
    pub(super) fn begin(&mut self) -> Option<(LinkKey, Digest, u64)> {
        let &(link, digest, own_bytes) = self.offered.front()?;
        let InFlight { updates, bytes } = &*self.in_flight;
        let fits = bytes.load(Ordering::Acquire) + own_bytes <= self.bytes_max;
        if !fits && updates.load(Ordering::Acquire) >= UPDATES_MIN {
            return None;
        }
        self.offered.pop_front();
        updates.fetch_add(1, Ordering::AcqRel);
        bytes.fetch_add(own_bytes, Ordering::AcqRel);
        let room = Room { own_bytes, in_flight: self.in_flight.clone(), inputs: self.inputs.clone() };
        self.under_way.insert((link, digest), room);
        Some((link, digest, own_bytes))
    }

    /// An update has arrived, or will not: its room goes with it.
    pub(super) fn take(&mut self, link: LinkKey, digest: &Digest) -> Option<Room> {
        self.under_way.remove(&(link, *digest))
    }

    /// What was to come over this link does not come.
    pub(super) fn link_ended(&mut self, link: LinkKey) {
        self.offered.retain(|(other, ..)| *other != link);
        self.under_way.retain(|(other, _), _| *other != link);
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;

    #[test]
    fn updates_wait_their_turn_until_there_is_room() {
        let (inputs, told) = unbounded();
        let mut transfers = Transfers::new(100, inputs);
        let digests = [1u8, 2, 3, 4, 5, 6].map(|byte| Digest::of(&[byte]));
        for (digest, bytes) in digests.iter().zip([50, 40, 10, 5, 500, 600]) {
            transfers.offer(LinkKey(1), *digest, bytes);
        }
        for (digest, bytes) in digests.iter().zip([50, 40, 10]) {
            assert_eq!(transfers.begin(), Some((LinkKey(1), *digest, bytes)));
        }
        assert_eq!(transfers.begin(), None, "all room is taken");
        drop(transfers.take(LinkKey(1), &digests[0]));
        assert!(matches!(told.try_recv(), Ok(Input::Room)));
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[3], 5)));
        assert_eq!(transfers.begin(), None, "the large one waits until there are few");
        drop(transfers.take(LinkKey(1), &digests[1]));
        drop(transfers.take(LinkKey(1), &digests[2]));
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[4], 500)));
        assert_eq!(transfers.begin(), None, "two at a time, however large");
        drop(transfers.take(LinkKey(1), &digests[3]));
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[5], 600)));
    }

    #[test]
    fn a_link_that_ends_gives_its_room_back() {
        let (inputs, _told) = unbounded();
        let mut transfers = Transfers::new(100, inputs);
        let digest = Digest::of(b"update");
        let other = Digest::of(b"other");
        for (link, digest) in [(1, digest), (1, other), (1, digest), (2, digest)] {
            transfers.offer(LinkKey(link), digest, 100);
        }
        assert!(transfers.begin().is_some() && transfers.begin().is_some());
        assert_eq!(transfers.begin(), None);
        transfers.link_ended(LinkKey(1));
        assert_eq!(transfers.begin(), Some((LinkKey(2), digest, 100)));
    }
}
