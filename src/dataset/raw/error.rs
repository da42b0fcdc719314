//! Why rows cannot be given to a model. Owns the causes and their sentences; does not know how they are found.

use std::fmt;

use serde_json::{Value, json};

use crate::dataset::error::{DatasetError, Fault};
use crate::dataset::place::{Column, Quoted, listed};
use crate::dataset::schema::RowFault;

/// Names that a sentence lists, at most.
const NAMES_SHOWN_MAX: usize = 10;

/// Rows that a model cannot be given: of which file, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawError {
    /// The file, as the user named it.
    pub file: String,
    /// The cause.
    pub fault: RawFault,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this line, from 1, or from there on.
    Line(u64),
    /// The row of an array, from 0.
    Row(u64),
}

impl Place {
    /// Its number.
    pub fn number(self) -> u64 {
        match self {
            Place::Line(number) | Place::Row(number) => number,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Row(row) => write!(f, "row {row} (from 0)"),
        }
    }
}

/// A row that does not become inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadRow {
    /// For this field.
    Field(Box<RowFault>),
    /// It has more or fewer fields than the others.
    Width {
        /// Its fields.
        got: usize,
        /// Those of the others.
        expected: usize,
    },
    /// The model's outputs for it are not finite.
    OutOfReach,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRow::Field(fault) => fault.fmt(f),
            BadRow::OutOfReach => {
                f.write_str("the values are so far from those that trained that the model's outputs are not finite")
            }
            BadRow::Width { got, expected } => write!(f, "the number of fields is {got}, and in other rows {expected}"),
        }
    }
}

/// What is wrong with rows for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawFault {
    /// Something that has nothing to do with the model.
    Data(Fault),
    /// The header lacks columns of the model.
    MissingColumns {
        /// Their names.
        missing: Vec<String>,
        /// What there is.
        found: Vec<Column>,
        /// The line of the header.
        line: u64,
    },
    /// Labels are needed, and only what the model learned from is there.
    NoLabels {
        /// The columns of the labels.
        names: Vec<String>,
        /// The header, or the first row.
        place: Place,
    },
    /// The header names a column more often than the model has it.
    RepeatedColumn {
        /// The name.
        name: String,
    },
    /// Rows without a header are not as wide as the model's columns.
    Width {
        /// The first row.
        place: Place,
        /// Its fields.
        got: usize,
        /// How many it may have.
        allowed: Vec<usize>,
        /// The model's columns.
        names: Vec<String>,
    },
    /// The first line names no column of the model, and is no row of it.
    NeitherHeaderNorRow {
        /// The line.
        line: u64,
        /// Why it is no row.
        bad: BadRow,
        /// The model's columns.
        names: Vec<String>,
    },
    /// An array, and a column of the model that does not hold numbers.
    NoNumbers {
        /// The column.
        name: String,
        /// What it holds.
        kind: &'static str,
    },
    /// An archive without features.
    NoFeatures {
        /// What it holds.
        members: Vec<String>,
    },
    /// Labels are needed, and there is another number of them than of rows.
    Labels {
        /// Rows of features.
        rows: usize,
        /// Rows of labels.
        labels: usize,
    },
    /// A row that does not become inputs.
    Row {
        /// Where it is.
        place: Place,
        /// Why.
        bad: BadRow,
    },
}

impl fmt::Display for RawError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        let names = |names: &[String]| listed(names.iter().map(|name| Quoted(name)), NAMES_SHOWN_MAX);
        match &self.fault {
            RawFault::Data(fault) => DatasetError { file: file.clone(), fault: fault.clone() }.fmt(f),
            RawFault::MissingColumns { missing, found, line } => {
                let (noun, them) = if missing.len() == 1 { ("column", "it") } else { ("columns", "them") };
                write!(
                    f,
                    "{file}, line {line}: the model learned from the {noun} {}, and this header does not name {them}; add \
                     {them} (an empty field is a missing value), or say --header no if the line is a row; there are {}",
                    names(missing),
                    listed(found.iter(), NAMES_SHOWN_MAX)
                )
            }
            RawFault::NoLabels { names: labels, place } => {
                let (noun, is) = if labels.len() == 1 { ("column", "is") } else { ("columns", "are") };
                write!(
                    f,
                    "{file}, {place}: the {noun} {} {is} not there, and to judge what the model says of a row the true value must \
                     stand beside it; add the {noun}, or tell what the model says without: client predict MODEL FILE",
                    names(labels)
                )
            }
            RawFault::RepeatedColumn { name } => write!(
                f,
                "{file}: the header names the column {} more often than the model's data did; rename the others",
                Quoted(name)
            ),
            RawFault::Width { place, got, allowed, names: columns } => {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{file}, {place}: the number of columns is {got}, and without a header the model takes {}: {}; give every \
                     row as many, or put a header with their names in front",
                    allowed.join(" or "),
                    names(columns)
                )
            }
            RawFault::NeitherHeaderNorRow { line, bad, names: columns } => write!(
                f,
                "{file}, line {line}: this is no row of the model's columns ({bad}), and no header that names one: {}; \
                 correct it, or say --header no where it is a row",
                names(columns)
            ),
            RawFault::NoNumbers { name, kind } => write!(
                f,
                "{file}: the model's column {} is a {kind}, and an array holds numbers alone; give a CSV file",
                Quoted(name)
            ),
            RawFault::NoFeatures { members } => write!(
                f,
                "{file}: the archive holds {}, and the features are looked for as X; save them so: numpy.savez(FILE, X=X)",
                names(members)
            ),
            RawFault::Labels { rows, labels } => {
                write!(f, "{file}: there are {rows} rows of features and {labels} of labels; give as many")
            }
            RawFault::Row { place, bad } => write!(
                f,
                "{file}, {place}, {bad}; correct the row, or say --on-error leave, which leaves such rows without a \
                 prediction and counts them"
            ),
        }
    }
}

impl std::error::Error for RawError {}

impl RawError {
    /// The same as JSON.
    pub fn to_json(&self) -> Value {
        let mut value = json!({"event": "refused", "file": self.file, "text": self.to_string()});
        if let RawFault::Row { place, .. } = &self.fault {
            value["line"] = place.number().into();
        }
        value
    }
}
