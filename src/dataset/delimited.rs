//! From bytes to records. Owns how fields and lines are separated, and the line on which each record begins; does not know
//! what fields mean.
//!
//! Commas, semicolons, tabs or bars separate fields, as the first line tells, or any byte that is asked for; `sep=;` in front
//! of the first line tells, too. Lines end with LF, CR LF or CR alone. Quoted fields, a UTF-8 byte order mark, blank lines and
//! the sign with which DOS ended a text are fine. Memory is taken as bytes arrive, up to the longest record.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::error::Fault;

/// The records of a file that are not blank, with the line on which each begins.
pub(super) struct Records<R> {
    reader: csv::Reader<Feed<BufReader<Newlines<R>>>>,
    record: ByteRecord,
    /// Lines that the head has taken before the reader began to count.
    before: u64,
    record_bytes_max: usize,
    separator: u8,
}

impl<R: Read> Records<R> {
    /// Begins to read; the separator is found out where none is given.
    pub(super) fn open(input: R, separator: Option<u8>, record_bytes_max: usize) -> Result<Records<R>, Fault> {
        let mut input = BufReader::new(Newlines { input, after_cr: false, holds_end: false });
        let mut head = Head { line: Vec::new(), before: 0 };
        head.read(&mut input, record_bytes_max)?;
        let told = head.separator_told();
        if told.is_some() {
            head.before += 1;
            head.read(&mut input, record_bytes_max)?;
        }
        let separator = separator.or(told).unwrap_or_else(|| head.separator());
        let reader = ReaderBuilder::new()
            .delimiter(separator)
            .terminator(Terminator::Any(b'\n'))
            .has_headers(false)
            .flexible(true)
            .from_reader(Feed::new(head.line, input, record_bytes_max));
        Ok(Records { reader, record: ByteRecord::new(), before: head.before, record_bytes_max, separator })
    }

    /// What separates fields.
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// The record that [`Records::advance`] went to.
    pub(super) fn record(&self) -> &ByteRecord {
        &self.record
    }

    /// Exchanges the record that [`Records::advance`] went to for another, whose memory is used again.
    pub(super) fn take(&mut self, record: &mut ByteRecord) {
        std::mem::swap(&mut self.record, record);
    }

    /// Goes on to the next record, and tells the line on which it begins; none at the end.
    pub(super) fn advance(&mut self) -> Result<Option<u64>, Fault> {
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
        self.before + self.reader.position().line()
    }
}

/// What the CSV reader reads: the head, the rest of the input, and a line end in case that the last line has none.
struct Feed<R> {
    bytes: Chain<Chain<Cursor<Vec<u8>>, R>, &'static [u8]>,
    /// Bytes given out since the last record, a buffer's more or less.
    unread_bytes: usize,
    unread_bytes_max: usize,
    /// Whether the reader asked for more after the last byte.
    ended: bool,
}

impl<R: Read> Feed<R> {
    fn new(head: Vec<u8>, rest: R, unread_bytes_max: usize) -> Feed<R> {
        let bytes = Cursor::new(head).chain(rest).chain(&b"\n"[..]);
        Feed { bytes, unread_bytes: 0, unread_bytes_max, ended: false }
    }
}

impl<R: Read> Read for Feed<R> {
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

/// How [`Feed`] tells through the CSV reader that a record does not end.
#[derive(Debug)]
struct RecordTooLong;

impl std::fmt::Display for RecordTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the record is too long")
    }
}

impl std::error::Error for RecordTooLong {}

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

/// The sign with which DOS ended a text (Ctrl-Z).
const END_OF_TEXT: u8 = 0x1a;

/// Bytes in which every line ends with LF: CR LF and CR alone become one. The sign that ends a text is left out.
struct Newlines<R> {
    input: R,
    /// Whether the last byte was a CR, so that a LF now is the end of the same line.
    after_cr: bool,
    /// Whether the last byte was the sign of a text's end, which is kept back until another byte shows that it is none.
    holds_end: bool,
}

impl<R: Read> Newlines<R> {
    /// Reads without the sign that ends a text.
    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let held = usize::from(self.holds_end);
            // Of a buffer of one byte, which nobody has here, it would be passed on.
            if held == buffer.len() {
                self.holds_end = false;
                buffer.fill(END_OF_TEXT);
                return Ok(held);
            }
            let got = self.input.read(&mut buffer[held..])?;
            if got == 0 {
                return Ok(0);
            }
            buffer[..held].fill(END_OF_TEXT);
            let read = held + got;
            self.holds_end = buffer[read - 1] == END_OF_TEXT;
            if !self.holds_end || read > 1 {
                return Ok(read - usize::from(self.holds_end));
            }
        }
    }
}

impl<R: Read> Read for Newlines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.read_on(buffer)?;
            if !self.after_cr && !buffer[..read].contains(&b'\r') {
                return Ok(read);
            }
            let mut kept = 0;
            for place in 0..read {
                let byte = buffer[place];
                let is_rest = byte == b'\n' && self.after_cr;
                self.after_cr = byte == b'\r';
                if !is_rest {
                    buffer[kept] = if byte == b'\r' { b'\n' } else { byte };
                    kept += 1;
                }
            }
            // Nothing is kept of a LF alone, and 0 would be the end.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
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
