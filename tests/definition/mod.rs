//! Arithmetic 1 as protocol.md defines it, in plain loops over single numbers: an oracle that shares no code with
//! `gradwire::model` but the random streams and the shape of a network. Slow, and meant to be read beside the definition.

use gradwire::job::Training;
use gradwire::model::random::{Purpose, Stream};
use gradwire::model::{Activation, BatchSize, LossReduction, Network, Optimiser, Recipe, Rows};

fn fma(a: f32, b: f32, c: f32) -> f32 {
    a.mul_add(b, c)
}

pub fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return f32::NAN;
    }
    if x > 88.722_84 {
        return f32::INFINITY;
    }
    if x < -87.336_54 {
        return 0.0;
    }
    let shift = f32::from_bits(0x4b40_0000);
    let shifted = fma(x, f32::from_bits(0x3fb8_aa3b), shift);
    let n = shifted - shift;
    let r = fma(n, f32::from_bits(0xb5bf_be8e), fma(n, f32::from_bits(0xbf31_7200), x));
    let q = [0x3ab6_88a0, 0x3c09_05d2, 0x3d2a_aa8c, 0x3e2a_aa6e, 0x3f00_0000]
        .map(f32::from_bits)
        .into_iter()
        .reduce(|q, coefficient| fma(q, r, coefficient))
        .unwrap();
    let fraction = 1.0 + fma(q, r * r, r);
    // By repeated doubling and halving, where the program assembles exponents: exact either way but for the last step.
    let n = n as i32;
    let half = n.div_euclid(2);
    fraction * 2f64.powi(half) as f32 * 2f64.powi(n - half) as f32
}

pub fn ln(x: f32) -> f32 {
    if x.is_nan() || x < 0.0 {
        return f32::NAN;
    }
    if x < f32::MIN_POSITIVE {
        return f32::NEG_INFINITY;
    }
    if x == f32::INFINITY {
        return x;
    }
    let (mut mantissa, mut exponent) = (f64::from(x), 0);
    let root = f64::from(f32::from_bits(0x3f35_04f3));
    while mantissa >= 2.0 * root {
        mantissa /= 2.0;
        exponent += 1;
    }
    while mantissa < root {
        mantissa *= 2.0;
        exponent -= 1;
    }
    let (f, e) = (mantissa as f32 - 1.0, exponent as f32);
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let t1 = w * fma(w, f32::from_bits(0x3e78_9e26), f32::from_bits(0x3ecc_ce13));
    let t2 = z * fma(w, f32::from_bits(0x3e91_e9ee), f32::from_bits(0x3f2a_aaaa));
    let h = 0.5 * f * f;
    fma(e, f32::from_bits(0x3f31_7180), fma(s, h + (t1 + t2), e * f32::from_bits(0x3717_f7d1)) - h + f)
}

/// A layer's weight from input i to output j is `w[i][j]`; the bias is the last row.
type LayerWeights = Vec<Vec<f32>>;

fn unflatten(network: &Network, parameters: &[f32]) -> Vec<LayerWeights> {
    let layer = |layer: gradwire::model::Layer| {
        let flat = &parameters[layer.offset..layer.bias_offset() + layer.outputs];
        flat.chunks(layer.outputs).map(<[f32]>::to_vec).collect()
    };
    network.layers().map(layer).collect()
}

/// What comes into each layer for one row, and the logits last.
fn forward(layers: &[LayerWeights], activation: Activation, x: &[f32]) -> Vec<Vec<f32>> {
    let mut values = vec![x.to_vec()];
    for (index, weights) in layers.iter().enumerate() {
        let (bias, weights) = weights.split_last().unwrap();
        let input = values.last().unwrap();
        let mut sums = bias.clone();
        for (j, sum) in sums.iter_mut().enumerate() {
            for (i, x) in input.iter().enumerate() {
                *sum = fma(*x, weights[i][j], *sum);
            }
            if index + 1 < layers.len() && activation == Activation::Relu {
                *sum = if *sum > 0.0 { *sum } else { 0.0 };
            }
        }
        values.push(sums);
    }
    values
}

