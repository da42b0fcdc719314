//! Large updates between being offered and being merged. Owns how many bytes of them there may be at a time, so that the
//! coordinator's memory does not grow with nodes and shards, and the memory that they leave to each other; does not know
//! how updates travel or what is in them.
//!
//! Whoever has begun must be able to end: the update of which most is here, of those that are on their way, finds room for
//! the rest of it at any time. So all others on their way together hold no more than what there is beyond one. An update
//! that is whole asks for nothing: it is merged and gone. Updates of another size, which a cancelled job may have left on
//! their way, reckon with another size of one: where that leaves room for nobody, the furthest goes on all the same.
//!
//! A merge that works on a copy makes it where updates were: it waits until those on their way have left it room, and until it
//! gives that back no more of them come than there is room for beside it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::LinkKey;
use crate::net;

/// Memory comes in pieces of so many bytes: one is free again as soon as what is in it is merged.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Beyond one update there is room for this part of another, however large they are.
const MORE_PART: u64 = 8;
/// An update that has not been kept waiting for so long, and comes more slowly than this, is waited for by nobody: beside it
/// there is room as if it were not there. There is one of them at a time.
const LATE_AFTER: Duration = Duration::from_secs(1);
const LATE_BYTES_A_SECOND: u64 = 4 << 20;
/// What is on its way when a copy is to be made comes from nodes that have all but trained: who is waited for longer is a slow link,
/// and then memory may be short, but the job goes on.
const COPY_WAIT_MAX: Duration = Duration::from_secs(5);

/// All of them.
#[derive(Clone)]
pub(super) struct Transfers(Arc<Shared>);

struct Shared {
    bytes_max: u64,
    tell: Box<dyn Fn() + Send + Sync>,
    state: Mutex<InFlight>,
    /// Something has given its memory back.
    freed: Condvar,
}

#[derive(Default)]
struct InFlight {
    next: u64,
    /// Updates of which nothing has been asked for, by number: in the order in which they were offered.
    offered: BTreeMap<u64, Transfer>,
    /// All others.
    begun: BTreeMap<u64, Transfer>,
    /// Of these, the one that is waited for by nobody.
    late: Option<u64>,
    /// Memory to be used again.
    spare: Vec<Vec<u8>>,
    /// Where a merge works on a copy, or waits for the room to make one.
    copy: Option<Copying>,
}

struct Copying {
    bytes: u64,
    /// Whether it has its room. Before that, what has begun may end.
    has_room: bool,
}

struct Transfer {
    link: LinkKey,
    /// Its size.
    whole_bytes: u64,
    /// Of these, here or asked for, and not merged.
    held_bytes: u64,
    arrived_bytes: u64,
    /// When it last began or went on, and what had arrived then.
    since: (Duration, u64),
    is_whole: bool,
    /// Up to where there was no room when it was asked for; until it is told that there is.
    refused: Option<u64>,
    /// Whether it was refused room last.
    is_kept_waiting: bool,
}

/// A copy's share of what there may be; given back when dropped.
pub(super) struct CopyRoom(Transfers);

/// An update's share of what there may be; given back when dropped.
pub(super) struct Reservation {
    number: u64,
    transfers: Transfers,
}

impl Transfers {
    /// Of up to `bytes_max` bytes, or of one update and a part of another where that is more. When there is room again for
    /// who has been refused it, `tell` is called, by whichever thread has made room: it must not wait.
    pub(super) fn new(bytes_max: u64, tell: impl Fn() + Send + Sync + 'static) -> Transfers {
        Transfers(Arc::new(Shared { bytes_max, tell: Box::new(tell), state: Mutex::default(), freed: Condvar::new() }))
    }

    /// An update is to be had over this link.
    pub(super) fn begin(&self, link: LinkKey) -> Reservation {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let transfer = Transfer {
            link,
            whole_bytes: 0,
            held_bytes: 0,
            arrived_bytes: 0,
            since: (net::now(), 0),
            is_whole: false,
            refused: None,
            is_kept_waiting: false,
        };
        state.offered.insert(number, transfer);
        Reservation { number, transfers: self.clone() }
    }

    /// The link over which the first update comes for whose next bytes there is room by now.
    pub(super) fn next(&self) -> Option<LinkKey> {
        let mut state = self.state();
        let number = state.first_to_go_on(self.0.bytes_max)?;
        let transfer = state.transfer(number)?;
        transfer.refused = None;
        Some(transfer.link)
    }

