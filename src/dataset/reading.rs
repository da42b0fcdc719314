//! From CSV to a table. Owns what a data file may look like and the limits on it; does not know what is done with the
//! rows.
//!
//! A line is a record: features as numbers, the label last as a number or a name. Commas, semicolons or tabs separate
//! them; the first line tells which, and it is a header if a feature in it is text. Quoted fields, CRLF, a UTF-8 byte
//! order mark and blank lines are fine. The file is read in one pass, and every limit is checked before the memory
//! behind it is taken.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};
use ndarray::Array2;

use super::error::{Column, Fault, FieldLocation};
use crate::job::ROWS_MAX;
use crate::model::network::{CLASSES_MAX, INPUTS_MAX};

/// What people write where they have no value, beside an empty field.
const MISSING_MARKS: [&str; 4] = ["?", "NA", "N/A", "null"];

/// What a file may hold. Constant but for tests, which could not fill the real ones.
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) features: usize,
    pub(super) classes: usize,
    pub(super) record_bytes: usize,
}

/// The limits of a job. A record of the most features is some 25 MiB; without the last limit a stream that never ends a
/// line would fill the memory.
pub(super) const LIMITS: Limits = Limits {
    rows: ROWS_MAX as usize,
    features: INPUTS_MAX as usize,
    classes: CLASSES_MAX as usize,
    record_bytes: 64 << 20,
};

/// A file's content: at least one row, at least one feature, at least two classes, every class in use.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// `[rows, features]`, row-major, finite.
    pub(super) values: Array2<f32>,
    /// Each row's class: an index into `classes`.
    pub(super) labels: Vec<u32>,
    pub(super) classes: Vec<String>,
    pub(super) columns: Columns,
    pub(super) lines: Lines,
}

/// The columns' names, the label's last; none where the file has no header.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) names: Option<Vec<String>>,
}

impl Columns {
    /// The column at `index`, counted from 0.
    pub(super) fn at(&self, index: usize) -> Column {
        let name = self.names.as_ref().and_then(|names| names.get(index)).filter(|name| !name.is_empty());
        Column { number: index + 1, name: name.cloned() }
    }
}

/// The line on which each row begins. Most rows follow the one before: only those that do not are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// (row, its line), for each row that does not begin on the line after the previous row's.
    jumps: Vec<(usize, u64)>,
}

impl Lines {
    /// Notes that `row`, the next one, begins on `line`.
    fn push(&mut self, row: usize, line: u64) {
        if self.jumps.is_empty() || self.of(row) != line {
            self.jumps.push((row, line));
        }
    }

    /// The line of a row.
    pub(super) fn of(&self, row: usize) -> u64 {
        let after = self.jumps.partition_point(|&(first, _)| first <= row);
        let (first, line) = after.checked_sub(1).map_or((0, 1), |last| self.jumps[last]);
        line + (row - first) as u64
    }
}

/// Reads a table.
pub(super) fn read(input: impl Read, limits: &Limits) -> Result<Table, Fault> {
    let mut input = BufReader::new(input);
    let head = Head::read(&mut input, limits)?;
    let mut records = Records::new(head, input, limits);

    let Some(first_line) = records.advance()? else {
        return Err(Fault::Empty);
    };
    let width = records.record.len();
    if width < 2 {
        return Err(Fault::OneColumn { line: first_line });
    }
    if width - 1 > limits.features {
        return Err(Fault::TooManyFeatures { line: first_line, got: width - 1 });
    }
    let header = is_header(&records.record);
    let names = if header { Some(header_names(&records.record, first_line)?) } else { None };
    let mut rows = Rows::new(Columns { names }, limits);
    let mut next = if header { records.advance()? } else { Some(first_line) };
    while let Some(line) = next {
        let got = records.record.len();
        if got != width {
            return Err(Fault::Ragged { line, got, first_line, expected: width });
        }
        rows.push(&records.record, line)?;
        next = records.advance()?;
    }
    if rows.labels.is_empty() {
        return Err(Fault::HeaderOnly { line: first_line });
    }
    rows.finish()
}

/// The beginning of a file, up to its first line that is not blank.
struct Head {
    /// That line, with its end where it has one, without a byte order mark. Empty if there is none.
    line: Vec<u8>,
    /// Blank lines before it.
    blank: u64,
}

impl Head {
    fn read(input: &mut impl BufRead, limits: &Limits) -> Result<Head, Fault> {
        let mut head = Head { line: Vec::new(), blank: 0 };
        loop {
            head.line.clear();
            let mut limited = input.by_ref().take(limits.record_bytes as u64 + 1);
            limited.read_until(b'\n', &mut head.line).map_err(unreadable)?;
            if head.line.len() > limits.record_bytes {
                return Err(Fault::LongLine { line: head.blank + 1, bytes_max: limits.record_bytes });
            }
            if head.blank == 0 && head.line.starts_with(b"\xef\xbb\xbf") {
                head.line.drain(..3);
            }
            if !head.line.trim_ascii().is_empty() || !head.line.ends_with(b"\n") {
                return Ok(head);
            }
            head.blank += 1;
        }
    }

