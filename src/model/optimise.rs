//! How parameters follow the gradient: SGD, Adam, the learning rate of a step. Owns the optimiser's state; does not know
//! where gradients come from.

use super::arithmetic::Fma as _;
use super::kernel::{Kernel, compiled_for_each_kernel};
use super::recipe::Optimiser;
use super::vector::Vector;

/// An optimiser in the middle of a task.
pub(super) struct Descent {
    optimiser: Optimiser,
    eta: f32,
    /// Adam's first and second moments; empty with SGD, and before the first update.
    moments: [Vec<f32>; 2],
    /// 0.9^t and 0.999^t after t updates.
    powers: [f64; 2],
}

const BETAS: [f64; 2] = [0.9, 0.999];

/// Parameters of the last update that are updated at a time, at most.
pub(super) const LAST_PART_MAX: usize = 128;

impl Descent {
    pub fn new() -> Descent {
        Descent { optimiser: Optimiser::Sgd, eta: 0.0, moments: [Vec::new(), Vec::new()], powers: [1.0; 2] }
    }

    /// Starts a task: moments zero.
    pub fn begin(&mut self, optimiser: Optimiser, eta: f32) {
        self.optimiser = optimiser;
        self.eta = eta;
        self.powers = [1.0; 2];
        self.moments.iter_mut().for_each(Vec::clear);
    }

    /// One update of `weights`, which others follow.
    pub fn update(&mut self, kernel: Kernel, gradient: &[f32], weights: &mut [f32]) {
        self.advance();
        match self.optimiser {
            Optimiser::Sgd => sgd(kernel, self.eta, gradient, weights),
            Optimiser::Adam => {
                let corrections = self.corrections();
                let [first, second] = &mut self.moments;
                first.resize(weights.len(), 0.0);
                second.resize(weights.len(), 0.0);
                adam(kernel, self.eta, corrections, gradient, first, second, weights);
            }
        }
    }

    /// Begins the task's last update, which is done part by part.
    pub fn advance(&mut self) {
        self.powers = [self.powers[0] * BETAS[0], self.powers[1] * BETAS[1]];
    }

    /// Updates the weights from the `first` on, at most [`LAST_PART_MAX`], as part of the last update.
    pub fn update_last_part(&mut self, kernel: Kernel, first: usize, gradient: &[f32], weights: &mut [f32]) {
        match self.optimiser {
            Optimiser::Sgd => sgd(kernel, self.eta, gradient, weights),
            Optimiser::Adam => {
                let corrections = self.corrections();
                // Where no update came before, moments are zero, and nobody needs what becomes of them: as many as there
                // are weights, in memory, would take longer than all else that is done here.
                let mut fresh = [[0.0; LAST_PART_MAX]; 2];
                let [first, second] = match self.moments.each_mut().map(|moments| moments.get_mut(first..)) {
                    [Some(first), Some(second)] if !first.is_empty() => [first, second],
                    _ => fresh.each_mut().map(|moments| &mut moments[..]),
                };
                adam(kernel, self.eta, corrections, gradient, first, second, weights);
            }
        }
    }

    fn corrections(&self) -> [f32; 2] {
        self.powers.map(|power| (1.0 / (1.0 - power)) as f32)
    }
}

/// The learning rate of a step: `eta` times `decay`, step times, in f64, rounded once to f32.
pub(super) fn eta_of_step(eta: f32, decay: f32, step: u64) -> f32 {
    let (mut eta, decay) = (f64::from(eta), f64::from(decay));
    for _ in 0..step {
        let next = eta * decay;
        if next == eta {
            break; // decay 1, or the smallest numbers: it stays so.
        }
        eta = next;
    }
    eta as f32
}

compiled_for_each_kernel! {
    fn sgd = sgd_body(eta: f32, gradient: &[f32], weights: &mut [f32])
}

#[inline(always)]
fn sgd_body<V: Vector>(eta: f32, gradient: &[f32], weights: &mut [f32]) {
    for (weight, gradient) in weights.iter_mut().zip(gradient) {
        *weight = V::Fma::fma(-eta, *gradient, *weight);
    }
}

