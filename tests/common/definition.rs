//! Arithmetic 2 as docs/arithmetic.md defines it, in plain loops over single numbers: an oracle that shares no code with
//! `gradwire::model` but the random streams and the shape of a network. Slow, and meant to be read beside the definition.
//!
//! Every f32 operation goes through [`Definition`], so that a meter sees its operands and its result. The thresholds of the
//! definition are values, so that a test can see what each of them is for.

mod inputs;
pub mod steps;

use gradwire::model::random::{Purpose, Stream};
use gradwire::model::{
    Activation, BatchSize, Layer, Loss, LossReduction, Metric, Metrics, Network, Optimiser, Outer, OuterOptimiser,
    Recipe, Rows, Schedule, Targets, Training,
};
use inputs::inputs_of;

/// Sees the operands and the result of every f32 operation.
pub trait Meter {
    fn see(&mut self, operands: &[f32], result: f32);
}

/// Does not look.
impl Meter for () {
    fn see(&mut self, _operands: &[f32], _result: f32) {}
}

/// What is taken for +0 below it.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub input: f32,
    pub target: f32,
    pub difference: f32,
    pub weight: f32,
    pub output: f32,
    pub exp_argument: f32,
    pub probability: f32,
    pub weighted: f32,
    pub derivative: f32,
    pub gradient: f32,
    pub velocity: f32,
    pub first_moment: f32,
    pub second_moment: f32,
    pub step: f32,
    pub sgd_rate: f32,
    pub adam_rate: f32,
    /// Adam's betas from which its moments fade so slowly that every 64th update suffices to cut them.
    pub slow_betas: [f64; 2],
}

impl Thresholds {
    /// Those of arithmetic 2.
    pub const DEFINED: Thresholds = Thresholds {
        input: VALUE,
        target: VALUE,
        difference: VALUE,
        weight: VALUE,
        output: VALUE,
        exp_argument: -41.5,
        probability: VALUE,
        weighted: VALUE,
        derivative: VALUE,
        gradient: 1.110_223e-16,
        velocity: 1.355_252_7e-20,
        first_moment: 1.355_252_7e-20,
        second_moment: 7.523_164e-37,
        step: VALUE,
        sgd_rate: 8.673_617_4e-19,
        adam_rate: VALUE,
        slow_betas: [0.9, 0.95],
    };
}

/// 2^-40.
const VALUE: f32 = 9.094_947e-13;

fn cut(value: f32, least: f32) -> f32 {
    if value.abs() < least { 0.0 } else { value }
}

