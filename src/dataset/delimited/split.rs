//! From bytes to the fields of records. Owns what ends a field and a record, and what quotes do; does not know where the bytes
//! come from.

use memchr::memchr;

use super::marks::{BLOCK, Marks};
use super::record::{Row, Span};

/// Blanks in front of a field's quotes, at most; more are text, so that no quote makes anybody look at very many.
const BLANKS_MAX: usize = 64;

/// Records that have been told apart.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) rows: Vec<Row>,
    /// Their fields, some that belong to none, and room behind.
    pub(super) fields: Vec<Span>,
    /// Whether the fields of all records lie one behind the other, as many of each.
    pub(super) are_alike: bool,
    /// The fields of the record in hand in which something stands beside or inside the quotes that is to be put in order.
    unordered: Vec<usize>,
}

/// Where in a field the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// Outside quotes.
    Plain,
    /// Inside the quotes that began the field.
    Quotes,
    /// Behind them.
    Behind,
}

/// A block whose every quote stands before or behind a whole field, none of which has quotes or line ends inside: what most are.
struct Regular {
    /// Bytes that are outside quotes.
    outside: u64,
    /// Where the byte behind the block stands.
    inside: Inside,
}

impl Regular {
    /// Of a block with these marks, if it is one. Whether a field begins with the block, or its quotes closed right before it; and
    /// whether the byte behind the block ends one.
    fn of(marks: Marks, inside: Inside, begins: bool, ends_next: bool) -> Option<Regular> {
        // From each quote to the next one.
        let mut within = marks.quotes;
        for shift in [1, 2, 4, 8, 16, 32] {
            within ^= within << shift;
        }
        if inside == Inside::Quotes {
            within = !within;
        }
        let ends = (marks.separators | marks.newlines) & !within;
        let (opening, closing) = (marks.quotes & within, marks.quotes & !within);
        let may_open = ends << 1 | u64::from(begins && inside == Inside::Plain);
        let may_close = ends >> 1 | u64::from(ends_next) << (BLOCK - 1);
        let is_behind = inside == Inside::Behind && (!begins || ends & 1 == 0);
        if opening & !may_open != 0 || closing & !may_close != 0 || marks.newlines & within != 0 || is_behind {
            return None;
        }
        let last = 1 << (BLOCK - 1);
        let inside = match (within & last != 0, closing & last != 0) {
            (true, _) => Inside::Quotes,
            (_, true) => Inside::Behind,
            _ => Inside::Plain,
        };
        Some(Regular { outside: !within, inside })
    }
}

