//! Figures of a model that fits numbers. Owns the sums and what follows from them; does not know units, but for the one that it
//! is told.
//!
//! Outputs and targets are what the model is trained on: in deviations of the training rows, f32, and what is below the
//! threshold is 0.

use super::total::{Total, variation};
use crate::model::thresholds::{VALUE_LEAST, cut};

/// Rows as they are summed.
#[derive(Clone, Debug)]
pub struct ValueSums {
    rows: u64,
    squared: Total,
    absolute: Total,
    /// Of the squares of targets, and of each target itself.
    squares: Total,
    targets: Vec<Total>,
}

/// How far off a model is, in sums over rows and their targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueFigures {
    /// Rows; at least one.
    pub rows: u64,
    /// Of the squares of the outputs' differences from the targets.
    pub squared: f64,
    /// Of their magnitudes.
    pub absolute: f64,
    /// Of the squares of the targets' distances from their own means over these rows.
    pub variation: f64,
}

/// How far off some values are, for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueErrors {
    /// The part of the targets' variation that they tell; none where it is not known, or there is no variation.
    pub r2: Option<f64>,
    /// The root of the mean over rows of the squared distance: of the squares of all targets' differences, added up.
    pub rmse: f64,
    /// The mean over rows of the magnitudes of all targets' differences, added up.
    pub mae: f64,
}

impl ValueErrors {
    /// What sums over so many rows come to, where 1 is so much in the target's unit.
    pub fn of(squared: f64, absolute: f64, variation: Option<f64>, rows: u64, unit: f64) -> ValueErrors {
        let rows = rows.max(1) as f64;
        ValueErrors {
            r2: variation.filter(|variation| *variation > 0.0).map(|variation| 1.0 - squared / variation),
            rmse: (squared / rows).sqrt() * unit,
            mae: absolute / rows * unit,
        }
    }
}

impl ValueSums {
    /// Sums of no row yet, each of which has so many targets.
    pub fn new(width: usize) -> ValueSums {
        ValueSums {
            rows: 0,
            squared: Total::new(),
            absolute: Total::new(),
            squares: Total::new(),
            targets: vec![Total::new(); width],
        }
    }

    /// Bytes that sums of so many targets take.
    pub(super) fn bytes(width: u64) -> u64 {
        width.saturating_mul(size_of::<Total>() as u64)
    }

    /// Takes a row in: its outputs and its targets, as many as there are.
    pub fn take(&mut self, outputs: impl IntoIterator<Item = f32>, targets: &[f32]) {
        self.rows += 1;
        for ((output, &target), sum) in outputs.into_iter().zip(targets).zip(&mut self.targets) {
            let target = cut(target, VALUE_LEAST);
            let difference = f64::from(cut(output - target, VALUE_LEAST));
            self.squared.add(difference * difference);
            self.absolute.add(difference.abs());
            let target = f64::from(target);
            self.squares.add(target * target);
            sum.add(target);
        }
    }

    /// The figures; none where there is no row.
    pub fn finish(&self) -> Option<ValueFigures> {
        (self.rows > 0).then(|| ValueFigures {
            rows: self.rows,
            squared: self.squared.value(),
            absolute: self.absolute.value(),
            variation: variation(&self.squares, &self.targets, self.rows),
        })
    }
}

impl ValueFigures {
    /// The same for people, where 1 is so much in the target's unit.
    pub fn errors(&self, unit: f64) -> ValueErrors {
        ValueErrors::of(self.squared, self.absolute, Some(self.variation), self.rows, unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rows: &[(f32, f32)]) -> ValueFigures {
        let of = |rows: &mut dyn Iterator<Item = &(f32, f32)>| {
            let mut sums = ValueSums::new(1);
            rows.for_each(|(target, told)| sums.take([*told], &[*target]));
            sums.finish().unwrap()
        };
        let figures = of(&mut rows.iter());
        assert_eq!(of(&mut rows.iter().rev()), figures);
        figures
    }

    #[test]
    fn figures_are_those_of_their_definitions() {
        // About the mean of these rows, 4: 9 + 1 + 16. The model is off by 1, 0, 2.
        let figures = figures(&[(1.0, 2.0), (3.0, 3.0), (8.0, 6.0)]);
        assert_eq!(figures, ValueFigures { rows: 3, squared: 5.0, absolute: 3.0, variation: 26.0 });
        let errors = figures.errors(10.0);
        assert_eq!((errors.r2, errors.rmse, errors.mae), (Some(1.0 - 5.0 / 26.0), (5.0f64 / 3.0).sqrt() * 10.0, 10.0));
    }

    #[test]
    fn equal_targets_have_no_variation_and_no_r2() {
        let figures = figures(&[(0.1, 0.3); 3]);
        assert_eq!((figures.variation, figures.errors(1.0).r2), (0.0, None));
    }

    #[test]
    fn each_target_varies_about_its_own_mean_and_all_are_added() {
        let mut sums = ValueSums::new(2);
        sums.take([1.0, 10.0], &[1.0, 10.0]);
        sums.take([3.0, 10.0], &[1.0, 12.0]);
        assert_eq!(sums.finish(), Some(ValueFigures { rows: 2, squared: 8.0, absolute: 4.0, variation: 2.0 }));
        assert_eq!(ValueSums::new(1).finish(), None);
    }

    #[test]
    fn what_is_too_small_is_0_and_what_is_not_finite_stays_so() {
        assert_eq!(figures(&[(1e-13, 0.0), (1.0, 1.0 + f32::EPSILON)]).squared, f64::from(f32::EPSILON).powi(2));
        assert_eq!(figures(&[(0.0, f32::INFINITY)]).squared, f64::INFINITY);
    }
}
