//! Why data cannot be used. Owns the causes and their sentences; does not know how they are found.

use std::fmt;

use crate::job::{ROWS_MAX, SHARDS_MAX};
use crate::model::network::{CLASSES_MAX, INPUTS_MAX};

/// Characters of somebody's text that a sentence quotes, at most.
const QUOTED_CHARACTERS_MAX: usize = 40;

/// Data that cannot be used: which, and why. Shown as one sentence that names the place and says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetError {
    /// The file, as the user named it.
    pub file: String,
    /// The cause.
    pub fault: Fault,
}

/// A column by its number, counted from 1, and its name where the file has a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Counted from 1.
    pub number: usize,
    /// What the header calls it.
    pub name: Option<String>,
}

/// A field's place. Lines count from 1 and include blank ones; a record of several lines counts by its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLocation {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: Column,
}

/// What is wrong with data, or with what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such file.
    NotFound,
    /// A directory.
    Directory,
    /// The system refuses to read it.
    Unreadable {
        /// The system's reason.
        cause: String,
    },
    /// Nothing but white space.
    Empty,
    /// A header, and no rows.
    HeaderOnly {
        /// The header's line.
        line: u64,
    },
    /// A single column: no features, or another separator.
    OneColumn {
        /// The first line that is not blank.
        line: u64,
    },
    /// A line of more or fewer columns than the first.
    Ragged {
        /// The line.
        line: u64,
        /// Its columns.
        got: usize,
        /// The first line.
        first_line: u64,
        /// The first line's columns.
        expected: usize,
    },
    /// A quoted field that the file's end cuts off.
    OpenQuote {
        /// The line where its record begins.
        line: u64,
    },
    /// A record of more bytes than any data set has.
    LongLine {
        /// The line where it begins.
        line: u64,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// More features than a network takes.
    TooManyFeatures {
        /// The first line that is not blank.
        line: u64,
        /// Features found.
        got: usize,
    },
    /// More rows than a job takes.
    TooManyRows {
        /// The first line too many.
        line: u64,
    },
    /// More distinct labels than a network tells apart.
    TooManyClasses {
        /// Where the first label too many stands.
        place: FieldLocation,
    },
    /// The memory does not suffice.
    OutOfMemory {
        /// The line that did not fit.
        line: u64,
    },
    /// A field that is not UTF-8.
    NotUtf8 {
        /// The field.
        place: FieldLocation,
    },
    /// An empty field, or one of the usual marks for a missing value.
    Missing {
        /// The field.
        place: FieldLocation,
        /// The mark; may be empty.
        got: String,
    },
    /// Text where a number should be.
    NotANumber {
        /// The field.
        place: FieldLocation,
        /// The text.
        got: String,
    },
    /// NaN, an infinity, or a number beyond f32.
    NotFinite {
        /// The field.
        place: FieldLocation,
        /// The text.
        got: String,
    },
    /// Text where a target to be fitted should be, or a number that f32 cannot hold.
    TargetNotANumber {
        /// The field.
        place: FieldLocation,
        /// The text.
        got: String,
    },
    /// All rows have the same label.
    OneClass {
        /// The label.
        label: String,
    },
    /// The split leaves no row to train on.
    NothingToTrain {
        /// Rows of the data.
        rows: usize,
        /// Rows that would validate.
        validation: usize,
    },
    /// The split leaves no row to validate with.
    NothingToValidate {
        /// Rows of the data.
        rows: usize,
    },
    /// A label that a validation row has and no training row.
    UntrainedLabel {
        /// The label.
        label: String,
        /// The line of the first such row.
        line: u64,
    },
    /// No shards, more than a job takes, or more than there are training rows.
    Shards {
        /// Shards asked for.
        got: u32,
        /// Training rows.
        rows: usize,
    },
    /// A value so far from the training rows' that it leaves f32 when scaled.
    OutOfScale {
        /// The field.
        place: FieldLocation,
    },
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.number)?;
        match &self.name {
            Some(name) => write!(f, " ({})", Quoted(name)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FieldLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}", self.line, self.column)
    }
}

/// Text from a file as a sentence shows it: in quotes, escaped, and cut where it is long.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED_CHARACTERS_MAX) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Faults of a place continue the file's name with it ("data.csv, line 7: ..."), faults of the whole explain it.
        let separator = if self.fault.has_line() { ", " } else { ": " };
        write!(f, "{}{separator}{}", self.file, self.fault)
    }
}

impl std::error::Error for DatasetError {}

