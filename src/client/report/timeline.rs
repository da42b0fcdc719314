//! Which node trained what in which round, out of a job's ledger. Owns that this takes the same room however long the ledger is;
//! does not know how it is drawn.

use std::collections::HashMap;

use crate::client::connection_error::ConnectionError;
use crate::client::conversation::Conversation;
use crate::client::ledger::Pages;
use crate::job::{EntryResult, JobId, LedgerEntry, Specification};

/// Columns of the picture, at most.
pub(super) const COLUMNS_MAX: u32 = 100;
/// Nodes that are told apart, at most; more than a coordinator lists would be a ledger made up.
const NODES_MAX: usize = 1_000;

/// What came of a job's tasks, by node and by round.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// Rounds of a column.
    pub(super) stride: u32,
    pub(super) rounds: u32,
    /// In the order of their tasks, most first.
    pub(super) lanes: Vec<Lane>,
    /// Tasks of nodes beyond those that are told apart.
    pub(super) others: u64,
    pub(super) skipped: u64,
}

/// A node's part.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) node: String,
    pub(super) tasks: u64,
    /// Tasks that had been given to a node before.
    pub(super) again: u64,
    /// The same by column.
    pub(super) columns: Vec<(u32, u32)>,
}

impl Timeline {
    /// From the ledger of a job of tasks of which so many rounds are done.
    pub(super) fn fetch(
        conversation: &Conversation,
        job: JobId,
        specification: &Specification,
        rounds: u32,
    ) -> Result<Timeline, ConnectionError> {
        let mut gathering = Gathering::new(rounds);
        let steps = specification.round_steps().max(1);
        let mut pages = Pages::new(job);
        while let Some((first, of_step, entries)) = pages.next(conversation)? {
            pages.are_of(specification)?;
            for (place, entry) in (first..).zip(&entries) {
                let round = place / u64::from(of_step) / u64::from(steps);
                gathering.take(u32::try_from(round).unwrap_or(u32::MAX), entry);
            }
        }
        Ok(gathering.finish())
    }
}

struct Gathering {
    timeline: Timeline,
    places: HashMap<String, usize>,
}

impl Gathering {
    fn new(rounds: u32) -> Gathering {
        let stride = rounds.div_ceil(COLUMNS_MAX).max(1);
        let timeline = Timeline { stride, rounds, lanes: Vec::new(), others: 0, skipped: 0 };
        Gathering { timeline, places: HashMap::new() }
    }

    /// An entry of a round, counted from 0.
    fn take(&mut self, round: u32, entry: &LedgerEntry) {
        let Timeline { stride, rounds, lanes, others, skipped } = &mut self.timeline;
        let task = match &entry.result {
            EntryResult::Merged(task) => task,
            EntryResult::Skipped => return *skipped += 1,
            EntryResult::Step(_) => return,
        };
        let place = match self.places.get(&task.node) {
            Some(&place) => place,
            None if lanes.len() >= NODES_MAX => return *others += 1,
            None => {
                let columns = vec![(0, 0); rounds.div_ceil(*stride) as usize];
                lanes.push(Lane { node: task.node.clone(), tasks: 0, again: 0, columns });
                self.places.insert(task.node.clone(), lanes.len() - 1);
                lanes.len() - 1
            }
        };
        let (lane, is_again) = (&mut lanes[place], task.attempt > 1);
        lane.tasks += 1;
        lane.again += u64::from(is_again);
        // A round that is not done has no column.
        if let Some((tasks, again)) = lane.columns.get_mut((round / *stride) as usize) {
            *tasks += 1;
            *again += u32::from(is_again);
        }
    }

    fn finish(self) -> Timeline {
        let mut timeline = self.timeline;
        timeline.lanes.sort_by(|a, b| b.tasks.cmp(&a.tasks).then_with(|| a.node.cmp(&b.node)));
        timeline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::job::MergedTask;

    fn entry(node: &str, attempt: u32) -> LedgerEntry {
        let task = MergedTask { node: node.to_owned(), attempt, loss: 1.0, update: Digest([1; 32]) };
        LedgerEntry { rows: 4, base: Digest([2; 32]), result: EntryResult::Merged(task) }
    }

    #[test]
    fn tasks_are_counted_by_node_and_column_and_those_given_out_again_apart() {
        let mut gathering = Gathering::new(250);
        for round in 0..250 {
            gathering.take(round, &entry(if round < 240 { "b" } else { "a" }, 1 + u32::from(round == 4)));
        }
        gathering.take(0, &LedgerEntry { result: EntryResult::Skipped, ..entry("a", 1) });
        gathering.take(u32::MAX, &entry("a", 1));
        let timeline = gathering.finish();
        assert_eq!((timeline.stride, timeline.skipped, timeline.lanes.len()), (3, 1, 2));
        let [first, second] = &timeline.lanes[..] else { panic!() };
        assert_eq!((&*first.node, first.tasks, first.again, first.columns.len()), ("b", 240, 1, 84));
        assert_eq!(
            (&first.columns[..3], &second.columns[79..82]),
            (&[(3, 0), (3, 1), (3, 0)][..], &[(0, 0), (3, 0), (3, 0)][..])
        );
        assert_eq!(second.tasks, 11);
    }

    #[test]
    fn a_ledger_with_a_new_name_in_every_line_fills_no_memory() {
        let mut gathering = Gathering::new(1_000_000);
        (0..3_000).for_each(|number| gathering.take(number, &entry(&format!("node-{number}"), 1)));
        let timeline = gathering.finish();
        assert_eq!((timeline.lanes.len(), timeline.others), (NODES_MAX, 2_000));
        assert!(timeline.lanes.iter().all(|lane| lane.columns.len() <= COLUMNS_MAX as usize));
    }
}
