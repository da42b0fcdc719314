//! How parameters follow the gradient: SGD, Adam, the learning rate of a step. Owns the optimiser's state; does not know
//! where gradients come from.

use super::kernel::{Kernel, compiled_for_each_kernel};
use super::recipe::{LossReduction, Optimiser, Recipe};
use super::schedule::Course;
use super::thresholds::{
    ADAM_RATE_LEAST, FIRST_MOMENT_LEAST, GRADIENT_LEAST, SECOND_MOMENT_LEAST, SGD_RATE_LEAST, STEP_LEAST, VALUE_LEAST,
    cut, moments_every,
};
use super::vector::{Fma as _, Vector};

/// An optimiser in the middle of a task.
pub(super) struct Descent {
    recipe: Recipe,
    eta: f32,
    /// The optimiser's state: as many vectors as [`state_vectors`] says, as long as the parameters, and empty ones. All are
    /// empty before the first update.
    state: [Vec<f32>; STATE_VECTORS_MAX],
    /// Updates that have begun.
    updates: u32,
    /// Of each beta its t-th power after t updates.
    powers: [f64; 2],
}

/// State vectors of an optimiser, at most.
const STATE_VECTORS_MAX: usize = 2;

/// Vectors, each as long as the parameters, that an optimiser keeps from one update to the next. They are zero when a task
/// begins.
pub(super) fn state_vectors(optimiser: Optimiser) -> usize {
    match optimiser {
        Optimiser::Sgd => 0,
        // The velocity.
        Optimiser::Momentum => 1,
        // The first and the second moments.
        Optimiser::Adam => 2,
    }
}

/// How the gradient of a batch, which is a sum over its rows, becomes the one that parameters follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Averaging {
    /// Sums below this in magnitude are +0.
    least: f32,
    /// What the others are multiplied by.
    scale: f32,
}

impl Averaging {
    /// For a batch of so many rows.
    pub fn over(reduction: LossReduction, rows: usize) -> Averaging {
        match reduction {
            LossReduction::Sum => Averaging { least: GRADIENT_LEAST, scale: 1.0 },
            LossReduction::Mean => Averaging { least: rows as f32 * GRADIENT_LEAST, scale: 1.0 / rows as f32 },
        }
    }
}

/// Parameters of the last update that are updated at a time, at most.
pub(super) const LAST_PART_MAX: usize = 128;

impl Descent {
    pub fn new() -> Descent {
        Descent { recipe: Recipe::DEFAULT, eta: 0.0, state: [const { Vec::new() }; _], updates: 0, powers: [1.0; 2] }
    }

    /// Starts a task: with no state.
    pub fn begin(&mut self, recipe: &Recipe, eta: f32) {
        self.recipe = *recipe;
        self.eta = eta;
        self.updates = 0;
        self.powers = [1.0; 2];
        self.state.iter_mut().for_each(Vec::clear);
    }

    /// Whether the learning rate is not +0: without one, no update would change a weight.
    pub fn moves(&self) -> bool {
        self.eta > 0.0
    }

    /// One update of `weights`, which others follow.
    pub fn update(&mut self, kernel: Kernel, averaging: Averaging, gradient: &[f32], weights: &mut [f32]) {
        self.begin_update(kernel, weights.len());
        self.update_part(kernel, averaging, 0, gradient, weights);
    }

    /// Begins an update of so many weights, which others follow; [`Descent::update_part`] does it.
    pub fn begin_update(&mut self, kernel: Kernel, parameters: usize) {
        self.advance(kernel);
        for vector in &mut self.state[..state_vectors(self.recipe.optimiser)] {
            vector.resize(parameters, 0.0);
        }
    }

    /// Updates the weights from the `first` on, as part of an update that has begun.
    pub fn update_part(
        &mut self,
        kernel: Kernel,
        averaging: Averaging,
        first: usize,
        gradient: &[f32],
        weights: &mut [f32],
    ) {
        let mut state = std::mem::take(&mut self.state);
        let of_part = state.each_mut().map(|vector| vector.get_mut(first..).unwrap_or_default());
        self.step(kernel, averaging, gradient, of_part, weights);
        self.state = state;
    }