/// Level by level, neighbours added, an odd last one unchanged.
fn tree<T>(mut blocks: Vec<T>, mut add: impl FnMut(&T, &T) -> T) -> T {
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

/// The definition with these thresholds, under this meter.
pub struct Definition<M> {
    pub thresholds: Thresholds,
    pub meter: M,
}

/// What one layer takes in and what it is told on the way back, for each row of a block.
struct Trace {
    inputs: Vec<Vec<f32>>,
    derivatives: Vec<Vec<f32>>,
}

impl<M: Meter> Definition<M> {
    fn seen(&mut self, operands: &[f32], result: f32) -> f32 {
        self.meter.see(operands, result);
        result
    }

    fn fma(&mut self, a: f32, b: f32, c: f32) -> f32 {
        self.seen(&[a, b, c], a.mul_add(b, c))
    }

    fn plus(&mut self, a: f32, b: f32) -> f32 {
        self.seen(&[a, b], a + b)
    }

    fn minus(&mut self, a: f32, b: f32) -> f32 {
        self.seen(&[a, b], a - b)
    }

    fn times(&mut self, a: f32, b: f32) -> f32 {
        self.seen(&[a, b], a * b)
    }

    fn over(&mut self, a: f32, b: f32) -> f32 {
        self.seen(&[a, b], a / b)
    }

    fn root(&mut self, a: f32) -> f32 {
        self.seen(&[a], a.sqrt())
    }

    /// (n, r, q) of a number up to 0: e to it is 2^n (1 + q r).
    fn exp_parts(&mut self, x: f32) -> (f32, f32, f32) {
        let shift = f32::from_bits(0x4b40_0000);
        let shifted = self.fma(x, f32::from_bits(0x3fb8_aa3b), shift);
        let n = self.minus(shifted, shift);
        let r = self.fma(n, f32::from_bits(0xbf31_7200), x);
        let r = self.fma(n, f32::from_bits(0xb5bf_be8e), r);
        let mut q = f32::from_bits(0x3ab6_88a0);
        for term in [0x3c09_05d2, 0x3d2a_aa8c, 0x3e2a_aa6e, 0x3f00_0000, 0x3f80_0000] {
            q = self.fma(q, r, f32::from_bits(term));
        }
        (n, r, q)
    }

    /// Of numbers up to 0.
    fn exp(&mut self, x: f32) -> f32 {
        if x.is_nan() {
            return f32::NAN;
        }
        if x < self.thresholds.exp_argument {
            return 0.0;
        }
        let (n, r, q) = self.exp_parts(x);
        let p = self.fma(q, r, 1.0);
        // By repeated halving, where the program assembles an exponent.
        let result = (f64::from(p) * 2f64.powi(n as i32)) as f32;
        self.seen(&[p], result)
    }

    /// Of a hidden layer's sum that has been cut.
    fn tanh(&mut self, s: f32) -> f32 {
        if s.is_nan() {
            return f32::NAN;
        }
        let z = self.times(-2.0, s.abs());
        let m = if z < self.thresholds.exp_argument {
            -1.0
        } else {
            let (n, r, q) = self.exp_parts(z);
            let power = 2f64.powi(n as i32) as f32;
            let product = self.times(q, r);
            let product = self.times(product, power);
            let rest = self.minus(power, 1.0);
            self.plus(product, rest)
        };
        let divisor = self.plus(2.0, m);
        let tangent = self.over(-m, divisor);
        cut(if s < 0.0 { -tangent } else { tangent }, self.thresholds.output)
    }

    fn ln(&mut self, x: f32) -> f32 {
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
        let e = exponent as f32;
        let f = self.minus(mantissa as f32, 1.0);
        let divisor = self.plus(2.0, f);
        let s = self.over(f, divisor);
        let z = self.times(s, s);
        let w = self.times(z, z);
        let odd = self.fma(w, f32::from_bits(0x3e78_9e26), f32::from_bits(0x3ecc_ce13));
        let odd = self.times(w, odd);
        let even = self.fma(w, f32::from_bits(0x3e91_e9ee), f32::from_bits(0x3f2a_aaaa));
        let even = self.times(z, even);
        let r = self.plus(odd, even);
        let half = self.times(0.5, f);
        let h = self.times(half, f);
        let lower = self.times(e, f32::from_bits(0x3717_f7d1));
        let sum = self.plus(h, r);
        let tail = self.fma(s, sum, lower);
        let tail = self.minus(tail, h);
        let tail = self.plus(tail, f);
        self.fma(e, f32::from_bits(0x3f31_7180), tail)
    }

    /// What comes into each layer for one row, and the logits last.
    fn forward(&mut self, network: &Network, activation: Activation, parameters: &[f32], x: &[f32]) -> Vec<Vec<f32>> {
        self.forward_with(network, activation, parameters, x, &[]).0
    }

    /// The same with outputs of hidden layers multiplied by factors, where there are some; and what those were before.
    fn forward_with(
        &mut self,
        network: &Network,
        activation: Activation,
        parameters: &[f32],
        x: &[f32],
        factors: &[Vec<f32>],
    ) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let least = self.thresholds.output;
        let mut undropped = Vec::new();
        let mut values = vec![x.to_vec()];
        for Layer { inputs, outputs, offset } in network.layers() {
            let is_last = values.len() == network.layers().count();
            let (weights, bias) = parameters[offset..][..(inputs + 1) * outputs].split_at(inputs * outputs);
            let mut sums = bias.to_vec();
            for (x, weights) in values.last().unwrap().iter().zip(weights.chunks(outputs)) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum = self.fma(*x, *weight, *sum);
                }
            }
            for sum in &mut sums {
                *sum = match activation {
                    _ if is_last => *sum,
                    Activation::Relu if *sum < least => 0.0,
                    // Taken out, the threshold is Relu's own 0.
                    Activation::Relu => {
                        if *sum < 0.0 {
                            0.0
                        } else {
                            *sum
                        }
                    }
                    Activation::Identity | Activation::MaskedIdentity => cut(*sum, least),
                    Activation::Tanh => self.tanh(cut(*sum, least)),
                };
            }
            if !is_last {
                undropped.push(sums.clone());
                for (sum, factor) in sums.iter_mut().zip(factors.get(values.len() - 1).into_iter().flatten()) {
                    *sum = if *factor == 0.0 { 0.0 } else { self.times(*sum, *factor) };
                }
            }
            values.push(sums);
        }
        (values, undropped)
    }

    /// (the row's loss, the derivatives by its logits)
    pub fn softmax(&mut self, logits: &[f32], label: usize, log_epsilon: f32) -> (f64, Vec<f32>) {
        let largest = logits.iter().copied().reduce(|m, z| if z > m { z } else { m }).unwrap();
        let mut partials = [0f32; 4];
        let mut exponentials = Vec::new();
        for (j, z) in logits.iter().enumerate() {
            let distance = self.minus(*z, largest);
            let e = self.exp(distance);
            partials[j % 4] = self.plus(partials[j % 4], e);
            exponentials.push(e);
        }
        let (even, odd) = (self.plus(partials[0], partials[2]), self.plus(partials[1], partials[3]));
        let total = self.plus(even, odd);
        let loss = if log_epsilon == 0.0 {
            f64::from(self.ln(total)) - f64::from(self.minus(logits[label], largest))
        } else {
            let probability = self.over(exponentials[label], total);
            let shifted = self.plus(probability, log_epsilon);
            -f64::from(self.ln(shifted))
        };
        let factor = self.over(1.0, total);
        let least = self.thresholds.probability;
        let mut derivatives: Vec<f32> = exponentials.iter().map(|e| cut(self.times(*e, factor), least)).collect();
        derivatives[label] = self.minus(derivatives[label], 1.0);
        (loss, derivatives)
    }

    /// The derivatives of a row in training by a smoothed label.
    fn smoothed(&mut self, smoothing: f32, targets: &Targets, row: usize, derivatives: Vec<f32>) -> Vec<f32> {
        if smoothing == 0.0 {
            return derivatives;
        }
        let share = self.over(smoothing, derivatives.len() as f32);
        let label = targets.labels()[row] as usize;
        let mut smoothed: Vec<f32> = derivatives.into_iter().map(|d| self.minus(d, share)).collect();
        smoothed[label] = self.plus(smoothed[label], smoothing);
        smoothed
    }

    /// The derivatives of a row in training: weighted by its class, where classes have weights.
    fn weighted(&mut self, class_weights: &[f32], targets: &Targets, row: usize, derivatives: Vec<f32>) -> Vec<f32> {
        if class_weights.is_empty() {
            return derivatives;
        }
        let weight = class_weights[targets.labels()[row] as usize];
        let least = self.thresholds.weighted;
        derivatives.into_iter().map(|d| cut(self.times(d, weight), least)).collect()
    }

    /// (the row's loss, the derivatives by its outputs)
    fn compare(&mut self, outputs: &[f32], targets: &Targets, row: usize, recipe: &Recipe) -> (f64, Vec<f32>) {
        match targets {
            Targets::Labels { labels, .. } => self.softmax(outputs, labels[row] as usize, recipe.log_epsilon),
            Targets::Values { values, width } if recipe.loss == Loss::Huber => {
                let (width, delta) = (*width as usize, recipe.huber_delta);
                let differences = self.differences(outputs, &values[row * width..][..width]);
                let mut loss = 0.0;
                for d in &differences {
                    let (d, delta) = (f64::from(*d), f64::from(delta));
                    loss += if d.abs() > delta { delta * (d.abs() - 0.5 * delta) } else { 0.5 * (d * d) };
                }
                (
                    loss,
                    differences
                        .into_iter()
                        .map(|d| {
                            if d > delta {
                                delta
                            } else if d < -delta {
                                -delta
                            } else {
                                d
                            }
                        })
                        .collect(),
                )
            }
            Targets::Values { values, width } => {
                let width = *width as usize;
                let differences = self.differences(outputs, &values[row * width..][..width]);
                let squares = differences.iter().fold(0.0, |sum, d| sum + f64::from(*d) * f64::from(*d));
                (squares / 2.0, differences)
            }
        }
    }

    fn differences(&mut self, outputs: &[f32], targets: &[f32]) -> Vec<f32> {
        let Thresholds { target, difference, .. } = self.thresholds;
        outputs.iter().zip(targets).map(|(y, t)| cut(self.minus(*y, cut(*t, target)), difference)).collect()
    }

    /// The sum over a block's rows of `x[row] * d[row]`, in the order that a layer of so many weights has.
    fn row_sum(&mut self, x: impl Fn(usize) -> f32, d: impl Fn(usize) -> f32, rows: usize, weights: usize) -> f32 {
        if weights > 4096 {
            return (0..rows).fold(0.0, |sum, row| self.fma(x(row), d(row), sum));
        }
        let mut lanes = [0f32; 8];
        for row in 0..rows {
            lanes[row % 8] = self.fma(x(row), d(row), lanes[row % 8]);
        }
        for missing in rows..rows.next_multiple_of(8) {
            lanes[missing % 8] = self.fma(0.0, 0.0, lanes[missing % 8]);
        }
        for distance in [4, 2, 1] {
            for k in 0..distance {
                lanes[k] = self.plus(lanes[k], lanes[k + distance]);
            }
        }
        lanes[0]
    }

    /// (loss, gradient of the flat parameters) of a block
    #[expect(clippy::needless_range_loop, reason = "the definition's own indices")]
    fn block(
        &mut self,
        training: &Training,
        parameters: &[f32],
        rows: (&[f32], &Targets),
        block: &[usize],
        way: Way,
    ) -> (f64, Vec<f32>) {
        let Recipe { activation, .. } = training.recipe;
        let layers: Vec<Layer> = training.network.layers().collect();
        let (values, targets) = rows;
        let features = training.network.inputs() as usize;
        let mut traces: Vec<Trace> =
            layers.iter().map(|_| Trace { inputs: Vec::new(), derivatives: Vec::new() }).collect();
        let mut loss = 0.0;
        for &row in block {
            let x = self.inputs(&values[row * features..][..features]);
            let factors = factors(training, way, row);
            let (mut layers_in, mut before) =
                self.forward_with(&training.network, activation, parameters, &x, &factors);
            let logits = layers_in.pop().unwrap();
            let (row_loss, d) = self.compare(&logits, targets, row, &training.recipe);
            let d = self.smoothed(training.recipe.label_smoothing, targets, row, d);
            let mut d = self.weighted(&training.class_weights, targets, row, d);
            loss += row_loss;
            for (index, layer) in layers.iter().enumerate().rev() {
                let inputs = layers_in.pop().unwrap();
                let mut below = Vec::new();
                if index > 0 {
                    let undropped = before.pop().unwrap();
                    for (i, value) in inputs.iter().enumerate() {
                        let factor = factors.get(index - 1).map_or(1.0, |factors| factors[i]);
                        let weights = &parameters[layer.offset + i * layer.outputs..][..layer.outputs];
                        let sum = weights.iter().zip(&d).fold(0.0, |sum, (w, d)| self.fma(*w, *d, sum));
                        let least = self.thresholds.derivative;
                        let passes = match activation {
                            Activation::Relu => *value > 0.0,
                            Activation::MaskedIdentity => *value >= 0.0,
                            Activation::Identity | Activation::Tanh => true,
                        };
                        let mut derivative = if passes { cut(sum, least) } else { 0.0 };
                        if factor == 0.0 {
                            derivative = 0.0;
                        } else if factor != 1.0 {
                            derivative = self.times(derivative, factor);
                        }
                        if activation == Activation::Tanh {
                            let y = undropped[i];
                            let slope = self.fma(-y, y, 1.0);
                            derivative = cut(self.times(derivative, slope), least);
                        }
                        below.push(derivative);
                    }
                }
                traces[index].inputs.push(inputs);
                traces[index].derivatives.push(std::mem::replace(&mut d, below));
            }
        }
        let mut gradient = Vec::new();
        for (Trace { inputs, derivatives }, layer) in traces.iter().zip(&layers) {
            for i in 0..=layer.inputs {
                let x = |row: usize| if i < layer.inputs { inputs[row][i] } else { 1.0 };
                for j in 0..layer.outputs {
                    gradient.push(self.row_sum(x, |row| derivatives[row][j], block.len(), layer.weights()));
                }
            }
        }
        (loss, gradient)
    }

    /// (loss, gradient of the flat parameters) of a batch, both summed over its rows
    fn batch(
        &mut self,
        training: &Training,
        parameters: &[f32],
        rows: (&[f32], &Targets),
        order: &[usize],
        way: Way,
    ) -> (f64, Vec<f32>) {
        let blocks: Vec<_> =
            order.chunks(128).map(|block| self.block(training, parameters, rows, block, way)).collect();
        tree(blocks, |a, b| (a.0 + b.0, a.1.iter().zip(&b.1).map(|(a, b)| self.plus(*a, *b)).collect()))
    }

    fn inputs(&self, values: &[f32]) -> Vec<f32> {
        values.iter().map(|value| cut(*value, self.thresholds.input)).collect()
    }

    /// The weights of round 0 that given ones come to.
    pub fn start_from(&self, given: &[f32]) -> Vec<f32> {
        given.iter().map(|weight| cut(*weight, self.thresholds.weight)).collect()
    }

    /// (update, loss, epochs)
    pub fn train(
        &mut self,
        training: &Training,
        step: u64,
        shard: u32,
        base: &[f32],
        rows: &Rows,
    ) -> (Vec<f32>, f64, u32) {
        self.train_against(training, step, shard, base, (&inputs_of(rows), rows.targets()))
    }

    /// The same on values that no [`Rows`] has seen.
    pub fn train_on(
        &mut self,
        training: &Training,
        step: u64,
        shard: u32,
        base: &[f32],
        values: &[f32],
        labels: &[u32],
    ) -> (Vec<f32>, f64, u32) {
        let classes = training.network.outputs();
        self.train_against(training, step, shard, base, (values, &Targets::Labels { labels: labels.into(), classes }))
    }

    /// The same with targets of any kind.
    pub fn train_against(
        &mut self,
        training: &Training,
        step: u64,
        shard: u32,
        base: &[f32],
        rows: (&[f32], &Targets),
    ) -> (Vec<f32>, f64, u32) {
        let recipe = training.recipe;
        let part = rate_part(recipe.schedule, recipe.eta_decay, recipe.warmup, step, recipe.schedule_steps);
        let eta = f64::from(recipe.eta) * part;
        let eta = match recipe.optimiser {
            Optimiser::Sgd | Optimiser::Momentum => cut(eta as f32, self.thresholds.sgd_rate),
            Optimiser::Adam => cut(eta as f32, self.thresholds.adam_rate),
        };
        if eta == 0.0 {
            return (vec![0.0; base.len()], 0.0, 0);
        }
        let mut descent = Descent { eta, ..Descent::new(recipe, base.len()) };
        let mut weights = base.to_vec();
        let in_order: Vec<usize> = (0..rows.1.rows()).collect();
        let (mut loss, mut epochs) = (0.0, 0);
        if let (Some(steps), BatchSize::Rows(size)) = (recipe.local_steps, recipe.batch) {
            let steps = u64::from(steps);
            for batch in step * steps..(step + 1) * steps {
                let in_epoch = in_order.len().div_ceil(size.get() as usize) as u64;
                let mut order = in_order.clone();
                let indices = [batch / in_epoch, u64::from(shard), 0];
                Stream::new(Purpose::ShuffleEpoch, training.seed, indices).shuffle(&mut order);
                let order = order.chunks(size.get() as usize).nth((batch % in_epoch) as usize).unwrap();
                let way = Way { pass: batch / in_epoch, shard };
                let (of_batch, gradient) = self.batch(training, &weights, rows, order, way);
                loss += of_batch;
                self.update(&mut descent, &gradient, order.len(), &mut weights);
            }
            let update = weights.iter().zip(base).map(|(trained, base)| self.minus(*trained, *base)).collect();
            return (update, loss, 1);
        }
        for epoch in 0..recipe.epochs {
            epochs = epoch + 1;
            let way = Way { pass: step * u64::from(recipe.epochs) + u64::from(epoch), shard };
            match recipe.batch {
                BatchSize::Full => {
                    let (before, gradient) = self.batch(training, &weights, rows, &in_order, way);
                    self.update(&mut descent, &gradient, in_order.len(), &mut weights);
                    loss = before;
                    if let Some(change) = recipe.stop_loss_change {
                        loss = self.batch(training, &weights, rows, &in_order, way).0;
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
                        let (of_batch, gradient) = self.batch(training, &weights, rows, order, way);
                        loss += of_batch;
                        self.update(&mut descent, &gradient, order.len(), &mut weights);
                    }
                }
            }
        }
        (weights.iter().zip(base).map(|(trained, base)| self.minus(*trained, *base)).collect(), loss, epochs)
    }

    /// One update by the gradient, summed over so many rows.
    fn update(&mut self, descent: &mut Descent, gradient: &[f32], rows: usize, weights: &mut [f32]) {
        let Thresholds { gradient: least, velocity, first_moment, second_moment, step, weight, .. } = self.thresholds;
        let Descent { recipe, looks_ahead, eta, m, v, updates, powers } = descent;
        let (least, scale) = match recipe.reduction {
            LossReduction::Sum => (least, 1.0),
            LossReduction::Mean => (rows as f32 * least, 1.0 / rows as f32),
        };
        *updates += 1;
        let [beta1, beta2] = recipe.betas;
        let [slow1, slow2] = self.thresholds.slow_betas;
        let every = if beta1 >= slow1 && beta2 >= slow2 { 64 } else { 1 };
        if recipe.optimiser == Optimiser::Adam && *updates % every == 0 {
            m.iter_mut().for_each(|m| *m = cut(*m, first_moment));
            v.iter_mut().for_each(|v| *v = cut(*v, second_moment));
        }
        *powers = [powers[0] * beta1, powers[1] * beta2];
        let [c1, c2] = powers.map(|power| (1.0 / (1.0 - power)) as f32);
        let rate = match recipe.optimiser {
            Optimiser::Sgd => self.times(*eta, scale),
            Optimiser::Momentum => *eta,
            Optimiser::Adam => self.times(*eta, c1),
        };
        let [beta1, beta2] = [beta1 as f32, beta2 as f32];
        if recipe.weight_decay > 0.0 {
            let decay = self.times(*eta, recipe.weight_decay);
            for w in weights.iter_mut() {
                *w = cut(self.fma(-decay, *w, *w), weight);
            }
        }
        for (index, w) in weights.iter_mut().enumerate() {
            let sum = cut(gradient[index], least);
            *w = match recipe.optimiser {
                Optimiser::Sgd => cut(self.fma(-rate, sum, *w), weight),
                Optimiser::Momentum => {
                    let g = self.times(sum, scale);
                    m[index] = cut(self.fma(recipe.momentum, m[index], g), velocity);
                    let ahead =
                        if *looks_ahead { cut(self.fma(recipe.momentum, m[index], g), velocity) } else { m[index] };
                    cut(self.fma(-rate, ahead, *w), weight)
                }
                Optimiser::Adam => {
                    let g = self.times(sum, scale);
                    let distance = self.minus(m[index], g);
                    m[index] = self.fma(beta1, distance, g);
                    let part = self.times(1.0 - beta2, g);
                    let square = self.times(part, g);
                    v[index] = self.fma(beta2, v[index], square);
                    let second = self.times(v[index], c2);
                    let root = self.root(second);
                    let root = self.plus(root, recipe.epsilon);
                    let limit = self.times(step, root);
                    let numerator = cut(self.times(rate, m[index]), limit);
                    let step = self.over(numerator, root);
                    self.minus(*w, step)
                }
            };
        }
    }

    /// What the model is judged by.
    pub fn evaluate(&mut self, training: &Training, parameters: &[f32], rows: &Rows) -> Metrics {
        let Recipe { activation, .. } = training.recipe;
        // Of each block: the loss, and two more.
        let mut blocks = Vec::new();
        let inputs = inputs_of(rows);
        let all = inputs.chunks(rows.features() as usize).collect::<Vec<_>>();
        for (block, in_block) in all.chunks(128).enumerate() {
            let mut sums = [0.0; 3];
            for (place, x) in in_block.iter().enumerate() {
                let row = block * 128 + place;
                let x = self.inputs(x);
                let outputs = self.forward(&training.network, activation, parameters, &x).pop().unwrap();
                let of_row = match rows.targets() {
                    Targets::Labels { labels, .. } => {
                        let better = |best: usize, j| if outputs[j] >= outputs[best] { j } else { best };
                        let best = (0..outputs.len()).rev().reduce(better).unwrap();
                        [f64::from(u8::from(best != labels[row] as usize)), 0.0]
                    }
                    Targets::Values { values, width } => {
                        let width = *width as usize;
                        let d = self.differences(&outputs, &values[row * width..][..width]);
                        let squares = d.iter().fold(0.0, |sum, d| sum + f64::from(*d) * f64::from(*d));
                        [squares, d.iter().fold(0.0, |sum, d| sum + f64::from(d.abs()))]
                    }
                };
                sums[0] += self.compare(&outputs, rows.targets(), row, &training.recipe).0;
                sums[1] += of_row[0];
                sums[2] += of_row[1];
            }
            blocks.push(sums);
        }
        let [loss, first, second] = tree(blocks, |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
        let metrics = Metrics::default().with(Metric::Loss, loss);
        match rows.targets() {
            Targets::Labels { .. } => metrics.with(Metric::Errors, first),
            Targets::Values { .. } => metrics.with(Metric::SquaredError, first).with(Metric::AbsoluteError, second),
        }
    }
}