impl Split {
    /// Tells the records of a text apart that begin at `next` and end before `filled`, behind which there is padding: those before it
    /// are forgotten. `line` is the line of the first record and then that behind the last one; gives where that ends.
    pub(super) fn tell_apart(
        &mut self,
        text: &mut [u8],
        separator: u8,
        mut next: usize,
        filled: usize,
        line: &mut u64,
    ) -> usize {
        self.rows.clear();
        self.unordered.clear();
        self.are_alike = true;
        let mut count = 0;
        let mut row = Row { first: 0, end: 0, line: *line };
        // Of the record in hand: line ends inside quotes; of its field: where it begins, and where quotes closed.
        let (mut lines, mut start, mut closed, mut is_plain) = (0, next, next, true);
        let mut inside = Inside::Plain;
        let mut doubled = usize::MAX;
        let mut block = next;
        'blocks: while block < filled {
            let Some(bytes) = text[block..].first_chunk() else { break };
            let mut marks = Marks::find(bytes, separator).of_first(filled - block);
            if separator == b'"' {
                marks.quotes = 0;
            }
            if self.fields.len() < count + BLOCK {
                self.fields.resize((2 * count).max(64 * BLOCK), (0, 0));
            }
            if marks.quotes == 0 && inside == Inside::Quotes {
                lines += u64::from(marks.newlines.count_ones());
                block += BLOCK;
                continue;
            }
            let regular = match inside {
                Inside::Plain if marks.quotes == 0 => Some(Regular { outside: u64::MAX, inside }),
                _ if is_plain || inside == Inside::Plain => {
                    let ends_next = block + BLOCK < filled
                        && matches!(text[block + BLOCK], byte if byte == separator || byte == b'\n');
                    let begins = if inside == Inside::Behind { closed + 1 == block } else { start == block };
                    Regular::of(marks, inside, begins, ends_next)
                }
                _ => None,
            };
            if let Some(regular) = regular {
                let all = (marks.separators | marks.newlines) & regular.outside;
                let Some(fields) = self.fields[count..].first_chunk_mut::<BLOCK>() else { break };
                let (mut ends, mut newlines, mut found) = (all, marks.newlines, 0);
                if marks.quotes == 0 && inside == Inside::Plain {
                    while ends != 0 {
                        let at = block + ends.trailing_zeros() as usize;
                        fields[found % BLOCK] = (start as u32, at as u32);
                        found += 1;
                        start = at + 1;
                        ends &= ends - 1;
                    }
                } else {
                    while ends != 0 {
                        let at = block + ends.trailing_zeros() as usize;
                        let quote = usize::from(text[start] == b'"');
                        fields[found % BLOCK] = ((start + quote) as u32, (at - quote) as u32);
                        found += 1;
                        start = at + 1;
                        ends &= ends - 1;
                    }
                    if regular.inside == Inside::Behind {
                        closed = block + BLOCK - 1;
                    }
                    (inside, is_plain) = (regular.inside, true);
                }
                while newlines != 0 {
                    let before = (newlines & newlines.wrapping_neg()) - 1;
                    row.end = (count + (all & before).count_ones() as usize + 1) as u32;
                    next = block + newlines.trailing_zeros() as usize + 1;
                    row = self.end(text, row, lines);
                    lines = 0;
                    newlines &= newlines - 1;
                }
                count += found;
                block += BLOCK;
                continue;
            }
            let all = marks.separators | marks.newlines;
            let mut bits = all | marks.quotes;
            while bits != 0 {
                let place = bits.trailing_zeros();
                let at = block + place as usize;
                let (is_quote, is_newline) = (marks.quotes >> place & 1 == 1, marks.newlines >> place & 1 == 1);
                bits &= bits - 1;
                match inside {
                    // Elsewhere than in front of a field, where blanks may stand before it, a quote is a byte like others.
                    Inside::Plain if is_quote => {
                        let are_blanks = |before: &[u8]| before.iter().all(|byte| matches!(byte, b' ' | b'\t'));
                        if at - start <= BLANKS_MAX && are_blanks(&text[start..at]) {
                            (inside, is_plain, start) = (Inside::Quotes, true, at);
                        }
                        continue;
                    }
                    Inside::Plain => self.fields[count] = (start as u32, at as u32),
                    Inside::Quotes if is_quote => {
                        if at == doubled {
                            continue;
                        }
                        // Whether it is one of two, nobody can tell before the next has come.
                        if at + 1 == filled {
                            break 'blocks;
                        }
                        if text[at + 1] == b'"' {
                            (doubled, is_plain) = (at + 1, false);
                        } else {
                            (inside, closed) = (Inside::Behind, at);
                        }
                        continue;
                    }
                    Inside::Quotes => {
                        lines += u64::from(is_newline);
                        continue;
                    }
                    Inside::Behind if is_quote => continue,
                    Inside::Behind => {
                        inside = Inside::Plain;
                        if is_plain && at == closed + 1 {
                            self.fields[count] = (start as u32 + 1, closed as u32);
                        } else {
                            self.unordered.push(count);
                            self.fields[count] = (start as u32, at as u32);
                        }
                    }
                }
                count += 1;
                start = at + 1;
                if is_newline {
                    row.end = count as u32;
                    next = start;
                    row = self.end(text, row, lines);
                    lines = 0;
                }
            }
            block += BLOCK;
        }
        *line = row.line;
        next
    }

    /// Takes a record in, unless it is blank, which a field in quotes is not, and gives where the next one begins.
    #[inline]
    fn end(&mut self, text: &mut [u8], row: Row, lines_inside: u64) -> Row {
        if !self.unordered.is_empty() {
            self.put_in_order(text);
        }
        let is_blank = row.end == row.first + 1 && {
            let (start, end) = self.fields[row.first as usize];
            let is_quoted = start > 0 && text[start as usize - 1] == b'"';
            !is_quoted && text[start as usize..end as usize].trim_ascii().is_empty()
        };
        if !is_blank {
            if let Some(last) = self.rows.last() {
                self.are_alike &= row.first == last.end && row.end - row.first == last.end - last.first;
            }
            self.rows.push(row);
        }
        Row { first: row.end, end: row.end, line: row.line + 1 + lines_inside }
    }

    /// Takes the quotes out of fields in which they stand otherwise than around everything: each two inside are one, and what
    /// stands behind the last one belongs to the field.
    fn put_in_order(&mut self, text: &mut [u8]) {
        for place in self.unordered.drain(..) {
            let (start, end) = self.fields[place];
            // Up to the first quote behind that in front, all stays where it is.
            let start = start as usize + 1;
            let mut at = start + memchr(b'"', &text[start..end as usize]).unwrap_or(end as usize - start);
            let mut to = at;
            let mut is_quoted = true;
            while at < end as usize {
                let byte = text[at];
                at += 1;
                if is_quoted && byte == b'"' {
                    if at == end as usize || text[at] != b'"' {
                        is_quoted = false;
                        continue;
                    }
                    at += 1;
                }
                text[to] = byte;
                to += 1;
            }
            self.fields[place] = (start as u32, to as u32);
        }
    }
}
