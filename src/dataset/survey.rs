//! The first reading of a file: every value of every column is counted, and the first line is judged; and the one that counts again
//! where rows are dropped. Owns what is found; does not know what it is used for.

use std::collections::{BTreeMap, HashSet};

use super::delimited::{Record, Records, Text};
use super::error::Fault;
use super::header;
use super::kept::Kept;
use super::lines::Lines;
use super::options::ReadOptions;
use super::place::{Column, Places};
use super::refusal::{Cause, Refusal};
use super::short;
use super::source::Source;
use super::tally::{Tally, Values};
use crate::job::ROWS_MAX;
use crate::model::network::{CLASSES_MAX, INPUTS_MAX};

/// Lines of another width that are shown.
const RAGGED_SHOWN: usize = 2;
/// Lines that repeat the first one that are told one by one.
const REPEATED_SHOWN: usize = 4;

/// What a file may hold. Constant but for tests, which could not fill the real ones.
#[derive(Clone, Copy, Debug)]
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

/// What the first reading has found.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// The columns' names; none where the file has no header.
    pub(super) names: Option<Vec<String>>,
    /// Why it is a close call whether there is a header.
    pub(super) close: Option<&'static str>,
    /// One for each column.
    pub(super) tallies: Vec<Tally>,
    /// Rows, without the header.
    pub(super) rows: u64,
    /// What separates fields; none of arrays.
    pub(super) separator: Option<u8>,
}

/// How another file than the first is laid out.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// The field in which each column stands; none where they stand in order.
    pub(super) fields: Option<Vec<usize>>,
    /// The names of its columns that the first file has not.
    pub(super) others: Vec<String>,
}

impl Survey {
    /// Reads a file for the first time.
    pub(super) fn of(source: &Source<'_>, options: &ReadOptions, limits: &Limits) -> Result<(Survey, Kept), Fault> {
        let (_, input) = source.open()?;
        let mut records = Records::open(input, options.separator.map(|separator| separator.0), limits.record_bytes)?;
        let Some(first_line) = records.advance()? else {
            return Err(Fault::Empty);
        };
        let first = records.record().kept();
        let first = first.fields();
        check_width(first, first_line, limits)?;
        let step = header::step(first.iter());
        let mut counting = Counting {
            tallies: Vec::new(),
            kept: Kept::default(),
            widths: BTreeMap::new(),
            of_width: (0, 0),
            lines: Lines::default(),
            rows: 0,
            runs: 0,
            repeated: Repeated::default(),
            last_line: first_line,
        };
        let (mut values, mut room) = (Values::default(), Vec::new());
        let may_repeat =
            first.iter().any(|field| std::str::from_utf8(field).is_ok_and(|text| header::is_word(text.trim())));
        while let Some(block) = records.block()? {
            for (row, record) in block.records() {
                let line = block.line(row);
                check_width(record, line, limits)?;
                if counting.rows as usize + 1 > limits.rows {
                    return Err(Fault::TooManyRows { line });
                }
                counting.lines.push(counting.rows as usize, line);
                counting.count(record.len(), line, first, options);
                counting.runs += u64::from(step.is_some() && header::step(record.iter()) == step);
                if may_repeat && record.iter().eq(first.iter()) {
                    counting.repeated.push(line);
                }
            }
            for (place, tally) in counting.tallies.iter_mut().enumerate() {
                tally.take_all(block.column(place, &mut room), &options.missing, &mut values);
                counting.kept.extend(place, tally, block.len(), &values);
            }
        }
        counting.finish(first, first_line, records.separator(), options, limits)
    }

    /// The column at this place, from 0.
    pub(super) fn column(&self, place: usize) -> Column {
        let name = self.names.as_ref().and_then(|names| names.get(place)).filter(|name| !name.is_empty());
        Column { number: place + 1, name: name.cloned() }
    }

