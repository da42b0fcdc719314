//! For how many of the workers that are there a step of merged gradients is cut. Owns what was observed of whole steps by their
//! width; does not know tasks, links or how blocks are shared among workers (`plan`).
//!
//! Every task has a cost besides its rows: the way there and back, an object to hash on both sides, a sum to take in, and a place on
//! a machine that it may share with others. How much that is, and what of it tasks spend beside each other, nobody can tell from
//! single tasks; the time of whole steps tells. So now and then a few steps are cut for half or twice as many workers, and what is
//! faster stays. The model's bits do not depend on it.
//!
//! A node's second worker shares its machine with the first, and perhaps with other nodes there: small steps begin with one worker of
//! each node, and more are tried.

use std::collections::BTreeMap;

use super::nodes::NodeKey;
use super::speed::{Speed, Worker};

/// Steps whose times are compared.
const STEPS_COMPARED: usize = 7;
/// Another width is kept if its steps take less than this part of the time.
const GAIN_TO_STAY: f64 = 0.95;
/// A trial ends at the first step that takes more than this part of the usual time.
const LOSS_TO_STOP: f64 = 1.3;
/// A greater width that takes less than this part of it in each of its first steps is kept at once, and the next one tried.
const GAIN_AT_ONCE: f64 = 0.7;
const STEPS_AT_ONCE: usize = 2;
/// Rows times parameters for which one more worker than there are nodes is taken without a trial: some 10 ms.
const WORK_OF_A_WORKER: u64 = 1 << 26;
/// A node's second worker is taken for one that takes so many times as long as the first.
const BESIDE_ANOTHER: f64 = 1.5;
/// Steps between trials, after one that was worth it; each that was not doubles them.
const PAUSE_STEPS_LEAST: u32 = 8;
const PAUSE_STEPS_MOST: u32 = 1_024;

/// How wide steps are.
#[derive(Debug)]
pub(super) struct Width {
    /// Of the network.
    parameters: u64,
    /// What is known holds for a fleet of so many workers, and for steps of so many rows.
    workers: usize,
    rows: u32,
    /// Fewer are not tried.
    fewest: usize,
    /// They are of so many nodes.
    of: usize,
    /// So many of them do best, as far as is known.
    best: usize,
    /// Of the last steps of that width, in microseconds.
    times: Vec<u64>,
    /// Another width that is tried, and its steps' times.
    trial: Option<(usize, Vec<u64>)>,
    pause: u32,
    /// Steps until the next trial.
    left: u32,
    /// The next trial is of a greater width.
    is_wider_next: bool,
    /// The nodes that are not all of them, as long as the width stays.
    nodes: Vec<NodeKey>,
    /// The step under way was cut for this width.
    cut: Option<usize>,
    /// What was known of the fleet before: a node may be away for a step.
    before: Option<Box<Width>>,
}

impl Width {
    /// Of a job with a network of so many parameters.
    pub(super) fn new(parameters: u64) -> Width {
        Width {
            parameters,
            workers: 0,
            rows: 0,
            fewest: 1,
            of: 0,
            best: 0,
            times: Vec::new(),
            trial: None,
            pause: PAUSE_STEPS_LEAST,
            left: PAUSE_STEPS_LEAST,
            is_wider_next: false,
            nodes: Vec::new(),
            cut: None,
            before: None,
        }
    }

