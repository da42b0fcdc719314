//! Values that a column cannot take: how many, which, and what would take them. Owns the summary of a column and its sentence;
//! does not know how a column got its kind.

use std::fmt;

use serde_json::{Value, json};

use super::date::{self, DateOrder};
use super::missing::MissingTokens;
use super::place::{Column, Quoted, for_shell};
use super::sum_words;
use super::value;

/// Fields that a summary shows.
const EXAMPLES_MAX: usize = 2;
/// Different texts that may all stand for no value.
const TEXTS_MAX: usize = 5;
/// Bytes of such a text, at most.
const TEXT_BYTES_MAX: usize = 20;
/// Rows of another form, at least: fewer are slips.
const ROWS_OF_A_FORM_MIN: u64 = 3;

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
    /// The different texts that are refused, and where there are too many one more than may stand for no value.
    pub(super) texts: Vec<String>,
    /// A value of the column that is not refused, where one is known.
    pub(super) taken: Option<String>,
    /// The texts that stand for no value anyway.
    pub(super) missing: MissingTokens,
    /// Whether nothing but the first line is refused, in any column, and may hold the columns' names.
    pub(super) may_be_header: bool,
}

impl Refusal {
    /// Of no rows yet.
    pub(super) fn new(column: Column, cause: Cause, is_label: bool) -> Refusal {
        Refusal {
            column,
            cause,
            rows: 0,
            of: 0,
            examples: Vec::new(),
            is_label,
            texts: Vec::new(),
            taken: None,
            missing: MissingTokens::default(),
            may_be_header: false,
        }
    }

    /// Takes a field in.
    pub(super) fn push(&mut self, line: u64, file: Option<&str>, field: &[u8]) {
        self.rows += 1;
        let text = String::from_utf8_lossy(field);
        let text = text.trim();
        if self.texts.len() <= TEXTS_MAX && !self.texts.iter().any(|known| known == text) {
            self.texts.push(text.to_owned());
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(Example { line, file: file.map(str::to_owned), text: text.to_owned() });
        }
    }

    /// Whether it is text among values of another kind.
    pub(super) fn is_of_text(&self) -> bool {
        matches!(self.cause, Cause::NotANumber | Cause::NotADate | Cause::NotABoolean)
    }

    /// Whether what is shown of it is dates, in another order than that of the column.
    fn is_of_other_dates(&self) -> bool {
        self.cause == Cause::NotADate && self.examples.iter().all(|example| date::orders(&example.text) != 0)
    }

    /// Where nothing but lines of sums is refused, the command that leaves them out.
    fn without_sums(&self) -> Option<String> {
        let is_of_sum = |example: &Example| example.file.is_none() && sum_words::sum_of(&example.text).is_some();
        let are_all_shown = self.rows == self.examples.len() as u64;
        let lines: Vec<String> = self.examples.iter().map(|example| format!("{}d", example.line)).collect();
        (are_all_shown && self.examples.iter().all(is_of_sum)).then(|| {
            let script = for_shell(&lines.join(";"));
            format!("if that is a line of sums, leave it out: sed {script} FILE > table.csv; or: ")
        })
    }

    /// Whether a text is a value in another form, rather than a mark for none.
    fn is_value(&self, text: &str) -> bool {
        let digits = || text.bytes().filter(u8::is_ascii_digit);
        // Spreadsheets write `#DIV/0!`, and programs 0000-00-00.
        let is_all = |filler: &u8| digits().all(|digit| digit == *filler);
        let is_filler = self.cause == Cause::NotADate && b"09".iter().any(is_all);
        self.is_of_text() && digits().next().is_some() && !text.starts_with('#') && !is_filler
    }

    /// Whether what is shown of it are the limits beyond which a value is known to lie, as laboratories write them: `<0.1`.
    fn is_of_limits(&self) -> bool {
        let is_limit = |example: &Example| {
            let limit = example.text.strip_prefix(['<', '>', '≤', '≥']);
            limit.is_some_and(|limit| value::notations(limit.trim_start_matches('=').trim_start()).0 != 0)
        };
        self.cause == Cause::NotANumber && !self.examples.is_empty() && self.examples.iter().all(is_limit)
    }