    /// Begins an update; the task's last is then done part by part.
    pub fn advance(&mut self, kernel: Kernel) {
        self.updates = self.updates.wrapping_add(1);
        if self.recipe.optimiser == Optimiser::Adam && self.updates.is_multiple_of(moments_every(self.recipe.betas)) {
            let [first, second] = &mut self.state;
            cut_all(kernel, first, FIRST_MOMENT_LEAST);
            cut_all(kernel, second, SECOND_MOMENT_LEAST);
        }
        let [first, second] = self.recipe.betas;
        self.powers = [self.powers[0] * first, self.powers[1] * second];
    }

    /// Updates the weights from the `first` on, at most [`LAST_PART_MAX`], as part of the last update.
    pub fn update_last_part(
        &mut self,
        kernel: Kernel,
        averaging: Averaging,
        first: usize,
        gradient: &[f32],
        weights: &mut [f32],
    ) {
        if self.updates > 1 {
            return self.update_part(kernel, averaging, first, gradient, weights);
        }
        // Where no update came before, the state is zero, and nobody needs what becomes of it: as much as there are weights, in
        // memory, would take longer than all else that is done here.
        let mut fresh = [[0.0; LAST_PART_MAX]; STATE_VECTORS_MAX];
        self.step(kernel, averaging, gradient, fresh.each_mut().map(|vector| &mut vector[..]), weights);
    }

    /// An update that has begun, of some weights, whose state this is.
    fn step(
        &self,
        kernel: Kernel,
        averaging: Averaging,
        gradient: &[f32],
        state: [&mut [f32]; STATE_VECTORS_MAX],
        weights: &mut [f32],
    ) {
        if self.recipe.weight_decay > 0.0 {
            decay(kernel, self.eta * self.recipe.weight_decay, weights);
        }
        match self.recipe.optimiser {
            Optimiser::Sgd => sgd(kernel, self.eta * averaging.scale, averaging.least, gradient, weights),
            Optimiser::Momentum => {
                let [velocity, _] = state;
                let factors = [self.eta, self.recipe.momentum];
                momentum(kernel, factors, averaging, gradient, velocity, weights);
            }
            Optimiser::Adam => {
                let [first, second] = state;
                adam(kernel, &self.factors(averaging), gradient, first, second, weights);
            }
        }
    }

    fn factors(&self, averaging: Averaging) -> Factors {
        Factors::new(averaging, self.eta, self.powers, self.recipe.betas, self.recipe.epsilon)
    }
}

/// What one update of Adam's multiplies with.
#[derive(Clone, Copy)]
pub(super) struct Factors {
    averaging: Averaging,
    /// The learning rate, corrected for a first moment that began with 0.
    first: f32,
    /// The second moment's correction.
    second: f32,
    betas: [f32; 2],
    epsilon: f32,
}

impl Factors {
    /// At this learning rate; `powers` are those of the betas after this update.
    pub fn new(averaging: Averaging, eta: f32, powers: [f64; 2], betas: [f64; 2], epsilon: f32) -> Factors {
        let [first, second] = powers.map(|power| (1.0 / (1.0 - power)) as f32);
        Factors { averaging, first: eta * first, second, betas: betas.map(|beta| beta as f32), epsilon }
    }
}

/// A learning rate below which a round trains nothing.
pub(super) fn rate_least(optimiser: Optimiser) -> f32 {
    match optimiser {
        Optimiser::Sgd | Optimiser::Momentum => SGD_RATE_LEAST,
        Optimiser::Adam => ADAM_RATE_LEAST,
    }
}

/// How the learning rate of tasks goes from step to step.
impl Recipe {
    /// The learning rate of a step; +0 where that is less than the optimiser's least.
    pub fn rate(&self, step: u64) -> f32 {
        self.course().rate(step)
    }

    /// The first of so many steps from which on tasks train nothing, because no step has a rate.
    pub fn first_step_without_rate(&self, steps: u64) -> Option<u64> {
        self.course().first_step_without(steps)
    }

    fn course(&self) -> Course {
        let Recipe { eta, eta_decay: decay, schedule, schedule_steps, warmup, optimiser, .. } = *self;
        let steps = u64::from(schedule_steps);
        Course { eta, decay, schedule, warmup, steps, least: rate_least(optimiser) }
    }
}

compiled_for_each_kernel! {
    fn sgd = sgd_body(rate: f32, least: f32, gradient: &[f32], weights: &mut [f32])
}

