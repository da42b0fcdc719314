//! The second reading of a file: rows become numbers. Owns the columns as they lie in memory and the refusal of values that are
//! not of their column's kind; does not know which rows train.

use std::collections::{BTreeMap, HashMap};

use super::cells::{Column, Field};
use super::delimited::{Block, Record, Records, Text};
use super::error::{DatasetError, Fault};
use super::files::{Part, Side};
use super::kept::{Kept, Labels};
use super::lines::Lines;
use super::memo::Memo;
use super::options::{Impute, MissingLabel, ReadOptions, Task};
use super::refusal::{Cause, Example, Refusal};
use super::roles::{Role, Roles};
use super::store::Store;
use super::survey::{Limits, Survey};
use super::target::{Classes, NO_LABEL, TargetColumn};
use super::title;
use super::value::{NumberForm, Reading};

/// A file's rows: at least one, each with a target.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) rows: usize,
    /// The columns that are learned from, with their places in the file.
    pub(super) features: Vec<(usize, Column)>,
    /// Values that they have before that of the first row.
    pub(super) lead: usize,
    pub(super) target: TargetColumn,
    pub(super) lines: Lines,
    /// The row with which each file begins.
    pub(super) starts: Vec<usize>,
    /// Rows that were left out as they have no label.
    pub(super) dropped: u64,
    /// Which rows validate, where a column or a file says so.
    pub(super) validates: Option<Vec<bool>>,
    /// The first of the rows that only test, which are the last ones, where a file holds such.
    pub(super) tests_from: Option<usize>,
    /// Each row's group, where a column says so.
    pub(super) groups: Option<Vec<u32>>,
}

impl Table {
    /// Which of the files a row is from.
    pub(super) fn file_of(&self, row: u32) -> usize {
        self.starts.partition_point(|&start| start <= row as usize).saturating_sub(1)
    }
}

/// Reads the rows of some files; `name` is what errors call them together.
pub(super) fn read(
    name: &str,
    parts: &[Part<'_>],
    (survey, kept): (&Survey, Kept),
    roles: &Roles,
    options: &ReadOptions,
    limits: &Limits,
) -> Result<Table, DatasetError> {
    let error = |fault| DatasetError { file: name.to_owned(), fault };
    let has_validation_file = parts.iter().any(|part| part.side == Side::Validate);
    let mut filling = Filling::new((survey, kept), roles, options, limits, has_validation_file);
    let labels = filling.labels_from_before().map_err(error)?;
    for (place, part) in parts.iter().enumerate() {
        match &labels {
            Some(labels) => filling.take_before(place, part, labels),
            None => filling.read(part, place > 0),
        }
        .map_err(|fault| part.error(fault))?;
    }
    filling.finish().map_err(|fault| match (fault, parts) {
        // It is of the first file.
        (fault @ (Fault::Titled { .. } | Fault::Units { .. }), [first, ..]) => first.error(fault),
        (fault, _) => error(fault),
    })
}

/// A table as it grows.
struct Filling<'a> {
    survey: &'a Survey,
    roles: &'a Roles,
    options: &'a ReadOptions,
    limits: &'a Limits,
    features: Vec<(usize, Column)>,
    lead: usize,
    /// Whether each feature's values are all there from the first reading.
    are_there: Vec<bool>,
    kept: Kept,
    classes: Classes,
    /// The classes of short labels.
    known: Memo<u32>,
    values: Vec<f64>,
    lines: Lines,
    starts: Vec<usize>,
    rows: usize,
    /// The rows of a block that are learned from.
    learned: Vec<usize>,
    read: u64,
    dropped: u64,
    validates: Option<Vec<bool>>,
    tests_from: Option<usize>,
    groups: Option<(HashMap<String, u32>, Vec<u32>)>,
    refusals: BTreeMap<(usize, Cause), Refusal>,
}

