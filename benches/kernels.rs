//! How fast a core trains: samples a second and GFLOP/s, for each kernel that this machine has.
//!
//! `cargo bench --bench kernels [-- WORD]`: only shapes whose line contains WORD. A plain timing loop: the best of many
//! short runs, because other work on the machine only ever makes a run longer.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use gradwire::job::Training;
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, BatchSize, Kernel, LossReduction, Network, Optimiser, Recipe, Rows, Trainer, initialise,
};

/// How long a shape is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// About how long one run of it takes: short enough to fall between two turns of another process.
const RUN: Duration = Duration::from_millis(2);

fn main() -> std::io::Result<()> {
    // cargo passes options of its own; a word is ours.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let sgd = Recipe { optimiser: Optimiser::Sgd, reduction: LossReduction::Mean, ..Recipe::DEFAULT };
    let batch = |rows| BatchSize::Rows(NonZeroU32::new(rows).expect("a batch has rows"));
    let shapes: [(&[u32], u32, Recipe); 6] = [
        (&[16, 20, 26], 1500, Recipe { stop_loss_change: None, ..Recipe::CLASSIC }),
        (&[16, 128, 26], 1500, Recipe { batch: batch(32), ..Recipe::DEFAULT }),
        (&[16, 64, 26], 1536, Recipe { batch: batch(128), ..sgd }),
        (&[784, 128, 10], 1536, Recipe { batch: batch(128), ..sgd }),
        (&[784, 128, 10], 1536, Recipe { batch: batch(32), ..Recipe::DEFAULT }),
        (&[128, 512, 512, 10], 1024, Recipe { batch: batch(128), ..sgd }),
    ];
    for (sizes, rows, recipe) in shapes {
        for kernel in Kernel::available() {
            let line = format!("{sizes:?} {:?} {:?} {kernel}", recipe.batch, recipe.optimiser);
            if !line.contains(&wanted) {
                continue;
            }
            let (samples, flops) = measure(kernel, sizes, rows, recipe);
            let mut out = std::io::stdout().lock();
            writeln!(out, "{line:60} {samples:11.0} samples/s {:7.1} GFLOP/s", samples * flops / 1e9)?;
        }
    }
    Ok(())
}

/// Samples a second, and floating-point operations of a sample.
fn measure(kernel: Kernel, sizes: &[u32], rows: u32, recipe: Recipe) -> (f64, f64) {
    let (inputs, classes) = (sizes[0], sizes[sizes.len() - 1]);
    let network = Network::new(inputs, &sizes[1..sizes.len() - 1], classes).expect("a shape within the limits");
    let values = (0..rows * inputs).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
    let labels = (0..rows).map(|row| row * 7 % classes).collect();
    let rows = Rows::new(inputs, values, labels, classes).expect("rows as they should be");
    let base = initialise(&network, recipe.initialisation, 1);
    // Forward, back, gradient: 2 operations for each weight, but none back into the input.
    let flops: usize = network.layers().map(|layer| layer.weights() * if layer.offset == 0 { 4 } else { 6 }).sum();
    let mut trainer = Trainer::new(kernel);
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