/// `rate` is the learning rate times what makes a mean of the gradient.
#[inline(always)]
fn sgd_body<V: Vector>(rate: f32, least: f32, gradient: &[f32], weights: &mut [f32]) {
    for (weight, gradient) in weights.iter_mut().zip(gradient) {
        *weight = cut(V::Fma::fma(-rate, cut(*gradient, least), *weight), VALUE_LEAST);
    }
}

compiled_for_each_kernel! {
    /// Takes a part of each weight away. `rate` is the learning rate times the decay.
    pub(super) fn decay = decay_body(rate: f32, weights: &mut [f32])
}

#[inline(always)]
fn decay_body<V: Vector>(rate: f32, weights: &mut [f32]) {
    for weight in weights {
        *weight = cut(V::Fma::fma(-rate, *weight, *weight), VALUE_LEAST);
    }
}

compiled_for_each_kernel! {
    /// `factors` are the learning rate and the momentum.
    pub(super) fn momentum = momentum_body(
        factors: [f32; 2],
        averaging: Averaging,
        gradient: &[f32],
        velocity: &mut [f32],
        weights: &mut [f32],
    )
}

/// A velocity without a gradient would stop at the smallest subnormals as Adam's first moment would, and has its threshold.
#[inline(always)]
fn momentum_body<V: Vector>(
    [eta, momentum]: [f32; 2],
    Averaging { least, scale }: Averaging,
    gradient: &[f32],
    velocity: &mut [f32],
    weights: &mut [f32],
) {
    for ((weight, gradient), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
        let gradient = cut(*gradient, least) * scale;
        *velocity = cut(V::Fma::fma(momentum, *velocity, gradient), FIRST_MOMENT_LEAST);
        *weight = cut(V::Fma::fma(-eta, *velocity, *weight), VALUE_LEAST);
    }
}

compiled_for_each_kernel! {
    /// The same with Nesterov's momentum: weights follow the velocity as the next update would find it.
    pub(super) fn nesterov = nesterov_body(
        factors: [f32; 2],
        averaging: Averaging,
        gradient: &[f32],
        velocity: &mut [f32],
        weights: &mut [f32],
    )
}

#[inline(always)]
fn nesterov_body<V: Vector>(
    [eta, momentum]: [f32; 2],
    Averaging { least, scale }: Averaging,
    gradient: &[f32],
    velocity: &mut [f32],
    weights: &mut [f32],
) {
    for ((weight, gradient), velocity) in weights.iter_mut().zip(gradient).zip(velocity) {
        let gradient = cut(*gradient, least) * scale;
        *velocity = cut(V::Fma::fma(momentum, *velocity, gradient), FIRST_MOMENT_LEAST);
        let ahead = cut(V::Fma::fma(momentum, *velocity, gradient), FIRST_MOMENT_LEAST);
        *weight = cut(V::Fma::fma(-eta, ahead, *weight), VALUE_LEAST);
    }
}

compiled_for_each_kernel! {
    pub(super) fn adam = adam_body(
        factors: &Factors,
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        weights: &mut [f32],
    )
}

#[inline(always)]
fn adam_body<V: Vector>(
    factors: &Factors,
    gradient: &[f32],
    first: &mut [f32],
    second: &mut [f32],
    weights: &mut [f32],
) {
    let Factors { averaging: Averaging { least, scale }, first: first_factor, second: second_factor, .. } = *factors;
    let Factors { betas: [beta1, beta2], epsilon, .. } = *factors;
    let moments = first.iter_mut().zip(second);
    for ((weight, gradient), (first, second)) in weights.iter_mut().zip(gradient).zip(moments) {
        let gradient = cut(*gradient, least) * scale;
        *first = V::Fma::fma(beta1, *first - gradient, gradient);
        *second = V::Fma::fma(beta2, *second, (1.0 - beta2) * gradient * gradient);
        let root = (*second * second_factor).sqrt() + epsilon;
        // Where the quotient would be less than the least step. A weight less a step is a multiple of 2^-63, as both are.
        *weight -= cut(first_factor * *first, STEP_LEAST * root) / root;
    }
}

compiled_for_each_kernel! {
    pub(super) fn cut_all = cut_all_body(values: &mut [f32], least: f32)
}

#[inline(always)]
fn cut_all_body<V: Vector>(values: &mut [f32], least: f32) {
    for value in values {
        *value = cut(*value, least);
    }
}

#[cfg(test)]
mod tests {
    use super::super::thresholds::MOMENTS_EVERY;
    use super::*;

