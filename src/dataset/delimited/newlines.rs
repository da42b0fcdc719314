//! One way of ending a line for all that there are. Owns which bytes end lines and texts; does not know what stands between.

use std::io::{self, Read};

use memchr::memchr;

/// The sign with which DOS ended a text (Ctrl-Z).
const END_OF_TEXT: u8 = 0x1a;

/// Bytes in which every line ends with LF: CR LF and CR alone become one. The sign that ends a text is left out.
pub(super) struct Newlines<R> {
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
            let bytes = &mut buffer[..read];
            let is_rest = self.after_cr && bytes.first() == Some(&b'\n');
            self.after_cr &= bytes.is_empty();
            let kept = self.replace(bytes, usize::from(is_rest));
            // Nothing is kept of a LF alone, and 0 would be the end.
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}

impl<R> Newlines<R> {
    pub(super) fn new(input: R) -> Newlines<R> {
        Newlines { input, after_cr: false, holds_end: false }
    }

    /// Writes one LF for every line end of the bytes from this place on, to their beginning; tells how many bytes it comes to.
    fn replace(&mut self, bytes: &mut [u8], mut from: usize) -> usize {
        let mut kept = 0;
        while let Some(line) = memchr(b'\r', &bytes[from..]) {
            bytes.copy_within(from..from + line, kept);
            kept += line;
            bytes[kept] = b'\n';
            kept += 1;
            from += line + 1;
            match bytes.get(from) {
                Some(b'\n') => from += 1,
                Some(_) => {}
                None => self.after_cr = true,
            }
        }
        if from > kept {
            bytes.copy_within(from.., kept);
        }
        kept + bytes.len() - from
    }
}
