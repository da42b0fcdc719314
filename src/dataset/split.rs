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
    pub(super) const FIFTH: Fraction = Fraction(0.2);
    pub(super) const TENTH: Fraction = Fraction(0.1);

    /// In hundredths, the least that has so many of all rows; none where that is all of them.
    pub(super) fn with(count: usize, of: usize) -> Option<Fraction> {
        (1..100).map(|hundredths| Fraction(f64::from(hundredths) / 100.0)).find(|share| share.of(of) >= count)
    }

    /// This share; none if it does not lie between 0 and 1, both excluded.
    pub const fn new(share: f64) -> Option<Fraction> {
        if share > 0.0 && share < 1.0 { Some(Fraction(share)) } else { None }
    }

    /// The share of `count`, rounded to the nearest, halves up.
    pub(super) fn of(self, count: usize) -> usize {
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
    pub const STRATIFIED_FIFTH: ValidationSplit = ValidationSplit::Fraction(Fraction::FIFTH);
    /// Draws a tenth of every class.
    pub const STRATIFIED_TENTH: ValidationSplit = ValidationSplit::Fraction(Fraction::TENTH);
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

/// The rows that train and those that validate: neither empty, each in the order of the file. Together with those that only test,
/// which may be none, every row once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) training: Vec<u32>,
    pub(super) validation: Vec<u32>,
    pub(super) test: Vec<u32>,
}

/// What rows are drawn for: each draws others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DrawnFor {
    Validation = 0,
    Test = 1,
}

/// What a file's rows are divided by.
pub(super) struct Rows<'a> {
    /// Each row's class, of so many; one class where there are none.
    pub(super) strata: &'a [u32],
    pub(super) classes: usize,
    /// Whether the data say that a row validates, where they say so.
    pub(super) validates: Option<&'a [bool]>,
    /// The first of the rows that only test by the data's word, which are the last ones, where there are such.
    pub(super) tests_from: Option<usize>,
    /// Each row's group, where none may lie on two sides.
    pub(super) groups: Option<&'a [u32]>,
}

impl Rows<'_> {
    /// Divides them: the test rows first, if some are asked for and the data name none, from those that do not validate by the
    /// data's own word.
    pub(super) fn divide(
        &self,
        validation: &ValidationSplit,
        test: Option<&ValidationSplit>,
        seed: u64,
    ) -> Result<Split, Fault> {
        let mut all: Vec<u32> = (0..self.strata.len() as u32).collect();
        let named = self.tests_from.map(|first| all.split_off(first));
        let (own, mut rest): (Vec<u32>, Vec<u32>) = match self.validates {
            Some(validates) => all.into_iter().partition(|&row| validates[row as usize]),
            None => (Vec::new(), all),
        };
        let tested = match (named, test) {
            (Some(named), _) if named.is_empty() => return Err(Fault::NothingToTest { rows: self.strata.len() }),
            (Some(named), _) => named,
            (None, None) => Vec::new(),
            (None, Some(split)) => {
                let (kept, tested) = self.draw(rest, split, DrawnFor::Test, seed)?;
                rest = kept;
                if tested.is_empty() {
                    return Err(Fault::NothingToTest { rows: self.strata.len() });
                }
                tested
            }
        };
        if rest.is_empty() && !tested.is_empty() {
            return Err(Fault::NothingButTest { rows: self.strata.len(), test: tested.len() });
        }
        let asked = if let ValidationSplit::LastRows(last) = validation { last.get() as usize } else { rest.len() };
        let (training, validation) = match self.validates {
            Some(_) => (rest, own),
            None => self.draw(rest, validation, DrawnFor::Validation, seed)?,
        };
        Split { training, validation, test: tested }.checked(self.strata.len(), asked)
    }

    /// Those of some rows that are left, and those that are drawn.
    fn draw(
        &self,
        rows: Vec<u32>,
        split: &ValidationSplit,
        purpose: DrawnFor,
        seed: u64,
    ) -> Result<(Vec<u32>, Vec<u32>), Fault> {
        let of = |by: &[u32]| rows.iter().map(|&row| by[row as usize]).collect::<Vec<u32>>();
        let is_drawn = match self.groups {
            Some(groups) => split.draw_groups(&of(groups), purpose, seed)?,
            None => split.draw(&of(self.strata), self.classes, purpose, seed)?,
        };
        let (drawn, left): (Vec<_>, Vec<_>) = rows.into_iter().zip(is_drawn).partition(|(_, is_drawn)| *is_drawn);
        let rows = |rows: Vec<(u32, bool)>| rows.into_iter().map(|(row, _)| row).collect();
        Ok((rows(left), rows(drawn)))
    }
}

