//! Rows that stay together. Owns which usual shares of the rows whole groups can make, and the refusal of groups that the data
//! themselves divide; does not know how groups are drawn.

use std::collections::HashMap;

use super::error::{DatasetError, Fault};
use super::split::{Fraction, Split};
use super::{Dataset, TESTED_ROWS_MIN, ValidationSplit};

impl Dataset {
    /// Rows of each group, without those of files that only test; none where no column says so.
    fn group_sizes(&self) -> Option<Vec<usize>> {
        let groups = &self.table.groups.as_ref()?[..self.table.tests_from.unwrap_or(self.rows())];
        let mut sizes = vec![0; groups.iter().max().map_or(0, |&last| last as usize + 1)];
        groups.iter().for_each(|&group| sizes[group as usize] += 1);
        Some(sizes)
    }

    /// Whether groups, if there are any, can make these shares of the rows one after the other, whichever are drawn first.
    pub(super) fn groups_fit(&self, test: Fraction, validation: Fraction) -> bool {
        let Some(sizes) = self.group_sizes() else { return true };
        let rows: usize = sizes.iter().sum();
        let tested = test.of(rows);
        let validated = validation.of(rows - tested);
        // Those that test are no more, so that one of these is left to validate.
        let spare: usize = sizes.iter().filter(|&&size| size <= validated).sum();
        sizes.iter().any(|&size| size <= tested) && spare > tested
    }

    /// This share of the rows, or a larger one, so that the smallest of several groups fits.
    pub(super) fn share_with_a_group(&self, share: Fraction) -> Fraction {
        let sizes = self.group_sizes().filter(|sizes| sizes.len() > 1).unwrap_or_default();
        let (rows, smallest) = (sizes.iter().sum(), sizes.iter().copied().min().unwrap_or(0));
        if smallest <= share.of(rows) { share } else { Fraction::with(smallest, rows).unwrap_or(share) }
    }

    /// Why no rows test where nothing is asked for, though there are as many as usually do.
    pub fn no_usual_test(&self, is_divided: bool) -> Option<String> {
        let is_for_groups =
            self.table.groups.is_some() && self.rows() > TESTED_ROWS_MIN && self.table.tests_from.is_none();
        let is_open = !is_divided && !self.says_which_validate();
        let is_said = is_for_groups && is_open && self.default_test(false).is_none();
        is_said.then(|| {
            "no rows test: with --group, whole groups make no tenth of them; a larger share may (--test 0.3), or a file (--test FILE)"
                .to_owned()
        })
    }

    /// That more rows validate than usually do, where that is so.
    pub fn more_than_usual_validate(&self) -> Option<String> {
        let (usual, split) = (self.usual_share(), self.share_with_a_group(self.usual_share()));
        let is_said = usual != split && !self.says_which_validate();
        let [usual, split] = [usual, split].map(ValidationSplit::Fraction);
        is_said
            .then(|| format!("a share of {split} validates: with --group, no whole group fits the usual one, {usual}"))
    }

    /// That rows without a value in the column of groups are together, where there are some.
    pub fn groups_without_a_value(&self) -> Option<String> {
        let column = &self.roles.columns[self.roles.group?];
        let (rows, have) = (column.missing, if column.missing == 1 { "row has" } else { "rows have" });
        (rows > 0).then(|| {
            format!(
                "{rows} {have} no value in {}, by which --group keeps rows together: those that are written alike there, an empty field or NA, \
                 are one group",
                column.column
            )
        })
    }

    /// Refuses rows of one group on two sides, as files and columns may have them that say which rows validate or test.
    pub(super) fn check_groups(&self, split: &Split) -> Result<(), DatasetError> {
        let (Some(groups), Some(place)) = (&self.table.groups, self.roles.group) else { return Ok(()) };
        let mut seen: HashMap<u32, (u32, &'static str)> = HashMap::new();
        for (rows, side) in [(&split.training, "trains"), (&split.validation, "validates"), (&split.test, "tests")] {
            for &row in rows {
                let (first, of_first) = *seen.entry(groups[row as usize]).or_insert((row, side));
                if of_first != side {
                    let line = |row: u32| self.table.lines.of(row as usize);
                    let file = self.files.get(self.table.file_of(first)).filter(|_| self.table.starts.len() > 1);
                    let of_file = file.map(|file| format!(" of {file}")).unwrap_or_default();
                    let what = format!("this row {side}, and line {}{of_file} {of_first}", line(first));
                    let fault = Fault::DividedGroup { line: line(row), what, column: self.survey.column(place) };
                    return Err(self.error(fault, Some(row)));
                }
            }
        }
        Ok(())
    }
}
