//! From bytes to records. Owns how fields and lines are separated, and the line on which each record begins; does not know
//! what fields mean.
//!
//! Commas, semicolons, tabs or bars separate fields, as the first line tells, or any byte that is asked for; `sep=;` in front
//! of the first line tells, too. Lines end with LF, CR LF or CR alone. Quoted fields, a UTF-8 byte order mark, blank lines and
//! the sign with which DOS ended a text are fine. Memory is taken as bytes arrive, up to the longest record.
//!
//! A record is told apart in the buffer into which its bytes were read, and handed out from there.

mod marks;
mod newlines;
mod record;

use std::io::{self, BufRead, Read};

use memchr::memchr;

use super::error::Fault;
use marks::Marks;
use newlines::Newlines;
pub(super) use record::{Block, KeptRecord, Record, Text};
use record::{PADDING, Row, Span};

/// Bytes that are read at once: few enough to be still in the processor's cache when they are looked at, column by column.
const BUFFER_BYTES: usize = 128 << 10;

/// The records of a file that are not blank, with the line on which each begins: one by one, or as many as are in the buffer.
pub(super) struct Records<R> {
    input: Newlines<R>,
    separator: u8,
    record_bytes_max: usize,
    /// What has been read and is not behind us, and room behind it.
    buffer: Vec<u8>,
    /// Where what has been read ends.
    filled: usize,
    /// Where the next record begins, and on which line that is.
    next: usize,
    line: u64,
    marks: Marks,
    /// The records in the buffer that have been told apart, and their fields.
    rows: Vec<Row>,
    fields: Vec<Span>,
    /// How many of them have been handed out, one by one.
    given: usize,
    /// The fields of the record in hand in which something stands beside or inside the quotes that is to be put in order.
    unordered: Vec<usize>,
    /// Whether all has been read.
    has_ended: bool,
}

/// What stands at the beginning of the buffer.
enum Found {
    /// A record.
    Record,
    /// A line without anything.
    Blank,
    /// A part of a record.
    Part,
}

impl<R: Read> Records<R> {
    /// Begins to read; the separator is found out where none is given.
    pub(super) fn open(input: R, separator: Option<u8>, record_bytes_max: usize) -> Result<Records<R>, Fault> {
        let mut input = io::BufReader::new(Newlines::new(input));
        let mut head = Head { line: Vec::new(), before: 0 };
        head.read(&mut input, record_bytes_max)?;
        let told = head.separator_told();
        if told.is_some() {
            head.before += 1;
            head.read(&mut input, record_bytes_max)?;
        }
        let separator = separator.or(told).unwrap_or_else(|| head.separator());
        let mut buffer = head.line;
        buffer.extend_from_slice(input.buffer());
        let filled = buffer.len();
        buffer.resize(filled + PADDING, 0);
        let mut marks = Marks::new(separator);
        marks.begin(&buffer, 0, filled);
        Ok(Records {
            input: input.into_inner(),
            separator,
            record_bytes_max,
            buffer,
            filled,
            next: 0,
            line: head.before + 1,
            marks,
            rows: Vec::new(),
            fields: Vec::new(),
            given: 0,
            unordered: Vec::new(),
            has_ended: false,
        })
    }

