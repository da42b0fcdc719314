//! Columns that line up for people and split on white space for scripts.

use std::fmt;

use super::misleads;

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
pub struct Table<const N: usize> {
    columns: [(&'static str, Align); N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these titles.
    pub fn new(columns: &[(&'static str, Align); N]) -> Table<N> {
        Table { columns: *columns, rows: Vec::new() }
    }

    /// Adds a row. A cell is one word, and `-` where it would be none; the last one may be a sentence. Other white space,
    /// and what may not be shown as it is, becomes `_`.
    pub fn row(&mut self, mut cells: [String; N]) {
        for (index, cell) in cells.iter_mut().enumerate() {
            let is_last = index + 1 == N;
            let is_hidden = |c: char| misleads(c) || !is_last && c.is_whitespace();
            if cell.contains(is_hidden) {
                *cell = cell.chars().map(|c| if is_hidden(c) { '_' } else { c }).collect();
            } else if cell.trim().is_empty() {
                "-".clone_into(cell);
            }
        }
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        cells.fold(self.columns[column].0.len(), usize::max)
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: [usize; N] = std::array::from_fn(|column| self.width(column));
        let mut line = |cells: [&str; N]| {
            for (column, cell) in cells.into_iter().enumerate() {
                let width = widths[column];
                let gap = if column == 0 { "" } else { "  " };
                match self.columns[column].1 {
                    Align::Right => write!(f, "{gap}{cell:>width$}")?,
                    // Nothing stands behind the last word of a line.
                    Align::Left if column + 1 == N => write!(f, "{gap}{cell}")?,
                    Align::Left => write!(f, "{gap}{cell:width$}")?,
                }
            }
            f.write_str("\n")
        };
        line(self.columns.map(|(title, _)| title))?;
        self.rows.iter().try_for_each(|row| line(std::array::from_fn(|column| row[column].as_str())))
    }
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