    /// Those of these workers that a step of so many rows is cut for, in their order. Fewer than `fewest` are not tried, and no other
    /// number where that is all of them.
    pub(super) fn choose(&mut self, mut workers: Vec<Worker>, rows: u32, fewest: usize) -> Vec<Worker> {
        self.fewest = fewest;
        if workers.len() != self.workers {
            let (parameters, of, best) = (self.parameters, nodes_of(&workers), self.first(&workers, rows));
            let anew = || Width { workers: workers.len(), best, rows, of, ..Width::new(parameters) };
            let known = self.before.take().filter(|before| before.workers == workers.len());
            let left = std::mem::replace(self, known.map_or_else(anew, |known| *known));
            self.before = Some(Box::new(left));
        }
        // An epoch's last step is a short one; of it nothing is learned.
        self.rows = self.rows.max(rows);
        let width = self.trial.as_ref().map_or(self.best, |(width, _)| *width);
        self.cut = (rows == self.rows).then_some(width);
        if width == workers.len() {
            return workers;
        }
        let is_there = |node: &NodeKey| workers.iter().any(|worker| worker.node == *node);
        if self.nodes.len() != width || !self.nodes.iter().all(is_there) {
            self.nodes = fastest(&workers, width, f64::from(rows) / width as f64);
        }
        let mut left = counts(self.nodes.iter().copied());
        let of_nodes = counts(workers.iter().map(|worker| worker.node));
        let chosen = left.clone();
        workers.retain_mut(|worker| {
            let Some(left) = left.get_mut(&worker.node).filter(|left| **left > 0) else { return false };
            *left -= 1;
            // What the others would have kept, too.
            let (all, chosen) = (of_nodes[&worker.node], chosen[&worker.node]);
            worker.cache_bytes = worker.cache_bytes.saturating_mul(all) / chosen;
            true
        });
        workers
    }

    /// How many of these workers steps of so many rows begin with.
    fn first(&self, workers: &[Worker], rows: u32) -> usize {
        let worth = u64::from(rows).saturating_mul(self.parameters) / WORK_OF_A_WORKER;
        nodes_of(workers).max(usize::try_from(worth).unwrap_or(usize::MAX)).min(workers.len())
    }

    /// Steps take another time from now on, since more or fewer jobs run: those until now say nothing of them.
    pub(super) fn forget_times(&mut self) {
        let Width { parameters, workers, rows, fewest, of, best, is_wider_next, .. } = *self;
        let nodes = std::mem::take(&mut self.nodes);
        *self = Width { workers, rows, fewest, of, best, is_wider_next, nodes, ..Width::new(parameters) };
    }

    /// The step that was last cut took so long, from its beginning until its gradient was applied.
    pub(super) fn observe(&mut self, step_us: u64) {
        let Some(width) = self.cut.take() else { return };
        if let Some((tried, times)) = &mut self.trial {
            debug_assert_eq!(*tried, width);
            times.push(step_us);
            let usual_us = median(&self.times) as f64;
            let is_much_better = |us: &u64| (*us as f64) < usual_us * GAIN_AT_ONCE;
            if step_us as f64 > usual_us * LOSS_TO_STOP {
                self.end_trial(false);
            } else if *tried > self.best && times.len() == STEPS_AT_ONCE && times.iter().all(is_much_better) {
                self.end_trial(true);
                self.begin_trial();
            } else if times.len() >= STEPS_COMPARED {
                let is_better = (median(times) as f64) < usual_us * GAIN_TO_STAY;
                self.end_trial(is_better);
            }
            return;
        }
        if self.times.len() == STEPS_COMPARED {
            self.times.remove(0);
        }
        self.times.push(step_us);
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && self.times.len() == STEPS_COMPARED {
            self.begin_trial();
        }
    }

    fn begin_trial(&mut self) {
        let narrower = self.best.div_ceil(2).max(self.fewest).min(self.best);
        // Second workers of nodes that all have a part already: no data travel for them.
        let is_open = self.fewest < self.workers || self.best >= self.of;
        let wider = if is_open { (2 * self.best).min(self.workers) } else { self.best };
        // One node's one worker is as few as there can be.
        self.is_wider_next |= narrower == self.best;
        let other = if self.is_wider_next { wider } else { narrower };
        if other == self.best {
            // There is none on that side.
            self.is_wider_next = !self.is_wider_next;
            self.left = self.pause;
        } else {
            self.trial = Some((other, Vec::new()));
            self.nodes.clear();
        }
    }

    fn end_trial(&mut self, is_better: bool) {
        let Some((width, times)) = self.trial.take() else { return };
        if is_better {
            (self.best, self.times) = (width, times);
            self.pause = PAUSE_STEPS_LEAST;
        } else {
            self.nodes.clear();
            self.is_wider_next = !self.is_wider_next;
            self.pause = (2 * self.pause).min(PAUSE_STEPS_MOST);
        }
        self.left = self.pause;
    }
}