    /// The option that takes all of these texts for missing, where they may be meant so and are few.
    fn as_missing(&self) -> Option<String> {
        // What no shell and no terminal takes for something else in quotes.
        let is_quotable = |c: char| c.is_alphanumeric() || "._+-/% #*=<>()!&:;~$@–—−…".contains(c);
        let is_mark = |text: &String| {
            let is_word = !text.is_empty() && text.len() <= TEXT_BYTES_MAX && text.chars().all(is_quotable);
            is_word && !self.is_value(text)
        };
        let are_marks = self.texts.len() <= TEXTS_MAX && self.texts.iter().all(is_mark);
        // Else no value would be left.
        let are_some = self.rows < self.of && (self.is_of_text() || self.cause == Cause::NotFinite);
        (are_marks && are_some && !self.may_be_header && self.without_sums().is_none()).then(|| {
            let mut missing = self.missing.clone();
            missing.named.extend(self.texts.iter().cloned());
            format!("--missing {} takes such values for missing in all columns", for_shell(&missing.to_string()))
        })
    }

    /// What stands before the options: what the values seem to be.
    fn remedy(&self) -> String {
        let are_values = self.examples.iter().all(|example| self.is_value(&example.text));
        let first = self.examples.first();
        match (self.without_sums(), &self.taken, first) {
            (Some(sums), ..) => sums,
            (None, _, Some(first)) if self.may_be_header => {
                format!("if line {} names the columns, say --header yes; or: ", first.line)
            }
            _ if self.is_of_limits() => {
                "write a number for each that is known to lie beyond a limit, such as the limit, or half of it, or: "
                    .to_owned()
            }
            _ if self.is_of_other_dates() => "write all of them as 2024-01-31, or: ".to_owned(),
            (None, Some(taken), Some(first)) if are_values && self.rows >= ROWS_OF_A_FORM_MIN => {
                let marks = [value::decimal_comma(&first.text), value::decimal_comma(taken)];
                let what = match marks {
                    [Some(one), Some(other)] if one != other => "decimal commas and decimal points",
                    _ => "two forms",
                };
                let (one, other) = (Quoted(&first.text), Quoted(taken));
                format!("{what} are mixed, as in {one} and {other}: write all in one form, or: ")
            }
            (None, Some(taken), Some(_)) if are_values => {
                format!("correct them (others are like {}), or: ", Quoted(taken))
            }
            (None, None, Some(_)) if are_values && self.cause == Cause::NotANumber => {
                "write them as numbers alone, in one unit, or: ".to_owned()
            }
            (None, None, Some(_)) if self.cause == Cause::NotADate => {
                let forms: Vec<&str> = DateOrder::ALL.iter().map(|order| order.example()).collect();
                format!("write them in one form, such as {}, or: ", forms.join(", "))
            }
            _ => "correct them, or: ".to_owned(),
        }
    }

    /// What would take the values.
    fn cure(&self) -> String {
        let word = self.column.as_word();
        let ignore = if self.is_label {
            "--label names another column".to_owned()
        } else {
            format!("--ignore {word} leaves the column out")
        };
        let other = match self.cause {
            // Of Latin-1 all letters are there, and those that it lacks.
            Cause::NotUtf8 => Some(
                "iconv -f WINDOWS-1252 -t UTF-8 FILE > FILE.csv converts the file where it is of Windows or Latin-1, which is a \
                 guess"
                    .to_owned(),
            ),
            Cause::NotANumber if self.is_label => Some("--task classify takes them for names of classes".to_owned()),
            Cause::NotANumber | Cause::NotADate | Cause::NotABoolean => {
                Some(format!("--category {word} takes all for names"))
            }
            Cause::Missing => Some("--impute median fills them in".to_owned()),
            Cause::NoLabel => Some("--missing-label drop leaves the rows out".to_owned()),
            Cause::NoSide => return "write true or false, validate or train".to_owned(),
            Cause::NotFinite => None,
        };
        let ignore = Some(ignore).filter(|_| self.cause != Cause::NoLabel);
        let cures: Vec<String> = [self.as_missing(), other, ignore].into_iter().flatten().collect();
        self.remedy() + &cures.join(", ")
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
