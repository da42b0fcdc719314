//! Every way to add against the instruction or the C library's function, and that against integers.

use super::scalar::Scalar;
use super::*;
use crate::model::vector::arithmetic::{Fma as _, Software};

/// Random numbers, the same each time.
struct Words(u64);

impl Words {
    /// Splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    fn below(&mut self, limit: u64) -> i32 {
        (self.next() % limit) as i32
    }

    fn bits(&mut self) -> f32 {
        f32::from_bits(self.next() as u32)
    }

    /// Either sign, a random mantissa of so many bits, its first included, and this exponent.
    fn number(&mut self, bits: u32, exponent: i32) -> f32 {
        let word = self.next() as u32;
        let mantissa = word & (0x007f_ffff << (24 - bits) & 0x007f_ffff);
        let magnitude = f64::from(f32::from_bits(mantissa | 127 << 23)) * 2f64.powi(exponent);
        (if word >> 31 == 1 { -magnitude } else { magnitude }) as f32
    }

    /// Factors of about `product`.
    fn factors(&mut self, product: f64) -> [f32; 2] {
        let exponent = (product.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        let exponent = exponent / 2 + self.below(40) - 20;
        let first = self.number(24, exponent);
        [first, (product / f64::from(first)) as f32]
    }

    /// A number and a half, most often a small one.
    fn halves(&mut self) -> f64 {
        let bits = self.below(6);
        f64::from(self.below(1 << bits)) + 0.5
    }

    /// Three numbers whose product and sum fall where roundings go wrong.
    fn hard(&mut self) -> [f32; 3] {
        let halves = self.halves();
        match self.next() % 7 {
            // Half-way between two f32, or a few f64 beside: the product is some halves of the addend's last place.
            0 => {
                let exponent = self.below(60) - 30;
                let addend = self.number(24, exponent);
                let [a, b] = self.factors(halves * 2f64.powi(exponent - 23));
                [a, b, addend]
            }
            // Half-way by itself: a product of 25 bits or so, and next to nothing added.
            1 => {
                let [a, b] = [self.number(13, 5), self.number(12, -3)];
                let exponent = -24 - self.below(30);
                [a, b, self.number(24, exponent)]
            }
            // Half-way between two subnormals, or beside.
            2 => {
                let [a, b] = self.factors(halves * 2f64.powi(-149));
                [a, b, f32::from_bits(self.next() as u32 & 0x80ff_ffff)]
            }
            // About the least normal number, by cancellation or without.
            3 => {
                let exponent = -126 + self.below(4);
                let addend = self.number(24, exponent);
                let shift = self.below(20);
                let [a, b] = self.factors(-f64::from(addend) + halves * 2f64.powi(-150 - shift));
                [a, b, addend]
            }
            // About the end of all numbers.
            4 => {
                let addend = f32::from_bits(f32::MAX.to_bits() - self.below(3) as u32);
                let [a, b] = self.factors(halves * 2f64.powi(104));
                [a, b, if a * b > 0.0 { addend } else { -addend }]
            }
            // Zeros, the least, the greatest and the least normal number, and what is no number.
            5 => [(); 3].map(|()| {
                let edges =
                    [0, 1, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0x3f80_0001, 0x7f7f_ffff, 0x7f80_0000, 0x7fc0_0000];
                f32::from_bits(edges[self.below(9) as usize] | (self.next() as u32) << 31)
            }),
            // Numbers of few bits, as of data that were counted: exact ties.
            _ => {
                let exponent = self.below(12);
                [self.number(24, 0), self.number(4, exponent), self.number(24, exponent + 1)]
            }
        }
    }
}

