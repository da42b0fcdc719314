//! Which field of a row is which column of a model. Owns how a header is told from a row and names from places; does not know
//! how rows are read.

use std::collections::HashSet;

use super::error::{BadRow, Place, RawFault};
use crate::dataset::cells::Field;
use crate::dataset::delimited::Record;
use crate::dataset::error::Fault;
use crate::dataset::kinds::Kind;
use crate::dataset::place::{Column, Places, listed};
use crate::dataset::refusal::Cause;
use crate::dataset::schema::{Becomes, RowFault, Schema, SchemaColumn};
use crate::dataset::value::{self, Reading};

/// Columns that a sentence lists, at most.
const SHOWN_MAX: usize = 5;

/// Where a model's columns stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// Fields of every row.
    pub(super) width: usize,
    /// The field of each column of the model; none where it stands nowhere, and need not.
    pub(super) fields: Vec<Option<usize>>,
    /// What the fields are called, where there is a header.
    pub(super) names: Option<Vec<String>>,
    /// Sentences for the person.
    pub(super) notes: Vec<String>,
}

/// The first lines of a file.
pub(super) struct Beginning<'a> {
    pub(super) first: Record<'a>,
    pub(super) line: u64,
    /// Behind the first one.
    pub(super) second: Option<Record<'a>>,
}

/// Whether the columns of the model's own data had names.
fn has_names(schema: &Schema) -> bool {
    schema.columns.iter().enumerate().any(|(place, column)| column.name != unnamed(place))
}

/// What a schema calls the column at this place, from 0, where the header does not.
fn unnamed(place: usize) -> String {
    format!("column {}", place + 1)
}

fn is_input(becomes: &Becomes) -> bool {
    matches!(becomes, Becomes::Inputs(_))
}

/// The names of the columns that the model takes.
fn names_of_inputs(schema: &Schema) -> Vec<String> {
    schema.columns.iter().filter(|column| is_input(&column.becomes)).map(|column| column.name.clone()).collect()
}

/// The names of the columns that the model tells.
fn names_of_labels(schema: &Schema) -> Vec<String> {
    let is_label = |column: &&SchemaColumn| column.becomes == Becomes::Label;
    schema.columns.iter().filter(is_label).map(|column| column.name.clone()).collect()
}

impl Layout {
    /// Of lines, the first of which may be a header. The labels' columns must be there where they are wanted.
    pub(super) fn of_lines(
        schema: &Schema,
        beginning: &Beginning<'_>,
        header: Option<bool>,
        wants_labels: bool,
    ) -> Result<Layout, RawFault> {
        let Beginning { first, line, second } = *beginning;
        let names =
            names(first, second.map(Record::len), second.is_some_and(|row| row.iter().next_back() == Some(b"")));
        let by_place = || Layout::by_place(schema, first.len(), wants_labels, Place::Line(line));
        let is_header = match header {
            Some(is_header) => is_header,
            None => judge(schema, first, line, &names, by_place())?,
        };
        if !is_header {
            let mut layout = by_place()?;
            if has_names(schema) && header.is_none() {
                layout.notes.push("the first line is taken for a row, and columns by their place".to_owned());
            }
            return Ok(layout);
        }
        if has_names(schema) {
            return Layout::by_name(schema, names, line, wants_labels);
        }
        let mut layout = Layout::by_place(schema, names.len(), wants_labels, Place::Line(line))?;
        layout
            .notes
            .push("the first line is taken for names, and columns by their place: the model knows none".to_owned());
        layout.names = Some(names);
        Ok(layout)
    }