    /// The separator that the line has most of, outside quotes. Of equally many the semicolon wins over the comma, which
    /// is then a decimal comma, and the tab over both.
    fn separator(&self) -> u8 {
        let mut counts = [(0u32, b','), (0, b';'), (0, b'\t')];
        let mut quoted = false;
        for &byte in &self.line {
            quoted ^= byte == b'"';
            if let Some((count, _)) = counts.iter_mut().find(|(_, separator)| *separator == byte && !quoted) {
                *count += 1;
            }
        }
        // The last of several greatest.
        counts.iter().max_by_key(|(count, _)| *count).map_or(b',', |&(_, separator)| separator)
    }
}

/// The records that are not blank, with the line on which each begins.
struct Records<R> {
    reader: csv::Reader<Source<R>>,
    record: ByteRecord,
    /// Blank lines that the head has taken before the reader began to count.
    blank: u64,
    record_bytes_max: usize,
}

impl<R: Read> Records<R> {
    fn new(head: Head, input: R, limits: &Limits) -> Records<R> {
        // Lines end with LF alone, as the reader counts them; a CR before it is white space at the last field's end.
        let reader = ReaderBuilder::new()
            .delimiter(head.separator())
            .terminator(Terminator::Any(b'\n'))
            .has_headers(false)
            .flexible(true)
            .from_reader(Source::new(head.line, input, limits.record_bytes));
        Records { reader, record: ByteRecord::new(), blank: head.blank, record_bytes_max: limits.record_bytes }
    }

    /// Goes on to the next record, and tells the line on which it begins; none at the end.
    fn advance(&mut self) -> Result<Option<u64>, Fault> {
        loop {
            self.reader.get_mut().unread_bytes = 0;
            let read = self.reader.read_byte_record(&mut self.record).map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) if error.get_ref().is_some_and(|cause| cause.is::<RecordTooLong>()) => {
                    Fault::LongLine { line: self.line(), bytes_max: self.record_bytes_max }
                }
                csv::ErrorKind::Io(error) => unreadable(error),
                other => Fault::Unreadable { cause: format!("{other:?}") },
            })?;
            if !read {
                return Ok(None);
            }
            // The reader stands behind the record's line end: go back over it and those inside quoted fields.
            let inside = self.record.as_slice().iter().filter(|&&byte| byte == b'\n').count() as u64;
            if self.reader.get_ref().ended {
                // Only a record whose end the reader looked for in vain reads up to the source's end.
                return Err(Fault::OpenQuote { line: self.line() - inside });
            }
            let blank = self.record.len() == 1 && self.record.as_slice().trim_ascii().is_empty();
            if !blank {
                return Ok(Some(self.line() - 1 - inside));
            }
        }
    }

    /// The line on which the reader stands.
    fn line(&self) -> u64 {
        self.blank + self.reader.position().line()
    }
}

/// What the CSV reader reads: the head, the rest of the input, and a line end in case that the last line has none.
struct Source<R> {
    bytes: Chain<Chain<Cursor<Vec<u8>>, R>, &'static [u8]>,
    /// Bytes given out since the last record, a buffer's more or less.
    unread_bytes: usize,
    unread_bytes_max: usize,
    /// Whether the reader asked for more after the last byte.
    ended: bool,
}

impl<R: Read> Source<R> {
    fn new(head: Vec<u8>, rest: R, unread_bytes_max: usize) -> Source<R> {
        let bytes = Cursor::new(head).chain(rest).chain(&b"\n"[..]);
        Source { bytes, unread_bytes: 0, unread_bytes_max, ended: false }
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread_bytes > self.unread_bytes_max {
            return Err(io::Error::other(RecordTooLong));
        }
        let read = self.bytes.read(buffer)?;
        self.unread_bytes += read;
        self.ended = read == 0 && !buffer.is_empty();
        Ok(read)
    }
}

/// How [`Source`] tells through the CSV reader that a record does not end.
#[derive(Debug)]
struct RecordTooLong;

impl std::fmt::Display for RecordTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the record is too long")
    }
}

impl std::error::Error for RecordTooLong {}

/// Why the system does not give the file's bytes.
pub(super) fn unreadable(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::IsADirectory => Fault::Directory,
        io::ErrorKind::NotFound => Fault::NotFound,
        _ => Fault::Unreadable { cause: error.to_string() },
    }
}

/// Whether a first record names its columns: a feature in it is neither a number nor a missing value.
fn is_header(record: &ByteRecord) -> bool {
    let features = record.iter().take(record.len() - 1);
    features.map(number).any(|number| matches!(number, Err(NoNumber::Text(_) | NoNumber::NotUtf8)))
}

