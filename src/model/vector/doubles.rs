//! Fused multiply-adds on processors without the instruction: in f64, eight lanes at a time. Owns how a sum is rounded once;
//! does not know what is summed.
//!
//! The product of two f32 is exact in f64. Its sum with a third is rounded to f64, then to f32. Rounding never changes the
//! order of two numbers, and the middle between two neighbouring f32 is an f64. So the sum and its f64 lie on the same side
//! of every middle, and round to the same f32, unless that f64 is a middle itself, a **tie**, and hides where the sum lies.
//! The 29 bits that an f32 lacks tell a tie, overflow included; below 2^-126 an f32 lacks more, and every sum but 0 counts
//! as a tie there.
//!
//! So there are two ways to add. [`Pair::plus_exactly`] makes the first rounding harmless, whatever the numbers.
//! [`Pair::plus_unless_ties`] takes a third of the time, and wants [moderate](are_moderate) numbers and no tie; a chain of
//! multiply-adds that comes to one takes the first way for some steps.

#[cfg(any(test, not(target_arch = "x86_64")))]
mod scalar;
#[cfg(target_arch = "x86_64")]
mod sse2;

use super::super::lanes::LANES;
use super::super::thresholds::VALUE_LEAST;

/// Two f64 side by side.
pub trait Pair: Copy {
    /// What is known of ties so far.
    type Ties: Copy;

    fn no_ties() -> Self::Ties;

    fn of(values: [f64; 2]) -> Self;
    fn splat(value: f64) -> Self;
    fn widen(values: [f32; 4]) -> [Self; 2];
    /// Rounds to f32.
    fn narrow(pairs: [Self; 2]) -> [f32; 4];
    fn times(self, other: Self) -> Self;
    /// `self + addend`, self the product of two f32 and the addend an f32, rounded once, to an f32.
    fn plus_exactly(self, addend: Self) -> Self;
    /// The same of two pairs, if there is no tie and the magnitude of every sum is 0 or from 2^-126 to 2^127. Where there is
    /// a tie, `ties` learns of it; it may learn of one where there is none.
    fn plus_unless_ties(products: [Self; 2], addends: [Self; 2], ties: &mut Self::Ties) -> [Self; 2];
    /// The same of any numbers: what would be wrong counts as a tie.
    fn plus_unless_wrong(products: [Self; 2], addends: [Self; 2], ties: &mut Self::Ties) -> [f32; 4];
    fn are_any(ties: Self::Ties) -> bool;
}

/// What this machine has.
#[cfg(target_arch = "x86_64")]
pub type Native = sse2::Sse2;
/// What this machine has.
#[cfg(not(target_arch = "x86_64"))]
pub type Native = scalar::Scalar;

/// Pairs that eight lanes fill.
const PAIRS: usize = LANES / 2;

/// Eight f32 as f64.
#[derive(Clone, Copy)]
pub struct Doubles<P>([P; PAIRS]);

impl<P: Pair> Doubles<P> {
    #[inline(always)]
    pub fn of(lanes: &[f32; LANES]) -> Doubles<P> {
        let [a, b, c, d, e, f, g, h] = *lanes;
        let ([first, second], [third, fourth]) = (P::widen([a, b, c, d]), P::widen([e, f, g, h]));
        Doubles([first, second, third, fourth])
    }

    #[inline(always)]
    pub fn to_lanes(self) -> [f32; LANES] {
        let Doubles([first, second, third, fourth]) = self;
        let ([a, b, c, d], [e, f, g, h]) = (P::narrow([first, second]), P::narrow([third, fourth]));
        [a, b, c, d, e, f, g, h]
    }
}

/// What eight lanes are multiplied by.
trait Factor<P>: Copy {
    /// Of the lanes of a pair.
    fn of_pair(&self, index: usize) -> P;
}

/// All by the same.
impl<P: Pair> Factor<P> for f64 {
    #[inline(always)]
    fn of_pair(&self, _index: usize) -> P {
        P::splat(*self)
    }
}

/// Each by its own.
impl<P: Pair> Factor<P> for [f64; LANES] {
    #[inline(always)]
    fn of_pair(&self, index: usize) -> P {
        P::of([self[2 * index], self[2 * index + 1]])
    }
}

/// Two factors a step.
#[derive(Clone, Copy)]
pub struct Factors<'a> {
    /// One number of each, or eight of each.
    pub values: &'a [f64],
    /// Whether each lane has its own.
    pub of_lanes: bool,
}

impl<'a> Factors<'a> {
    /// From some steps to some others.
    #[inline(always)]
    fn between(self, from: usize, to: usize) -> Factors<'a> {
        Factors { values: &self.values[self.step() * from..self.step() * to], ..self }
    }

    /// How many numbers there are for each step.
    #[inline(always)]
    fn step(self) -> usize {
        if self.of_lanes { 2 * LANES } else { 2 }
    }
}

/// Products of numbers that [`are_moderate`] which can be added one after the other, to such a number, without overflow.
pub const LINKS_MAX: usize = 1 << 20;

