//! Why data cannot be used. Owns the causes and their sentences, for a person and as JSON; does not know how they are found.

use std::fmt;

use serde_json::{Value, json};

use super::place::{Column, FieldLocation, Quoted, for_shell, listed};
use super::refusal::{Cause, Refusal};
use crate::close::close;
use crate::job::{ROWS_MAX, SHARDS_MAX};
use crate::model::network::{CLASSES_MAX, INPUTS_MAX};

/// Columns that a sentence lists, at most.
const COLUMNS_SHOWN_MAX: usize = 3;
/// Names of columns that a sentence lists, at most.
const NAMES_SHOWN_MAX: usize = 10;

/// Data that cannot be used: which, and why. Shown as one sentence that names the place and says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetError {
    /// The file, as the user named it.
    pub file: String,
    /// The cause.
    pub fault: Fault,
}

/// What is wrong with data, or with what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such file.
    NotFound,
    /// A directory.
    Directory,
    /// A directory without files.
    NoFiles,
    /// The system refuses to read it.
    Unreadable {
        /// The system's reason.
        cause: String,
    },
    /// Another format.
    Foreign {
        /// What it is.
        what: &'static str,
        /// What to do: mostly a command that converts it, with FILE for the file's name.
        cure: String,
    },
    /// An array that cannot be used.
    Array {
        /// What is wrong with it, and the cure.
        cause: String,
    },
    /// Between the first reading and the second, the file has become another.
    Changed,
    /// Nothing but white space.
    Empty,
    /// A header, and no rows.
    HeaderOnly {
        /// The header's line.
        line: u64,
    },
    /// A single column: no features, or another separator.
    OneColumn {
        /// The first line that is not blank.
        line: u64,
    },
    /// Lines of more or fewer columns than the others.
    Ragged {
        /// Columns of most lines.
        expected: usize,
        /// Lines that have as many.
        fitting: u64,
        /// Lines that have not.
        lines: u64,
        /// Some of these, with their columns.
        examples: Vec<(u64, usize)>,
    },
    /// A first line of a field less than all others, which are no rows with names in front.
    FewerNames {
        /// The line.
        line: u64,
        /// Its fields.
        names: usize,
    },
    /// Lines among the rows that repeat the first line, which names the columns.
    RepeatedNames {
        /// The first line.
        first: u64,
        /// How many repeat it.
        count: u64,
        /// The first of them.
        lines: Vec<u64>,
    },
    /// Lines above the table that are no part of it.
    Titled {
        /// The table's first line.
        line: u64,
    },
    /// First rows that say more of the columns.
    Units {
        /// The line of the last of them, from 2 on.
        last: u64,
        /// Columns that cannot take its text.
        columns: usize,
    },
    /// Names of the columns that stand in several lines, above and below each other.
    SplitNames {
        /// How many lines: two, or three where the last one names the first columns.
        lines: u64,
        /// What separates fields.
        separator: u8,
    },
    /// What may be wrong because the first line, which is taken for a row, names the columns.
    PerhapsHeader {
        /// What is wrong.
        fault: Box<Fault>,
    },
    /// A quoted field that the file's end cuts off.
    OpenQuote {
        /// The line where its record begins.
        line: u64,
    },
    /// A record of more bytes than any data set has.
    LongLine {
        /// The line where it begins.
        line: u64,
        /// Bytes allowed.
        bytes_max: usize,
    },
    /// More features than a network takes.
    TooManyFeatures {
        /// The first line that is not blank.
        line: u64,
        /// Features found.
        got: usize,
    },
    /// More rows than a job takes.
    TooManyRows {
        /// The first line too many.
        line: u64,
    },
    /// More distinct labels than a network tells apart.
    TooManyClasses {
        /// The label's column.
        column: Column,
    },
    /// The memory does not suffice.
    OutOfMemory {
        /// Rows of the data.
        rows: u64,
        /// Columns in use.
        columns: usize,
    },
    /// Values that are not of their column's kind, or missing where they are refused.
    Refused {
        /// What is refused, by column.
        refusals: Vec<Refusal>,
    },
    /// An option names a column that is not there.
    UnknownColumn {
        /// The option.
        option: &'static str,
        /// The name or number.
        wanted: String,
        /// The columns that there are.
        columns: Vec<Column>,
    },
    /// An option names a column by a name that several have.
    AmbiguousColumn {
        /// The option.
        option: &'static str,
        /// The name.
        wanted: String,
        /// The numbers of the columns with this name.
        numbers: Vec<usize>,
    },
    /// A column has two parts to play that exclude each other.
    Contradiction {
        /// The column.
        column: Column,
        /// The options.
        options: (&'static str, &'static str),
    },
    /// No column is left to learn from.
    NoFeatures {
        /// Those that are left out, and why.
        left_out: Vec<(Column, String)>,
    },
    /// Categories become more inputs than a network takes.
    TooWide {
        /// The inputs.
        inputs: usize,
        /// Inputs allowed.
        inputs_max: usize,
        /// The columns that come to most, and to how many.
        widest: Vec<(Column, usize)>,
    },
    /// Several labels, which only numbers can be.
    SeveralLabels,
    /// No row has a label.
    NoLabels {
        /// The label's column.
        column: Column,
    },
    /// All rows have the same label.
    OneClass {
        /// The label.
        label: String,
        /// Its column.
        column: Column,
    },
    /// No two rows have the same label.
    EveryLabelDiffers {
        /// The rows.
        rows: usize,
    },
    /// All rows have the same number for their target.
    OneTarget {
        /// Its column.
        column: Column,
    },
    /// A file has other columns than the first.
    OtherColumns {
        /// What differs.
        what: String,
    },
    /// The split leaves no row to train on.
    NothingToTrain {
        /// Rows of the data.
        rows: usize,
        /// Rows that would validate.
        validation: usize,
    },
    /// Every row would test.
    NothingButTest {
        /// Rows of the data.
        rows: usize,
        /// Rows that would test.
        test: usize,
    },
    /// No row is left to test with.
    NothingToTest {
        /// Rows of the data.
        rows: usize,
    },
    /// The split leaves no row to validate with.
    NothingToValidate {
        /// Rows of the data.
        rows: usize,
    },
    /// Two ways to say which rows validate.
    TwoSplits,
    /// Rows of one group on both sides of a split that does not look at groups.
    GroupsNeedAShare,
    /// Every group is larger than the share of the rows that is to be drawn.
    NoGroupFits {
        /// The groups.
        groups: usize,
        /// Rows of the smallest.
        smallest: usize,
        /// Rows of all of them.
        rows: usize,
        /// Whether it is to test, and not to validate.
        is_test: bool,
        /// A share that it fits.
        larger: Option<String>,
    },
    /// The data say of two rows of one group that they lie on two sides.
    DividedGroup {
        /// The line of one of them.
        line: u64,
        /// What it does, and where the other one is and what that does.
        what: String,
        /// The column of groups.
        column: Column,
    },
    /// A label that a validation row has and no training row.
    UntrainedLabel {
        /// The label.
        label: String,
        /// The line of the first such row.
        line: u64,
    },
    /// No shards, more than a job takes, or more than there are training rows.
    Shards {
        /// Shards asked for.
        got: u32,
        /// Training rows.
        rows: usize,
    },
    /// A value so far from the training rows' that it leaves f32 when scaled.
    OutOfScale {
        /// The field.
        place: FieldLocation,
    },
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_command = matches!(
            self.fault,
            Fault::Foreign { .. }
                | Fault::Titled { .. }
                | Fault::Units { .. }
                | Fault::SplitNames { .. }
                | Fault::RepeatedNames { .. }
        );
        if has_command {
            return write!(f, "{}: {}", self.file, self.fault.to_string().replace("FILE", &self.file));
        }
        // Faults of a place continue the file's name with it ("data.csv, line 7: ..."), faults of the whole explain it.
        let separator = if self.fault.has_line() { ", " } else { ": " };
        write!(f, "{}{separator}{}", self.file, self.fault)
    }
}

