//! How a feature becomes a network's input, and a target what its outputs are compared with. Owns the statistics of the
//! training rows and their rounding; does not know where rows come from.
//!
//! An input is `f32((x - mean) * inverse_deviation)`: one subtraction, one multiplication and one conversion, each
//! rounded to nearest. Mean and deviation are sums over the training rows in the order of the file, in f64, without
//! fused operations, so they have the same bits on every machine (docs/arithmetic.md, section 17). A target is
//! `f32((x - mean) / deviation)`. A robust scale has the median and the quartiles in their place, and bends what lies far off so that
//! it stays below 3, as RealMLP does (Holzmüller and others, 2024).

/// A feature's scale: what is subtracted, then what is multiplied with, and whether what comes of it is clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureScale {
    mean: f64,
    inverse_deviation: f64,
    is_clipped: bool,
}

/// What a clipped input stays below in magnitude, but for rounding.
const CLIP: f64 = 3.0;
/// Magnitudes beyond this count as this before they are clipped, so that their squares are finite.
pub const CLIPPED_FROM: f64 = (1u128 << 64) as f64;

impl FeatureScale {
    /// Leaves every value as it is, to the bit.
    pub const IDENTITY: FeatureScale = FeatureScale { mean: 0.0, inverse_deviation: 1.0, is_clipped: false };

    /// A scale of these values; none if the mean is not finite or the inverse deviation not finite and above 0.
    pub fn new(mean: f64, inverse_deviation: f64) -> Option<FeatureScale> {
        let valid = mean.is_finite() && inverse_deviation.is_finite() && inverse_deviation > 0.0;
        valid.then_some(FeatureScale { mean, inverse_deviation, is_clipped: false })
    }

    /// The same, clipped or not.
    pub fn clipped_if(self, is_clipped: bool) -> FeatureScale {
        FeatureScale { is_clipped, ..self }
    }

    /// Whether what lies far off is bent towards 3 or -3.
    pub fn is_clipped(&self) -> bool {
        self.is_clipped
    }

    /// What is subtracted, in the feature's unit.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// What is multiplied with, in one over the feature's unit.
    pub fn inverse_deviation(&self) -> f64 {
        self.inverse_deviation
    }

    /// The scale that gives `values`, those of the training rows, mean 0 and standard deviation 1 (of the population). A
    /// constant is centred and keeps its unit.
    pub fn standardising(values: impl Iterator<Item = f64> + Clone) -> FeatureScale {
        let spread = Spread::of(values);
        let inverse_deviation = spread.deviation.map_or(1.0, |deviation| 1.0 / deviation);
        FeatureScale::new(spread.mean, inverse_deviation).unwrap_or(FeatureScale::IDENTITY)
    }

    /// The scale that makes 0 of the median of `values`, those of the training rows, and 1 of the distance of the quartiles, or where
    /// there is none of half the distance of least and greatest; what lies far off is clipped. A constant is centred and keeps its unit.
    pub fn robust(values: impl Iterator<Item = f64>) -> FeatureScale {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (Some(least), Some(greatest)) = (sorted.first(), sorted.last()) else {
            return FeatureScale::IDENTITY.clipped_if(true);
        };
        let [lower, median, upper] = [1, 2, 3].map(|quarter| quartile(&sorted, quarter));
        let range = match upper - lower {
            0.0 => 0.5 * (greatest - least),
            range => range,
        };
        let inverse = if range == 0.0 { 1.0 } else { 1.0 / range };
        FeatureScale::new(median + 0.0, inverse).unwrap_or(FeatureScale::IDENTITY).clipped_if(true)
    }

    /// The scale of a feature that is `value` everywhere: whatever it is, it becomes 0.
    pub fn constant(value: f64) -> FeatureScale {
        FeatureScale::new(value, f64::MIN_POSITIVE).unwrap_or(FeatureScale::IDENTITY)
    }

    /// The input that `value` becomes; infinite where it lies too many deviations away for f32 and nothing is clipped.
    pub fn apply(&self, value: f64) -> f32 {
        let scaled = (value - self.mean) * self.inverse_deviation;
        if !self.is_clipped {
            return scaled as f32;
        }
        let within = scaled.clamp(-CLIPPED_FROM, CLIPPED_FROM);
        let part = within / CLIP;
        (within / (1.0 + part * part).sqrt()) as f32
    }
}

/// The first, second or third quartile of sorted values, of which there is one: between two neighbours in proportion.
fn quartile(sorted: &[f64], quarter: usize) -> f64 {
    let place = (sorted.len() - 1) * quarter;
    let (below, above) = (sorted[place / 4], sorted[(place / 4 + 1).min(sorted.len() - 1)]);
    below + (above - below) * ((place % 4) as f64 / 4.0)
}

/// A target of numbers: its name, and what stands between its own unit and the network's output.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetScale {
    name: String,
    mean: f64,
    deviation: f64,
}