/// (the row's loss, the derivatives by its logits)
fn softmax(logits: &[f32], label: usize, scale: f32, log_epsilon: f32) -> (f64, Vec<f32>) {
    let largest = logits.iter().copied().reduce(|m, z| if z > m { z } else { m }).unwrap();
    let exponentials: Vec<f32> = logits.iter().map(|z| exp(z - largest)).collect();
    let mut partials = [0f32; 4];
    for (j, e) in exponentials.iter().enumerate() {
        partials[j % 4] += e;
    }
    let total = (partials[0] + partials[2]) + (partials[1] + partials[3]);
    let loss = if log_epsilon == 0.0 {
        f64::from(ln(total)) - f64::from(logits[label] - largest)
    } else {
        -f64::from(ln(exponentials[label] / total + log_epsilon))
    };
    let mut derivatives: Vec<f32> = exponentials.iter().map(|e| e * (scale / total)).collect();
    derivatives[label] -= scale;
    (loss, derivatives)
}

/// Level by level, neighbours added, an odd last one unchanged.
fn tree<T>(mut blocks: Vec<T>, add: impl Fn(&T, &T) -> T) -> T {
    while blocks.len() > 1 {
        let mut above = Vec::new();
        let mut pairs = blocks.into_iter();
        while let Some(first) = pairs.next() {
            above.push(match pairs.next() {
                Some(second) => add(&first, &second),
                None => first,
            });
        }
        blocks = above;
    }
    blocks.remove(0)
}

/// The sum over a block's rows of `x[row] * d[row]`, in the order that a layer of so many weights has.
fn row_sum(x: &[f32], d: &[f32], weights: usize) -> f32 {
    let pairs = x.iter().zip(d);
    if weights > 4096 {
        return pairs.fold(0.0, |sum, (x, d)| fma(*x, *d, sum));
    }
    let mut lanes = [0f32; 8];
    for (row, (x, d)) in pairs.enumerate() {
        lanes[row % 8] = fma(*x, *d, lanes[row % 8]);
    }
    for missing in x.len()..x.len().next_multiple_of(8) {
        lanes[missing % 8] = fma(0.0, 0.0, lanes[missing % 8]);
    }
    for distance in [4, 2, 1] {
        for k in 0..distance {
            lanes[k] += lanes[k + distance];
        }
    }
    lanes[0]
}

/// (loss, gradient of the flat parameters) of a batch
fn batch(training: &Training, parameters: &[f32], rows: &Rows<'_>, order: &[usize]) -> (f64, Vec<f32>) {
    let Recipe { activation, reduction, log_epsilon, .. } = training.recipe;
    let layers = unflatten(&training.network, parameters);
    let features = rows.features() as usize;
    let scale = match reduction {
        LossReduction::Sum => 1.0,
        LossReduction::Mean => 1.0 / order.len() as f32,
    };
    let block = |block: &[usize]| {
        // inputs[layer][row][i] and derivatives[layer][row][j]
        let mut inputs = vec![Vec::new(); layers.len()];
        let mut derivatives = vec![Vec::new(); layers.len()];
        let mut loss = 0.0;
        for &row in block {
            let values = forward(&layers, activation, &rows.values()[row * features..][..features]);
            let label = rows.labels()[row] as usize;
            let (row_loss, mut d) = softmax(values.last().unwrap(), label, scale, log_epsilon);
            loss += row_loss;
            for (index, weights) in layers.iter().enumerate().rev() {
                let mut below = Vec::new();
                for (i, value) in values[index].iter().enumerate() {
                    let sum = weights[i].iter().zip(&d).fold(0.0, |sum, (w, d)| fma(*w, *d, sum));
                    let passes = match activation {
                        Activation::Relu => *value > 0.0,
                        Activation::MaskedIdentity => *value >= 0.0,
                        Activation::Identity => true,
                    };
                    below.push(if passes { sum } else { 0.0 });
                }
                inputs[index].push(values[index].clone());
                derivatives[index].push(std::mem::replace(&mut d, below));
            }
        }
        let mut gradient = Vec::new();
        for layer in training.network.layers() {
            let (x, d) = (inputs.remove(0), derivatives.remove(0));
            let column = |rows: &[Vec<f32>], index: usize| rows.iter().map(|row| row[index]).collect::<Vec<f32>>();
            for i in 0..=layer.inputs {
                let x = if i < layer.inputs { column(&x, i) } else { vec![1.0; d.len()] };
                for j in 0..layer.outputs {
                    gradient.push(row_sum(&x, &column(&d, j), layer.weights()));
                }
            }
        }
        (loss, gradient)
    };
    tree(order.chunks(128).map(block).collect(), |a, b| (a.0 + b.0, a.1.iter().zip(&b.1).map(|(a, b)| a + b).collect()))
}