impl<'a> Filling<'a> {
    fn new(
        (survey, mut kept): (&'a Survey, Kept),
        roles: &'a Roles,
        options: &'a ReadOptions,
        limits: &'a Limits,
        has_validation_file: bool,
    ) -> Filling<'a> {
        // Where a row is left out, or a value refused, the second reading tells.
        let is_left_out = |&label: &usize| survey.tallies[label].missing > 0;
        let can_be_there = !roles.labels.iter().any(is_left_out) || options.missing_label != MissingLabel::Drop;
        let names = usize::from(survey.names.is_some());
        let width = roles.columns.len();
        let mut from_before = |place: usize| {
            let tally = &survey.tallies[place];
            let is_whole = tally.missing == 0 || options.impute != Impute::Refuse;
            let has_all = can_be_there && is_whole && kept.is_whole(place, names);
            if has_all { kept.take(place, tally, roles.columns[place].kind, &options.missing) } else { None }
        };
        let features = (0..width).filter(|&place| roles.columns[place].role == Role::Feature);
        let found: Vec<(usize, Option<Column>)> = features.map(|place| (place, from_before(place))).collect();
        let are_there: Vec<bool> = found.iter().map(|(_, column)| column.is_some()).collect();
        // Their first value is that of the first line, which all have then.
        let lead = if are_there.contains(&true) { names } else { 0 };
        let fresh = |place: usize, store: &mut Store| {
            let mut column = Column::new(roles.columns[place].kind, width);
            (0..lead).for_each(|_| column.skip(store));
            column
        };
        let features =
            found.into_iter().map(|(place, column)| (place, column.unwrap_or_else(|| fresh(place, &mut kept.store))));
        let features = features.collect();
        Filling {
            survey,
            roles,
            options,
            limits,
            features,
            lead,
            are_there,
            kept,
            classes: Classes::new(&roles.labels, survey),
            known: Memo::default(),
            values: Vec::new(),
            lines: Lines::default(),
            starts: Vec::new(),
            rows: 0,
            learned: Vec::new(),
            read: 0,
            dropped: 0,
            validates: (has_validation_file || roles.side.is_some()).then(Vec::new),
            tests_from: None,
            groups: roles.group.map(|_| (HashMap::new(), Vec::new())),
            refusals: BTreeMap::new(),
        }
    }

    /// The labels of all rows, where nothing else is left to be read a second time.
    fn labels_from_before(&self) -> Result<Option<Labels>, Fault> {
        let (roles, lead) = (self.roles, usize::from(self.survey.names.is_some()));
        let label = |&place: &usize| (place, &self.survey.tallies[place]);
        let is_plain = |&label: &usize| roles.label_form(label) == NumberForm::default();
        let is_more = roles.side.is_some() || roles.group.is_some() || self.are_there.contains(&false);
        match roles.task {
            _ if is_more => Ok(None),
            Task::Classify => self.kept.classes(label(&roles.labels[0]), lead),
            Task::Regress if roles.labels.iter().all(is_plain) => {
                self.kept.targets(&roles.labels.iter().map(label).collect::<Vec<_>>(), lead)
            }
            Task::Regress => Ok(None),
        }
    }

    /// Takes the rows of a file in from the first reading.
    fn take_before(&mut self, place: usize, part: &Part<'_>, labels: &Labels) -> Result<(), Fault> {
        self.starts.push(self.rows);
        if part.side == Side::Test {
            self.tests_from.get_or_insert(self.rows);
        }
        let (rows, lines) = self.kept.rows(place);
        let now = self.rows..self.rows + rows;
        match labels {
            Labels::Texts { codes, texts } => {
                let mut numbers = vec![None; texts.len()];
                for &code in &codes[now.clone()] {
                    match numbers[code as usize] {
                        Some(number) => self.classes.push_known(number),
                        None => {
                            let number = self.classes.push(&texts[code as usize], self.limits.classes);
                            let column = || self.survey.column(self.roles.labels[0]);
                            numbers[code as usize] =
                                Some(number.ok_or_else(|| Fault::TooManyClasses { column: column() })?);
                        }
                    }
                }
            }
            Labels::Numbers(values) => {
                let outputs = self.roles.labels.len();
                self.values.extend_from_slice(&values[now.start * outputs..now.end * outputs]);
            }
        }
        if let Some(validates) = &mut self.validates {
            validates.resize(now.end, part.side == Side::Validate);
        }
        if rows > 0 {
            self.lines.append(self.rows, lines);
        }
        self.rows += rows;
        self.read += rows as u64;
        Ok(())
    }

    /// Takes the rows of a file in; where it is not the first, refused values are told with its name.
    fn read(&mut self, part: &Part<'_>, is_named: bool) -> Result<(), Fault> {
        self.starts.push(self.rows);
        let (fields, side) = (part.layout.fields.as_deref(), part.side);
        if side == Side::Test {
            self.tests_from.get_or_insert(self.rows);
        }
        let file = is_named.then_some(&*part.name);
        let (_, input) = part.source.open()?;
        let separator = self.options.separator.map(|separator| separator.0);
        let mut records = Records::open(input, separator, self.limits.record_bytes)?;
        if self.survey.names.is_some() {
            records.advance()?;
        }
        while let Some(block) = records.block()? {
            self.take(&block, fields, side, file)?;
        }
        Ok(())
    }