impl Split {
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
    /// Which of some rows are drawn by their groups: in a random order of the groups, each that still fits the share.
    fn draw_groups(&self, groups: &[u32], purpose: DrawnFor, seed: u64) -> Result<Vec<bool>, Fault> {
        let Self::Fraction(share) = self else { return Err(Fault::GroupsNeedAShare) };
        let count = groups.iter().max().map_or(0, |&last| last as usize + 1);
        let mut sizes = vec![0usize; count];
        groups.iter().for_each(|&group| sizes[group as usize] += 1);
        let mut order: Vec<u32> = (0..count as u32).collect();
        purpose.stream(seed).shuffle(&mut order);
        let mut due = share.of(groups.len());
        let mut validates = vec![false; count];
        for group in order {
            let size = sizes[group as usize];
            if (1..=due).contains(&size) {
                validates[group as usize] = true;
                due -= size;
            }
        }
        if !groups.is_empty() && !validates.contains(&true) {
            let are_there = || sizes.iter().filter(|&&size| size > 0);
            let (count, smallest) = (are_there().count(), are_there().min().copied().unwrap_or(0));
            let is_test = purpose == DrawnFor::Test;
            let larger = Fraction::with(smallest, groups.len()).map(|share| Self::Fraction(share).to_string());
            return Err(Fault::NoGroupFits { groups: count, smallest, rows: groups.len(), is_test, larger });
        }
        Ok(groups.iter().map(|&group| validates[group as usize]).collect())
    }

    /// Which rows are drawn of those that have these labels, each below `classes`.
    fn draw(&self, labels: &[u32], classes: usize, purpose: DrawnFor, seed: u64) -> Result<Vec<bool>, Fault> {
        let rows = labels.len();
        let tail = |last: usize| Ok((0..rows).map(|row| row + last >= rows).collect());
        match self {
            Self::Fraction(share) => {
                let drawn = stratified(labels, classes, *share, purpose, seed);
                let is_in_vain = share.of(rows) > 0 && !drawn.contains(&true);
                if is_in_vain { Err(Fault::EveryLabelDiffers { rows }) } else { Ok(drawn) }
            }
            Self::LastFraction(share) => tail(share.of(rows)),
            Self::LastRows(last) => tail(last.get() as usize),
        }
    }
}

impl DrawnFor {
    fn stream(self, seed: u64) -> Stream {
        Stream::new(Purpose::Split, seed, [self as u64, 0, 0])
    }
}

