//! Whether training slows down while a model comes to fit its data: the same task from the weights of the first round and
//! from those of a late one, in turn, for the shapes in which subnormal numbers are looked for.
//!
//! `cargo bench --bench late [-- WORD]`: only shapes with this word in their line. Ends with exit code 1 if a late task takes
//! more than 1.1 times as long as an early one. The fastest of many runs counts, because other work on the machine only ever
//! makes one longer. No divan here: it times one thing after the other, and this is a ratio of two that are timed in turn.

mod common;

use common::shapes::{ADAM, Data, NARROW, Shape, WIDE, by, merged, rows, training};
use gradwire::model::train::Unwatched;
use gradwire::model::{BatchSize, Kernel, Recipe, Rows, Trainer, Training, initialise};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Rounds until it is late.
const LATE: u64 = 400;
/// About how long one run takes: short enough to fall between two turns of another process.
const RUN: Duration = Duration::from_millis(2);
/// Runs of each of the two.
const RUNS: u32 = 40;
/// How often a shape that misses is measured.
const ATTEMPTS: u32 = 4;
/// What a late task may take, of an early one.
const RATIO_MAX: f64 = 1.1;

/// The shapes that were measured first, on a processor on which they were up to 21 times slower late, and those that peers
/// are measured with.
const MEASURED: [Shape; 4] = [
    Shape { sizes: &[16, 192, 26], rows: 1536, data: Data::Easy, recipe: ADAM },
    Shape { sizes: &[20, 100], rows: 500, data: Data::Easy, recipe: ADAM },
    Shape { sizes: &[16, 64, 26], rows: 512, data: Data::Easy, recipe: Recipe { batch: by(8), eta: 0.05, ..ADAM } },
    Shape { sizes: &[16, 64, 26], rows: 1536, data: Data::Easy, recipe: Recipe { batch: by(128), ..ADAM } },
];

fn main() -> ExitCode {
    common::processes::pin_this_thread();
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "on {}, kernel {}", common::processor::processor(), Kernel::best());
    let _ = writeln!(out, "{:58} {:>9} {:>9} {:>6} {:>10}", "shape", "early us", "late us", "ratio", "late k/s");
    let (mut measured, mut worst) = (0, 0.0f64);
    for shape in MEASURED.iter().chain(&NARROW).chain(&WIDE) {
        let name = name(shape);
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted)) {
            continue;
        }
        measured += 1;
        let ratio = |(early, late): (Duration, Duration)| late.as_secs_f64() / early.as_secs_f64();
        let mut times = measure(shape);
        // Other work may have met every run of one of the two.
        for _ in 1..ATTEMPTS {
            if ratio(times) > RATIO_MAX {
                let again = measure(shape);
                times = (times.0.min(again.0), times.1.min(again.1));
            }
        }
        let (ratio, (early, late)) = (ratio(times), times);
        worst = worst.max(ratio);
        let word = if ratio <= RATIO_MAX { "" } else { "  MISSED" };
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let speed = f64::from(shape.rows) / late.as_secs_f64() / 1e3;
        let _ = writeln!(out, "{name:58} {:>9.1} {:>9.1} {ratio:>6.3} {speed:>10.1}{word}", us(early), us(late));
    }
    if measured == 0 {
        eprintln!("no shape has this in its name");
        return ExitCode::FAILURE;
    }
    let word = if worst <= RATIO_MAX { "ok" } else { "MISSED" };
    let _ = writeln!(out, "{measured} shapes; the largest ratio is {worst:.3}, at most {RATIO_MAX}: {word}");
    if worst <= RATIO_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn name(Shape { sizes, rows, data, recipe }: &Shape) -> String {
    let sizes = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join("-");
    let batch = match recipe.batch {
        BatchSize::Full => "all".to_owned(),
        BatchSize::Rows(rows) => format!("by {rows}"),
    };
    format!("{sizes} {rows} rows {batch} {:?} {:?} {data:?}", recipe.optimiser, recipe.activation).to_lowercase()
}

/// What an epoch takes early and late in training, in the fastest run.
fn measure(shape: &Shape) -> (Duration, Duration) {
    let (mut training, rows) = (training(shape), rows(shape));
    let mut trainer = Trainer::new(Kernel::best());
    let first = initialise(&training.network, training.recipe.initialisation, training.seed);
    let mut late = first.clone();
    for round in 0..LATE {
        late = merged(&late, &trained(&mut trainer, &training, round, &late, &rows));
    }
    // The same number of epochs for both, at a rate at which they leave the weights about where they are.
    let start = Instant::now();
    trained(&mut trainer, &training, LATE, &first, &rows);
    let epochs = RUN.as_secs_f64() / start.elapsed().as_secs_f64() * f64::from(training.recipe.epochs);
    training.recipe.epochs = (epochs as u32).clamp(1, 200);
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..RUNS {
        for (weights, fastest) in [&first, &late].into_iter().zip(&mut fastest) {
            let start = Instant::now();
            trained(&mut trainer, &training, LATE, weights, &rows);
            *fastest = start.elapsed().min(*fastest);
        }
    }
    let epochs = training.recipe.epochs;
    (fastest[0] / epochs, fastest[1] / epochs)
}

fn trained(trainer: &mut Trainer, training: &Training, round: u64, base: &[f32], rows: &Rows) -> Vec<f32> {
    let trained = trainer.train(training, round, 0, base, rows, &mut Unwatched);
    trained.unwrap_or_else(|error| panic!("{} does not train: {error}", training.network)).update
}
