//! For how many of the workers that are there a step of merged gradients is cut. Owns what was observed of whole steps by their
//! width; does not know tasks, links or how blocks are shared among workers (`plan`).
//!
//! Every task has a cost besides its rows: the way there and back, an object to hash on both sides, a sum to take in, and a place on
//! a machine that it may share with others. How much that is, and what of it tasks spend beside each other, nobody can tell from
//! single tasks; the time of whole steps tells. So now and then a few steps are cut for half or twice as many workers, and what is
//! faster stays. The model's bits do not depend on it.

use super::nodes::NodeKey;
use super::speed::{Speed, Worker};

/// Steps whose times are compared.
const STEPS_COMPARED: usize = 7;
/// Another width is kept if its steps take less than this part of the time.
const GAIN_TO_STAY: f64 = 0.95;
/// A trial ends at the first step that takes more than this part of the usual time.
const LOSS_TO_STOP: f64 = 1.3;
/// Steps between trials, after one that was worth it; each that was not doubles them.
const PAUSE_STEPS_LEAST: u32 = 8;
const PAUSE_STEPS_MOST: u32 = 1_024;

/// How wide steps are.
#[derive(Debug)]
pub(super) struct Width {
    /// What is known holds for a fleet of so many workers, and for steps of so many rows.
    workers: usize,
    rows: u32,
    /// Fewer are not tried.
    fewest: usize,
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

impl Default for Width {
    fn default() -> Width {
        Width {
            workers: 0,
            rows: 0,
            fewest: 1,
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
}

impl Width {
    /// Those of these workers that a step of so many rows is cut for, in their order. Fewer than `fewest` are not tried, and no other
    /// number where that is all of them.
    pub(super) fn choose(&mut self, mut workers: Vec<Worker>, rows: u32, fewest: usize) -> Vec<Worker> {
        self.fewest = fewest;
        if workers.len() != self.workers {
            let anew = || Width { workers: workers.len(), best: workers.len(), rows, ..Width::default() };
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
        let mut left = self.nodes.clone();
        workers.retain(|worker| {
            let place = left.iter().position(|other| *other == worker.node);
            place.map(|place| left.swap_remove(place)).is_some()
        });
        workers
    }

    /// Steps take another time from now on, since more or fewer jobs run: those until now say nothing of them.
    pub(super) fn forget_times(&mut self) {
        let Width { workers, rows, fewest, best, .. } = *self;
        *self = Width { workers, rows, fewest, best, nodes: std::mem::take(&mut self.nodes), ..Width::default() };
    }

    /// The step that was last cut took so long, from its beginning until its gradient was applied.
    pub(super) fn observe(&mut self, step_us: u64) {
        let Some(width) = self.cut.take() else { return };
        if let Some((tried, times)) = &mut self.trial {
            debug_assert_eq!(*tried, width);
            times.push(step_us);
            let usual_us = median(&self.times) as f64;
            if step_us as f64 > usual_us * LOSS_TO_STOP {
                self.end_trial(false);
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
        let wider = if self.fewest < self.workers { (2 * self.best).min(self.workers) } else { self.best };
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
    let end_us = |speed: &Speed| speed.overhead_us + speed.us_per_row * rows;
    let mut by_end: Vec<&Worker> = workers.iter().collect();
    by_end.sort_by(|a, b| end_us(&a.speed).total_cmp(&end_us(&b.speed)));
    by_end.into_iter().take(count).map(|worker| worker.node).collect()
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
        let mut width = Width::default();
        let widths = live(&mut width, 8, 1_000, |width| 8_000 / width as u64 + 100);
        let narrow = widths.iter().filter(|width| **width != 8).count();
        assert!((1..=7).contains(&narrow), "{narrow} of 1,000 steps were for fewer");
    }

    #[test]
    fn where_a_task_costs_more_than_it_helps_the_best_width_is_found_and_kept() {
        // Two cores: more than two workers help nobody, and each task costs.
        let step_us = |width: usize| 1_000 / width.min(2) as u64 + 150 * width as u64;
        let mut width = Width::default();
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
        let mut width = Width::default();
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
    fn fewer_workers_than_keep_the_data_are_not_tried() {
        for (fewest, narrowest) in [(1, 1), (3, 3), (8, 8)] {
            let mut width = Width::default();
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
        let mut width = Width::default();
        live(&mut width, 4, 100, |width| 1_000 * width as u64);
        assert_eq!(width.choose(workers(3), 512, 1).len(), 3);
        width.observe(3_000);
        assert_eq!(width.choose(workers(4), 512, 1).len(), 1);
    }

    #[test]
    fn another_fleet_begins_with_all_and_short_steps_teach_nothing() {
        let mut width = Width::default();
        live(&mut width, 4, 100, |width| 1_000 * width as u64);
        assert_eq!(width.choose(workers(4), 512, 1).len(), 1);
        assert_eq!(width.choose(workers(3), 512, 1).len(), 3);
        let mut width = Width::default();
        live(&mut width, 4, 5, |_| 1_000);
        for _ in 0..100 {
            assert_eq!(width.choose(workers(4), 80, 1).len(), 4);
            width.observe(1);
        }
    }

    #[test]
    fn a_step_that_was_not_cut_whole_is_no_observation() {
        let mut width = Width::default();
        (0..100).for_each(|_| width.observe(1));
        assert!(width.times.is_empty());
    }
}
