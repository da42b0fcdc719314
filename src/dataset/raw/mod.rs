//! Raw rows for a model that is there, read once, as a stream: what trained it, it takes again. Owns the way from a file to
//! the model's inputs, row by row, and what is said of rows that are unlike those that trained; does not know the model.

mod error;
mod layout;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use super::archive::npz;
use super::array::{Array, ArrayRows, Head};
use super::arrays::{self, NAMES};
use super::cells::Field;
use super::delimited::{KeptRecord, Record, Records};
use super::error::Fault;
use super::kinds::Kind;
use super::missing::MissingTokens;
use super::options::Separator;
use super::place::{Column, Quoted, listed};
use super::refusal::Cause;
use super::schema::{Becomes, RowFault, Schema, SchemaColumn};
use super::source::{Format, Source};
use super::survey::LIMITS;
use super::transform::Encoder;
use super::value::MAGNITUDE_MAX;
pub use error::{BadRow, Place, RawError, RawFault};
use layout::{Beginning, Layout};

/// Columns that a sentence lists, at most.
const SHOWN_MAX: usize = 5;

/// How raw rows are to be read, beside what the model's schema says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawOptions {
    /// Whether the first line names the columns; found out if none.
    pub header: Option<bool>,
    /// What separates fields; found out if none.
    pub separator: Option<Separator>,
    /// Columns to pass on as they are, by their names or numbers.
    pub keep: Vec<String>,
    /// Whether the labels must be there.
    pub wants_labels: bool,
}

/// The rows of a file, one after the other.
pub struct RawRows<'a> {
    schema: &'a Schema,
    file: String,
    input: Input<'a>,
    layout: Layout,
    inputs: Vec<InputColumn>,
    /// The label columns, by their places in the schema.
    labels: Vec<usize>,
    /// Fields to be passed on.
    kept: Vec<usize>,
    /// For each column of the schema the numbers that stand for no value.
    absent: Vec<Vec<f64>>,
    /// Inputs of the row in hand whose value was missing, or a category that the model does not know.
    unusual: Vec<(usize, bool)>,
    rows: u64,
}

/// A column that becomes inputs, and how its values differ from those that trained.
struct InputColumn {
    /// Its place in the schema.
    place: usize,
    field: usize,
    inputs: Range<usize>,
    missing: u64,
    unknown: u64,
    /// The first category that the model does not know.
    first_unknown: Option<(String, Place)>,
}

/// A row that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRow {
    /// Where it is.
    pub place: Place,
    /// Why it has no inputs, if it has none.
    pub bad: Option<BadRow>,
}

/// What rows are read from, and the row in hand.
enum Input<'a> {
    Lines {
        records: Records<Box<dyn Read + 'a>>,
        /// The first rows, which were looked at before, the next one last.
        ahead: Vec<(KeptRecord, u64)>,
        /// The row in hand, where it is one of them.
        first: Option<KeptRecord>,
    },
    Numbers {
        rows: ArrayRows<'a>,
        row: Vec<f64>,
        /// The labels, where they stand apart.
        labels: Option<Array>,
    },
}

impl<'a> RawRows<'a> {
    /// Begins to read a file, the standard input where the path is `-`; or arrays, perhaps with the labels' path behind a
    /// comma.
    pub fn open(path: &Path, schema: &'a Schema, options: &RawOptions) -> Result<RawRows<'a>, RawError> {
        let file = path.display().to_string();
        let pair = path.to_str().filter(|_| !path.exists()).and_then(|text| text.rsplit_once(','));
        let opened = match pair {
            Some((features, labels)) => labels_apart(Path::new(labels))
                .and_then(|labels| Ok((Source::of_path(Path::new(features))?, Some(labels))))
                .map_err(RawFault::Data),
            None => Source::of_path(path).map(|source| (source, None)).map_err(RawFault::Data),
        };
        let rows = opened.and_then(|(source, labels)| RawRows::of_source(source, labels, schema, options));
        rows.map(|rows| RawRows { file: file.clone(), ..rows }).map_err(|fault| RawError { file, fault })
    }

    /// Begins to read what comes out of a reader; `file` is what errors call it.
    pub fn from_reader(
        file: impl Into<String>,
        input: impl Read + 'a,
        schema: &'a Schema,
        options: &RawOptions,
    ) -> Result<RawRows<'a>, RawError> {
        let file = file.into();
        match RawRows::of_source(Source::of_reader(input), None, schema, options) {
            Ok(rows) => Ok(RawRows { file, ..rows }),
            Err(fault) => Err(RawError { file, fault }),
        }
    }