fn header_names(record: &ByteRecord, line: u64) -> Result<Vec<String>, Fault> {
    let name = |(index, field): (usize, &[u8])| match std::str::from_utf8(field) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(_) => {
            let column = Column { number: index + 1, name: None };
            Err(Fault::NotUtf8 { place: FieldLocation { line, column } })
        }
    };
    record.iter().enumerate().map(name).collect()
}

/// Why a field is no feature.
enum NoNumber {
    NotUtf8,
    Missing(String),
    Text(String),
    NotFinite(String),
}

/// The finite number in a field.
fn number(field: &[u8]) -> Result<f32, NoNumber> {
    let text = std::str::from_utf8(field).map_err(|_| NoNumber::NotUtf8)?.trim();
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(NoNumber::NotFinite(text.to_owned())),
        Err(_) if text.is_empty() || MISSING_MARKS.iter().any(|mark| mark.eq_ignore_ascii_case(text)) => {
            Err(NoNumber::Missing(text.to_owned()))
        }
        Err(_) => Err(NoNumber::Text(text.to_owned())),
    }
}

/// A table as it grows.
struct Rows<'a> {
    columns: Columns,
    limits: &'a Limits,
    values: Vec<f32>,
    /// Each row's label, as a number in order of appearance.
    labels: Vec<u32>,
    /// Those numbers, by label.
    numbers: HashMap<String, u32>,
    lines: Lines,
}

impl Rows<'_> {
    fn new(columns: Columns, limits: &Limits) -> Rows<'_> {
        let (values, labels) = (Vec::new(), Vec::new());
        Rows { columns, limits, values, labels, numbers: HashMap::new(), lines: Lines::default() }
    }

    /// Takes a row in: a record of as many columns as the first, which begins on `line`.
    fn push(&mut self, record: &ByteRecord, line: u64) -> Result<(), Fault> {
        if self.labels.len() == self.limits.rows {
            return Err(Fault::TooManyRows { line });
        }
        let label_column = record.len() - 1;
        let reserved = self.values.try_reserve(label_column).and_then(|()| self.labels.try_reserve(1));
        reserved.map_err(|_| Fault::OutOfMemory { line })?;

        for (index, field) in record.iter().take(label_column).enumerate() {
            let value = number(field).map_err(|cause| {
                let place = self.place(line, index);
                match cause {
                    NoNumber::NotUtf8 => Fault::NotUtf8 { place },
                    NoNumber::Missing(got) => Fault::Missing { place, got },
                    NoNumber::Text(got) => Fault::NotANumber { place, got },
                    NoNumber::NotFinite(got) => Fault::NotFinite { place, got },
                }
            })?;
            self.values.push(value);
        }
        let label = self.label(&record[label_column], line, label_column)?;
        self.lines.push(self.labels.len(), line);
        self.labels.push(label);
        Ok(())
    }

    /// The number of a label, which may be new.
    fn label(&mut self, field: &[u8], line: u64, column: usize) -> Result<u32, Fault> {
        let Ok(text) = std::str::from_utf8(field).map(str::trim) else {
            return Err(Fault::NotUtf8 { place: self.place(line, column) });
        };
        if text.is_empty() {
            return Err(Fault::Missing { place: self.place(line, column), got: String::new() });
        }
        if let Some(&number) = self.numbers.get(text) {
            return Ok(number);
        }
        if self.numbers.len() == self.limits.classes {
            return Err(Fault::TooManyClasses { place: self.place(line, column) });
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(text.to_owned(), number);
        Ok(number)
    }

    fn place(&self, line: u64, column: usize) -> FieldLocation {
        FieldLocation { line, column: self.columns.at(column) }
    }

    /// The table, its classes in order: by value if every label is a number, else by their bytes.
    fn finish(mut self) -> Result<Table, Fault> {
        let mut classes: Vec<(String, u32)> = self.numbers.into_iter().collect();
        if let [(label, _)] = &classes[..] {
            return Err(Fault::OneClass { label: label.clone() });
        }
        classes.sort_unstable();
        let value = |label: &str| label.parse::<f64>().ok().filter(|value| value.is_finite());
        if let Some(values) = classes.iter().map(|(label, _)| value(label)).collect::<Option<Vec<f64>>>() {
            let mut keyed: Vec<(f64, (String, u32))> = values.into_iter().zip(classes).collect();
            keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            classes = keyed.into_iter().map(|(_, class)| class).collect();
        }
        let mut class_of = vec![0; classes.len()];
        for (class, &(_, number)) in classes.iter().enumerate() {
            class_of[number as usize] = class as u32;
        }
        self.labels.iter_mut().for_each(|label| *label = class_of[*label as usize]);

        let shape = (self.labels.len(), self.values.len() / self.labels.len());
        let values = Array2::from_shape_vec(shape, self.values).expect("every row pushed as many values");
        let classes = classes.into_iter().map(|(label, _)| label).collect();
        Ok(Table { values, labels: self.labels, classes, columns: self.columns, lines: self.lines })
    }
}

#[cfg(test)]
mod tests;
