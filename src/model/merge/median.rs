//! The median of updates, or of the gradients of a step's blocks, parameter by parameter. Owns its definition and the order in
//! which parts of them are read; does not know where they are kept.
//!
//! Of an odd number of updates it is the one in the middle; of an even number the sum of the two in the middle in f64, rounded
//! once, and halved. Every step is a function of the values alone, not of their order: equal values are alike, and -0 counts
//! as +0. As with the mean, the new weight is the base plus that in f64, rounded to f64, then to f32, and +0 below 2^-40. A
//! gradient is the median itself, rounded to f32 and cut so (docs/arithmetic.md, "Steps of merged gradients").

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::ops::Range;

use super::{LittleEndianF32, MergeError};
use crate::model::recipe::LossReduction;
use crate::model::thresholds::{VALUE_LEAST, cut};

/// Values that are read at a time, of all updates together: 4 MiB.
const VALUES_AT_ONCE: usize = 1 << 20;
/// Of each update, at most: a weight's hash is computed while the weights are in the cache.
const PART_MAX: usize = 1 << 14;

/// Where a step's updates, or its blocks' gradients, are kept.
pub trait ReadUpdates {
    /// Why an update cannot be read.
    type Error;

    /// Updates that are there.
    fn count(&self) -> usize;

    /// Reads the values in `range` of the update `index`, counted from 0, into `out`, which is as long. Of one update the
    /// ranges come in order and without gaps, from the first value to the last.
    fn read(&mut self, index: usize, range: Range<usize>, out: &mut [LittleEndianF32]) -> Result<(), Self::Error>;
}

/// Updates in memory.
impl<T: AsRef<[LittleEndianF32]>> ReadUpdates for Vec<T> {
    type Error = Infallible;

    fn count(&self) -> usize {
        self.len()
    }

    fn read(&mut self, index: usize, range: Range<usize>, out: &mut [LittleEndianF32]) -> Result<(), Infallible> {
        out.copy_from_slice(&self[index].as_ref()[range]);
        Ok(())
    }
}

/// Takes medians. Keeps its working memory from one to the next, and nothing else.
#[derive(Debug, Default)]
pub struct Median {
    /// A part of each update, one behind the other.
    parts: Vec<LittleEndianF32>,
    /// One parameter's values, in the order of their size.
    ordered: Vec<i32>,
}