/// An optimiser in the middle of a task, or of a job.
struct Descent {
    recipe: Recipe,
    /// Nesterov's momentum.
    looks_ahead: bool,
    eta: f32,
    m: Vec<f32>,
    v: Vec<f32>,
    updates: u32,
    powers: [f64; 2],
}

impl Descent {
    fn new(recipe: Recipe, parameters: usize) -> Descent {
        let [m, v] = [(); 2].map(|()| vec![0.0; parameters]);
        Descent { recipe, looks_ahead: false, eta: 0.0, m, v, updates: 0, powers: [1.0; 2] }
    }
}

/// An outer optimiser in the middle of a job.
pub struct OuterDescent {
    outer: Outer,
    rounds: u32,
    descent: Descent,
}

/// The pass through a shard in which rows are trained.
#[derive(Clone, Copy)]
pub struct Way {
    pub pass: u64,
    pub shard: u32,
}

/// By what the outputs of each hidden layer are multiplied where this row trains; nothing where no output is dropped.
fn factors(training: &Training, Way { pass, shard }: Way, row: usize) -> Vec<Vec<f32>> {
    let share = training.recipe.dropout;
    if share == 0.0 {
        return Vec::new();
    }
    let factor = 1.0 / (1.0 - share);
    let mut stream = Stream::new(Purpose::Dropout, training.seed, [pass, shard.into(), row as u64]);
    let mut draw = || if stream.unit() < share { 0.0 } else { factor };
    training.network.hidden().iter().map(|width| (0..*width).map(|_| draw()).collect()).collect()
}

