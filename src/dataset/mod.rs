//! Data in: a file -> a schema -> matrices, targets, a validation split, shards. Owns the data set and how a job's data are
//! prepared from it, as plain vectors; does not know the network, or how data travel.
//!
//! Every value of every column of a file is read and counted (`survey`, `tally`, `texts`, `header`), and what a column is follows
//! from all of them (`kinds`, `roles`); then rows become values (`table`, `cells`, `target`). Where the first reading has kept all
//! that they are made of (`kept`, `store`), that is all; else the file is read a second time. Kinds come from all rows but those that are
//! dropped; whatever is learned, scales, categories, what stands for a missing value, comes from the rows that train (`transform`),
//! makes inputs of all rows (`encoding`), and goes with the model as its schema (`schema`). By that, rows for the model are read
//! once, as a stream (`raw`).
//!
//! Everything here is a function of the file's content, what is asked for and the seed: the same command prepares the
//! same bits on every machine.

mod archive;
mod array;
mod arrays;
mod baseline;
mod cells;
mod codes;
mod date;
mod delimited;
mod dictionary;
mod encoding;
mod error;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod groups;
mod hash;
mod header;
mod kept;
mod kinds;
mod leak;
mod lines;
mod memo;
mod missing;
mod options;
mod outlier;
mod place;
mod preparing;
mod raw;
mod refusal;
mod report;
mod roles;
mod schema;
mod shards;
mod short;
mod source;
mod split;
mod store;
mod sum_words;
mod sums;
mod survey;
mod table;
mod tally;
mod target;
mod texts;
mod title;
mod transform;
mod value;
mod written;

use std::io::Read;
use std::num::NonZeroU32;
use std::path::Path;

pub use baseline::Baseline;
pub use error::{DatasetError, Fault};
pub(crate) use files::is_hidden;
pub(crate) use hash::spread;
pub use kinds::Kind;
pub use missing::MissingTokens;
pub use options::{Decimal, Impute, MissingLabel, ReadOptions, Separator, Task};
pub(crate) use place::for_shell;
pub use place::{Column, FieldLocation};
pub use raw::{BadRow, Place, RawError, RawFault, RawOptions, RawRow, RawRows};
pub use refusal::{Cause, Example, Refusal};
pub use report::Report;
pub use schema::{Becomes, RowFault, Schema, SchemaColumn};
pub use shards::{ShardCount, Sharding};
pub use source::{Progress, Watch};
pub use split::{Fraction, NotASplit, ValidationSplit};
pub(crate) use target::NO_LABEL;
pub use transform::{Categories, Encoder, MissingCategory, Numeric, Scaling};
pub(crate) use value::MAGNITUDE_MAX;

use self::files::{Part, Side};
use self::roles::{Role, Roles};
use self::source::Source;
use self::split::Split;
use self::survey::{LIMITS, Limits, Survey};
use self::table::Table;
use self::tally::Tally;
use self::target::TargetColumn;
use self::transform::{Learning, Trained};
pub use crate::model::scaling::Target;
use crate::model::scaling::{FeatureScale, TargetScale};
use crate::model::{InputLayout, Inputs};

/// UCI Letter Recognition: see `data/README.md`.
const LETTERS: &str = include_str!("../../data/letter-recognition.csv");

/// Rows of the letters that validate: their last, by custom.
const LETTERS_SPLIT: ValidationSplit = ValidationSplit::LastRows(NonZeroU32::new(3_500).unwrap());

/// Columns that a sentence about too many inputs names.
const WIDEST_SHOWN: usize = 3;
/// Lines without a label that are no rows of the table, at most.
const LINES_BELOW_MAX: u64 = 5;

/// Rows of features, each with a target. At least one feature, and two classes or different numbers.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    /// The files, where they are files of rows: each row is from one.
    files: Vec<String>,
    survey: Survey,
    roles: Roles,
    options: ReadOptions,
    table: Table,
    limits: Limits,
    /// The file's own division, where it has one.
    own_split: Option<ValidationSplit>,
}

/// What is asked for when data are prepared for a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preparation {
    /// Which rows validate, where the data do not say so.
    pub split: ValidationSplit,
    /// Which rows only test, where the data do not say so; they are taken before those that validate.
    pub test: Option<ValidationSplit>,
    /// How features are scaled.
    pub scaling: Scaling,
    /// How training rows are dealt out.
    pub sharding: Sharding,
    /// Number of shards.
    pub shards: ShardCount,
    /// Every random choice follows from it.
    pub seed: u64,
}