/// `a * b + c`, rounded once, from integers alone.
fn in_integers(numbers: [f32; 3]) -> f32 {
    let [a, b, c] = numbers.map(f64::from);
    if !numbers.iter().all(|number| number.is_finite()) || a * b + c == 0.0 {
        // Exact in f64, and there are rules for the sign of 0.
        return (a * b + c) as f32;
    }
    /// Larger than any shift after which the smaller of two summands could matter for more than its sign.
    const APART: i32 = 78;
    // Integers times 2 to some power.
    let [a, b, c] = numbers.map(|number| {
        let exponent = (number.to_bits() >> 23 & 0xff) as i32;
        let mantissa = i128::from(number.to_bits() & 0x007f_ffff | u32::from(exponent > 0) << 23);
        (if number.is_sign_negative() { -mantissa } else { mantissa }, exponent.max(1) - 150)
    });
    let (mut upper, mut lower) = ((a.0 * b.0, a.1 + b.1), c);
    if lower.0 != 0 && (upper.0 == 0 || lower.1 > upper.1) {
        (upper, lower) = (lower, upper);
    }
    let shift = if lower.0 == 0 { 0 } else { upper.1 - lower.1 };
    let (sum, exponent) = if shift <= APART {
        ((upper.0 << shift) + lower.0, upper.1 - shift)
    } else {
        ((upper.0 << APART) + lower.0.signum(), upper.1 - APART)
    };
    let (magnitude, bits) = (sum.unsigned_abs(), 128 - sum.unsigned_abs().leading_zeros() as i32);
    // An f32 has 24 bits, none of which is below 2^-149.
    let lost = (bits - 24).max(-149 - exponent).max(0);
    let rounded = if lost > bits {
        0
    } else {
        let (kept, rest) = (magnitude >> lost, magnitude & ((1 << lost) - 1));
        let half = (1 << lost) >> 1;
        kept + u128::from(lost > 0 && (rest > half || rest == half && kept & 1 == 1))
    };
    let value = (rounded as f64 * 2f64.powi(exponent + lost)) as f32;
    if sum < 0 { -value } else { value }
}

fn assert_same(got: f32, expected: f32, [a, b, c]: [f32; 3], way: &str) {
    let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
    assert!(same, "{way}: {a:e} * {b:e} + {c:e} is {got:e}, not {expected:e}");
}

/// Eight multiply-adds, in every way there is.
fn check_eight(numbers: &[[f32; 3]; LANES]) {
    let expected = numbers.map(|[a, b, c]| a.mul_add(b, c));
    let check = |got: [f32; LANES], way: &str| {
        for lane in 0..LANES {
            assert_same(got[lane], expected[lane], numbers[lane], way);
        }
    };
    let lanes = [0, 1, 2].map(|index| numbers.map(|numbers| numbers[index]));
    check(numbers.map(|[a, b, c]| Software::fma(a, b, c)), "one by one");
    check(fused::<Native>(&lanes[0], &lanes[1], &lanes[2]), "fused");
    check(fused::<Scalar>(&lanes[0], &lanes[1], &lanes[2]), "fused without vectors");
    for moderate in [false, true] {
        if !moderate || lanes.iter().all(|lanes| are_moderate(lanes)) {
            let way = if moderate { "a moderate step" } else { "an exact step" };
            step::<Native>(&lanes, moderate).into_iter().for_each(|got| check(got, way));
            step::<Scalar>(&lanes, moderate).into_iter().for_each(|got| check(got, way));
        }
    }
}

/// Two chains of one step.
fn step<P: Pair>([a, b, c]: &[[f32; LANES]; 3], moderate: bool) -> [[f32; LANES]; 2] {
    let values = [a, a].map(|a| a.map(f64::from));
    let factors = Factors { values: values.as_flattened(), of_lanes: true };
    let mut sums = [Doubles::<P>::of(c); 2];
    add_products(factors, &[Doubles::of(b)], moderate, &mut sums);
    sums.map(Doubles::to_lanes)
}