/// Whether all numbers are 0, or neither small nor large. If the lanes and factors of a chain and what it begins with are,
/// every sum on its way is 0 or from 2^-126 to 2^127: small is what training takes for 0 (`thresholds`), which makes every
/// product a multiple of 2^-126 and with it every sum; large is 2^48.
#[inline(never)]
pub fn are_moderate(values: &[f32]) -> bool {
    const LARGE: f32 = (1_u64 << 48) as f32;
    // Signed, and without `bool`: so that a compiler makes vectors of it.
    let [small, large] = [VALUE_LEAST, LARGE].map(|limit| limit.to_bits() as i32);
    let is_beyond = |value: &f32| {
        let magnitude = (value.to_bits() & !(1 << 31)) as i32;
        i32::from((magnitude > 0) & (magnitude < small)) | i32::from(magnitude >= large)
    };
    values.iter().fold(0, |any, value| any | is_beyond(value)) == 0
}

/// `value * factor + addend`, lane by lane, rounded once.
#[inline(always)]
pub fn fused<P: Pair>(value: &[f32; LANES], factor: &[f32; LANES], addend: &[f32; LANES]) -> [f32; LANES] {
    let [value, factor, addend] = [value, factor, addend].map(Doubles::<P>::of);
    let product = |pair: usize| value.0[pair].times(factor.0[pair]);
    let mut ties = P::no_ties();
    let mut four = |pair| {
        let (products, addends) = ([product(pair), product(pair + 1)], [addend.0[pair], addend.0[pair + 1]]);
        P::plus_unless_wrong(products, addends, &mut ties)
    };
    let ([a, b, c, d], [e, f, g, h]) = (four(0), four(2));
    if !P::are_any(ties) {
        return [a, b, c, d, e, f, g, h];
    }
    let mut sum = addend;
    for pair in 0..PAIRS {
        sum.0[pair] = product(pair).plus_exactly(addend.0[pair]);
    }
    sum.to_lanes()
}

/// Steps within which one tie is likely to be followed by another.
const TIES_NEAR: usize = 8;

/// Adds the products of the lanes with each of two factors, step by step, to a sum each: fused multiply-adds. `moderate`
/// says that the lanes and factors are, and what the sums began with, at most [`LINKS_MAX`] steps ago.
pub fn add_products<P: Pair>(factors: Factors<'_>, lanes: &[Doubles<P>], moderate: bool, sums: &mut [Doubles<P>; 2]) {
    let steps = lanes.len();
    // Exact steps that come next: one after a tie, and twice as many each time when another is not far.
    let mut exact = if moderate { 0 } else { steps };
    let mut from = 0;
    loop {
        let to = steps.min(from + exact);
        if exact > 0 {
            add_exactly(factors.between(from, to), &lanes[from..to], sums);
        }
        let done = add_up_to_a_tie(factors.between(to, steps), &lanes[to..], sums);
        from = to + done;
        if from == steps {
            break;
        }
        // What lies before the tie has no other; sums that were in the making are lost.
        add_up_to_a_tie(factors.between(to, from), &lanes[to..from], sums);
        exact = if done < TIES_NEAR { 2 * exact.max(1) } else { 1 };
    }
}

#[inline(never)]
fn add_exactly<P: Pair>(factors: Factors<'_>, lanes: &[Doubles<P>], sums: &mut [Doubles<P>; 2]) {
    let mut wide = *sums;
    // From a lane's number to the next lane's.
    let next = usize::from(factors.of_lanes);
    for (factors, lanes) in factors.values.chunks_exact(factors.step()).zip(lanes) {
        for (factor, sums) in factors.chunks_exact(factors.len() / 2).zip(&mut wide) {
            for pair in 0..PAIRS {
                let factor = P::of([factor[2 * pair * next], factor[(2 * pair + 1) * next]]);
                sums.0[pair] = factor.times(lanes.0[pair]).plus_exactly(sums.0[pair]);
            }
        }
    }
    *sums = wide;
}

/// If there is no tie, adds all products; otherwise adds none. Returns how many steps there are before the first tie.
#[inline(never)]
fn add_up_to_a_tie<P: Pair>(factors: Factors<'_>, lanes: &[Doubles<P>], sums: &mut [Doubles<P>; 2]) -> usize {
    if factors.of_lanes {
        add_each_up_to_a_tie(factors.values.as_chunks::<LANES>().0, lanes, sums)
    } else {
        add_each_up_to_a_tie(factors.values, lanes, sums)
    }
}

#[inline(always)]
fn add_each_up_to_a_tie<P: Pair>(
    factors: &[impl Factor<P>],
    lanes: &[Doubles<P>],
    sums: &mut [Doubles<P>; 2],
) -> usize {
    let mut wide = *sums;
    for (step, (factors, lanes)) in factors.as_chunks::<2>().0.iter().zip(lanes).enumerate() {
        let mut ties = P::no_ties();
        for (factor, sums) in factors.iter().zip(&mut wide) {
            for pair in (0..PAIRS).step_by(2) {
                let products = [pair, pair + 1].map(|pair| factor.of_pair(pair).times(lanes.0[pair]));
                let addends = [sums.0[pair], sums.0[pair + 1]];
                [sums.0[pair], sums.0[pair + 1]] = P::plus_unless_ties(products, addends, &mut ties);
            }
        }
        if P::are_any(ties) {
            return step;
        }
    }
    *sums = wide;
    lanes.len()
}

#[cfg(test)]
mod tests;
