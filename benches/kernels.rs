//! How fast a core trains: samples a second, GFLOP/s, and what share that is of the core's own peak, for each kernel that
//! this machine has. The peak is measured beside each shape, because it is a machine's, and a machine has moods.
//!
//! Then, what a second worker brings: one that has no task of its own and helps with large batches.
//!
//! `cargo bench --bench kernels [-- WORD]`: only shapes whose line contains WORD. A plain timing loop: the best of many
//! short runs, because other work on the machine only ever makes a run longer.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gradwire::compute::crew::Help;
use gradwire::job::Training;
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, BatchSize, Kernel, LossReduction, Network, Optimiser, Recipe, Rows, Trainer, initialise,
};

/// How long a shape is measured.
const MEASURE: Duration = Duration::from_millis(700);
/// About how long one run of it takes: short enough to fall between two turns of another process.
const RUN: Duration = Duration::from_millis(2);

/// A network, the rows it is trained on, how, and what a core whose AVX2 peak is [`GOAL_PEAK_GFLOPS`] is to reach.
struct Shape {
    sizes: &'static [u32],
    rows: u32,
    recipe: Recipe,
    goal: Option<f64>,
}

/// The peak of the machine that the goals were set on. Elsewhere they are judged in proportion.
const GOAL_PEAK_GFLOPS: f64 = 117.0;

fn shapes() -> Vec<Shape> {
    let sgd = Recipe { optimiser: Optimiser::Sgd, reduction: LossReduction::Mean, ..Recipe::DEFAULT };
    let adam = Recipe::DEFAULT;
    let classic = Recipe { stop_loss_change: None, ..Recipe::CLASSIC };
    let batch = |rows, recipe| Recipe { batch: BatchSize::Rows(NonZeroU32::new(rows).expect("rows")), ..recipe };
    let shape = |sizes, rows, recipe, goal| Shape { sizes, rows, recipe, goal };
    vec![
        shape(&[16, 20, 26], 1500, classic, Some(18e6)),
        shape(&[16, 64, 26], 1536, batch(128, adam), Some(4e6)),
        shape(&[784, 128, 10], 1536, batch(128, sgd), Some(240e3)),
        shape(&[784, 512, 512, 10], 1024, batch(128, sgd), Some(30e3)),
        shape(&[16, 64, 26], 1536, batch(128, sgd), None),
        shape(&[16, 192, 26], 1500, batch(32, adam), None),
        shape(&[784, 128, 10], 1536, batch(32, adam), None),
        // Sizes that divide by nothing.
        shape(&[17, 23, 37, 11, 5], 1111, batch(37, adam), None),
        shape(&[17, 23, 37, 11, 5], 1501, classic, None),
        shape(&[13, 67, 3], 1001, batch(100, sgd), None),
        shape(&[97, 131, 61, 29, 7], 1111, batch(111, sgd), None),
        shape(&[301, 203, 11], 999, batch(37, sgd), None),
    ]
}

fn main() -> std::io::Result<()> {
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for Shape { sizes, rows, recipe, goal } in shapes() {
        for kernel in Kernel::available() {
            let batch = match recipe.batch {
                BatchSize::Full => format!("all {rows}"),
                BatchSize::Rows(rows) => format!("by {rows}"),
            };
            let sizes_text = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("-");
            let line = format!("{sizes_text:18} {batch:8} {:4} {kernel:8}", format!("{:?}", recipe.optimiser));
            if !line.contains(&wanted) {
                continue;
            }
            let (samples, flops) = measure(Trainer::new(kernel), sizes, rows, recipe);
            let gflops = samples * flops / 1e9;
            let mut out = std::io::stdout().lock();
            write!(out, "{line} {samples:11.0} samples/s {gflops:7.1} GFLOP/s")?;
            if let Some(peak) = peak::gflops(kernel) {
                write!(out, " {:4.0} % of {peak:.0}", 100.0 * gflops / peak)?;
            }
            if let (Some(goal), Some(peak)) = (goal, peak::gflops_of_goals()) {
                // A goal is a share of AVX2's peak, whichever kernel reaches it.
                let goal = goal * peak / GOAL_PEAK_GFLOPS;
                write!(out, ", {:.2} of the goal {goal:.0}", samples / goal)?;
            }
            writeln!(out)?;
        }
    }
    let help = Help::new(2);
    let offers = help.clone();
    std::thread::spawn(move || offers.calls().iter().for_each(|()| offers.give(|| true)));
    for (sizes, rows, recipe) in shared_shapes() {
        for kernel in Kernel::available().filter(|kernel| *kernel != Kernel::PORTABLE) {
            let line = format!("{sizes:?} {:?} {:?} {kernel} shared", recipe.batch, recipe.optimiser);
            if !line.contains(&wanted) {
                continue;
            }
            let (one, _) = measure(Trainer::new(kernel), sizes, rows, recipe);
            let (two, _) = measure(Trainer::with_crew(kernel, help.crew()), sizes, rows, recipe);
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line}: one worker {one:.0} samples/s, two {two:.0}: {:.2} times as many", two / one)?;
        }
    }
    Ok(())
}

