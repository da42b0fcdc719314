//! Data that are arrays already: IDX as of the MNIST files, NumPy's .npy and .npz. Owns which array is what to a job; does not
//! know their bytes (`array`, `archive`).
//!
//! Every number of a row is a feature, the constant ones too: an array's columns have no names by which a person would miss
//! them, and the shape is the user's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::archive::npz;
use super::array::{Array, Numbers};
use super::cells::{Column as Values, piece_rows};
use super::error::Fault;
use super::kinds::Kind;
use super::lines::Lines;
use super::options::{ReadOptions, Task};
use super::place::Column;
use super::roles::{self, PlannedColumn, Role, Roles};
use super::source::{Format, Source};
use super::store::Store;
use super::survey::{Limits, Survey};
use super::table::Table;
use super::tally::Tally;
use super::target::{Classes, TargetColumn};
use super::value::{MAGNITUDE_MAX, NumberForm};

/// Under which names an archive has its features and its labels; the second pair validates.
pub(super) const NAMES: [([&str; 5], [&str; 5]); 2] = [
    (["X", "x", "x_train", "data", "images"], ["y", "Y", "y_train", "target", "labels"]),
    (["X_test", "x_test", "X_val", "x_val", "test_images"], ["y_test", "Y_test", "y_val", "Y_val", "test_labels"]),
];

/// Whether an array of an archive is features or labels by its name.
pub(super) fn has_a_name(name: &str) -> bool {
    NAMES.iter().any(|(features, labels)| features.contains(&name) || labels.contains(&name))
}

fn wrong<T>(cause: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Array { cause: cause.into() })
}

/// What arrays come to.
pub(super) struct Read {
    pub(super) survey: Survey,
    pub(super) roles: Roles,
    pub(super) table: Table,
}

/// Reads arrays; none where the path leads to something else.
pub(super) fn read(path: &Path, options: &ReadOptions, limits: &Limits) -> Option<Result<Read, Fault>> {
    let pair = path.to_str().filter(|_| !path.exists()).and_then(|text| text.rsplit_once(','));
    let format = |path: &Path| match path.is_file() {
        true => Source::of_path(path).and_then(|source| source.open().map(|(format, _)| format)),
        false => Ok(Format::Delimited),
    };
    let pair = pair.map(|(features, labels)| [features, labels].map(PathBuf::from));
    // Of files of rows there may be several, too.
    let are_arrays =
        |pair: &[PathBuf; 2]| pair.iter().any(|path| !matches!(format(path), Ok(Format::Delimited) | Err(_)));
    if pair.as_ref().is_some_and(|pair| !are_arrays(pair)) {
        return None;
    }
    let read = match pair {
        Some(pair) => read_pair(pair),
        None => match format(path) {
            Ok(Format::Delimited) | Err(_) => return None,
            Ok(Format::Idx) => {
                wrong("an IDX file holds images or labels alone; name both with a comma between: --data IMAGES,LABELS")
            }
            Ok(Format::Npy) => array(path).map(|array| vec![(array, None)]),
            Ok(Format::Npz) => read_archive(path),
        },
    };
    Some(read.and_then(|parts| table(parts, options, limits)))
}

/// Features, and labels where they are not the last column.
type Part = (Array, Option<Array>);

fn array(path: &Path) -> Result<Array, Fault> {
    let source = Source::of_path(path)?;
    let (format, mut input) = source.open()?;
    match format {
        Format::Npy => Array::from_npy(&mut input),
        Format::Idx => Array::from_idx(&mut input),
        Format::Delimited | Format::Npz => wrong(format!("{} is no array: IDX and .npy are", path.display())),
    }
}

fn read_pair([features, labels]: [PathBuf; 2]) -> Result<Vec<Part>, Fault> {
    let missing = [&features, &labels].into_iter().find(|path| !path.exists());
    if let Some(path) = missing {
        return wrong(format!("there is no file {}; check the path", path.display()));
    }
    Ok(vec![(array(&features)?, Some(array(&labels)?))])
}

