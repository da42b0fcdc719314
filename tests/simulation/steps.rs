//! What the steps of a job consist of, by their definition (docs/arithmetic.md): shards, or blocks of the global batch. Owns that
//! definition once more, in its plainest form; knows nothing of tasks, nor of who does them.

use std::fmt;

use gradwire::job::TaskRows;

/// Rows of a block: the network is small, and the batches are, too.
const BLOCK_ROWS: u32 = 8;

/// What is merged or left out as a whole: a shard's update, or the gradients of a block, which has a place in its shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    pub shard: u32,
    pub place: u32,
    pub rows: u32,
}

/// What tasks are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Epochs of a shard: a round is a step.
    Epochs,
    /// Local steps of a shard; a round is so many steps.
    LocalSteps(u32),
    /// Gradients of blocks; each is a task of its own where their median is taken.
    Gradients { batch: u32, round_steps: Option<u32>, tasks_per_step: Option<u32>, is_median: bool },
}

/// A job's steps.
#[derive(Clone)]
pub struct Steps {
    pub kind: Kind,
    pub shard_rows: Vec<u32>,
    /// What each step of an epoch consists of, by their numbers in the step.
    epoch: Vec<Vec<Unit>>,
}

impl Steps {
    pub fn new(kind: Kind, shard_rows: Vec<u32>) -> Steps {
        let shards = || (0..).zip(&shard_rows);
        let epoch = match kind {
            Kind::Epochs | Kind::LocalSteps(_) => {
                vec![shards().map(|(shard, &rows)| Unit { shard, place: 0, rows }).collect()]
            }
            Kind::Gradients { batch, .. } => {
                let most = shard_rows.iter().max().map_or(0, |rows| rows.div_ceil(BLOCK_ROWS));
                // The first block of every shard, then the second of every shard that has one, and so on.
                let block = |place: u32| {
                    let rows = move |rows: u32| rows.saturating_sub(place * BLOCK_ROWS).min(BLOCK_ROWS);
                    shards().map(move |(shard, &all)| Unit { shard, place, rows: rows(all) })
                };
                let blocks: Vec<Unit> = (0..most).flat_map(block).filter(|block| block.rows > 0).collect();
                let steps = blocks.len().div_ceil((batch / BLOCK_ROWS) as usize);
                let bound = |step: usize| blocks.len() * step / steps;
                let step = |step: usize| {
                    let mut units = blocks[bound(step)..bound(step + 1)].to_vec();
                    units.sort_by_key(|unit| (unit.shard, unit.place));
                    units
                };
                (0..steps).map(step).collect()
            }
        };
        Steps { kind, shard_rows, epoch }
    }

    pub fn merge_gradients(&self) -> bool {
        matches!(self.kind, Kind::Gradients { .. })
    }

    /// Whether what comes of every unit must be there by itself: each is a task, and has its number.
    pub fn are_single(&self) -> bool {
        !matches!(self.kind, Kind::Gradients { is_median: false, .. })
    }

    /// Steps of a round.
    pub fn of_round(&self) -> u64 {
        match self.kind {
            Kind::Epochs => 1,
            Kind::LocalSteps(steps) | Kind::Gradients { round_steps: Some(steps), .. } => steps.into(),
            Kind::Gradients { round_steps: None, .. } => self.epoch.len() as u64,
        }
    }

    /// What a step consists of, by their numbers in it.
    pub fn units(&self, step: u64) -> &[Unit] {
        &self.epoch[(step % self.epoch.len() as u64) as usize]
    }

    /// Which time the rows are gone through.
    pub fn epoch(&self, step: u64) -> u64 {
        step / self.epoch.len() as u64
    }

    /// The numbers, in their step, of the units that a task has; every one of them is the step's.
    pub fn numbers(&self, step: u64, rows: &TaskRows) -> Vec<u32> {
        let units = self.units(step);
        let number = |shard: u32, place: u32| {
            let number = units.iter().position(|unit| (unit.shard, unit.place) == (shard, place));
            number.expect("a task has what is no part of its step") as u32
        };
        let TaskRows::Blocks { epoch, ranges } = rows else {
            let TaskRows::Shard(shard) = rows else { unreachable!() };
            assert!(!self.merge_gradients(), "a shard is sent where gradients are merged");
            return vec![number(*shard, 0)];
        };
        assert!(self.merge_gradients() && *epoch == self.epoch(step), "blocks are those of another time");
        assert!(ranges.is_sorted_by(|a, b| a.shard < b.shard), "a shard is named twice, or too late");
        assert!(ranges.iter().all(|range| range.count > 0), "a range is empty");
        let places = ranges
            .iter()
            .flat_map(|range| (range.first..range.first + range.count).map(|place| number(range.shard, place)));
        places.collect()
    }

    /// Rows of some units of a step.
    pub fn rows(&self, step: u64, numbers: impl IntoIterator<Item = u32>) -> u32 {
        numbers.into_iter().map(|number| self.units(step)[number as usize].rows).sum()
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Steps { kind, shard_rows, epoch } = self;
        let counts: Vec<usize> = epoch.iter().map(Vec::len).collect();
        write!(f, "{kind:?}, shards of {shard_rows:?} rows, steps of {counts:?}")
    }
}
