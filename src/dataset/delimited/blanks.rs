//! Columns that are lined up with blanks, as statistics programs and people print them: of any number of blanks between two fields
//! one stays, and none at a line's beginning and end. Owns that; does not know fields, but that blanks within quotes are text.

/// What has been seen of the line in hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blanks {
    /// Nothing but blanks stands before, since the line's beginning or the last field.
    is_between: bool,
    /// A blank is due before the next field.
    is_due: bool,
    is_quoted: bool,
    /// The byte before closed a quote: another one opens it again.
    has_closed: bool,
}

impl Blanks {
    /// At a line's beginning.
    pub(super) const NEW: Blanks = Blanks { is_between: true, is_due: false, is_quoted: false, has_closed: false };

    /// Takes blanks out of the bytes from `from` to `end`, and puts the others at `to`, which is before `from` by one at least where
    /// bytes were read before; where they end then.
    pub(super) fn take_out(&mut self, buffer: &mut [u8], from: usize, end: usize, mut to: usize) -> usize {
        for place in from..end {
            let byte = buffer[place];
            match byte {
                b' ' if !self.is_quoted => {
                    self.is_due |= !self.is_between;
                    self.is_between = true;
                    continue;
                }
                // CR too: before LF, or a line's end by itself.
                b'\n' | b'\r' if !self.is_quoted => *self = Blanks::NEW,
                _ => {
                    if std::mem::take(&mut self.is_due) {
                        buffer[to] = b' ';
                        to += 1;
                    }
                    // A quote opens at a field's beginning, and closes where it is; two in quotes close and open.
                    let was_quoted = self.is_quoted;
                    self.is_quoted ^= byte == b'"' && (was_quoted || self.is_between || self.has_closed);
                    self.has_closed = was_quoted && !self.is_quoted;
                    self.is_between = false;
                }
            }
            buffer[to] = byte;
            to += 1;
        }
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stays of a text that comes in pieces of so many bytes.
    fn taken_out(text: &str, piece: usize) -> String {
        let mut blanks = Blanks::NEW;
        let mut all = Vec::new();
        for piece in text.as_bytes().chunks(piece) {
            let filled = all.len();
            all.push(0);
            all.extend_from_slice(piece);
            let end = all.len();
            let end = blanks.take_out(&mut all, filled + 1, end, filled);
            all.truncate(end);
        }
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn of_blanks_between_fields_one_stays_and_none_at_a_lines_ends_however_bytes_arrive() {
        for (text, stays) in [
            ("a b\n1 2\n", "a b\n1 2\n"),
            ("    x        y\n 0.5   -1e5  \n", "x y\n0.5 -1e5\n"),
            ("1  \"two  words\"   3\n", "1 \"two  words\" 3\n"),
            ("\"a \"\"  b\"  2\n", "\"a \"\"  b\" 2\n"),
            ("5'11\"\"  x\n", "5'11\"\" x\n"),
            ("   \n  a  b", "\na b"),
            ("a  b  \r\n  1 2 \r\n", "a b\r\n1 2\r\n"),
            (" a  b\r  1 2 \r", "a b\r1 2\r"),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(taken_out(text, piece), stays, "{text:?} by {piece}");
            }
        }
    }
}
