//! Values that a column cannot take: how many, which, and what would take them. Owns the summary of a column and its sentence;
//! does not know how a column got its kind.

use std::fmt;

use serde_json::{Value, json};

use super::date;
use super::place::{Column, Quoted, for_shell};
use super::value;

/// Fields that a summary shows.
const EXAMPLES_MAX: usize = 2;

/// Why values are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// Text among numbers.
    NotANumber,
    /// Infinities, and numbers beyond any measure.
    NotFinite,
    /// Text among dates.
    NotADate,
    /// Text among true and false.
    NotABoolean,
    /// No value, where the user wants none missing.
    Missing,
    /// No label, where the user wants none missing.
    NoLabel,
    /// Neither validating nor training.
    NoSide,
}

impl Cause {
    /// Its name in JSON.
    fn name(self) -> &'static str {
        match self {
            Cause::NotUtf8 => "not_utf8",
            Cause::NotANumber => "not_a_number",
            Cause::NotFinite => "not_finite",
            Cause::NotADate => "not_a_date",
            Cause::NotABoolean => "not_a_boolean",
            Cause::Missing => "missing",
            Cause::NoLabel => "no_label",
            Cause::NoSide => "no_side",
        }
    }
}

/// A field that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its line.
    pub line: u64,
    /// The file, where it is not the first of several.
    pub file: Option<String>,
    /// What stands there.
    pub text: String,
}

/// What is refused of a column, for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The column.
    pub column: Column,
    /// Why.
    pub cause: Cause,
    /// Rows that are refused.
    pub rows: u64,
    /// Rows that were read.
    pub of: u64,
    /// The first of them.
    pub examples: Vec<Example>,
    /// Whether it is the label's column.
    pub is_label: bool,
}

impl Refusal {
    /// Of no rows yet.
    pub(super) fn new(column: Column, cause: Cause, is_label: bool) -> Refusal {
        Refusal { column, cause, rows: 0, of: 0, examples: Vec::new(), is_label }
    }

    /// Takes a field in.
    pub(super) fn push(&mut self, line: u64, file: Option<&str>, field: &[u8]) {
        self.rows += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let text = String::from_utf8_lossy(field).trim().to_owned();
            self.examples.push(Example { line, file: file.map(str::to_owned), text });
        }
    }

    /// Whether what is shown of it is dates, in another order than that of the column.
    fn is_of_other_dates(&self) -> bool {
        self.cause == Cause::NotADate && self.examples.iter().all(|example| date::orders(&example.text) != 0)
    }

    /// Where nothing but lines of sums is refused, the command that leaves them out.
    fn without_sums(&self) -> Option<String> {
        let is_of_sum = |example: &Example| example.file.is_none() && value::is_sum(&example.text);
        let are_all_shown = self.rows == self.examples.len() as u64;
        let lines: Vec<String> = self.examples.iter().map(|example| format!("{}d", example.line)).collect();
        (are_all_shown && self.examples.iter().all(is_of_sum)).then(|| {
            let script = for_shell(&lines.join(";"));
            format!("if that is a line of sums, leave it out: sed {script} FILE > table.csv; or: ")
        })
    }

    /// What would take the values.
    fn cure(&self) -> String {
        let word = self.column.as_word();
        let ignore = if self.is_label {
            "--label names another column".to_owned()
        } else {
            format!("--ignore {word} leaves the column out")
        };
        // Of several texts the first that are known; the same option takes more.
        // What neither a shell nor a terminal takes for something else, and what no shell does in quotes.
        let is_plain = |c: char| c.is_alphanumeric() || "._+-/%".contains(c);
        let is_quotable = |c: char| is_plain(c) || " #*=<>()!&:;~$@".contains(c);
        let is_word = |text: &&String| !text.is_empty() && text.len() <= 20 && text.chars().all(is_quotable);
        let mut texts: Vec<String> = self.examples.iter().map(|example| example.text.clone()).collect();
        texts.dedup();
        let texts: Vec<String> = texts.iter().filter(is_word).cloned().collect();
        let tokens = format!("default,{}", texts.join(","));
        let quote = if tokens.chars().all(|c| c == ',' || is_plain(c)) { "" } else { "'" };
        let as_missing = (!texts.is_empty())
            .then(|| format!("--missing {quote}{tokens}{quote} takes such values for missing"))
            // No value would be left.
            .filter(|_| self.cause != Cause::NoSide && self.rows < self.of && !self.is_of_other_dates());
        let as_missing = as_missing.filter(|_| self.without_sums().is_none());
        let other = match self.cause {
            Cause::NotUtf8 => Some("iconv -f LATIN1 -t UTF-8 FILE > FILE.csv converts the file".to_owned()),
            Cause::NotANumber if self.is_label => Some("--task classify takes them for names of classes".to_owned()),
            Cause::NotANumber | Cause::NotADate | Cause::NotABoolean => {
                Some(format!("--category {word} takes all for names"))
            }
            Cause::Missing => Some("--impute median fills them in".to_owned()),
            Cause::NoLabel => Some("--missing-label drop leaves the rows out".to_owned()),
            Cause::NoSide => return "write true or false, validate or train".to_owned(),
            Cause::NotFinite => None,
        };
        let as_missing = as_missing.filter(|_| !matches!(self.cause, Cause::NotUtf8 | Cause::Missing | Cause::NoLabel));
        let ignore = Some(ignore).filter(|_| self.cause != Cause::NoLabel);
        let cures: Vec<String> = [as_missing, other, ignore].into_iter().flatten().collect();
        let first = match self.without_sums() {
            Some(sums) => sums,
            None if self.is_of_other_dates() => "write all of them as 2024-01-31, or: ".to_owned(),
            None => "correct them, or: ".to_owned(),
        };
        first + &cures.join(", ")
    }

    /// The summary as JSON.
    pub fn to_json(&self) -> Value {
        let example = |example: &Example| json!({"line": example.line, "file": example.file, "text": example.text});
        json!({
            "column": self.column.number,
            "name": self.column.name,
            "cause": self.cause.name(),
            "rows": self.rows,
            "of": self.of,
            "examples": self.examples.iter().map(example).collect::<Vec<_>>(),
            "cure": self.cure(),
        })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let have = if self.rows == 1 { "has" } else { "have" };
        write!(f, "{}: {} of {} rows {have} ", self.column, self.rows, self.of)?;
        f.write_str(match self.cause {
            Cause::NotUtf8 => "text that is not UTF-8",
            Cause::NotANumber => "no number",
            Cause::NotFinite => "no finite number",
            Cause::NotADate if self.is_of_other_dates() => "the date in another order than the others",
            Cause::NotADate => "no date",
            Cause::NotABoolean => "neither true nor false",
            Cause::Missing => "no value",
            Cause::NoLabel => "no label",
            Cause::NoSide => "neither true nor false, nor any other word for the rows that validate",
        })?;
        let of = |example: &Example| example.file.as_ref().map_or(String::new(), |file| format!(" of {file}"));
        let examples = self.examples.iter().map(|example| match &*example.text {
            "" => format!("line {}{}", example.line, of(example)),
            text => format!("{} in line {}{}", Quoted(text), example.line, of(example)),
        });
        let examples: Vec<String> = examples.collect();
        write!(f, " ({}); {}", examples.join(", "), self.cure())
    }
}
