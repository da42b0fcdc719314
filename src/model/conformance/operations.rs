//! Sections of single operations: what a vector makes of eight triples of numbers, and what a single number's instructions
//! make of them. Owns the numbers; does not know what is right.

use std::hint::black_box;

use super::values::Values;
use crate::model::kernel::{Kernel, compiled_for_each_kernel};
use crate::model::lanes::{LANES, Lanes, flat};
use crate::model::loss::{BlockTargets, Objective};
use crate::model::recipe::{Loss, Recipe};
use crate::model::thresholds::cut;
use crate::model::vector::Fma as _;
use crate::model::vector::{Elements, Vector, Wide as _};

/// Eight triples of numbers, as vectors of their first, second and third ones.
type Operands = [Lanes; 3];

/// Of the bits of eight triples.
const fn operands(triples: [[u32; 3]; LANES]) -> Operands {
    let mut operands = [Lanes::ZERO; 3];
    let mut index = 0;
    while index < 3 * LANES {
        operands[index % 3].0[index / 3] = f32::from_bits(triples[index / 3][index % 3]);
        index += 1;
    }
    operands
}

/// Nothing but the sections' names is right of these: every sum and product is exact, so that a rounding changes none.
const SUBNORMALS: Operands = operands([
    // From normal numbers to subnormal ones.
    [0x0080_0000, 0x3f00_0000, 0x0000_0000],
    [0x0080_0000, 0xbf00_0000, 0x0080_0000],
    [0x0080_0001, 0x3f80_0000, 0x8080_0000],
    // From subnormal numbers to normal ones.
    [0x0000_0001, 0x4b80_0000, 0x0000_0000],
    [0x0000_0001, 0x7f00_0000, 0x3f80_0000],
    [0x007f_ffff, 0x4000_0000, 0x0000_0001],
    // Among subnormal numbers.
    [0x8000_0001, 0x3f80_0000, 0x0080_0000],
    [0x3f80_0000, 0x0000_0001, 0x807f_ffff],
]);

/// Ties, and what is just above and below one; the f64 sum of the fifth is one that eighty bits round twice.
const ROUNDING: Operands = operands([
    [0x3f80_0000, 0x3380_0000, 0x3f80_0000],
    [0x3f80_0001, 0x3380_0000, 0x3f80_0001],
    [0xbf80_0000, 0xb380_0000, 0xbf80_0000],
    [0xbf80_0001, 0xb380_0000, 0xbf80_0001],
    [0x3f80_0000, 0x3380_0001, 0x1900_0400],
    [0x3f80_0000, 0x337f_ffff, 0x3f80_0000],
    [0x4040_0000, 0x40e0_0000, 0x3dcc_cccd],
    [0xc049_0fdb, 0xc02d_f854, 0xbeaa_aaab],
]);

const ZEROS: Operands = operands([
    [0x8000_0000, 0x8000_0000, 0x8000_0000],
    [0x8000_0000, 0x0000_0000, 0x8000_0000],
    [0x0000_0000, 0x8000_0000, 0x8000_0000],
    [0x0000_0000, 0xbf80_0000, 0x8000_0000],
    [0x8000_0000, 0xbf80_0000, 0x8000_0000],
    [0x8000_0000, 0x3f80_0000, 0x0000_0000],
    [0x3f80_0000, 0x3f80_0000, 0xbf80_0000],
    [0xbf80_0000, 0x8000_0000, 0x8000_0000],
]);

const SPECIALS: Operands = operands([
    [0x7fc0_0000, 0x3f80_0000, 0x3f80_0000],
    [0x3f80_0000, 0xffc0_0001, 0x3f80_0000],
    [0x3f80_0000, 0x3f80_0000, 0x7f80_0001],
    [0x7f80_0000, 0xff80_0000, 0x7f80_0000],
    [0x7f80_0000, 0x0000_0000, 0x3f80_0000],
    [0xff80_0000, 0x7f80_0000, 0x7f80_0000],
    [0x7f7f_ffff, 0x4000_0000, 0xff7f_ffff],
    [0xbf80_0000, 0x0000_0000, 0xff80_0000],
]);

