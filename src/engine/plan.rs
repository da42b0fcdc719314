//! What a job's steps consist of, and how a step of merged gradients is cut into tasks. Owns the plan, which is the job's, and
//! the cut, which is the fleet's; does not know which node gets which task (`scheduler`).

use std::ops::Range;
use std::sync::Arc;

use super::nodes::NodeKey;
use super::speed::{Speed, last_end_us, shares};
use crate::job::{BlockRange, GradientSteps, Specification, TaskRows};

/// Shards that the blocks of a task lie in, at most (protocol.md, "Limits", RANGES_MAX).
const TASK_SHARDS_MAX: u32 = 4_096;

/// A job's steps.
#[derive(Debug)]
pub(super) struct Plan {
    specification: Arc<Specification>,
    gradients: Option<GradientSteps>,
    round_steps: u32,
}

impl Plan {
    pub(super) fn new(specification: Arc<Specification>) -> Plan {
        Plan { gradients: specification.gradient_steps(), round_steps: specification.round_steps(), specification }
    }

    /// Steps of a round.
    pub(super) fn round_steps(&self) -> u64 {
        self.round_steps.into()
    }

    /// Steps of the job.
    pub(super) fn steps(&self) -> u64 {
        u64::from(self.specification.rounds) * self.round_steps()
    }

    /// The round that a step is of, from 0.
    pub(super) fn round_of(&self, step: u64) -> u32 {
        // Fewer than 2^32 rounds have this step among theirs.
        (step / self.round_steps()) as u32
    }

    /// Whether a round ends with this step.
    pub(super) fn ends_round(&self, step: u64) -> bool {
        (step + 1).is_multiple_of(self.round_steps())
    }

    /// Whether steps may be cut into any number of tasks.
    pub(super) fn merges_gradients(&self) -> bool {
        self.gradients.is_some()
    }

    /// What a step consists of.
    pub(super) fn units(&self, step: u64) -> Units {
        let Some(gradients) = &self.gradients else {
            let rows = self.specification.shards.iter().map(|shard| shard.rows).collect();
            return Units { kind: Kind::Shards, rows };
        };
        let blocks = gradients.step(step);
        let of_range = |range: &BlockRange| {
            let range = *range;
            (range.first..range.first + range.count).map(move |first| BlockRange { first, count: 1, ..range })
        };
        let blocks_of_step: Vec<BlockRange> = blocks.ranges.iter().flat_map(of_range).collect();
        let rows = blocks_of_step.iter().map(|block| gradients.rows(*block)).collect();
        Units { kind: Kind::Blocks { epoch: blocks.epoch, blocks: blocks_of_step }, rows }
    }
}

/// A worker that can take blocks, and how fast it is.
pub(super) type Worker = (NodeKey, Speed);

/// How steps have been shared lately. Blocks of a step lie in the order of their shards, the same in every step: workers that keep
/// their parts of it keep their shards, and shards travel only where that pays.
#[derive(Debug, Default)]
pub(super) struct Shares {
    nodes: Vec<NodeKey>,
    /// Where the part of each ends, 1 being the end of the step.
    ends: Vec<f64>,
}

impl Shares {
    /// The blocks of each worker, of which there is at least one, such that the last of them is done nearly as soon as can be. A worker so
    /// slow that the others are done before it has done one block gets none.
    pub(super) fn of(&mut self, count: u32, block_rows: f64, workers: &[Worker]) -> Vec<u32> {
        /// Shares are changed where the step would be done sooner by more than this part.
        const GAIN_LEAST: f64 = 0.08;
        let speeds: Vec<Speed> = workers.iter().map(|(_, speed)| *speed).collect();
        let best = shares(count, block_rows, &speeds);
        let nodes = workers.iter().map(|(node, _)| *node);
        if nodes.clone().eq(self.nodes.iter().copied()) {
            let usual = self.usual(count);
            let [usual_us, best_us] = [&usual, &best].map(|shares| last_end_us(block_rows, &speeds, shares));
            if usual_us * (1.0 - GAIN_LEAST) <= best_us {
                return usual;
            }
        }
        let mut end = 0;
        self.nodes = nodes.collect();
        self.ends = best
            .iter()
            .map(|share| {
                end += share;
                f64::from(end) / f64::from(count)
            })
            .collect();
        best
    }

    /// Shares of so many blocks as they were lately.
    fn usual(&self, count: u32) -> Vec<u32> {
        let mut start = 0;
        let share = |end: &f64| {
            let end = (end * f64::from(count)).round() as u32;
            end - std::mem::replace(&mut start, end)
        };
        self.ends.iter().map(share).collect()
    }
}

