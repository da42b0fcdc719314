//! What an outer optimiser remembers from round to round, and a step of it (docs/arithmetic.md, section 14). Owns the state;
//! does not know where it is kept meanwhile.

use std::fmt;
use std::ops::RangeInclusive;

use super::{Outer, OuterOptimiser};
use crate::model::kernel::{Kernel, compiled_for_each_kernel};
use crate::model::merge::{LittleEndianF32, MergeError};
use crate::model::optimise::{Averaging, Factors, adam, cut_all, decay, momentum, nesterov};
use crate::model::recipe::LossReduction;
use crate::model::thresholds::{FIRST_MOMENT_LEAST, SECOND_MOMENT_LEAST, VALUE_LEAST, cut, moments_every};
use crate::model::vector::Vector;

/// State vectors, at most.
const VECTORS_MAX: usize = 2;

/// Parameters that are moved at a time: their weights, updates and state stay in the cache.
const BLOCK: usize = 1 << 11;
/// Sums of squares that are added at the end. A block begins with the first of them.
const LANES: usize = 8;
const _: () = assert!(BLOCK.is_multiple_of(LANES));

/// What an outer optimiser remembers from one round to the next. Its vectors are as objects hold weights: whoever writes them
/// down need not convert them.
#[derive(Clone, Debug, PartialEq)]
pub struct OuterState {
    /// Steps that have changed something.
    updates: u64,
    /// Of each beta its power by that.
    powers: [f64; 2],
    /// As many as the optimiser needs, and empty ones; all are empty before the first update.
    vectors: [Vec<LittleEndianF32>; VECTORS_MAX],
}

/// What was written of a state is not the state of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OuterStateError {
    /// It has seen another number of updates than the job has made.
    Updates {
        /// Updates written.
        got: u64,
        /// Updates made, or the most that can have been.
        expected: u64,
    },
    /// It has another length than its optimiser's vectors.
    Length {
        /// Bytes written.
        got: usize,
        /// Bytes of the vectors.
        expected: usize,
    },
}

impl fmt::Display for OuterStateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Updates { got, expected } => {
                write!(f, "the outer optimiser's state is that after {got} updates, and {expected} are due")
            }
            Self::Length { got, expected } => {
                write!(f, "the outer optimiser's state has {got} bytes, and {expected} are due")
            }
        }
    }
}

impl std::error::Error for OuterStateError {}

impl Default for OuterState {
    fn default() -> OuterState {
        OuterState { updates: 0, powers: [1.0; 2], vectors: [const { Vec::new() }; _] }
    }
}

impl OuterState {
    /// That of a job of so many parameters, from what was written down. `due` are the updates that it may have seen: as many as
    /// [`Outer::updates_within`] says, or perhaps fewer where some steps merged nothing.
    pub fn restored(
        outer: &Outer,
        parameters: usize,
        due: RangeInclusive<u64>,
        updates: u64,
        vectors: &[u8],
    ) -> Result<OuterState, OuterStateError> {
        if !due.contains(&updates) {
            return Err(OuterStateError::Updates { got: updates, expected: *due.end() });
        }
        let count = if updates > 0 { outer.optimiser.state_vectors() } else { 0 };
        let expected = size_of::<LittleEndianF32>() * parameters * count;
        if vectors.len() != expected {
            return Err(OuterStateError::Length { got: vectors.len(), expected });
        }
        let mut state = OuterState::default();
        (0..updates).for_each(|_| state.count(outer));
        let values: &[LittleEndianF32] = vectors.as_chunks().0;
        for (vector, values) in state.vectors.iter_mut().zip(values.chunks(parameters.max(1))) {
            *vector = values.to_vec();
        }
        Ok(state)
    }

    /// Updates that it has seen.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Its vectors as they are written down, one behind the other.
    pub fn vectors(&self) -> [&[u8]; VECTORS_MAX] {
        self.vectors.each_ref().map(|vector| vector.as_flattened())
    }

