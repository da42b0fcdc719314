//! How fast a core trains: samples a second for each kernel that this machine has, and what a second worker brings that has
//! no task of its own and helps with large batches.
//!
//! `cargo bench --bench kernels [-- WORD..]`: only what has one of the words in its name, regular expressions: `train`,
//! `avx2`, `peak 16-64-26`; divan's other options serve, too. The fastest run counts, because other work on the machine only ever
//! makes a run longer. `item` is a sample, and `Hz` counts floating-point operations a second: divided by those of `peak`
//! they are the share of what the core could do. Goals are shares of AVX2's peak, whichever kernel reaches them.

mod common;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use divan::counter::{CyclesCount, ItemsCount};
use divan::{Bencher, Divan};
use gradwire::compute::idle_workers::IdleWorkers;
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, BatchSize, BlockRange, GradientSum, Kernel, LossReduction, Network, Optimiser, Recipe, Rows, Trainer,
    Training, block_rows, initialise,
};

/// How long a shape is measured.
const MEASURE: Duration = Duration::from_millis(700);
/// About how long one run of it takes: short enough to fall between two turns of another process.
const RUN: Duration = Duration::from_millis(2);

/// The worker that has no task of its own.
static HELP: LazyLock<IdleWorkers> = LazyLock::new(|| {
    let help = IdleWorkers::new(2);
    let offers = help.clone();
    std::thread::spawn(move || offers.calls().iter().for_each(|()| offers.give(|| true)));
    help
});

fn main() {
    // Before this thread is bound to one core: the helper may use the others.
    LazyLock::force(&HELP);
    common::processes::pin_this_thread();
    Divan::default().min_time(MEASURE).max_time(MEASURE).config_with_args().main();
}

/// A network, the rows it is trained on, and how.
struct Shape {
    sizes: &'static [u32],
    rows: u32,
    recipe: Recipe,
    kernel: Kernel,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("-"))?;
        match self.recipe.batch {
            BatchSize::Full => write!(f, " all {}", self.rows)?,
            BatchSize::Rows(rows) => write!(f, " by {rows}")?,
        }
        let optimiser = format!("{:?}", self.recipe.optimiser).to_lowercase();
        write!(f, " {optimiser} {}", self.kernel)
    }
}

fn shapes() -> impl Iterator<Item = Shape> {
    let [sgd, adam, classic] = recipes();
    let shapes: [(&[u32], _, _); _] = [
        // Goal 68 %: on a core of 117 GFLOP/s 18 million samples a second.
        (&[16, 20, 26], 1500, classic),
        // Goal 48 %: 4 million.
        (&[16, 64, 26], 1536, by(128, adam)),
        // Goal 84 %: 240,000.
        (&[784, 128, 10], 1536, by(128, sgd)),
        // Goal 82 %: 30,000.
        (&[784, 512, 512, 10], 1024, by(128, sgd)),
        // For orientation.
        (&[16, 64, 26], 1536, by(128, sgd)),
        (&[16, 192, 26], 1500, by(32, adam)),
        (&[784, 128, 10], 1536, by(32, adam)),
        // Sizes that divide by nothing.
        (&[17, 23, 37, 11, 5], 1111, by(37, adam)),
        (&[17, 23, 37, 11, 5], 1501, classic),
        (&[13, 67, 3], 1001, by(100, sgd)),
        (&[97, 131, 61, 29, 7], 1111, by(111, sgd)),
        (&[301, 203, 11], 999, by(37, sgd)),
    ];
    on_each_kernel(shapes)
}

/// With batches that two share.
fn large_shapes() -> impl Iterator<Item = Shape> {
    let [sgd, _, classic] = recipes();
    let shapes: [(&[u32], _, _); _] = [
        (&[16, 20, 26], 16_500, classic),
        (&[784, 128, 10], 4096, by(1024, sgd)),
        (&[17, 23, 37, 11, 5], 1501, classic),
    ];
    on_each_kernel(shapes).filter(|shape| shape.kernel != Kernel::PORTABLE)
}

/// In steps of merged gradients: a batch's blocks are the unit, and each one's gradient is added to the sum by itself.
fn stepwise_shapes() -> impl Iterator<Item = Shape> {
    let step = by(1024, Recipe { local_steps: Some(1), epochs: 1, ..recipes()[0] });
    let shapes: [&[u32]; _] = [&[16, 20, 26], &[16, 192, 26], &[784, 128, 10], &[784, 512, 512, 10]];
    on_each_kernel(shapes.map(|sizes| (sizes, 2048, step)))
}

/// Plain gradient descent, Adam, the classic recipe.
fn recipes() -> [Recipe; 3] {
    let sgd = Recipe { optimiser: Optimiser::Sgd, reduction: LossReduction::Mean, ..Recipe::DEFAULT };
    [sgd, Recipe::DEFAULT, Recipe { stop_loss_change: None, ..Recipe::CLASSIC }]
}

