//! What the values of a graph are called: no two the same, whatever the columns are called. Owns that; does not know what the
//! values are.

use std::collections::HashSet;

/// The names that are taken.
pub(super) struct Names {
    taken: HashSet<String>,
    /// Values that were named by the graph, and not by a column.
    values: u64,
}

impl Names {
    /// None are, but these.
    pub(super) fn taken(names: impl IntoIterator<Item = &'static str>) -> Names {
        Names { taken: names.into_iter().map(str::to_owned).collect(), values: 0 }
    }

    /// A column's name; where it is taken, with the column's number behind.
    pub(super) fn of_column(&mut self, name: &str, number: usize) -> String {
        let plain = readable(name);
        if plain.is_empty() || self.taken.contains(&plain) {
            return self.of_input(format!("{plain} (column {number})").trim_start());
        }
        self.of_input(&plain)
    }

    /// The name of something that whoever runs the graph hands in.
    pub(super) fn of_input(&mut self, name: &str) -> String {
        let mut name = readable(name);
        while !self.taken.insert(name.clone()) {
            name.push('\'');
        }
        name
    }

    /// A name for a value inside the graph.
    pub(super) fn of_value(&mut self, what: &str) -> String {
        loop {
            self.values += 1;
            let name = format!("{what} #{}", self.values);
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// A text without NUL, at which runtimes in C end a name.
fn readable(name: &str) -> String {
    name.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_values_have_one_name_whatever_columns_are_called() {
        let mut names = Names::taken(["prediction"]);
        let columns = ["girth", "girth", "girth (column 2)", "prediction", "", "a\0b", "sums #1", "\u{fffd}", "\0"];
        let mut given: Vec<String> =
            columns.iter().enumerate().map(|(place, name)| names.of_column(name, place + 1)).collect();
        let wanted =
            ["girth", "girth (column 2)", "girth (column 2) (column 3)", "prediction (column 4)", "(column 5)"];
        assert_eq!(given[..5], wanted);
        assert_eq!(given[5..], ["a\u{fffd}b", "sums #1", "\u{fffd}", "\u{fffd} (column 9)"]);
        given.extend([names.of_input("girth offset"), names.of_input("girth offset"), names.of_value("sums")]);
        assert_eq!(given.iter().collect::<HashSet<_>>().len(), given.len(), "{given:?}");
    }
}