impl OuterDescent {
    /// Of a job of so many rounds and parameters, before the first.
    pub fn new(outer: Outer, rounds: u32, parameters: usize) -> OuterDescent {
        let Outer { optimiser, momentum, betas, epsilon, weight_decay, .. } = outer;
        let inner = if optimiser == OuterOptimiser::Adam { Optimiser::Adam } else { Optimiser::Momentum };
        let reduction = LossReduction::Sum;
        let recipe = Recipe { optimiser: inner, momentum, betas, epsilon, weight_decay, reduction, ..Recipe::DEFAULT };
        let looks_ahead = optimiser == OuterOptimiser::Nesterov;
        OuterDescent { outer, rounds, descent: Descent { looks_ahead, ..Descent::new(recipe, parameters) } }
    }
}

/// What of a learning rate, at its height, a step of a schedule over so many steps has.
pub fn rate_part(schedule: Schedule, decay: f32, warmup: u32, step: u64, steps: u32) -> f64 {
    let warmup = u64::from(warmup);
    if step < warmup {
        return (step as f64 + 1.0) / (warmup as f64 + 1.0);
    }
    let (k, n) = (step - warmup, u64::from(steps).saturating_sub(warmup));
    let (mut p, mut b) = (1.0, f64::from(decay));
    for bit in 0..64 {
        if k >> bit == 0 {
            break;
        }
        if k >> bit & 1 == 1 {
            p *= b;
        }
        b *= b;
    }
    let flat = n / 2;
    p * match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => cosine_part(k, n),
        Schedule::FlatCosine if k < flat => 1.0,
        Schedule::FlatCosine => cosine_part(k - flat, n - flat),
    }
}