compiled_for_each_kernel! {
    fn adam = adam_body(
        eta: f32,
        corrections: [f32; 2],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        weights: &mut [f32],
    )
}

#[inline(always)]
fn adam_body<V: Vector>(
    eta: f32,
    corrections: [f32; 2],
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    weights: &mut [f32],
) {
    const EPSILON: f32 = 1e-8;
    let [beta1, beta2] = BETAS.map(|beta| beta as f32);
    let moments = first.iter_mut().zip(second);
    for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
        *first = V::Fma::fma(beta1, *first - *gradient, *gradient);
        *second = V::Fma::fma(beta2, *second, (1.0 - beta2) * *gradient * *gradient);
        let root = (*second * corrections[1]).sqrt() + EPSILON;
        *weight -= eta * (*first * corrections[0]) / root;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_falls_by_repeated_multiplication_and_ends_early_where_it_stays() {
        assert_eq!(eta_of_step(0.008, 0.94, 0), 0.008);
        let twice = f64::from(0.008f32) * f64::from(0.94f32) * f64::from(0.94f32);
        assert_eq!(eta_of_step(0.008, 0.94, 2), twice as f32);
        assert_eq!(eta_of_step(0.008, 1.0, u64::MAX), 0.008);
        assert_eq!(eta_of_step(0.008, 0.25, u64::MAX), 0.0);
    }

    #[test]
    fn sgd_goes_down_the_gradient_with_one_rounding() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            descent.begin(Optimiser::Sgd, 0.1);
            let gradient: Vec<f32> = (0..11).map(|i| i as f32 - 5.3).collect();
            let mut weights = vec![0.7; 11];
            descent.update(kernel, &gradient, &mut weights);
            for (weight, gradient) in weights.iter().zip(&gradient) {
                assert_eq!(*weight, (-0.1f32).mul_add(*gradient, 0.7));
            }
        }
    }

    #[test]
    fn adam_follows_its_paper_and_forgets_between_tasks() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            for _task in 0..2 {
                descent.begin(Optimiser::Adam, 0.01);
                let (mut m, mut v, mut exact, mut weights) = (0.0f64, 0.0f64, 0.5f64, [0.5f32]);
                for t in 1..=50 {
                    let gradient = (f64::from(t) * 0.37).sin();
                    m = 0.9 * m + 0.1 * gradient;
                    v = 0.999 * v + 0.001 * gradient * gradient;
                    exact -= 0.01 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
                    descent.update(kernel, &[gradient as f32], &mut weights);
                }
                assert!((f64::from(weights[0]) - exact).abs() < 1e-5, "{} {exact}", weights[0]);
            }
        }
    }

    #[test]
    fn the_last_update_is_the_same_part_by_part_whether_others_came_before_it_or_not() {
        let count = 2 * LAST_PART_MAX + 3;
        let gradient: Vec<f32> = (0..count).map(|index| (index as f32 * 0.7).sin()).collect();
        for kernel in Kernel::available() {
            for optimiser in [Optimiser::Sgd, Optimiser::Adam] {
                for before in 0..3 {
                    let (mut whole, mut in_parts) = (Descent::new(), Descent::new());
                    let mut weights = [vec![0.5; count], vec![0.5; count]];
                    for (descent, weights) in [&mut whole, &mut in_parts].into_iter().zip(&mut weights) {
                        descent.begin(optimiser, 0.01);
                        (0..before).for_each(|_| descent.update(kernel, &gradient, weights));
                    }
                    let [expected, got] = &mut weights;
                    whole.update(kernel, &gradient, expected);
                    in_parts.advance();
                    let parts = got.chunks_mut(LAST_PART_MAX).zip(gradient.chunks(LAST_PART_MAX));
                    for (index, (weights, gradient)) in parts.enumerate() {
                        in_parts.update_last_part(kernel, index * LAST_PART_MAX, gradient, weights);
                    }
                    assert_eq!(got, expected, "{kernel}, {optimiser:?}, {before} before");
                    let kept = in_parts.moments[0].len();
                    assert_eq!(kept, if before > 0 && optimiser == Optimiser::Adam { count } else { 0 });
                }
            }
        }
    }
}
