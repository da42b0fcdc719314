//! The nodes of the fleet in the orders in which a choice looks for them, so that it need not look at all of them. Owns these
//! orders and no fact: whoever changes a node puts it into its new place. Does not know what a choice makes of it.

use std::collections::BTreeSet;

use super::nodes::NodeKey;
use super::time::Time;

/// Where a node stands, and by what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Availability {
    /// It gets no new work of the job.
    #[default]
    Away,
    /// A worker is free, and no task of others is known: a task begins at once.
    Free {
        /// Tasks out with it, for each of its workers.
        share: f64,
        /// Tasks of this job that it was sent.
        sent: u64,
        /// Its time for a row; 0 where none is known.
        us_per_row: f64,
    },
    /// Every worker has a task.
    Full {
        /// When the oldest of them was sent.
        oldest: Time,
        /// Its time for a row, where one is known.
        us_per_row: Option<f64>,
    },
    /// Anything else: each of these is looked at.
    Odd,
}

/// All nodes that are not away.
#[derive(Debug, Default)]
pub(super) struct Roster {
    free_by_speed: BTreeSet<(u64, NodeKey)>,
    free_by_share: BTreeSet<(u64, u64, NodeKey, u64)>,
    /// Only those of known speed, like the next one.
    full_by_age: BTreeSet<(Time, NodeKey)>,
    full_by_speed: BTreeSet<(u64, NodeKey)>,
    odd: BTreeSet<NodeKey>,
}

impl Roster {
    /// Moves a node.
    pub(super) fn shift(&mut self, node: NodeKey, place: &mut Availability, to: Availability) {
        if *place == to {
            return;
        }
        match std::mem::replace(place, to) {
            Availability::Free { share, sent, us_per_row } => {
                self.free_by_speed.remove(&(ordered(us_per_row), node));
                self.free_by_share.remove(&(ordered(share), sent, node, ordered(us_per_row)));
            }
            Availability::Full { oldest, us_per_row: Some(us_per_row) } => {
                self.full_by_age.remove(&(oldest, node));
                self.full_by_speed.remove(&(ordered(us_per_row), node));
            }
            Availability::Odd => drop(self.odd.remove(&node)),
            Availability::Away | Availability::Full { us_per_row: None, .. } => {}
        }
        match to {
            Availability::Free { share, sent, us_per_row } => {
                self.free_by_speed.insert((ordered(us_per_row), node));
                self.free_by_share.insert((ordered(share), sent, node, ordered(us_per_row)));
            }
            Availability::Full { oldest, us_per_row: Some(us_per_row) } => {
                self.full_by_age.insert((oldest, node));
                self.full_by_speed.insert((ordered(us_per_row), node));
            }
            Availability::Odd => drop(self.odd.insert(node)),
            Availability::Away | Availability::Full { us_per_row: None, .. } => {}
        }
    }

    /// Whether a node is free.
    pub(super) fn has_free(&self) -> bool {
        !self.free_by_speed.is_empty()
    }

    /// The least time for a row of the free nodes.
    pub(super) fn least_free_us(&self) -> Option<f64> {
        self.free_by_speed.first().map(|&(us, _)| f64::from_bits(us))
    }

    /// Free nodes: the least share first, of equals the one that was sent least, of equals the first in the list. With its
    /// share, what it was sent, and its time for a row.
    pub(super) fn free(&self) -> impl Iterator<Item = (f64, u64, NodeKey, f64)> {
        let free = self.free_by_share.iter();
        free.map(|&(share, sent, node, us)| (f64::from_bits(share), sent, node, f64::from_bits(us)))
    }

    /// The least time for a row of the full nodes, where one is known.
    pub(super) fn least_full_us(&self) -> Option<f64> {
        self.full_by_speed.first().map(|&(us, _)| f64::from_bits(us))
    }

    /// Full nodes of known speed whose oldest task was sent at `moment` or later, the oldest first.
    pub(super) fn full_since(&self, moment: Time) -> impl Iterator<Item = (Time, NodeKey)> {
        self.full_by_age.range((moment, NodeKey(0))..).copied()
    }

    /// Those whose oldest task was sent before, the youngest first.
    pub(super) fn full_before(&self, moment: Time) -> impl Iterator<Item = (Time, NodeKey)> {
        self.full_by_age.range(..(moment, NodeKey(0))).rev().copied()
    }

    /// Nodes of which nothing can be said in advance.
    pub(super) fn odd(&self) -> impl Iterator<Item = NodeKey> {
        self.odd.iter().copied()
    }
}

/// A number that is not negative, as one that orders like it.
fn ordered(number: f64) -> u64 {
    debug_assert!(number >= 0.0, "{number} is not ordered by its bits");
    // Minus zero would come last.
    (number + 0.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(share: f64, sent: u64, us_per_row: f64) -> Availability {
        Availability::Free { share, sent, us_per_row }
    }

    #[test]
    fn a_node_is_found_where_it_was_put_last_and_nowhere_else() {
        let mut roster = Roster::default();
        let mut places = [Availability::Away; 4];
        let full = |at, us_per_row| Availability::Full { oldest: Time(at), us_per_row };
        for (place, to) in
            [free(0.5, 1, 3.0), free(0.0, 2, 7.0), full(30, Some(2.0)), full(10, None)].iter().enumerate()
        {
            roster.shift(NodeKey(place as u32), &mut places[place], *to);
        }
        assert_eq!(roster.least_free_us(), Some(3.0));
        assert_eq!(roster.free().map(|(_, _, node, _)| node.0).collect::<Vec<_>>(), [1, 0]);
        assert_eq!((roster.least_full_us(), roster.full_since(Time(30)).count()), (Some(2.0), 1));
        assert_eq!(roster.full_before(Time(30)).count(), 0);
        roster.shift(NodeKey(0), &mut places[0], Availability::Odd);
        roster.shift(NodeKey(1), &mut places[1], full(20, Some(1.0)));
        roster.shift(NodeKey(2), &mut places[2], Availability::Away);
        assert!(!roster.has_free() && roster.free().next().is_none());
        assert_eq!(roster.odd().collect::<Vec<_>>(), [NodeKey(0)]);
        assert_eq!((roster.least_full_us(), roster.full_before(Time(30)).count()), (Some(1.0), 1));
    }
}