/// Where one rounding gives something else than two, of a product and its sum, or of the sum to f64 and then to f32.
const FUSED: Operands = operands([
    [0x3f80_0800, 0x3f80_0800, 0xbf80_1000],
    [0x3380_0001, 0x3f7f_fffe, 0x3f80_0001],
    [0xb380_0001, 0x3f7f_fffe, 0xbf80_0001],
    [0x3f7f_ffff, 0x3f7f_ffff, 0xbf7f_fffe],
    [0x3dcc_cccd, 0x4120_0000, 0xbf80_0000],
    [0x3eaa_aaab, 0x4040_0000, 0xbf80_0000],
    [0x7f00_0000, 0x4000_0000, 0xff7f_ffff],
    [0xc049_0fdb, 0x402d_f854, 0x4108_a2c2],
]);

// The operations, in the order in which their results are told.
const SUM: u16 = 1 << 0;
const DIFFERENCE: u16 = 1 << 1;
const PRODUCT: u16 = 1 << 2;
const QUOTIENT: u16 = 1 << 3;
const FUSED_SUM: u16 = 1 << 4;
const SEPARATE_SUM: u16 = 1 << 5;
const LARGER: u16 = 1 << 6;
const CUT: u16 = 1 << 7;
const ROOT: u16 = 1 << 8;
const WIDE_SUM: u16 = 1 << 9;
const WIDE_QUOTIENT: u16 = 1 << 10;
const NARROWED: u16 = 1 << 11;
const ORDER: u16 = 1 << 12;

/// How many of them there are for vectors: the first.
const OF_VECTORS: usize = 8;

pub(super) fn subnormals(kernel: Kernel, out: &mut Values) {
    operate(kernel, &SUBNORMALS, PRODUCT | FUSED_SUM | SEPARATE_SUM | NARROWED | ORDER, out);
}

pub(super) fn rounding(kernel: Kernel, out: &mut Values) {
    let rounded = SUM | DIFFERENCE | PRODUCT | QUOTIENT | ROOT | WIDE_SUM | WIDE_QUOTIENT | NARROWED;
    operate(kernel, &ROUNDING, rounded, out);
}

/// What neither zeros nor special numbers change.
const ALL_BUT_SEPARATE: u16 = SUM
    | DIFFERENCE
    | PRODUCT
    | QUOTIENT
    | FUSED_SUM
    | LARGER
    | CUT
    | ROOT
    | WIDE_SUM
    | WIDE_QUOTIENT
    | NARROWED
    | ORDER;

pub(super) fn zeros(kernel: Kernel, out: &mut Values) {
    operate(kernel, &ZEROS, ALL_BUT_SEPARATE, out);
}

pub(super) fn specials(kernel: Kernel, out: &mut Values) {
    operate(kernel, &SPECIALS, ALL_BUT_SEPARATE, out);
}

pub(super) fn fused(kernel: Kernel, out: &mut Values) {
    operate(kernel, &FUSED, FUSED_SUM, out);
}

pub(super) fn separate(kernel: Kernel, out: &mut Values) {
    operate(kernel, &FUSED, SEPARATE_SUM, out);
}

/// Results, those that vectors have in three ways: by single numbers, by a vector, by the second half of a wide one.
struct Results {
    ways: [[Lanes; OF_VECTORS]; 3],
    roots: [f32; LANES],
    wide_sums: [f64; LANES],
    wide_quotients: [f64; LANES],
    orders: [u32; LANES],
}

/// Tells the results of some operations, triple by triple.
#[inline(never)]
fn operate(kernel: Kernel, operands: &Operands, operations: u16, out: &mut Values) {
    let mut results = Results {
        ways: [[Lanes::ZERO; OF_VECTORS]; 3],
        roots: [0.0; LANES],
        wide_sums: [0.0; LANES],
        wide_quotients: [0.0; LANES],
        orders: [0; LANES],
    };
    // What is known when the program is built would be computed there.
    compute(kernel, black_box(operands), &mut results);
    for lane in 0..LANES {
        let has = |operation| operations & operation != 0;
        for index in 0..OF_VECTORS {
            if has(1 << index) {
                let [first, second, third] = results.ways.each_ref().map(|way| way[index].0[lane]);
                out.f32(first);
                out.other_way(first, second);
                out.other_way(first, third);
            }
        }
        if has(ROOT) {
            out.f32(results.roots[lane]);
        }
        if has(WIDE_SUM) {
            out.f64(results.wide_sums[lane]);
        }
        if has(WIDE_QUOTIENT) {
            out.f64(results.wide_quotients[lane]);
        }
        if has(NARROWED) {
            out.f32(results.wide_sums[lane] as f32);
        }
        if has(ORDER) {
            out.integer(results.orders[lane]);
        }
    }
}

