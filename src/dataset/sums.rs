//! Rows that may be sums of others, as spreadsheets have them below a table and among its rows. Owns what they are called, how many
//! there may be, and what is said of them; does not know what becomes of rows.

use super::delimited::Records;
use super::error::Fault;
use super::options::ReadOptions;
use super::place::{Quoted, for_shell, listed};
use super::roles::{PlannedColumn, Role};
use super::source::Source;
use super::survey::{Limits, Survey};

/// Rows to each line of sums, at least.
const ROWS_TO_EACH_MIN: u64 = 10;
/// Lines that a sentence names.
const LINES_SHOWN: usize = 20;

/// Texts of a column that sums are called by, and the lines where they stand.
struct Found<'a> {
    column: &'a PlannedColumn,
    texts: Vec<&'a str>,
    rows: u64,
}

/// The rows that may be sums, and the command that leaves them out of the first file.
pub(super) fn hint(
    columns: &[PlannedColumn],
    survey: &Survey,
    first: &Source<'_>,
    options: &ReadOptions,
    limits: &Limits,
) -> Result<Option<String>, Fault> {
    let mut found = Vec::new();
    for (column, tally) in columns.iter().zip(&survey.tallies).filter(|(column, _)| column.role != Role::Label) {
        let (texts, times): (Vec<&str>, Vec<u64>) = tally.sums().unzip();
        let rows = times.iter().sum();
        if rows > 0 && ROWS_TO_EACH_MIN * rows <= survey.rows {
            found.push(Found { column, texts, rows });
        }
    }
    if found.is_empty() {
        return Ok(None);
    }
    let lines = lines(&found, survey, first, options, limits)?;
    let of_lines: Vec<String> = lines
        .iter()
        .take(LINES_SHOWN)
        .map(|(line, column, text)| format!("{} in line {line} of {}", Quoted(text), column.column))
        .collect();
    let rows: u64 = found.iter().map(|found| found.rows).sum();
    let shown = listed(of_lines.iter(), LINES_SHOWN);
    let more = rows.saturating_sub(of_lines.len() as u64);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let mut numbers: Vec<u64> = lines.iter().map(|(line, ..)| *line).collect();
    numbers.dedup();
    let command = if (lines.len() as u64) < rows || lines.len() > LINES_SHOWN {
        "leave them out".to_owned()
    } else {
        let script: Vec<String> = numbers.iter().map(|line| format!("{line}d")).collect();
        let them = if numbers.len() == 1 { "it" } else { "them" };
        format!("leave {them} out (sed {} FILE > table.csv)", for_shell(&script.join(";")))
    };
    let what = if rows == 1 { "if that is a sum of other rows" } else { "if those are sums of other rows" };
    let [train, a_row] = if rows == 1 { ["it trains and judges", "a row"] } else { ["they train and judge", "rows"] };
    Ok(Some(format!("{shown}{more}: {what}, {command}, or {train} as {a_row} like the others")))
}

/// The lines of the first file in which the texts stand, in order, but for more than are shown.
fn lines<'a>(
    found: &[Found<'a>],
    survey: &Survey,
    first: &Source<'_>,
    options: &ReadOptions,
    limits: &Limits,
) -> Result<Vec<(u64, &'a PlannedColumn, &'a str)>, Fault> {
    let (_, input) = first.open()?;
    let mut records = Records::open(input, options.separator.map(|separator| separator.0), limits.record_bytes)?;
    if survey.names.is_some() {
        records.advance()?;
    }
    let mut lines = Vec::new();
    while let Some(block) = records.block()? {
        for (row, record) in block.records() {
            for Found { column, texts, .. } in found {
                let place = column.column.number - 1;
                if place >= record.len() {
                    return Err(Fault::Changed);
                }
                let text = std::str::from_utf8(record.text(place).bytes()).unwrap_or_default().trim();
                if let Some(text) = texts.iter().find(|sum| **sum == text) {
                    lines.push((block.line(row), *column, *text));
                }
            }
            if lines.len() > LINES_SHOWN {
                return Ok(lines);
            }
        }
    }
    Ok(lines)
}
