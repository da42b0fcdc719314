//! Lines above a table, and between its names and its rows, as spreadsheets have them: a title, a blank line, units. Owns how they are
//! recognised in a file that cannot be used as it is; does not know what else is wrong with files.

use std::io::Read as _;

use super::error::Fault;
use super::refusal::Refusal;
use super::source::Source;
use super::value;

/// Lines above a table, at most.
const LINES_OF_A_TITLE_MAX: u64 = 20;
/// Lines that are looked at, and bytes of them.
const LINES_SEEN: usize = 60;
const BYTES_SEEN: u64 = 1 << 20;
/// Lines of a table, at least, which is none otherwise.
const LINES_OF_A_TABLE_MIN: usize = 3;

const SEPARATORS: [u8; 4] = [b';', b'\t', b',', b'|'];

/// What rows are that alone are refused, in several columns: the names of the columns, where most of those in the header are empty, as a
/// title's line of as many fields leaves them, or where one is empty above a name in the first row; or units and longer names, in the
/// first rows.
pub(super) fn names_or_units(names: Option<&[String]>, first_line: u64, refusals: &[Refusal]) -> Option<Fault> {
    let names = names.filter(|_| refusals.len() > 1)?;
    let rows = refusals.iter().map(|refusal| refusal.rows).min()?;
    let of_fewest = refusals.iter().filter(|refusal| refusal.rows == rows).flat_map(|refusal| &refusal.examples);
    let line = of_fewest.map(|example| example.line).max()?;
    // A title's own lines may be refused in a column, too.
    let is_there = |refusal: &Refusal| {
        let examples = &refusal.examples;
        let are_there = examples.iter().all(|example| example.line <= line && example.file.is_none());
        refusal.is_of_text() && refusal.rows < line && are_there
    };
    if !refusals.iter().all(is_there) {
        return None;
    }
    let empty = names.iter().filter(|name| name.is_empty()).count();
    // The first name may be that of R's and pandas's names of rows.
    let lacks_name = |refusal: &Refusal| refusal.column.number > 1 && refusal.column.name.is_none();
    let is_of_names = 2 * empty > names.len() || (line == first_line && refusals.iter().any(lacks_name));
    if is_of_names && rows == 1 {
        return (line <= LINES_OF_A_TITLE_MAX + 1).then_some(Fault::Titled { line });
    }
    let is_of_first_rows = |refusal: &Refusal| {
        let are_words = refusal.examples.iter().all(|example| value::notations(&example.text).0 == 0);
        are_words && refusal.rows == line - 1 && refusal.examples.len() as u64 == refusal.rows
    };
    (first_line == 2 && refusals.iter().all(is_of_first_rows))
        .then_some(Fault::Units { last: line, columns: refusals.len() })
}

/// The line in which a table begins, where it is not the first one.
pub(super) fn table_below(source: &Source<'_>) -> Option<u64> {
    let (_, input) = source.open().ok()?;
    let mut bytes = Vec::new();
    input.take(BYTES_SEEN).read_to_end(&mut bytes).ok()?;
    // An end of two bytes makes a blank line more, which no file has where it ends lines otherwise.
    let ends: fn(&u8) -> bool = if bytes.contains(&b'\n') { |byte| *byte == b'\n' } else { |byte| *byte == b'\r' };
    let bytes = if bytes.last().is_some_and(ends) { &bytes[..bytes.len() - 1] } else { &bytes[..] };
    below(&bytes.split(ends).take(LINES_SEEN).map(<[u8]>::to_vec).collect::<Vec<_>>())
}

/// The same of the first lines of a file: the first of those that have as many separators as the last, if all from there on have.
fn below(lines: &[Vec<u8>]) -> Option<u64> {
    let is_blank = |line: &Vec<u8>| line.iter().all(u8::is_ascii_whitespace);
    let last = lines.iter().rfind(|line| !is_blank(line))?;
    let separator = *SEPARATORS.iter().max_by_key(|separator| separators(last, **separator))?;
    let width = separators(last, separator);
    let is_of_table = |line: &Vec<u8>| separators(line, separator) == width;
    let first = lines.iter().position(is_of_table)?;
    let are_narrow = lines[..first].iter().all(|line| separators(line, separator) < width);
    let are_of_table = lines[first..].iter().all(|line| is_blank(line) || is_of_table(line));
    let is_table = are_narrow && are_of_table && lines.len() - first >= LINES_OF_A_TABLE_MIN;
    (is_table && (1..=LINES_OF_A_TITLE_MAX).contains(&(first as u64))).then_some(first as u64 + 1)
}

/// Separators of a line outside of quotes.
fn separators(line: &[u8], separator: u8) -> usize {
    let mut is_quoted = false;
    let is_one = |byte: &&u8| {
        is_quoted ^= **byte == b'"';
        **byte == separator && !is_quoted
    };
    line.iter().filter(is_one).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of_table(text: &str) -> Option<u64> {
        below(&text.split('\n').map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_table_below_a_title_begins_with_the_first_line_of_its_width() {
        assert_eq!(line_of_table("Sales, all of them\n\nday;sum\n1;2\n2;3\n"), Some(3));
        assert_eq!(line_of_table("Sales\nNorth\na,b\n1,\"2,5\"\n2,3"), Some(3));
        assert_eq!(line_of_table("a\tb\n\t\n1\t2\n2\t3"), None);
    }

    #[test]
    fn a_file_whose_lines_differ_elsewhere_has_no_title() {
        assert_eq!(line_of_table("day;sum\n1;2\n2;3\n\n"), None);
        assert_eq!(line_of_table("a,b\n1,2\n1,2,3\n1,2\n1,2"), None);
        assert_eq!(line_of_table("Sales, all of them\n\nday,sum\n1,2\n2,3"), None);
        assert_eq!(line_of_table("a,b\n1,2\nsource: me"), None);
        assert_eq!(line_of_table("a,b,c,d,e\n1,2,3\n4,5,6\n7,8,9"), None);
        assert_eq!(line_of_table(""), None);
        let late = "note\n".repeat(21) + "a,b\n1,2\n2,3";
        assert_eq!(line_of_table(&late), None);
    }
}