compiled_for_each_kernel! {
    #[inline(never)]
    fn compute = compute_body(operands: &Operands, out: &mut Results)
}

#[inline(always)]
fn compute_body<V: Vector>(operands: &Operands, out: &mut Results) {
    let [a, b, c] = operands;
    for lane in 0..LANES {
        let [a, b, c] = [a.0[lane], b.0[lane], c.0[lane]];
        let results =
            [a + b, a - b, a * b, a / b, V::Fma::fma(a, b, c), a * b + c, if b > a { b } else { a }, cut(a, b)];
        for (result, out) in results.into_iter().zip(&mut out.ways[0]) {
            out.0[lane] = result;
        }
        out.roots[lane] = a.sqrt();
        let [wide_a, wide_b, wide_c] = [a, b, c].map(f64::from);
        out.wide_sums[lane] = wide_a * wide_b + wide_c;
        out.wide_quotients[lane] = wide_a / wide_b;
        let order = [a < b, a <= b, a == b, a >= b, a > b, a != b];
        out.orders[lane] = order.into_iter().fold(0, |order, is_so| order << 1 | u32::from(is_so));
    }
    // A wide vector that is two computes as they do, and a vector without registers as its numbers.
    let [of_numbers, of_vector, of_wide] = &mut out.ways;
    *of_vector = *of_numbers;
    if V::HAS_REGISTERS {
        let vectors = [V::load(a), V::load(b), V::load(c)];
        let results = common(vectors, vectors[0].divided_by(vectors[1]));
        for (result, out) in results.into_iter().zip(&mut *of_vector) {
            result.store(out);
        }
    }
    *of_wide = *of_vector;
    if V::HAS_WIDE_REGISTERS {
        let wide = [V::Wide::load(a, a), V::Wide::load(b, b), V::Wide::load(c, c)];
        let quotient = V::load(a).divided_by(V::load(b));
        let results = common(wide, V::Wide::join(quotient, quotient));
        for (result, out) in results.into_iter().zip(of_wide) {
            result.halves()[1].store(out);
        }
    }
}

/// What vectors and wide vectors can do, and a quotient.
#[inline(always)]
fn common<E: Elements>([a, b, c]: [E; 3], quotient: E) -> [E; OF_VECTORS] {
    [a.plus(b), a.minus(b), a.times(b), quotient, a.fma(b, c), a.times(b).plus(c), a.larger(b), a.cut(b)]
}

/// Classes of a row whose softmax is taken: so many that another e^x is another for some of them.
const CLASSES: usize = 13;

/// Logits of eight rows, down to where e^x no longer counts.
const LOGITS: [Lanes; CLASSES] = {
    let mut logits = [Lanes::ZERO; CLASSES];
    let mut index = 0;
    while index < CLASSES * LANES {
        let (class, row) = (index / LANES, index % LANES);
        logits[class].0[row] = (class * class * row) as f32 / -32.0;
        index += 1;
    }
    logits
};

/// e^x as softmax takes it: the derivatives by the logits.
pub(super) fn exponentials(kernel: Kernel, out: &mut Values) {
    let mut logits = LOGITS;
    lose_all(kernel, &mut logits, 0.0);
    flat(&mut logits).iter().for_each(|derivative| out.f32(*derivative));
}

/// ln x as the loss takes it, in both ways that there are.
pub(super) fn logarithms(kernel: Kernel, out: &mut Values) {
    for log_epsilon in [0.0, 1e-6] {
        out.f64(lose_all(kernel, &mut { LOGITS }, log_epsilon));
    }
}

/// The loss where each row is of the last class. The logits become its derivatives by them.
#[inline(never)]
fn lose_all(kernel: Kernel, logits: &mut [Lanes], log_epsilon: f32) -> f64 {
    let labels = &[CLASSES as u32 - 1; LANES];
    let objective = Objective::of(&Recipe { loss: Loss::CrossEntropy, log_epsilon, ..Recipe::DEFAULT });
    objective.differentiate(kernel, black_box(logits), BlockTargets::Labels(labels))
}