impl std::error::Error for DatasetError {}

impl DatasetError {
    /// The same as JSON: the file, the sentence, and what is refused by column.
    pub fn to_json(&self) -> Value {
        let mut value = json!({"event": "refused", "file": self.file, "text": self.to_string()});
        let fault = if let Fault::PerhapsHeader { fault } = &self.fault { fault } else { &self.fault };
        if let Fault::Refused { refusals } = fault {
            value["columns"] = refusals.iter().map(Refusal::to_json).collect();
        }
        value
    }
}

impl Fault {
    /// Whether the sentence begins with a line.
    fn has_line(&self) -> bool {
        match self {
            Self::HeaderOnly { .. }
            | Self::OneColumn { .. }
            | Self::FewerNames { .. }
            | Self::OpenQuote { .. }
            | Self::LongLine { .. }
            | Self::TooManyFeatures { .. }
            | Self::TooManyRows { .. }
            | Self::DividedGroup { .. }
            | Self::UntrainedLabel { .. }
            | Self::OutOfScale { .. } => true,
            Self::PerhapsHeader { fault } => fault.has_line(),
            Self::NotFound
            | Self::Directory
            | Self::NoFiles
            | Self::Unreadable { .. }
            | Self::Foreign { .. }
            | Self::Array { .. }
            | Self::Changed
            | Self::Empty
            | Self::Ragged { .. }
            | Self::RepeatedNames { .. }
            | Self::Titled { .. }
            | Self::Units { .. }
            | Self::SplitNames { .. }
            | Self::TooManyClasses { .. }
            | Self::OutOfMemory { .. }
            | Self::Refused { .. }
            | Self::UnknownColumn { .. }
            | Self::AmbiguousColumn { .. }
            | Self::Contradiction { .. }
            | Self::NoFeatures { .. }
            | Self::TooWide { .. }
            | Self::SeveralLabels
            | Self::NoLabels { .. }
            | Self::OneClass { .. }
            | Self::EveryLabelDiffers { .. }
            | Self::OneTarget { .. }
            | Self::OtherColumns { .. }
            | Self::NothingToTrain { .. }
            | Self::NothingToTest { .. }
            | Self::NothingButTest { .. }
            | Self::NothingToValidate { .. }
            | Self::TwoSplits
            | Self::GroupsNeedAShare
            | Self::NoGroupFits { .. }
            | Self::Shards { .. } => false,
        }
    }
}