    /// A sum that is its own mean.
    const AS_IT_IS: Averaging = Averaging { least: GRADIENT_LEAST, scale: 1.0 };

    fn falling(optimiser: Optimiser, eta: f32, eta_decay: f32) -> Recipe {
        Recipe { optimiser, eta, eta_decay, ..Recipe::DEFAULT }
    }

    #[test]
    fn the_learning_rate_falls_by_its_decay_from_step_to_step() {
        let eta = |eta, decay, step| falling(Optimiser::Sgd, eta, decay).rate(step);
        assert_eq!(eta(0.008, 0.94, 0), 0.008);
        let twice = f64::from(0.008f32) * f64::from(0.94f32) * f64::from(0.94f32);
        assert_eq!(eta(0.008, 0.94, 2), twice as f32);
        assert_eq!(eta(0.008, 1.0, u64::MAX), 0.008);
        assert_eq!(eta(0.008, 0.25, u64::MAX), 0.0);
    }

    #[test]
    fn the_first_step_without_a_rate_is_found_wherever_it_is() {
        let default = falling(Optimiser::Adam, 0.01, 0.94);
        for (steps, expected) in [(40, None), (1000, Some(374)), (375, Some(374)), (374, None)] {
            assert_eq!(default.first_step_without_rate(steps), expected, "{steps} steps");
        }
        assert!(default.rate(373) > 0.0 && default.rate(374) == 0.0);
        assert_eq!(falling(Optimiser::Sgd, 1e-30, 1.0).first_step_without_rate(3), Some(0));
        assert_eq!(falling(Optimiser::Sgd, 0.01, 1.0).first_step_without_rate(u64::MAX), None);
    }

    #[test]
    fn a_learning_rate_below_its_threshold_is_plus_zero() {
        for (optimiser, least) in Optimiser::ALL.map(|optimiser| (optimiser, rate_least(optimiser))) {
            let eta = |eta, decay, step| falling(optimiser, eta, decay).rate(step);
            assert_eq!(eta(least, 1.0, 0), least);
            assert_eq!(eta(least, 0.999, 1).to_bits(), 0);
            assert_eq!(eta(2.0 * least, 0.5, 1), least);
            assert_eq!(eta(2.0 * least, 0.5, 2).to_bits(), 0);
            assert_eq!(eta(1e-45, 1.0, 0).to_bits(), 0);
        }
    }

    #[test]
    fn a_mean_is_taken_of_sums_that_are_not_too_small_for_it() {
        for kernel in Kernel::available() {
            let moved = |reduction, rows, gradient: f32| {
                let mut descent = Descent::new();
                descent.begin(&falling(Optimiser::Sgd, 1.0, 1.0), 1.0);
                let mut weights = [0.0];
                descent.update(kernel, Averaging::over(reduction, rows), &[gradient], &mut weights);
                weights[0]
            };
            assert_eq!(moved(LossReduction::Mean, 4, 10.0), -2.5);
            assert_eq!(moved(LossReduction::Sum, 4, 10.0), -10.0);
            // Below what a weight keeps, but not below what the optimiser reckons with.
            let mut descent = Descent::new();
            descent.begin(&falling(Optimiser::Adam, 0.5, 1.0), 0.5);
            let sums = [4.1 * GRADIENT_LEAST, 3.9 * GRADIENT_LEAST];
            descent.update(kernel, Averaging::over(LossReduction::Mean, 4), &sums, &mut [0.0; 2]);
            let [first, _] = &descent.state;
            assert!(first[0] > 0.0 && first[1].to_bits() == 0, "{first:?}");
        }
    }

