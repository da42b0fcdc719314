//! Weights of steps that are over and that somebody still holds: a round that is being validated, the journal, a link that has not
//! quite sent them. Owns how many of them there may be when the next are made, so that a job takes no more memory than is said of
//! it; does not know who holds them.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::job::Specification;
use crate::job::memory::past_weights_max;

/// Whoever holds more than is reckoned with has lost the processor in the middle of letting go, or is a link to a node that reads
/// slowly, which copies what it has left of them once they are wanted back. All of them let go as soon as they have the processor: it
/// takes a machine that stands still to be waited for any longer, and then memory may be short, but the job goes on.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// They are looked at this often meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Of one job.
pub(super) struct PastWeights {
    held: Vec<Weak<Vec<u8>>>,
    held_max: usize,
    /// No weights were made yet: those that a job starts from may be part of its data, and count as such.
    is_first: bool,
}

impl PastWeights {
    pub(super) fn new(specification: &Specification, is_journaled: bool) -> PastWeights {
        let held_max = past_weights_max(specification, is_journaled) as usize;
        PastWeights { held: Vec::new(), held_max, is_first: true }
    }

    /// The next weights are to be made of these, in their place in memory if nobody else holds them and they are not to stay. Waits
    /// until there is room for them.
    pub(super) fn make_room_beside(&mut self, base: &Arc<Vec<u8>>, base_stays: bool) {
        self.make_room_within(WAIT_MAX, base, base_stays);
    }

    /// The same; says whether there is room.
    fn make_room_within(&mut self, wait: Duration, base: &Arc<Vec<u8>>, base_stays: bool) -> bool {
        let deadline = Instant::now() + wait;
        let past = Arc::downgrade(base);
        // Links see by these that what they send is wanted back. Not before: for a moment, their copies stand beside it.
        let mut wanted_back = Vec::new();
        let has_room = loop {
            self.held.retain(|past| past.strong_count() > 0);
            let is_copied = !base_stays && Arc::strong_count(base) > 1;
            let has_room = self.held.len() + usize::from(is_copied) <= self.held_max;
            if has_room || Instant::now() >= deadline {
                break has_room;
            }
            if wanted_back.is_empty() {
                wanted_back = self.held.iter().chain([&past]).cloned().collect();
            }
            thread::sleep(LOOK_EVERY);
        };
        if !std::mem::take(&mut self.is_first) {
            self.held.push(past);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::SharedBytes;

    #[test]
    fn what_is_held_too_long_is_waited_for_until_it_is_let_go_and_not_for_ever() {
        let mut past = PastWeights { held: Vec::new(), held_max: 1, is_first: false };
        let is_wanted_back = |weights: &Arc<Vec<u8>>| {
            SharedBytes::new(weights.clone(), 0..1).is_some_and(|bytes| bytes.is_wanted_back())
        };
        let weights: Vec<Arc<Vec<u8>>> = (0..3).map(|step| Arc::new(vec![step; 9])).collect();
        let mut has_room =
            |wait: Duration, base: &Arc<Vec<u8>>, base_stays: bool| past.make_room_within(wait, base, base_stays);
        let (at_once, for_long) = (Duration::ZERO, Duration::from_secs(60));
        // One may be held beside the base, or the base itself by others.
        let others = weights[0].clone();
        assert!(has_room(at_once, &weights[0], false));
        assert!(has_room(at_once, &weights[1], true));
        assert!(!has_room(at_once, &weights[2], true), "two are held");
        drop((weights, others));
        let base = Arc::new(vec![9]);
        let link = base.clone();
        assert!(has_room(at_once, &base, false));
        // Whoever lets go is not waited for any longer.
        let next = Arc::new(vec![8]);
        let validated = next.clone();
        assert!(!is_wanted_back(&link), "there was room");
        thread::scope(|scope| {
            scope.spawn(move || {
                drop(base);
                while !is_wanted_back(&link) {
                    thread::yield_now();
                }
            });
            assert!(has_room(for_long, &next, false));
        });
        assert!(!is_wanted_back(&validated), "nobody waits any more");
    }
}
