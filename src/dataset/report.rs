//! What a person is told of a file before anything is trained: each column, what becomes of it, and how to say otherwise. Owns
//! the table, the summary and their JSON; does not know where they are shown.

use serde_json::{Value, json};

use super::Dataset;
use super::kinds::{self, Kind};
use super::missing::MissingTokens;
use super::options::Task;
use super::place::{Quoted, for_shell, listed};
use super::roles::{PlannedColumn, Role};
use super::schema::{Becomes, Schema};
use super::target::TargetColumn;

/// Columns that have a line each before a job; of more there is a summary.
const LINES_MAX: usize = 20;
/// Characters of a name in the table.
const NAME_CHARACTERS_MAX: usize = 24;
/// Columns that a line of the summary names.
const NAMED_MAX: usize = 8;

/// What was decided of a file.
#[derive(Clone, Debug)]
pub struct Report {
    file: String,
    rows: u64,
    refused: u64,
    has_header: bool,
    close: Option<&'static str>,
    separator: Option<u8>,
    columns: Vec<Line>,
    needed_marks: Vec<String>,
    hints: Vec<String>,
    inputs: Option<usize>,
}

/// A column, in words.
#[derive(Clone, Debug)]
struct Line {
    number: usize,
    name: Option<String>,
    kind: String,
    distinct: Option<u64>,
    missing: u64,
    becomes: String,
    why: String,
    /// The options that reverse it.
    reverse: Option<String>,
    is_left_out: bool,
    doubtful: Vec<(String, u64)>,
}

impl Dataset {
    /// What was decided of the file, and, where it is known, what was learned of it.
    pub fn report(&self, schema: Option<&Schema>) -> Report {
        Report::new(self, schema)
    }
}

impl Report {
    fn new(data: &Dataset, schema: Option<&Schema>) -> Report {
        let columns = data.roles.columns.iter().enumerate().map(|(place, column)| {
            let becomes = schema.and_then(|schema| schema.columns.get(place)).map(|column| &column.becomes);
            line(data, column, becomes)
        });
        Report {
            file: data.name.clone(),
            rows: data.table.rows as u64,
            refused: data.table.dropped,
            has_header: data.survey.names.is_some(),
            close: data.survey.close,
            separator: data.survey.separator,
            columns: columns.collect(),
            needed_marks: data.roles.needed_marks.clone(),
            hints: data.roles.hints.clone(),
            inputs: schema.map(Schema::width),
        }
    }

