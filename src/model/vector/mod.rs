//! Eight f32 in registers, and twice eight. Owns the instructions behind each operation; does not know what is computed.
//!
//! Why not arrays and loops, which a compiler can vectorise: a tile's twelve sums must stay in registers, and where each
//! is a loop over eight lanes the optimiser gives up on the whole long before that (measured: a fifth of the speed).

mod arithmetic;
#[cfg(target_arch = "x86_64")]
mod avx;
#[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "every such processor has the instruction"))]
pub(super) mod doubles;
#[cfg(test)]
mod faulty;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(not(target_arch = "aarch64"))]
mod plain;

use super::lanes::{LANES, Lanes};

/// Writes a body out for each `place` below a count, a constant of which is known that it is at most 2, 8 or 12. A tile's
/// places are written out here, not by an optimiser: it gives up on some nested loops, keeps the tile's sums in memory for it,
/// and takes twice the time.
macro_rules! written_out {
    ($place:ident in 0..$count:expr, at most 2 => $body:block) => {
        written_out!(@ $place $count, 2, $body, 0 1)
    };
    ($place:ident in 0..$count:expr, at most 8 => $body:block) => {
        written_out!(@ $place $count, 8, $body, 0 1 2 3 4 5 6 7)
    };
    ($place:ident in 0..$count:expr, at most 12 => $body:block) => {
        written_out!(@ $place $count, 12, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $place:ident $count:expr, $most:literal, $body:block, $($number:literal)*) => {
        const { assert!($count <= $most) };
        $(if $number < $count {
            let $place: usize = $number;
            $body
        })*
    };
}
pub(super) use written_out;

use arithmetic::exp;
pub(super) use arithmetic::{Fma, exp_minus_one, ln};

/// Some f32 side by side and what arithmetic 2 does with them: every operation lane by lane and rounded as IEEE 754 says.
pub(super) trait Elements: Copy {
    fn splat(value: f32) -> Self;
    /// `self * factor + addend`, rounded once.
    fn fma(self, factor: Self, addend: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    /// `self * 2^n`, n the integer from -126 to 127 in the lowest nine bits of `exponent`; some number, or NaN, for any
    /// other n.
    fn times_two_to_the(self, exponent: Self) -> Self;
    /// `if other > self { other } else { self }`
    fn larger(self, other: Self) -> Self;
    /// `if mask > limit { self } else { +0 }`
    fn where_above(self, mask: Self, limit: Self) -> Self;
    /// `if mask < limit { +0 } else { self }`
    fn unless_below(self, mask: Self, limit: Self) -> Self;
    /// `if |self| < least { +0 } else { self }`
    fn cut(self, least: Self) -> Self;

    /// [`exp`]
    #[inline(always)]
    fn exp(self) -> Self {
        exp(self)
    }
}

/// Eight f32.
pub(super) trait Vector: Elements {
    /// How a single number is multiplied and added with one rounding.
    type Fma: Fma;
    /// Two of them.
    type Wide: Wide<Half = Self>;
    /// Whether a tile of many vectors stays in registers and is fused by instructions. Where it does not, `unfused` takes the
    /// place of tiles.
    const HAS_REGISTERS: bool;
    /// Whether a wide vector is one register, of 32 there are: such tiles are twice as large.
    const HAS_WIDE_REGISTERS: bool;

    fn load(lanes: &Lanes) -> Self;
    /// From wherever eight numbers lie.
    fn load_anywhere(values: &[f32; LANES]) -> Self;
    fn store(self, lanes: &mut Lanes);
    /// Into wherever eight numbers lie.
    fn store_anywhere(self, values: &mut [f32; LANES]);
    fn divided_by(self, other: Self) -> Self;

    /// Asks for the cache line of an address, whatever lies there, without waiting for it.
    #[inline(always)]
    fn prefetch(_address: *const f32) {}

    /// The sum of the eight lanes of each, in arithmetic 2's order: halves, quarters, the last two.
    #[inline(always)]
    fn sums(of: [Self; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        for (vector, sum) in of.into_iter().zip(&mut sums) {
            let mut lanes = Lanes::ZERO;
            vector.store(&mut lanes);
            *sum = sum_of_lanes(lanes.0);
        }
        sums
    }

    /// Rows to columns: lane k of vector n becomes lane n of vector k.
    #[inline(always)]
    fn transposed(of: [Self; LANES]) -> [Self; LANES] {
        let mut rows = [Lanes::ZERO; LANES];
        for (vector, row) in of.into_iter().zip(&mut rows) {
            vector.store(row);
        }
        let mut columns = of;
        for (lane, column) in columns.iter_mut().enumerate() {
            *column = Self::load(&Lanes(rows.map(|row| row.0[lane])));
        }
        columns
    }
}

/// Halves, quarters, the last two.
#[inline(always)]
pub(super) fn sum_of_lanes([a, b, c, d, e, f, g, h]: [f32; LANES]) -> f32 {
    let [a, b, c, d] = [a + e, b + f, c + g, d + h];
    let [a, b] = [a + c, b + d];
    a + b
}

/// Two vectors on which the same is done.
pub(super) trait Wide: Elements {
    /// One of the two.
    type Half: Vector;

    fn join(first: Self::Half, second: Self::Half) -> Self;
    /// Two that lie side by side.
    fn load_pair(pair: &[Lanes; 2]) -> Self;
    /// The same twice.
    fn load_twice(lanes: &Lanes) -> Self;
    fn store_pair(self, pair: &mut [Lanes; 2]);
    fn halves(self) -> [Self::Half; 2];

    #[inline(always)]
    fn load(first: &Lanes, second: &Lanes) -> Self {
        Self::join(Self::Half::load(first), Self::Half::load(second))
    }
}

/// Two registers side by side.
#[derive(Clone, Copy)]
pub struct Two<V>(V, V);

impl<V: Vector> Elements for Two<V> {
    #[inline(always)]
    fn splat(value: f32) -> Two<V> {
        let half = V::splat(value);
        Two(half, half)
    }

    #[inline(always)]
    fn fma(self, factor: Two<V>, addend: Two<V>) -> Two<V> {
        Two(self.0.fma(factor.0, addend.0), self.1.fma(factor.1, addend.1))
    }

    #[inline(always)]
    fn plus(self, other: Two<V>) -> Two<V> {
        Two(self.0.plus(other.0), self.1.plus(other.1))
    }

    #[inline(always)]
    fn minus(self, other: Two<V>) -> Two<V> {
        Two(self.0.minus(other.0), self.1.minus(other.1))
    }

    #[inline(always)]
    fn times(self, other: Two<V>) -> Two<V> {
        Two(self.0.times(other.0), self.1.times(other.1))
    }

    #[inline(always)]
    fn times_two_to_the(self, exponent: Two<V>) -> Two<V> {
        Two(self.0.times_two_to_the(exponent.0), self.1.times_two_to_the(exponent.1))
    }

    #[inline(always)]
    fn larger(self, other: Two<V>) -> Two<V> {
        Two(self.0.larger(other.0), self.1.larger(other.1))
    }

    #[inline(always)]
    fn where_above(self, mask: Two<V>, limit: Two<V>) -> Two<V> {
        Two(self.0.where_above(mask.0, limit.0), self.1.where_above(mask.1, limit.1))
    }

    #[inline(always)]
    fn unless_below(self, mask: Two<V>, limit: Two<V>) -> Two<V> {
        Two(self.0.unless_below(mask.0, limit.0), self.1.unless_below(mask.1, limit.1))
    }

    #[inline(always)]
    fn cut(self, least: Two<V>) -> Two<V> {
        Two(self.0.cut(least.0), self.1.cut(least.1))
    }

    #[inline(always)]
    fn exp(self) -> Two<V> {
        Two(self.0.exp(), self.1.exp())
    }
}

impl<V: Vector> Wide for Two<V> {
    type Half = V;

    #[inline(always)]
    fn join(first: V, second: V) -> Two<V> {
        Two(first, second)
    }

    #[inline(always)]
    fn load_pair([first, second]: &[Lanes; 2]) -> Two<V> {
        Two(V::load(first), V::load(second))
    }

    #[inline(always)]
    fn load_twice(lanes: &Lanes) -> Two<V> {
        let half = V::load(lanes);
        Two(half, half)
    }

    #[inline(always)]
    fn store_pair(self, [first, second]: &mut [Lanes; 2]) {
        self.0.store(first);
        self.1.store(second);
    }

    #[inline(always)]
    fn halves(self) -> [V; 2] {
        [self.0, self.1]
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use avx::Avx2;
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
pub(super) use avx::Avx512;

#[cfg(test)]
pub(super) use faulty::{Fault, Faulty};

/// What every machine of the target has.
#[cfg(target_arch = "aarch64")]
pub(super) type Portable = neon::Neon;
/// What every machine of the target has.
#[cfg(not(target_arch = "aarch64"))]
pub(super) type Portable = plain::Plain;

#[cfg(test)]
mod tests {
    use super::super::kernel::{Kernel, compiled_for_each_kernel};
    use super::*;

    compiled_for_each_kernel! {
        /// Every operation on `a`, `b` and `c`, in the traits' order, alone, and on wide vectors; last the sums of `a`, `b`, `c`
        /// and `a`.
        fn all_operations = all_operations_body(a: &Lanes, b: &Lanes, c: &Lanes, out: &mut [[Lanes; 2]; 11])
    }

    #[inline(always)]
    fn all_operations_body<V: Vector>(a: &Lanes, b: &Lanes, c: &Lanes, out: &mut [[Lanes; 2]; 11]) {
        let vectors = [V::load(a), V::load(b), V::load(c)];
        for (result, out) in operations(vectors).into_iter().zip(out.iter_mut()) {
            result.store(&mut out[0]);
        }
        // The second half of each wide vector has the first's values one lane further.
        let turned = [a, b, c].map(|lanes| {
            let mut turned = *lanes;
            turned.0.rotate_left(1);
            turned
        });
        let wide = [V::Wide::load(a, &turned[0]), V::Wide::load(b, &turned[1]), V::Wide::load(c, &turned[2])];
        for (result, out) in operations(wide).into_iter().zip(out.iter_mut()) {
            let mut pair = [Lanes::ZERO; 2];
            result.store_pair(&mut pair);
            out[1] = pair[1];
            let [first, second] = V::Wide::load_pair(&pair).halves();
            assert!(same_lanes(pair, [first, second]) && same_lanes([out[0]; 2], [first; 2]));
        }
        out[10][0].0[..4].copy_from_slice(&V::sums([vectors[0], vectors[1], vectors[2], vectors[0]]));
    }

    #[inline(always)]
    fn operations<E: Elements>([a, b, c]: [E; 3]) -> [E; 10] {
        [
            a.fma(b, c),
            a.plus(b),
            a.minus(b),
            a.times(b),
            a.larger(b),
            a.where_above(b, c),
            a.unless_below(b, c),
            a.cut(b),
            E::splat(1.5),
            a,
        ]
    }

    /// Bit by bit, but any NaN for any other.
    fn same_lanes<V: Vector>(lanes: [Lanes; 2], vectors: [V; 2]) -> bool {
        lanes.into_iter().zip(vectors).all(|(lanes, vector)| {
            let mut stored = Lanes::ZERO;
            vector.store(&mut stored);
            let same = |(a, b): (f32, f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
            stored.0.into_iter().zip(lanes.0).all(same)
        })
    }

    #[test]
    fn every_kernel_does_what_the_traits_say_with_ordinary_and_special_values() {
        let special = [0.0, -0.0, 1.0, -1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-42];
        // An interpreter takes its time.
        for turn in (0..64).step_by(if cfg!(miri) { 9 } else { 1 }) {
            let mut b = Lanes(special);
            b.0.rotate_left(turn % 8);
            let mut c = Lanes(special);
            c.0.rotate_left(turn / 8);
            let a = Lanes(special);
            let expected = |lane: usize| {
                let (a, b, c) = (a.0[lane], b.0[lane], c.0[lane]);
                [
                    a.mul_add(b, c),
                    a + b,
                    a - b,
                    a * b,
                    if b > a { b } else { a },
                    if b > c { a } else { 0.0 },
                    if b < c { 0.0 } else { a },
                    if a.abs() < b { 0.0 } else { a },
                    1.5,
                    a,
                ]
            };
            for kernel in Kernel::available() {
                let mut out = [[Lanes::ZERO; 2]; 11];
                all_operations(kernel, &a, &b, &c, &mut out);
                for (half, lane) in (0..2).flat_map(|half| (0..8).map(move |lane| (half, lane))) {
                    for (operation, expected) in expected((lane + half) % 8).into_iter().enumerate() {
                        let got = out[operation][half].0[lane];
                        let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
                        assert!(same, "{kernel}: operation {operation}, lane {lane}: {got}, not {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn lanes_are_summed_by_halves() {
        // 1e8 swallows a 1 and cancels with -1e8: another order gives another sum.
        let a = Lanes([1e8, 1.0, 1.0, 1.0, -1e8, 1.0, 1.0, 1.0]);
        let b = Lanes([1e8, -1e8, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let c = Lanes([1.0, 1e8, 1.0, -1e8, 1.0, 1.0, 2.0, 1.0]);
        let by_halves = |lanes: Lanes| {
            let mut s = lanes.0;
            for distance in [4, 2, 1] {
                for k in 0..distance {
                    s[k] += s[k + distance];
                }
            }
            s[0]
        };
        assert_eq!([a, b, c].map(by_halves), [6.0, 0.0, 5.0]);
        for kernel in Kernel::available() {
            let mut out = [[Lanes::ZERO; 2]; 11];
            all_operations(kernel, &a, &b, &c, &mut out);
            assert_eq!(out[10][0].0[..4], [6.0, 0.0, 5.0, 6.0], "{kernel}");
        }
    }
}