    fn of_source(
        source: Source<'a>,
        labels: Option<Array>,
        schema: &'a Schema,
        options: &RawOptions,
    ) -> Result<RawRows<'a>, RawFault> {
        let (format, mut input) = source.into_reader().map_err(RawFault::Data)?;
        let width_max = schema.columns.len();
        match format {
            Format::Delimited if labels.is_none() => RawRows::of_lines(input, schema, options),
            Format::Delimited => {
                let cause = "labels apart belong to an array of features, and this is none".to_owned();
                Err(RawFault::Data(Fault::Array { cause }))
            }
            Format::Npy | Format::Idx => {
                let head = if format == Format::Npy { Head::of_npy(&mut input) } else { Head::of_idx(&mut input) };
                let rows = head.and_then(|head| ArrayRows::behind(&head, input, width_max)).map_err(RawFault::Data)?;
                RawRows::of_numbers(rows, labels, Vec::new(), schema, options)
            }
            Format::Npz => {
                let mut archive = npz(&mut input, &arrays::has_a_name).map_err(RawFault::Data)?;
                let known = archive.names.clone();
                let has = |names: &[&str]| known.iter().any(|name| names.contains(&&**name));
                // A model is judged by rows that it has not seen, where they are told apart.
                let pair = if options.wants_labels && has(&NAMES[1].0) { 1 } else { 0 };
                let Some((name, features)) = archive.take(&NAMES[pair].0) else {
                    return Err(RawFault::NoFeatures { members: known });
                };
                let labels = archive.take(&NAMES[pair].1).map(|(_, labels)| labels);
                let notes = match known.len() > 1 + usize::from(labels.is_some()) {
                    true => vec![format!("of the archive, the rows of {name} are taken")],
                    false => Vec::new(),
                };
                RawRows::of_numbers(ArrayRows::of(features), labels, notes, schema, options)
            }
        }
    }

    fn of_lines(input: Box<dyn Read + 'a>, schema: &'a Schema, options: &RawOptions) -> Result<RawRows<'a>, RawFault> {
        let separator = options.separator.map(|separator| separator.0);
        let mut records = Records::open(input, separator, LIMITS.record_bytes).map_err(RawFault::Data)?;
        let mut ahead = Vec::new();
        while ahead.len() < 2 {
            let Some(line) = records.advance().map_err(RawFault::Data)? else { break };
            ahead.insert(0, (records.record().kept(), line));
        }
        let Some((first, line)) = ahead.last() else { return Err(RawFault::Data(Fault::Empty)) };
        let second = if ahead.len() == 2 { Some(ahead[0].0.fields()) } else { None };
        let beginning = Beginning { first: first.fields(), line: *line, second };
        let layout = Layout::of_lines(schema, &beginning, options.header, options.wants_labels)?;
        if layout.names.is_some() {
            ahead.pop();
        }
        let input = Input::Lines { records, ahead, first: None };
        RawRows::new(schema, input, layout, options)
    }

    fn of_numbers(
        rows: ArrayRows<'a>,
        labels: Option<Array>,
        notes: Vec<String>,
        schema: &'a Schema,
        options: &RawOptions,
    ) -> Result<RawRows<'a>, RawFault> {
        if let Some(labels) = labels.as_ref().filter(|labels| labels.rows() != rows.rows()) {
            return Err(RawFault::Labels { rows: rows.rows(), labels: labels.rows() });
        }
        for column in schema.columns.iter().filter(|column| matches!(column.becomes, Becomes::Inputs(_))) {
            if !matches!(column.kind, Kind::Number(_) | Kind::Constant | Kind::RowNumber) {
                return Err(RawFault::NoNumbers { name: column.name.clone(), kind: column.kind.name() });
            }
        }
        let outputs = schema.columns.iter().filter(|column| column.becomes == Becomes::Label).count();
        if let Some(labels) = labels.as_ref().filter(|labels| labels.width() != outputs) {
            let cause = format!("the array of labels has {} columns, and the model tells {outputs}", labels.width());
            return Err(RawFault::Data(Fault::Array { cause }));
        }
        let wants_labels = options.wants_labels && labels.is_none();
        let mut layout = Layout::by_place(schema, rows.width(), wants_labels, Place::Row(0))?;
        layout.notes = notes;
        let row = vec![0.0; rows.width()];
        RawRows::new(schema, Input::Numbers { rows, row, labels }, layout, options)
    }

    fn new(
        schema: &'a Schema,
        input: Input<'a>,
        layout: Layout,
        options: &RawOptions,
    ) -> Result<RawRows<'a>, RawFault> {
        let kept = options.keep.iter().map(|wanted| layout.find("--keep", wanted)).collect::<Result<_, _>>();
        let kept = kept.map_err(RawFault::Data)?;
        let mut start = 0;
        let input_column = |((place, column), field): ((usize, &SchemaColumn), &Option<usize>)| {
            let Becomes::Inputs(encoder) = &column.becomes else { return None };
            let inputs = start..start + encoder.width();
            start = inputs.end;
            // The layout has one for each.
            let field = (*field)?;
            Some(InputColumn { place, field, inputs, missing: 0, unknown: 0, first_unknown: None })
        };
        let inputs = schema.columns.iter().enumerate().zip(&layout.fields).filter_map(input_column).collect();
        let is_label = |place: &usize| schema.columns[*place].becomes == Becomes::Label;
        let labels = (0..schema.columns.len()).filter(is_label).collect();
        let absent = schema.columns.iter().map(|column| absent(column.kind, &schema.missing)).collect();
        let file = String::new();
        Ok(RawRows { schema, file, input, layout, inputs, labels, kept, absent, unusual: Vec::new(), rows: 0 })
    }

    /// What errors call it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is to be said before the first row.
    pub fn notes(&self) -> &[String] {
        &self.layout.notes
    }

    /// The names of the columns that are passed on.
    pub fn kept_names(&self) -> impl Iterator<Item = String> + '_ {
        self.kept.iter().map(|&field| match self.layout.column(field) {
            Column { name: Some(name), .. } => name,
            Column { number, .. } => format!("column {number}"),
        })
    }

    /// Reads the next row, and puts its inputs into as many places as the schema makes; none at the end.
    pub fn advance(&mut self, inputs: &mut [f32]) -> Result<Option<RawRow>, RawError> {
        let place = match self.input.advance(self.rows) {
            Ok(Some(place)) => place,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(RawError { file: self.file.clone(), fault: RawFault::Data(fault) }),
        };
        self.rows += 1;
        let bad = self.encode(inputs, place);
        Ok(Some(RawRow { place, bad }))
    }

    /// Makes inputs of the row in hand.
    fn encode(&mut self, inputs: &mut [f32], place: Place) -> Option<BadRow> {
        let record = self.input.record();
        if let Some(record) = record
            && record.len() != self.layout.width
        {
            return Some(BadRow::Width { got: record.len(), expected: self.layout.width });
        }
        self.unusual.clear();
        for (index, column) in self.inputs.iter().enumerate() {
            let of_schema = &self.schema.columns[column.place];
            let Becomes::Inputs(encoder) = &of_schema.becomes else { continue };
            let fault = |cause| {
                let text = self.input.text(column.field).into_owned();
                Some(BadRow::Field(Box::new(RowFault::new(column.field + 1, of_schema, cause, text))))
            };
            let places = &mut inputs[column.inputs.clone()];
            if let (Input::Numbers { row, .. }, Encoder::Number(numeric)) = (&self.input, encoder)
                && row[column.field].abs() <= MAGNITUDE_MAX
                && !self.absent[column.place].contains(&row[column.field])
            {
                // What most fields of arrays are goes the shortest way.
                numeric.encode(Some(row[column.field]), places);
                if !places[0].is_finite() {
                    return fault(Cause::NotFinite);
                }
                continue;
            }
            let field = match (&self.input, record) {
                (_, Some(record)) => Field::read(record.text(column.field), of_schema.kind, &self.schema.missing),
                (Input::Numbers { row, .. }, None) => number(row[column.field], &self.absent[column.place]),
                (Input::Lines { .. }, None) => continue,
            };
            let field = match field {
                Ok(field) => field,
                Err(cause) => return fault(cause),
            };
            if !encoder.encode(field, places) {
                return fault(Cause::Missing);
            }
            if places.iter().any(|input| !input.is_finite()) {
                return fault(Cause::NotFinite);
            }
            match (field, encoder) {
                (Field::Missing, _) => self.unusual.push((index, false)),
                (Field::Name(_), Encoder::Categories(categories))
                    if places[..categories.levels.len()].iter().all(|input| *input == 0.0) =>
                {
                    self.unusual.push((index, true));
                }
                _ => {}
            }
        }
        for &(index, is_unknown) in &self.unusual {
            let column = &mut self.inputs[index];
            if !is_unknown {
                column.missing += 1;
                continue;
            }
            column.unknown += 1;
            if column.first_unknown.is_none() {
                column.first_unknown = Some((self.input.text(column.field).into_owned(), place));
            }
        }
        None
    }

    /// What stands in the fields that are passed on.
    pub fn kept(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let record = self.input.record();
        self.kept.iter().map(move |&field| match record {
            Some(record) => Cow::Borrowed(record.text(field).bytes()),
            None => Cow::Owned(self.input.text(field).into_owned().into_bytes()),
        })
    }

    /// The text of a label of the row in hand, by its place among the labels; none where it is missing.
    pub fn label(&self, which: usize) -> Option<Cow<'_, str>> {
        self.label_text(which).filter(|text| !self.schema.missing.has(text))
    }

    /// The same as it stands there, whether it is missing or not.
    pub fn label_text(&self, which: usize) -> Option<Cow<'_, str>> {
        Some(match &self.input {
            Input::Numbers { labels: Some(labels), rows, .. } => {
                let index = rows.last() * labels.width() + which;
                match labels.texts() {
                    Some(texts) => Cow::Borrowed(texts.get(index)?.as_str()),
                    None => Cow::Owned(arrays::label(labels.number(index))),
                }
            }
            _ => self.input.text(self.layout.fields[*self.labels.get(which)?]?),
        })
    }

    /// The number that a label of the row in hand is; none where it is missing or no number.
    pub fn label_value(&self, which: usize) -> Option<f64> {
        let place = *self.labels.get(which)?;
        let number = match &self.input {
            Input::Numbers { labels: Some(labels), rows, .. } => labels.number(rows.last() * labels.width() + which),
            Input::Numbers { row, .. } => row[self.layout.fields[place]?],
            Input::Lines { .. } => {
                let text = self.label(which)?;
                return match Field::of_text(&text, self.schema.columns[place].kind, &self.schema.missing) {
                    Ok(Field::Number(number)) => Some(number),
                    _ => None,
                };
            }
        };
        (number.is_finite() && !self.absent[place].contains(&number)).then_some(number)
    }

    /// That a row which has no inputs ends the reading.
    pub fn refuse(&self, place: Place, bad: BadRow) -> RawError {
        RawError { file: self.file.clone(), fault: RawFault::Row { place, bad } }
    }

    /// What is to be said after the last row.
    pub fn summary(&self) -> Vec<String> {
        let mut said = Vec::new();
        let missing: Vec<String> = self
            .inputs
            .iter()
            .filter(|column| column.missing > 0)
            .map(|column| format!("{} in {}", column.missing, self.layout.column(column.field)))
            .collect();
        if !missing.is_empty() {
            said.push(format!("missing values, taken as in training: {}", listed(missing.iter(), SHOWN_MAX)));
        }
        for column in &self.inputs {
            let Some((text, place)) = &column.first_unknown else { continue };
            let have = if column.unknown == 1 { "has" } else { "have" };
            said.push(format!(
                "{}: {} of {} rows {have} a category that was rare or unknown in training, first {} in {place}",
                self.layout.column(column.field),
                column.unknown,
                self.rows,
                Quoted(text)
            ));
        }
        said
    }
}

