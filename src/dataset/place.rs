//! Where something stands in a file, and how a sentence shows what stands there. Owns the words for columns, fields and
//! somebody's text; does not know what is said of them.

use std::collections::HashMap;
use std::fmt;

/// Characters of somebody's text that a sentence quotes, at most.
const QUOTED_CHARACTERS_MAX: usize = 40;

/// A column by its number, counted from 1, and its name where the file has a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Counted from 1.
    pub number: usize,
    /// What the header calls it.
    pub name: Option<String>,
}

impl Column {
    /// How an option names it: a name that is a column's number as well, or would need quotes, by its number.
    pub fn as_word(&self) -> String {
        let is_word = |name: &&String| {
            name.parse::<usize>().is_err() && name.chars().all(|c| c.is_alphanumeric() || "._-".contains(c))
        };
        self.name.as_ref().filter(is_word).cloned().unwrap_or_else(|| self.number.to_string())
    }
}

/// A field's place. Lines count from 1 and include blank ones; a record of several lines counts by its first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldLocation {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: Column,
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}", self.number)?;
        match &self.name {
            Some(name) => write!(f, " ({})", Quoted(name)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FieldLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, {}", self.line, self.column)
    }
}

/// Where names stand among others, of which there may be tens of thousands. Of equal names, the first is the first.
pub(super) struct Places<'a>(HashMap<&'a str, Vec<usize>>);

impl<'a> Places<'a> {
    pub(super) fn of(names: &'a [String]) -> Places<'a> {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(names.len());
        names.iter().enumerate().rev().for_each(|(place, name)| places.entry(name).or_default().push(place));
        Places(places)
    }

    /// The next place of this name, each of which is told once.
    pub(super) fn next(&mut self, name: &str) -> Option<usize> {
        self.0.get_mut(name)?.pop()
    }
}

/// Text from a file as a sentence shows it: in quotes, escaped, and cut where it is long.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(QUOTED_CHARACTERS_MAX) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// A word as a shell takes it.
pub(crate) fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The first of some things with commas between, and how many more there are.
pub(super) fn listed<T: fmt::Display>(things: impl ExactSizeIterator<Item = T>, shown_max: usize) -> String {
    let more = things.len().saturating_sub(shown_max);
    let shown: Vec<String> = things.take(shown_max).map(|thing| thing.to_string()).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_have_their_places_in_order() {
        let names = ["a", "b", "a", ""].map(str::to_owned);
        let mut places = Places::of(&names);
        assert_eq!(
            ["a", "", "a", "a", "b", "c"].map(|name| places.next(name)),
            [Some(0), Some(3), Some(2), None, Some(1), None]
        );
    }

    #[test]
    fn words_are_quoted_as_a_shell_needs_it() {
        assert_eq!(for_shell("last:0.1"), "last:0.1");
        assert_eq!(for_shell("my data.csv"), "'my data.csv'");
        assert_eq!(for_shell("it's"), "'it'\\''s'");
        assert_eq!((for_shell(""), for_shell("$HOME")), ("''".to_owned(), "'$HOME'".to_owned()));
    }
}