    /// Moves `weights` by a round's merged update, at a learning rate that is [`Outer::rate`]'s. The new weights are told to
    /// `take` as they are made, part by part. Where a weight would not be finite, some are new by then, and of no use.
    ///
    /// Not with [`OuterOptimiser::Average`], whose merge adds the update itself.
    pub fn step(
        &mut self,
        kernel: Kernel,
        outer: &Outer,
        rate: f32,
        update: &[LittleEndianF32],
        weights: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), MergeError> {
        self.follow(kernel, outer, rate, Merged::Update(update), weights, take)
    }

    /// The same by a step's merged gradient. A step that has merged nothing is none.
    pub fn step_by_gradient(
        &mut self,
        kernel: Kernel,
        outer: &Outer,
        rate: f32,
        gradient: &[LittleEndianF32],
        weights: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), MergeError> {
        self.follow(kernel, outer, rate, Merged::Gradient(gradient), weights, take)
    }

    /// The same of a gradient that is not there as a whole: `read` writes it from a parameter on, whenever it is asked for.
    pub fn step_by_parts(
        &mut self,
        kernel: Kernel,
        outer: &Outer,
        rate: f32,
        read: &dyn Fn(usize, &mut [LittleEndianF32]),
        weights: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), MergeError> {
        self.follow(kernel, outer, rate, Merged::Parts(read), weights, take)
    }

    fn follow(
        &mut self,
        kernel: Kernel,
        outer: &Outer,
        rate: f32,
        merged: Merged<'_>,
        weights: &mut [LittleEndianF32],
        take: &mut dyn FnMut(&[LittleEndianF32]),
    ) -> Result<(), MergeError> {
        if rate == 0.0 {
            take(weights);
            return Ok(());
        }
        self.count(outer);
        for vector in &mut self.vectors[..outer.optimiser.state_vectors()] {
            vector.resize(weights.len(), [0; 4]);
        }
        let factor = outer.clip.and_then(|clip| clip_factor(kernel, clip, merged, weights.len()));
        let step = Step { kernel, outer, rate, factors: self.factors(outer, rate), cuts_moments: self.cuts(outer) };
        let mut block = Block::default();
        for (index, weights) in weights.chunks_mut(BLOCK).enumerate() {
            let start = index * BLOCK;
            let state = self.vectors.each_mut().map(|vector| {
                let end = vector.len().min(start + weights.len());
                vector.get_mut(start..end).unwrap_or_default()
            });
            merged.read_gradient(start, &mut block.gradient[..weights.len()]);
            let moved = step.of_block(&mut block, factor, state, weights);
            moved.map_err(|(place, value)| MergeError::Weight { index: start + place, value })?;
            take(weights);
        }
        Ok(())
    }

    /// Another update begins.
    fn count(&mut self, outer: &Outer) {
        self.updates += 1;
        let [first, second] = outer.betas;
        self.powers = [self.powers[0] * first, self.powers[1] * second];
    }

    /// Whether this update begins with a look at Adam's moments.
    fn cuts(&self, outer: &Outer) -> bool {
        outer.optimiser == OuterOptimiser::Adam && self.updates.is_multiple_of(moments_every(outer.betas).into())
    }

    fn factors(&self, outer: &Outer, rate: f32) -> Factors {
        let averaging = Averaging::over(LossReduction::Sum, 1);
        Factors::new(averaging, rate, self.powers, outer.betas, outer.epsilon)
    }
}

