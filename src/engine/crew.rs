//! What a running job knows of the nodes: which of them may work for it, how fast each was at its tasks, and in which order they are
//! searched. Owns that knowledge, of one job; does not know the job, what is out (`link`), or which nodes there are (`membership`).

use std::collections::BTreeMap;

use super::link::Link;
use super::nodes::NodeKey;
use super::roster::{Availability, Roster};
use super::speed::Speed;
use crate::job::memory::NodeMemory;
use crate::job::{JobId, Specification};

/// Weight of the newest time in a node's running average.
const NEWEST_WEIGHT: f64 = 0.3;
/// What a step without work leaves of a node's average time: one slow moment must not exclude it for ever.
const UNUSED_FACTOR: f64 = 0.95;
/// A time is a disappointment where a node that was not used for a while takes more than so many times what was hoped for.
const HOPED_WITHIN: f64 = 1.25;
/// So many times as slow as the slowest counts a node that went down before it had done anything: it is not asked first, but sooner
/// than one that has just begun another task.
const DOWN_FACTOR: f64 = 1.5;
/// Each disappointment doubles the time until the node is hoped for again, as often as this.
const DISAPPOINTMENTS_MAX: i32 = 6;

/// What a node must offer to work on a job.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// The arithmetic that the job is promised in.
    pub(super) arithmetic: u16,
    /// Whether another will do.
    pub(super) allow_inexact: bool,
    /// What its tasks take there.
    pub(super) memory: NodeMemory,
    /// Bytes of its training rows.
    pub(super) rows_bytes: u64,
}

impl Needs {
    pub(super) fn of(specification: &Specification) -> Needs {
        let rows: u64 = specification.shards.iter().map(|shard| u64::from(shard.rows)).sum();
        let row_bytes = specification.training.network.input_layout().row_bytes() + 4;
        Needs {
            arithmetic: specification.training.arithmetic,
            allow_inexact: specification.operation.allow_inexact,
            memory: NodeMemory::of(specification),
            rows_bytes: rows.saturating_mul(row_bytes),
        }
    }

    /// Whether a node offers that, if jobs that were there before take so many bytes of its memory.
    pub(super) fn are_met_by(&self, link: &Link, taken_bytes: u64) -> bool {
        let has_memory = self.memory.fits_beside(link.info.workers, link.info.memory_bytes, taken_bytes);
        (self.allow_inexact || link.computes(self.arithmetic)) && has_memory
    }
}

/// A running job's knowledge of the nodes.
pub(super) struct Crew {
    pub(super) job: JobId,
    pub(super) needs: Needs,
    /// What all nodes take on average.
    pub(super) usual: Option<Speed>,
    /// Those that may work, in the orders in which they are searched.
    pub(super) roster: Roster,
    /// Of every node.
    pub(super) known: BTreeMap<NodeKey, Known>,
    /// Of those that may work: how many they are, and their workers.
    pub(super) members: usize,
    pub(super) workers: u64,
}

/// What is known of a node.
#[derive(Default)]
pub(super) struct Known {
    /// A guess, where there is no speed.
    us_per_row: Option<f64>,
    /// The same told apart: what of it is the node's own account.
    speed: Option<Speed>,
    /// Whether it had nothing to do since, and both are what is hoped for by now; and how often in a row that was disappointed.
    is_hope: bool,
    disappointments: i32,
    /// Tasks in a row that copies have overtaken: once may be chance.
    overtaken_in_a_row: u32,
    /// Tasks sent over its link. A node at 0 is owed one.
    pub(super) sent: u64,
    pub(super) used_this_step: bool,
    /// Its workers, if it may work.
    workers: u32,
    /// Where it is in the roster.
    place: Availability,
}

impl Crew {
    /// Of a job that begins: times of another network say nothing about it, and every node is owed a task.
    pub(super) fn new(job: JobId, needs: Needs) -> Crew {
        Crew { job, needs, usual: None, roster: Roster::default(), known: BTreeMap::new(), members: 0, workers: 0 }
    }

    /// Puts a node into its place in the roster.
    pub(super) fn put(&mut self, key: NodeKey, link: Option<&Link>) {
        let known = self.known.entry(key).or_default();
        let place = known.place_of(link, self.job);
        let workers = link.map_or(0, Link::workers);
        self.members = self.members - usize::from(known.workers > 0) + usize::from(workers > 0);
        self.workers = self.workers - u64::from(known.workers) + u64::from(workers);
        known.workers = workers;
        self.roster.shift(key, &mut known.place, place);
    }

    /// Forgets a node.
    pub(super) fn forget(&mut self, key: NodeKey) {
        self.put(key, None);
        self.known.remove(&key);
    }

    /// The nodes that may get its tasks.
    pub(super) fn members(&self) -> impl Iterator<Item = (NodeKey, &Known)> {
        self.known.iter().filter(|(_, known)| known.is_member()).map(|(key, known)| (*key, known))
    }

    /// Expected time of a task of so many rows at a node, from when it could begin there to its result, in microseconds: by what the
    /// node has taken in this job; of one that has done nothing yet, by what all have.
    pub(super) fn expected_us(&self, key: NodeKey, rows: u32) -> Option<f64> {
        self.speed(key).map(|speed| speed.task_us(rows))
    }

    /// What of that the node trains, by its own account.
    pub(super) fn training_us(&self, key: NodeKey, rows: u32) -> Option<f64> {
        self.speed(key).map(|speed| speed.us_per_row * f64::from(rows))
    }

    fn speed(&self, key: NodeKey) -> Option<Speed> {
        self.known.get(&key).and_then(|known| known.speed).or(self.usual)
    }

