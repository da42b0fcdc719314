//! The numbers by which a model is judged on validation and test rows: of each round the first four, of what came of a job all.
//! Owns their tags and meanings; does not know how they are computed (the losses) or shown.

use std::cmp::Ordering;
use std::fmt;

/// One of the numbers. Which of them there are follows from the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Metric {
    /// The loss, summed over the rows.
    Loss = 1,
    /// Rows whose most probable class is not their label.
    Errors = 2,
    /// The squares of the outputs' differences from the targets, summed over rows and targets.
    SquaredError = 3,
    /// The magnitudes of the same.
    AbsoluteError = 4,
    /// What the logarithm of the probability of each row's class lies below 0, summed over the rows: exact, and rounded once.
    LogLoss = 5,
    /// Rows whose label is among the three classes with the largest outputs; only where there are more classes.
    InTop = 6,
    /// The mean of the recalls of the classes that there are rows of, 0 to 1.
    BalancedAccuracy = 7,
    /// The area under the receiver's curve, 0 to 1; of several classes the mean of each against the rest.
    Auc = 8,
    /// As [`Metric::SquaredError`], but exact, and rounded once.
    SquaredTotal = 9,
    /// The same of [`Metric::AbsoluteError`].
    AbsoluteTotal = 10,
    /// The squares of the targets' distances from their own means over the rows, summed over rows and targets.
    Variation = 11,
}

/// One number for people: how good a model is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quality {
    /// The part of the rows that is predicted wrongly, 0 to 1. It is shown as the part that is not.
    ErrorRate(f64),
    /// One less the part that the squared errors are of the targets' squared distances from their own means.
    R2(f64),
    /// The root of the mean over rows of the squared distance from all of their targets, where nothing says how far apart those lie:
    /// in deviations of the training rows, as targets are standardised.
    RootMeanSquare(f64),
    /// None of the numbers that say it is there: they may be a newer program's.
    Unknown,
}

impl Quality {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Quality::ErrorRate(_) => "accuracy",
            Quality::R2(_) => "r2",
            Quality::RootMeanSquare(_) => "rmse",
            Quality::Unknown => "quality",
        }
    }

    /// Per cent of the rows that are predicted rightly, where this part is not, as two digits show them: 100 only where all are.
    pub fn percent_right(error_rate: f64) -> f64 {
        let percent = 100.0 * (1.0 - error_rate);
        if error_rate > 0.0 { percent.min(99.99) } else { percent }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Quality::ErrorRate(error) => write!(f, "{:.2} %", Quality::percent_right(*error)),
            Quality::R2(share) => write!(f, "{share:.4}"),
            Quality::RootMeanSquare(root) => write!(f, "{root:.5} deviations of the target"),
            Quality::Unknown => f.write_str("-"),
        }
    }
}

/// Numbers that a list holds, at most.
pub const METRICS_MAX: usize = 8;

/// Some of the numbers by their tags, in ascending order. Those of tags that are not known here are kept as they are: a newer
/// program may have told them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metrics {
    count: usize,
    values: [(u16, f64); METRICS_MAX],
}