    /// Takes the rows of a block in: their targets one by one, and then column by column what is learned from.
    fn take(
        &mut self,
        block: &Block<'_>,
        fields: Option<&[usize]>,
        side: Side,
        file: Option<&str>,
    ) -> Result<(), Fault> {
        let (mut learned, are_there) = (std::mem::take(&mut self.learned), std::mem::take(&mut self.are_there));
        learned.clear();
        for (place, record) in block.records() {
            let fits = match fields {
                None => record.len() == self.roles.columns.len(),
                Some(fields) => fields.iter().all(|&field| field < record.len()),
            };
            if !fits || self.read == self.survey.rows {
                return Err(Fault::Changed);
            }
            let row = Row { record, fields, line: block.line(place), side, file };
            if self.push(&row)? {
                learned.push(place);
            }
        }
        for index in (0..self.features.len()).filter(|&index| !are_there[index]) {
            let place = self.features[index].0;
            let kind = self.roles.columns[place].kind;
            let field = fields.map_or(place, |fields| fields[place]);
            let mut refused = Vec::new();
            let texts = learned.iter().map(|&row| block.record(row).text(field));
            let (options, column, store) = (self.options, &mut self.features[index].1, &mut self.kept.store);
            column.take(texts, kind, &options.missing, store, |row, cause| {
                if cause != Cause::Missing || options.impute == Impute::Refuse {
                    refused.push((learned[row], cause));
                }
            });
            for (row, cause) in refused {
                let row = Row { record: block.record(row), fields, line: block.line(row), side, file };
                self.refuse(&row, place, cause);
            }
        }
        (self.learned, self.are_there) = (learned, are_there);
        Ok(())
    }

    /// Takes in what is not learned from of a row; whether it is one to learn from.
    fn push(&mut self, row: &Row<'_>) -> Result<bool, Fault> {
        self.read += 1;
        if !self.push_target(row)? {
            self.dropped += 1;
            return Ok(false);
        }
        if row.side == Side::Test {
            self.validates.iter_mut().for_each(|validates| validates.push(false));
        } else if let Some(side) = self.roles.side {
            let side_of = side_of(row.field(side));
            if side_of.is_none() {
                self.refuse(row, side, Cause::NoSide);
            }
            self.validates.iter_mut().for_each(|validates| validates.push(side_of.unwrap_or_default()));
        } else if let Some(validates) = &mut self.validates {
            validates.push(row.side == Side::Validate);
        }
        if let (Some(place), Some((numbers, groups))) = (self.roles.group, &mut self.groups) {
            let next = numbers.len() as u32;
            let text = String::from_utf8_lossy(row.field(place)).trim().to_owned();
            groups.push(*numbers.entry(text).or_insert(next));
        }
        self.lines.push(self.rows, row.line);
        self.rows += 1;
        Ok(true)
    }

    /// Takes the row's target in; whether it has one.
    fn push_target(&mut self, row: &Row<'_>) -> Result<bool, Fault> {
        let labels = &self.roles.labels;
        if self.roles.task == Task::Classify
            && let Some(number) = self.known.get(row.text(labels[0]))
        {
            self.classes.push_known(number);
            return Ok(true);
        }
        let missing = |place: &usize| match std::str::from_utf8(row.field(*place)) {
            Ok(text) => self.options.missing.has(text.trim()),
            Err(_) => false,
        };
        let without = labels.iter().copied().find(missing);
        let is_class = self.roles.task == Task::Classify && self.options.missing_label == MissingLabel::Class;
        if let Some(place) = without.filter(|_| !is_class) {
            if self.options.missing_label != MissingLabel::Drop {
                self.refuse(row, place, Cause::NoLabel);
            }
            return Ok(false);
        }
        match self.roles.task {
            Task::Classify => {
                let place = labels[0];
                let Ok(text) = std::str::from_utf8(row.field(place)) else {
                    self.refuse(row, place, Cause::NotUtf8);
                    return Ok(true);
                };
                // Whatever stands there for no label, it is one class.
                let text = if without.is_some() { NO_LABEL } else { text.trim() };
                let Some(number) = self.classes.push(text, self.limits.classes) else {
                    return Err(Fault::TooManyClasses { column: self.survey.column(place) });
                };
                self.known.put(row.text(place), number);
            }
            Task::Regress => {
                for index in 0..labels.len() {
                    let place = self.roles.labels[index];
                    let value = std::str::from_utf8(row.field(place))
                        .map(|text| self.roles.label_form(place).read(text.trim()));
                    let cause = match value {
                        Ok(Reading::Number(_)) => None,
                        Ok(Reading::NotFinite) => Some(Cause::NotFinite),
                        Ok(Reading::Not) => Some(Cause::NotANumber),
                        Err(_) => Some(Cause::NotUtf8),
                    };
                    self.values.push(if let Ok(Reading::Number(value)) = value { value } else { 0.0 });
                    if let Some(cause) = cause {
                        self.refuse(row, place, cause);
                    }
                }
            }
        }
        Ok(true)
    }

