//! How a job's rows make steps of merged gradients (docs/arithmetic.md, "Steps of merged gradients"): blocks, and which of
//! them each step has. A function of the network, the batch, the shards' sizes and the step alone: never of who computes.

use super::network::Network;

/// Consecutive blocks of a shard's rows, in the order that the rows have in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRange {
    /// The shard.
    pub shard: u32,
    /// The first block, from 0.
    pub first: u32,
    /// How many; not 0.
    pub count: u32,
}

impl BlockRange {
    /// Rows of these blocks of so many rows each, in a shard of so many.
    pub fn rows(self, block_rows: u32, shard_rows: u32) -> u32 {
        let place = |block: u64| (block * u64::from(block_rows)).min(shard_rows.into());
        let (first, count) = (u64::from(self.first), u64::from(self.count));
        (place(first + count) - place(first)) as u32
    }
}

/// A step's part of the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepBlocks {
    /// Which time the rows are gone through, from 0.
    pub epoch: u64,
    /// Its blocks, in the order of the shards: that of their numbers in the step.
    pub ranges: Vec<BlockRange>,
}

impl StepBlocks {
    /// How many they are.
    pub fn count(&self) -> u32 {
        self.ranges.iter().map(|range| range.count).sum()
    }

    /// All but those with these numbers, which ascend; what is no number of a block leaves out none.
    pub fn without(&self, skipped: &[u32]) -> Vec<BlockRange> {
        let (mut kept, mut skipped) = (Vec::with_capacity(self.ranges.len()), skipped.iter().copied().peekable());
        let mut number = 0;
        for range in &self.ranges {
            let (mut first, end) = (range.first, range.first + range.count);
            let next = number + range.count;
            while let Some(block) = skipped.next_if(|block| *block < next) {
                let place = range.first + (block - number);
                kept.push(BlockRange { first, count: place - first, ..*range });
                first = place + 1;
            }
            kept.push(BlockRange { first, count: end - first, ..*range });
            number = next;
        }
        kept.retain(|range| range.count > 0);
        kept
    }
}

/// How a job's rows make steps. An epoch goes once through all rows: each shard's are put in an order, and cut into blocks, of
/// which the last may be shorter. The epoch's blocks, the first of every shard, then the second of every shard that has one,
/// and so on, are cut into steps of equal numbers, or such that differ by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GradientSteps {
    block_rows: u32,
    shard_rows: Vec<u32>,
    /// Blocks of each shard.
    blocks: Vec<u32>,
    /// The same numbers, each once, ascending, and how many shards have so many or more.
    heights: Vec<(u32, u64)>,
    per_epoch: u32,
}

impl GradientSteps {
    /// Of batches of `batch_rows` rows of shards with so many rows, none of which is 0.
    pub fn new(network: &Network, batch_rows: u32, shard_rows: &[u32]) -> GradientSteps {
        let block_rows = block_rows(network, batch_rows);
        let blocks: Vec<u32> = shard_rows.iter().map(|rows| rows.div_ceil(block_rows)).collect();
        let mut sorted = blocks.clone();
        sorted.sort_unstable();
        let mut heights: Vec<(u32, u64)> = Vec::new();
        for (place, &height) in sorted.iter().enumerate() {
            if heights.last().is_none_or(|(last, _)| *last < height) {
                heights.push((height, (sorted.len() - place) as u64));
            }
        }
        let in_step = u64::from(batch_rows / block_rows);
        let total: u64 = blocks.iter().map(|&blocks| u64::from(blocks)).sum();
        // Fewer than 2^32 where a job has fewer than 2^32 blocks; a job of more steps is refused.
        let per_epoch = u32::try_from(total.div_ceil(in_step)).unwrap_or(u32::MAX);
        GradientSteps { block_rows, shard_rows: shard_rows.to_vec(), blocks, heights, per_epoch }
    }

    /// Rows of a block, but for a shard's last.
    pub fn block_rows(&self) -> u32 {
        self.block_rows
    }

    /// Steps of an epoch.
    pub fn per_epoch(&self) -> u32 {
        self.per_epoch
    }

    /// Blocks of a step, at most.
    pub fn blocks_most(&self) -> u64 {
        self.below(u32::MAX).div_ceil(self.per_epoch.into())
    }

    /// The blocks of a step, counted from 0 over the whole job.
    pub fn step(&self, step: u64) -> StepBlocks {
        let (steps, total) = (u64::from(self.per_epoch), self.below(u32::MAX));
        let (epoch, within) = (step / steps, step % steps);
        // Up to 2^46 blocks times 2^32 steps do not fit 64 bits.
        let bound = |step: u64| (u128::from(total) * u128::from(step) / u128::from(steps)) as u64;
        StepBlocks { epoch, ranges: self.between(bound(within), bound(within + 1)) }
    }

    /// Rows of some blocks of a shard.
    pub fn rows(&self, range: BlockRange) -> u32 {
        range.rows(self.block_rows, self.shard_rows[range.shard as usize])
    }

    /// Blocks of all shards whose place in their shard is below this.
    fn below(&self, place: u32) -> u64 {
        let (mut sum, mut from) = (0, 0);
        for &(height, shards) in &self.heights {
            let until = height.min(place);
            sum += u64::from(until.saturating_sub(from)) * shards;
            from = until;
        }
        sum
    }

