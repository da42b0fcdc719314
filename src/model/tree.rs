//! Adding up blocks by arithmetic 2's fixed binary tree. Owns the shape of the sum; does not know what is summed.

use std::ops::Add;

/// Sums of equally long blocks of numbers, added level by level: neighbours (0, 1), (2, 3), ..., an odd last one passing
/// up unchanged.
///
/// Works like a binary counter: after n blocks, `levels[k]` holds the sum of 2^k blocks exactly where bit k of n is set.
/// So there are never more than log2 n sums at once.
pub(super) struct Tree<T> {
    levels: Vec<Vec<T>>,
    blocks: usize,
    next: Vec<T>,
}

impl<T: Copy + Default + Add<Output = T>> Tree<T> {
    /// A tree without room; [`Tree::prepare`] makes it.
    pub fn new() -> Tree<T> {
        Tree { levels: Vec::new(), blocks: 0, next: Vec::new() }
    }

    /// Makes room for up to `blocks` blocks of `width` numbers, and starts with none.
    pub fn prepare(&mut self, width: usize, blocks: usize) {
        let levels = blocks.max(1).ilog2() as usize + 1;
        self.levels.resize_with(levels, Vec::new);
        for sums in self.levels.iter_mut().chain([&mut self.next]) {
            // What is left in them is overwritten: each is written whole before it is read.
            sums.resize(width, T::default());
        }
        self.blocks = 0;
    }

    /// Where the next block is to be written, whole; [`Tree::take`] then adds it.
    pub fn next(&mut self) -> &mut [T] {
        &mut self.next
    }

    /// Adds the block that was written to [`Tree::next`].
    pub fn take(&mut self) {
        let level = self.blocks.trailing_ones() as usize;
        for sums in &self.levels[..level] {
            add(sums, &mut self.next);
        }
        std::mem::swap(&mut self.levels[level], &mut self.next);
        self.blocks += 1;
    }

    /// Adds a block, whole, and leaves other memory of its length in its place.
    pub fn take_from(&mut self, block: &mut Vec<T>) {
        std::mem::swap(&mut self.next, block);
        self.take();
    }

    /// The sum of all blocks since the last `prepare` or `finish`; starts again with none. At least one was taken.
    pub fn finish(&mut self) -> &[T] {
        let last = self.total();
        &self.levels[last]
    }

    /// The same, in exchange for memory of its length.
    pub fn finish_into(&mut self, total: &mut Vec<T>) {
        let last = self.total();
        std::mem::swap(&mut self.levels[last], total);
    }

    /// Adds up what there is, and says at which level.
    fn total(&mut self) -> usize {
        let lowest = self.blocks.trailing_zeros() as usize;
        let mut last = lowest;
        for level in lowest + 1..self.levels.len() {
            if self.blocks >> level & 1 == 1 {
                let (below, above) = self.levels.split_at_mut(level);
                add(&below[last], &mut above[0]);
                last = level;
            }
        }
        self.blocks = 0;
        last
    }
}

fn add<T: Copy + Add<Output = T>>(earlier: &[T], later: &mut [T]) {
    for (later, earlier) in later.iter_mut().zip(earlier) {
        *later = *earlier + *later;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_levels(mut blocks: Vec<f32>) -> f32 {
        while blocks.len() > 1 {
            blocks = blocks.chunks(2).map(|pair| pair.iter().copied().reduce(|a, b| a + b).unwrap()).collect();
        }
        blocks[0]
    }

    #[test]
    fn blocks_are_added_level_by_level_whatever_their_number() {
        let mut tree = Tree::new();
        for count in 1..=40 {
            tree.prepare(1, count);
            // Numbers of all sizes, so that another order shows in the last bits.
            let blocks: Vec<f32> = (0..count).map(|i| (i as f32 * 1.7).sin() * 10f32.powi(i as i32 % 7)).collect();
            for _ in 0..2 {
                for block in &blocks {
                    tree.next().fill(*block);
                    tree.take();
                }
                assert_eq!(tree.finish()[0].to_bits(), by_levels(blocks.clone()).to_bits(), "{count} blocks");
            }
        }
    }
}