impl Input<'_> {
    /// Goes on to the next row, of which so many have been before.
    fn advance(&mut self, before: u64) -> Result<Option<Place>, Fault> {
        match self {
            Input::Lines { ahead, first, records } => {
                if let Some((record, line)) = ahead.pop() {
                    *first = Some(record);
                    return Ok(Some(Place::Line(line)));
                }
                *first = None;
                Ok(records.advance()?.map(Place::Line))
            }
            Input::Numbers { rows, row, .. } => Ok(rows.advance(row)?.then_some(Place::Row(before))),
        }
    }

    /// What stands in a field, as text without white space around it.
    fn text(&self, field: usize) -> Cow<'_, str> {
        match self {
            Input::Lines { records, first, .. } => {
                match String::from_utf8_lossy(record_of(records, first).text(field).bytes()) {
                    Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
                    Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
                }
            }
            Input::Numbers { row, .. } => Cow::Owned(arrays::label(row[field])),
        }
    }

    /// The row in hand, where it is a line.
    fn record(&self) -> Option<Record<'_>> {
        match self {
            Input::Lines { records, first, .. } => Some(record_of(records, first)),
            Input::Numbers { .. } => None,
        }
    }
}

/// The record to which a reader went, or the one from before.
fn record_of<'a, R: Read>(records: &'a Records<R>, first: &'a Option<KeptRecord>) -> Record<'a> {
    first.as_ref().map_or_else(|| records.record(), KeptRecord::fields)
}