fn by(rows: u32, recipe: Recipe) -> Recipe {
    Recipe { batch: BatchSize::Rows(NonZeroU32::new(rows).expect("rows")), ..recipe }
}

fn on_each_kernel(shapes: impl IntoIterator<Item = (&'static [u32], u32, Recipe)>) -> impl Iterator<Item = Shape> {
    let of = |(sizes, rows, recipe)| Kernel::available().map(move |kernel| Shape { sizes, rows, recipe, kernel });
    shapes.into_iter().flat_map(of)
}

#[divan::bench(args = shapes())]
fn train(bencher: Bencher<'_, '_>, shape: &Shape) {
    train_with(Trainer::new(shape.kernel), bencher, shape);
}

#[divan::bench(name = "one worker", args = large_shapes())]
fn one_worker(bencher: Bencher<'_, '_>, shape: &Shape) {
    train_with(Trainer::new(shape.kernel), bencher, shape);
}

#[divan::bench(name = "two workers", args = large_shapes())]
fn two_workers(bencher: Bencher<'_, '_>, shape: &Shape) {
    train_with(Trainer::with_helpers(shape.kernel, HELP.helpers()), bencher, shape);
}

/// A task of all blocks of an epoch.
#[divan::bench(name = "sum gradients", args = stepwise_shapes())]
fn sum_gradients(bencher: Bencher<'_, '_>, shape: &Shape) {
    let (network, rows) = (shape.network(), shape.data());
    let base = initialise(&network, shape.recipe.initialisation, 1);
    let (flops, samples) = (flops_of_row(&network), u64::from(rows.rows()));
    let (mut trainer, mut sum) = (Trainer::new(shape.kernel), GradientSum::new(shape.kernel, network.parameters()));
    let BatchSize::Rows(batch_rows) = shape.recipe.batch else { return };
    let count = rows.rows().div_ceil(block_rows(&network, batch_rows.get()));
    let range = BlockRange { shard: 0, first: 0, count };
    let training =
        Training { arithmetic: ARITHMETIC, network, recipe: shape.recipe, seed: 1, class_weights: Vec::new() };
    let bencher = bencher.counter(ItemsCount::new(samples)).counter(CyclesCount::new(samples * flops));
    bencher.bench_local(|| {
        let ranges = [(range, &rows)];
        trainer
            .sum_gradients(&training, 0, &ranges, &base, &mut Unwatched, &mut sum)
            .expect("a task that can be trained");
    });
}

/// Forward, back, gradient: 2 operations for each weight, but none back into the input.
fn flops_of_row(network: &Network) -> u64 {
    network.layers().map(|layer| layer.weights() as u64 * if layer.offset == 0 { 4 } else { 6 }).sum()
}

impl Shape {
    fn network(&self) -> Network {
        let [inputs, hidden @ .., outputs] = self.sizes else { unreachable!("a shape has inputs and outputs") };
        Network::new(*inputs, hidden, *outputs).expect("a shape within the limits")
    }

    fn data(&self) -> Rows<'static> {
        let (inputs, classes) = (self.sizes[0], self.sizes[self.sizes.len() - 1]);
        let values: Vec<f32> = (0..self.rows * inputs).map(|i| (f64::from(i) * 0.7).sin() as f32).collect();
        let labels: Vec<u32> = (0..self.rows).map(|row| row * 7 % classes).collect();
        Rows::labelled(inputs, values, labels, classes).expect("rows as they should be")
    }
}

fn train_with(mut trainer: Trainer, bencher: Bencher<'_, '_>, shape: &Shape) {
    let (network, rows, recipe) = (shape.network(), shape.data(), shape.recipe);
    let base = initialise(&network, recipe.initialisation, 1);
    let flops = flops_of_row(&network);
    let mut train = |epochs| {
        let training = Training {
            arithmetic: ARITHMETIC,
            network: network.clone(),
            recipe: Recipe { epochs, ..recipe },
            seed: 1,
            class_weights: Vec::new(),
        };
        trainer.train(&training, 0, 0, &base, &rows, &mut Unwatched).expect("a task that can be trained")
    };
    let start = Instant::now();
    train(1);
    let epochs = (RUN.as_secs_f64() / start.elapsed().as_secs_f64()).clamp(1.0, 1000.0) as u32;
    let samples = u64::from(rows.rows()) * u64::from(epochs);
    let bencher = bencher.counter(ItemsCount::new(samples)).counter(CyclesCount::new(samples * flops));
    bencher.bench_local(|| train(epochs));
}

/// What the core could do if it did nothing but fused multiply-adds, of the instructions that a kernel uses.
#[divan::bench(args = Kernel::available().filter(|&kernel| common::chains::run(kernel).is_some()))]
fn peak(bencher: Bencher<'_, '_>, &kernel: &Kernel) {
    let flops = common::chains::run(kernel).expect("instructions of its own");
    bencher.counter(CyclesCount::new(flops)).bench_local(|| common::chains::run(kernel));
}