/// Rows as a job takes them: scaled, with what outputs are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// How inputs are written.
    pub layout: InputLayout,
    /// Those that are written as they are, row-major, finite.
    pub values: Vec<f32>,
    /// Those that are written as indices, row-major.
    pub indices: Vec<u8>,
    /// Of as many rows.
    pub targets: Targets,
}

impl Block {
    /// The inputs of its rows.
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs { layout: &self.layout, values: &self.values, indices: &self.indices }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.inputs().rows().unwrap_or(0)
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
    /// Number of features: the network's inputs.
    pub features: usize,
    /// What a model tells of a row.
    pub target: Target,
    /// The features' names.
    pub feature_names: Vec<String>,
    /// The features' scales, the identity where nothing is scaled.
    pub scaling: Vec<FeatureScale>,
    /// How a raw row becomes features.
    pub schema: Schema,
    /// The training rows. No shard is empty, and sizes differ by one at most.
    pub shards: Vec<Block>,
    /// The rows that validate; at least one.
    pub validation: Block,
    /// The rows that only test, where some do.
    pub test: Option<Block>,
    /// Sentences for the person.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// The data that come with the program: UCI Letter Recognition, 20,000 rows of 16 features, 26 classes.
    pub fn built_in() -> Dataset {
        let source = Source::of_bytes(LETTERS.as_bytes());
        let read = Dataset::from_source("built-in letters".to_owned(), source, &ReadOptions::default(), &LIMITS);
        let letters = read.expect("the built-in data are read by a test");
        Dataset { own_split: Some(LETTERS_SPLIT), ..letters }
    }

