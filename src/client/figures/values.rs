//! Figures of a model that fits numbers, for one target, in its own unit. Owns the sums and what follows from them.

/// Rows as they are summed, in their order.
#[derive(Clone, Debug)]
pub(in crate::client) struct ValueSums {
    /// What the guess always says: the mean of the training rows.
    guess: f64,
    rows: u64,
    squared: f64,
    absolute: f64,
    /// Of the guess.
    guess_squared: f64,
    guess_absolute: f64,
    /// The mean of the targets so far, and the squares of their distances from it (Welford 1962).
    mean: f64,
    variation: f64,
}

/// How good a model is at a target, and the mean of the training rows, which knows nothing of a row.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::client) struct ValueFigures {
    pub(in crate::client) rows: u64,
    /// What the guess always says.
    pub(in crate::client) guess: f64,
    /// Name, the model's, the guess's.
    pub(in crate::client) figures: [(&'static str, Option<f64>, Option<f64>); 3],
}

impl ValueSums {
    pub(in crate::client) fn new(guess: f64) -> ValueSums {
        ValueSums {
            guess,
            rows: 0,
            squared: 0.0,
            absolute: 0.0,
            guess_squared: 0.0,
            guess_absolute: 0.0,
            mean: 0.0,
            variation: 0.0,
        }
    }

    /// Takes a row in.
    pub(in crate::client) fn take(&mut self, target: f64, told: f64) {
        self.rows += 1;
        let (error, of_guess) = (told - target, self.guess - target);
        self.squared += error * error;
        self.absolute += error.abs();
        self.guess_squared += of_guess * of_guess;
        self.guess_absolute += of_guess.abs();
        let before = target - self.mean;
        self.mean += before / self.rows as f64;
        self.variation += before * (target - self.mean);
    }

    /// The figures; none where there is no row.
    pub(in crate::client) fn finish(&self) -> Option<ValueFigures> {
        if self.rows == 0 {
            return None;
        }
        let rows = self.rows as f64;
        let r2 = |squared: f64| (self.variation > 0.0).then(|| 1.0 - squared / self.variation);
        let root = |squared: f64| Some((squared / rows).sqrt());
        let figures = [
            ("r2", r2(self.squared), r2(self.guess_squared)),
            ("rmse", root(self.squared), root(self.guess_squared)),
            ("mae", Some(self.absolute / rows), Some(self.guess_absolute / rows)),
        ];
        Some(ValueFigures { rows: self.rows, guess: self.guess, figures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_in_the_targets_unit_and_those_of_their_definitions() {
        let mut sums = ValueSums::new(2.0);
        for (target, told) in [(1.0, 2.0), (3.0, 3.0), (8.0, 6.0)] {
            sums.take(target, told);
        }
        let ValueFigures { figures: [(_, r2, of_guess), rmse, mae], guess, .. } = sums.finish().unwrap();
        // About the mean of these rows, 4: 9 + 1 + 16. The model is off by 1, 0, 2, the guess by 1, 1, 6.
        assert!(
            (r2.unwrap() - (1.0 - 5.0 / 26.0)).abs() < 1e-12 && (of_guess.unwrap() - (1.0 - 38.0 / 26.0)).abs() < 1e-12
        );
        assert_eq!(rmse, ("rmse", Some((5.0f64 / 3.0).sqrt()), Some((38.0f64 / 3.0).sqrt())));
        assert_eq!((mae, guess), (("mae", Some(1.0), Some(8.0 / 3.0)), 2.0));
    }

    #[test]
    fn targets_far_from_0_keep_their_variation_and_equal_ones_have_none() {
        let mut sums = ValueSums::new(1e9);
        for target in [1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0] {
            sums.take(target, target);
        }
        assert!((sums.variation - 2.0).abs() < 1e-9, "{}", sums.variation);
        let mut sums = ValueSums::new(1.0);
        (0..3).for_each(|_| sums.take(0.1, 0.3));
        assert_eq!(sums.finish().unwrap().figures[0].1, None);
    }
}
