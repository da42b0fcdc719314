//! Data in: CSV -> a matrix, targets, a validation split, scaling, shards. Owns the data set and how a job's data are
//! prepared from it, as plain vectors; does not know the network, or how data travel.
//!
//! Everything here is a function of the file's content, what is asked for and the seed: the same command prepares the
//! same bits on every machine.

mod baseline;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod reading;
mod shards;
mod split;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;
use std::str::FromStr;

use ndarray::ArrayView2;

pub use baseline::Baseline;
pub use error::{Column, DatasetError, Fault, FieldLocation};
pub use shards::Sharding;
pub use split::{Fraction, NotASplit, ValidationSplit};

use self::reading::{LIMITS, Table};
pub use crate::model::scaling::Target;
use crate::model::scaling::{FeatureScale, TargetScale, standardise};

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

/// What the last column is to the network.
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

/// What is asked for when data are prepared for a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// What the targets are.
    pub task: Task,
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

/// Rows as a job takes them: scaled, with what outputs are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// `[rows, features]`, row-major, finite.
    pub values: Vec<f32>,
    /// Of as many rows.
    pub targets: Targets,
}

impl Block {
    /// Number of rows, of so many features each.
    pub fn rows(&self, features: usize) -> usize {
        self.values.len() / features.max(1)
    }
}

/// What the outputs for some rows are compared with; of the kind that [`Prepared::target`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// `[rows]`: each row's class, an index into [`Target::Classes`].
    Classes(Vec<u32>),
    /// `[rows, outputs]`, row-major: standardised by [`Target::Values`], finite.
    Values(Vec<f32>),
}

/// A job's data.
#[derive(Clone, Debug, PartialEq)]
pub struct Prepared {
    /// Number of features.
    pub features: usize,
    /// What a model tells of a row.
    pub target: Target,
    /// The features' names.
    pub feature_names: Vec<String>,
    /// The features' scales, the identity where nothing is scaled.
    pub scaling: Vec<FeatureScale>,
    /// The training rows. No shard is empty, and sizes differ by one at most.
    pub shards: Vec<Block>,
    /// The rows that validate; at least one.
    pub validation: Block,
}

/// The last column, as a task takes it.
enum TargetColumn {
    /// As the table has it.
    Classes,
    /// `[rows]`: as numbers that f32 can hold, of f64's digits.
    Values(Vec<f64>),
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
        (0..self.features()).map(|index| self.column_name(index)).collect()
    }

    fn column_name(&self, index: usize) -> String {
        let column = self.table.columns.at(index);
        column.name.unwrap_or_else(|| format!("column {}", column.number))
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
        let column = self.target_column(asked.task)?;
        let (strata, count) = match &column {
            TargetColumn::Classes => (self.labels(), self.classes().len()),
            TargetColumn::Values(_) => (&vec![0; self.rows()][..], 1),
        };
        let split = asked.split.divide(strata, count, asked.seed)?;
        let target = match &column {
            TargetColumn::Classes => {
                self.check_trained(&split)?;
                Target::Classes(self.classes().to_vec())
            }
            TargetColumn::Values(values) => {
                let training = split.training.iter().map(|&row| values[row as usize]);
                Target::Values(vec![TargetScale::standardising(self.target_name(), training)])
            }
        };
        let dealt = asked.sharding.deal(&split.training, strata, asked.shards, asked.seed)?;
        let scaling = match asked.scaling {
            Scaling::Standardise => standardise(self.features(), split.training.iter().map(|&row| self.row(row))),
            Scaling::None => vec![FeatureScale::IDENTITY; self.features()],
        };
        let block = |rows: &[u32]| {
            let values = self.scaled(rows, &scaling)?;
            Ok(Block { values, targets: self.targets(rows, &column, &target)? })
        };
        let shards = dealt.iter().map(|rows| block(rows)).collect::<Result<_, _>>()?;
        let validation = block(&split.validation)?;
        let (features, feature_names) = (self.features(), self.feature_names());
        Ok(Prepared { features, target, feature_names, scaling, shards, validation })
    }

    /// What the last column is to a job of this task.
    fn target_column(&self, task: Task) -> Result<TargetColumn, Fault> {
        if task == Task::Classify {
            return Ok(TargetColumn::Classes);
        }
        let number = |text: &String| text.parse::<f64>().ok().filter(|value| (*value as f32).is_finite());
        let of_label: Vec<Option<f64>> = self.classes().iter().map(number).collect();
        let value = |(row, &label): (usize, &u32)| {
            of_label[label as usize].ok_or_else(|| Fault::TargetNotANumber {
                place: self.place(row, self.features()),
                got: self.classes()[label as usize].clone(),
            })
        };
        self.labels().iter().enumerate().map(value).collect::<Result<_, _>>().map(TargetColumn::Values)
    }

    /// What the file calls the last column.
    fn target_name(&self) -> String {
        self.column_name(self.features())
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
    fn scaled(&self, rows: &[u32], scaling: &[FeatureScale]) -> Result<Vec<f32>, Fault> {
        let mut values = Vec::with_capacity(rows.len() * self.features());
        for &row in rows {
            for (index, (&value, scale)) in self.row(row).iter().zip(scaling).enumerate() {
                let scaled = scale.apply(value);
                if !scaled.is_finite() {
                    return Err(Fault::OutOfScale { place: self.place(row as usize, index) });
                }
                values.push(scaled);
            }
        }
        Ok(values)
    }

    /// What the outputs for these rows are compared with.
    fn targets(&self, rows: &[u32], column: &TargetColumn, target: &Target) -> Result<Targets, Fault> {
        let (TargetColumn::Values(values), Target::Values(scales)) = (column, target) else {
            return Ok(Targets::Classes(rows.iter().map(|&row| self.labels()[row as usize]).collect()));
        };
        let mut targets = Vec::with_capacity(rows.len() * scales.len());
        for &row in rows {
            for scale in scales {
                let scaled = scale.apply(values[row as usize]);
                if !scaled.is_finite() {
                    return Err(Fault::OutOfScale { place: self.place(row as usize, self.features()) });
                }
                targets.push(scaled);
            }
        }
        Ok(Targets::Values(targets))
    }

    /// Where the field of a row stands, by its column from 0.
    fn place(&self, row: usize, column: usize) -> FieldLocation {
        FieldLocation { line: self.table.lines.of(row), column: self.table.columns.at(column) }
    }

    /// A row's features.
    fn row(&self, row: u32) -> &[f32] {
        self.table.values.row(row as usize).to_slice().expect("the matrix is built row-major and never changed")
    }
}

#[cfg(test)]
mod tests;
