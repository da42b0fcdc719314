//! A vector whose arithmetic is broken in a way that machines, compilers or libraries are known to break it, for the tests
//! of who notices. No program is built with it.

use std::cell::Cell;

use super::super::lanes::LANES;
use super::arithmetic::{Fma, Hardware};
use super::{Elements, Lanes, Two, Vector};

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// A product that is added to is not rounded before.
    Contracted,
    /// What should be -0 is +0.
    NoNegativeZero,
    /// e^x is that of the system's library.
    OtherExp,
    /// A fused multiply-add is rounded to f64 and then to f32.
    TwiceRounded,
}

thread_local! {
    static FAULT: Cell<Fault> = const { Cell::new(Fault::Contracted) };
}

impl Fault {
    /// What this thread computes is broken in this way from now on.
    pub fn begin(self) {
        FAULT.set(self);
    }

    fn is_here(self) -> bool {
        FAULT.get() == self
    }
}

/// Eight numbers. They are f32 but for products that are yet to be rounded.
#[derive(Clone, Copy)]
pub struct Faulty([f64; LANES]);

/// A sum or a product, rounded.
fn rounded(value: f64) -> f64 {
    let value = f64::from(value as f32);
    if Fault::NoNegativeZero.is_here() && value == 0.0 { 0.0 } else { value }
}

impl Faulty {
    fn of(value: impl Fn(usize) -> f64) -> Faulty {
        Faulty(std::array::from_fn(value))
    }

    /// The numbers as something other than an addition sees them.
    fn settled(self) -> [f32; LANES] {
        self.0.map(|value| value as f32)
    }

    fn picked(self, is_kept: impl Fn(usize) -> bool) -> Faulty {
        let own = self.settled();
        Faulty::of(|lane| if is_kept(lane) { f64::from(own[lane]) } else { 0.0 })
    }
}

impl Fma for Faulty {
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        if Fault::TwiceRounded.is_here() {
            return (f64::from(a) * f64::from(b) + f64::from(c)) as f32;
        }
        rounded(f64::from(Hardware::fma(a, b, c))) as f32
    }
}

impl Elements for Faulty {
    fn splat(value: f32) -> Faulty {
        Faulty([f64::from(value); LANES])
    }

    fn fma(self, factor: Faulty, addend: Faulty) -> Faulty {
        let [a, b, c] = [self, factor, addend].map(Faulty::settled);
        Faulty::of(|lane| f64::from(<Faulty as Fma>::fma(a[lane], b[lane], c[lane])))
    }

    fn plus(self, other: Faulty) -> Faulty {
        Faulty::of(|lane| rounded(self.0[lane] + other.0[lane]))
    }

    fn minus(self, other: Faulty) -> Faulty {
        Faulty::of(|lane| rounded(self.0[lane] - other.0[lane]))
    }

    fn times(self, other: Faulty) -> Faulty {
        let [a, b] = [self, other].map(|vector| vector.settled().map(f64::from));
        let round = if Fault::Contracted.is_here() { |product| product } else { rounded };
        Faulty::of(|lane| round(a[lane] * b[lane]))
    }

    fn times_two_to_the(self, exponent: Faulty) -> Faulty {
        let (own, exponent) = (self.settled(), exponent.settled());
        let power = |lane: usize| f32::from_bits(exponent[lane].to_bits().wrapping_add(127) << 23);
        Faulty::of(|lane| rounded(f64::from(own[lane] * power(lane))))
    }

    fn larger(self, other: Faulty) -> Faulty {
        let (own, others) = (self.settled(), other.settled());
        Faulty::of(|lane| f64::from(if others[lane] > own[lane] { others[lane] } else { own[lane] }))
    }

    fn where_above(self, mask: Faulty, limit: Faulty) -> Faulty {
        let (mask, limit) = (mask.settled(), limit.settled());
        self.picked(|lane| mask[lane] > limit[lane])
    }

    fn unless_below(self, mask: Faulty, limit: Faulty) -> Faulty {
        let (mask, limit) = (mask.settled(), limit.settled());
        let is_below = |lane: usize| mask[lane] < limit[lane];
        self.picked(|lane| !is_below(lane))
    }

    fn cut(self, least: Faulty) -> Faulty {
        let (own, least) = (self.settled(), least.settled());
        let is_below = |lane: usize| own[lane].abs() < least[lane];
        self.picked(|lane| !is_below(lane))
    }

    fn exp(self) -> Faulty {
        if Fault::OtherExp.is_here() {
            let own = self.settled();
            return Faulty::of(|lane| f64::from(own[lane].exp()));
        }
        super::exp(self)
    }
}

impl Vector for Faulty {
    type Fma = Faulty;
    type Wide = Two<Faulty>;
    const HAS_REGISTERS: bool = true;
    const HAS_WIDE_REGISTERS: bool = false;

    fn load(lanes: &Lanes) -> Faulty {
        Faulty(lanes.0.map(f64::from))
    }

    fn load_anywhere(values: &[f32; LANES]) -> Faulty {
        Faulty(values.map(f64::from))
    }

    fn store(self, lanes: &mut Lanes) {
        lanes.0 = self.settled();
    }

    fn store_anywhere(self, values: &mut [f32; LANES]) {
        *values = self.settled();
    }

    fn divided_by(self, other: Faulty) -> Faulty {
        let (own, others) = (self.settled(), other.settled());
        Faulty::of(|lane| rounded(f64::from(own[lane] / others[lane])))
    }
}