/// Of each class the first rows in one permutation of all rows: its share of them, or where every class is so small that this is
/// none, as many in all as their share of all rows, each of a class that has another row in training.
fn stratified(labels: &[u32], classes: usize, share: Fraction, purpose: DrawnFor, seed: u64) -> Vec<bool> {
    let mut counts = vec![0usize; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let spare = |count: usize| count.saturating_sub(1);
    let mut due: Vec<usize> = counts.iter().map(|&count| share.of(count).min(spare(count))).collect();
    let mut left = usize::MAX;
    if due.iter().all(|&due| due == 0) {
        due = counts.iter().map(|&count| spare(count)).collect();
        left = share.of(labels.len());
    }

    let mut order: Vec<u32> = (0..labels.len() as u32).collect();
    purpose.stream(seed).shuffle(&mut order);
    let mut validates = vec![false; labels.len()];
    for row in order {
        let due = &mut due[labels[row as usize] as usize];
        if *due > 0 && left > 0 {
            *due -= 1;
            left -= 1;
            validates[row as usize] = true;
        }
    }
    validates
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn divide(split: &ValidationSplit, labels: &[u32], classes: usize, seed: u64) -> Result<Split, Fault> {
        Rows { strata: labels, classes, validates: None, tests_from: None, groups: None }.divide(split, None, seed)
    }

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
        let split = divide(&"last:2".parse().unwrap(), &[0, 1, 0, 1, 0], 2, 1).unwrap();
        assert_eq!(split, Split { training: vec![0, 1, 2], validation: vec![3, 4], test: vec![] });
        let split = divide(&ValidationSplit::LAST_FIFTH, &[0, 1, 0, 1, 0], 2, 1).unwrap();
        assert_eq!(split, Split { training: vec![0, 1, 2, 3], validation: vec![4], test: vec![] });
    }

    #[test]
    fn a_split_that_leaves_one_side_empty_is_refused() {
        let divide = |text: &str, labels: &[u32]| super::tests::divide(&text.parse().unwrap(), labels, 2, 1);
        let none_train = |validation| Err(Fault::NothingToTrain { rows: 3, validation });
        assert_eq!(divide("last:3", &[0, 1, 0]), none_train(3));
        assert_eq!(divide("last:9", &[0, 1, 0]), none_train(9));
        assert_eq!(divide("last:0.9", &[0, 1, 0]), none_train(3));
        assert_eq!(divide("last:0.1", &[0, 1, 0]), Err(Fault::NothingToValidate { rows: 3 }));
        assert_eq!(divide("0.1", &[0, 1, 0]), Err(Fault::NothingToValidate { rows: 3 }));
        assert_eq!(divide("0.9", &[0, 1]), Err(Fault::EveryLabelDiffers { rows: 2 }));
    }

    #[test]
    fn of_classes_too_small_for_the_share_as_many_rows_validate_and_each_class_trains() {
        let labels: Vec<u32> = (0..60).map(|row| row / 2).collect();
        let split = divide(&ValidationSplit::STRATIFIED_FIFTH, &labels, 30, 1).unwrap();
        assert_eq!(split.validation.len(), 12);
        for class in 0..30 {
            assert!(split.training.iter().any(|&row| labels[row as usize] == class), "{class}");
        }
        // One class of two rows, and all others of one.
        let labels: Vec<u32> = (0..10).map(|row: u32| row.saturating_sub(1)).collect();
        assert_eq!(divide(&ValidationSplit::STRATIFIED_FIFTH, &labels, 9, 1).unwrap().validation.len(), 1);
    }

    #[test]
    fn test_rows_are_drawn_first_by_their_own_choice_and_from_those_that_the_data_do_not_name() {
        let labels: Vec<u32> = (0..200).map(|row| row % 4 / 3).collect();
        let rows = Rows { strata: &labels, classes: 2, validates: None, tests_from: None, groups: None };
        let (fifth, tenth) = (ValidationSplit::STRATIFIED_FIFTH, "0.1".parse().unwrap());
        let split = rows.divide(&fifth, Some(&tenth), 1).unwrap();
        assert_eq!((split.test.len(), split.validation.len(), split.training.len()), (20, 36, 144));
        assert_eq!(split.test.iter().filter(|&&row| labels[row as usize] == 1).count(), 5, "a tenth of every class");
        let mut all = [split.training, split.validation.clone(), split.test.clone()].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..200));
        // Not the first rows of the permutation by which others validate.
        let alone = rows.divide(&tenth, None, 1).unwrap();
        assert_ne!(split.test, alone.validation);
        // The tail tests, and what is before it validates.
        let last = rows.divide(&"last:10".parse().unwrap(), Some(&"last:20".parse().unwrap()), 1).unwrap();
        assert_eq!(last.validation, (170..180).collect::<Vec<_>>());
        // A file, or a column, says which validate.
        let validates: Vec<bool> = (0..200).map(|row| row < 50).collect();
        let named = Rows { validates: Some(&validates), ..rows }.divide(&fifth, Some(&tenth), 1).unwrap();
        assert_eq!((named.validation.len(), named.test.len()), (50, 15));
        assert!(named.test.iter().all(|&row| row >= 50));
        let none = Rows { strata: &[0, 0, 0], classes: 1, validates: None, tests_from: None, groups: None }.divide(
            &fifth,
            Some(&tenth),
            1,
        );
        assert_eq!(none, Err(Fault::NothingToTest { rows: 3 }));
        let all = rows.divide(&fifth, Some(&"last:500".parse().unwrap()), 1);
        assert_eq!(all, Err(Fault::NothingButTest { rows: 200, test: 200 }));
    }

    #[test]
    fn groups_lie_on_one_side_of_three() {
        let groups: Vec<u32> = (0..100).map(|row| row % 20).collect();
        let strata = vec![0; 100];
        let rows = Rows { strata: &strata, classes: 1, validates: None, tests_from: None, groups: Some(&groups) };
        let split =
            rows.divide(&ValidationSplit::STRATIFIED_FIFTH, Some(&ValidationSplit::STRATIFIED_FIFTH), 1).unwrap();
        assert_eq!((split.test.len(), split.validation.len()), (20, 15));
        let of = |rows: &[u32]| rows.iter().map(|&row| groups[row as usize]).collect::<std::collections::BTreeSet<_>>();
        let [training, validation, test] = [&split.training, &split.validation, &split.test].map(|rows| of(rows));
        assert!(training.is_disjoint(&validation) && training.is_disjoint(&test) && validation.is_disjoint(&test));
    }

    #[test]
    fn the_seed_decides_which_rows_validate() {
        let labels: Vec<u32> = (0..100).map(|row| row % 2).collect();
        let validation = |seed| divide(&ValidationSplit::STRATIFIED_FIFTH, &labels, 2, seed).unwrap().validation;
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
            let Ok(split) = divide(&ValidationSplit::Fraction(share), &labels, 4, seed) else {
                // Only where all rows are too few for the share, or each class has one, does nothing validate.
                for class in 0..4 {
                    let count = labels.iter().filter(|&&label| label == class).count();
                    prop_assert!(count <= 1 || share.of(labels.len()) == 0);
                }
                return Ok(());
            };
            let of_class = |class: u32| labels.iter().filter(|&&label| label == class).count();
            let are_small = (0..4).all(|class| share.of(of_class(class)).min(of_class(class).saturating_sub(1)) == 0);
            prop_assert!(split.training.is_sorted() && split.validation.is_sorted());
            let mut rows = [split.training.clone(), split.validation.clone()].concat();
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(0..labels.len() as u32));
            for class in 0..4 {
                let count = |rows: &[u32]| rows.iter().filter(|&&row| labels[row as usize] == class).count();
                let (trains, validates) = (count(&split.training), count(&split.validation));
                let all = trains + validates;
                prop_assert!(all == 0 || trains > 0);
                prop_assert!(are_small || validates == share.of(all).min(all.saturating_sub(1)));
            }
            prop_assert!(!are_small || split.validation.len() <= share.of(labels.len()));
        }
    }
}