    /// Lines for a person before a job: a table, or a summary where there are many columns.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.head()];
        if self.columns.len() <= LINES_MAX {
            lines.extend(self.table())
        } else {
            lines.extend(self.summary())
        }
        lines.extend(self.notes());
        lines
    }

    /// The same with a line for every column.
    pub fn all_lines(&self) -> Vec<String> {
        let mut lines = vec![self.head()];
        lines.extend(self.table());
        lines.extend(self.notes());
        lines
    }

    fn head(&self) -> String {
        // What is refused ends the reading; rows without a label are dropped, unless that is asked for.
        let refused = if self.refused == 0 { "refused" } else { "dropped without a label" };
        let separator = match self.separator {
            None => String::new(),
            Some(b'\t') => ", separated by tabs".to_owned(),
            Some(b' ') => ", separated by blanks".to_owned(),
            Some(b',') => ", separated by commas".to_owned(),
            Some(b';') => ", separated by semicolons".to_owned(),
            Some(b'|') => ", separated by bars".to_owned(),
            Some(byte) => format!(", separated by {}", char::from(byte)),
        };
        let header = if self.has_header { "a header" } else { "no header" };
        format!(
            "{}: {} rows read + {} {refused} = {} lines; {header}{separator}",
            self.file,
            self.rows,
            self.refused,
            self.rows + self.refused
        )
    }

    fn table(&self) -> Vec<String> {
        let cell = |line: &Line| {
            let distinct = line.distinct.map_or_else(|| "many".to_owned(), |distinct| distinct.to_string());
            let name = line.name.as_deref().map_or_else(|| "-".to_owned(), shown);
            [line.number.to_string(), name, line.kind.clone(), distinct, line.missing.to_string(), line.in_words()]
        };
        let titles = ["COLUMN", "NAME", "KIND", "DISTINCT", "MISSING", "BECOMES"].map(str::to_owned);
        let rows: Vec<[String; 6]> = [titles].into_iter().chain(self.columns.iter().map(cell)).collect();
        let width = |index: usize| rows.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
        let widths = [0, 1, 2, 3, 4].map(width);
        let row = |row: &[String; 6]| {
            let [number, name, kind, distinct, missing, becomes] = row;
            let [a, b, c, d, e] = widths;
            format!("  {number:>a$}  {name:<b$}  {kind:<c$}  {distinct:>d$}  {missing:>e$}  {becomes}")
                .trim_end()
                .to_owned()
        };
        rows.iter().map(row).collect()
    }

    fn summary(&self) -> Vec<String> {
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        for line in self.columns.iter().filter(|line| !line.is_left_out) {
            match kinds.iter_mut().find(|(kind, _)| *kind == line.kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((&line.kind, 1)),
            }
        }
        let inputs = self.inputs.map_or(String::new(), |inputs| format!(", {inputs} inputs"));
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let mut lines = vec![format!("  {} columns: {}{inputs}", self.columns.len(), kinds.join(", "))];
        let named = |lines: Vec<&Line>| {
            let words = lines.iter().map(|line| format!("{} ({})", line.title(), line.why)).collect::<Vec<_>>();
            listed(words.iter(), NAMED_MAX)
        };
        let left_out: Vec<&Line> = self.columns.iter().filter(|line| line.is_left_out).collect();
        if !left_out.is_empty() {
            lines.push(format!("  left out: {}", named(left_out)));
        }
        let missing: Vec<String> = self
            .columns
            .iter()
            .filter(|line| line.missing > 0 && !line.is_left_out)
            .map(|line| format!("{} {}", line.title(), line.missing))
            .collect();
        if !missing.is_empty() {
            lines.push(format!("  missing values: {}", listed(missing.iter(), NAMED_MAX)));
        }
        let guesses: Vec<String> = self
            .columns
            .iter()
            .filter(|line| !line.is_left_out && !line.why.is_empty())
            .filter_map(|line| {
                Some(format!("{} is {}: {} ({})", line.title(), line.kind, line.why, line.reverse.as_ref()?))
            })
            .collect();
        if !guesses.is_empty() {
            lines.push(format!("  guesses: {}", listed(guesses.iter(), NAMED_MAX)));
        }
        lines.push("  every column: client schema FILE".to_owned());
        lines
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(why) = self.close {
            let (found, other) = if self.has_header { ("a header", "no") } else { ("a row", "yes") };
            notes.push(format!("the first line is taken for {found}: {why}; --header {other} says otherwise"));
        }
        for line in &self.columns {
            if !line.doubtful.is_empty() {
                let rows = |count: u64| if count == 1 { "row" } else { "rows" };
                // A backslash as it is written: `\N`.
                let quoted = |token: &String| Quoted(token).to_string().replace("\\\\", "\\");
                let token = |(token, count): &(String, u64)| format!("{} ({count} {})", quoted(token), rows(*count));
                let tokens: Vec<String> = line.doubtful.iter().map(token).collect();
                let [count, them] = match &line.doubtful[..] {
                    [(_, 1)] => ["counts", "it for a value"],
                    _ => ["count", "them for values"],
                };
                let (title, tokens) = (line.title(), tokens.join(", "));
                notes.push(match self.without(&line.doubtful) {
                    Some(others) => format!("{title}: {tokens} {count} as missing; --missing {others} takes {them}"),
                    None => format!("{title}: {tokens} {count} as missing, as among the numbers of other columns"),
                });
            }
        }
        notes.extend(self.hints.iter().cloned());
        notes
    }

    /// The marks for missing values that are needed beside these, as a shell takes them; none where one of these is needed itself.
    fn without(&self, doubtful: &[(String, u64)]) -> Option<String> {
        if doubtful.iter().any(|(token, _)| self.needed_marks.contains(token)) {
            return None;
        }
        let needed = MissingTokens { usual: false, named: self.needed_marks.clone() };
        Some(if needed.named.is_empty() { "\"\"".to_owned() } else { for_shell(&needed.to_string()) })
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> Value {
        let column = |line: &Line| {
            json!({
                "column": line.number,
                "name": line.name,
                "kind": line.kind,
                "distinct": line.distinct,
                "missing": line.missing,
                "becomes": line.becomes,
                "left_out": line.is_left_out,
                "why": line.why,
                "reverse": line.reverse,
            })
        };
        json!({
            "event": "schema",
            "file": self.file,
            "lines": self.rows + self.refused,
            "rows": self.rows,
            "refused": self.refused,
            "header": self.has_header,
            "inputs": self.inputs,
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "notes": self.notes(),
        })
    }
}