/// What the weights follow, as objects hold it: as long as they.
#[derive(Clone, Copy)]
enum Merged<'a> {
    Update(&'a [LittleEndianF32]),
    Gradient(&'a [LittleEndianF32]),
    Parts(&'a dyn Fn(usize, &mut [LittleEndianF32])),
}

impl Merged<'_> {
    /// The sum of the squares of so many values, on eight lanes.
    fn sum_of_squares(self, kernel: Kernel, count: usize) -> f64 {
        let mut lanes = [0.0; LANES];
        match self {
            Merged::Update(values) | Merged::Gradient(values) => add_squares(kernel, values, &mut lanes),
            Merged::Parts(read) => {
                let mut part = [[0; 4]; BLOCK];
                for start in (0..count).step_by(BLOCK) {
                    let part = &mut part[..BLOCK.min(count - start)];
                    read(start, part);
                    add_squares(kernel, part, &mut lanes);
                }
            }
        }
        let halves: [f64; 4] = std::array::from_fn(|lane| lanes[lane] + lanes[lane + 4]);
        (halves[0] + halves[2]) + (halves[1] + halves[3])
    }

    /// The gradient from a parameter on.
    fn read_gradient(self, start: usize, out: &mut [f32]) {
        match self {
            Merged::Update(values) | Merged::Gradient(values) => read(&values[start..], out),
            Merged::Parts(read_part) => {
                let part = &mut [[0; 4]; BLOCK][..out.len()];
                read_part(start, part);
                read(part, out);
            }
        }
        if let Merged::Update(_) = self {
            out.iter_mut().for_each(|value| *value = -*value);
        }
    }
}

/// Weights, gradient and state of some parameters, as numbers.
struct Block {
    weights: [f32; BLOCK],
    gradient: [f32; BLOCK],
    state: [[f32; BLOCK]; VECTORS_MAX],
}

impl Default for Block {
    fn default() -> Block {
        Block { weights: [0.0; BLOCK], gradient: [0.0; BLOCK], state: [[0.0; BLOCK]; VECTORS_MAX] }
    }
}

/// A step on its way over all parameters.
struct Step<'a> {
    kernel: Kernel,
    outer: &'a Outer,
    rate: f32,
    factors: Factors,
    cuts_moments: bool,
}

impl Step<'_> {
    /// Moves some parameters by the gradient in the block; or tells one that would not be finite.
    fn of_block(
        &self,
        block: &mut Block,
        clip: Option<f32>,
        mut state: [&mut [LittleEndianF32]; VECTORS_MAX],
        weights: &mut [LittleEndianF32],
    ) -> Result<(), (usize, f32)> {
        let Step { kernel, outer, rate, factors, cuts_moments } = self;
        let (kernel, rate) = (*kernel, *rate);
        let count = weights.len();
        let values = &mut block.weights[..count];
        read(weights, values);
        let gradient = &mut block.gradient[..count];
        if let Some(factor) = clip {
            gradient.iter_mut().for_each(|gradient| *gradient = cut(*gradient * factor, VALUE_LEAST));
        }
        let mut vectors = block.state.each_mut();
        for (vector, state) in vectors.iter_mut().zip(&state) {
            read(state, &mut vector[..state.len()]);
        }
        let [first, second] = vectors.map(|vector| &mut vector[..count]);
        if *cuts_moments {
            cut_all(kernel, first, FIRST_MOMENT_LEAST);
            cut_all(kernel, second, SECOND_MOMENT_LEAST);
        }
        if outer.weight_decay > 0.0 {
            decay(kernel, rate * outer.weight_decay, values);
        }
        let averaging = Averaging::over(LossReduction::Sum, 1);
        match outer.optimiser {
            OuterOptimiser::Average => {}
            OuterOptimiser::Momentum => momentum(kernel, [rate, outer.momentum], averaging, gradient, first, values),
            OuterOptimiser::Nesterov => nesterov(kernel, [rate, outer.momentum], averaging, gradient, first, values),
            OuterOptimiser::Adam => adam(kernel, factors, gradient, first, second, values),
        }
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err((place, values[place]));
        }
        write(values, weights);
        for (vector, state) in block.state.iter().zip(&mut state) {
            write(&vector[..state.len()], state);
        }
        Ok(())
    }
}

fn read(values: &[LittleEndianF32], out: &mut [f32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = f32::from_le_bytes(*value);
    }
}

fn write(values: &[f32], out: &mut [LittleEndianF32]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = value.to_le_bytes();
    }
}

/// What an update that is longer than `clip` is multiplied with; none for one that is not.
fn clip_factor(kernel: Kernel, clip: f32, merged: Merged<'_>, count: usize) -> Option<f32> {
    let (clip, norm) = (f64::from(clip), merged.sum_of_squares(kernel, count).sqrt());
    (norm > clip).then(|| (clip / norm) as f32)
}

compiled_for_each_kernel! {
    /// Adds the squares of values to the lanes that they are on.
    fn add_squares = add_squares_body(values: &[LittleEndianF32], lanes: &mut [f64; LANES])
}

