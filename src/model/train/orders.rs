//! In which order a shard's rows are gone through in an epoch, where the order is the same for every task. Owns the orders that
//! are likely to be asked for again; does not know what is done with the rows.

use std::collections::HashMap;

use super::super::random::{Purpose, Stream};

/// Row numbers that are kept, at most, unless a single shard has more: 32 MiB.
pub(super) const NUMBERS_MAX: u64 = 8 << 20;

/// Orders, each of some shard of some job.
#[derive(Default)]
pub(super) struct Orders {
    orders: HashMap<Shard, Order>,
    /// Row numbers in all of them.
    numbers: u64,
    /// Times that one was asked for.
    asked: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shard {
    seed: u64,
    shard: u32,
    rows: u32,
}

/// Of one epoch: the next one's comes in its place.
struct Order {
    epoch: u64,
    rows: Vec<u32>,
    asked: u64,
}

impl Orders {
    /// The numbers of a shard's rows in the order that they have in an epoch of a job with this seed.
    pub fn of(&mut self, seed: u64, epoch: u64, shard: u32, rows: u32) -> &[u32] {
        self.asked += 1;
        let key = Shard { seed, shard, rows };
        if !self.orders.contains_key(&key) {
            self.make_room(rows.into());
        }
        let order = self.orders.entry(key).or_insert_with(|| Order {
            epoch,
            rows: Vec::with_capacity(rows as usize),
            asked: 0,
        });
        if order.epoch != epoch || order.rows.is_empty() {
            order.rows.clear();
            order.rows.extend(0..rows);
            Stream::new(Purpose::ShuffleEpoch, seed, [epoch, u64::from(shard), 0]).shuffle(&mut order.rows);
            order.epoch = epoch;
        }
        order.asked = self.asked;
        &order.rows
    }

    /// Forgets what has not been asked for the longest, until there is room for so many numbers, which are about to come.
    fn make_room(&mut self, numbers: u64) {
        while self.numbers + numbers > NUMBERS_MAX
            && let Some(oldest) = self.orders.iter().min_by_key(|(_, order)| order.asked).map(|(shard, _)| *shard)
        {
            self.orders.remove(&oldest);
            self.numbers -= u64::from(oldest.rows);
        }
        self.numbers += numbers;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_those_of_their_streams_whatever_was_asked_for_before() {
        let mut orders = Orders::default();
        let large = NUMBERS_MAX as u32 / 2;
        let asked = [(1, 0, 0, 9), (1, 1, 0, 9), (1, 0, 0, 9), (2, 0, 0, 9), (1, 0, 1, 9), (1, 0, 0, 12), (1, 7, 0, 1)];
        let too_many = [(1, 0, 5, large), (1, 0, 6, large), (1, 0, 0, 9)];
        for (seed, epoch, shard, rows) in asked.into_iter().chain(too_many) {
            let mut expected: Vec<u32> = (0..rows).collect();
            Stream::new(Purpose::ShuffleEpoch, seed, [epoch, shard.into(), 0]).shuffle(&mut expected);
            assert!(orders.of(seed, epoch, shard, rows) == expected);
            let kept: u64 = orders.orders.values().map(|order| order.rows.len() as u64).sum();
            assert_eq!(kept, orders.numbers);
            assert!(kept <= NUMBERS_MAX);
        }
        assert_eq!(orders.orders.len(), 2);
        orders.of(1, 0, 7, 3 * large);
        assert_eq!((orders.orders.len(), orders.numbers), (1, 3 * u64::from(large)));
    }
}