/// The column whose name is close to the one wanted, but for capitals.
fn close_to<'a>(wanted: &str, columns: &'a [Column]) -> Option<&'a Column> {
    let names: Vec<String> =
        columns.iter().map(|column| column.name.as_deref().unwrap_or_default().to_lowercase()).collect();
    let name = close(&wanted.to_lowercase(), names.iter().map(String::as_str).filter(|name| !name.is_empty()))?;
    names.iter().position(|of_column| of_column == name).map(|place| &columns[place])
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file; check the path"),
            Self::Directory => f.write_str("this is a directory; name a CSV file in it"),
            Self::NoFiles => f.write_str("this directory holds no file whose name begins with neither . nor _; add files of rows"),
            Self::Unreadable { cause } => write!(f, "the file cannot be read: {cause}"),
            Self::Foreign { what, cure } => write!(f, "this is {what}; {cure}"),
            Self::Array { cause } => f.write_str(cause),
            Self::Changed => f.write_str("the file changed while it was read; run the command again when it is complete"),
            Self::Empty => f.write_str("the file is empty; a line is the features of a row and, last, the label"),
            Self::HeaderOnly { line } => write!(
                f,
                "line {line}: after this header come no rows; add at least two, or say --header no where it is a row"
            ),
            Self::OneColumn { line } => write!(
                f,
                "line {line}: there is only one column; separate features and label with commas, semicolons or tabs, or \
                 name the separator (--separator)"
            ),
            Self::Ragged { expected, fitting, lines, examples } => {
                let examples = examples.iter().map(|(line, got)| format!("line {line} has {got}"));
                let lines_have = if *lines == 1 { "line has" } else { "lines have" };
                let columns = if *expected == 1 { "column" } else { "columns" };
                write!(
                    f,
                    "{lines} {lines_have} another number of columns than the other {fitting}, which have {expected}: {}; give \
                     every line {expected} {columns}, leave out what is no row, put fields with separators inside in quotes, or \
                     name the separator (--separator)",
                    examples.collect::<Vec<_>>().join(", ")
                )
            }
            Self::FewerNames { line, names } => write!(
                f,
                "line {line}: here is a field less than in all other lines, {names} and not {}; put numbers and texts that hold the \
                 separator in quotes, name the separator (--separator), or add the name that lacks; if the first field of each \
                 line is its name, as R writes it, say --header yes",
                names + 1
            ),
            Self::RepeatedNames { first, count, lines } => {
                let (repeat, them) = if *count == 1 { ("line repeats", "it") } else { ("lines repeat", "them") };
                let script: Vec<String> = lines.iter().map(|line| format!("{line}d")).collect();
                let mut shown: Vec<String> = lines.iter().map(|line| format!("line {line}")).collect();
                let mut command = format!("sed {}", for_shell(&script.join(";")));
                if (lines.len() as u64) < *count {
                    shown.push("and so on".to_owned());
                    command = format!("awk 'NR == {first} {{ names = $0 }} NR <= {first} || $0 != names'");
                }
                write!(
                    f,
                    "{count} {repeat} line {first}, which seems to name the columns, as in files that were joined ({}); leave {them} \
                     out: {command} FILE > table.csv; or say --header no if all are rows",
                    shown.join(", ")
                )
            }
            Self::Titled { line } => write!(
                f,
                "the table seems to begin in line {line}, below lines that are no part of it; leave them out: \
                 tail -n +{line} FILE > table.csv"
            ),
            Self::Units { last: 2, columns } => write!(
                f,
                "line 2, below the names of the columns, has text where {columns} columns have none, as a line of units \
                 or of longer names does; leave it out: sed 2d FILE > table.csv"
            ),
            Self::Units { last, columns } => write!(
                f,
                "lines 2 to {last}, below the names of the columns, have text where {columns} columns have none, as lines of \
                 units or of longer names do; leave them out: sed 2,{last}d FILE > table.csv"
            ),
            Self::SplitNames { lines, separator } => {
                let awk = if *separator == b'\t' { "\\t".to_owned() } else { char::from(*separator).to_string() };
                let script = match lines {
                    3 => {
                        "NR == 1 { split($0, a); next } NR == 2 { split($0, b); next } \
                         NR == 3 { for (i = 1; i <= NF; i++) if ($i == \"\") $i = a[i] \"_\" b[i] } 1"
                    }
                    _ => {
                        "NR == 1 { split($0, a); next } \
                         NR == 2 { for (i = 1; i <= NF; i++) $i = a[i] (a[i] == \"\" || $i == \"\" ? \"\" : \"_\") $i } 1"
                    }
                };
                write!(
                    f,
                    "lines 1 to {lines} name the columns together, as pandas writes such names; join them: awk -F {mark} -v OFS={mark} \
                     '{script}' FILE > table.csv; or in pandas, before to_csv: df.columns = [\"_\".join(map(str, c)) for c in df.columns]",
                    mark = for_shell(&awk)
                )
            }
            Self::PerhapsHeader { fault } => {
                let said = fault.to_string();
                let between = if said.ends_with('?') { " If" } else { "; or, if" };
                write!(f, "{said}{between} the first line names the columns, say --header yes")
            }
            Self::OpenQuote { line } => {
                write!(f, "line {line}: a quote (\") is opened and never closed; close it or take it out")
            }
            Self::LongLine { line, bytes_max } => write!(
                f,
                "line {line}: more than {} MiB without an end; is this a CSV file, or is a quote (\") left open?",
                bytes_max >> 20
            ),
            Self::TooManyFeatures { line, got } => {
                write!(f, "line {line}: {got} features, and at most {INPUTS_MAX} are allowed; leave some out")
            }
            Self::TooManyRows { line } => {
                write!(f, "line {line}: at most {ROWS_MAX} rows are allowed; leave out this line and what follows")
            }
            Self::TooManyClasses { column } => write!(
                f,
                "{column} has more than {CLASSES_MAX} different labels; is it the label (--label), or are they numbers to be \
                 fitted (--task regress)?"
            ),
            Self::OutOfMemory { rows, columns } => {
                write!(f, "{rows} rows of {columns} columns do not fit the memory; take fewer rows or a larger machine")
            }
            Self::Refused { refusals } => {
                let of_text = |refusal: &&Refusal| refusal.cause == Cause::NotUtf8;
                // What else is refused may come of that alone.
                let shown: Vec<&Refusal> = match refusals.iter().any(|refusal| of_text(&refusal)) {
                    true => refusals.iter().filter(of_text).collect(),
                    false => refusals.iter().collect(),
                };
                f.write_str(&listed_by(shown.into_iter(), COLUMNS_SHOWN_MAX, "; ", "columns"))
            }
            Self::UnknownColumn { option, wanted, columns } => {
                write!(f, "{option} names a column {}, and there is none; ", Quoted(wanted))?;
                match close_to(wanted, columns) {
                    Some(column) => write!(f, "{column} is close to it"),
                    None => write!(f, "there are {}", listed(columns.iter(), NAMES_SHOWN_MAX)),
                }
            }
            Self::AmbiguousColumn { option, wanted, numbers } => write!(
                f,
                "{option} names a column {}, and columns {} have that name; say a number",
                Quoted(wanted),
                listed(numbers.iter(), NAMES_SHOWN_MAX)
            ),
            Self::Contradiction { column, options: (one, other) } => {
                write!(f, "{column} stands in {one} and in {other}; leave it out of one of them")
            }
            Self::NoFeatures { left_out } if left_out.is_empty() => {
                f.write_str("no column is left to learn from: the label is the only one; add columns")
            }
            Self::NoFeatures { left_out } => {
                let reasons = left_out.iter().map(|(column, why)| format!("{column} is left out ({why})"));
                let word = left_out.first().map(|(column, _)| column.as_word()).unwrap_or_default();
                write!(
                    f,
                    "no column is left to learn from: {}; --use {word} takes one in",
                    listed(reasons, COLUMNS_SHOWN_MAX)
                )
            }
            Self::TooWide { inputs, inputs_max, widest } => {
                let widths = widest.iter().map(|(column, width)| format!("{column} becomes {width}"));
                let word = widest.first().map(|(column, _)| column.as_word()).unwrap_or_default();
                write!(
                    f,
                    "the columns become {inputs} inputs, and a network takes {inputs_max} at most: {}; leave columns out \
                     (--ignore {word}), or make one of rare categories (--rare)",
                    listed(widths, COLUMNS_SHOWN_MAX)
                )
            }
            Self::SeveralLabels => {
                f.write_str("several labels can only be numbers to be fitted; name one, or say --task regress")
            }
            Self::NoLabels { column } => {
                write!(f, "no row has a label in {column}; is it the label (--label)?")
            }
            Self::OneClass { label, column } => write!(
                f,
                "every row has the label {} in {column}, and there is nothing to tell apart; is it the label (--label)?",
                Quoted(label)
            ),
            Self::EveryLabelDiffers { rows } => write!(
                f,
                "each of these {rows} rows has a label of its own, and nothing can be learned of any other by them; is it the \
                 label (--label)?"
            ),
            Self::OneTarget { column } => write!(
                f,
                "every row has the same number in {column}, and there is nothing to fit; is it the label (--label)?"
            ),
            Self::OtherColumns { what } => {
                write!(f, "this file has other columns than the first: {what}; give all files the same")
            }
            Self::NothingToTrain { rows, validation } => write!(
                f,
                "{validation} of {rows} rows would validate, and none is left to train on; validate with fewer"
            ),
            Self::NothingButTest { rows, test } => write!(
                f,
                "{test} of {rows} rows would test, and none is left to train on; test with fewer"
            ),
            Self::NothingToTest { rows } => write!(
                f,
                "no row of {rows} is left to test with; ask for more rows, or none: --test none"
            ),
            Self::NothingToValidate { rows } => write!(
                f,
                "of these {rows} rows the share that validates comes to none; take a larger share, or more rows"
            ),
            Self::TwoSplits => f.write_str(
                "two options say which rows validate; leave all but one of --validate, --validate-by and --validate-split out",
            ),
            Self::GroupsNeedAShare => {
                f.write_str("only a share can be drawn by groups; with --group, say --validate-split as a share such as 0.2")
            }
            Self::NoGroupFits { groups: 1, rows, .. } => write!(
                f,
                "all {rows} rows that can be drawn are of one group, which --group keeps together; leave out --group, or name the rows \
                 that validate (--validate FILE)"
            ),
            Self::NoGroupFits { groups, smallest, rows, is_test, larger } => {
                let (tests, option) = if *is_test { ("test", "--test") } else { ("validate", "--validate-split") };
                write!(
                    f,
                    "--group keeps rows together, and the smallest of {groups} groups, of {smallest} of {rows} rows, is larger than \
                     the share that is to {tests}; "
                )?;
                if let Some(share) = larger {
                    write!(f, "draw a larger one ({option} {share}), ")?;
                }
                match is_test {
                    true => f.write_str("or none (--test none), or leave out --group"),
                    false => f.write_str("name the rows that validate (--validate FILE), or leave out --group"),
                }
            }
            Self::DividedGroup { line, what, column } => write!(
                f,
                "line {line}: {what}; both have the same value in {column}, and --group divides no value's rows: put them on one \
                 side, or leave out --group"
            ),
            Self::UntrainedLabel { label, line } => write!(
                f,
                "line {line}: the label {} is among the rows that validate or test and not among those that train; \
                 let a stratified share do that (such as 0.2), or reorder the rows",
                Quoted(label)
            ),
            Self::Shards { got: 0, .. } => f.write_str("a job has at least one shard; ask for one or more"),
            Self::Shards { got, rows } => write!(
                f,
                "{got} shards do not fit {rows} training rows; ask for at most {}",
                rows.min(&(SHARDS_MAX as usize))
            ),
            Self::OutOfScale { place } => write!(
                f,
                "{place}: the value is too far from those of the training rows to be scaled; correct it or leave the \
                 line out"
            ),
        }
    }
}

/// The same with another word between, and for what is left out.
fn listed_by<T: fmt::Display>(
    things: impl ExactSizeIterator<Item = T>,
    shown_max: usize,
    between: &str,
    what: &str,
) -> String {
    let more = things.len().saturating_sub(shown_max);
    let shown: Vec<String> = things.take(shown_max).map(|thing| thing.to_string()).collect();
    let more = if more > 0 { format!("{between}and {more} more {what}") } else { String::new() };
    shown.join(between) + &more
}