    /// Of fields that stand in the order of the model's columns: all of them, those but the labels, or its inputs alone.
    pub(super) fn by_place(
        schema: &Schema,
        width: usize,
        wants_labels: bool,
        place: Place,
    ) -> Result<Layout, RawFault> {
        let is_there: [fn(&Becomes) -> bool; 3] = [|_| true, |becomes| !matches!(becomes, Becomes::Label), is_input];
        let ways = if wants_labels { &is_there[..1] } else { &is_there[..] };
        let width_of = |way: &fn(&Becomes) -> bool| schema.columns.iter().filter(|column| way(&column.becomes)).count();
        let Some(way) = ways.iter().find(|way| width_of(way) == width) else {
            if wants_labels && is_there[1..].iter().any(|way| width_of(way) == width) {
                return Err(RawFault::NoLabels { names: names_of_labels(schema), place });
            }
            let mut allowed: Vec<usize> = ways.iter().map(width_of).collect();
            allowed.dedup();
            let names = schema.columns.iter().map(|column| column.name.clone()).collect();
            return Err(RawFault::Width { place, got: width, allowed, names });
        };
        let mut next = 0..width;
        let fields =
            schema.columns.iter().map(|column| if way(&column.becomes) { next.next() } else { None }).collect();
        Ok(Layout { width, fields, names: None, notes: Vec::new() })
    }

    /// Of fields with these names. Of columns with the same name, the first is the first.
    fn by_name(schema: &Schema, names: Vec<String>, line: u64, wants_labels: bool) -> Result<Layout, RawFault> {
        let mut is_taken = vec![false; names.len()];
        let mut fields = Vec::with_capacity(schema.columns.len());
        let mut missing = Vec::new();
        let mut places = Places::of(&names);
        for column in &schema.columns {
            let field = places.next(&column.name);
            if let Some(field) = field {
                is_taken[field] = true;
            } else if is_input(&column.becomes) || (wants_labels && column.becomes == Becomes::Label) {
                missing.push(column.name.clone());
            }
            fields.push(field);
        }
        let name = |field: usize| Some(names[field].clone()).filter(|name| *name != unnamed(field));
        let found = |field: usize| Column { number: field + 1, name: name(field) };
        let labels = names_of_labels(schema);
        if !missing.is_empty() && missing == labels {
            return Err(RawFault::NoLabels { names: labels, place: Place::Line(line) });
        }
        if !missing.is_empty() {
            return Err(RawFault::MissingColumns { missing, found: (0..names.len()).map(found).collect(), line });
        }
        let known: HashSet<&str> = schema.columns.iter().map(|column| &*column.name).collect();
        if let Some(field) = (0..names.len()).find(|&field| !is_taken[field] && known.contains(&*names[field])) {
            return Err(RawFault::RepeatedColumn { name: names[field].clone() });
        }
        let mut notes = Vec::new();
        let inputs = schema.columns.iter().zip(&fields).filter(|(column, _)| is_input(&column.becomes));
        if !inputs.map(|(_, field)| *field).is_sorted() {
            notes.push(
                "the columns stand in another order than in the data that trained, and are taken by their names"
                    .to_owned(),
            );
        }
        // A column without a name is what a separator at the end of a line leaves.
        let extra: Vec<Column> =
            (0..names.len()).filter(|&field| !is_taken[field] && name(field).is_some()).map(found).collect();
        if !extra.is_empty() {
            notes.push(format!("the model has no use for {}", listed(extra.iter(), SHOWN_MAX)));
        }
        Ok(Layout { width: names.len(), fields, names: Some(names), notes })
    }

    /// The column in this field.
    pub(super) fn column(&self, field: usize) -> Column {
        let name = self.names.as_ref().and_then(|names| names.get(field)).filter(|name| **name != unnamed(field));
        Column { number: field + 1, name: name.cloned() }
    }

    /// The field that a user calls so: by its name, or by its number from 1.
    pub(super) fn find(&self, option: &'static str, wanted: &str) -> Result<usize, Fault> {
        let wanted = wanted.trim();
        let names = self.names.as_deref().unwrap_or_default();
        let numbers: Vec<usize> = (1..=names.len()).filter(|&number| names[number - 1] == wanted).collect();
        match (&numbers[..], wanted.parse::<usize>()) {
            ([number], _) => Ok(number - 1),
            ([], Ok(number)) if (1..=self.width).contains(&number) => Ok(number - 1),
            ([], _) => {
                let columns = (0..self.width).map(|field| self.column(field)).collect();
                Err(Fault::UnknownColumn { option, wanted: wanted.to_owned(), columns })
            }
            _ => Err(Fault::AmbiguousColumn { option, wanted: wanted.to_owned(), numbers }),
        }
    }
}

