//! Data in: CSV -> a matrix, classes, a validation split, scaling, shards. Owns the data set and how a job's data are
//! prepared from it, as plain vectors; does not know the network, or how data travel.
//!
//! Everything here is a function of the file's content, what is asked for and the seed: the same command prepares the
//! same bits on every machine.

mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod reading;
mod shards;
mod split;

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

use ndarray::ArrayView2;

pub use error::{Column, DatasetError, Fault, FieldLocation};
pub use shards::Sharding;
pub use split::{Fraction, NotASplit, ValidationSplit};

use self::reading::{LIMITS, Table};
use crate::model::scaling::{FeatureScale, standardise};

/// UCI Letter Recognition: see `data/README.md`.
const LETTERS: &str = include_str!("../../data/letter-recognition.csv");

/// Rows of the letters that validate: their last, by custom.
const LETTERS_SPLIT: ValidationSplit = ValidationSplit::LastRows(NonZeroU32::new(3_500).unwrap());

/// Rows of features, each with a class. At least one feature and two classes.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    table: Table,
    /// The file's own division, where it has one.
    own_split: Option<ValidationSplit>,
}

/// How features become the network's inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// To mean 0 and standard deviation 1 over the training rows, each feature by itself.
    #[default]
    Standardise,
    /// As they are.
    None,
}

/// What is asked for when data are prepared for a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// Which rows validate.
    pub split: ValidationSplit,
    /// How features are scaled.
    pub scaling: Scaling,
    /// How training rows are dealt out.
    pub sharding: Sharding,
    /// Number of shards.
    pub shards: u32,
    /// Every random choice follows from it.
    pub seed: u64,
}

/// Rows as a job takes them: scaled, with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// `[rows, features]`, row-major, finite.
    pub values: Vec<f32>,
    /// `[rows]`: each row's class, an index into [`Prepared::classes`].
    pub labels: Vec<u32>,
}

impl Block {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }
}

/// A job's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Number of features.
    pub features: usize,
    /// The classes' names, by class.
    pub classes: Vec<String>,
    /// The features' names.
    pub feature_names: Vec<String>,
    /// The features' scales, the identity where nothing is scaled.
    pub scaling: Vec<FeatureScale>,
    /// The training rows. No shard is empty, and sizes differ by one at most.
    pub shards: Vec<Block>,
    /// The rows that validate; at least one.
    pub validation: Block,
}

impl Dataset {
    /// The data that come with the program: UCI Letter Recognition, 20,000 rows of 16 features, 26 classes.
    pub fn built_in() -> Dataset {
        let table = reading::read(LETTERS.as_bytes(), &LIMITS).expect("the built-in data are read by a test");
        Dataset { name: "built-in letters".to_owned(), table, own_split: Some(LETTERS_SPLIT) }
    }