    /// Takes the rows of another file in, of which there may be none, and tells how it is laid out.
    pub(super) fn take_in(
        &mut self,
        kept: &mut Kept,
        source: &Source<'_>,
        options: &ReadOptions,
        limits: &Limits,
    ) -> Result<Layout, Fault> {
        let (_, input) = source.open()?;
        let separator = options.separator.map(|separator| separator.0);
        let mut records = Records::open(input, separator, limits.record_bytes)?;
        let first = records.first()?.ok_or(Fault::Empty)?;
        let (mut fields, mut others, mut width) = (None, Vec::new(), self.tallies.len());
        let (mut head, mut repeated) = (None, Repeated::default());
        if let Some(names) = &self.names {
            let found = first.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect();
            let kept_names = first.kept();
            let first_line = records.advance()?;
            // Behind it there may be no row, as programs write it that had none for it.
            let found = align_names(found, names, records.first()?);
            width = found.len();
            fields = if found == *names { None } else { Some(places(names, &found)?) };
            head = first_line.filter(|_| names.iter().any(|name| header::is_word(name))).zip(Some(kept_names));
            let known: HashSet<&String> = names.iter().collect();
            others = found.into_iter().filter(|name| !name.is_empty() && !known.contains(name)).collect();
        }
        let (mut values, mut room) = (Values::default(), Vec::new());
        let (before, mut lines) = (self.rows, Lines::default());
        while let Some(block) = records.block()? {
            for (row, record) in block.records() {
                let line = block.line(row);
                if record.len() != width {
                    let of_what = if fields.is_some() { "its first line names" } else { "there are" };
                    let what = format!("line {line} has {}, and {of_what} {width}", record.len());
                    return Err(Fault::OtherColumns { what });
                }
                if self.rows as usize + 1 > limits.rows {
                    return Err(Fault::TooManyRows { line });
                }
                if head.as_ref().is_some_and(|(_, names)| record.iter().eq(names.fields().iter())) {
                    repeated.push(line);
                }
                lines.push((self.rows - before) as usize, line);
                self.rows += 1;
            }
            for (place, tally) in self.tallies.iter_mut().enumerate() {
                let field = fields.as_ref().map_or(place, |fields| fields[place]);
                tally.take_all(block.column(field, &mut room), &options.missing, &mut values);
                kept.extend(place, tally, block.len(), &values);
            }
        }
        if let Some((first, _)) = head.filter(|_| repeated.count > 0) {
            return Err(repeated.fault(first));
        }
        self.tallies.iter_mut().for_each(Tally::settle);
        kept.end_part((self.rows - before) as usize, lines);
        Ok(Layout { fields, others })
    }

    /// Counts again, of files that have been read and are laid out so, with no row that lacks one of these labels; those of the labels
    /// stay as they are.
    pub(super) fn labelled(
        &self,
        files: &[(&Source<'_>, &Layout)],
        labels: &[usize],
        options: &ReadOptions,
        limits: &Limits,
    ) -> Result<Vec<Tally>, Fault> {
        let width = self.tallies.len();
        let mut tallies = vec![Tally::new(width); width];
        let (mut values, mut room, mut rows) = (Values::default(), Vec::new(), Vec::new());
        for (source, layout) in files {
            let field = |place: usize| layout.fields.as_ref().map_or(place, |fields| fields[place]);
            let is_there = |text: &str| !options.missing.has(text.trim());
            let (_, input) = source.open()?;
            let separator = options.separator.map(|separator| separator.0);
            let mut records = Records::open(input, separator, limits.record_bytes)?;
            if self.names.is_some() {
                records.advance()?;
            }
            while let Some(block) = records.block()? {
                let has = |record: Record<'_>, label: usize| {
                    // Another encoding is refused later.
                    std::str::from_utf8(record.text(field(label)).bytes()).map_or(true, is_there)
                };
                let has_all = |record: Record<'_>| labels.iter().all(|&label| has(record, label));
                rows.clear();
                rows.extend(block.records().filter(|&(_, record)| has_all(record)).map(|(row, _)| row));
                if rows.is_empty() {
                    continue;
                }
                for (place, tally) in tallies.iter_mut().enumerate() {
                    tally.take_all(block.column_of(&rows, field(place), &mut room), &options.missing, &mut values);
                }
            }
        }
        tallies.iter_mut().for_each(Tally::settle);
        labels.iter().for_each(|&label| tallies[label] = self.tallies[label].clone());
        Ok(tallies)
    }
}

fn check_width(record: Record<'_>, line: u64, limits: &Limits) -> Result<(), Fault> {
    match record.len() - 1 > limits.features {
        true => Err(Fault::TooManyFeatures { line, got: record.len() - 1 }),
        false => Ok(()),
    }
}

/// The number that a field is in the shortest form.
fn number(text: Text<'_>, options: &ReadOptions) -> Option<f64> {
    // Tokens that are named may be numbers.
    short::read(text).filter(|_| options.missing.named.is_empty()).map(|short| short.value)
}

/// Rows as they are counted.
struct Counting {
    tallies: Vec<Tally>,
    kept: Kept,
    /// Lines of each width, and the first of them.
    widths: BTreeMap<usize, (u64, Vec<u64>)>,
    /// The width of the last lines, as many as are not counted there yet.
    of_width: (usize, u64),
    /// Where rows begin but for the first line.
    lines: Lines,
    rows: u64,
    /// Rows whose fields count up by the first line's step.
    runs: u64,
    /// Rows that are the same as the first line.
    repeated: Repeated,
    last_line: u64,
}

/// Rows that are the same as the first line.
#[derive(Default)]
struct Repeated {
    count: u64,
    /// The lines of the first of them.
    lines: Vec<u64>,
}

impl Repeated {
    fn push(&mut self, line: u64) {
        self.count += 1;
        if self.lines.len() < REPEATED_SHOWN {
            self.lines.push(line);
        }
    }

