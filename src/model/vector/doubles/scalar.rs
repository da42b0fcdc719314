//! Machines of which nothing is known: f64 by f64.

use super::super::arithmetic;
use super::Pair;

#[derive(Clone, Copy)]
pub struct Scalar([f64; 2]);

impl Pair for Scalar {
    type Ties = bool;

    #[inline(always)]
    fn no_ties() -> bool {
        false
    }

    #[inline(always)]
    fn of(values: [f64; 2]) -> Scalar {
        Scalar(values)
    }

    #[inline(always)]
    fn splat(value: f64) -> Scalar {
        Scalar([value; 2])
    }

    #[inline(always)]
    fn widen([a, b, c, d]: [f32; 4]) -> [Scalar; 2] {
        [[a, b], [c, d]].map(|two| Scalar(two.map(f64::from)))
    }

    #[inline(always)]
    fn narrow([Scalar([a, b]), Scalar([c, d])]: [Scalar; 2]) -> [f32; 4] {
        [a as f32, b as f32, c as f32, d as f32]
    }

    #[inline(always)]
    fn times(self, other: Scalar) -> Scalar {
        Scalar([self.0[0] * other.0[0], self.0[1] * other.0[1]])
    }

    #[inline(always)]
    fn plus_exactly(self, addend: Scalar) -> Scalar {
        let sum = |lane: usize| f64::from(arithmetic::round_once(self.0[lane], addend.0[lane]));
        Scalar([sum(0), sum(1)])
    }

    #[inline(always)]
    fn plus_unless_ties(products: [Scalar; 2], addends: [Scalar; 2], ties: &mut bool) -> [Scalar; 2] {
        let mut sums = products;
        for (sum, addend) in sums.iter_mut().zip(addends) {
            for lane in 0..2 {
                let exact = sum.0[lane] + addend.0[lane];
                *ties |= arithmetic::is_tie(exact);
                sum.0[lane] = f64::from(exact as f32);
            }
        }
        sums
    }

    #[inline(always)]
    fn plus_unless_wrong(products: [Scalar; 2], addends: [Scalar; 2], ties: &mut bool) -> [f32; 4] {
        let mut sums = products;
        for (sum, addend) in sums.iter_mut().zip(addends) {
            for lane in 0..2 {
                sum.0[lane] += addend.0[lane];
                *ties |= arithmetic::may_be_wrong(sum.0[lane]);
            }
        }
        Scalar::narrow(sums)
    }

    #[inline(always)]
    fn are_any(ties: bool) -> bool {
        ties
    }
}