/// (update, loss, epochs)
pub fn train(training: &Training, step: u64, shard: u32, base: &[f32], rows: &Rows<'_>) -> (Vec<f32>, f64, u32) {
    let recipe = training.recipe;
    let mut eta = f64::from(recipe.eta);
    for _ in 0..step {
        eta *= f64::from(recipe.eta_decay);
    }
    let eta = eta as f32;
    let mut weights = base.to_vec();
    let (mut m, mut v) = (vec![0f32; base.len()], vec![0f32; base.len()]);
    let (mut power1, mut power2) = (1f64, 1f64);
    let mut update = |weights: &mut [f32], gradient: &[f32]| {
        power1 *= 0.9;
        power2 *= 0.999;
        let (c1, c2) = ((1.0 / (1.0 - power1)) as f32, (1.0 / (1.0 - power2)) as f32);
        for (index, g) in gradient.iter().copied().enumerate() {
            match recipe.optimiser {
                Optimiser::Sgd => weights[index] = fma(-eta, g, weights[index]),
                Optimiser::Adam => {
                    m[index] = fma(0.9, m[index] - g, g);
                    v[index] = fma(0.999, v[index], ((1.0 - 0.999f32) * g) * g);
                    weights[index] -= (eta * (m[index] * c1)) / ((v[index] * c2).sqrt() + 1e-8);
                }
            }
        }
    };
    let in_order: Vec<usize> = (0..rows.rows() as usize).collect();
    let (mut loss, mut epochs) = (0.0, 0);
    for epoch in 0..recipe.epochs {
        epochs = epoch + 1;
        match recipe.batch {
            BatchSize::Full => {
                let (before, gradient) = batch(training, &weights, rows, &in_order);
                update(&mut weights, &gradient);
                loss = before;
                if let Some(change) = recipe.stop_loss_change {
                    loss = batch(training, &weights, rows, &in_order).0;
                    if (before - loss).abs() <= f64::from(change) {
                        break;
                    }
                }
            }
            BatchSize::Rows(size) => {
                let mut order = in_order.clone();
                let indices = [step, u64::from(shard), u64::from(epoch)];
                Stream::new(Purpose::Shuffle, training.seed, indices).shuffle(&mut order);
                loss = 0.0;
                for order in order.chunks(size.get() as usize) {
                    let (of_batch, gradient) = batch(training, &weights, rows, order);
                    loss += of_batch;
                    update(&mut weights, &gradient);
                }
            }
        }
    }
    (weights.iter().zip(base).map(|(trained, base)| trained - base).collect(), loss, epochs)
}

/// (errors, loss)
pub fn evaluate(training: &Training, parameters: &[f32], rows: &Rows<'_>) -> (u64, f64) {
    let layers = unflatten(&training.network, parameters);
    let mut errors = 0;
    let mut block_losses = Vec::new();
    let all = rows.values().chunks(rows.features() as usize).zip(rows.labels()).collect::<Vec<_>>();
    for block in all.chunks(128) {
        let mut block_loss = 0.0;
        for (x, label) in block {
            let values = forward(&layers, training.recipe.activation, x);
            let logits = values.last().unwrap();
            let best =
                (0..logits.len()).rev().reduce(|best, j| if logits[j] >= logits[best] { j } else { best }).unwrap();
            errors += u64::from(best != **label as usize);
            block_loss += softmax(logits, **label as usize, 1.0, training.recipe.log_epsilon).0;
        }
        block_losses.push(block_loss);
    }
    (errors, tree(block_losses, |a, b| a + b))
}