/// Whether rounding to f64 and then to f32 goes wrong.
fn is_rounded_twice([a, b, c]: [f32; 3]) -> bool {
    let twice = (f64::from(a) * f64::from(b) + f64::from(c)) as f32;
    twice.to_bits() != a.mul_add(b, c).to_bits() && !twice.is_nan()
}

#[test]
fn a_million_multiply_adds_where_roundings_go_wrong_are_rounded_once() {
    let mut words = Words(1);
    let mut wrong = [0; 2];
    for _ in 0..if cfg!(miri) { 100 } else { 125_000 } {
        let numbers = [(); LANES].map(|()| words.hard());
        for numbers in numbers {
            assert_same(numbers[0].mul_add(numbers[1], numbers[2]), in_integers(numbers), numbers, "this machine");
            if is_rounded_twice(numbers) {
                wrong[usize::from(are_moderate(&numbers))] += 1;
            }
        }
        check_eight(&numbers);
    }
    assert!(cfg!(miri) || wrong.iter().all(|wrong| *wrong > 1_000), "only {wrong:?} of them were hard");
}

/// `cargo test --lib a_billion -- --ignored`
#[test]
#[ignore = "long: a billion of them take minutes"]
fn a_billion_random_multiply_adds_are_rounded_once() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let eights = 1_000_000_000 / LANES / threads + 1;
    let check = move |thread: usize| {
        let mut words = Words(thread as u64 + 2);
        for _ in 0..eights {
            let numbers = [(); LANES].map(|()| {
                let [a, b, c] = [(); 3].map(|()| words.bits());
                match words.next() % 4 {
                    0 => [a, b, c],
                    // An addend near the product's own size.
                    1 => [a, b, f32::from_bits((a * b).to_bits() ^ (words.next() as u32 & 0x83ff_ffff))],
                    // Factors of few bits.
                    2 => [a, b, c].map(|x| f32::from_bits(x.to_bits() & 0xffff_f000)),
                    _ => words.hard(),
                }
            });
            check_eight(&numbers);
        }
    };
    std::thread::scope(|scope| {
        (0..threads).for_each(|thread| drop(scope.spawn(move || check(thread))));
    });
}

/// What is added up, and what comes out: two chains on each of eight lanes.
struct Chains {
    factors: Vec<[[f32; LANES]; 2]>,
    lanes: Vec<[f32; LANES]>,
    begin: [[f32; LANES]; 2],
    end: [[f32; LANES]; 2],
}

impl Chains {
    /// So many steps, at some of which rounding twice would go wrong, with factors of each lane's own or not.
    fn new(words: &mut Words, steps: usize, of_lanes: bool, is_hard: impl Fn(usize) -> bool) -> Chains {
        let begin = [(); 2].map(|()| [(); LANES].map(|()| words.number(24, 0)));
        let mut chains = Chains { factors: Vec::new(), lanes: Vec::new(), begin, end: begin };
        for step in 0..steps {
            let mut factors = [(); 2].map(|()| [(); LANES].map(|()| words.number(24, -2)));
            if !of_lanes {
                factors = factors.map(|factor| [factor[0]; LANES]);
            }
            let mut lanes = [(); LANES].map(|()| words.number(24, 1));
            let (chain, lane) = (step % 2, step * 5 % LANES);
            let sum = chains.end[chain][lane];
            let unit = f64::from(f32::from_bits(sum.to_bits() + 1)) - f64::from(sum);
            while is_hard(step) && !is_rounded_twice([factors[chain][lane], lanes[lane], sum]) {
                let halves = f64::from(words.below(4)) + 0.5;
                let [factor, value] = words.factors(halves * unit);
                factors[chain] = if of_lanes { factors[chain] } else { [factor; LANES] };
                factors[chain][lane] = factor;
                lanes[lane] = value;
            }
            for (sums, factor) in chains.end.iter_mut().zip(&factors) {
                for lane in 0..LANES {
                    sums[lane] = factor[lane].mul_add(lanes[lane], sums[lane]);
                }
            }
            chains.factors.push(factors);
            chains.lanes.push(lanes);
        }
        chains
    }

