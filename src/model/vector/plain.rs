//! Any machine: what a compiler makes of arrays.

use super::super::lanes::LANES;
use super::arithmetic;
use super::{Elements, Lanes, Two, Vector, doubles};

/// An array, for machines of which nothing is known.
#[derive(Clone, Copy)]
pub struct Plain([f32; LANES]);

/// The lane-wise result of an expression in the names of up to three vectors.
macro_rules! lane_wise {
    ($($name:ident),+ => $result:expr) => {{
        let mut out = [0.0; LANES];
        for lane in 0..LANES {
            $(let $name = $name.0[lane];)+
            out[lane] = $result;
        }
        Plain(out)
    }};
}

/// Out of line, because it is made of f64 operations: in line, a dozen of it in e^x alone were 4 kB.
#[inline(never)]
fn fused(value: Plain, factor: Plain, addend: Plain) -> Plain {
    Plain(doubles::fused::<doubles::Native>(&value.0, &factor.0, &addend.0))
}

/// What softmax is made of is out of line, too, where [`fused`] is: in line it was twice as much code, and no faster.
impl Elements for Plain {
    #[inline(always)]
    fn splat(value: f32) -> Plain {
        Plain([value; LANES])
    }

    #[inline(always)]
    fn fma(self, factor: Plain, addend: Plain) -> Plain {
        fused(self, factor, addend)
    }

    #[inline(never)]
    fn plus(self, other: Plain) -> Plain {
        let value = self;
        lane_wise!(value, other => value + other)
    }

    #[inline(never)]
    fn minus(self, other: Plain) -> Plain {
        let value = self;
        lane_wise!(value, other => value - other)
    }

    #[inline(never)]
    fn times(self, other: Plain) -> Plain {
        let value = self;
        lane_wise!(value, other => value * other)
    }

    #[inline(always)]
    fn times_two_to_the(self, exponent: Plain) -> Plain {
        let value = self;
        lane_wise!(value, exponent => value * f32::from_bits(exponent.to_bits().wrapping_add(127) << 23))
    }

    #[inline(never)]
    fn larger(self, other: Plain) -> Plain {
        let value = self;
        lane_wise!(value, other => if other > value { other } else { value })
    }

    #[inline(always)]
    fn where_above(self, mask: Plain, limit: Plain) -> Plain {
        let value = self;
        lane_wise!(value, mask, limit => if mask > limit { value } else { 0.0 })
    }

    #[inline(always)]
    fn unless_below(self, mask: Plain, limit: Plain) -> Plain {
        let value = self;
        lane_wise!(value, mask, limit => if mask < limit { 0.0 } else { value })
    }

    #[inline(always)]
    fn cut(self, least: Plain) -> Plain {
        let value = self;
        lane_wise!(value, least => if value.abs() < least { 0.0 } else { value })
    }

    /// Out of line, as its multiply-adds are.
    #[inline(never)]
    fn exp(self) -> Plain {
        arithmetic::exp(self)
    }
}

impl Vector for Plain {
    type Fma = arithmetic::Software;
    type Wide = Two<Plain>;
    const HAS_REGISTERS: bool = false;
    const HAS_WIDE_REGISTERS: bool = false;

    #[inline(always)]
    fn load(lanes: &Lanes) -> Plain {
        Plain(lanes.0)
    }

    #[inline(always)]
    fn load_anywhere(values: &[f32; LANES]) -> Plain {
        Plain(*values)
    }

    #[inline(always)]
    fn store(self, lanes: &mut Lanes) {
        lanes.0 = self.0;
    }

    #[inline(always)]
    fn store_anywhere(self, values: &mut [f32; LANES]) {
        *values = self.0;
    }

    #[inline(never)]
    fn divided_by(self, other: Plain) -> Plain {
        let value = self;
        lane_wise!(value, other => value / other)
    }
}