impl Fault {
    /// Whether the sentence begins with a line.
    fn has_line(&self) -> bool {
        match self {
            Self::HeaderOnly { .. }
            | Self::OneColumn { .. }
            | Self::Ragged { .. }
            | Self::OpenQuote { .. }
            | Self::LongLine { .. }
            | Self::TooManyFeatures { .. }
            | Self::TooManyRows { .. }
            | Self::TooManyClasses { .. }
            | Self::OutOfMemory { .. }
            | Self::NotUtf8 { .. }
            | Self::Missing { .. }
            | Self::NotANumber { .. }
            | Self::NotFinite { .. }
            | Self::TargetNotANumber { .. }
            | Self::UntrainedLabel { .. }
            | Self::OutOfScale { .. } => true,
            Self::NotFound
            | Self::Directory
            | Self::Unreadable { .. }
            | Self::Empty
            | Self::OneClass { .. }
            | Self::NothingToTrain { .. }
            | Self::NothingToValidate { .. }
            | Self::Shards { .. } => false,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file; check the path"),
            Self::Directory => f.write_str("this is a directory; name a CSV file in it"),
            Self::Unreadable { cause } => write!(f, "the file cannot be read: {cause}"),
            Self::Empty => f.write_str("the file is empty; a line is the features' numbers and, last, the label"),
            Self::HeaderOnly { line } => write!(f, "line {line}: after this header come no rows; add at least two"),
            Self::OneColumn { line } => write!(
                f,
                "line {line}: there is only one column; separate features and label with commas, semicolons or tabs"
            ),
            Self::Ragged { line, got, first_line, expected } => write!(
                f,
                "line {line}: {got} column{}, where line {first_line} has {expected}; give every line as many",
                if *got == 1 { "" } else { "s" }
            ),
            Self::OpenQuote { line } => {
                write!(f, "line {line}: a quote (\") is opened and never closed; close it or take it out")
            }
            Self::LongLine { line, bytes_max } => write!(
                f,
                "line {line}: more than {} MiB without an end; is this a CSV file, or is a quote (\") left open?",
                bytes_max >> 20
            ),
            Self::TooManyFeatures { line, got } => {
                write!(f, "line {line}: {got} features, and at most {INPUTS_MAX} are allowed; leave some out")
            }
            Self::TooManyRows { line } => {
                write!(f, "line {line}: at most {ROWS_MAX} rows are allowed; leave out this line and what follows")
            }
            Self::TooManyClasses { place } => {
                write!(f, "{place}: at most {CLASSES_MAX} different labels are allowed; is the last column the label?")
            }
            Self::OutOfMemory { line } => {
                write!(f, "line {line}: the data up to here fill the memory; take fewer rows or a larger machine")
            }
            Self::NotUtf8 { place } => write!(f, "{place}: the text is not UTF-8; save the file as UTF-8"),
            Self::Missing { place, got } if got.is_empty() => {
                write!(f, "{place}: the value is missing (an empty field); fill it in or leave the line out")
            }
            Self::Missing { place, got } => {
                write!(f, "{place}: the value is missing ({}); fill it in or leave the line out", Quoted(got))
            }
            Self::NotANumber { place, got } => write!(
                f,
                "{place}: {} is not a number; write features like -1.5 or 2e3, and the label last",
                Quoted(got)
            ),
            Self::NotFinite { place, got } => write!(
                f,
                "{place}: {} is not a finite number of 32 bits; correct it or leave the line out",
                Quoted(got)
            ),
            Self::TargetNotANumber { place, got } => write!(
                f,
                "{place}: {} is not a finite number of 32 bits, and numbers are to be fitted; correct it, or have classes \
                 told apart (--task classify)",
                Quoted(got)
            ),
            Self::OneClass { label } => write!(
                f,
                "every row has the label {}, and there is nothing to tell apart; is the last column the label?",
                Quoted(label)
            ),
            Self::NothingToTrain { rows, validation } => write!(
                f,
                "{validation} of {rows} rows would validate, and none is left to train on; validate with fewer"
            ),
            Self::NothingToValidate { rows } => write!(
                f,
                "of these {rows} rows the share that validates comes to none; take a larger share, or more rows"
            ),
            Self::UntrainedLabel { label, line } => write!(
                f,
                "line {line}: the label {} is among the rows that validate and not among those that train; let a \
                 stratified share validate (such as 0.2), or reorder the rows",
                Quoted(label)
            ),
            Self::Shards { got: 0, .. } => f.write_str("a job has at least one shard; ask for one or more"),
            Self::Shards { got, rows } => write!(
                f,
                "{got} shards do not fit {rows} training rows; ask for at most {}",
                rows.min(&(SHARDS_MAX as usize))
            ),
            Self::OutOfScale { place } => write!(
                f,
                "{place}: the value is too far from those of the training rows to be scaled; correct it or leave the \
                 line out"
            ),
        }
    }
}
