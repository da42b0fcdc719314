//! Columns that tell the label by themselves: each of their values stands beside one class alone, or they lie on a straight line with the
//! number to be fitted. Such a column may well be the label in other words, which nobody has when it is to be told. Owns the rule;
//! does not know what is said of it.

use std::collections::HashMap;

use super::cells::{Cells, Column};
use super::error::Fault;
use super::target::TargetColumn;

/// Rows in which that is no chance, at least.
const ROWS_MIN: usize = 20;
/// The same for each different value of a column.
const ROWS_OF_VALUE_MIN: usize = 5;
/// Different values of a column that tell classes, at most.
const VALUES_MAX: usize = 256;
/// What is left of the variation around a straight line, at most: prices before tax and with it are rounded, temperatures in two
/// scales, too.
const VARIATION_LEFT_MAX: f64 = 1e-4;
/// Rows after which a column that lies on no line is left.
const ROWS_OF_LINE: usize = 1_000;

/// Which of these columns tell the label of each row, by their places. The first values are not the rows'.
pub(super) fn leaks(features: &[(usize, Column)], lead: usize, target: &TargetColumn) -> Result<Vec<usize>, Fault> {
    let mut found = Vec::new();
    for (place, column) in features {
        let tells = match target {
            TargetColumn::Classes(classes) => tells_classes(column, lead, &classes.labels)?,
            TargetColumn::Values { values, outputs: 1 } => lies_on_a_line(column, lead, values)?,
            TargetColumn::Values { .. } => false,
        };
        if tells {
            found.push(*place);
        }
    }
    Ok(found)
}

/// Looks at a column's rows one after the other, as long as `look` goes on: whether it did to the end.
fn each_row(column: &Column, lead: usize, mut look: impl FnMut(&Cells, usize, usize) -> bool) -> Result<bool, Fault> {
    let (mut read, mut before) = (Cells::default(), 0);
    for piece in 0..column.pieces() {
        let cells = column.piece(piece, &mut read)?;
        for value in lead.saturating_sub(before)..cells.len() {
            if !look(cells, value, before + value - lead) {
                return Ok(false);
            }
        }
        before += cells.len();
    }
    Ok(true)
}

/// Whether each value stands beside one class alone, and often enough.
fn tells_classes(column: &Column, lead: usize, labels: &[u32]) -> Result<bool, Fault> {
    // A missing value is one like others.
    let mut classes: HashMap<Option<u64>, u32> = HashMap::new();
    let goes_on = each_row(column, lead, |cells, value, row| {
        let key = cells.code(value).map(u64::from).or_else(|| Some((cells.number(value)? + 0.0).to_bits()));
        *classes.entry(key).or_insert(labels[row]) == labels[row] && classes.len() <= VALUES_MAX
    })?;
    Ok(goes_on && labels.len() >= ROWS_MIN.max(ROWS_OF_VALUE_MIN * classes.len()))
}

/// Whether the column's numbers lie on a straight line with those to be fitted, none missing.
fn lies_on_a_line(column: &Column, lead: usize, targets: &[f64]) -> Result<bool, Fault> {
    let mut line = Line::default();
    let goes_on = each_row(column, lead, |cells, value, row| match cells.number(value) {
        Some(number) => {
            line.take(number, targets[row]);
            !line.rows.is_multiple_of(ROWS_OF_LINE) || line.is_one()
        }
        None => false,
    })?;
    Ok(goes_on && line.rows >= ROWS_MIN && line.is_one())
}

/// Sums over pairs of numbers, of their distances from the first pair.
#[derive(Default)]
struct Line {
    first: Option<(f64, f64)>,
    rows: usize,
    sums: (f64, f64),
    squares: (f64, f64),
    products: f64,
}

impl Line {
    fn take(&mut self, x: f64, y: f64) {
        let first = *self.first.get_or_insert((x, y));
        let (x, y) = (x - first.0, y - first.1);
        self.rows += 1;
        self.sums = (self.sums.0 + x, self.sums.1 + y);
        self.squares = (self.squares.0 + x * x, self.squares.1 + y * y);
        self.products += x * y;
    }

    /// Whether the pairs so far lie on a line that is neither level nor upright.
    fn is_one(&self) -> bool {
        let (rows, (x, y)) = (self.rows as f64, self.sums);
        let of_x = self.squares.0 - x * x / rows;
        let of_y = self.squares.1 - y * y / rows;
        let together = self.products - x * y / rows;
        together * together >= (1.0 - VARIATION_LEFT_MAX) * of_x * of_y && of_x > 0.0 && of_y > 0.0
    }
}