    /// Makes room for a copy of so many bytes, of which there is one at a time. Waits until what is on its way leaves it that, for as
    /// long as anybody is to be waited for; not where other jobs are there, whose updates may wait for the same thread, and for whose
    /// there is memory of their own.
    pub(super) fn make_room_for_copy(&self, bytes: u64, is_only_job: bool) -> CopyRoom {
        self.make_room_within(if is_only_job { COPY_WAIT_MAX } else { Duration::ZERO }, bytes).0
    }

    /// The same; says whether there is room.
    fn make_room_within(&self, wait: Duration, bytes: u64) -> (CopyRoom, bool) {
        let deadline = Instant::now() + wait;
        let beside = self.0.bytes_max.saturating_sub(bytes);
        let mut state = self.state();
        state.copy = Some(Copying { bytes, has_room: false });
        let has_room = loop {
            let held: u64 = state.begun.values().map(|transfer| transfer.held_bytes).sum();
            let left = deadline.saturating_duration_since(Instant::now());
            if held <= beside || left.is_zero() {
                break held <= beside;
            }
            state = self.0.freed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.copy = Some(Copying { bytes, has_room: true });
        drop(state);
        self.clear();
        (CopyRoom(self.clone()), has_room)
    }

    /// Gives memory that is not in use back to the system.
    pub(super) fn clear(&self) {
        let spare = std::mem::take(&mut self.state().spare);
        if !spare.is_empty() {
            drop(spare);
            net::give_memory_back();
        }
    }

    fn chunk(&self, bytes: usize) -> Vec<u8> {
        let spare = if bytes == CHUNK_BYTES { self.state().spare.pop() } else { None };
        spare.unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    /// Changes what is held, and tells if somebody can go on for that.
    fn change(&self, change: impl FnOnce(&mut InFlight)) {
        let mut state = self.state();
        change(&mut state);
        let can_go_on = state.first_to_go_on(self.0.bytes_max).is_some();
        drop(state);
        self.0.freed.notify_all();
        if can_go_on {
            (self.0.tell)();
        }
    }

    fn state(&self) -> MutexGuard<'_, InFlight> {
        // Every change is whole before anything can panic.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InFlight {
    fn transfer(&mut self, number: u64) -> Option<&mut Transfer> {
        self.begun.get_mut(&number).or_else(|| self.offered.get_mut(&number))
    }

    /// The first of those that have been refused room for which there is some now. Of those that have not begun there is
    /// room for none if there is none for the first.
    fn first_to_go_on(&mut self, bytes_max: u64) -> Option<u64> {
        let refused = |(&number, transfer): (&u64, &Transfer)| Some((number, transfer.refused?));
        let mut candidates: Vec<_> = self.begun.iter().filter_map(refused).collect();
        candidates.extend(self.offered.iter().find_map(refused));
        let mut candidates = candidates.into_iter();
        candidates.find(|&(number, bytes)| self.has_room(number, bytes, bytes_max)).map(|(number, _)| number)
    }

    /// Whether an update may hold its first `bytes` bytes.
    fn has_room(&mut self, number: u64, bytes: u64, bytes_max: u64) -> bool {
        let fits = |state: &mut InFlight| state.fits(number, bytes, bytes_max);
        fits(self) || self.leave_behind(number, net::now()) && fits(self)
    }

    fn fits(&mut self, number: u64, bytes: u64, bytes_max: u64) -> bool {
        let late = self.late;
        if late == Some(number) {
            return true;
        }
        let Some(whole_bytes) = self.transfer(number).map(|transfer| transfer.whole_bytes) else { return false };
        let more = bytes_max.saturating_sub(whole_bytes).max(whole_bytes / MORE_PART);
        let (mut merging, mut coming, mut furthest) = (0, bytes, bytes);
        let copied = self.copy.as_ref().map_or(0, |copy| copy.bytes);
        let is_copied = self.copy.as_ref().is_some_and(|copy| copy.has_room);
        let mut is_furthest = self.begun.contains_key(&number);
        let held_before = self.begun.get(&number).map_or(0, |transfer| transfer.held_bytes);
        let others = self.begun.iter().filter(|(other, _)| **other != number && late != Some(**other));
        for (other, Transfer { held_bytes, is_whole, .. }) in others {
            if *is_whole {
                merging += held_bytes;
            } else {
                coming += held_bytes;
                furthest = furthest.max(*held_bytes);
                is_furthest &= (*held_bytes, *other) < (held_before, number);
            }
        }
        let fits = merging + coming + copied <= whole_bytes + more && coming - furthest <= more;
        // As long as anything is being merged, room comes of that.
        fits || is_furthest && merging == 0 && !is_copied
    }

    /// Finds one that nobody is to wait for any more; not this one. Says whether one was found.
    fn leave_behind(&mut self, besides: u64, now: Duration) -> bool {
        if self.late.is_some() {
            return false;
        }
        let is_late = |(number, transfer): &(&u64, &Transfer)| {
            let (since, before_bytes) = transfer.since;
            let age = now.saturating_sub(since);
            let least = before_bytes as f64 + age.as_secs_f64() * LATE_BYTES_A_SECOND as f64;
            let is_asked = !transfer.is_whole && !transfer.is_kept_waiting;
            **number != besides && is_asked && age >= LATE_AFTER && (transfer.arrived_bytes as f64) < least
        };
        let slowest = self.begun.iter().filter(is_late).min_by_key(|(_, transfer)| transfer.arrived_bytes);
        self.late = slowest.map(|(&number, _)| number);
        self.late.is_some()
    }
}

impl Reservation {
    /// Whether there is room for the update's first `bytes` bytes, of `whole_bytes`, and if so, takes it. So many have
    /// arrived.
    pub(super) fn take(&self, bytes: u64, whole_bytes: u64, arrived_bytes: u64) -> bool {
        let mut state = self.transfers.state();
        let Some(transfer) = state.transfer(self.number) else { return false };
        (transfer.whole_bytes, transfer.arrived_bytes) = (whole_bytes, arrived_bytes);
        let has_room = state.has_room(self.number, bytes, self.transfers.0.bytes_max);
        if has_room && let Some(begins) = state.offered.remove(&self.number) {
            state.begun.insert(self.number, begins);
        }
        let Some(transfer) = state.transfer(self.number) else { return false };
        if has_room {
            if transfer.held_bytes == 0 || transfer.is_kept_waiting {
                transfer.since = (net::now(), arrived_bytes);
            }
            transfer.held_bytes = bytes;
        }
        transfer.refused = (!has_room).then_some(bytes);
        transfer.is_kept_waiting = !has_room;
        has_room
    }

    /// Empty memory for up to `bytes` bytes, and no more than [`CHUNK_BYTES`].
    pub(super) fn chunk(&self, bytes: u64) -> Vec<u8> {
        self.transfers.chunk(bytes.min(CHUNK_BYTES as u64) as usize)
    }

    /// All of it is here.
    pub(super) fn is_whole(&self) {
        self.transfers.change(|state| {
            if let Some(transfer) = state.transfer(self.number) {
                transfer.is_whole = true;
            }
            state.late.take_if(|late| *late == self.number);
        });
    }

    /// Takes back memory whose bytes are of no more use.
    pub(super) fn give_back(&self, mut chunk: Vec<u8>) {
        self.transfers.change(|state| {
            if let Some(transfer) = state.transfer(self.number) {
                transfer.held_bytes = transfer.held_bytes.saturating_sub(chunk.len() as u64);
            }
            if chunk.capacity() == CHUNK_BYTES && state.copy.is_none() {
                chunk.clear();
                state.spare.push(chunk);
            }
        });
    }
}

impl Drop for CopyRoom {
    fn drop(&mut self) {
        self.0.change(|state| state.copy = None);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.transfers.change(|state| {
            state.offered.remove(&self.number);
            state.begun.remove(&self.number);
            state.late.take_if(|late| *late == self.number);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use crossbeam_channel::{Receiver, unbounded};

    use super::*;

    /// Updates of 1,000 bytes each.
    const WHOLE: u64 = 1_000;

    fn transfers(bytes_max: u64) -> (Transfers, Receiver<()>) {
        let (tell, told) = unbounded();
        (Transfers::new(bytes_max, move || tell.send(()).unwrap_or_default()), told)
    }

    fn is_told(told: &Receiver<()>) -> bool {
        told.try_iter().next().is_some()
    }

    fn begin(transfers: &Transfers, links: std::ops::Range<u64>) -> Vec<Reservation> {
        links.map(|link| transfers.begin(LinkKey(link))).collect()
    }

    /// So many bytes are here or asked for, and arrive.
    fn take(room: &Reservation, bytes: u64) -> bool {
        room.take(bytes, WHOLE, bytes)
    }

    #[test]
    fn updates_that_fit_come_together_and_the_next_waits_until_one_is_merged() {
        let (transfers, told) = transfers(3 * WHOLE);
        let rooms = begin(&transfers, 0..4);
        assert!(rooms[..3].iter().all(|room| take(room, WHOLE)));
        assert!(!take(&rooms[3], 1));
        assert!(!is_told(&told) && transfers.next().is_none());
        rooms[1].is_whole();
        assert!(!is_told(&told), "it still takes its room");
        rooms[1].give_back(vec![0; 10]);
        assert!(is_told(&told));
        assert_eq!((transfers.next(), transfers.next()), (Some(LinkKey(3)), None));
        assert!(take(&rooms[3], 10) && !take(&rooms[3], 11));
    }

    #[test]
    fn of_large_updates_one_comes_and_a_part_of_others() {
        let (transfers, told) = transfers(1);
        let mut rooms = begin(&transfers, 0..3);
        assert!(take(&rooms[0], 500));
        // An eighth of an update is left for all others together.
        assert!(take(&rooms[1], 100) && !take(&rooms[2], 100) && take(&rooms[2], 25));
        assert!(!take(&rooms[1], 101));
        assert!(take(&rooms[0], WHOLE), "whoever is the furthest comes to its end");
        assert!(!is_told(&told));
        // As it is merged, another goes on, and is the furthest from then on.
        rooms[0].is_whole();
        assert!(!take(&rooms[1], 101), "all of it is still held");
        for _ in 0..5 {
            rooms[0].give_back(vec![0; 100]);
        }
        assert!(is_told(&told));
        assert_eq!(transfers.next(), Some(LinkKey(1)));
        assert!(take(&rooms[1], 600) && !take(&rooms[1], 601));
        drop(rooms.remove(0));
        assert!(is_told(&told) && take(&rooms[0], WHOLE));
    }

    #[test]
    fn whoever_has_begun_can_end() {
        // Every one takes what it gets, in turn, and is merged once it is whole.
        for bytes_max in [0, WHOLE, 2 * WHOLE, 100 * WHOLE] {
            let (transfers, _told) = transfers(bytes_max);
            let mut rooms: Vec<(Reservation, u64)> =
                begin(&transfers, 0..9).into_iter().map(|room| (room, 0)).collect();
            let mut most = 0;
            while !rooms.is_empty() {
                let before: u64 = rooms.iter().map(|(_, held)| held).sum();
                for (room, held) in &mut rooms {
                    if take(room, *held + 10) {
                        *held += 10;
                    }
                }
                let held: u64 = rooms.iter().map(|(_, held)| held).sum();
                assert!(held > before, "nobody goes on: {:?}", rooms.iter().map(|(_, held)| held).collect::<Vec<_>>());
                most = most.max(held);
                rooms.retain(|(_, held)| *held < WHOLE);
            }
            assert!(most <= bytes_max.max(WHOLE + WHOLE / MORE_PART), "{most} of {bytes_max}");
        }
    }

    #[test]
    fn whoever_has_begun_can_end_beside_updates_of_another_size() {
        // One large update has come a part of the way when many small ones begin; and the other way round.
        for (large_first, small) in [(400, 130), (400, 131), (10, 100), (999, 333)] {
            let (transfers, _told) = transfers(WHOLE + 70);
            let mut rooms: Vec<(Reservation, u64, u64)> = Vec::new();
            let mut begin = |link, bytes| rooms.push((transfers.begin(LinkKey(link)), 0, bytes));
            begin(0, WHOLE);
            (1..9).for_each(|link| begin(link, small));
            assert!(rooms[0].0.take(large_first, WHOLE, large_first));
            rooms[0].1 = large_first;
            let (mut most, mut turns) = (0, 0);
            while !rooms.is_empty() {
                // What is whole is merged only once nobody goes on.
                let mut has_gone_on = false;
                for (room, held, whole) in &mut rooms {
                    if *held < *whole && room.take(*held + 1, *whole, *held) {
                        *held += 1;
                        has_gone_on = true;
                        if *held == *whole {
                            room.is_whole();
                        }
                    }
                }
                most = most.max(rooms.iter().map(|(_, held, _)| held).sum::<u64>());
                if !has_gone_on {
                    let before = rooms.len();
                    rooms.retain(|(_, held, whole)| held < whole);
                    assert!(rooms.len() < before, "nobody goes on, and nothing is merged");
                }
                turns += 1;
                assert!(turns < 100_000);
            }
            assert!(most <= 2 * (WHOLE + 70), "{most} at a time");
        }
    }

    #[test]
    fn one_that_comes_too_slowly_is_waited_for_by_nobody() {
        let (transfers, _told) = transfers(1);
        let rooms = begin(&transfers, 0..3);
        assert!(rooms[0].take(500, WHOLE, 0) && take(&rooms[1], 125) && !take(&rooms[1], 130));
        assert_eq!(transfers.next(), None);
        // Whoever is kept waiting is not late.
        let much_later = net::now() + 1_000 * LATE_AFTER;
        assert!(!transfers.state().leave_behind(0, much_later));
        assert!(take(&rooms[1], 125));
        let (soon, later) = (net::now() + LATE_AFTER / 2, net::now() + 60 * LATE_AFTER);
        assert!(!transfers.state().leave_behind(1, soon) && !transfers.state().leave_behind(0, soon));
        rooms[1].take(125, WHOLE, 120 * LATE_BYTES_A_SECOND);
        assert!(!transfers.state().leave_behind(0, later), "it has come fast enough");
        assert!(transfers.state().leave_behind(1, later) && !transfers.state().leave_behind(1, later));
        assert!(take(&rooms[1], WHOLE) && rooms[0].take(WHOLE, WHOLE, 0));
        assert!(take(&rooms[2], 125) && !take(&rooms[2], 126), "one alone is left behind");
        rooms[0].is_whole();
        assert_eq!(transfers.state().late, None);
    }

    #[test]
    fn a_copy_waits_for_what_is_on_its_way_and_nothing_more_comes_beside_it() {
        for bytes_max in [1, 2 * WHOLE] {
            let (transfers, told) = transfers(bytes_max);
            let rooms = begin(&transfers, 0..3);
            assert!(take(&rooms[0], 500));
            rooms[0].give_back(rooms[0].chunk(CHUNK_BYTES as u64));
            assert!(take(&rooms[0], 500));
            // Nothing that is on its way ends: the copy is made all the same.
            let (copy, has_room) = transfers.make_room_within(Duration::ZERO, 2 * WHOLE);
            assert!(!has_room && transfers.state().spare.is_empty());
            rooms[0].give_back(rooms[0].chunk(CHUNK_BYTES as u64));
            assert!(transfers.state().spare.is_empty(), "it would stand beside the copy");
            assert!(!take(&rooms[0], 501) && !take(&rooms[1], 1) && !is_told(&told));
            drop(copy);
            assert!(is_told(&told));
            assert!(take(&rooms[0], 501));
            // What has begun may end while the copy waits for it; nothing else begins.
            thread::scope(|scope| {
                let copy = scope.spawn(|| transfers.make_room_within(Duration::from_secs(60), 2 * WHOLE));
                while transfers.state().copy.is_none() {
                    thread::yield_now();
                }
                assert!(!take(&rooms[1], 1) && take(&rooms[0], WHOLE));
                let [first, ..] = <[Reservation; 3]>::try_from(rooms).unwrap_or_else(|_| unreachable!());
                assert!(!copy.is_finished());
                drop(first);
                assert!(copy.join().unwrap().1);
            });
        }
    }

    #[test]
    fn memory_is_used_again_until_it_is_given_back() {
        let (transfers, _told) = transfers(1);
        let room = transfers.begin(LinkKey(1));
        let mut chunk = room.chunk(1 << 30);
        assert_eq!((chunk.len(), chunk.capacity()), (0, CHUNK_BYTES));
        chunk.push(1);
        let place = chunk.as_ptr();
        room.give_back(chunk);
        room.give_back(room.chunk(10));
        let again = room.chunk(CHUNK_BYTES as u64);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        room.give_back(again);
        transfers.clear();
        assert!(transfers.state().spare.is_empty());
    }
}
