//! Columns that line up for people and split on white space for scripts.

use std::fmt;

use super::shown::misleads;

/// On which side a column's cells stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table: a line of titles, and a line for each row.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    /// One after the other, each as long as `columns`.
    cells: Vec<String>,
}

impl Table {
    /// A table with these titles, at least one.
    pub fn new(columns: &[(&'static str, Align)]) -> Table {
        Table { columns: columns.to_vec(), cells: Vec::new() }
    }

    /// Adds a row: a cell for each column. A cell is one word, and `-` where it would be none; the last one may be a
    /// sentence. Other white space, and what may not be shown as it is, becomes `_`.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.add(cells.into());
    }

    fn add(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        let last = cells.len() - 1;
        for (column, mut cell) in cells.into_iter().enumerate() {
            let is_taken_out = |c: char| misleads(c) || column != last && c.is_whitespace();
            if cell.contains(is_taken_out) {
                cell = cell.chars().map(|c| if is_taken_out(c) { '_' } else { c }).collect();
            } else if cell.trim().is_empty() {
                "-".clone_into(&mut cell);
            }
            self.cells.push(cell);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.columns.len();
        let mut widths: Vec<usize> = self.columns.iter().map(|(title, _)| title.len()).collect();
        for (index, cell) in self.cells.iter().enumerate() {
            widths[index % count] = widths[index % count].max(cell.chars().count());
        }
        let titles = self.columns.iter().map(|(title, _)| *title);
        for (index, cell) in titles.chain(self.cells.iter().map(String::as_str)).enumerate() {
            let column = index % count;
            let is_last = column + 1 == count;
            let room = widths[column].saturating_sub(cell.chars().count());
            // Nothing stands behind the last word of a line.
            let (before, behind) = match self.columns[column].1 {
                Align::Right => (room, 0),
                Align::Left => (0, if is_last { 0 } else { room }),
            };
            let gap = if is_last { "\n" } else { "  " };
            write!(f, "{:before$}{cell}{:behind$}{gap}", "", "")?;
        }
        Ok(())
    }
}

/// What a cell with a number holds. A call, where there are many such.
#[inline(never)]
pub fn number(value: u64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_every_line_has_as_many_words() {
        let mut table = Table::new(&[("NODE", Align::Left), ("TASKS", Align::Right), ("WHY", Align::Left)]);
        table.row(["node a\n".to_owned(), "7".to_owned(), "it hung up".to_owned()]);
        table.row([String::new(), "1234567".to_owned(), "\u{1b}x".to_owned()]);
        assert_eq!(table.to_string(), "NODE       TASKS  WHY\nnode_a_        7  it hung up\n-        1234567  _x\n");
    }

    #[test]
    fn no_cell_turns_the_direction_of_writing_or_is_only_spaces() {
        let mut table = Table::new(&[("NODE", Align::Left), ("WHY", Align::Left)]);
        table.row(["a\u{202e}b".to_owned(), "it\u{61c} left\u{2028}".to_owned()]);
        table.row(["\u{3000}".to_owned(), " \u{3000}".to_owned()]);
        assert_eq!(table.to_string(), "NODE  WHY\na_b   it_ left_\n_     -\n");
    }
}
