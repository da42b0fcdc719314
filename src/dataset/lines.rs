//! On which line of its file each row begins. Owns how little memory that takes; does not know what is in the rows.

/// The line on which each row begins. Most rows follow the one before: only those that do not are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines {
    /// (row, its line), for each row that does not begin on the line after the previous row's.
    jumps: Vec<(usize, u64)>,
    /// Where the next row begins that is none of them.
    expected: u64,
}

impl Lines {
    /// Notes that `row`, the next one, begins on `line`.
    #[inline]
    pub(super) fn push(&mut self, row: usize, line: u64) {
        if self.jumps.is_empty() || line != self.expected {
            self.jumps.push((row, line));
        }
        self.expected = line + 1;
    }

    /// Notes that from this row on, the next one, there are as many rows of another file, of which there is one at least.
    pub(super) fn append(&mut self, first: usize, lines: &Lines) {
        for &(row, line) in &lines.jumps {
            if self.jumps.is_empty() || self.of(first + row) != line {
                self.jumps.push((first + row, line));
            }
        }
        self.expected = lines.expected;
    }

    /// The line of a row.
    pub(super) fn of(&self, row: usize) -> u64 {
        let after = self.jumps.partition_point(|&(first, _)| first <= row);
        let (first, line) = after.checked_sub(1).map_or((0, 1), |last| self.jumps[last]);
        line + (row - first) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_the_line_that_was_noted_of_it() {
        let of = |noted: &[u64]| {
            let mut lines = Lines::default();
            noted.iter().enumerate().for_each(|(row, &line)| lines.push(row, line));
            lines
        };
        let (first, second) = ([2, 3, 4, 7, 8, 20], [2, 3, 9]);
        let mut lines = of(&first);
        let told: Vec<u64> = (0..first.len()).map(|row| lines.of(row)).collect();
        assert_eq!(told, first);
        assert_eq!(lines.jumps.len(), 3);
        lines.append(first.len(), &of(&second));
        lines.push(9, 10);
        let told: Vec<u64> = (0..10).map(|row| lines.of(row)).collect();
        assert_eq!(told, [&first[..], &second, &[10]].concat());
    }
}