fn read_archive(path: &Path) -> Result<Vec<Part>, Fault> {
    let source = Source::of_path(path)?;
    let (_, mut input) = source.open()?;
    let mut archive = npz(&mut input, &has_a_name)?;
    let mut take = |names: &[&str]| archive.take(names).map(|(_, array)| array);
    let mut parts = Vec::new();
    for (features, labels) in NAMES {
        match (take(&features), take(&labels)) {
            (Some(features), Some(labels)) => parts.push((features, Some(labels))),
            (None, None) if !parts.is_empty() => {}
            _ => {
                return wrong(format!(
                    "the archive holds {}; save features as X and labels as y: numpy.savez(FILE, X=X, y=y)",
                    archive.names.join(", ")
                ));
            }
        }
    }
    Ok(parts)
}

/// The table of some arrays; the rows of the second part validate.
fn table(parts: Vec<Part>, options: &ReadOptions, limits: &Limits) -> Result<Read, Fault> {
    if *options != (ReadOptions { task: options.task, impute: options.impute, ..ReadOptions::default() }) {
        return wrong(
            "arrays have no columns to name and no texts to read; of the options for data, --task, --impute and --scale apply",
        );
    }
    let parts: Vec<(Array, Array)> = parts
        .into_iter()
        .map(|(features, labels)| match labels {
            Some(labels) => Ok((features, labels)),
            None => features.split_last_column(),
        })
        .collect::<Result<_, _>>()?;
    let width = parts.first().map_or(0, |(features, _)| features.width());
    let outputs = parts.first().map_or(0, |(_, labels)| labels.width());
    let mut rows = 0;
    for (features, labels) in &parts {
        if features.rows() != labels.rows() {
            return wrong(format!(
                "there are {} rows of features and {} of labels; give as many",
                features.rows(),
                labels.rows()
            ));
        }
        if (features.width(), labels.width()) != (width, outputs) {
            return wrong("the rows that validate have another width than those that train; give both the same");
        }
        rows += features.rows();
    }
    if rows == 0 || width == 0 || outputs == 0 {
        return wrong("there are no rows, or no numbers in them; an array of features has a row for each label");
    }
    if rows > limits.rows || width > limits.features {
        return wrong(format!(
            "{rows} rows of {width} numbers are more than {} rows of {}; leave some out",
            limits.rows, limits.features
        ));
    }
    let validates = (parts.len() > 1).then(|| {
        let sides = parts.iter().enumerate().flat_map(|(part, (features, _))| vec![part > 0; features.rows()]);
        sides.collect::<Vec<bool>>()
    });
    let features = columns(&parts, width)?;
    target(parts, (rows, width, outputs), features, validates, options, limits)
}

/// The columns of the features.
fn columns(parts: &[(Array, Array)], width: usize) -> Result<Vec<(usize, Values)>, Fault> {
    let mut columns = Vec::with_capacity(width);
    let mut store = Store::default();
    for place in 0..width {
        let of_column = || parts.iter().map(move |(features, _)| (features, place));
        let cells = if of_column().all(|(features, _)| matches!(features.numbers, Numbers::Bytes(_))) {
            let bytes = of_column().flat_map(|(features, place)| features.column(place).map(|number| number as u8));
            Values::of_bytes(bytes.collect(), width)
        } else {
            let mut doubles = Vec::new();
            for (features, place) in of_column() {
                for (row, number) in features.column(place).enumerate() {
                    // NaN is a missing value.
                    if number.abs() > MAGNITUDE_MAX {
                        return wrong(format!(
                            "row {row} has {number} in column {place}, counted from 0: no finite number"
                        ));
                    }
                    doubles.push(number);
                }
            }
            let mut column = Values::of_numbers(piece_rows(width));
            column.extend(&doubles, &mut store);
            column.finish(&mut store);
            column
        };
        columns.push((place, cells));
    }
    Ok(columns)
}