impl Line {
    fn title(&self) -> String {
        self.name.as_deref().map_or_else(|| format!("column {}", self.number), shown)
    }

    /// What becomes of it, why, and how to say otherwise.
    fn in_words(&self) -> String {
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        let reverse = self.reverse.as_ref().map_or(String::new(), |reverse| format!(" ({reverse})"));
        format!("{}{why}{reverse}", self.becomes)
    }
}

/// A name as a line shows it: escaped, and cut where it is long.
fn shown(name: &str) -> String {
    let escaped = name.escape_debug().to_string().replace("\\'", "'");
    match escaped.char_indices().nth(NAME_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", &escaped[..end]),
        None => escaped,
    }
}

fn line(data: &Dataset, column: &PlannedColumn, becomes: Option<&Becomes>) -> Line {
    let word = column.column.as_word();
    let option = |option: &str| match option {
        "" => None,
        "--use" => Some(format!("--use {word} takes it in")),
        "--category" => Some(format!("--category {word} if they are names")),
        option => Some(format!("{option} {word} says otherwise")),
    };
    let mut why = column.why.to_owned();
    let mut reverse = option(column.reverse);
    let mut kind = column.kind.name().to_owned();
    let (words, is_left_out) = match &column.role {
        Role::Feature => {
            let words = match becomes {
                Some(Becomes::Inputs(encoder)) => encoder.in_words(),
                _ => "inputs".to_owned(),
            };
            (words, false)
        }
        Role::Label => {
            kind = "label".to_owned();
            (why, reverse) = (data.roles.task_why.clone(), None);
            if data.roles.task_is_guess {
                let other = if data.roles.task == Task::Classify { "regress" } else { "classify" };
                reverse = Some(format!("--task {other} says otherwise"));
            }
            let words = match &data.table.target {
                TargetColumn::Classes(classes) => format!("{} classes", classes.names.len()),
                TargetColumn::Values { .. } => "a number to fit".to_owned(),
            };
            (words, false)
        }
        Role::Side => ("which rows validate".to_owned(), false),
        Role::Group => ("groups of rows that stay together".to_owned(), false),
        Role::LeftOut(reason) => {
            if reason.starts_with("--") || reason.starts_with("not in") {
                reverse = None;
            }
            why.clone_from(reason);
            ("left out".to_owned(), true)
        }
    };
    let form = match column.kind {
        Kind::Number(form) => kinds::form_in_words(form),
        _ => None,
    };
    let why = match (why.is_empty(), form) {
        (_, None) => why,
        (true, Some(form)) => form,
        (false, Some(form)) => format!("{form}; {why}"),
    };
    Line {
        number: column.column.number,
        name: column.column.name.clone(),
        kind,
        distinct: column.distinct,
        missing: column.missing,
        becomes: words,
        why,
        reverse,
        is_left_out,
        doubtful: if is_left_out { Vec::new() } else { column.doubtful.clone() },
    }
}
