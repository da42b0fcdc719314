//! Which training rows go to which shard. Owns the two ways to deal them out; does not know who trains a shard.

use super::error::Fault;
use crate::job::SHARDS_MAX;
use crate::model::random::{Purpose, Stream};

/// How many shards there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardCount {
    /// As many as somebody asks for.
    Exactly(u32),
    /// As many; more where one would be larger than [`SHARD_BYTES_MAX`], and fewer where there are fewer rows.
    Usual(u32),
}

/// Bytes of the inputs of a shard that nobody asks for: the caches of nodes hold several.
const SHARD_BYTES_MAX: u64 = 64 << 20;

impl ShardCount {
    /// Of so many rows whose inputs take so many bytes each.
    fn of(self, rows: usize, row_bytes: u64) -> u32 {
        match self {
            Self::Exactly(shards) => shards,
            Self::Usual(shards) => {
                let rows_max = (SHARD_BYTES_MAX / row_bytes.max(1)).max(1);
                let needed = (rows as u64).div_ceil(rows_max).min(u64::from(SHARDS_MAX)) as u32;
                shards.max(needed).min(rows as u32).max(1)
            }
        }
    }
}

/// How training rows are dealt out to shards. Sizes differ by one row at most, the larger shards first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharding {
    /// Every class evenly over all shards, drawn by the seed: the rows in a random permutation, sorted by class without
    /// changing their order inside one, are dealt out one by one in turn; a shard keeps the permutation's order.
    #[default]
    Stratified,
    /// Blocks in the order of the file, as the older literature does.
    Contiguous,
}

impl Sharding {
    /// The rows of each shard, whose inputs take so many bytes each. `training` is in the order of the file; `labels` are those of
    /// all rows.
    pub(super) fn deal(
        &self,
        training: &[u32],
        labels: &[u32],
        (shards, row_bytes): (ShardCount, u64),
        seed: u64,
    ) -> Result<Vec<Vec<u32>>, Fault> {
        let rows = training.len();
        let shards = shards.of(rows, row_bytes);
        if shards == 0 || shards > SHARDS_MAX || shards as usize > rows {
            return Err(Fault::Shards { got: shards, rows });
        }
        let shards = shards as usize;
        let (size, larger) = (rows / shards, rows % shards);
        match self {
            Self::Stratified => {
                let mut order = training.to_vec();
                Stream::new(Purpose::Shard, seed, [0; 3]).shuffle(&mut order);
                let mut by_class: Vec<u32> = (0..rows as u32).collect();
                by_class.sort_by_key(|&place| labels[order[place as usize] as usize]);
                let mut shard_of = vec![0u32; rows];
                for (turn, place) in by_class.into_iter().enumerate() {
                    shard_of[place as usize] = (turn % shards) as u32;
                }
                let mut dealt: Vec<_> = (0..shards).map(|_| Vec::with_capacity(size + 1)).collect();
                for (row, shard) in order.into_iter().zip(shard_of) {
                    dealt[shard as usize].push(row);
                }
                Ok(dealt)
            }
            Self::Contiguous => {
                let (large, small) = training.split_at(larger * (size + 1));
                Ok(large.chunks(size + 1).chain(small.chunks(size)).map(<[u32]>::to_vec).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn contiguous_shards_are_blocks_of_the_file_the_larger_first() {
        let dealt =
            Sharding::Contiguous.deal(&[0, 1, 2, 4, 5, 6, 7, 9], &[0; 10], (ShardCount::Exactly(3), 1), 1).unwrap();
        assert_eq!(dealt, [vec![0, 1, 2], vec![4, 5, 6], vec![7, 9]]);
    }

    #[test]
    fn the_seed_decides_how_stratified_shards_are_dealt_and_rows_inside_are_not_sorted() {
        let labels: Vec<u32> = (0..100).map(|row| row / 50).collect();
        let training: Vec<u32> = (0..100).collect();
        let deal = |seed| Sharding::Stratified.deal(&training, &labels, (ShardCount::Exactly(4), 1), seed).unwrap();
        assert_eq!(deal(1), deal(1));
        assert_ne!(deal(1), deal(2));
        assert!(deal(1).iter().all(|shard| !shard.is_sorted_by_key(|&row| labels[row as usize])));
    }

    #[test]
    fn a_number_of_shards_that_rows_cannot_fill_is_refused() {
        for sharding in [Sharding::Stratified, Sharding::Contiguous] {
            for got in [0, 4, u32::MAX] {
                assert_eq!(
                    sharding.deal(&[0, 1, 2], &[0; 3], (ShardCount::Exactly(got), 1), 1),
                    Err(Fault::Shards { got, rows: 3 })
                );
            }
            assert_eq!(sharding.deal(&[0, 1, 2], &[0; 3], (ShardCount::Exactly(3), 1), 1).unwrap().len(), 3);
        }
        // What nobody asks for yields to the rows.
        assert_eq!(Sharding::Stratified.deal(&[0, 1, 2], &[0; 3], (ShardCount::Usual(4), 1), 1).unwrap().len(), 3);
        // A shard of a gigabyte, or of one row of a gigabyte, is none that anybody asked for.
        assert_eq!(ShardCount::Usual(4).of(1 << 22, 256), 16);
        assert_eq!(ShardCount::Usual(4).of((1 << 22) + 1, 256), 17);
        assert_eq!(ShardCount::Usual(4).of(10, 1 << 30), 10);
        assert_eq!(ShardCount::Exactly(4).of(1 << 22, 256), 4);
        let rows = SHARDS_MAX + 1;
        let training: Vec<u32> = (0..rows).collect();
        let refused = Sharding::Contiguous.deal(&training, &[], (ShardCount::Exactly(rows), 1), 1);
        assert_eq!(refused, Err(Fault::Shards { got: rows, rows: rows as usize }));
    }

    proptest! {
        #[test]
        fn every_training_row_is_in_one_shard_sizes_and_classes_are_even(
            labels in prop::collection::vec(0u32..5, 20..300),
            shards in 1u32..10,
            contiguous: bool,
            seed: u64,
        ) {
            // Every third row validates.
            let training: Vec<u32> = (0..labels.len() as u32).filter(|row| row % 3 != 0).collect();
            let sharding = if contiguous { Sharding::Contiguous } else { Sharding::Stratified };
            let dealt = sharding.deal(&training, &labels, (ShardCount::Exactly(shards), 1), seed).unwrap();
            prop_assert_eq!(dealt.len(), shards as usize);

            let sizes: Vec<usize> = dealt.iter().map(Vec::len).collect();
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] - sizes[sizes.len() - 1] <= 1);

            let mut rows = dealt.concat();
            rows.sort_unstable();
            prop_assert_eq!(rows, training);

            if sharding == Sharding::Stratified {
                for class in 0..5 {
                    let count = |shard: &Vec<u32>| shard.iter().filter(|&&row| labels[row as usize] == class).count();
                    let counts: Vec<usize> = dealt.iter().map(count).collect();
                    prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
                }
            }
        }
    }
}