    /// As what is wrong with a file in which they repeat the names of its columns.
    fn fault(self, first: u64) -> Fault {
        Fault::RepeatedNames { first, count: self.count, lines: self.lines }
    }
}

impl Counting {
    /// Counts a row of so many fields, in a file with this first line.
    fn count(&mut self, width: usize, line: u64, first: Record<'_>, options: &ReadOptions) {
        self.rows += 1;
        self.last_line = self.last_line.max(line);
        if width == self.of_width.0 {
            self.of_width.1 += 1;
            return;
        }
        let (count, lines) = self.widths.entry(width).or_default();
        *count += 1;
        if lines.len() < RAGGED_SHOWN {
            lines.push(line);
        } else {
            self.count_width();
            self.of_width = (width, 0);
        }
        while self.tallies.len() < width {
            let number = number(first.text(self.tallies.len()), options);
            self.kept.begin(number.unwrap_or(f64::NAN), width);
            self.tallies.push(Tally::new(width));
        }
    }

    /// Counts the last lines.
    fn count_width(&mut self) {
        let (width, more) = std::mem::take(&mut self.of_width);
        if let Some((count, _)) = self.widths.get_mut(&width) {
            *count += more;
        }
    }

    /// Judges the first line, whose fields are taken in where it is a row.
    fn finish(
        mut self,
        first: Record<'_>,
        first_line: u64,
        separator: u8,
        options: &ReadOptions,
        limits: &Limits,
    ) -> Result<(Survey, Kept), Fault> {
        self.count_width();
        self.tallies.iter_mut().for_each(Tally::settle);
        // Of equally many the first line's.
        let rank = |width: usize, count: u64| (count, width == first.len());
        let usual = self.widths.iter().max_by_key(|(width, (count, _))| rank(**width, *count));
        let width = usual.map_or(first.len(), |(width, _)| *width);
        if width < 2 && first.len() < 2 {
            return Err(Fault::OneColumn { line: first_line });
        }
        while self.tallies.len() < width {
            self.tallies.push(Tally::new(width));
        }
        let texts: Result<Vec<&str>, usize> = first
            .iter()
            .enumerate()
            .map(|(place, field)| std::str::from_utf8(field).map(str::trim).map_err(|_| place))
            .collect();
        let texts = align(texts, (first.len(), options.header == Some(true)), width, &self.tallies);
        let all_fit = self.widths.get(&width).is_some_and(|(count, _)| *count == self.rows);
        let is_open = options.header != Some(false);
        let lacks_name = |texts: &Vec<&str>| texts.len() + 1 == width && header::are_words(texts);
        if options.header.is_none() && all_fit && texts.as_ref().is_ok_and(lacks_name) {
            return Err(Fault::FewerNames { line: first_line, names: first.len() });
        }
        let judged = match (&texts, options.header) {
            (Ok(_), Some(is_header)) => header::Verdict { is_header, close: None },
            (Ok(texts), None) => header::judge(texts, &self.tallies, &options.missing, self.rows, self.runs),
            (Err(_), said) => header::Verdict { is_header: said == Some(true), close: None },
        };
        let repeated = std::mem::take(&mut self.repeated);
        let is_repeated =
            |texts: &Vec<&str>| header::is_repeated(texts, &self.tallies, judged.is_header, repeated.count, self.rows);
        if is_open && texts.as_ref().is_ok_and(is_repeated) {
            return Err(repeated.fault(first_line));
        }
        let names = match (judged.is_header, texts) {
            (true, Ok(texts)) => Some(texts.into_iter().map(str::to_owned).collect()),
            (true, Err(place)) => {
                let mut refusal = Refusal::new(Column { number: place + 1, name: None }, Cause::NotUtf8, false);
                refusal.push(first_line, None, first.text(place).bytes());
                refusal.of = self.rows + 1;
                return Err(Fault::Refused { refusals: vec![refusal] });
            }
            (false, _) => {
                self.count(first.len(), first_line, first, options);
                self.count_width();
                for (place, text) in first.texts().enumerate() {
                    let code = self.tallies[place].take(text, &options.missing);
                    self.kept.set_first(place, code);
                    self.tallies[place].settle();
                }
                if self.rows as usize > limits.rows {
                    return Err(Fault::TooManyRows { line: self.last_line });
                }
                None
            }
        };
        if self.rows == 0 {
            return Err(Fault::HeaderOnly { line: first_line });
        }
        let fitting = self.widths.get(&width).map_or(0, |(count, _)| *count);
        if fitting < self.rows {
            let other = self.widths.iter().filter(|(other, _)| **other != width);
            let mut examples: Vec<(u64, usize)> =
                other.flat_map(|(width, (_, lines))| lines.iter().map(|&line| (line, *width))).collect();
            examples.sort_unstable();
            examples.truncate(RAGGED_SHOWN);
            return Err(Fault::Ragged { expected: width, fitting, lines: self.rows - fitting, examples });
        }
        self.tallies.truncate(width);
        if names.as_ref().is_some_and(|names: &Vec<String>| names.len() != width) {
            let examples = vec![(first_line, first.len())];
            return Err(Fault::Ragged { expected: width, fitting, lines: 1, examples });
        }
        let mut lines = Lines::default();
        if names.is_none() {
            lines.push(0, first_line);
        }
        lines.append(usize::from(names.is_none()), &self.lines);
        self.kept.end_part(self.rows as usize, lines);
        let (tallies, rows, separator) = (self.tallies, self.rows, Some(separator));
        Ok((Survey { names, close: judged.close, tallies, rows, separator }, self.kept))
    }
}

/// The names of another file than the first, one for each field of its rows, of which the first is given, if there is any: what
/// [`align`] says of a first file's. Where they are the first file's names but for an empty one, they stand as those do.
fn align_names(mut found: Vec<String>, names: &[String], row: Option<Record<'_>>) -> Vec<String> {
    let (got, width) = (found.len(), row.map_or(names.len(), Record::len));
    if got + 1 == width {
        let is_alike = |place: &usize| {
            names.len() == width && {
                let others = names[..*place].iter().chain(&names[place + 1..]);
                names[*place].is_empty() && others.eq(&found)
            }
        };
        let ends_empty = row.is_some_and(|row| row.iter().next_back() == Some(b""));
        let place = (0..width).find(is_alike).unwrap_or(if ends_empty { got } else { 0 });
        found.insert(place, String::new());
    } else if got == width + 1 && found.last().is_some_and(String::is_empty) {
        found.pop();
    }
    found
}

/// The field of each of these columns among those that are found. Of columns with one name, the first is the first.
fn places(names: &[String], found: &[String]) -> Result<Vec<usize>, Fault> {
    let mut is_taken = vec![false; found.len()];
    let mut of_names = Places::of(found);
    let mut place = |name: &String| {
        let place = of_names.next(name);
        let place = place.ok_or_else(|| {
            let fewer = if found.contains(name) { "too few columns" } else { "no column" };
            Fault::OtherColumns { what: format!("it has {fewer} {name:?}") }
        })?;
        is_taken[place] = true;
        Ok(place)
    };
    let places = names.iter().map(&mut place).collect::<Result<Vec<usize>, Fault>>()?;
    let known: HashSet<&String> = names.iter().collect();
    let is_more = |(place, name): (usize, &String)| !is_taken[place] && !name.is_empty() && known.contains(name);
    match found.iter().enumerate().find(|&found| is_more(found)) {
        Some((_, name)) => Err(Fault::OtherColumns { what: format!("it has more columns {name:?}") }),
        None => Ok(places),
    }
}

/// The first line's texts, one for each column where they are names: R leaves out the name of the rows' names, which differ, and
/// a separator may stand at the end of the rows or of the names alone.
fn align<'a>(
    texts: Result<Vec<&'a str>, usize>,
    (got, is_header): (usize, bool),
    width: usize,
    below: &[Tally],
) -> Result<Vec<&'a str>, usize> {
    let mut texts = texts?;
    if got + 1 == width {
        let ends_empty = below.get(width - 1).is_some_and(|tally| tally.present == 0);
        let names_rows = is_header || below.first().is_some_and(Tally::may_name_rows);
        match (ends_empty, names_rows) {
            (true, _) => texts.push(""),
            (false, true) => texts.insert(0, ""),
            (false, false) => {}
        }
    } else if got == width + 1 && texts.last().is_some_and(|text| text.is_empty()) {
        texts.pop();
    }
    Ok(texts)
}