impl TargetScale {
    /// A scale of these values; none if the mean is not finite or the deviation not finite and above 0.
    pub fn new(name: impl Into<String>, mean: f64, deviation: f64) -> Option<TargetScale> {
        let valid = mean.is_finite() && deviation.is_finite() && deviation > 0.0;
        valid.then(|| TargetScale { name: name.into(), mean, deviation })
    }

    /// The scale that gives `values`, those of the training rows, mean 0 and standard deviation 1 (of the population). A
    /// constant is centred and keeps its unit.
    pub fn standardising(name: impl Into<String>, values: impl Iterator<Item = f64> + Clone) -> TargetScale {
        let (name, spread) = (name.into(), Spread::of(values));
        let found = TargetScale::new(name.as_str(), spread.mean, spread.deviation.unwrap_or(1.0));
        found.unwrap_or(TargetScale { name, mean: 0.0, deviation: 1.0 })
    }

    /// What the data call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Mean over the training rows, in the target's unit.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Standard deviation over the training rows, in the target's unit.
    pub fn deviation(&self) -> f64 {
        self.deviation
    }

    /// What an output is compared with where the target is `value`; infinite where that lies too many deviations away for
    /// f32.
    pub fn apply(&self, value: f64) -> f32 {
        ((value - self.mean) / self.deviation) as f32
    }

    /// What an output says in the target's unit.
    pub fn value(&self, output: f32) -> f64 {
        f64::from(output) * self.deviation + self.mean
    }
}

/// What a model tells of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// One of these classes, by their names; at least two.
    Classes(Vec<String>),
    /// These numbers, of which there is at least one.
    Values(Vec<TargetScale>),
}

impl Target {
    /// Outputs of a network that tells it.
    pub fn outputs(&self) -> usize {
        match self {
            Target::Classes(names) => names.len(),
            Target::Values(scales) => scales.len(),
        }
    }
}

/// Where values lie, and how far apart.
struct Spread {
    mean: f64,
    /// None of a constant.
    deviation: Option<f64>,
}

