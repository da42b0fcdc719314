//! Numbers that may stand for no value, such as -999: at one end of a column, far from all others, in several rows. Owns the rule; does
//! not know what else a column is.
//!
//! What is kept of either end is the same for any order of the rows: of an end that looks like a code how often it stands, how it is
//! written, and what is next to it.

use std::collections::BTreeSet;

use super::delimited::Column;

/// Rows in which a code stands, at least.
const ROWS_MIN: u64 = 3;
/// Different numbers beside it, at least.
const OTHERS_MIN: u64 = 3;
/// Ways to write one number that are kept: `-999`, `-999.0`.
const TEXTS_MAX: usize = 4;
/// What is put where a measurement is not to be had: nothing else is so written.
const NINES: [f64; 15] = [
    99.0,
    999.0,
    9_999.0,
    99_999.0,
    999_999.0,
    9_999_999.0,
    99_999_999.0,
    999_999_999.0,
    99.9,
    999.9,
    9_999.9,
    99.99,
    999.99,
    9_999.99,
    999.999,
];

/// A number that may stand for no value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Code {
    pub(super) value: f64,
    pub(super) rows: u64,
    /// How it is written.
    pub(super) texts: Vec<String>,
    /// The least and the greatest of all others.
    pub(super) others: (f64, f64),
}

/// Both ends of a column's numbers.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    low: End,
    /// Of the numbers with the other sign.
    high: End,
}

/// The low end of numbers.
#[derive(Clone, Debug)]
struct End {
    least: f64,
    /// Where the least looks like a code: in how many rows it stands, and how it is written.
    rows: u64,
    texts: BTreeSet<String>,
    /// The least of the others.
    next: f64,
}

impl Default for Ends {
    fn default() -> Ends {
        let end = End { least: f64::INFINITY, rows: 0, texts: BTreeSet::new(), next: f64::INFINITY };
        Ends { low: end.clone(), high: end }
    }
}

fn is_nines(number: f64) -> bool {
    NINES.contains(&number.abs())
}

fn is_below_zero_and_whole(number: f64) -> bool {
    number < 0.0 && number.fract() == 0.0
}

/// Whether the least number of a column may be a code.
fn is_low_code(number: f64) -> bool {
    is_below_zero_and_whole(number) || (number < 0.0 && is_nines(number))
}

/// The same of the greatest.
fn is_high_code(number: f64) -> bool {
    number > 0.0 && is_nines(number)
}

impl Ends {
    /// Takes in the numbers of some rows, NaN where there is none, whose least and greatest these are.
    pub(super) fn take(&mut self, numbers: &[f64], column: Column<'_>, least: f64, greatest: f64) {
        self.low.take(least, is_low_code(least), || numbers.iter().copied(), column);
        self.high.take(-greatest, is_high_code(greatest), || numbers.iter().map(|number| -number), column);
    }

    /// Takes in a number that stands in so many rows and is written so.
    pub(super) fn take_one(&mut self, number: f64, rows: u64, text: &str) {
        self.low.take_one(number, is_low_code(number), rows, text);
        self.high.take_one(-number, is_high_code(number), rows, text);
    }

    /// The codes among the numbers, of which so many differ; at least so many as are counted where that is not known.
    pub(super) fn codes(&self, distinct: u64) -> impl Iterator<Item = Code> {
        let low = self.low.code(-self.high.least, distinct);
        let high = self.high.code(-self.low.least, distinct);
        let high = high.map(|code| {
            let (least, greatest) = code.others;
            Code { value: -code.value, others: (-greatest, -least), ..code }
        });
        low.into_iter().chain(high)
    }
}

impl End {
    /// Takes in numbers whose least is known. Where it is no code, what else there is does not matter: if a code comes that is less,
    /// this one is the least beside it.
    fn take<N: Iterator<Item = f64>>(
        &mut self,
        least: f64,
        is_code: bool,
        numbers: impl Fn() -> N,
        column: Column<'_>,
    ) {
        if !self.reaches(least) || !is_code {
            return;
        }
        let above = numbers().filter(|&number| number > least);
        self.next = self.next.min(above.fold(f64::INFINITY, f64::min));
        for (row, _) in numbers().enumerate().filter(|&(_, number)| number == least) {
            self.add(1, String::from_utf8_lossy(column.text(row).bytes()).trim());
        }
    }

    /// Takes in a number that stands in so many rows.
    fn take_one(&mut self, number: f64, is_code: bool, rows: u64, text: &str) {
        if self.reaches(number) && is_code {
            self.add(rows, text);
        }
    }

    /// Whether this number is the least of all so far, which it may have become.
    fn reaches(&mut self, number: f64) -> bool {
        if number < self.least {
            self.next = self.least;
            (self.least, self.rows) = (number, 0);
            self.texts.clear();
        } else if number > self.least {
            self.next = self.next.min(number);
            return false;
        }
        true
    }

    /// The least stands in so many rows more, written so.
    fn add(&mut self, rows: u64, text: &str) {
        self.rows += rows;
        if !self.texts.contains(text) {
            self.texts.insert(text.to_owned());
            if self.texts.len() > TEXTS_MAX {
                self.texts.pop_last();
            }
        }
    }

