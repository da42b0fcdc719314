//! Which rows validate. Owns the ways to choose them and their text form; does not know what is in the rows.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use super::error::Fault;
use crate::model::random::{Purpose, Stream};

/// A share of the rows: above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fraction(f64);

impl Fraction {
    /// This share; none if it does not lie between 0 and 1, both excluded.
    pub const fn new(share: f64) -> Option<Fraction> {
        if share > 0.0 && share < 1.0 { Some(Fraction(share)) } else { None }
    }

    /// The share of `count`, rounded to the nearest, halves up.
    fn of(self, count: usize) -> usize {
        (count as f64 * self.0).round() as usize
    }
}

/// Which rows validate. As text `0.2`, `last:0.2` or `last:3500`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValidationSplit {
    /// This share of every class, drawn by the seed; at least one row of each class stays in training.
    Fraction(Fraction),
    /// The file's tail, by its share of the rows.
    LastFraction(Fraction),
    /// The file's tail, by its number of rows.
    LastRows(NonZeroU32),
}

impl ValidationSplit {
    /// Draws a fifth of every class.
    pub const STRATIFIED_FIFTH: ValidationSplit = ValidationSplit::Fraction(Fraction(0.2));
    /// The file's last fifth.
    pub const LAST_FIFTH: ValidationSplit = ValidationSplit::LastFraction(Fraction(0.2));
}

impl fmt::Display for ValidationSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fraction(Fraction(share)) => write!(f, "{share}"),
            Self::LastFraction(Fraction(share)) => write!(f, "last:{share}"),
            Self::LastRows(rows) => write!(f, "last:{rows}"),
        }
    }
}

/// The text says not which rows validate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotASplit {
    got: String,
}

impl fmt::Display for NotASplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} does not say which rows validate; write a share between 0 and 1 of every class (0.2), or the file's \
             tail as a share (last:0.2) or a number of rows (last:3500)",
            self.got
        )
    }
}

impl std::error::Error for NotASplit {}

impl FromStr for ValidationSplit {
    type Err = NotASplit;

    fn from_str(text: &str) -> Result<ValidationSplit, NotASplit> {
        let share = |text: &str| text.parse().ok().and_then(Fraction::new);
        let split = match text.strip_prefix("last:") {
            None => share(text).map(ValidationSplit::Fraction),
            Some(tail) => match tail.parse() {
                Ok(rows) => Some(ValidationSplit::LastRows(rows)),
                Err(_) => share(tail).map(ValidationSplit::LastFraction),
            },
        };
        split.ok_or_else(|| NotASplit { got: text.to_owned() })
    }
}

/// The rows that train and those that validate: neither empty, each in the order of the file, together every row once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) training: Vec<u32>,
    pub(super) validation: Vec<u32>,
}

impl Split {
    /// The rows that do not validate, and those that do.
    pub(super) fn by_sides(validates: &[bool]) -> Result<Split, Fault> {
        let (validation, training) = (0..validates.len() as u32).partition(|&row| validates[row as usize]);
        Split { training, validation }.checked(validates.len(), validates.len())
    }

    /// Neither side is empty; `asked` rows were to validate.
    fn checked(self, rows: usize, asked: usize) -> Result<Split, Fault> {
        if self.validation.is_empty() {
            return Err(Fault::NothingToValidate { rows });
        }
        if self.training.is_empty() {
            return Err(Fault::NothingToTrain { rows, validation: asked });
        }
        Ok(self)
    }
}

impl ValidationSplit {
    /// Divides the rows by their groups: in a random order of the groups, each that still fits the share validates.
    pub(super) fn divide_groups(&self, groups: &[u32], seed: u64) -> Result<Split, Fault> {
        let Self::Fraction(share) = self else { return Err(Fault::GroupsNeedAShare) };
        let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let mut sizes = vec![0usize; count];
        groups.iter().for_each(|&group| sizes[group as usize] += 1);
        let mut order: Vec<u32> = (0..count as u32).collect();
        Stream::new(Purpose::Split, seed, [0; 3]).shuffle(&mut order);
        let mut due = share.of(groups.len());
        let mut validates = vec![false; count];
        for group in order {
            let size = sizes[group as usize];
            if size <= due {
                validates[group as usize] = true;
                due -= size;
            }
        }
        let sides: Vec<bool> = groups.iter().map(|&group| validates[group as usize]).collect();
        Split::by_sides(&sides)
    }

    /// Divides the rows that have `labels`, each below `classes`.
    pub(super) fn divide(&self, labels: &[u32], classes: usize, seed: u64) -> Result<Split, Fault> {
        let rows = labels.len();
        let (training, validation) = match self {
            Self::Fraction(share) => stratified(labels, classes, *share, seed),
            Self::LastFraction(share) => tail(rows, share.of(rows)),
            Self::LastRows(last) => tail(rows, last.get() as usize),
        };
        let asked = if let Self::LastRows(last) = self { last.get() as usize } else { rows };
        Split { training, validation }.checked(rows, asked)
    }
}