/// What a step consists of: its shards, or its blocks, by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Units {
    kind: Kind,
    rows: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Kind {
    Shards,
    /// Each of them, by shard and place.
    Blocks {
        epoch: u64,
        blocks: Vec<BlockRange>,
    },
}

impl Units {
    pub(super) fn count(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Rows of some of them.
    pub(super) fn rows(&self, units: &Range<u32>) -> u32 {
        self.rows[units.start as usize..units.end as usize].iter().sum()
    }

    /// The units of each task at the step's beginning: a shard is one, and blocks are cut once it is known for whom.
    pub(super) fn uncut(&self) -> Vec<Range<u32>> {
        match self.kind {
            Kind::Shards => (0..self.count()).map(|shard| shard..shard + 1).collect(),
            Kind::Blocks { .. } => std::iter::once(0..self.count()).collect(),
        }
    }

    /// Whether they are blocks.
    pub(super) fn are_blocks(&self) -> bool {
        matches!(self.kind, Kind::Blocks { .. })
    }

    /// What a node is to be told of some of them.
    pub(super) fn task_rows(&self, units: &Range<u32>) -> TaskRows {
        let Kind::Blocks { epoch, blocks } = &self.kind else { return TaskRows::Shard(units.start) };
        let mut ranges: Vec<BlockRange> = Vec::new();
        for block in &blocks[units.start as usize..units.end as usize] {
            match ranges.last_mut() {
                Some(last) if last.shard == block.shard => last.count += 1,
                _ => ranges.push(*block),
            }
        }
        TaskRows::Blocks { epoch: *epoch, ranges }
    }

    /// Cuts some blocks for workers of these nodes, in the order of the workers and of the shards.
    pub(super) fn cut(&self, units: &Range<u32>, workers: &[Worker], shares: &[u32]) -> Vec<(NodeKey, Range<u32>)> {
        let mut start = units.start;
        let mut parts = Vec::with_capacity(workers.len());
        for ((node, _), &count) in workers.iter().zip(shares).filter(|(_, count)| **count > 0) {
            let part = start..start + count;
            start = part.end;
            parts.extend(self.sendable(std::iter::once(part)).into_iter().map(|part| (*node, part)));
        }
        parts
    }

    /// Rows of a block, on average over these.
    pub(super) fn block_rows(&self, units: &Range<u32>) -> f64 {
        f64::from(self.rows(units)) / units.len().max(1) as f64
    }

    /// Cuts some blocks into so many parts, as equal as can be; into as many as there are blocks if those are fewer.
    pub(super) fn cut_evenly(&self, units: &Range<u32>, parts: u32) -> Vec<Range<u32>> {
        let count = units.len() as u64;
        let parts = u64::from(parts).clamp(1, count);
        let bound = |part: u64| units.start + (part * count / parts) as u32;
        self.sendable((0..parts).map(|part| bound(part)..bound(part + 1)))
    }

    /// These parts, those in pieces that lie in too many shards.
    fn sendable(&self, parts: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
        let piece = |part: Range<u32>| {
            debug_assert!(part.start <= part.end);
            let lies_in_few = part.len() as u32 <= TASK_SHARDS_MAX || self.shards(&part) <= TASK_SHARDS_MAX;
            let step = if lies_in_few { part.len() } else { TASK_SHARDS_MAX as usize };
            part.clone().step_by(step.max(1)).map(move |start| start..part.end.min(start + step as u32))
        };
        parts.flat_map(piece).collect()
    }

    /// Shards that some blocks lie in.
    fn shards(&self, units: &Range<u32>) -> u32 {
        let Kind::Blocks { blocks, .. } = &self.kind else { return units.len() as u32 };
        let mut shards: Vec<u32> =
            blocks[units.start as usize..units.end as usize].iter().map(|block| block.shard).collect();
        // They are in order.
        shards.dedup();
        shards.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(node: u32, us_per_row: f64) -> Worker {
        (NodeKey(node), Speed { overhead_us: 0.0, us_per_row })
    }

    #[test]
    fn shares_stay_as_they_are_until_a_change_pays() {
        let mut shares = Shares::default();
        let mut shared = |second: f64, count| shares.of(count, 8.0, &[worker(1, 1.0), worker(2, second)]);
        assert_eq!(shared(1.0, 128), [64, 64]);
        assert_eq!(shared(1.05, 128), [64, 64], "a gain of 2.5 %");
        assert_eq!(shared(1.05, 126), [63, 63]);
        assert_eq!(shared(2.0, 126), [84, 42]);
        assert_eq!(shared(1.9, 129), [86, 43]);
        // Another fleet.
        assert_eq!(shares.of(128, 8.0, &[worker(1, 1.0), worker(3, 1.05)]), [66, 62]);
    }
}
