//! Which outputs of hidden layers count as 0 while a row trains, and by what the others are multiplied (Srivastava and others,
//! 2014). Owns the draw: a function of the job's seed, the pass through a shard, the shard and the row alone, so that it is the
//! same however a step is cut into tasks and whoever has them. Does not know what outputs are.

use super::lanes::{LANES, Lanes};
use super::random::{Purpose, Stream};
use super::training::Training;

/// How rows of a shard drop outputs in one pass through it.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    share: f32,
    /// What outputs that stay are multiplied by, so that their sum is on average what it was.
    factor: f32,
    seed: u64,
    pass: u64,
    shard: u32,
}

impl Dropout {
    /// Of this pass through a shard, from 0; none where nothing is dropped.
    pub fn of(training: &Training, pass: u64, shard: u32) -> Option<Dropout> {
        let share = training.recipe.dropout;
        let dropout = Dropout { share, factor: 1.0 / (1.0 - share), seed: training.seed, pass, shard };
        (share != 0.0).then_some(dropout)
    }

    /// Writes the factors of a row, which is in this place of a block: 0 for what is dropped. `layers` has for each hidden layer its
    /// width, and its factors in panels, as outputs lie.
    pub fn draw<'a>(&self, row: u32, place: usize, layers: impl Iterator<Item = (usize, &'a mut [Lanes])>) {
        let mut stream = Stream::new(Purpose::Dropout, self.seed, [self.pass, self.shard.into(), row.into()]);
        let (panel, lane) = (place / LANES, place % LANES);
        for (width, factors) in layers {
            for factors in &mut factors[panel * width..][..width] {
                factors.0[lane] = if stream.unit() < self.share { 0.0 } else { self.factor };
            }
        }
    }
}

/// Multiplies by factors; +0 where a factor is 0, whatever was there. Nothing here is vectors': one code does for every kernel.
#[inline(never)]
pub(super) fn apply(values: &mut [Lanes], factors: &[Lanes]) {
    for (values, factors) in values.iter_mut().zip(factors) {
        for (value, factor) in values.0.iter_mut().zip(factors.0) {
            *value = if factor == 0.0 { 0.0 } else { *value * factor };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ARITHMETIC, Network, Recipe};

    fn factors(seed: u64, pass: u64, shard: u32, row: u32) -> Vec<f32> {
        let training = Training {
            arithmetic: ARITHMETIC,
            network: Network::new(1, &[300, 200], 2).unwrap(),
            recipe: Recipe { dropout: 0.2, ..Recipe::DEFAULT },
            seed,
            class_weights: Vec::new(),
        };
        let mut layers = [vec![Lanes::ZERO; 2 * 300], vec![Lanes::ZERO; 2 * 200]];
        let dropout = Dropout::of(&training, pass, shard).unwrap();
        dropout.draw(row, 11, [300, 200].into_iter().zip(layers.iter_mut().map(Vec::as_mut_slice)));
        let of_row = layers.iter().flat_map(|layer| &layer[layer.len() / 2..]).map(|lanes| lanes.0[3]);
        of_row.collect()
    }

    #[test]
    fn a_rows_factors_follow_from_seed_pass_shard_and_row_and_are_as_many_as_asked_for() {
        let here = factors(1, 2, 3, 4);
        assert_eq!(here, factors(1, 2, 3, 4));
        for others in [factors(2, 2, 3, 4), factors(1, 3, 3, 4), factors(1, 2, 4, 4), factors(1, 2, 3, 5)] {
            assert_ne!(here, others);
        }
        let dropped = here.iter().filter(|factor| **factor == 0.0).count();
        assert!((60..140).contains(&dropped), "{dropped} of 500");
        assert!(here.iter().all(|factor| *factor == 0.0 || *factor == 1.25));
    }

    #[test]
    fn what_is_dropped_is_plus_zero_whatever_it_was() {
        let mut values = [Lanes([1.0, -1.0, f32::NAN, f32::INFINITY, 2.0, -0.0, 3.0, 4.0])];
        apply(&mut values, &[Lanes([0.0, 0.0, 0.0, 0.0, 1.25, 1.25, 0.0, 2.0])]);
        assert_eq!(values[0].0.map(f32::to_bits), [0.0, 0.0, 0.0, 0.0, 2.5, -0.0, 0.0, 8.0].map(f32::to_bits));
    }
}
