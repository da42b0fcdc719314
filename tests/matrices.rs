//! One step of gradient descent, written with ndarray's matrices in f64: a check of the mathematics by other means than
//! our own loops. The bits are the business of `tests/arithmetic.rs`.
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::train::Unwatched;
use gradwire::model::{
    ARITHMETIC, BatchSize, Kernel, LossReduction, Metric, Network, Optimiser, Recipe, Rows, Trainer, Training,
    evaluate, initialise,
};
use ndarray::{Array2, ArrayView2, Axis, s};

const FEATURES: usize = 10;
const HIDDEN: usize = 12;
const CLASSES: usize = 5;
const ROWS: usize = 300;
const ETA: f64 = 0.1;

/// A layer's weights and bias, `[inputs + 1, outputs]`, the bias in the last row: as the flat parameters have them.
fn layer(parameters: &[f32], inputs: usize, outputs: usize) -> Array2<f64> {
    ArrayView2::from_shape((inputs + 1, outputs), parameters).unwrap().mapv(f64::from)
}

fn apply(x: &Array2<f64>, layer: &Array2<f64>) -> Array2<f64> {
    let inputs = layer.nrows() - 1;
    x.dot(&layer.slice(s![..inputs, ..])) + layer.row(inputs)
}

/// The gradient of a layer's weights and bias.
fn gradient(x: &Array2<f64>, d: &Array2<f64>) -> Vec<f64> {
    x.t().dot(d).into_iter().chain(d.sum_axis(Axis(0))).collect()
}

#[test]
fn a_step_of_gradient_descent_is_what_matrices_say() {
    let mut stream = Stream::new(Purpose::Split, 3, [1; 3]);
    let values: Vec<f32> = (0..ROWS * FEATURES).map(|_| stream.symmetric(2.0)).collect();
    let labels: Vec<u32> = (0..ROWS).map(|_| stream.below(CLASSES as u32)).collect();
    let x = ArrayView2::from_shape((ROWS, FEATURES), &values).unwrap().mapv(f64::from);
    let network = Network::new(FEATURES as u32, &[HIDDEN as u32], CLASSES as u32).unwrap();
    let recipe = Recipe {
        optimiser: Optimiser::Sgd,
        reduction: LossReduction::Mean,
        batch: BatchSize::Full,
        eta: ETA as f32,
        epochs: 1,
        ..Recipe::DEFAULT
    };
    let base = initialise(&network, recipe.initialisation, 3);

    let (first, second) = base.split_at((FEATURES + 1) * HIDDEN);
    let (first, second) = (layer(first, FEATURES, HIDDEN), layer(second, HIDDEN, CLASSES));
    let hidden = apply(&x, &first).mapv(|z| z.max(0.0));
    let mut d = apply(&hidden, &second).mapv(f64::exp);
    let mut loss = 0.0;
    for (mut row, label) in d.rows_mut().into_iter().zip(&labels) {
        let sum = row.sum();
        row /= sum;
        loss -= row[*label as usize].ln();
        row[*label as usize] -= 1.0;
    }
    d /= ROWS as f64;
    let mut carried = d.dot(&second.slice(s![..HIDDEN, ..]).t());
    carried.zip_mut_with(&hidden, |d, h| *d = if *h > 0.0 { *d } else { 0.0 });
    let expected = gradient(&x, &carried).into_iter().chain(gradient(&hidden, &d)).map(|gradient| -ETA * gradient);

    let rows = Rows::labelled(FEATURES as u32, values, labels, CLASSES as u32).unwrap();
    let before = evaluate(Kernel::best(), &network, &recipe, &base, &rows).unwrap().sum(Metric::Loss);
    assert!((before - loss).abs() < 1e-3, "{} and {loss}", before);
    let training = Training { arithmetic: ARITHMETIC, network, recipe, seed: 3, class_weights: Vec::new() };
    let trained = Trainer::new(Kernel::best()).train(&training, 0, 0, &base, &rows, &mut Unwatched).unwrap();
    for (index, (ours, theirs)) in trained.update.iter().zip(expected).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() < 1e-6, "parameter {index}: {ours} and {theirs}");
    }
}