    fn refuse(&mut self, row: &Row<'_>, place: usize, cause: Cause) {
        let is_label = self.roles.labels.contains(&place);
        let column = || Refusal::new(self.survey.column(place), cause, is_label);
        self.refusals.entry((place, cause)).or_insert_with(column).push(row.line, row.file, row.field(place));
    }

    /// What is refused, with what a sentence can say of it by all the rest.
    fn refused(&mut self) -> Vec<Refusal> {
        let missing = &self.options.missing;
        let first_line = self.lines.of(0);
        let is_of_first_line = |refusal: &Refusal| {
            let is_there = |example: &Example| example.file.is_none() && example.line == first_line;
            refusal.rows == 1 && refusal.is_of_text() && refusal.examples.iter().all(is_there)
        };
        let may_be_header = self.survey.names.is_none()
            && self.options.header.is_none()
            && self.refusals.values().all(is_of_first_line);
        let with_rest = |((place, _), refusal): ((usize, Cause), Refusal)| {
            let kind = self.roles.columns[place].kind;
            let is_taken = |text: &str| !matches!(Field::of_text(text, kind, missing), Ok(Field::Missing) | Err(_));
            let taken = self.survey.tallies[place].example(is_taken);
            Refusal { of: self.read, taken, missing: missing.clone(), may_be_header, ..refusal }
        };
        std::mem::take(&mut self.refusals).into_iter().map(with_rest).collect()
    }

    fn finish(mut self) -> Result<Table, Fault> {
        if self.read != self.survey.rows {
            return Err(Fault::Changed);
        }
        if !self.refusals.is_empty() {
            let refusals = self.refused();
            let first_line = self.lines.of(0);
            let names = self.survey.names.as_deref();
            return Err(title::names_or_units(names, first_line, &refusals).unwrap_or(Fault::Refused { refusals }));
        }
        let label = self.roles.labels[0];
        if self.rows == 0 {
            return Err(Fault::NoLabels { column: self.survey.column(label) });
        }
        let target = match self.roles.task {
            Task::Classify => TargetColumn::Classes(self.classes.finish(&self.survey.column(label))?),
            Task::Regress => {
                let outputs = self.roles.labels.len();
                for (index, &place) in self.roles.labels.iter().enumerate() {
                    let mut values = self.values.iter().skip(index).step_by(outputs);
                    let first = values.next();
                    if values.all(|value| Some(value) == first) {
                        return Err(Fault::OneTarget { column: self.survey.column(place) });
                    }
                }
                TargetColumn::Values { values: self.values, outputs }
            }
        };
        let store = &mut self.kept.store;
        self.features.iter_mut().for_each(|(_, column)| column.finish(store));
        Ok(Table {
            rows: self.rows,
            features: self.features,
            lead: self.lead,
            target,
            lines: self.lines,
            starts: self.starts,
            dropped: self.dropped,
            validates: self.validates,
            tests_from: self.tests_from,
            groups: self.groups.map(|(_, groups)| groups),
        })
    }
}

/// A record whose fields may stand in another order than the columns.
struct Row<'a> {
    record: Record<'a>,
    fields: Option<&'a [usize]>,
    line: u64,
    side: Side,
    /// The name of the file, where it is not the first.
    file: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn text(&self, place: usize) -> Text<'a> {
        self.record.text(self.fields.map_or(place, |fields| fields[place]))
    }

    fn field(&self, place: usize) -> &'a [u8] {
        self.text(place).bytes()
    }
}

/// Whether a row validates, in the words of a column that says so.
fn side_of(field: &[u8]) -> Option<bool> {
    let text = std::str::from_utf8(field).ok()?.trim().to_ascii_lowercase();
    match &*text {
        "true" | "yes" | "1" | "1.0" | "validate" | "validation" | "valid" | "val" | "test" | "dev" => Some(true),
        "false" | "no" | "0" | "0.0" | "train" | "training" => Some(false),
        _ => None,
    }
}