fn cosine_part(step: u64, steps: u64) -> f64 {
    let sine = |k: u64| {
        let x = (k as f64 / steps as f64) * f64::from_bits(0x3ff9_21fb_5444_2d18);
        let u = x * x;
        let term = |n: u64| 1.0 / (1..=n).product::<u64>() as f64;
        let mut p = term(17);
        for n in [15, 13, 11, 9, 7, 5, 3] {
            p = if n % 4 == 3 { p * u - term(n) } else { p * u + term(n) };
        }
        x + x * (u * p)
    };
    if step >= steps {
        0.0
    } else if 2 * step < steps {
        let q = sine(step);
        1.0 - q * q
    } else {
        let q = sine(steps - step);
        q * q
    }
}

impl<M: Meter> Definition<M> {
    /// Moves the weights that a step starts from by its merged update.
    pub fn outer_step(&mut self, job: &mut OuterDescent, step: u64, update: &[f32], weights: &mut [f32]) {
        let OuterDescent { outer, rounds, descent } = job;
        let part = rate_part(outer.schedule, outer.eta_decay, outer.warmup, step, *rounds);
        let rate = (f64::from(outer.eta) * part) as f32;
        descent.eta = match outer.optimiser {
            OuterOptimiser::Adam => cut(rate, self.thresholds.adam_rate),
            _ => cut(rate, self.thresholds.sgd_rate),
        };
        if descent.eta == 0.0 {
            return;
        }
        let mut gradient: Vec<f32> = update.iter().map(|d| -d).collect();
        if let Some(clip) = outer.clip {
            let mut lanes = [0.0; 8];
            gradient.iter().enumerate().for_each(|(index, g)| lanes[index % 8] += f64::from(*g) * f64::from(*g));
            for width in [4, 2, 1] {
                (0..width).for_each(|lane| lanes[lane] += lanes[lane + width]);
            }
            let norm = lanes[0].sqrt();
            if norm > f64::from(clip) {
                let factor = (f64::from(clip) / norm) as f32;
                for g in &mut gradient {
                    *g = cut(self.times(*g, factor), self.thresholds.weight);
                }
            }
        }
        self.update(descent, &gradient, 1, weights);
    }
}

/// Arithmetic 2 itself.
pub const ARITHMETIC_2: Definition<()> = Definition { thresholds: Thresholds::DEFINED, meter: () };

/// The weights that updates of so many rows each lead to, taken from `base`: their mean, weighted by the rows.
pub fn mean_onto(base: &[f32], updates: &[(&[f32], u32)]) -> Vec<f32> {
    let units = |value: f32| (f64::from(value) * 2f64.powi(64)).trunc() as i128;
    let rows: i128 = updates.iter().map(|(_, rows)| i128::from(*rows)).sum();
    let of_parameter = |(index, base): (usize, &f32)| {
        let sum: i128 = updates.iter().map(|(update, rows)| units(update[index]) * i128::from(*rows)).sum();
        let (below, rest) = (sum.div_euclid(rows), sum.rem_euclid(rows));
        let is_up = 2 * rest > rows || 2 * rest == rows && below % 2 != 0;
        let mean = (below + i128::from(is_up)) as f64 / 2f64.powi(64);
        cut((f64::from(*base) + mean) as f32, VALUE)
    };
    base.iter().enumerate().map(of_parameter).collect()
}
