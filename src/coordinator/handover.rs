//! Weights on their way to the journal's thread, which a slow disk may hold up for longer than rounds take. Owns that weights are let go
//! that nobody will write any more; does not know what the journal does.
//!
//! The journal takes all orders that wait before it writes, and of a job writes the latest weights and those of the best round. So
//! while it is busy no more than these wait, however many rounds are merged meanwhile.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::work::Weights;
use crate::digest::Digest;

/// Weights that wait for the journal, until it takes them.
pub(super) struct Handed(Arc<Mutex<Option<Weights>>>);

impl From<Weights> for Handed {
    fn from(weights: Weights) -> Handed {
        Handed(Arc::new(Mutex::new(Some(weights))))
    }
}

impl Handed {
    /// The weights; none where later ones have been ordered to be written.
    pub(super) fn take(&self) -> Option<Weights> {
        self.slot().take()
    }

    /// Whether they wait and will be written though later ones were ordered: those of the best round will, without what the optimiser
    /// remembered. Others are let go.
    fn outlasts_later_ones(&self, best: Option<&Digest>) -> bool {
        let mut slot = self.slot();
        if let Some(weights) = slot.as_mut().filter(|weights| Some(&weights.digest) == best) {
            weights.outer = Arc::default();
            return true;
        }
        *slot = None;
        false
    }

    fn slot(&self) -> MutexGuard<'_, Option<Weights>> {
        // Every change is whole before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The weights of one job that wait.
#[derive(Default)]
pub(super) struct Handover(Vec<Handed>);

impl Handover {
    /// Weights that are to be ordered to be written.
    pub(super) fn offer(&mut self, weights: Weights) -> Handed {
        let handed = Handed::from(weights);
        self.0.push(Handed(handed.0.clone()));
        handed
    }

    /// The latest are ordered to be written: of those before them only those of the best round will be. Not to be said before, or the
    /// journal would write a step without its weights.
    pub(super) fn is_ordered(&mut self, best: Option<&Digest>) {
        let latest = self.0.pop();
        self.0.retain(|handed| handed.outlasts_later_ones(best));
        self.0.extend(latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(step: u8) -> Weights {
        Weights { digest: Digest([step; 32]), bytes: Arc::new(vec![step; 100]), outer: Arc::default() }
    }

    #[test]
    fn of_many_steps_that_wait_for_a_slow_disk_the_latest_weights_and_the_best_ones_stay() {
        let mut handover = Handover::default();
        let best = Digest([2; 32]);
        let made: Vec<Weights> = (0..9).map(weights).collect();
        let is_held = |step: usize| Arc::strong_count(&made[step].bytes) > 1;
        let orders: Vec<Handed> = (0..9)
            .map(|step| {
                let order = handover.offer(made[step].clone());
                assert!(step == 0 || is_held(step - 1), "the step before is not to be written without its weights");
                handover.is_ordered((step >= 2).then_some(&best));
                order
            })
            .collect();
        assert_eq!((0..9).filter(|&step| is_held(step)).collect::<Vec<_>>(), [2, 8]);
        let taken: Vec<u8> = orders.iter().filter_map(|order| Some(order.take()?.digest.0[0])).collect();
        assert_eq!(taken, [2, 8]);
        // Another round is the best once the journal has taken these: it holds them, and nobody else.
        handover.offer(weights(9));
        handover.is_ordered(Some(&Digest([9; 32])));
        assert_eq!((handover.0.len(), (0..9).any(is_held)), (1, false));
    }
}