impl Metrics {
    /// This number, if it is there.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.tagged().iter().find(|(tag, _)| *tag == metric as u16).map(|(_, value)| *value)
    }

    /// The same with this number behind the others; their tags are smaller.
    #[must_use]
    pub fn with(self, metric: Metric, value: f64) -> Metrics {
        let with = self.with_tagged(metric as u16, value);
        debug_assert!(with.is_some(), "{metric:?} is not the last of {self:?}");
        with.unwrap_or(self)
    }

    /// The same with a number of any tag behind the others; nothing if the tag is not larger than theirs, or there are
    /// [`METRICS_MAX`] already.
    pub fn with_tagged(mut self, tag: u16, value: f64) -> Option<Metrics> {
        if self.tagged().last().is_some_and(|(last, _)| *last >= tag) {
            return None;
        }
        *self.values.get_mut(self.count)? = (tag, value);
        self.count += 1;
        Some(self)
    }

    /// How good a model is for which these were summed over so many rows.
    pub fn quality(&self, rows: u64) -> Quality {
        let rows = rows.max(1) as f64;
        let squared = self.get(Metric::SquaredTotal).or(self.get(Metric::SquaredError));
        let variation = self.get(Metric::Variation).filter(|&variation| variation > 0.0);
        match (self.get(Metric::Errors), squared, variation) {
            (Some(errors), ..) => Quality::ErrorRate(errors / rows),
            (None, Some(squared), Some(variation)) => Quality::R2(1.0 - squared / variation),
            (None, Some(squared), None) => Quality::RootMeanSquare((squared / rows).sqrt()),
            (None, None, _) => Quality::Unknown,
        }
    }

    /// Whether a model of these numbers is better than one of those, over the same rows: it has fewer errors, or as many and a
    /// smaller loss; where there are no errors to count, a smaller loss. A loss that is no number is as bad as an infinite one.
    pub fn is_better_than(&self, other: &Metrics) -> bool {
        let key = |metrics: &Metrics| {
            let loss = metrics.get(Metric::Loss).filter(|loss| !loss.is_nan());
            [metrics.get(Metric::Errors).unwrap_or(0.0), loss.unwrap_or(f64::INFINITY)]
        };
        key(self).partial_cmp(&key(other)) == Some(Ordering::Less)
    }

    /// All of them.
    pub fn tagged(&self) -> &[(u16, f64)] {
        &self.values[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_better_by_fewer_errors_and_then_by_a_smaller_loss_and_a_loss_that_is_no_number_is_the_worst() {
        let classes = |errors, loss| Metrics::default().with(Metric::Loss, loss).with(Metric::Errors, errors);
        assert!(classes(3.0, 9.0).is_better_than(&classes(4.0, 1.0)));
        assert!(classes(3.0, 1.0).is_better_than(&classes(3.0, 1.5)));
        assert!(!classes(3.0, 1.0).is_better_than(&classes(3.0, 1.0)), "a tie is no better");
        assert!(!classes(4.0, 0.1).is_better_than(&classes(3.0, 1.0)));
        let numbers = |loss| Metrics::default().with(Metric::Loss, loss).with(Metric::SquaredError, 2.0 * loss);
        assert!(numbers(1.0).is_better_than(&numbers(2.0)) && !numbers(2.0).is_better_than(&numbers(1.0)));
        for worst in [f64::NAN, f64::INFINITY] {
            assert!(numbers(2.0).is_better_than(&numbers(worst)) && !numbers(worst).is_better_than(&numbers(2.0)));
            assert!(!numbers(worst).is_better_than(&numbers(f64::NAN)), "a tie is no better");
            assert!(classes(3.0, 2.0).is_better_than(&classes(3.0, worst)));
        }
    }

    #[test]
    fn an_accuracy_is_shown_as_whole_only_where_no_row_is_wrong() {
        let shown = |errors, rows| Metrics::default().with(Metric::Errors, errors).quality(rows).to_string();
        assert_eq!([shown(0.0, 100_000), shown(1.0, 100_000), shown(1.0, 1 << 32)], ["100.00 %", "99.99 %", "99.99 %"]);
        assert_eq!([shown(1.0, 1_000), shown(4.0, 4), shown(f64::NAN, 4)], ["99.90 %", "0.00 %", "NaN %"]);
    }

    #[test]
    fn metrics_stand_in_the_order_of_their_tags_none_twice_and_not_too_many() {
        let metrics = Metrics::default().with(Metric::Loss, 0.5).with(Metric::Errors, 3.0);
        assert_eq!((metrics.get(Metric::Loss), metrics.get(Metric::Errors)), (Some(0.5), Some(3.0)));
        assert_eq!(Metrics::default().get(Metric::Loss), None);
        assert_eq!(metrics.with_tagged(2, 1.0), None);
        assert_eq!(metrics.quality(4).to_string(), "25.00 %");
        let regression = Metrics::default().with(Metric::Loss, 18.0).with(Metric::SquaredError, 36.0);
        assert_eq!(
            (regression.quality(4).name(), regression.quality(4).to_string().as_str()),
            ("rmse", "3.00000 deviations of the target")
        );
        let result = regression.with(Metric::SquaredTotal, 32.0);
        assert_eq!(result.with(Metric::Variation, 64.0).quality(4), Quality::R2(0.5));
        assert_eq!(result.with(Metric::Variation, 0.0).quality(4).name(), "rmse");
        assert_eq!(Metrics::default().with(Metric::Loss, 1.0).quality(4), Quality::Unknown);
        let mut many = metrics;
        for tag in 3..=METRICS_MAX as u16 {
            many = many.with_tagged(tag, 0.0).unwrap();
        }
        assert_eq!((many.tagged().len(), many.with_tagged(1_000, 0.0)), (METRICS_MAX, None));
    }
}
