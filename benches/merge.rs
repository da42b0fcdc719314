//! What merging costs, without the rest of a round: adding an update to an exact sum, the sum's mean to a
//! round's base, and the name that what an outer optimiser remembers gets after each step of merged gradients.
//!
//! `cargo bench --bench merge [-- WORD]`: only what has WORD in its name; divan's other options serve, too. With integers
//! of 96 and 128 bits, on a million parameters: a millisecond is a nanosecond a parameter. The fastest run counts, because
//! other work on the machine only ever makes a run longer. Pins itself to one core where `taskset` is there.

mod common;

use std::cell::RefCell;
use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, Divan};
use gradwire::model::{ExactSum, Kernel, LittleEndianF32, Outer, OuterOptimiser, OuterState};
use gradwire::wire::object::outer_digest;

/// How long a figure is measured.
const MEASURE: Duration = Duration::from_millis(500);
const PARAMETERS: u32 = 1_000_000;
/// Updates of a round.
const UPDATES: u32 = 4;
/// Rows of an update.
const ROWS: u32 = 1_237;

fn main() {
    common::processes::pin_this_thread();
    Divan::default().min_time(MEASURE).max_time(MEASURE).config_with_args().main();
}

/// An empty sum of integers of 96 or 128 bits; that follows from the rows that may come, at most.
fn empty(kernel: Kernel, bits: u32) -> ExactSum {
    ExactSum::new(kernel, PARAMETERS as usize, if bits == 96 { 1 << 17 } else { 1 << 40 })
}

#[divan::bench(name = "an update is added", args = Kernel::available(), consts = [96, 128])]
fn add<const BITS: u32>(bencher: Bencher<'_, '_>, &kernel: &Kernel) {
    let (sum, update) = (RefCell::new(empty(kernel, BITS)), update());
    let make_room = || {
        let mut sum = sum.borrow_mut();
        if sum.rows() == u64::from(UPDATES * ROWS) {
            sum.reset();
        }
    };
    let bencher = bencher.counter(ItemsCount::new(PARAMETERS)).with_inputs(make_room);
    bencher.bench_local_values(|()| sum.borrow_mut().add(&update, ROWS).expect("values that can be merged"));
}

#[divan::bench(name = "what Adam remembers gets its name", args = [876, 8_218, PARAMETERS])]
fn name(bencher: Bencher<'_, '_>, parameters: u32) {
    let outer = Outer { optimiser: OuterOptimiser::Adam, ..Outer::AVERAGE };
    let vectors = vec![1; 8 * parameters as usize];
    let state = OuterState::restored(&outer, parameters as usize, 1..=1, 1, &vectors).expect("a state");
    bencher.counter(ItemsCount::new(parameters)).bench_local(|| outer_digest(&state));
}

#[divan::bench(name = "the mean is added to the base", args = Kernel::available(), consts = [96, 128])]
fn mean<const BITS: u32>(bencher: Bencher<'_, '_>, &kernel: &Kernel) {
    let (mut sum, update) = (empty(kernel, BITS), update());
    (0..UPDATES).try_for_each(|_| sum.add(&update, ROWS)).expect("values that can be merged");
    let bencher = bencher.counter(ItemsCount::new(PARAMETERS)).with_inputs(|| update.clone());
    bencher.bench_local_refs(|base| sum.mean_onto(base).expect("finite sums"));
}

/// Values of every size down to 2^-40, half of them negative.
fn update() -> Vec<LittleEndianF32> {
    let value = |index: u32| {
        let word = index.wrapping_mul(0x9e37_79b9);
        f32::from_bits(word & 0x807f_ffff | (87 + word % 40) << 23)
    };
    (0..PARAMETERS).map(|index| value(index).to_le_bytes()).collect()
}