    /// The epoch's blocks from one to another, by shard.
    fn between(&self, start: u64, end: u64) -> Vec<BlockRange> {
        // The places at which all shards' blocks are within, but perhaps for the first and the last.
        let (first, last) = (self.place_of(start), self.place_of(end));
        let (mut skipped, mut taken) = (start - self.below(first), end - self.below(last));
        let take_one = |left: &mut u64, is_there: bool| {
            let takes = is_there && *left > 0;
            *left -= u64::from(takes);
            u32::from(takes)
        };
        let mut ranges = Vec::new();
        for (shard, &blocks) in (0..).zip(&self.blocks) {
            let from = first + take_one(&mut skipped, blocks > first);
            let to = last + take_one(&mut taken, blocks > last);
            if let count @ 1.. = to.min(blocks).saturating_sub(from) {
                ranges.push(BlockRange { shard, first: from, count });
            }
        }
        ranges
    }

    /// The place within its shard of the epoch's block of this number; of one behind the last, the most blocks of a shard.
    fn place_of(&self, block: u64) -> u32 {
        let most = self.heights.last().map_or(0, |(height, _)| *height);
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.below(middle + 1) <= block { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Rows of a block: a function of the network and the batch. Few rows make many blocks, and many of them are summed faster: each
/// network's least costs about a quarter of the speed that 128 rows have, the smallest networks' more.
pub fn block_rows(network: &Network, batch_rows: u32) -> u32 {
    /// Blocks of a step that a fleet can share among so many tasks.
    const BLOCKS_WANTED: u32 = 128;
    let least = match network.parameters() {
        0..4_096 => 8,
        4_096..16_384 => 16,
        16_384..131_072 => 32,
        _ => 128,
    };
    // Halves of the batch, so that blocks fill it where it is a power of two.
    let most = (batch_rows / BLOCKS_WANTED).clamp(least, 128);
    let power = 1 << most.ilog2();
    power.min(batch_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(batch_rows: u32, shard_rows: &[u32]) -> GradientSteps {
        GradientSteps::new(&Network::new(4, &[], 2).unwrap(), batch_rows, shard_rows)
    }

    /// The blocks of an epoch in their order, by their definition.
    fn defined(steps: &GradientSteps) -> Vec<(u32, u32)> {
        let most = steps.blocks.iter().copied().max().unwrap();
        let mut all = Vec::new();
        for place in 0..most {
            all.extend(
                (0..).zip(&steps.blocks).filter(|(_, blocks)| place < **blocks).map(|(shard, _)| (place, shard)),
            );
        }
        all
    }

    #[test]
    fn an_epoch_has_every_block_once_in_steps_of_equal_numbers() {
        for shard_rows in [&[1][..], &[100], &[8, 8, 8], &[33, 32, 31], &[100, 3, 57, 8, 200], &[7; 64], &[1000, 1]] {
            for batch_rows in [1, 5, 8, 20, 64, 4096] {
                let steps = steps(batch_rows, shard_rows);
                let mut all = defined(&steps).into_iter();
                let (count, in_step) = (u64::from(steps.per_epoch()), (batch_rows / steps.block_rows()) as usize);
                let mut numbers = Vec::new();
                for step in 0..count {
                    let StepBlocks { epoch, ranges } = steps.step(step + 3 * count);
                    assert_eq!(epoch, 3);
                    let blocks = ranges
                        .iter()
                        .flat_map(|range| (range.first..range.first + range.count).map(|place| (place, range.shard)));
                    let mut blocks: Vec<_> = blocks.collect();
                    let by_shard: Vec<u32> = ranges.iter().map(|range| range.shard).collect();
                    assert!(by_shard.is_sorted_by(|a, b| a < b), "{ranges:?}");
                    blocks.sort_unstable();
                    let mut expected: Vec<_> = all.by_ref().take(blocks.len()).collect();
                    expected.sort_unstable();
                    assert_eq!(blocks, expected);
                    numbers.push(blocks.len());
                }
                assert_eq!(all.next(), None);
                let (least, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
                assert!(*least > 0 && most - least <= 1 && *most <= in_step, "{numbers:?}");
                assert_eq!(steps.blocks_most(), *most as u64);
            }
        }
    }

    #[test]
    fn blocks_are_left_out_by_their_numbers_in_the_step() {
        let range = |shard, first, count| BlockRange { shard, first, count };
        let blocks = StepBlocks { epoch: 0, ranges: vec![range(0, 3, 2), range(2, 1, 4), range(5, 0, 1)] };
        assert_eq!(blocks.count(), 7);
        assert_eq!(blocks.without(&[]), blocks.ranges);
        assert_eq!(blocks.without(&[7, 90]), blocks.ranges);
        assert_eq!(blocks.without(&[1, 2, 4]), [range(0, 3, 1), range(2, 2, 1), range(2, 4, 1), range(5, 0, 1)]);
        assert_eq!(blocks.without(&[0, 5, 6]), [range(0, 4, 1), range(2, 1, 3)]);
        assert_eq!(blocks.without(&[0, 1, 2, 3, 4, 5, 6]), []);
    }

    #[test]
    fn a_shards_last_block_has_the_rows_that_are_left() {
        let steps = steps(64, &[20, 16]);
        assert_eq!(steps.block_rows(), 8);
        assert_eq!(steps.rows(BlockRange { shard: 0, first: 0, count: 3 }), 20);
        assert_eq!(steps.rows(BlockRange { shard: 0, first: 2, count: 1 }), 4);
        assert_eq!(steps.rows(BlockRange { shard: 1, first: 1, count: 1 }), 8);
    }
}
