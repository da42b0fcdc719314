//! Which class was taken for which, for people and scripts. Owns the matrix; does not know where the pairs come from.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::job::Summary;
use crate::model::figures::ConfusionEntry;
use crate::wire::object::{self, ObjectError};
use crate::wire::text::shown;

/// Classes up to which all pairs are shown.
pub(super) const SHOWN_CLASSES_MAX: usize = 50;
/// Characters of a class's name in the head of the matrix, at most.
const NAME_CHARACTERS_MAX: usize = 12;

/// Rows by what they are and what they were taken for, `[class, class]`; none where classes are too many to be shown.
pub(super) fn matrix(pairs: &[ConfusionEntry], classes: usize) -> Option<Vec<u64>> {
    let mut matrix = (classes <= SHOWN_CLASSES_MAX).then(|| vec![0; classes * classes])?;
    for pair in pairs {
        matrix[pair.label as usize * classes + pair.taken_for as usize] += pair.rows;
    }
    Some(matrix)
}

/// A list for each class of what rows of it were taken for.
pub(super) fn in_json(matrix: &[u64], classes: usize) -> Value {
    matrix.chunks(classes.max(1)).map(Value::from).collect()
}

/// A line for each class, a column for what it is taken for.
pub(super) fn in_words(matrix: &[u64], names: &[String]) -> String {
    let cut = |name: &String| -> String { shown(name).to_string().chars().take(NAME_CHARACTERS_MAX).collect() };
    let short: Vec<Cow<'_, str>> = names.iter().map(|name| Cow::Owned(cut(name))).collect();
    let most = matrix.iter().max().map_or(0, |most| most.to_string().len());
    let first = short.iter().map(|name| name.chars().count()).max().unwrap_or(0).max("CLASS".len());
    let widths: Vec<usize> = short.iter().map(|name| name.chars().count().max(most)).collect();
    let mut text = format!("{:<first$}  TAKEN FOR\n{:<first$}", "CLASS", "");
    let pad = |text: &mut String, cell: &str, width: usize| {
        let _ = write!(text, "  {:blank$}{cell}", "", blank = width - cell.chars().count().min(width));
    };
    for (name, width) in short.iter().zip(&widths) {
        pad(&mut text, name, *width);
    }
    text.push('\n');
    for (name, row) in short.iter().zip(matrix.chunks(names.len())) {
        let _ = write!(text, "{name}{:blank$}", "", blank = first - name.chars().count());
        for (count, width) in row.iter().zip(&widths) {
            pad(&mut text, &count.to_string(), *width);
        }
        text.push('\n');
    }
    text
}

/// Which class the validation rows of a job were taken for, and the test rows, where there are some.
pub(super) struct JobConfusion {
    names: Vec<String>,
    validation: Vec<u64>,
    test: Option<Vec<u64>>,
}

impl JobConfusion {
    /// Bytes of the object that tells of so many classes, at most.
    pub(super) fn bytes_max(classes: usize) -> u64 {
        const DESCRIPTOR_BYTES: u64 = 64;
        const PAIR_BYTES: u64 = 12;
        2 * PAIR_BYTES * (classes * classes) as u64 + DESCRIPTOR_BYTES
    }

    /// What an object tells, of so many validation and test rows.
    pub(super) fn decode(names: Vec<String>, done: &Summary, bytes: &[u8]) -> Result<JobConfusion, ObjectError> {
        let rows: Vec<u64> = std::iter::once(done.rows).chain(done.test.map(|test| test.rows)).collect();
        let told = object::decode_confusion(names.len() as u32, &rows, bytes)?;
        let mut matrices = told.iter().filter_map(|pairs| matrix(pairs, names.len()));
        let (validation, test) = (matrices.next().unwrap_or_default(), matrices.next());
        Ok(JobConfusion { names, validation, test })
    }

    /// Puts it behind what else is told of the end.
    pub(super) fn put(&self, event: &mut Value) {
        event["classes"] = self.names.clone().into();
        event["validation_confusion"] = in_json(&self.validation, self.names.len());
        if let Some(test) = &self.test {
            event["test_confusion"] = in_json(test, self.names.len());
        }
    }

    /// A table, or two.
    pub(super) fn in_words(&self) -> String {
        let table = |of: &str, matrix: &[u64]| format!("\n{of} rows\n{}", in_words(matrix, &self.names));
        let test = self.test.as_ref().map(|test| table("test", test)).unwrap_or_default();
        let text = table("validation", &self.validation) + &test;
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_has_a_line_for_each_class_and_a_column_for_what_it_is_taken_for() {
        let names = ["oak", "a\u{1b}cypress tree"].map(str::to_owned);
        let pair = |label, taken_for, rows| ConfusionEntry { label, taken_for, rows };
        let matrix = matrix(&[pair(0, 0, 10), pair(1, 0, 3), pair(1, 1, 400)], 2).unwrap();
        assert_eq!(matrix, [10, 0, 3, 400]);
        let wanted = "CLASS         TAKEN FOR\n              oak  a\\u{1b}cypre\noak            10             0\na\\u{1b}cypre    3           400\n";
        assert_eq!(in_words(&matrix, &names), wanted);
        assert_eq!(in_json(&matrix, 2).to_string(), "[[10,0],[3,400]]");
        assert_eq!(super::matrix(&[], SHOWN_CLASSES_MAX + 1), None);
    }
}
