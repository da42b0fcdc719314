//! Rows and their targets, ready to train or to validate on. Owns the checks that make them safe to compute with, and the threshold
//! of inputs; does not know where they come from.

use std::borrow::Cow;
use std::fmt;

use super::input_layout::{InputLayout, Inputs};
use super::loss::{Targets, TargetsError};
use super::thresholds::{VALUE_LEAST, cut};

/// Rows of features, row-major, each with a target. There is at least one; every value is finite, and +0 or not below 2^-40 in
/// magnitude; every target is one that a model can be trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows<'a> {
    layout: InputLayout,
    parts: RowParts<'a>,
}

/// Rows as they are written, not looked at yet.
#[derive(Clone, Debug, PartialEq)]
pub struct RowParts<'a> {
    /// Inputs that are written as they are, row-major.
    pub values: Cow<'a, [f32]>,
    /// Indices of the others, row-major, each of as many bytes as their layout says.
    pub indices: Cow<'a, [u8]>,
    /// What each row is compared with.
    pub targets: Targets<'a>,
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
        let parts = RowParts { values: values.into(), indices: Cow::default(), targets };
        Rows::of_parts(&InputLayout::plain(features), parts)
    }

    /// The same of rows that are written by a layout.
    pub fn of_parts(layout: &InputLayout, parts: RowParts<'a>) -> Result<Rows<'a>, RowsError> {
        let RowParts { mut values, indices, targets } = parts;
        let (features, rows) = (layout.inputs(), targets.rows());
        if features == 0 {
            return Err(RowsError::NoFeatures);
        }
        if rows == 0 {
            return Err(RowsError::NoRows);
        }
        let plain = layout.plain_inputs() as usize;
        if u32::try_from(rows).is_err() || rows.checked_mul(plain) != Some(values.len()) {
            return Err(RowsError::Values { got: values.len(), rows, features: plain as u32 });
        }
        let columns = layout.columns();
        let index_bytes = layout.index_bytes() * columns.len();
        if rows.checked_mul(index_bytes) != Some(indices.len()) {
            return Err(RowsError::Indices { got: indices.len(), rows, bytes: index_bytes });
        }
        let targets = targets.checked().map_err(RowsError::Targets)?;
        // All of some hundred at a time: looking for the first costs ten times as much.
        let are_finite = |values: &[f32]| values.iter().fold(true, |all, value| all & value.is_finite());
        if let Some(part) = values.chunks(FINITE_PART).position(|part| !are_finite(part)) {
            let first = part * FINITE_PART;
            let index = first + values[first..].iter().position(|value| !value.is_finite()).unwrap_or_default();
            let (row, place) = (index / plain, index % plain);
            let run = layout.plain_runs().find(|(_, first, count)| (*first..first + count).contains(&place));
            return Err(RowsError::NotFinite {
                row,
                feature: run.map_or(place, |(input, first, _)| input + place - first),
            });
        }
        for place in 0..rows * columns.len() {
            let (column, got) = (place % columns.len(), layout.index(&indices, place));
            let [_, levels] = columns[column];
            if got > levels {
                return Err(RowsError::Index { row: place / columns.len(), column, got, levels });
            }
        }
        // They are copied for that only if there is such a value.
        if values.iter().any(|value| cut(*value, VALUE_LEAST).to_bits() != value.to_bits()) {
            cut_inputs(values.to_mut());
        }
        Ok(Rows { layout: layout.clone(), parts: RowParts { values, indices, targets } })
    }

    /// Rows that [`Rows::of_parts`] has made before of the same parts, and left as they were.
    pub fn known(layout: &InputLayout, parts: RowParts<'a>) -> Rows<'a> {
        let rows = Rows { layout: layout.clone(), parts };
        debug_assert_eq!(Rows::of_parts(layout, rows.parts.clone()).as_ref(), Ok(&rows));
        rows
    }

    /// Whether these are the values and targets that were given, where they lay.
    pub fn are_as_they_lay(&self) -> bool {
        let targets = match &self.parts.targets {
            Targets::Labels { labels, .. } => matches!(labels, Cow::Borrowed(_)),
            Targets::Values { values, .. } => matches!(values, Cow::Borrowed(_)),
        };
        // Nothing is ever made of indices.
        targets && matches!(self.parts.values, Cow::Borrowed(_))
    }

    /// The same, with values and targets of its own.
    pub fn into_owned(self) -> Rows<'static> {
        let Rows { layout, parts: RowParts { values, indices, targets } } = self;
        let (values, indices) = (values.into_owned().into(), indices.into_owned().into());
        Rows { layout, parts: RowParts { values, indices, targets: targets.into_owned() } }
    }

    /// Number of rows; at least 1.
    pub fn rows(&self) -> u32 {
        // Checked in `new`.
        self.parts.targets.rows() as u32
    }

    /// Features of a row.
    pub fn features(&self) -> u32 {
        self.layout.inputs()
    }

    /// The inputs as they are written.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { layout: &self.layout, values: &self.parts.values, indices: &self.parts.indices }
    }

    /// The inputs that are written as they are, row-major: all, unless the layout has index columns.
    pub fn values(&self) -> &[f32] {
        &self.parts.values
    }

    /// What each row is compared with.
    pub fn targets(&self) -> &Targets<'a> {
        &self.parts.targets
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
        /// Features of a row that are no index's.
        features: u32,
    },
    /// The indices are not as many as the rows' index columns.
    Indices {
        /// Bytes given.
        got: usize,
        /// Targets given.
        rows: usize,
        /// Bytes of a row's indices.
        bytes: usize,
    },
    /// An index that is above the number of inputs that it stands for.
    Index {
        /// Its row, from 0.
        row: usize,
        /// Its index column, from 0.
        column: usize,
        /// The index.
        got: u32,
        /// Inputs that it stands for.
        levels: u32,
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
            Self::Indices { got, rows, bytes } => {
                write!(f, "{rows} rows whose indices take {bytes} bytes each are not {got} bytes")
            }
            Self::Index { row, column, got, levels } => write!(
                f,
                "row {row}, index column {column} (from 0) has index {got}, and stands for {levels} inputs: an index below is the \
                 input that is 1, and {levels} says that none is"
            ),
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

    #[test]
    fn an_index_beyond_its_inputs_is_refused_with_its_place_and_inputs_are_counted_as_the_network_does() {
        // Of seven inputs the second to fourth and the sixth are indices.
        let layout = InputLayout::new(7, &[[1, 3], [1, 1]]).unwrap();
        let rows = |values: &[f32], indices: &[u8]| {
            let targets = Targets::Labels { labels: vec![0, 1].into(), classes: 2 };
            Rows::of_parts(
                &layout,
                RowParts { values: values.to_vec().into(), indices: indices.to_vec().into(), targets },
            )
        };
        let fine = rows(&[1.0, 2.0, 3.0, 4.0, 1e-13, 6.0], &[0, 1, 3, 0]).unwrap();
        assert_eq!((fine.features(), fine.rows(), fine.values()[4]), (7, 2, 0.0));
        assert_eq!(Rows::known(&layout, fine.parts.clone()), fine);
        let index = rows(&[1.0; 6], &[3, 1, 3, 2]).unwrap_err();
        assert_eq!(index, RowsError::Index { row: 1, column: 1, got: 2, levels: 1 });
        assert!(index.to_string().contains("row 1, index column 1 (from 0) has index 2, and stands for 1"), "{index}");
        let few = rows(&[1.0; 6], &[0; 3]);
        assert_eq!(few, Err(RowsError::Indices { got: 3, rows: 2, bytes: 2 }));
        assert_eq!(rows(&[1.0; 14], &[0; 4]), Err(RowsError::Values { got: 14, rows: 2, features: 3 }));
        for (place, feature) in [(3, 0), (4, 4), (5, 6)] {
            let mut values = [1.0; 6];
            values[place] = f32::INFINITY;
            assert_eq!(rows(&values, &[0; 4]), Err(RowsError::NotFinite { row: 1, feature }));
        }
    }
}
