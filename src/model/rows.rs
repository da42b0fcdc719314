//! Rows and their targets, ready to train or to validate on. Owns the checks that make them safe to compute with, and the threshold
//! of inputs; does not know where they come from.

use std::borrow::Cow;
use std::fmt;

use super::loss::{Targets, TargetsError};
use super::thresholds::{VALUE_LEAST, cut};

/// Rows of features, row-major, each with a target. There is at least one; every value is finite, and +0 or not below 2^-40 in
/// magnitude; every target is one that a model can be trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<'a> {
    features: u32,
    values: Cow<'a, [f32]>,
    targets: Targets<'a>,
}

/// Values of which is found out at a time whether they are finite.
const FINITE_PART: usize = 256;

impl<'a> Rows<'a> {
    /// The rows of `values`, `features` each, row-major, whose labels are below `classes`: as [`Rows::new`].
    pub fn labelled(
        features: u32,
        values: impl Into<Cow<'a, [f32]>>,
        labels: impl Into<Cow<'a, [u32]>>,
        classes: u32,
    ) -> Result<Rows<'a>, RowsError> {
        Rows::new(features, values, Targets::Labels { labels: labels.into(), classes })
    }

    /// The rows of `values`, `features` each, row-major.
    /// What of the values is below 2^-40 in magnitude becomes +0.
    pub fn new(features: u32, values: impl Into<Cow<'a, [f32]>>, targets: Targets<'a>) -> Result<Rows<'a>, RowsError> {
        let (mut values, rows) = (values.into(), targets.rows());
        if features == 0 {
            return Err(RowsError::NoFeatures);
        }
        if rows == 0 {
            return Err(RowsError::NoRows);
        }
        if u32::try_from(rows).is_err() || rows.checked_mul(features as usize) != Some(values.len()) {
            return Err(RowsError::Values { got: values.len(), rows, features });
        }
        let targets = targets.checked().map_err(RowsError::Targets)?;
        // All of some hundred at a time: looking for the first costs ten times as much.
        let are_finite = |values: &[f32]| values.iter().fold(true, |all, value| all & value.is_finite());
        if let Some(part) = values.chunks(FINITE_PART).position(|part| !are_finite(part)) {
            let first = part * FINITE_PART;
            let index = first + values[first..].iter().position(|value| !value.is_finite()).unwrap_or_default();
            return Err(RowsError::NotFinite { row: index / features as usize, feature: index % features as usize });
        }
        // They are copied for that only if there is such a value.
        if values.iter().any(|value| cut(*value, VALUE_LEAST).to_bits() != value.to_bits()) {
            cut_inputs(values.to_mut());
        }
        Ok(Rows { features, values, targets })
    }

    /// Rows that [`Rows::new`] has made before of the same values and targets, and left as they were.
    pub fn known(features: u32, values: impl Into<Cow<'a, [f32]>>, targets: Targets<'a>) -> Rows<'a> {
        let values = values.into();
        debug_assert_eq!(
            Rows::new(features, &*values, targets.clone()),
            Ok(Rows { features, values: values.clone(), targets: targets.clone() })
        );
        Rows { features, values, targets }
    }

    /// Whether these are the values and targets that were given, where they lay.
    pub fn are_as_they_lay(&self) -> bool {
        let targets = match &self.targets {
            Targets::Labels { labels, .. } => matches!(labels, Cow::Borrowed(_)),
            Targets::Values { values, .. } => matches!(values, Cow::Borrowed(_)),
        };
        targets && matches!(self.values, Cow::Borrowed(_))
    }

    /// The same, with values and targets of its own.
    pub fn into_owned(self) -> Rows<'static> {
        let Rows { features, values, targets } = self;
        Rows { features, values: values.into_owned().into(), targets: targets.into_owned() }
    }

    /// Number of rows; at least 1.
    pub fn rows(&self) -> u32 {
        // Checked in `new`.
        self.targets.rows() as u32
    }

    /// Features of a row.
    pub fn features(&self) -> u32 {
        self.features
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// What each row is compared with.
    pub fn targets(&self) -> &Targets<'a> {
        &self.targets
    }
}

/// Makes network inputs of values: those below the threshold become +0.
pub(super) fn cut_inputs(values: &mut [f32]) {
    for value in values {
        *value = cut(*value, VALUE_LEAST);
    }
}

/// Why values make no rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsError {
    /// Rows of nothing.
    NoFeatures,
    /// No row at all.
    NoRows,
    /// The number of values is not rows x features, or there are more rows than 32 bits count.
    Values {
        /// Values given.
        got: usize,
        /// Targets given.
        rows: usize,
        /// Features of a row.
        features: u32,
    },
    /// A target that none can be trained on.
    Targets(TargetsError),
    /// A NaN or an infinity.
    NotFinite {
        /// Its row, from 0.
        row: usize,
        /// Its feature, from 0.
        feature: usize,
    },
}

impl fmt::Display for RowsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFeatures => f.write_str("a row has at least one feature"),
            Self::NoRows => f.write_str("there must be at least one row"),
            Self::Values { got, rows, features } => {
                write!(f, "{rows} rows of {features} features are not {got} values: give one value for each")
            }
            Self::Targets(error) => error.fmt(f),
            Self::NotFinite { row, feature } => {
                write!(f, "row {row}, feature {feature} (from 0) is not a finite number: remove the row or correct it")
            }
        }
    }
}

impl std::error::Error for RowsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_rows_are_taken_and_broken_ones_refused() {
        let rows = Rows::labelled(2, vec![1.0, 2.0, 3.0, 4.0], vec![0, 2], 3).unwrap();
        assert_eq!((rows.rows(), rows.features(), rows.targets().labels()), (2, 2, &[0, 2][..]));
        assert_eq!(Rows::labelled(0, vec![], vec![0], 3), Err(RowsError::NoFeatures));
        assert_eq!(Rows::labelled(2, vec![], vec![], 3), Err(RowsError::NoRows));
        assert_eq!(
            Rows::labelled(2, vec![1.0; 3], vec![0, 0], 3),
            Err(RowsError::Values { got: 3, rows: 2, features: 2 })
        );
        let label = TargetsError::Label { row: 1, got: 3, classes: 3 };
        assert_eq!(Rows::labelled(1, vec![1.0; 2], vec![0, 3], 3), Err(RowsError::Targets(label)));
        let tiny = Rows::labelled(2, vec![1e-12, -1e-13, 1e-13, -0.0], vec![0, 0], 1).unwrap();
        assert_eq!(
            tiny.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>(),
            [1e-12f32.to_bits(), 0, 0, 0]
        );
        let values = vec![1.0, 1.0, 1.0, f32::NAN];
        assert_eq!(Rows::labelled(2, values, vec![0, 0], 3), Err(RowsError::NotFinite { row: 1, feature: 1 }));
    }
}