    #[test]
    fn moments_without_a_gradient_end_and_steps_that_are_too_short_are_none() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            descent.begin(&falling(Optimiser::Adam, 0.01, 1.0), 0.01);
            let mut weights = [0.5];
            descent.update(kernel, AS_IT_IS, &[1.0], &mut weights);
            let mut last_step = 0;
            for update in 2..100_000 {
                let before = weights;
                descent.update(kernel, AS_IT_IS, &[0.0], &mut weights);
                last_step = if before == weights { last_step } else { update };
                let moments = descent.state.each_ref().map(|moment| moment[0]);
                assert!(moments.iter().all(|moment| *moment == 0.0 || moment.is_normal()), "{update}: {moments:?}");
            }
            assert_eq!(descent.state, [vec![0.0], vec![0.0]]);
            assert!((100..300).contains(&last_step), "{last_step}");
        }
    }

    #[test]
    fn sgd_goes_down_the_gradient_with_one_rounding() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            descent.begin(&falling(Optimiser::Sgd, 0.1, 1.0), 0.1);
            let gradient: Vec<f32> = (0..11).map(|i| i as f32 - 5.3).collect();
            let mut weights = vec![0.7; 11];
            descent.update(kernel, AS_IT_IS, &gradient, &mut weights);
            for (weight, gradient) in weights.iter().zip(&gradient) {
                assert_eq!(*weight, (-0.1f32).mul_add(*gradient, 0.7));
            }
        }
    }

    #[test]
    fn a_velocity_gathers_gradients_and_fades_to_zero() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            descent.begin(&Recipe { momentum: 0.5, ..falling(Optimiser::Momentum, 0.25, 1.0) }, 0.25);
            let mut weights = [1.0];
            descent.update(kernel, Averaging::over(LossReduction::Mean, 2), &[2.0], &mut weights);
            assert_eq!((weights[0], descent.state[0][0]), (0.75, 1.0), "{kernel}");
            descent.update(kernel, AS_IT_IS, &[1.0], &mut weights);
            assert_eq!((weights[0], descent.state[0][0]), (0.375, 1.5), "{kernel}");
            (0..70).for_each(|_| descent.update(kernel, AS_IT_IS, &[0.0], &mut weights));
            assert_eq!(descent.state[0][0].to_bits(), 0, "{kernel}");
        }
    }

    #[test]
    fn a_weight_decays_by_its_part_before_its_step_and_ends_at_zero() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            descent.begin(&Recipe { weight_decay: 0.25, ..falling(Optimiser::Sgd, 0.5, 1.0) }, 0.5);
            let mut weights = [1.0, -1.0, 1e-12, 0.0];
            descent.update(kernel, AS_IT_IS, &[0.0, 1.0, 0.0, 0.0], &mut weights);
            assert_eq!(weights[..2], [0.875, -1.375], "{kernel}");
            assert!(weights[2].to_bits() == 0 && weights[3].to_bits() == 0, "{kernel}: {weights:?}");
        }
    }

    #[test]
    fn adam_follows_its_paper_and_forgets_between_tasks() {
        for kernel in Kernel::available() {
            let mut descent = Descent::new();
            for _task in 0..2 {
                descent.begin(&falling(Optimiser::Adam, 0.01, 1.0), 0.01);
                let (mut m, mut v, mut exact, mut weights) = (0.0f64, 0.0f64, 0.5f64, [0.5f32]);
                for t in 1..=50 {
                    let gradient = (f64::from(t) * 0.37).sin();
                    m = 0.9 * m + 0.1 * gradient;
                    v = 0.999 * v + 0.001 * gradient * gradient;
                    exact -= 0.01 * (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8);
                    descent.update(kernel, AS_IT_IS, &[gradient as f32], &mut weights);
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
            for optimiser in Optimiser::ALL {
                for before in [0, 1, 2, MOMENTS_EVERY - 1] {
                    let (mut whole, mut in_parts) = (Descent::new(), Descent::new());
                    let mut weights = [vec![0.5; count], vec![0.5; count]];
                    for (descent, weights) in [&mut whole, &mut in_parts].into_iter().zip(&mut weights) {
                        descent.begin(&Recipe { weight_decay: 0.5, ..falling(optimiser, 0.01, 1.0) }, 0.01);
                        (0..before).for_each(|_| descent.update(kernel, AS_IT_IS, &gradient, weights));
                    }
                    let [expected, got] = &mut weights;
                    whole.update(kernel, AS_IT_IS, &gradient, expected);
                    in_parts.advance(kernel);
                    let parts = got.chunks_mut(LAST_PART_MAX).zip(gradient.chunks(LAST_PART_MAX));
                    for (index, (weights, gradient)) in parts.enumerate() {
                        in_parts.update_last_part(kernel, AS_IT_IS, index * LAST_PART_MAX, gradient, weights);
                    }
                    assert_eq!(got, expected, "{kernel}, {optimiser:?}, {before} before");
                    let kept = in_parts.state.iter().map(Vec::len).sum::<usize>();
                    assert_eq!(kept, if before > 0 { state_vectors(optimiser) * count } else { 0 });
                }
            }
        }
    }
}
