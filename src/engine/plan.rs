//! What a job's steps consist of, and how a step of merged gradients is cut into tasks. Owns the plan, which is the job's, and
//! the cut, which is the fleet's; does not know which node gets which task (`scheduler`).

use std::ops::Range;
use std::sync::Arc;

use super::nodes::NodeKey;
use super::speed::Worker;
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

    /// Whether steps are of merged gradients.
    pub(super) fn merges_gradients(&self) -> bool {
        self.gradients.is_some()
    }

    /// What a step consists of.
    pub(super) fn units(&self, step: u64) -> Units {
        let Some(gradients) = &self.gradients else {
            let rows = self.specification.shards.iter().map(|shard| shard.rows).collect();
            return Units { kind: Kind::Shards, rows, cut: Cut::Singly };
        };
        let blocks = gradients.step(step);
        let of_range = |range: &BlockRange| {
            let range = *range;
            (range.first..range.first + range.count).map(move |first| BlockRange { first, count: 1, ..range })
        };
        let blocks_of_step: Vec<BlockRange> = blocks.ranges.iter().flat_map(of_range).collect();
        let rows = blocks_of_step.iter().map(|block| gradients.rows(*block)).collect();
        let cut = if self.specification.merge.needs_all() { Cut::Singly } else { Cut::Freely };
        Units { kind: Kind::Blocks { epoch: blocks.epoch, blocks: blocks_of_step }, rows, cut }
    }
}

/// What a step consists of: its shards, or its blocks, by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Units {
    kind: Kind,
    rows: Vec<u32>,
    cut: Cut,
}

/// How units make tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Each is one: what comes of it must be there by itself.
    Singly,
    /// Any number of them are: what comes of them is added up.
    Freely,
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

    /// The units of each task at the step's beginning: one where they are tasks singly, else all of them, which are cut once it is
    /// known for whom.
    pub(super) fn uncut(&self) -> Vec<Range<u32>> {
        match self.cut {
            Cut::Singly => (0..self.count()).map(|unit| unit..unit + 1).collect(),
            Cut::Freely => std::iter::once(0..self.count()).collect(),
        }
    }

    /// Whether a task may be of any number of them.
    pub(super) fn are_cut_freely(&self) -> bool {
        self.cut == Cut::Freely
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
        for (worker, &count) in workers.iter().zip(shares).filter(|(_, count)| **count > 0) {
            let part = start..start + count;
            start = part.end;
            parts.extend(self.sendable(std::iter::once(part)).into_iter().map(|part| (worker.node, part)));
        }
        parts
    }

    /// How many of some blocks lie before those of a shard.
    pub(super) fn before(&self, units: &Range<u32>, shard: u32) -> u32 {
        let Kind::Blocks { blocks, .. } = &self.kind else { return 0 };
        blocks[units.start as usize..units.end as usize].partition_point(|block| block.shard < shard) as u32
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
