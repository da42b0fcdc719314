//! Lines above a table, and between its names and its rows, as spreadsheets have them: a title, a blank line, units. Owns how they are
//! recognised in a file that cannot be used as it is; does not know what else is wrong with files.

use std::io::Read as _;

use super::error::{DatasetError, Fault};
use super::files::Part;
use super::options::ReadOptions;
use super::refusal::{Example, Refusal};
use super::roles::Roles;
use super::source::Source;
use super::survey::Survey;
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
    if refusals.len() < 2 {
        return None;
    }
    let Some(names) = names else {
        // Lines in front of it have been dropped, for want of a label.
        let is_first = |refusal: &Refusal| {
            let is_there = |example: &Example| {
                example.file.is_none() && example.line == first_line && value::notations(&example.text).0 == 0
            };
            refusal.is_of_text() && refusal.rows == 1 && refusal.examples.iter().all(is_there)
        };
        let is_below = (2..=LINES_OF_A_TITLE_MAX + 1).contains(&first_line) && refusals.iter().all(is_first);
        return is_below.then_some(Fault::Titled { line: first_line });
    };
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
    below(&first_lines(source)?)
}

/// The first lines of a file.
fn first_lines(source: &Source<'_>) -> Option<Vec<Vec<u8>>> {
    let (_, input) = source.open().ok()?;
    let mut bytes = Vec::new();
    input.take(BYTES_SEEN).read_to_end(&mut bytes).ok()?;
    // An end of two bytes makes a blank line more, which no file has where it ends lines otherwise.
    let ends: fn(&u8) -> bool = if bytes.contains(&b'\n') { |byte| *byte == b'\n' } else { |byte| *byte == b'\r' };
    let bytes = if bytes.last().is_some_and(ends) { &bytes[..bytes.len() - 1] } else { &bytes[..] };
    Some(bytes.split(ends).take(LINES_SEEN).map(<[u8]>::to_vec).collect())
}

/// What is wrong with a table, where the first lines may be other ones than they are taken for.
pub(super) fn explained(
    error: DatasetError,
    parts: &[Part<'_>],
    survey: &Survey,
    roles: &Roles,
    options: &ReadOptions,
) -> DatasetError {
    let is_guess = survey.names.is_none() && options.header.is_none();
    // A label that stands in the first line alone, and what else is wrong where it is a close call.
    let is_alone = roles.labels.first().is_some_and(|&label| survey.tallies[label].present == 1);
    let is_header = |refusal: &Refusal| refusal.may_be_header;
    let fault = match error.fault {
        Fault::Units { last: 2, columns } => {
            let names =
                parts.first().and_then(|first| split_names(survey.names.as_deref(), survey.separator, &first.source));
            names.unwrap_or(Fault::Units { last: 2, columns })
        }
        Fault::Refused { refusals } if refusals.iter().any(is_header) => Fault::Refused { refusals },
        fault @ (Fault::OneClass { .. }
        | Fault::OneTarget { .. }
        | Fault::EveryLabelDiffers { .. }
        | Fault::Refused { .. })
            if is_guess && (is_alone || survey.close.is_some()) =>
        {
            Fault::PerhapsHeader { fault: Box::new(fault) }
        }
        fault => fault,
    };
    DatasetError { fault, ..error }
}

/// What a second line of names is where the first one does not name the columns without it: a part of their names, with a third line
/// that names the first columns alone, or below names of which some are the same.
fn split_names(names: Option<&[String]>, separator: Option<u8>, source: &Source<'_>) -> Option<Fault> {
    let (names, separator) = (names?, separator?);
    let third = first_lines(source)?.into_iter().nth(2)?;
    let fields: Vec<&[u8]> = third.split(|byte| *byte == separator).map(<[u8]>::trim_ascii).collect();
    let named = fields.iter().take_while(|field| !field.is_empty()).count();
    let is_third = (1..names.len()).contains(&named)
        && fields.len() == names.len()
        && fields[named..].iter().all(|field| field.is_empty());
    let mut distinct: Vec<&String> = names.iter().filter(|name| !name.is_empty()).collect();
    let all = distinct.len();
    distinct.sort_unstable();
    distinct.dedup();
    match is_third {
        true => Some(Fault::SplitNames { lines: 3, separator }),
        false => (distinct.len() < all).then_some(Fault::SplitNames { lines: 2, separator }),
    }
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