impl Spread {
    /// Of finite values, in their order. Of none, the mean is 0.
    fn of(values: impl Iterator<Item = f64> + Clone) -> Spread {
        let (mut sum, mut lost, mut count) = (0.0f64, 0.0, 0.0);
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.clone() {
            // What the sum's rounding loses is summed by itself (Neumaier, 1974): times in milliseconds add up to more digits
            // than f64 has, and a mean that is off by a deviation would be of no use.
            let next = sum + value;
            lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
            (sum, count) = (next, count + 1.0);
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        // Least and greatest tell a constant apart; the squares of one whose sum was rounded would be tiny, not 0.
        if least >= greatest || count == 0.0 {
            // Of zeros of both signs either may be the least: a sum with +0 is +0.
            return Spread { mean: if least.is_finite() { least + 0.0 } else { 0.0 }, deviation: None };
        }
        let mean = (sum + lost) / count;
        let mut squares = 0.0;
        for value in values {
            let distance = value - mean;
            squares += distance * distance;
        }
        Spread { mean, deviation: Some((squares / count).sqrt()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(values: &[f64]) -> FeatureScale {
        FeatureScale::standardising(values.iter().copied())
    }

    #[test]
    fn a_standardised_feature_has_mean_0_and_deviation_1() {
        let values = [2.0, 4.0, 6.0, 8.0];
        assert_eq!(scale(&values), FeatureScale::new(5.0, 1.0 / 5f64.sqrt()).unwrap());
        let scaled = values.map(|value| f64::from(scale(&values).apply(value)));
        assert!(scaled.iter().sum::<f64>().abs() < 1e-6);
        assert!((scaled.iter().map(|value| value * value).sum::<f64>() / 4.0 - 1.0).abs() < 1e-6);
        assert_eq!(scale(&[-1e6, 0.0, 1e6, 2e6]).mean(), 5e5);
    }

    #[test]
    fn a_robust_scale_lies_by_the_quartiles_and_what_is_far_off_stays_below_3() {
        let robust = |values: &[f64]| FeatureScale::robust(values.iter().copied());
        let scale = robust(&[9.0, 1.0, 5.0, 3.0, 1e9]);
        assert_eq!((scale.mean(), scale.inverse_deviation(), scale.is_clipped()), (5.0, 1.0 / 6.0, true));
        // Between neighbours in proportion: 1.75, 2.5 and 3.25.
        assert_eq!(
            (robust(&[1.0, 2.0, 3.0, 4.0]).mean(), robust(&[1.0, 2.0, 3.0, 4.0]).inverse_deviation()),
            (2.5, 1.0 / 1.5)
        );
        assert_eq!(scale.apply(5.0), 0.0);
        let one = 1.0 / (1.0 + (1.0f64 / 3.0) * (1.0 / 3.0)).sqrt();
        assert_eq!((scale.apply(11.0), scale.apply(-1.0)), (one as f32, -one as f32));
        for far in [1e9, 1e300, f64::MAX] {
            assert_eq!((scale.apply(far), scale.apply(-far)), (3.0, -3.0));
        }
        // Where half of the values are one: by half the distance of least and greatest, or, of a constant, by its unit.
        assert_eq!(robust(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0]).inverse_deviation(), 0.25);
        assert_eq!((robust(&[7.0; 3]).mean(), robust(&[7.0; 3]).inverse_deviation()), (7.0, 1.0));
        assert_eq!(robust(&[]), FeatureScale::IDENTITY.clipped_if(true));
        assert_eq!(robust(&[-f64::MAX, f64::MAX]), FeatureScale::IDENTITY.clipped_if(true));
    }

    #[test]
    fn a_constant_feature_becomes_0_and_keeps_its_unit() {
        // 0.1 is no binary fraction: three of them do not sum to thrice the value.
        assert_eq!(scale(&[0.1, 0.1, 0.1]), FeatureScale::new(0.1, 1.0).unwrap());
        let seven = scale(&[7.0, 7.0]);
        assert_eq!((seven.apply(7.0), seven.apply(9.0)), (0.0, 2.0));
        let always = FeatureScale::constant(7.0);
        assert_eq!([7.0, 9.0, -1e100].map(|value| always.apply(value)), [0.0; 3]);
    }

    #[test]
    fn a_feature_far_from_0_has_the_inputs_that_it_has_near_0() {
        let near: Vec<f64> = (0..10_000).map(|row| f64::from(row * 7 % 1_000)).collect();
        let inputs = |offset: f64| {
            let values: Vec<f64> = near.iter().map(|value| value + offset).collect();
            let scale = scale(&values);
            values.iter().map(|&value| scale.apply(value)).collect::<Vec<_>>()
        };
        let wanted = inputs(0.0);
        // A sum of plain additions is off by two units here, and at the largest by more than the deviation.
        for offset in [1.7e12, 9e14, 1e15] {
            let farthest = inputs(offset).iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(farthest < 1e-3, "{offset}: {farthest}");
        }
    }

    #[test]
    fn the_extremes_of_f32_keep_a_finite_scale() {
        let tiny = f64::from(f32::from_bits(1));
        for values in [[f64::from(f32::MAX), -f64::from(f32::MAX)], [0.0, tiny], [1e8, 1e8 + 8.0]] {
            let scale = scale(&values);
            assert!(FeatureScale::new(scale.mean, scale.inverse_deviation).is_some(), "{scale:?}");
            assert_eq!(values.map(|value| scale.apply(value).abs()), [1.0, 1.0], "{scale:?}");
        }
    }

    #[test]
    fn the_identity_keeps_every_bit() {
        for value in [0.1f32, -3.4e38, 1e-45, 16_777_217.0] {
            assert_eq!(FeatureScale::IDENTITY.apply(f64::from(value)).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn a_target_has_mean_0_and_deviation_1_and_its_value_comes_back() {
        let values = [2e6, 4e6, 6e6, 8e6];
        let scale = TargetScale::standardising("price", values.into_iter());
        assert_eq!((scale.name(), scale.mean(), scale.deviation()), ("price", 5e6, 5e12f64.sqrt()));
        let outputs = values.map(|value| scale.apply(value));
        assert_eq!(outputs.map(|output| (scale.value(output)).round()), values);
        assert!((outputs.iter().map(|output| f64::from(output * output)).sum::<f64>() - 4.0).abs() < 1e-6);
    }

    #[test]
    fn a_target_beyond_f32s_digits_is_scaled_in_f64() {
        // In f32 the two are one number.
        let scale = TargetScale::standardising("t", [1e9, 1e9 + 2.0].into_iter());
        assert_eq!([1e9, 1e9 + 2.0].map(|value| scale.apply(value)), [-1.0, 1.0]);
    }

    #[test]
    fn a_constant_target_becomes_0_and_one_without_a_deviation_keeps_its_unit() {
        let scale = TargetScale::standardising("t", [0.1, 0.1, 0.1].into_iter());
        assert_eq!((scale.apply(0.1), scale.apply(1.1), scale.deviation()), (0.0, 1.0, 1.0));
        // The squares of these are 0 in f64.
        let scale = TargetScale::standardising("t", [1e-300, 3e-300].into_iter());
        assert_eq!((scale.mean(), scale.deviation()), (0.0, 1.0));
        let refused = [(f64::NAN, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, f64::INFINITY)];
        assert!(refused.iter().all(|&(mean, deviation)| TargetScale::new("t", mean, deviation).is_none()));
    }

    #[test]
    fn a_scale_that_is_no_scale_is_refused() {
        let refused = [(f64::NAN, 1.0), (f64::INFINITY, 1.0), (0.0, 0.0), (0.0, -1.0), (0.0, f64::INFINITY)];
        assert!(refused.iter().all(|&(mean, inverse)| FeatureScale::new(mean, inverse).is_none()));
    }
}