/// The numbers that stand for no value in a column of this kind: those that texts for none are there, and what is nearest to
/// them in single precision, as which an array may have them.
fn absent(kind: Kind, missing: &MissingTokens) -> Vec<f64> {
    let none = MissingTokens { usual: false, named: Vec::new() };
    let number = |token: &String| match Field::of_text(token, kind, &none) {
        Ok(Field::Number(number)) => Some(number),
        _ => None,
    };
    missing.named.iter().filter_map(number).flat_map(|number| [number, f64::from(number as f32)]).collect()
}

/// A number of an array as a field.
fn number(number: f64, absent: &[f64]) -> Result<Field<'static>, Cause> {
    match number {
        number if number.is_nan() || absent.contains(&number) => Ok(Field::Missing),
        number if number.abs() > MAGNITUDE_MAX => Err(Cause::NotFinite),
        number => Ok(Field::Number(number)),
    }
}

fn labels_apart(path: &Path) -> Result<Array, Fault> {
    let (format, mut input) = Source::of_path(path)?.into_reader()?;
    match format {
        Format::Npy => Array::from_npy(&mut input),
        Format::Idx => Array::from_idx(&mut input),
        Format::Delimited | Format::Npz => {
            let cause = format!(
                "{} is no array of labels, as IDX and .npy are; of files of rows one is read at a time: name it alone",
                path.display()
            );
            Err(Fault::Array { cause })
        }
    }
}