    /// Notes how long a task took, and how long of it the node says that it trained.
    pub(super) fn observe(&mut self, key: NodeKey, elapsed_us: u64, train_us: u64, rows: u32) {
        self.usual = Some(Speed::observe(self.usual, elapsed_us, train_us, rows));
        if let Some(known) = self.known.get_mut(&key) {
            known.overtaken_in_a_row = 0;
            known.takes(elapsed_us, train_us, rows);
        }
    }

    /// Notes that a task has taken so long and is not done: a copy has overtaken it. Nothing good is learned of the node by that, its
    /// average may only grow; and nothing by the first, where the node is known: it may have stopped for a moment.
    pub(super) fn observe_at_least(&mut self, key: NodeKey, elapsed_us: u64, rows: u32) {
        let Some(known) = self.known.get_mut(&key) else { return };
        known.overtaken_in_a_row += 1;
        let is_chance = known.overtaken_in_a_row == 1 && !known.is_hope && known.speed.is_some();
        if !is_chance && known.task_us(rows).is_none_or(|expected_us| expected_us < elapsed_us as f64) {
            known.takes(elapsed_us, elapsed_us, rows);
        }
    }

    /// Notes that a node's link has ended with tasks of the job out. If it had done none before, it is not asked first when it is back,
    /// as those are of which nothing is known, but tried again now and then, as slow ones are.
    pub(super) fn lost_with_tasks(&mut self, key: NodeKey) {
        let seen = self.known.values().filter(|known| known.speed.is_some());
        let slowest = seen.filter_map(|known| known.us_per_row).max_by(f64::total_cmp);
        let Some(known) = self.known.get_mut(&key).filter(|known| known.speed.is_none()) else { return };
        if let Some(us_per_row) = slowest {
            known.us_per_row = Some(DOWN_FACTOR * us_per_row);
            known.is_hope = true;
            known.disappointments = (known.disappointments + 1).min(DISAPPOINTMENTS_MAX);
        }
    }

    /// A step begins. What nodes took that have had nothing to do in the last one counts for less: a slow moment passes. But not
    /// for less than what the fastest take, or thousands of steps would make any node look as if it took no time at all. The nodes
    /// of which that is so.
    pub(super) fn begin_step(&mut self, is_linked: impl Fn(NodeKey) -> bool) -> Vec<NodeKey> {
        let least = Speed::least(self.known.values().filter_map(|known| known.speed));
        let least_us_per_row = self.known.values().filter_map(|known| known.us_per_row).fold(f64::INFINITY, f64::min);
        let mut unused = Vec::new();
        for (&key, known) in &mut self.known {
            if is_linked(key) && !std::mem::take(&mut known.used_this_step) {
                let factor = known.unused_factor();
                known.us_per_row = known.us_per_row.map(|us| (us * factor).max(least_us_per_row));
                known.speed = known.speed.map(|speed| speed.faded(factor, least));
                known.is_hope = true;
                unused.push(key);
            }
        }
        unused
    }
}

impl Known {
    /// Whether it may get tasks.
    pub(super) fn is_member(&self) -> bool {
        self.place != Availability::Away
    }

    pub(super) fn speed(&self) -> Option<Speed> {
        self.speed
    }

    /// Its time for a row, with all that it waits for.
    pub(super) fn us_per_row(&self) -> Option<f64> {
        self.us_per_row
    }

    /// Expected time of a task of so many rows, in microseconds.
    pub(super) fn task_us(&self, rows: u32) -> Option<f64> {
        self.us_per_row.map(|us| us * f64::from(rows))
    }

    /// What a step without work leaves of what it took.
    fn unused_factor(&self) -> f64 {
        UNUSED_FACTOR.powf(2_f64.powi(-self.disappointments))
    }

    /// Where a node with this link belongs; without one it may get no task.
    fn place_of(&self, link: Option<&Link>, job: JobId) -> Availability {
        let Some(link) = link else { return Availability::Away };
        let (busy, workers) = (link.busy_with(job), link.workers());
        match link.busy_since(job) {
            // Only those who know the time know whether it is still.
            _ if link.reluctant_until.is_some() => Availability::Odd,
            Some(oldest) if busy >= workers => Availability::Full { oldest, us_per_row: self.us_per_row },
            _ if link.is_full_of(job) || link.load.as_ref().is_some_and(|load| load.others > 0) => Availability::Odd,
            _ => Availability::Free {
                share: f64::from(busy) / f64::from(workers),
                sent: self.sent,
                us_per_row: self.us_per_row.unwrap_or_default(),
            },
        }
    }

    /// A task of so many rows took so long. What was hoped for counts for nothing beside it.
    fn takes(&mut self, elapsed_us: u64, train_us: u64, rows: u32) {
        let newest = elapsed_us as f64 / f64::from(rows.max(1));
        if std::mem::take(&mut self.is_hope) {
            let is_disappointed = self.us_per_row.is_some_and(|hoped| newest > hoped * HOPED_WITHIN);
            if is_disappointed {
                self.disappointments = (self.disappointments + 1).min(DISAPPOINTMENTS_MAX);
                (self.us_per_row, self.speed) = (None, None);
            } else {
                self.disappointments = 0;
            }
        }
        let seen = self.us_per_row.filter(|_| self.speed.is_some());
        self.speed = Some(Speed::observe(self.speed, elapsed_us, train_us, rows));
        self.us_per_row = Some(match seen {
            Some(average) => average + NEWEST_WEIGHT * (newest - average),
            None => newest,
        });
    }
}
