//! The rounds of a job that are durable, as far as they are at hand: how many, and the latest of them. All of them are in the
//! archive. Does not know who is told.

use std::collections::VecDeque;

use crate::job::RoundSummary;

/// Who has missed no more than so many is told at once.
const LATEST_MAX: usize = 64;

/// The rounds of a job that are durable.
#[derive(Default)]
pub(super) struct DurableRounds {
    done: u32,
    /// The last one at the end.
    latest: VecDeque<RoundSummary>,
}

impl DurableRounds {
    /// How many.
    pub(super) fn done(&self) -> u32 {
        self.done
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<RoundSummary> {
        self.latest.back().copied()
    }

    /// The next ones are durable.
    pub(super) fn extend(&mut self, rounds: &[RoundSummary]) {
        self.done += rounds.len() as u32;
        self.latest.extend(rounds);
        self.latest.drain(..self.latest.len().saturating_sub(LATEST_MAX));
    }

    /// Those after this one. None if they are not all at hand.
    pub(super) fn after(&self, rounds_seen: u32) -> Option<impl Iterator<Item = &RoundSummary>> {
        let missed = self.done.saturating_sub(rounds_seen) as usize;
        (missed <= self.latest.len()).then(|| self.latest.range(self.latest.len() - missed..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metrics;

    fn round(round: u32) -> RoundSummary {
        let metrics = Metrics::default();
        RoundSummary { round, rounds: 200, loss: 0.5, rows: 2, metrics, nodes: 1, merged: 1, skipped: 0, round_us: 1 }
    }

    #[test]
    fn the_latest_are_at_hand_and_of_the_others_their_number_is_known() {
        let mut rounds = DurableRounds::default();
        assert_eq!((rounds.done(), rounds.last(), rounds.after(0).unwrap().count()), (0, None, 0));
        for number in 1..=200 {
            rounds.extend(&[round(number)]);
            assert_eq!((rounds.done(), rounds.last()), (number, Some(round(number))));
        }
        let after = |seen| rounds.after(seen).map(|rounds| rounds.map(|round| round.round).collect::<Vec<_>>());
        assert_eq!(after(198), Some(vec![199, 200]));
        assert_eq!((after(200), after(201)), (Some(vec![]), Some(vec![])));
        assert_eq!(after(136).map(|rounds| rounds.len()), Some(LATEST_MAX));
        assert_eq!(after(135), None);
    }
}
