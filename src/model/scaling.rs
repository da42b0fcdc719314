//! How a feature becomes a network's input, and a target what its outputs are compared with. Owns the statistics of the
//! training rows and their rounding; does not know where rows come from.
//!
//! An input is `f32((f64(x) - mean) * inverse_deviation)`: one subtraction, one multiplication and one conversion, each
//! rounded to nearest. Mean and deviation are sums over the training rows in the order of the file, in f64, without
//! fused operations, so they have the same bits on every machine. A target is `f32((x - mean) / deviation)`, of an f64.

/// A feature's affine scale: what is subtracted, then what is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureScale {
    mean: f64,
    inverse_deviation: f64,
}

impl FeatureScale {
    /// Leaves every value as it is, to the bit.
    pub const IDENTITY: FeatureScale = FeatureScale { mean: 0.0, inverse_deviation: 1.0 };

    /// A scale of these values; none if the mean is not finite or the inverse deviation not finite and above 0.
    pub fn new(mean: f64, inverse_deviation: f64) -> Option<FeatureScale> {
        let valid = mean.is_finite() && inverse_deviation.is_finite() && inverse_deviation > 0.0;
        valid.then_some(FeatureScale { mean, inverse_deviation })
    }

    /// What is subtracted, in the feature's unit.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// What is multiplied with, in one over the feature's unit.
    pub fn inverse_deviation(&self) -> f64 {
        self.inverse_deviation
    }

    /// The input that `value` becomes; infinite where it lies too many deviations away for f32.
    pub fn apply(&self, value: f32) -> f32 {
        ((f64::from(value) - self.mean) * self.inverse_deviation) as f32
    }
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
        let (mut sum, mut count, mut least, mut greatest) = (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY);
        for value in values.clone() {
            (sum, count) = (sum + value, count + 1.0);
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        let name = name.into();
        if least >= greatest {
            return TargetScale { name, mean: if least.is_finite() { least } else { 0.0 }, deviation: 1.0 };
        }
        let mean = sum / count;
        let mut squares = 0.0;
        for value in values {
            let distance = value - mean;
            squares += distance * distance;
        }
        let deviation = (squares / count).sqrt();
        let found = TargetScale::new(name.as_str(), mean, deviation);
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

/// What a pass over the rows finds out about a feature before its deviation can be taken.
#[derive(Clone, Copy)]
struct Spread {
    sum: f64,
    least: f32,
    greatest: f32,
    squares: f64,
}

/// The scales that give each of `features` features mean 0 and standard deviation 1 (of the population: divided by the
/// number of rows) over `rows`, which are finite. A constant feature is centred and keeps its unit.
pub fn standardise<'a>(features: usize, rows: impl Iterator<Item = &'a [f32]> + Clone) -> Vec<FeatureScale> {
    let unseen = Spread { sum: 0.0, least: f32::INFINITY, greatest: f32::NEG_INFINITY, squares: 0.0 };
    let mut spreads = vec![unseen; features];
    let mut count = 0.0;
    for row in rows.clone() {
        count += 1.0;
        for (spread, &value) in spreads.iter_mut().zip(row) {
            spread.sum += f64::from(value);
            spread.least = spread.least.min(value);
            spread.greatest = spread.greatest.max(value);
        }
    }
    for row in rows {
        for (spread, &value) in spreads.iter_mut().zip(row) {
            let distance = f64::from(value) - spread.sum / count;
            spread.squares += distance * distance;
        }
    }
    let scale = |spread: &Spread| {
        // Least and greatest tell a constant apart; the squares of one whose sum was rounded would be tiny, not 0.
        if spread.least >= spread.greatest {
            let mean = f64::from(spread.least);
            return FeatureScale::new(mean, 1.0).unwrap_or(FeatureScale::IDENTITY);
        }
        let inverse_deviation = 1.0 / (spread.squares / count).sqrt();
        FeatureScale::new(spread.sum / count, inverse_deviation).unwrap_or(FeatureScale::IDENTITY)
    };
    spreads.iter().map(scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scales(rows: &[[f32; 2]]) -> Vec<FeatureScale> {
        standardise(2, rows.iter().map(|row| &row[..]))
    }

    #[test]
    fn a_standardised_feature_has_mean_0_and_deviation_1() {
        let scales = scales(&[[2.0, -1e6], [4.0, 0.0], [6.0, 1e6], [8.0, 2e6]]);
        assert_eq!(scales[0], FeatureScale { mean: 5.0, inverse_deviation: 1.0 / 5f64.sqrt() });
        let scaled = [2.0f32, 4.0, 6.0, 8.0].map(|value| f64::from(scales[0].apply(value)));
        assert!(scaled.iter().sum::<f64>().abs() < 1e-6);
        assert!((scaled.iter().map(|value| value * value).sum::<f64>() / 4.0 - 1.0).abs() < 1e-6);
        assert_eq!(scales[1].mean(), 5e5);
    }

    #[test]
    fn a_constant_feature_becomes_0_and_keeps_its_unit() {
        // 0.1 is no binary fraction: three of them do not sum to thrice the value in f32.
        let scales = scales(&[[0.1, 7.0], [0.1, 7.0], [0.1, 7.0]]);
        assert_eq!(scales[0], FeatureScale { mean: f64::from(0.1f32), inverse_deviation: 1.0 });
        assert_eq!((scales[0].apply(0.1), scales[1].apply(7.0), scales[1].apply(9.0)), (0.0, 0.0, 2.0));
    }

    #[test]
    fn the_extremes_of_f32_keep_a_finite_scale() {
        let tiny = f32::from_bits(1);
        for rows in [[[f32::MAX, 0.0], [-f32::MAX, tiny]], [[1e8, tiny], [1e8 + 8.0, 0.0]]] {
            for (index, scale) in scales(&rows).iter().enumerate() {
                assert!(FeatureScale::new(scale.mean, scale.inverse_deviation).is_some(), "{scale:?}");
                assert_eq!(rows.map(|row| scale.apply(row[index]).abs()), [1.0, 1.0], "{scale:?}");
            }
        }
    }

    #[test]
    fn the_identity_keeps_every_bit() {
        for value in [0.1f32, -3.4e38, 1e-45, 16_777_217.0] {
            assert_eq!(FeatureScale::IDENTITY.apply(value).to_bits(), value.to_bits());
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