    /// What separates fields.
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// The record that [`Records::advance`] went to.
    #[inline]
    pub(super) fn record(&self) -> Record<'_> {
        let bytes = &self.buffer;
        match self.rows.get(self.given.wrapping_sub(1)) {
            Some(row) => Record { bytes, fields: &self.fields[row.first as usize..row.end as usize] },
            None => Record { bytes, fields: &[] },
        }
    }

    /// Goes on to the next record, and tells the line on which it begins; none at the end.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<u64>, Fault> {
        if self.given == self.rows.len() && !self.tell_apart()? {
            return Ok(None);
        }
        self.given += 1;
        Ok(Some(self.rows[self.given - 1].line))
    }

    /// The next record, without going to it; none at the end.
    pub(super) fn first(&mut self) -> Result<Option<Record<'_>>, Fault> {
        if self.given == self.rows.len() && !self.tell_apart()? {
            return Ok(None);
        }
        let Row { first, end, .. } = self.rows[self.given];
        Ok(Some(Record { bytes: &self.buffer, fields: &self.fields[first as usize..end as usize] }))
    }

    /// The next records: as many as are at hand, at least one; none at the end.
    pub(super) fn block(&mut self) -> Result<Option<Block<'_>>, Fault> {
        if self.given == self.rows.len() && !self.tell_apart()? {
            return Ok(None);
        }
        let rows = &self.rows[self.given..];
        self.given = self.rows.len();
        Ok(Some(Block { bytes: &self.buffer, fields: &self.fields, rows }))
    }

    /// Tells the records in the buffer apart, or reads on where there is none; whether there is any.
    fn tell_apart(&mut self) -> Result<bool, Fault> {
        self.rows.clear();
        self.fields.clear();
        self.given = 0;
        loop {
            let (first, line) = (self.fields.len() as u32, self.line);
            match self.split() {
                Found::Record => self.rows.push(Row { first, end: self.fields.len() as u32, line }),
                Found::Blank => self.fields.truncate(first as usize),
                Found::Part => {
                    self.fields.truncate(first as usize);
                    if !self.rows.is_empty() {
                        self.marks.begin(&self.buffer, self.next, self.filled);
                        return Ok(true);
                    }
                    if !self.read_on()? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Tells the fields of the next record apart.
    #[inline]
    fn split(&mut self) -> Found {
        self.unordered.clear();
        let first = self.fields.len();
        let mut start = self.next;
        let mut is_last = false;
        let mut lines = 1;
        while !is_last {
            let Some(at) = self.marks.next(&self.buffer, self.filled) else { return Found::Part };
            let mark = self.buffer[at];
            if mark == b'"' && self.separator != b'"' {
                // Elsewhere than in front of a field it is a byte like others.
                if at > start {
                    continue;
                }
                let Some(end) = self.close(at, &mut lines) else { return Found::Part };
                is_last = self.buffer[end] == b'\n';
                start = end + 1;
                continue;
            }
            self.fields.push((start as u32, at as u32));
            is_last = mark == b'\n';
            start = at + 1;
        }
        self.line += lines;
        self.next = start;
        if !self.unordered.is_empty() {
            self.put_in_order();
        }
        if let [(start, end)] = self.fields[first..]
            && self.buffer[start as usize..end as usize].trim_ascii().is_empty()
        {
            return Found::Blank;
        }
        Found::Record
    }

    /// Goes to the mark that ends a field which a quote has begun, and counts the line ends before it; none where the buffer
    /// ends before. A quote inside is written twice, and what stands behind the last one belongs to the field.
    fn close(&mut self, opened: usize, lines: &mut u64) -> Option<usize> {
        let mut is_quoted = true;
        let mut is_plain = true;
        let mut closed = opened;
        loop {
            let at = self.marks.next(&self.buffer, self.filled)?;
            let mark = self.buffer[at];
            if is_quoted && mark == b'"' {
                if at + 1 == self.filled {
                    return None;
                }
                if self.buffer[at + 1] == b'"' {
                    self.marks.next(&self.buffer, self.filled)?;
                    is_plain = false;
                } else {
                    is_quoted = false;
                    closed = at;
                }
            } else if is_quoted {
                *lines += u64::from(mark == b'\n');
            } else if mark != b'"' {
                if is_plain && at == closed + 1 {
                    self.fields.push((opened as u32 + 1, closed as u32));
                } else {
                    self.unordered.push(self.fields.len());
                    self.fields.push((opened as u32, at as u32));
                }
                return Some(at);
            }
        }
    }

    /// Takes the quotes out of fields in which they stand otherwise than around everything.
    fn put_in_order(&mut self) {
        for &place in &self.unordered {
            let (start, end) = self.fields[place];
            let mut to = start as usize;
            let mut at = to + 1;
            let mut is_quoted = true;
            while at < end as usize {
                let byte = self.buffer[at];
                at += 1;
                if is_quoted && byte == b'"' {
                    if at == end as usize || self.buffer[at] != b'"' {
                        is_quoted = false;
                        continue;
                    }
                    at += 1;
                }
                self.buffer[to] = byte;
                to += 1;
            }
            self.fields[place] = (start, to as u32);
        }
    }

    /// Reads until the record in hand may be complete; whether there was anything left.
    fn read_on(&mut self) -> Result<bool, Fault> {
        if self.has_ended {
            // The last line has an end, so that only quotes keep a record open.
            return if self.next == self.filled { Ok(false) } else { Err(Fault::OpenQuote { line: self.line }) };
        }
        self.buffer.copy_within(self.next..self.filled, 0);
        self.filled -= self.next;
        self.next = 0;
        loop {
            if self.filled > self.record_bytes_max {
                return Err(Fault::LongLine { line: self.line, bytes_max: self.record_bytes_max });
            }
            if self.buffer.len() < 2 * self.filled + PADDING || self.buffer.len() < BUFFER_BYTES {
                self.buffer.resize((2 * self.filled).max(BUFFER_BYTES) + PADDING, 0);
            }
            let room = self.buffer.len() - PADDING;
            let read = match self.input.read(&mut self.buffer[self.filled..room]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            let before = self.filled;
            self.filled += read;
            if read == 0 {
                self.has_ended = true;
                if self.filled > 0 {
                    self.buffer[self.filled] = b'\n';
                    self.filled += 1;
                }
            }
            // No record ends before a line does.
            if self.has_ended || memchr(b'\n', &self.buffer[before..self.filled]).is_some() {
                self.marks.begin(&self.buffer, 0, self.filled);
                return Ok(true);
            }
        }
    }
}

/// The beginning of a file, up to its first line that is not blank.
struct Head {
    /// That line, with its end where it has one, without a byte order mark. Empty if there is none.
    line: Vec<u8>,
    /// Lines before it.
    before: u64,
}

impl Head {
    fn read(&mut self, input: &mut impl BufRead, record_bytes_max: usize) -> Result<(), Fault> {
        loop {
            self.line.clear();
            let mut limited = input.by_ref().take(record_bytes_max as u64 + 1);
            limited.read_until(b'\n', &mut self.line).map_err(unreadable)?;
            if self.line.len() > record_bytes_max {
                return Err(Fault::LongLine { line: self.before + 1, bytes_max: record_bytes_max });
            }
            if self.before == 0 && self.line.starts_with(b"\xef\xbb\xbf") {
                self.line.drain(..3);
            }
            if !self.line.trim_ascii().is_empty() || !self.line.ends_with(b"\n") {
                return Ok(());
            }
            self.before += 1;
        }
    }

    /// The separator that spreadsheets write in front of the first line: `sep=;`.
    fn separator_told(&self) -> Option<u8> {
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        match line {
            [name @ .., b'=', separator] if name.eq_ignore_ascii_case(b"sep") => Some(*separator),
            _ => None,
        }
    }

    /// The separator that the line has most of, outside quotes. Of equally many the semicolon wins over the comma, which
    /// is then a decimal comma, and the tab over all. A blank is one where there is no other.
    fn separator(&self) -> u8 {
        let mut counts = [(0u32, b','), (0, b'|'), (0, b';'), (0, b'\t')];
        let mut quoted = false;
        for &byte in &self.line {
            quoted ^= byte == b'"';
            if let Some((count, _)) = counts.iter_mut().find(|(_, separator)| *separator == byte && !quoted) {
                *count += 1;
            }
        }
        let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
        // The last of several greatest.
        let found = counts.iter().rev().find(|(count, _)| *count == most && most > 0);
        let otherwise = if self.line.trim_ascii().contains(&b' ') { b' ' } else { b',' };
        found.map_or(otherwise, |&(_, separator)| separator)
    }
}

/// Why the system does not give the file's bytes.
pub(super) fn unreadable(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::IsADirectory => Fault::Directory,
        io::ErrorKind::NotFound => Fault::NotFound,
        _ => Fault::Unreadable { cause: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
