//! Large updates between being offered and being merged. Owns how many bytes of them there may be at a time; does not
//! know how they travel or what is in them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;

use super::driver::Input;
use crate::digest::Digest;
use crate::engine::LinkKey;

/// Updates that wait for room, and those that have it.
pub(super) struct Transfers {
    bytes_max: u64,
    bytes: Arc<AtomicU64>,
    inputs: Sender<Input>,
    offered: VecDeque<(LinkKey, Digest, u64)>,
    under_way: HashMap<(LinkKey, Digest), Room>,
}

/// A share of the bytes in flight; given back when dropped.
pub(super) struct Room {
    own_bytes: u64,
    bytes: Arc<AtomicU64>,
    inputs: Sender<Input>,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.bytes.fetch_sub(self.own_bytes, Ordering::AcqRel);
        // Where the channel is full the driver is busy, and looks for room at its next beat; where it is closed there is
        // nothing left to fetch.
        let _ = self.inputs.try_send(Input::Room);
    }
}

impl Transfers {
    pub(super) fn new(bytes_max: u64, inputs: Sender<Input>) -> Transfers {
        Transfers { bytes_max, bytes: Arc::default(), inputs, offered: VecDeque::new(), under_way: HashMap::new() }
    }

    /// A node has an update of so many bytes.
    pub(super) fn offer(&mut self, link: LinkKey, digest: Digest, bytes: u64) {
        self.offered.push_back((link, digest, bytes));
    }

    /// The next update that there is room for. One that is larger than all the room there is comes alone.
    pub(super) fn begin(&mut self) -> Option<(LinkKey, Digest, u64)> {
        let &(link, digest, own_bytes) = self.offered.front()?;
        let held = self.bytes.load(Ordering::Acquire);
        if held > 0 && held + own_bytes > self.bytes_max {
            return None;
        }
        self.offered.pop_front();
        self.bytes.fetch_add(own_bytes, Ordering::AcqRel);
        let room = Room { own_bytes, bytes: self.bytes.clone(), inputs: self.inputs.clone() };
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
        let digests = [1u8, 2, 3, 4].map(|byte| Digest::of(&[byte]));
        for (digest, bytes) in digests.iter().zip([60, 40, 10, 500]) {
            transfers.offer(LinkKey(1), *digest, bytes);
        }
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[0], 60)));
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[1], 40)));
        assert_eq!(transfers.begin(), None, "all room is taken");
        drop(transfers.take(LinkKey(1), &digests[0]));
        assert!(matches!(told.try_recv(), Ok(Input::Room)));
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[2], 10)));
        assert_eq!(transfers.begin(), None, "the large one waits until it is alone");
        drop(transfers.take(LinkKey(1), &digests[1]));
        drop(transfers.take(LinkKey(1), &digests[2]));
        assert_eq!(transfers.begin(), Some((LinkKey(1), digests[3], 500)));
    }

    #[test]
    fn a_link_that_ends_gives_its_room_back() {
        let (inputs, _told) = unbounded();
        let mut transfers = Transfers::new(100, inputs);
        let digest = Digest::of(b"update");
        for link in [1, 1, 2] {
            transfers.offer(LinkKey(link), digest, 100);
        }
        assert!(transfers.begin().is_some());
        transfers.link_ended(LinkKey(1));
        assert_eq!(transfers.begin(), Some((LinkKey(2), digest, 100)));
    }
}
