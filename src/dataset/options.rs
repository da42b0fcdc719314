//! What a user may say of how a data file is to be read. Owns these words and their text forms; does not know files.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::missing::MissingTokens;

/// What a model is to tell of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Classes, to be told apart.
    #[default]
    Classify,
    /// Numbers, to be fitted.
    Regress,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classify => "classify",
            Self::Regress => "regress",
        })
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(text: &str) -> Result<Task, String> {
        match text {
            "classify" => Ok(Task::Classify),
            "regress" => Ok(Task::Regress),
            _ => Err("a task is classify or regress".to_owned()),
        }
    }
}

/// What becomes of a row without a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingLabel {
    /// It is left out, and counted.
    #[default]
    Drop,
    /// It is refused.
    Refuse,
    /// Having none is a class of its own.
    Class,
}

impl FromStr for MissingLabel {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<MissingLabel, &'static str> {
        match text {
            "drop" => Ok(MissingLabel::Drop),
            "refuse" => Ok(MissingLabel::Refuse),
            "class" => Ok(MissingLabel::Class),
            _ => Err("a row without a label is dropped, refused, or of a class of its own: drop, refuse or class"),
        }
    }
}

/// What stands in the place of a missing value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Impute {
    /// The mean of the training rows' numbers; categories have one of their own for it.
    Mean,
    /// Their median; the same.
    #[default]
    Median,
    /// The value that most training rows have, of numbers and of categories.
    Most,
    /// Nothing: missing values are refused.
    Refuse,
}

impl FromStr for Impute {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Impute, &'static str> {
        match text {
            "mean" => Ok(Impute::Mean),
            "median" => Ok(Impute::Median),
            "most" => Ok(Impute::Most),
            "refuse" => Ok(Impute::Refuse),
            _ => Err(
                "a missing value becomes the mean, the median or the most frequent one, or is refused: mean, median, \
                      most or refuse",
            ),
        }
    }
}

/// The sign between whole and part of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decimal {
    /// `1.5`
    Point,
    /// `1,5`
    Comma,
}

impl FromStr for Decimal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Decimal, &'static str> {
        match text {
            "." => Ok(Decimal::Point),
            "," => Ok(Decimal::Comma),
            _ => Err("a decimal mark is . or ,"),
        }
    }
}

/// A byte that separates fields, as it is typed: itself, `\t`, or its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Separator(pub u8);

impl FromStr for Separator {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Separator, &'static str> {
        match (text, text.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Separator(b'\t')),
            ("space", _) => Ok(Separator(b' ')),
            (_, [byte]) if !matches!(byte, b'"' | b'\n' | b'\r') && byte.is_ascii() => Ok(Separator(*byte)),
            _ => Err("a separator is one byte, such as , ; | or : and not a quote, or the word tab or space"),
        }
    }
}

/// How a data file is to be read. Columns are named by the header's name or by their number, counted from 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadOptions {
    /// The label's columns; the last one if none.
    pub label: Vec<String>,
    /// Columns to leave out.
    pub ignore: Vec<String>,
    /// The only columns to take as features; all if none.
    pub only: Vec<String>,
    /// Columns to take as features although they seem to be of no use.
    pub take_in: Vec<String>,
    /// Columns of numbers.
    pub number: Vec<String>,
    /// Columns of names.
    pub category: Vec<String>,
    /// Columns of dates.
    pub date: Vec<String>,
    /// Whether the first line names the columns; found out if none.
    pub header: Option<bool>,
    /// What separates fields; found out if none.
    pub separator: Option<Separator>,
    /// The decimal mark; found out if none.
    pub decimal: Option<Decimal>,
    /// Which texts stand for no value.
    pub missing: MissingTokens,
    /// What becomes of rows without a label.
    pub missing_label: MissingLabel,
    /// What stands in the place of missing values.
    pub impute: Impute,
    /// Training rows that a category has at least, or becomes one with others as rare.
    pub rare: Option<u32>,
    /// What a model is to tell; found out if none.
    pub task: Option<Task>,
    /// A file whose rows validate, and all rows of the other train.
    pub validation: Option<PathBuf>,
    /// A file whose rows only test.
    pub test: Option<PathBuf>,
    /// The column that says which rows validate.
    pub validate_by: Option<String>,
    /// The column whose equal values all train or all validate.
    pub group: Option<String>,
}
