//! From bytes to records. Owns how fields and lines are separated, and the line on which each record begins; does not know
//! what fields mean, but that a number may have a decimal comma.
//!
//! Commas, semicolons, tabs or bars separate fields, as the first line tells, or any byte that is asked for; `sep=;` in front of
//! the first line tells, too. Where it has only blanks, columns may be lined up by any number of them. Lines end with LF, CR LF or
//! CR alone. Quoted fields, a UTF-8 byte order mark, blank lines and the sign with which DOS ended a text are fine. Memory is taken
//! as bytes arrive, up to the longest record.
//!
//! A record is told apart in the buffer into which its bytes were read, and handed out from there.

mod blanks;
mod marks;
mod newlines;
mod record;
mod split;

use std::io::{self, BufRead, Read};

use memchr::memchr;

use super::error::Fault;
use super::value;
use blanks::Blanks;
use newlines::Newlines;
pub(super) use record::{Block, Column, KeptRecord, Record, Text};
use record::{PADDING, Row};
use split::Split;

/// Bytes that are read at once: few enough to be still in the processor's cache when they are looked at, column by column.
const BUFFER_BYTES: usize = 128 << 10;

/// The records of a file that are not blank, with the line on which each begins: one by one, or as many as are in the buffer.
pub(super) struct Records<R> {
    input: Newlines<R>,
    separator: u8,
    /// Blanks that line up columns, where those separate them and nobody has said so.
    blanks: Option<Blanks>,
    record_bytes_max: usize,
    /// What has been read and is not behind us, and room behind it.
    buffer: Vec<u8>,
    /// Where what has been read ends.
    filled: usize,
    /// Where the next record begins, and on which line that is.
    next: usize,
    line: u64,
    /// The records in the buffer that have been told apart.
    split: Split,
    /// How many of them have been handed out, one by one.
    given: usize,
    /// Whether all has been read.
    has_ended: bool,
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
        let is_found_out = separator.or(told).is_none();
        let separator = separator.or(told).unwrap_or_else(|| head.separator());
        let mut blanks = (is_found_out && separator == b' ').then_some(Blanks::NEW);
        let mut buffer = head.line;
        buffer.extend_from_slice(input.buffer());
        if let Some(blanks) = &mut blanks {
            let end = buffer.len();
            let end = blanks.take_out(&mut buffer, 0, end, 0);
            buffer.truncate(end);
        }
        let filled = buffer.len();
        buffer.resize(filled + PADDING, 0);
        Ok(Records {
            input: input.into_inner(),
            separator,
            blanks,
            record_bytes_max,
            buffer,
            filled,
            next: 0,
            line: head.before + 1,
            split: Split::default(),
            given: 0,
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
        match self.split.rows.get(self.given.wrapping_sub(1)) {
            Some(row) => Record { bytes, fields: &self.split.fields[row.first as usize..row.end as usize] },
            None => Record { bytes, fields: &[] },
        }
    }

    /// Goes on to the next record, and tells the line on which it begins; none at the end.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Option<u64>, Fault> {
        if self.given == self.split.rows.len() && !self.tell_apart()? {
            return Ok(None);
        }
        self.given += 1;
        Ok(Some(self.split.rows[self.given - 1].line))
    }

    /// The next record, without going to it; none at the end.
    pub(super) fn first(&mut self) -> Result<Option<Record<'_>>, Fault> {
        if self.given == self.split.rows.len() && !self.tell_apart()? {
            return Ok(None);
        }
        let Row { first, end, .. } = self.split.rows[self.given];
        Ok(Some(Record { bytes: &self.buffer, fields: &self.split.fields[first as usize..end as usize] }))
    }

    /// The next records: as many as are at hand, at least one; none at the end.
    pub(super) fn block(&mut self) -> Result<Option<Block<'_>>, Fault> {
        if self.given == self.split.rows.len() && !self.tell_apart()? {
            return Ok(None);
        }
        let rows = &self.split.rows[self.given..];
        self.given = self.split.rows.len();
        let are_alike = self.split.are_alike;
        Ok(Some(Block { bytes: &self.buffer, fields: &self.split.fields, rows, are_alike }))
    }

    /// Tells the records in the buffer apart, or reads on where there is none; whether there is any.
    fn tell_apart(&mut self) -> Result<bool, Fault> {
        self.given = 0;
        loop {
            self.next = self.split.tell_apart(&mut self.buffer, self.separator, self.next, self.filled, &mut self.line);
            if !self.split.rows.is_empty() {
                return Ok(true);
            }
            if !self.read_on()? {
                return Ok(false);
            }
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
            // A blank of those before may have to stand in front.
            let from = self.filled + usize::from(self.blanks.is_some());
            let read = match self.input.read(&mut self.buffer[from..room]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(error)),
            };
            let before = self.filled;
            self.filled = match &mut self.blanks {
                Some(blanks) => blanks.take_out(&mut self.buffer, from, from + read, before),
                None => before + read,
            };
            if read == 0 {
                self.has_ended = true;
                if self.filled > 0 {
                    self.buffer[self.filled] = b'\n';
                    self.filled += 1;
                }
            }
            // No record ends before a line does.
            if self.has_ended || memchr(b'\n', &self.buffer[before..self.filled]).is_some() {
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
    /// is then a decimal comma, and the tab over all; where numbers have more decimal commas than that, any wins. A blank is one
    /// where there is no other.
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
        match found {
            Some(&(_, b',')) => self.beside_decimal_commas().unwrap_or(b','),
            found => found.map_or(otherwise, |&(_, separator)| separator),
        }
    }

    /// What separates the line's fields if all its commas are decimal marks: each stands between digits, and each field is a number.
    fn beside_decimal_commas(&self) -> Option<u8> {
        let line = self.line.trim_ascii();
        let is_digit = |place: usize| line.get(place).is_some_and(u8::is_ascii_digit);
        let are_between_digits =
            memchr::memchr_iter(b',', line).all(|at| at > 0 && is_digit(at - 1) && is_digit(at + 1));
        let is_number = |field: &[u8]| {
            let inside = field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field);
            std::str::from_utf8(inside).is_ok_and(|text| value::notations(text.trim()).0 != 0)
        };
        let separates = |separator: &u8| {
            let mut quoted = false;
            let mut fields = line.split(|&byte| {
                quoted ^= byte == b'"';
                byte == *separator && !quoted
            });
            // Of blanks there may be several.
            let are_numbers = |mut all: usize, field: &[u8]| {
                let field = field.trim_ascii();
                let is_between_blanks = field.is_empty() && *separator == b' ';
                all += usize::from(!is_between_blanks);
                (is_between_blanks || is_number(field)).then_some(all)
            };
            fields.try_fold(0, are_numbers).is_some_and(|all| all > 1)
        };
        if are_between_digits { [b';', b'\t', b'|', b' '].into_iter().find(separates) } else { None }
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
