//! The columns of a model's rows, as every form of it sees them. Owns which of them become inputs, and where a category's input
//! lies; does not know the forms.

use crate::dataset::{Becomes, Categories, Encoder, MissingCategory, Schema};

/// The place of a category that has no input.
pub(super) const NOWHERE: i64 = -1;
/// The place of a missing category where none may be missing.
pub(super) const REFUSED: i64 = -2;

/// A column that becomes inputs.
pub(super) struct InputColumn<'a> {
    /// Its place in the file, from 1.
    pub(super) number: usize,
    /// Its name, which another column may have as well.
    pub(super) name: &'a str,
    /// What becomes of it.
    pub(super) encoder: &'a Encoder,
}

/// Those of a schema, in the order of the file. A column of no inputs, such as one of categories all of which were rare, is
/// none of them.
pub(super) fn input_columns(schema: &Schema) -> Vec<InputColumn<'_>> {
    let columns = schema.columns.iter().enumerate();
    let inputs = columns.filter_map(|(place, column)| match &column.becomes {
        Becomes::Inputs(encoder) if encoder.width() > 0 => {
            Some(InputColumn { number: place + 1, name: &column.name, encoder })
        }
        _ => None,
    });
    inputs.collect()
}

/// Which of a column's inputs is 1 for a category that is no level.
pub(super) fn place_of_unknown(categories: &Categories) -> i64 {
    if categories.has_rare { categories.levels.len() as i64 } else { NOWHERE }
}

/// Which of a column's inputs is 1 for a missing category.
pub(super) fn place_of_missing(categories: &Categories) -> i64 {
    match categories.missing {
        MissingCategory::Own => categories.levels.len() as i64 + i64::from(categories.has_rare),
        MissingCategory::As(place) => place as i64,
        MissingCategory::Unknown => place_of_unknown(categories),
        MissingCategory::Refused => REFUSED,
    }
}