/// The nodes of so many workers that would be done first with so many rows each; of equal ones the first.
fn fastest(workers: &[Worker], count: usize, rows: f64) -> Vec<NodeKey> {
    let mut before = None;
    // Workers of a node are beside each other.
    let end_us = |worker: &Worker| {
        let is_beside = before.replace(worker.node) == Some(worker.node);
        let Speed { overhead_us, us_per_row } = worker.speed;
        ((overhead_us + us_per_row * rows) * if is_beside { BESIDE_ANOTHER } else { 1.0 }, worker.node)
    };
    let mut by_end: Vec<(f64, NodeKey)> = workers.iter().map(end_us).collect();
    by_end.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    by_end.into_iter().take(count).map(|(_, node)| node).collect()
}

/// Of how many nodes these workers are.
fn nodes_of(workers: &[Worker]) -> usize {
    workers.chunk_by(|one, other| one.node == other.node).count()
}

/// How often each node is there.
fn counts(nodes: impl Iterator<Item = NodeKey>) -> BTreeMap<NodeKey, u64> {
    let mut counts = BTreeMap::new();
    nodes.for_each(|node| *counts.entry(node).or_insert(0) += 1);
    counts
}

/// The lower median of some times; 0 of none.
fn median(times: &[u64]) -> u64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: u32) -> Vec<Worker> {
        let worker = |node| Worker {
            node: NodeKey(node),
            speed: Speed { overhead_us: 10.0, us_per_row: 1.0 },
            cache_bytes: u64::MAX,
        };
        (0..count).map(worker).collect()
    }

    /// So many nodes of so many workers each.
    fn nodes_of_many(count: u32, each: usize) -> Vec<Worker> {
        workers(count).into_iter().flat_map(|worker| std::iter::repeat_n(worker, each)).collect()
    }

    /// So many steps of a fleet, of which one takes so long by its width; the widths.
    fn live(width: &mut Width, count: u32, steps: u32, step_us: impl Fn(usize) -> u64) -> Vec<usize> {
        let step = |_| {
            let chosen = width.choose(workers(count), 512, 1).len();
            width.observe(step_us(chosen));
            chosen
        };
        (0..steps).map(step).collect()
    }

    #[test]
    fn where_every_worker_helps_nearly_all_steps_are_for_all() {
        let mut width = Width::new(8_282);
        let widths = live(&mut width, 8, 1_000, |width| 8_000 / width as u64 + 100);
        let narrow = widths.iter().filter(|width| **width != 8).count();
        assert!((1..=7).contains(&narrow), "{narrow} of 1,000 steps were for fewer");
    }

    #[test]
    fn where_a_task_costs_more_than_it_helps_the_best_width_is_found_and_kept() {
        // Two cores: more than two workers help nobody, and each task costs.
        let step_us = |width: usize| 1_000 / width.min(2) as u64 + 150 * width as u64;
        let mut width = Width::new(8_282);
        let widths = live(&mut width, 16, 1_000, step_us);
        assert!(widths[200..].iter().filter(|width| **width == 2).count() > 770, "{widths:?}");
        // The work grows: it is worth more workers.
        let widths = live(&mut width, 16, 4_000, |width| 20_000 / width as u64 + 150 * width as u64);
        assert!(widths[3_000..].iter().filter(|width| **width >= 8).count() > 900);
    }

    #[test]
    fn a_narrow_step_keeps_its_nodes_and_takes_the_fastest() {
        let mut fleet = workers(4);
        fleet[2].speed.us_per_row = 0.5;
        let mut width = Width::new(8_282);
        let mut chosen = Vec::new();
        for _ in 0..200 {
            let workers = width.choose(fleet.clone(), 512, 1);
            width.observe(workers.len() as u64 * 1_000);
            chosen.push(workers.into_iter().map(|worker| worker.node).collect::<Vec<_>>());
        }
        assert_eq!(chosen.last(), Some(&vec![NodeKey(2)]));
        let pairs = chosen.iter().filter(|nodes| nodes.len() == 2);
        assert!(pairs.clone().count() > 8);
        assert!(pairs.into_iter().all(|nodes| *nodes == [NodeKey(0), NodeKey(2)]));
    }

    #[test]
    fn small_steps_begin_with_a_worker_of_each_node_and_more_are_kept_where_they_help() {
        let live = |nodes: u32, each: usize, steps: u32, step_us: &dyn Fn(usize) -> u64| {
            let mut width = Width::new(8_282);
            let step = |_| {
                let chosen = width.choose(nodes_of_many(nodes, each), 512, 1);
                width.observe(step_us(chosen.len()));
                chosen.into_iter().map(|worker| worker.node.0).collect::<Vec<_>>()
            };
            (0..steps).map(step).collect::<Vec<_>>()
        };
        // Three nodes on one machine of two cores: no step is ever cut for all six workers of them but in short trials.
        let crowded = live(3, 2, 1_000, &|width| 1_000 / width.min(2) as u64 + 150 * width as u64);
        assert_eq!(crowded[..8], vec![vec![0, 1, 2]; 8]);
        assert!(crowded.iter().filter(|nodes| nodes.len() > 3).count() < 10, "{crowded:?}");
        // Machines of sixteen cores each: all of them soon.
        let wide = live(3, 16, 100, &|width| 100_000 / width as u64 + 20);
        let first = wide.iter().position(|nodes| nodes.len() == 48);
        assert!(first.is_some_and(|first| first < 40), "{first:?}");
        let alone = live(1, 16, 40, &|width| 100_000 / width as u64 + 20);
        assert!(alone.iter().position(|nodes| nodes.len() == 16).is_some_and(|first| first < 20), "{alone:?}");
        assert!(wide.iter().rev().take(20).all(|nodes| nodes.len() >= 24));
    }

    #[test]
    fn large_steps_begin_with_as_many_workers_as_they_are_worth() {
        for (parameters, first) in [(8_282, 1), (1 << 20, 8), (1 << 30, 16)] {
            let mut width = Width::new(parameters);
            assert_eq!(width.choose(nodes_of_many(1, 16), 512, 1).len(), first, "{parameters}");
        }
    }

    #[test]
    fn a_worker_chosen_alone_keeps_what_its_node_keeps() {
        let mut fleet = nodes_of_many(2, 4);
        fleet.iter_mut().for_each(|worker| worker.cache_bytes = 100);
        let chosen = Width::new(8_282).choose(fleet, 512, 1);
        assert_eq!(chosen.iter().map(|worker| worker.cache_bytes).collect::<Vec<_>>(), [400, 400]);
    }

    #[test]
    fn fewer_workers_than_keep_the_data_are_not_tried() {
        for (fewest, narrowest) in [(1, 1), (3, 3), (8, 8)] {
            let mut width = Width::new(8_282);
            let mut least = 8;
            for _ in 0..400 {
                let chosen = width.choose(workers(8), 512, fewest).len();
                least = least.min(chosen);
                width.observe(100 * chosen as u64);
            }
            assert_eq!(least, narrowest);
        }
    }

    #[test]
    fn what_is_known_of_a_fleet_outlives_a_nodes_absence() {
        let mut width = Width::new(8_282);
        live(&mut width, 4, 100, |width| 1_000 * width as u64);
        assert_eq!(width.choose(workers(3), 512, 1).len(), 3);
        width.observe(3_000);
        assert_eq!(width.choose(workers(4), 512, 1).len(), 1);
    }

    #[test]
    fn another_fleet_begins_with_all_and_short_steps_teach_nothing() {
        let mut width = Width::new(8_282);
        live(&mut width, 4, 100, |width| 1_000 * width as u64);
        assert_eq!(width.choose(workers(4), 512, 1).len(), 1);
        assert_eq!(width.choose(workers(3), 512, 1).len(), 3);
        let mut width = Width::new(8_282);
        live(&mut width, 4, 5, |_| 1_000);
        for _ in 0..100 {
            assert_eq!(width.choose(workers(4), 80, 1).len(), 4);
            width.observe(1);
        }
    }

    #[test]
    fn a_step_that_was_not_cut_whole_is_no_observation() {
        let mut width = Width::new(8_282);
        (0..100).for_each(|_| width.observe(1));
        assert!(width.times.is_empty());
    }
}
