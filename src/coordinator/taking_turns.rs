//! The queue of a thread that works for several jobs: they take turns, and what is ordered for one is done in its order. Owns what
//! waits; does not know what is done.

use std::collections::VecDeque;

use crossbeam_channel::Receiver;

use crate::job::JobId;

/// An order for a job.
pub(super) trait ForJob {
    /// The job.
    fn job(&self) -> JobId;
}

/// Orders as they came, and whose turn was last.
pub(super) struct TakingTurns<'a, T> {
    orders: &'a Receiver<T>,
    waiting: VecDeque<T>,
    last: Option<JobId>,
}

impl<'a, T: ForJob> TakingTurns<'a, T> {
    pub(super) fn new(orders: &'a Receiver<T>) -> TakingTurns<'a, T> {
        TakingTurns { orders, waiting: VecDeque::new(), last: None }
    }
}

impl<T: ForJob> Iterator for TakingTurns<'_, T> {
    type Item = T;

    /// The first order of a job that did not have the last turn, if there is one, and else the first. Waits for one; none once nobody
    /// orders any more and all is done.
    fn next(&mut self) -> Option<T> {
        if self.waiting.is_empty() {
            self.waiting.extend(self.orders.recv().ok());
        }
        self.waiting.extend(self.orders.try_iter());
        let place = self.waiting.iter().position(|order| Some(order.job()) != self.last).unwrap_or(0);
        let order = self.waiting.remove(place)?;
        self.last = Some(order.job());
        Some(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Order(u128, u32);

    impl ForJob for Order {
        fn job(&self) -> JobId {
            JobId(self.0)
        }
    }

    #[test]
    fn jobs_take_turns_and_each_ones_orders_are_done_in_their_order() {
        let (sender, orders) = crossbeam_channel::unbounded();
        for order in [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0)] {
            sender.send(Order(order.0, order.1)).unwrap();
        }
        drop(sender);
        let done: Vec<_> = TakingTurns::new(&orders).map(|order| (order.0, order.1)).collect();
        assert_eq!(done, [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (3, 0)]);
    }
}