/// Batches that two share.
fn shared_shapes() -> [(&'static [u32], u32, Recipe); 3] {
    let classic = Recipe { stop_loss_change: None, ..Recipe::CLASSIC };
    let sgd = Recipe { optimiser: Optimiser::Sgd, reduction: LossReduction::Mean, ..Recipe::DEFAULT };
    let batch = BatchSize::Rows(NonZeroU32::new(1024).expect("rows"));
    [
        (&[16, 20, 26], 16_500, classic),
        (&[784, 128, 10], 4096, Recipe { batch, ..sgd }),
        (&[17, 23, 37, 11, 5], 1501, classic),
    ]
}

/// Samples a second, and floating-point operations of a sample.
fn measure(mut trainer: Trainer, sizes: &[u32], rows: u32, recipe: Recipe) -> (f64, f64) {
    let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
    let network = Network::new(inputs, &sizes[1..sizes.len() - 1], classes).expect("a shape within the limits");
    let values = (0..rows * inputs).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
    let labels = (0..rows).map(|row| row * 7 % classes).collect();
    let rows = Rows::new(inputs, values, labels, classes).expect("rows as they should be");
    let base = initialise(&network, recipe.initialisation, 1);
    // Forward, back, gradient: 2 operations for each weight, but none back into the input.
    let flops: usize = network.layers().map(|layer| layer.weights() * if layer.offset == 0 { 4 } else { 6 }).sum();
    let mut train = |epochs| {
        let training =
            Training { arithmetic: ARITHMETIC, network: network.clone(), recipe: Recipe { epochs, ..recipe }, seed: 1 };
        let start = Instant::now();
        trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).expect("a task that can be trained");
        start.elapsed().as_secs_f64()
    };
    let epochs = (RUN.as_secs_f64() / train(1)).clamp(1.0, 1000.0) as u32;
    let (start, mut best) = (Instant::now(), f64::MAX);
    while start.elapsed() < MEASURE {
        best = best.min(train(epochs));
    }
    (f64::from(rows.rows()) * f64::from(epochs) / best, flops as f64)
}

/// What the core could do if it did nothing but fused multiply-adds: independent chains in registers.
mod peak {
    use std::hint::black_box;
    use std::time::Instant;

    use gradwire::model::Kernel;

    /// Links of a chain in one run: some 50 microseconds.
    const LINKS: u32 = 20_000;
    const RUNS: u32 = 200;

    /// GFLOP/s of the instructions that a kernel uses, if its instructions are more than a compiler's choice.
    pub fn gflops(kernel: Kernel) -> Option<f64> {
        #[cfg(target_arch = "x86_64")]
        if Kernel::avx512() == Some(kernel) {
            // SAFETY: the kernel is proof of AVX-512.
            return Some(best_of(|| unsafe { x86::avx512_chains() }));
        }
        #[cfg(target_arch = "x86_64")]
        if Kernel::avx2() == Some(kernel) {
            // SAFETY: the kernel is proof of AVX2 and FMA.
            return Some(best_of(|| unsafe { x86::avx2_chains() }));
        }
        #[cfg(target_arch = "aarch64")]
        if kernel == Kernel::PORTABLE {
            return Some(best_of(neon_chains));
        }
        let _ = kernel;
        None
    }

    /// GFLOP/s of what the goals are a share of.
    pub fn gflops_of_goals() -> Option<f64> {
        gflops(Kernel::avx2().unwrap_or(Kernel::PORTABLE))
    }

    /// `run` tells how many floating-point operations it has done.
    fn best_of(run: impl Fn() -> u32) -> f64 {
        (0..RUNS)
            .map(|_| {
                let start = Instant::now();
                f64::from(run()) / start.elapsed().as_nanos() as f64
            })
            .fold(0.0, f64::max)
    }

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use std::arch::x86_64::*;

        use super::{LINKS, black_box};

        /// Twelve chains: more than latency times instructions a cycle on any machine with AVX2.
        #[target_feature(enable = "avx2,fma")]
        pub fn avx2_chains() -> u32 {
            let factor = _mm256_set1_ps(black_box(0.999));
            let mut sums = [_mm256_set1_ps(black_box(1.0)); 12];
            for _ in 0..LINKS {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(*sum, factor, factor);
                }
            }
            black_box(sums);
            LINKS * 12 * 8 * 2
        }

        /// As many of sixteen lanes.
        #[target_feature(enable = "avx512f")]
        pub fn avx512_chains() -> u32 {
            let factor = _mm512_set1_ps(black_box(0.999));
            let mut sums = [_mm512_set1_ps(black_box(1.0)); 12];
            for _ in 0..LINKS {
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(*sum, factor, factor);
                }
            }
            black_box(sums);
            LINKS * 12 * 16 * 2
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn neon_chains() -> u32 {
        use std::arch::aarch64::*;
        // SAFETY: NEON is part of every aarch64 target with floating point.
        unsafe {
            let factor = vdupq_n_f32(black_box(0.999));
            let mut sums = [vdupq_n_f32(black_box(1.0)); 24];
            for _ in 0..LINKS {
                for sum in &mut sums {
                    *sum = vfmaq_f32(factor, *sum, factor);
                }
            }
            black_box(sums);
        }
        LINKS * 24 * 4 * 2
    }
}