    /// Reads a CSV file: numbers separated by commas, semicolons or tabs, the label last, with or without a header.
    pub fn read(path: &Path) -> Result<Dataset, DatasetError> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Dataset::from_reader(name, file),
            Err(error) => Err(DatasetError { file: name, fault: reading::unreadable(error) }),
        }
    }

    /// Reads CSV as [`Dataset::read`] does; `name` is what errors call it.
    pub fn from_reader(name: impl Into<String>, input: impl Read) -> Result<Dataset, DatasetError> {
        let name = name.into();
        match reading::read(input, &LIMITS) {
            Ok(table) => Ok(Dataset { name, table, own_split: None }),
            Err(fault) => Err(DatasetError { file: name, fault }),
        }
    }

    /// What errors call it: the file's path, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The features, `[rows, features]`, finite and not scaled.
    pub fn values(&self) -> ArrayView2<'_, f32> {
        self.table.values.view()
    }

    /// Each row's class: an index into [`Dataset::classes`].
    pub fn labels(&self) -> &[u32] {
        &self.table.labels
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.table.labels.len()
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.table.values.ncols()
    }

    /// The classes' names as the file writes them: in order of value where all are numbers, else of their bytes.
    pub fn classes(&self) -> &[String] {
        &self.table.classes
    }

    /// Whether the first line was taken for the columns' names.
    pub fn has_header(&self) -> bool {
        self.table.columns.names.is_some()
    }

    /// The features' names, `column 1` where the file gives none.
    pub fn feature_names(&self) -> Vec<String> {
        let name = |index| {
            let column = self.table.columns.at(index);
            column.name.unwrap_or_else(|| format!("column {}", column.number))
        };
        (0..self.features()).map(name).collect()
    }

    /// Which rows validate where nothing else is asked for: the last 3,500 of the built-in data, a fifth of every class
    /// of a file.
    pub fn default_split(&self) -> ValidationSplit {
        self.own_split.unwrap_or(ValidationSplit::STRATIFIED_FIFTH)
    }

    /// The same for recipe classic, which keeps the file's order: the last 3,500 of the built-in data, a file's last
    /// fifth.
    pub fn classic_split(&self) -> ValidationSplit {
        self.own_split.unwrap_or(ValidationSplit::LAST_FIFTH)
    }

    /// A job's data: splits, scales by the training rows, deals out. Takes as much memory again as the data set.
    pub fn prepare(&self, asked: &Preparation) -> Result<Prepared, DatasetError> {
        self.prepare_or_fault(asked).map_err(|fault| DatasetError { file: self.name.clone(), fault })
    }

    fn prepare_or_fault(&self, asked: &Preparation) -> Result<Prepared, Fault> {
        let split = asked.split.divide(self.labels(), self.classes().len(), asked.seed)?;
        self.check_trained(&split)?;
        let dealt = asked.sharding.deal(&split.training, self.labels(), asked.shards, asked.seed)?;
        let scaling = match asked.scaling {
            Scaling::Standardise => standardise(self.features(), split.training.iter().map(|&row| self.row(row))),
            Scaling::None => vec![FeatureScale::IDENTITY; self.features()],
        };
        let shards = dealt.iter().map(|rows| self.block(rows, &scaling)).collect::<Result<_, _>>()?;
        let validation = self.block(&split.validation, &scaling)?;
        let (classes, feature_names) = (self.classes().to_vec(), self.feature_names());
        Ok(Prepared { features: self.features(), classes, feature_names, scaling, shards, validation })
    }

    /// Every class that validates must train: the model could never be right about another.
    fn check_trained(&self, split: &split::Split) -> Result<(), Fault> {
        let mut trained = vec![false; self.classes().len()];
        for &row in &split.training {
            trained[self.labels()[row as usize] as usize] = true;
        }
        let class = |row: u32| self.labels()[row as usize] as usize;
        match split.validation.iter().find(|&&row| !trained[class(row)]) {
            None => Ok(()),
            Some(&row) => {
                let label = self.classes()[class(row)].clone();
                Err(Fault::UntrainedLabel { label, line: self.table.lines.of(row as usize) })
            }
        }
    }

    /// These rows in this order, scaled.
    fn block(&self, rows: &[u32], scaling: &[FeatureScale]) -> Result<Block, Fault> {
        let mut values = Vec::with_capacity(rows.len() * self.features());
        for &row in rows {
            for (index, (&value, scale)) in self.row(row).iter().zip(scaling).enumerate() {
                let scaled = scale.apply(value);
                if !scaled.is_finite() {
                    let (line, column) = (self.table.lines.of(row as usize), self.table.columns.at(index));
                    return Err(Fault::OutOfScale { place: FieldLocation { line, column } });
                }
                values.push(scaled);
            }
        }
        Ok(Block { values, labels: rows.iter().map(|&row| self.labels()[row as usize]).collect() })
    }

    /// A row's features.
    fn row(&self, row: u32) -> &[f32] {
        self.table.values.row(row as usize).to_slice().expect("the matrix is built row-major and never changed")
    }
}

#[cfg(test)]
mod tests;
