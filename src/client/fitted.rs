//! What was decided of a data file, as narrow as the terminal. Owns where its lines end; does not know what they say.

use crate::cli;

/// Columns that the last one of the table needs for its sentences to go on within it; else they go on below their row.
const LAST_MIN: usize = 30;
/// Where sentences go on below: beyond a column's number, and beyond a sentence of the file.
const BELOW_ROW: usize = 10;
const BELOW_SENTENCE: usize = 2;

/// What was decided of a file, in lines of at most `columns`: the table's last column holds sentences.
pub(super) fn fitted(lines: Vec<String>, columns: usize) -> Vec<String> {
    // Where the last column begins, as long as lines are the table's.
    let mut last = None;
    let fit = |line: String| {
        if line.starts_with("  COLUMN ") {
            last = line.rfind(' ').map(|at| at + 1);
        } else if !line.starts_with("  ") {
            last = None;
        }
        if line.chars().count() <= columns {
            return line;
        }
        let Some(place) = last else {
            let start = line.len() - line.trim_start().len();
            let mut text = line[..start].to_owned();
            cli::wrap(&mut text, start, start + BELOW_SENTENCE, columns, &line[start..]);
            return text;
        };
        let at = line.char_indices().nth(place).map_or(line.len(), |(at, _)| at);
        let mut text = line[..at].to_owned();
        if place + LAST_MIN <= columns {
            cli::wrap(&mut text, place, place, columns, &line[at..]);
        } else {
            text.truncate(text.trim_end().len());
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', BELOW_ROW));
            cli::wrap(&mut text, BELOW_ROW, BELOW_ROW, columns, &line[at..]);
        }
        text
    };
    lines.into_iter().map(fit).collect()
}

#[cfg(test)]
mod tests {
    fn fitted(columns: usize) -> String {
        let lines = [
            "x.csv: 4 rows read + 0 refused = 4 lines; no header",
            "  COLUMN  NAME   BECOMES",
            "       1  größe  a number by quartiles and whether it is missing",
            "       2  b      3 classes",
            "b: 2 rows count as missing, and more words",
        ];
        super::fitted(lines.map(str::to_owned).to_vec(), columns).join("\n")
    }

    #[test]
    fn sentences_of_a_table_go_on_in_its_last_column_or_below_their_row_where_that_is_narrow() {
        let wide = fitted(47);
        let expected = "x.csv: 4 rows read + 0 refused = 4 lines; no\n  header\n  COLUMN  NAME   BECOMES\n       1  größe  a number by quartiles and\n\
            \u{20}                whether it is missing\n       2  b      3 classes\nb: 2 rows count as missing, and more words";
        assert_eq!(wide, expected);
        let narrow = fitted(36);
        assert!(
            narrow
                .contains("\n       1  größe\n          a number by quartiles and\n          whether it is missing\n"),
            "{narrow}"
        );
        for columns in [30, 36, 47] {
            let text = fitted(columns);
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}: {text}");
        }
        assert_eq!(fitted(200).lines().count(), 5);
    }
}