/// The rows up to the last `last`, and the last `last`.
fn tail(rows: usize, last: usize) -> (Vec<u32>, Vec<u32>) {
    let first = rows.saturating_sub(last) as u32;
    ((0..first).collect(), (first..rows as u32).collect())
}

/// Of each class the first rows in one permutation of all rows.
fn stratified(labels: &[u32], classes: usize, share: Fraction, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let mut due: Vec<usize> = counts.iter().map(|&count| share.of(count).min(count.saturating_sub(1))).collect();

    let mut order: Vec<u32> = (0..labels.len() as u32).collect();
    Stream::new(Purpose::Split, seed, [0; 3]).shuffle(&mut order);
    let mut validates = vec![false; labels.len()];
    for row in order {
        let due = &mut due[labels[row as usize] as usize];
        if *due > 0 {
            *due -= 1;
            validates[row as usize] = true;
        }
    }
    (0..labels.len() as u32).partition(|&row| !validates[row as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_split_is_written_and_read_as_text() {
        for text in ["0.2", "0.001", "last:0.2", "last:3500", "last:1"] {
            assert_eq!(text.parse::<ValidationSplit>().unwrap().to_string(), text);
        }
        assert_eq!("0.2".parse(), Ok(ValidationSplit::STRATIFIED_FIFTH));
        assert_eq!("last:0.2".parse(), Ok(ValidationSplit::LAST_FIFTH));
    }

    #[test]
    fn text_that_is_no_split_is_refused_with_examples() {
        let wrong =
            ["", "0", "1", "1.5", "-0.2", "3500", "nan", "20%", "last:", "last:0", "last:1.0", "last:-3", "first:2"];
        for text in wrong {
            let sentence = text.parse::<ValidationSplit>().unwrap_err().to_string();
            assert!(sentence.contains(&format!("{text:?}")) && sentence.contains("last:3500"), "{sentence}");
        }
    }

    #[test]
    fn a_tail_is_the_files_last_rows() {
        let split = "last:2".parse::<ValidationSplit>().unwrap().divide(&[0, 1, 0, 1, 0], 2, 1).unwrap();
        assert_eq!(split, Split { training: vec![0, 1, 2], validation: vec![3, 4] });
        let split = ValidationSplit::LAST_FIFTH.divide(&[0, 1, 0, 1, 0], 2, 1).unwrap();
        assert_eq!(split, Split { training: vec![0, 1, 2, 3], validation: vec![4] });
    }

    #[test]
    fn a_split_that_leaves_one_side_empty_is_refused() {
        let divide = |text: &str, labels: &[u32]| text.parse::<ValidationSplit>().unwrap().divide(labels, 2, 1);
        let none_train = |validation| Err(Fault::NothingToTrain { rows: 3, validation });
        assert_eq!(divide("last:3", &[0, 1, 0]), none_train(3));
        assert_eq!(divide("last:9", &[0, 1, 0]), none_train(9));
        assert_eq!(divide("last:0.9", &[0, 1, 0]), none_train(3));
        assert_eq!(divide("last:0.1", &[0, 1, 0]), Err(Fault::NothingToValidate { rows: 3 }));
        assert_eq!(divide("0.1", &[0, 1, 0]), Err(Fault::NothingToValidate { rows: 3 }));
        assert_eq!(divide("0.9", &[0, 1]), Err(Fault::NothingToValidate { rows: 2 }));
    }

    #[test]
    fn the_seed_decides_which_rows_validate() {
        let labels: Vec<u32> = (0..100).map(|row| row % 2).collect();
        let validation = |seed| ValidationSplit::STRATIFIED_FIFTH.divide(&labels, 2, seed).unwrap().validation;
        assert_eq!(validation(1), validation(1));
        assert_ne!(validation(1), validation(2));
    }

    proptest! {
        #[test]
        fn a_stratified_split_takes_its_share_of_every_class_and_every_row_once(
            labels in prop::collection::vec(0u32..4, 2..200),
            share in 0.01f64..0.99,
            seed: u64,
        ) {
            let share = Fraction::new(share).unwrap();
            let Ok(split) = ValidationSplit::Fraction(share).divide(&labels, 4, seed) else {
                // Only classes too small for the share may leave nothing to validate.
                for class in 0..4 {
                    let count = labels.iter().filter(|&&label| label == class).count();
                    prop_assert!(count <= 1 || share.of(count) == 0);
                }
                return Ok(());
            };
            prop_assert!(split.training.is_sorted() && split.validation.is_sorted());
            let mut rows = [split.training.clone(), split.validation.clone()].concat();
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(0..labels.len() as u32));
            for class in 0..4 {
                let count = |rows: &[u32]| rows.iter().filter(|&&row| labels[row as usize] == class).count();
                let (trains, validates) = (count(&split.training), count(&split.validation));
                let all = trains + validates;
                prop_assert!(all == 0 || trains > 0);
                prop_assert_eq!(validates, share.of(all).min(all.saturating_sub(1)));
            }
        }
    }
}
