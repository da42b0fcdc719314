//! The values of a column, as they lie in memory until it is known which rows train. Owns how a field is read as a value of its
//! column's kind, and how little room that takes; does not know what becomes of it.

use std::collections::HashMap;

use super::date::{self, Moment};
use super::kinds::Kind;
use super::refusal::Cause;
use super::value::{self, MissingTokens, NumberForm, Reading};

/// The code of a category that is missing.
const NO_CODE: u32 = u32::MAX;
/// Hours of a week: the clock of a date that is missing.
const NO_CLOCK: u8 = 7 * 24;

/// A field as a value of its column's kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Field<'a> {
    Missing,
    /// A number, or a boolean as 0 and 1.
    Number(f64),
    /// A category.
    Name(&'a str),
    /// A date.
    Moment(Moment),
}

impl<'a> Field<'a> {
    /// What a field is in a column of this kind.
    pub(super) fn read(field: &'a [u8], kind: Kind, missing: &MissingTokens) -> Result<Field<'a>, Cause> {
        let text = std::str::from_utf8(field).map_err(|_| Cause::NotUtf8)?.trim();
        Field::of_text(text, kind, missing)
    }

    /// The same of text without white space around it.
    pub(super) fn of_text(text: &'a str, kind: Kind, missing: &MissingTokens) -> Result<Field<'a>, Cause> {
        if missing.has(text) {
            return Ok(Field::Missing);
        }
        let number = |form: NumberForm| match form.read(text) {
            Reading::Number(number) => Ok(Field::Number(number)),
            Reading::NotFinite => Err(Cause::NotFinite),
            Reading::Not => Err(Cause::NotANumber),
        };
        match kind {
            Kind::Number(form) => number(form),
            Kind::Constant | Kind::RowNumber => number(NumberForm::default()),
            Kind::Boolean => {
                value::boolean(text).map(|value| Field::Number(f64::from(u8::from(value)))).ok_or(Cause::NotABoolean)
            }
            Kind::Date { order, .. } => date::read(text, order).map(Field::Moment).ok_or(Cause::NotADate),
            Kind::Category | Kind::Identifier | Kind::Unusable => Ok(Field::Name(text)),
        }
    }
}

/// The values of a column.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    /// Whole numbers from 0 to 255, none missing.
    Bytes(Vec<u8>),
    /// Numbers that f32 holds to the last digit; NaN is missing.
    Singles(Vec<f32>),
    /// Numbers; NaN is missing.
    Doubles(Vec<f64>),
    /// Categories by their place in the names.
    Names {
        codes: Vec<u32>,
        names: Vec<String>,
        /// The places of the names, while the column is filled.
        places: HashMap<String, u32>,
    },
    /// Seconds, and the hour of the week.
    Moments { seconds: Vec<f64>, clocks: Vec<u8> },
}

impl Cells {
    /// No values of a kind yet, and room for so many; none where the memory does not suffice.
    pub(super) fn with_capacity(kind: Kind, is_single: bool, rows: usize) -> Option<Cells> {
        fn room<T>(rows: usize) -> Option<Vec<T>> {
            let mut values = Vec::new();
            values.try_reserve_exact(rows).ok()?;
            Some(values)
        }
        Some(match kind {
            Kind::Category | Kind::Identifier | Kind::Unusable => {
                Cells::Names { codes: room(rows)?, names: Vec::new(), places: HashMap::new() }
            }
            Kind::Date { .. } => Cells::Moments { seconds: room(rows)?, clocks: room(rows)? },
            Kind::Boolean => Cells::Singles(room(rows)?),
            _ if is_single => Cells::Singles(room(rows)?),
            _ => Cells::Doubles(room(rows)?),
        })
    }

    /// Takes the next row's value in. What is of another kind counts as missing.
    pub(super) fn push(&mut self, field: Field<'_>) {
        let number = |field| if let Field::Number(number) = field { number } else { f64::NAN };
        match self {
            Cells::Bytes(values) => values.push(number(field) as u8),
            Cells::Singles(values) => values.push(number(field) as f32),
            Cells::Doubles(values) => values.push(number(field)),
            Cells::Names { codes, names, places } => codes.push(match field {
                Field::Name(name) => match places.get(name) {
                    Some(&place) => place,
                    None => {
                        let place = names.len() as u32;
                        names.push(name.to_owned());
                        places.insert(name.to_owned(), place);
                        place
                    }
                },
                _ => NO_CODE,
            }),
            Cells::Moments { seconds, clocks } => {
                let (second, clock) = match field {
                    Field::Moment(moment) => (moment.seconds, moment.weekday * 24 + moment.hour),
                    _ => (f64::NAN, NO_CLOCK),
                };
                seconds.push(second);
                clocks.push(clock);
            }
        }
    }

    /// Gives back what is only needed to fill.
    pub(super) fn finish(&mut self) {
        if let Cells::Names { places, .. } = self {
            *places = HashMap::new();
        }
    }

    /// A row's value.
    pub(super) fn get(&self, row: u32) -> Field<'_> {
        let row = row as usize;
        let number = |number: f64| if number.is_nan() { Field::Missing } else { Field::Number(number) };
        match self {
            Cells::Bytes(values) => Field::Number(f64::from(values[row])),
            Cells::Singles(values) => number(f64::from(values[row])),
            Cells::Doubles(values) => number(values[row]),
            Cells::Names { codes, names, .. } => match codes[row] {
                NO_CODE => Field::Missing,
                code => Field::Name(&names[code as usize]),
            },
            Cells::Moments { seconds, clocks } if clocks[row] != NO_CLOCK => Field::Moment(Moment {
                seconds: seconds[row],
                weekday: clocks[row] / 24,
                hour: clocks[row] % 24,
                has_time: true,
            }),
            Cells::Moments { .. } => Field::Missing,
        }
    }
}