    /// Reads data files, and those whose rows validate or test, if the options name any: fields with separators, compressed with gzip or
    /// not, from the standard input where the path is `-`, in several files with commas between or all of a directory; or arrays,
    /// with their labels' path behind a comma.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Dataset, DatasetError> {
        Dataset::read_watched(path, options, None)
    }

    /// The same, and tells somebody how far the reading of each file of rows has come.
    pub fn read_watched(path: &Path, options: &ReadOptions, watch: Option<Watch>) -> Result<Dataset, DatasetError> {
        let name = path.display().to_string();
        let error = |file: &str, fault| DatasetError { file: file.to_owned(), fault };
        if let Some(read) = arrays::read(path, options, &LIMITS) {
            let arrays::Read { survey, roles, table } = read.map_err(|fault| error(&name, fault))?;
            let (options, limits) = (options.clone(), LIMITS);
            return Ok(Dataset { name, files: Vec::new(), survey, roles, options, table, limits, own_split: None });
        }
        let mut parts = files::parts(path, Side::Train)?;
        for (path, side) in [(&options.validation, Side::Validate), (&options.test, Side::Test)] {
            if let Some(path) = path {
                parts.extend(files::parts(path, side)?);
            }
        }
        if let Some(watch) = watch {
            parts.iter_mut().for_each(|part| part.source.watch(watch.clone()));
        }
        Dataset::from_parts(name, parts, options, &LIMITS)
    }

    /// Reads fields with separators as [`Dataset::read`] does; `name` is what errors call them.
    pub fn from_reader(
        name: impl Into<String>,
        input: impl Read,
        options: &ReadOptions,
    ) -> Result<Dataset, DatasetError> {
        Dataset::from_source(name.into(), Source::of_reader(input), options, &LIMITS)
    }

    fn from_source(
        name: String,
        source: Source<'_>,
        options: &ReadOptions,
        limits: &Limits,
    ) -> Result<Dataset, DatasetError> {
        Dataset::from_parts(name.clone(), vec![Part::of_source(name, source)], options, limits)
    }

    /// The first of the parts, of which there is at least one, says what the columns are called.
    fn from_parts(
        name: String,
        mut parts: Vec<Part<'_>>,
        options: &ReadOptions,
        limits: &Limits,
    ) -> Result<Dataset, DatasetError> {
        let error = |fault| DatasetError { file: name.clone(), fault };
        let (first, others) = parts.split_first_mut().ok_or_else(|| error(Fault::NoFiles))?;
        let found = Survey::of(&first.source, options, limits).map_err(|fault| {
            let table = match &fault {
                Fault::Ragged { .. } | Fault::OneColumn { .. } => title::table_below(&first.source),
                // What begins in the next line may be the rows.
                Fault::FewerNames { line, .. } => title::table_below(&first.source).filter(|below| *below > line + 1),
                _ => None,
            };
            first.error(table.map_or(fault, |line| Fault::Titled { line }))
        })?;
        let (mut survey, mut kept) = found;
        for part in others {
            part.layout =
                survey.take_in(&mut kept, &part.source, options, limits).map_err(|fault| part.error(fault))?;
        }
        let mut roles = roles::decide(&survey, options).map_err(error)?;
        // What a column is, no line below a table decides that is dropped: of sums, of units, or with the file's origin. Of those
        // there are few; more rows without a label are rows of the table. And where ids are, none is gone for want of a label.
        let dropped = roles.labels.iter().map(|&label| survey.tallies[label].missing).sum();
        if options.missing_label == MissingLabel::Drop && (1..=LINES_BELOW_MAX).contains(&dropped) {
            let files: Vec<_> = parts.iter().map(|part| (&part.source, &part.layout)).collect();
            let mut labelled = survey.labelled(&files, &roles.labels, options, limits).map_err(error)?;
            let is_open = |column: &roles::PlannedColumn| !matches!(column.kind, Kind::RowNumber | Kind::Identifier);
            let open: Vec<bool> = roles.columns.iter().map(is_open).collect();
            let mut exchange = |tallies: &mut Vec<Tally>| {
                let pairs = tallies.iter_mut().zip(&mut labelled).zip(&open);
                pairs.filter(|(_, is_open)| **is_open).for_each(|((all, labelled), _)| std::mem::swap(all, labelled));
            };
            exchange(&mut survey.tallies);
            let again = roles::decide(&survey, options).map_err(error)?;
            // Where the label is a guess, all rows have made it.
            match again.labels == roles.labels {
                true => roles = again,
                false => exchange(&mut survey.tallies),
            }
        }
        if roles.side.is_some() && parts.iter().any(|part| part.side == Side::Validate) {
            return Err(error(Fault::TwoSplits));
        }
        roles.hints.extend(files::columns_of_later_files(&parts));
        let sums = parts.first().map(|first| sums::hint(&roles.columns, &survey, &first.source, options, limits));
        roles.hints.extend(sums.transpose().map_err(error)?.flatten());
        let table = table::read(&name, &parts, (&survey, kept), &roles, options, limits);
        let table = table.map_err(|error| title::explained(error, &parts, &survey, &roles, options))?;
        // Tables of distinct values have done their part, and what is prepared needs the memory.
        survey.tallies = Vec::new();
        let files = parts.into_iter().map(|part| part.name).collect();
        let (options, limits) = (options.clone(), *limits);
        Ok(Dataset { name, files, survey, roles, options, table, limits, own_split: None })
    }

    /// What errors call it: the file's path, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.table.rows
    }

    /// What a model of it tells.
    pub fn task(&self) -> Task {
        self.roles.task
    }

    /// Whether the data say themselves which rows validate: by a column, or a file of such rows.
    pub fn says_which_validate(&self) -> bool {
        self.table.validates.is_some()
    }

    /// Which rows only test where nothing is asked for: the last 3,500 of the built-in data, a tenth of every class of a file with
    /// more than a thousand rows; none where the data, or `is_divided`, say which validate, or groups make no such share.
    pub fn default_test(&self, is_divided: bool) -> Option<ValidationSplit> {
        let is_open = !is_divided && !self.says_which_validate();
        let has_usual = self.rows() > TESTED_ROWS_MIN && self.groups_fit(Fraction::TENTH, self.usual_share());
        let usual = has_usual.then_some(ValidationSplit::STRATIFIED_TENTH);
        self.own_split.or(usual).filter(|_| is_open)
    }

    /// Which rows validate where nothing else is asked for, of those that do not test: a fifth of every class, of more than 5,000
    /// rows a tenth, and of 100 where numbers are fitted; more where no whole group fits that. Those of a file that only tests do not
    /// count.
    pub fn default_split(&self) -> ValidationSplit {
        ValidationSplit::Fraction(self.share_with_a_group(self.usual_share()))
    }

    fn usual_share(&self) -> Fraction {
        let rows = self.table.tests_from.unwrap_or(self.rows());
        let is_fitted = self.task() == Task::Regress && rows >= FITTED_ROWS_MANY;
        match rows > VALIDATED_ROWS_MANY || is_fitted {
            true => Fraction::TENTH,
            false => Fraction::FIFTH,
        }
    }

    /// The same for recipe classic, which keeps the file's order: the last 3,500 of the built-in data, a file's last
    /// fifth.
    pub fn classic_split(&self) -> ValidationSplit {
        self.own_split.unwrap_or(ValidationSplit::LAST_FIFTH)
    }

    /// A fault of all data, or of the file that a row is from.
    fn error(&self, fault: Fault, row: Option<u32>) -> DatasetError {
        let file = row.and_then(|row| self.files.get(self.table.file_of(row)));
        DatasetError { file: file.unwrap_or(&self.name).clone(), fault }
    }

    /// What is learned of every column from the rows that train.
    fn learn(&self, training: &[u32], scaling: Scaling) -> Result<Schema, Fault> {
        let rare = self.options.rare.map_or_else(|| transform::usual_rare(training.len()), u64::from);
        let learning =
            Learning { scaling: scaling.of_rows(training.len(), self.task()), impute: self.options.impute, rare };
        let mut are_trained = vec![false; self.table.lead + self.rows()];
        training.iter().for_each(|&row| are_trained[self.table.lead + row as usize] = true);
        let trained = Trained { are: &are_trained, count: training.len() };
        let (mut features, mut present) = (self.table.features.iter().peekable(), Vec::new());
        let column = |(place, column): (usize, &roles::PlannedColumn)| {
            let becomes = match (&column.role, features.next_if(|(feature, _)| *feature == place)) {
                (_, Some((_, values))) => {
                    Becomes::Inputs(Encoder::learn(values, column.kind, trained, &learning, &mut present)?)
                }
                (Role::Label, None) => Becomes::Label,
                (Role::LeftOut(why), None) => Becomes::Nothing(why.clone()),
                (Role::Side, None) => Becomes::Nothing("it says which rows validate".to_owned()),
                (Role::Group | Role::Feature, None) => Becomes::Nothing("it groups the rows".to_owned()),
            };
            Ok(SchemaColumn { name: self.column_name(place), kind: column.kind_of_later_rows, becomes })
        };
        let columns = self.roles.columns.iter().enumerate().map(column).collect::<Result<_, Fault>>()?;
        Ok(Schema { missing: self.options.missing.clone(), columns })
    }

    fn column_name(&self, place: usize) -> String {
        self.survey.column(place).name.unwrap_or_else(|| format!("column {}", place + 1))
    }

    fn no_features(&self) -> Fault {
        let left_out = |column: &roles::PlannedColumn| match &column.role {
            Role::LeftOut(why) => Some((column.column.clone(), why.clone())),
            _ => None,
        };
        Fault::NoFeatures { left_out: self.roles.columns.iter().filter_map(left_out).collect() }
    }

    fn too_wide(&self, schema: &Schema, inputs: usize) -> Fault {
        Fault::TooWide { inputs, inputs_max: self.limits.features, widest: self.widest(schema) }
    }

    /// The columns that become most inputs, and how many.
    pub fn widest(&self, schema: &Schema) -> Vec<(Column, usize)> {
        let width = |(place, column): (usize, &SchemaColumn)| match &column.becomes {
            Becomes::Inputs(encoder) => Some((self.survey.column(place), encoder.width())),
            _ => None,
        };
        let mut widest: Vec<(Column, usize)> = schema.columns.iter().enumerate().filter_map(width).collect();
        widest.sort_by_key(|(_, width)| std::cmp::Reverse(*width));
        widest.truncate(WIDEST_SHOWN);
        widest
    }

    /// What is to be told of a row, by the rows that train.
    fn target(&self, split: &Split) -> Result<Target, DatasetError> {
        match &self.table.target {
            TargetColumn::Classes(classes) => {
                self.check_trained(classes, split)?;
                Ok(Target::Classes(classes.names.clone()))
            }
            TargetColumn::Values { values, outputs } => {
                let scale = |(output, &place): (usize, &usize)| {
                    let training = split.training.iter().map(|&row| values[row as usize * outputs + output]);
                    TargetScale::standardising(self.column_name(place), training)
                };
                Ok(Target::Values(self.roles.labels.iter().enumerate().map(scale).collect()))
            }
        }
    }

    /// Every class that validates must train: the model could never be right about another.
    fn check_trained(&self, classes: &target::ClassColumn, split: &Split) -> Result<(), DatasetError> {
        let mut trained = vec![false; classes.names.len()];
        for &row in &split.training {
            trained[classes.labels[row as usize] as usize] = true;
        }
        let class = |row: u32| classes.labels[row as usize] as usize;
        match split.validation.iter().chain(&split.test).find(|&&row| !trained[class(row)]) {
            None => Ok(()),
            Some(&row) => {
                let label = classes.names[class(row)].clone();
                Err(self.error(Fault::UntrainedLabel { label, line: self.table.lines.of(row as usize) }, Some(row)))
            }
        }
    }

    /// What the outputs for these rows are compared with.
    fn targets(&self, rows: &[u32], target: &Target) -> Result<Targets, DatasetError> {
        let (values, outputs, scales) = match (&self.table.target, target) {
            (TargetColumn::Values { values, outputs }, Target::Values(scales)) => (values, *outputs, scales),
            (TargetColumn::Classes(classes), _) => {
                return Ok(Targets::Classes(rows.iter().map(|&row| classes.labels[row as usize]).collect()));
            }
            (TargetColumn::Values { .. }, Target::Classes(_)) => return Ok(Targets::Values(Vec::new())),
        };
        let mut targets = Vec::with_capacity(rows.len() * outputs);
        for &row in rows {
            for (output, scale) in scales.iter().enumerate() {
                let scaled = scale.apply(values[row as usize * outputs + output]);
                if !scaled.is_finite() {
                    let fault = Fault::OutOfScale { place: self.place(row, self.roles.labels[output]) };
                    return Err(self.error(fault, Some(row)));
                }
                targets.push(scaled);
            }
        }
        Ok(Targets::Values(targets))
    }

    /// Where the field of a row stands, by its column from 0.
    fn place(&self, row: u32, place: usize) -> FieldLocation {
        FieldLocation { line: self.table.lines.of(row as usize), column: self.survey.column(place) }
    }

    /// A sentence about a number to be fitted that lies far off all others.
    fn far_off(&self) -> Option<String> {
        let TargetColumn::Values { values, outputs: 1 } = &self.table.target else { return None };
        let row = outlier::far_off(values).filter(|_| self.survey.separator.is_some())?;
        let file = self.files.get(self.table.file_of(row as u32)).filter(|_| self.files.len() > 1);
        let of_file = file.map_or(String::new(), |file| format!(" of {file}"));
        let (place, value) = (self.place(row as u32, self.roles.labels[0]), values[row]);
        Some(format!(
            "line {}{of_file}: the label in {} is {value}, more than a hundred times as far off as all others lie apart; correct it, or \
             leave the line out, if it is a slip",
            place.line, place.column
        ))
    }

    /// Sentences about columns that tell too much, and a division of the rows that shows little.
    fn warnings(&self, split: &Split) -> Result<Vec<String>, DatasetError> {
        // Of arrays nothing is guessed.
        let has_guesses = self.survey.separator.is_some();
        let leaks = if has_guesses {
            leak::leaks(&self.table.features, self.table.lead, &self.table.target)
        } else {
            Ok(Vec::new())
        };
        let leaks = leaks.map_err(|fault| self.error(fault, None))?;
        let (tells, classes) = match &self.table.target {
            TargetColumn::Classes(classes) => ("alone tells the label of every row", Some(classes)),
            TargetColumn::Values { .. } => ("lies on a straight line with the label in every row", None),
        };
        let leak = |place: usize| {
            let column = self.survey.column(place);
            let word = column.as_word();
            format!("{column} {tells}: if it is known only with the label, leave it out (--ignore {word})")
        };
        let leaks = leaks.into_iter().take(LEAKS_SHOWN).map(leak);
        let Some(classes) = classes else { return Ok(self.far_off().into_iter().chain(leaks).collect()) };
        let mut counts = vec![0u64; classes.names.len()];
        classes.labels.iter().for_each(|&label| counts[label as usize] += 1);
        let small = counts.iter().zip(&classes.names).filter(|(count, _)| **count < ROWS_OF_CLASS_MIN);
        let small: Vec<String> = small.map(|(count, name)| format!("{} ({count})", place::Quoted(name))).collect();
        let mut warnings = classes.warnings.clone();
        if !small.is_empty() {
            warnings.push(format!(
                "classes with fewer than {ROWS_OF_CLASS_MIN} rows: {}; {} of {} rows validate",
                place::listed(small.iter(), CLASSES_SHOWN),
                split.validation.len(),
                self.rows()
            ));
        }
        warnings.extend(leaks);
        Ok(warnings)
    }
}

/// Up to so many rows all train or validate: those that a test would take are missed more.
const TESTED_ROWS_MIN: usize = 1_000;
/// Of more rows than these a tenth is enough to validate.
const VALIDATED_ROWS_MANY: usize = 5_000;
/// Where numbers are fitted, of as many: what more of them train gains more than what is known of the result (`benches/datasets`).
const FITTED_ROWS_MANY: usize = 100;
/// Rows of a class, below which a sentence names it.
const ROWS_OF_CLASS_MIN: u64 = 3;
/// Columns that tell the label, of which a sentence each is said.
const LEAKS_SHOWN: usize = 3;
/// Classes that such a sentence names.
const CLASSES_SHOWN: usize = 5;

#[cfg(test)]
mod tests;