impl Median {
    /// Adds the median of the updates to `values`, the base. The new values are told to `take` as they are made, part by
    /// part. Where an update cannot be read, some of `values` are new by then, and of no use.
    pub fn onto<R: ReadUpdates>(
        &mut self,
        updates: &mut R,
        values: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<Result<(), MergeError>, R::Error> {
        self.each(updates, values, take, |base, median| (f64::from(f32::from_le_bytes(base)) + median) as f32)
    }

    /// Writes the gradient of a step: the median of its merged blocks' [gradients](super::GradientSum::of_block), which have so
    /// many rows together. Where one cannot be read, what is written is of no use.
    pub fn gradient<R: ReadUpdates>(
        &mut self,
        blocks: &mut R,
        rows: NonZeroU64,
        reduction: LossReduction,
        out: &mut [LittleEndianF32],
    ) -> Result<Result<(), MergeError>, R::Error> {
        let times = match reduction {
            LossReduction::Mean => 1.0,
            LossReduction::Sum => rows.get() as f64,
        };
        self.each(blocks, out, &mut |_| (), |_, median| (median * times) as f32)
    }

    /// Puts in the place of each value what comes of it and the median, and tells `take`, part by part.
    fn each<R: ReadUpdates>(
        &mut self,
        updates: &mut R,
        values: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
        of: impl Fn(LittleEndianF32, f64) -> f32,
    ) -> Result<Result<(), MergeError>, R::Error> {
        let count = updates.count();
        if count == 0 {
            return Ok(Err(MergeError::Empty));
        }
        let part = (VALUES_AT_ONCE / count).clamp(1, PART_MAX);
        for start in (0..values.len()).step_by(part) {
            let range = start..(start + part).min(values.len());
            self.parts.resize(count * range.len(), [0; 4]);
            for (index, out) in self.parts.chunks_exact_mut(range.len()).enumerate() {
                updates.read(index, range.clone(), out)?;
            }
            let values = &mut values[range.clone()];
            for (place, value) in values.iter_mut().enumerate() {
                self.ordered.clear();
                self.ordered.extend(self.parts.iter().skip(place).step_by(range.len()).map(|value| order_of(*value)));
                *value = cut(of(*value, middle(&mut self.ordered)), VALUE_LEAST).to_le_bytes();
            }
            take(values);
        }
        Ok(Ok(()))
    }
}

/// A whole number that is in the same order among others as the value, which is not NaN, is among values.
fn order_of(value: LittleEndianF32) -> i32 {
    // Adding +0 makes -0 +0.
    let bits = (f32::from_le_bytes(value) + 0.0).to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The value that has this place in the order.
fn value_of(order: i32) -> f64 {
    f64::from(f32::from_bits((order ^ ((order >> 31) as u32 >> 1) as i32) as u32))
}

/// The median of at least one value; changes their order.
fn middle(ordered: &mut [i32]) -> f64 {
    let is_even = ordered.len().is_multiple_of(2);
    let (below, upper, _) = ordered.select_nth_unstable(ordered.len() / 2);
    let upper = value_of(*upper);
    match below.iter().max() {
        Some(lower) if is_even => (value_of(*lower) + upper) / 2.0,
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As they are kept.
    fn kept(updates: &[Vec<f32>]) -> Vec<Vec<LittleEndianF32>> {
        updates.iter().map(|update| update.iter().map(|value| value.to_le_bytes()).collect()).collect()
    }

    fn merged(updates: &[Vec<f32>], base: &[f32]) -> Vec<u32> {
        let mut values: Vec<LittleEndianF32> = base.iter().map(|value| value.to_le_bytes()).collect();
        let mut told = Vec::new();
        let Ok(done) =
            Median::default().onto(&mut kept(updates), &mut values, &mut |part| told.extend_from_slice(part));
        done.unwrap();
        assert_eq!(told, values);
        values.into_iter().map(u32::from_le_bytes).collect()
    }

    /// The same, by sorting.
    fn defined(updates: &[Vec<f32>], base: &[f32]) -> Vec<u32> {
        let of = |place: usize| {
            let mut values: Vec<f64> = updates.iter().map(|update| f64::from(update[place])).collect();
            values.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let half = values.len() / 2;
            let median =
                if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 } + 0.0;
            let new = (f64::from(base[place]) + median) as f32;
            if new.abs() < VALUE_LEAST { 0 } else { new.to_bits() }
        };
        (0..base.len()).map(of).collect()
    }

    #[test]
    fn the_middle_value_counts_and_of_an_even_number_the_mean_of_two() {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(merged(&[vec![1.0], vec![-16_000.0], vec![2.0]], &[10.0]), bits(&[11.0]));
        assert_eq!(merged(&[vec![4.0], vec![1.0], vec![16_000.0], vec![2.0]], &[10.0]), bits(&[13.0]));
        assert_eq!(merged(&[vec![0.5]], &[0.0]), bits(&[0.5]));
        // Equal ones are alike, whatever their sign where they are nothing.
        assert_eq!(merged(&[vec![-0.0], vec![0.0], vec![-0.0]], &[-0.0]), [0]);
        assert_eq!(merged(&[vec![1e-13], vec![1e-13]], &[0.0]), [0], "below what a weight keeps");
    }

    #[test]
    fn a_median_of_nothing_is_none() {
        let done = Median::default().onto(&mut kept(&[]), &mut [[0; 4]], &mut |_| ());
        assert_eq!(done, Ok(Err(MergeError::Empty)));
    }

    #[test]
    fn a_gradient_is_the_median_itself_and_where_losses_are_summed_as_many_times_as_there_are_rows() {
        let blocks = [vec![1.0, -0.0, 1e-13, 3.0], vec![2.0, 0.0, 1e-13, -1e30], vec![8.0, 0.0, 1e-13, 0.1]];
        let gradient = |count: usize, reduction| {
            let mut out = [[7; 4]; 4];
            let rows = NonZeroU64::new(10).unwrap();
            let Ok(done) = Median::default().gradient(&mut kept(&blocks[..count]), rows, reduction, &mut out);
            done.unwrap();
            out.map(f32::from_le_bytes)
        };
        assert_eq!(gradient(3, LossReduction::Mean), [2.0, 0.0, 0.0, 0.1]);
        assert_eq!(gradient(3, LossReduction::Sum), [20.0, 0.0, 1e-12, 1.0]);
        // The half is taken in f64, and the product is of that.
        let half = (f64::from(3.0f32) + f64::from(-1e30f32)) / 2.0;
        assert_eq!(gradient(2, LossReduction::Sum), [15.0, 0.0, 1e-12, (half * 10.0) as f32]);
    }

    #[test]
    fn parts_change_no_bit() {
        let noise = |seed: usize, length: usize| -> Vec<f32> {
            (0..length).map(|index| ((index * 7 + seed * 13) as f32 * 0.37).sin()).collect()
        };
        for (count, length) in [(1, 3 * PART_MAX + 5), (5, PART_MAX), (300, 7_001), (6, PART_MAX + 1)] {
            let updates: Vec<Vec<f32>> = (0..count).map(|seed| noise(seed, length)).collect();
            let base = noise(1_000, length);
            assert_eq!(merged(&updates, &base), defined(&updates, &base), "{count} of {length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_order_of_arrival_changes_no_bit(
            updates in proptest::collection::vec(proptest::collection::vec(-16_000f32..16_000.0, 3), 1..20),
            exponents in proptest::collection::vec(-90i32..1, 20),
            base in proptest::collection::vec(-2f32..2.0, 3),
            turn in 0usize..20,
        ) {
            let mut updates: Vec<Vec<f32>> = updates;
            for (update, exponent) in updates.iter_mut().zip(exponents) {
                update.iter_mut().for_each(|value| *value *= 2f32.powi(exponent));
            }
            let defined = defined(&updates, &base);
            prop_assert_eq!(&merged(&updates, &base), &defined);
            let turn = turn % updates.len();
            updates.rotate_left(turn);
            prop_assert_eq!(&merged(&updates, &base), &defined);
            updates.reverse();
            prop_assert_eq!(&merged(&updates, &base), &defined);
        }
    }
}