    fn check<P: Pair>(&self, of_lanes: bool) {
        let numbers = if of_lanes { LANES } else { 1 };
        let of_step = |factors: &[[f32; LANES]; 2]| factors.map(|factor| factor[..numbers].to_vec()).concat();
        let values: Vec<f64> = self.factors.iter().flat_map(of_step).map(f64::from).collect();
        let lanes: Vec<_> = self.lanes.iter().map(Doubles::<P>::of).collect();
        let all = [self.factors.as_flattened(), &self.lanes, &self.begin].map(<[_]>::as_flattened);
        assert!(all.into_iter().all(are_moderate));
        for moderate in [true, false] {
            let mut sums = self.begin.each_ref().map(Doubles::of);
            add_products(Factors { values: &values, of_lanes }, &lanes, moderate, &mut sums);
            let got = sums.map(|sums| sums.to_lanes().map(f32::to_bits));
            assert_eq!(got, self.end.map(|sums| sums.map(f32::to_bits)), "moderate: {moderate}, of lanes: {of_lanes}");
        }
    }
}

#[test]
fn a_chain_with_ties_anywhere_on_its_way_comes_to_the_same_bits() {
    let mut words = Words(0);
    // One, at each place; neighbours; some near enough for longer and longer ways round; all.
    let mut ties: Vec<Vec<usize>> = (0..24).map(|step| vec![step]).collect();
    ties.extend([vec![], vec![3, 4], vec![0, 1, 2], vec![22, 23], vec![2, 5, 9, 12, 13, 20], (0..24).collect()]);
    for (ties, of_lanes) in ties.iter().flat_map(|ties| [(ties, false), (ties, true)]) {
        for steps in [1, 2, 23, 24] {
            let chains = Chains::new(&mut words, steps, of_lanes, |step| ties.contains(&step));
            chains.check::<Native>(of_lanes);
            chains.check::<Scalar>(of_lanes);
        }
    }
}

#[test]
fn a_chain_without_ties_takes_the_short_way_to_its_end() {
    let mut words = Words(0);
    for of_lanes in [false, true] {
        let chains = Chains::new(&mut words, 16, of_lanes, |_| false);
        let numbers = if of_lanes { LANES } else { 1 };
        let of_step = |factors: &[[f32; LANES]; 2]| factors.map(|factor| factor[..numbers].to_vec()).concat();
        let values: Vec<f64> = chains.factors.iter().flat_map(of_step).map(f64::from).collect();
        let lanes: Vec<_> = chains.lanes.iter().map(Doubles::<Native>::of).collect();
        let mut sums = chains.begin.each_ref().map(Doubles::of);
        assert_eq!(add_up_to_a_tie(Factors { values: &values, of_lanes }, &lanes, &mut sums), 16);
        assert_eq!(sums.map(Doubles::to_lanes), chains.end);
    }
}

#[test]
fn moderate_is_what_cannot_leave_the_range_of_a_chain() {
    let small = VALUE_LEAST;
    assert!(are_moderate(&[0.0, -0.0, small, -small, 1.0, -2.5e14]));
    let below = f32::from_bits(small.to_bits() - 1);
    for value in [below, -below, 1e-45, 2f32.powi(48), -f32::INFINITY, f32::NAN] {
        for place in 0..19 {
            let mut values = [1.0; 19];
            values[place] = value;
            assert!(!are_moderate(&values), "{value:e}");
        }
    }
    // The least sum of products by cancellation, and the greatest.
    let next = f64::from(f32::from_bits(small.to_bits() + 1));
    assert!(next * next - f64::from(small) * next >= f64::from(f32::MIN_POSITIVE));
    assert!(2f64.powi(48 + 48) * LINKS_MAX as f64 * 1.1 < 2f64.powi(127));
}