    /// The code that the end is, if it is one.
    fn code(&self, greatest: f64, distinct: u64) -> Option<Code> {
        let End { least, rows, next, .. } = *self;
        let others = distinct.saturating_sub(1);
        if rows < ROWS_MIN || others < OTHERS_MIN {
            return None;
        }
        let (gap, extent) = (next - least, greatest - next);
        // Of numbers that are never below zero, one that is so and is not next to them.
        let is_alone =
            is_below_zero_and_whole(least) && next >= 0.0 && gap > 1.0 && gap * (others - 1) as f64 >= 2.0 * extent;
        let is_far = is_nines(least) && 2.0 * gap >= extent;
        (is_alone || is_far).then(|| Code {
            value: least,
            rows,
            texts: self.texts.iter().cloned().collect(),
            others: (next, greatest),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::missing::MissingTokens;
    use super::super::tally::Tally;
    use super::super::value::{Notation, NumberForm, Ornament};
    use super::*;

    fn codes<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<(f64, u64)> {
        let mut tally = Tally::new(2);
        for text in texts {
            tally.take(text.into(), &MissingTokens::default());
        }
        tally.codes(NumberForm::default()).iter().map(|code| (code.value, code.rows)).collect()
    }

    #[test]
    fn a_number_far_from_all_others_in_several_rows_is_a_code_in_any_order() {
        let texts = "3.5 -999 1.25 -999.0 7 2 -999 4.5 -999.0 6 7";
        let mut texts: Vec<&str> = texts.split(' ').collect();
        for _ in 0..texts.len() {
            texts.rotate_left(1);
            let mut tally = Tally::new(2);
            for text in &texts {
                tally.take((*text).into(), &MissingTokens::default());
            }
            let written = vec!["-999".to_owned(), "-999.0".to_owned()];
            assert_eq!(
                tally.codes(NumberForm::default()),
                [Code { value: -999.0, rows: 4, texts: written, others: (1.25, 7.0) }]
            );
        }
    }

    #[test]
    fn codes_are_known_however_numbers_are_written_and_in_any_order() {
        let (comma, grouped) = (Notation::Comma, Notation::CommaGrouped);
        let euros = Some(Ornament::Currency('€'));
        for (texts, notation, ornament, code, written) in [
            // Some of a column's numbers may be plain.
            ("3,5;-999,0;1,25;-999;7;2,0;-999,0;4,5;6;7", comma, None, -999.0, &["-999", "-999,0"][..]),
            ("3,5;9.999,00;1,25;9.999,00;7,0;2,0;9.999,00;4,5", grouped, None, 9_999.0, &["9.999,00"]),
            ("3,5 €;-99 €;1,25 €;-99 €;7 €;-99 €", comma, euros, -99.0, &["-99 €"]),
        ] {
            let form = NumberForm { notation, ornament };
            let mut texts: Vec<&str> = texts.split(';').collect();
            for _ in 0..texts.len() {
                texts.rotate_left(1);
                let mut tally = Tally::new(2);
                for text in &texts {
                    tally.take((*text).into(), &MissingTokens::default());
                }
                let rows = texts.iter().filter(|text| written.contains(text)).count() as u64;
                let written = written.iter().map(|text| (*text).to_owned()).collect();
                assert_eq!(tally.codes(form), [Code { value: code, rows, texts: written, others: (1.25, 7.0) }]);
                // Of a column that has something else besides, nothing is said.
                tally.take("soon".into(), &MissingTokens::default());
                assert_eq!(tally.codes(form), []);
            }
        }
    }

    #[test]
    fn each_kind_of_code_is_known_and_its_neighbours_are_not() {
        let of = |text: &str| codes(text.split(' '));
        for (text, code) in [
            // Below zero, where nothing else is and the next is not next to it.
            ("-1 3 5 -1 4 -1 6 7", -1.0),
            ("-200 647.5 700 800.25 -200 1000 1200 -200 2040 900", -200.0),
            // Nines, whatever the others are.
            ("-99.9 -3 5.5 -99.9 8 -20 -99.9", -99.9),
            ("9999 3 5 9999 4 9999 12", 9999.0),
            ("600 0 100 999 999 999 250", 999.0),
        ] {
            let rows = text.split(' ').filter(|text| text.parse() == Ok(code)).count() as u64;
            assert_eq!(of(text), [(code, rows)], "{text}");
        }
        for text in [
            // In two rows; beside two others; next to the others.
            "-999 3 5 -999 4 6",
            "-1 -1 -1 1 2 1 2",
            "-1 0 1 -1 2 -1 3 4",
            "-1 1 10 -1 20 -1 30",
            // Others are below zero, too; it is no code's number; it is near.
            "-50 3 -2 -50 4 -50 6",
            "-4.5 3 2 -4.5 4 -4.5 6",
            "99 18 60 99 75 99 90 34",
            "1000 3 5 1000 4 1000 12",
        ] {
            assert_eq!(of(text), [], "{text}");
        }
        assert_eq!(of("-9 900 999 -9 901 999 902 -9 999 903").len(), 1);
    }
}
