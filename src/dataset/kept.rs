//! What the first reading of a file keeps of its values, so that the second need not read them again, or need not be: columns of
//! nothing but plain numbers, and columns of texts that are few. Owns how they are kept; does not know what they are used for.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::cells::Column;
use super::error::Fault;
use super::hash::AsIs;
use super::kinds::Kind;
use super::lines::Lines;
use super::missing::MissingTokens;
use super::store::Store;
use super::tally::{Tally, Values};
use super::texts::NO_CODE;

/// Whole numbers up to here are written in one way by everybody who writes digits alone.
const WHOLE_MAX: f64 = 1e15;

/// The columns, and where the rows stand.
#[derive(Debug, Default)]
pub(super) struct Kept {
    columns: Vec<KeptColumn>,
    /// Where their values lie.
    pub(super) store: Store,
    /// Of each file, its rows and their lines.
    parts: Vec<(usize, Lines)>,
}

/// A column; its first value is the first line's.
#[derive(Debug)]
struct KeptColumn {
    /// What the first line holds, if that is a number.
    first: f64,
    values: KeptValues,
}

#[derive(Debug)]
enum KeptValues {
    /// Plain numbers, and missing ones.
    Numbers(Column),
    /// Texts by their codes, and missing ones; at first any column.
    Codes(Column),
    /// Something else.
    Nothing,
}

/// The labels of all rows.
pub(super) enum Labels {
    /// Of each row a text's code, and the texts.
    Texts { codes: Vec<u32>, texts: Vec<String> },
    /// The numbers of each row.
    Numbers(Vec<f64>),
}

impl Kept {
    /// Begins a column, of a table of so many, with what the first line holds, NaN if that is no number.
    pub(super) fn begin(&mut self, first: f64, columns: usize) {
        let mut column = Column::of_codes(columns);
        column.extend_codes(&[NO_CODE], &mut self.store);
        self.columns.push(KeptColumn { first, values: KeptValues::Codes(column) });
    }

    /// Takes the values of the next rows in, so many, of the column at this place, or drops it.
    pub(super) fn extend(&mut self, place: usize, tally: &Tally, rows: usize, of_rows: &Values) {
        let Kept { columns, store, .. } = self;
        let Some(KeptColumn { first, values }) = columns.get_mut(place) else { return };
        match values {
            KeptValues::Numbers(column) if tally.is_plain() => column.extend(&of_rows.numbers, store),
            KeptValues::Codes(column) if of_rows.codes.len() == rows && tally.known_texts().is_some() => {
                column.extend_codes(&of_rows.codes, store);
            }
            // All before have been missing.
            KeptValues::Codes(column) if tally.is_plain() => {
                let mut numbers = Column::of_numbers(column.piece_rows());
                numbers.extend(&[*first], store);
                numbers.extend(&vec![f64::NAN; column.len() - 1], store);
                numbers.extend(&of_rows.numbers, store);
                *values = KeptValues::Numbers(numbers);
            }
            _ => *values = KeptValues::Nothing,
        }
    }

    /// Puts a code in the place of the first value, as the first line is a row; or drops the column, as it cannot be kept there.
    pub(super) fn set_first(&mut self, place: usize, code: Option<u32>) {
        let Some(KeptColumn { first, values }) = self.columns.get_mut(place) else { return };
        let is_kept = match (&mut *values, code) {
            (KeptValues::Numbers(_), Some(NO_CODE)) => true,
            (KeptValues::Numbers(_), _) => !first.is_nan(),
            (KeptValues::Codes(column), Some(code)) => column.set_first_code(code).is_ok(),
            (KeptValues::Codes(_) | KeptValues::Nothing, _) => false,
        };
        if !is_kept {
            *values = KeptValues::Nothing;
        }
    }

    /// Takes in where the rows of the next file stand.
    pub(super) fn end_part(&mut self, rows: usize, lines: Lines) {
        self.parts.push((rows, lines));
    }

    /// How many rows a file has, and where they stand.
    pub(super) fn rows(&self, part: usize) -> (usize, &Lines) {
        let (rows, lines) = &self.parts[part];
        (*rows, lines)
    }

    fn all_rows(&self) -> usize {
        self.parts.iter().map(|(rows, _)| rows).sum()
    }

    /// Whether a column has a value for each row, and so many in front.
    pub(super) fn is_whole(&self, place: usize, lead: usize) -> bool {
        match self.columns.get(place).map(|column| &column.values) {
            Some(KeptValues::Numbers(column) | KeptValues::Codes(column)) => column.len() == lead + self.all_rows(),
            Some(KeptValues::Nothing) | None => false,
        }
    }

    /// The values of a column of this kind, if they are kept and none is refused.
    pub(super) fn take(&mut self, place: usize, tally: &Tally, kind: Kind, missing: &MissingTokens) -> Option<Column> {
        let values = &mut self.columns.get_mut(place)?.values;
        match std::mem::replace(values, KeptValues::Nothing) {
            KeptValues::Numbers(column) if kind.is_plain() && tally.is_plain() => Some(column),
            KeptValues::Codes(column) => column.decoded(tally.known_texts()?, kind, missing, &mut self.store),
            KeptValues::Numbers(_) | KeptValues::Nothing => None,
        }
    }

    /// The classes' texts of all rows, if they are kept as they are written: of a column at its place, without so many values in front.
    pub(super) fn classes(&self, (place, tally): (usize, &Tally), lead: usize) -> Result<Option<Labels>, Fault> {
        if tally.missing > 0 || !self.is_whole(place, lead) {
            return Ok(None);
        }
        match &self.columns[place].values {
            KeptValues::Codes(column) => {
                let Some(texts) = tally.known_texts().map(<[String]>::to_vec) else { return Ok(None) };
                let codes = column.all(|cells, value| cells.code(value).unwrap_or(NO_CODE))?;
                Ok(Some(Labels::Texts { codes: codes[lead..].to_vec(), texts }))
            }
            KeptValues::Numbers(column) if tally.is_of_plain_digits(WHOLE_MAX) => {
                let (mut texts, mut known) = (Vec::new(), HashMap::<u64, u32, BuildHasherDefault<AsIs>>::default());
                let numbers = column.all(|cells, value| cells.number(value).unwrap_or(0.0))?;
                let mut code = |number: &f64| {
                    *known.entry(number.to_bits()).or_insert_with(|| {
                        texts.push(format!("{number}"));
                        texts.len() as u32 - 1
                    })
                };
                let codes = numbers[lead..].iter().map(&mut code).collect();
                Ok(Some(Labels::Texts { codes, texts }))
            }
            KeptValues::Numbers(_) | KeptValues::Nothing => Ok(None),
        }
    }

    /// The numbers of these columns in all rows, if they are kept and none is missing.
    pub(super) fn targets(&self, columns: &[(usize, &Tally)], lead: usize) -> Result<Option<Labels>, Fault> {
        let mut values = vec![0.0; self.all_rows() * columns.len()];
        for (output, &(place, tally)) in columns.iter().enumerate() {
            let Some(KeptValues::Numbers(column)) = self.columns.get(place).map(|column| &column.values) else {
                return Ok(None);
            };
            if tally.missing > 0 || !tally.is_plain() || !self.is_whole(place, lead) {
                return Ok(None);
            }
            let numbers = column.all(|cells, value| cells.number(value).unwrap_or(0.0))?;
            for (row, number) in numbers[lead..].iter().enumerate() {
                values[row * columns.len() + output] = *number;
            }
        }
        Ok(Some(Labels::Numbers(values)))
    }
}