/// What a header calls each field of rows that have so many: R leaves out the name of the rows' names, and a separator may
/// stand at the end of the rows or of the names alone.
fn names(first: Record<'_>, rows_width: Option<usize>, row_ends_empty: bool) -> Vec<String> {
    let mut names: Vec<String> = first.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect();
    let got = names.len();
    match rows_width {
        Some(width) if got + 1 == width => names.insert(if row_ends_empty { got } else { 0 }, String::new()),
        Some(width) if got == width + 1 && names.last().is_some_and(String::is_empty) => {
            names.pop();
        }
        _ => {}
    }
    for (place, name) in names.iter_mut().enumerate() {
        if name.is_empty() {
            *name = unnamed(place);
        }
    }
    names
}

/// Whether the first line names the columns.
fn judge(
    schema: &Schema,
    first: Record<'_>,
    line: u64,
    names: &[String],
    by_place: Result<Layout, RawFault>,
) -> Result<bool, RawFault> {
    let bad = match &by_place {
        Ok(layout) => bad_field(schema, first, layout).map(|fault| BadRow::Field(Box::new(fault))),
        Err(RawFault::Width { got, allowed, .. }) => {
            Some(BadRow::Width { got: *got, expected: allowed.first().copied().unwrap_or_default() })
        }
        Err(RawFault::NoLabels { .. }) => Some(BadRow::Width { got: first.len(), expected: schema.columns.len() }),
        Err(other) => return Err(other.clone()),
    };
    if !has_names(schema) {
        // As text above numbers.
        return Ok(by_place.as_ref().is_ok_and(|layout| no_field_is_a_value(schema, first, layout)));
    }
    let inputs = names_of_inputs(schema);
    let of_line: HashSet<&String> = names.iter().collect();
    let named = inputs.iter().filter(|name| of_line.contains(name)).count();
    // Numbers may be names, as pandas writes them, and are more often values.
    let is_number = |name: &&String| matches!(value::plain(name), Reading::Number(_));
    let in_words = names.iter().filter(|name| !is_number(name));
    let of_model: HashSet<&String> = schema.columns.iter().map(|column| &column.name).collect();
    let named_in_words = in_words.filter(|name| of_model.contains(name)).count();
    if named == inputs.len() || 2 * named_in_words >= inputs.len() {
        return Ok(true);
    }
    match (bad, named_in_words) {
        (None, _) => Ok(false),
        (Some(_), 1..) => Ok(true),
        // Numbers of another width are rows of another file.
        (Some(BadRow::Width { .. }), 0) => by_place.map(|_| false),
        (Some(bad), 0) => Err(RawFault::NeitherHeaderNorRow { line, bad, names: inputs }),
    }
}

/// The first field that is not of its column's kind.
fn bad_field(schema: &Schema, record: Record<'_>, layout: &Layout) -> Option<RowFault> {
    let fields = schema.columns.iter().zip(&layout.fields);
    fields.filter(|(column, _)| is_input(&column.becomes)).find_map(|(column, field)| {
        let field = (*field)?;
        let bytes = record.text(field).bytes();
        let cause = Field::read(bytes.into(), column.kind, &schema.missing).err()?;
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        Some(RowFault::new(field + 1, column, cause, text))
    })
}

/// Whether there are columns of numbers or dates, and each has text here.
fn no_field_is_a_value(schema: &Schema, record: Record<'_>, layout: &Layout) -> bool {
    let fields = schema.columns.iter().zip(&layout.fields).filter_map(|(column, field)| Some((column, (*field)?)));
    let mut read = fields
        .filter(|(column, _)| is_input(&column.becomes))
        .filter(|(column, _)| !matches!(column.kind, Kind::Category | Kind::Identifier | Kind::Unusable))
        .map(|(column, field)| Field::read(record.text(field), column.kind, &schema.missing))
        .peekable();
    let is_text = |cause| matches!(cause, Cause::NotANumber | Cause::NotADate | Cause::NotABoolean);
    read.peek().is_some() && read.all(|read| read.is_err_and(is_text))
}