#[inline(always)]
fn add_squares_body<V: Vector>(values: &[LittleEndianF32], lanes: &mut [f64; LANES]) {
    let mut sums = *lanes;
    for values in values.chunks(LANES) {
        for (lane, value) in sums.iter_mut().zip(values) {
            let value = f64::from(f32::from_le_bytes(*value));
            // The product is exact, fused or not.
            *lane += value * value;
        }
    }
    *lanes = sums;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NESTEROV: Outer = Outer { optimiser: OuterOptimiser::Nesterov, clip: Some(0.5), ..Outer::AVERAGE };
    const ADAM: Outer = Outer { optimiser: OuterOptimiser::Adam, weight_decay: 0.25, ..Outer::AVERAGE };

    fn bytes(values: impl IntoIterator<Item = f32>) -> Vec<LittleEndianF32> {
        values.into_iter().map(f32::to_le_bytes).collect()
    }

    fn noise(seed: usize, length: usize) -> Vec<LittleEndianF32> {
        bytes((0..length).map(|index| ((index * 7 + seed * 13) as f32 * 0.37).sin()))
    }

    /// Moves the weights by some updates; what was told of them must be they.
    fn moved(kernel: Kernel, outer: &Outer, state: &mut OuterState, weights: &mut [LittleEndianF32], updates: usize) {
        for seed in 0..updates {
            let mut told = Vec::new();
            let update = noise(seed, weights.len());
            state.step(kernel, outer, 0.01, &update, weights, &mut |part| told.extend_from_slice(part)).unwrap();
            assert!(told == weights);
        }
    }

    #[test]
    fn neither_blocks_nor_kernels_nor_being_written_down_change_a_bit() {
        for (outer, count) in [(NESTEROV, 2 * BLOCK + 13), (ADAM, BLOCK), (ADAM, 5), (NESTEROV, BLOCK - 1)] {
            let mut expected = None;
            for kernel in Kernel::available() {
                let (mut state, mut weights) = (OuterState::default(), noise(99, count));
                moved(kernel, &outer, &mut state, &mut weights, 70);
                let written = state.vectors().concat();
                let mut again = OuterState::restored(&outer, count, 70..=70, state.updates(), &written).unwrap();
                assert_eq!(again, state);
                moved(kernel, &outer, &mut again, &mut weights, 1);
                let (weights, expected) = (&weights, expected.get_or_insert_with(|| weights.clone()));
                assert!(weights == expected, "{kernel}, {count} of {outer:?}");
            }
        }
    }

    #[test]
    fn a_gradient_moves_the_weights_as_an_update_of_the_other_sign_does() {
        let (kernel, count) = (Kernel::best(), BLOCK + 3);
        for outer in [NESTEROV, ADAM, Outer { optimiser: OuterOptimiser::Momentum, ..ADAM }] {
            let (mut by_update, mut by_gradient) = (OuterState::default(), OuterState::default());
            let (mut expected, mut weights) = (noise(7, count), noise(7, count));
            for seed in 0..3 {
                let update = noise(seed, count);
                let gradient = bytes(update.iter().map(|value| -f32::from_le_bytes(*value)));
                by_update.step(kernel, &outer, 0.01, &update, &mut expected, &mut |_| ()).unwrap();
                by_gradient.step_by_gradient(kernel, &outer, 0.01, &gradient, &mut weights, &mut |_| ()).unwrap();
            }
            assert!(weights == expected && by_gradient == by_update, "{outer:?}");
        }
    }

    #[test]
    fn a_gradient_in_parts_moves_the_weights_as_the_whole_does() {
        let (kernel, count) = (Kernel::best(), 3 * BLOCK + 5);
        for outer in [NESTEROV, ADAM, Outer { clip: Some(1e-3), ..ADAM }] {
            let (mut by_whole, mut by_parts) = (OuterState::default(), OuterState::default());
            let (mut expected, mut weights) = (noise(7, count), noise(7, count));
            for seed in 0..3 {
                let gradient = noise(seed, count);
                let read = |start: usize, out: &mut [LittleEndianF32]| {
                    out.copy_from_slice(&gradient[start..][..out.len()]);
                };
                by_whole.step_by_gradient(kernel, &outer, 0.01, &gradient, &mut expected, &mut |_| ()).unwrap();
                by_parts.step_by_parts(kernel, &outer, 0.01, &read, &mut weights, &mut |_| ()).unwrap();
            }
            assert!(weights == expected && by_parts == by_whole, "{outer:?}");
        }
    }

    #[test]
    fn a_norm_is_summed_on_eight_lanes_and_an_update_that_is_longer_than_its_clip_has_that_length_after() {
        let values = noise(3, 1_003);
        let square = |value: &LittleEndianF32| f64::from(f32::from_le_bytes(*value)).powi(2);
        let lane = |lane: usize| values.iter().skip(lane).step_by(8).fold(0.0, |sum, value| sum + square(value));
        let pairs = [0, 1, 2, 3].map(|first| lane(first) + lane(first + 4));
        let expected = (pairs[0] + pairs[2]) + (pairs[1] + pairs[3]);
        assert_ne!(expected, values.iter().fold(0.0, |sum, value| sum + square(value)), "the order does not show");
        for kernel in Kernel::available() {
            let (whole, count) = (Merged::Update(&values), values.len());
            assert_eq!(whole.sum_of_squares(kernel, count), expected, "{kernel}");
            assert_eq!(clip_factor(kernel, expected.sqrt() as f32 * 1.001, whole, count), None);
            let factor = clip_factor(kernel, 0.25, whole, count).unwrap();
            let clipped = bytes(values.iter().map(|value| f32::from_le_bytes(*value) * factor));
            let square = Merged::Update(&clipped).sum_of_squares(kernel, count);
            assert!((square.sqrt() - 0.25).abs() < 1e-6, "{kernel}");
        }
    }

    #[test]
    fn a_step_without_a_rate_changes_nothing_and_one_that_runs_away_is_refused_with_its_weight() {
        let kernel = Kernel::best();
        let mut weights = noise(1, BLOCK + 2);
        let mut state = OuterState::default();
        let before = weights.clone();
        let mut told = 0;
        state.step(kernel, &ADAM, 0.0, &noise(2, BLOCK + 2), &mut weights, &mut |part| told += part.len()).unwrap();
        assert!((weights == before, told) == (true, BLOCK + 2) && state == OuterState::default());
        weights[BLOCK + 1] = f32::MAX.to_le_bytes();
        let away = bytes((0..BLOCK + 2).map(|index| if index <= BLOCK { 0.0 } else { 16_000.0 }));
        let refused = state.step(kernel, &NESTEROV, f32::MAX, &away, &mut weights, &mut |_| ());
        assert_eq!(refused, Err(MergeError::Weight { index: BLOCK + 1, value: f32::INFINITY }));
        assert!(refused.unwrap_err().to_string().contains("outer_eta"));
    }

    #[test]
    fn what_is_not_the_state_after_these_rounds_is_refused() {
        let restored = |outer: &Outer, updates, bytes: &[u8]| {
            let due = outer.updates_within(3, 9);
            OuterState::restored(outer, 2, due..=due, updates, bytes)
        };
        assert!(restored(&ADAM, 3, &[0; 16]).is_ok() && restored(&NESTEROV, 3, &[0; 8]).is_ok());
        assert!(restored(&Outer::AVERAGE, 0, &[]).is_ok());
        assert_eq!(restored(&ADAM, 2, &[0; 16]), Err(OuterStateError::Updates { got: 2, expected: 3 }));
        assert_eq!(restored(&ADAM, 3, &[0; 8]), Err(OuterStateError::Length { got: 8, expected: 16 }));
        assert_eq!(restored(&Outer::AVERAGE, 1, &[]), Err(OuterStateError::Updates { got: 1, expected: 0 }));
        assert_eq!(restored(&Outer::AVERAGE, 0, &[0; 8]), Err(OuterStateError::Length { got: 8, expected: 0 }));
        // Where steps may have merged nothing, it may be that of fewer, but not of more.
        let at_most = |updates, bytes: &[u8]| OuterState::restored(&ADAM, 2, 0..=3, updates, bytes);
        assert!(at_most(0, &[]).is_ok() && at_most(3, &[0; 16]).is_ok());
        assert_eq!(at_most(2, &[0; 16]).unwrap().updates(), 2);
        assert_eq!(at_most(4, &[0; 16]), Err(OuterStateError::Updates { got: 4, expected: 3 }));
    }
}