/// A number as a label, as people write it.
pub(super) fn label(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1e15 { format!("{}", number as i64) } else { format!("{number}") }
}

/// Whether labels that are different whole numbers are one f64.
fn are_merged(parts: &[(Array, Array)]) -> bool {
    let mut known: HashMap<u64, i128> = HashMap::new();
    let mut labels = parts.iter().flat_map(|(_, labels)| labels.large_wholes());
    labels.any(|label| *known.entry((label as f64).to_bits()).or_insert(label) != label)
}

fn target(
    parts: Vec<(Array, Array)>,
    (rows, width, outputs): (usize, usize, usize),
    features: Vec<(usize, Values)>,
    validates: Option<Vec<bool>>,
    options: &ReadOptions,
    limits: &Limits,
) -> Result<Read, Fault> {
    let mut tallies: Vec<Tally> = (0..width + outputs).map(|_| Tally::new(width + outputs)).collect();
    let texts = parts.iter().flat_map(|(_, labels)| labels.texts());
    let of_texts: Vec<String> = texts.flatten().cloned().collect();
    let labels: Vec<f64> = parts.iter().flat_map(|(_, labels)| labels.values()).collect();
    let is_text = !of_texts.is_empty();
    if is_text && of_texts.len() != rows * outputs {
        return wrong("some labels are texts and others numbers; give one of both");
    }
    if !is_text && labels.iter().any(|label| !label.is_finite()) {
        return wrong("some labels are no finite numbers; leave their rows out");
    }
    let text = |index: usize| if is_text { of_texts[index].clone() } else { label(labels[index]) };
    for index in 0..rows * outputs {
        tallies[width + index % outputs].take((*text(index)).into(), &options.missing);
    }
    tallies.iter_mut().for_each(Tally::settle);
    let places: Vec<usize> = (width..width + outputs).collect();
    let (task, task_why, task_is_guess) = roles::task(&places, &tallies, options);
    let survey = Survey { names: None, close: None, tallies, rows: rows as u64, separator: None };
    let column = Column { number: width + 1, name: None };
    let target = match task {
        Task::Classify if outputs > 1 => return Err(Fault::SeveralLabels),
        Task::Classify if are_merged(&parts) => {
            return wrong(format!(
                "some labels are whole numbers from {} on that differ in digits which an f64 does not have, and would become one \
                 class; save texts that are no numbers: numpy.char.add('id ', y.astype('U'))",
                1u64 << 53
            ));
        }
        Task::Classify => {
            let mut classes = Classes::new(&places, &survey);
            for index in 0..rows {
                if classes.push(&text(index), limits.classes).is_none() {
                    return Err(Fault::TooManyClasses { column });
                }
            }
            TargetColumn::Classes(classes.finish(&column)?)
        }
        Task::Regress if is_text => {
            return wrong("the labels are texts, and only numbers can be fitted; say --task classify");
        }
        Task::Regress => TargetColumn::Values { values: labels, outputs },
    };
    let planned = |place: usize| {
        let role = if place < width { Role::Feature } else { Role::Label };
        PlannedColumn {
            column: Column { number: place + 1, name: None },
            kind: Kind::Number(NumberForm::default()),
            kind_of_later_rows: Kind::Number(NumberForm::default()),
            role,
            why: "",
            reverse: "",
            missing: 0,
            distinct: survey.tallies[place].distinct().filter(|_| place >= width),
            doubtful: Vec::new(),
        }
    };
    let columns = (0..width + outputs).map(planned).collect();
    let (needed_marks, hints) = (Vec::new(), Vec::new());
    let (side, group) = (None, None);
    let roles = Roles { columns, labels: places, side, group, task, task_why, task_is_guess, needed_marks, hints };
    let (lines, starts) = (Lines::default(), Vec::new());
    let lead = 0;
    let table =
        Table { rows, features, lead, target, lines, starts, dropped: 0, validates, tests_from: None, groups: None };
    Ok(Read { survey, roles, table })
}
