//! The options that say how a data file is read, for all commands that read one. Owns their words; does not know what is learned
//! from the rows.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use gradwire::dataset::{Decimal, Impute, MissingLabel, MissingTokens, ReadOptions, Separator, Task};

/// How a data file is read.
#[derive(Args)]
#[command(next_help_heading = "Data")]
pub struct Reading {
    /// Label: name or number of its column, several for several numbers to fit [default: the last column]
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    pub label: Vec<String>,
    /// What to learn of the label: classify (tell names apart), regress (fit numbers), or auto, which says what it took
    #[arg(long, value_name = "TASK", default_value = "auto")]
    pub task: AskedTask,
    /// Columns to leave out, by name or number
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// The only columns to learn from
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Columns to learn from although they count or name the rows
    #[arg(long = "use", value_name = "COL,...", value_delimiter = ',')]
    pub take_in: Vec<String>,
    /// Columns of numbers
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    pub number: Vec<String>,
    /// Columns of categories, whose values are names
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    pub category: Vec<String>,
    /// Columns of dates or times
    #[arg(long, value_name = "COL,...", value_delimiter = ',')]
    pub date: Vec<String>,
    /// Whether the first line names the columns, yes or no [default: found out]
    #[arg(long, value_name = "YES|NO", value_parser = yes_or_no)]
    pub header: Option<bool>,
    /// Byte between fields: , ; | or another, tab or space [default: found out]
    #[arg(long, value_name = "BYTE")]
    pub separator: Option<Separator>,
    /// Decimal mark, . or , [default: found out]
    #[arg(long, value_name = "MARK")]
    pub decimal: Option<Decimal>,
    /// Texts that stand for a missing value, beside an empty field, in quotes where they have a comma; default among them stands for
    /// the usual ones
    /// [default: NA, None, ?, -, #N/A, <NA>, \N, a point, and N/A, NaN, null in any case]
    #[arg(long, value_name = "TOKEN,...", allow_hyphen_values = true)]
    pub missing: Option<MissingTokens>,
    /// Action on a row without a label: drop (and count), refuse, or class (one of its own)
    #[arg(long, value_name = "ACTION", default_value = "drop")]
    pub missing_label: MissingLabel,
    /// What takes the place of a missing value: mean, median, most (the most frequent) or refuse. Where more than 1 % of a
    /// column are missing an input says so, and categories have one of their own for it, but with most
    #[arg(long, value_name = "HOW", default_value = "median")]
    pub impute: Impute,
    /// Rows below which categories become one, where unknown ones go as well [default: 2; from 1000 training rows 10]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole(1, u32::MAX))]
    pub rare: Option<u32>,
    /// File of the rows that validate, or several with commas between, or a directory, with the same columns; all other rows
    /// train
    #[arg(long, value_name = "FILE")]
    pub validate: Option<PathBuf>,
    /// Column that says which rows validate, by true and false, or train and validate
    #[arg(long, value_name = "COL")]
    pub validate_by: Option<String>,
    /// Column whose equal values all train or all validate
    #[arg(long, value_name = "COL")]
    pub group: Option<String>,
}

impl Reading {
    /// What is asked for, in the library's words.
    pub fn options(self) -> ReadOptions {
        ReadOptions {
            label: self.label,
            ignore: self.ignore,
            only: self.only,
            take_in: self.take_in,
            number: self.number,
            category: self.category,
            date: self.date,
            header: self.header,
            separator: self.separator,
            decimal: self.decimal,
            missing: self.missing.unwrap_or_default(),
            missing_label: self.missing_label,
            impute: self.impute,
            rare: self.rare,
            task: self.task.0,
            validation: self.validate,
            test: None,
            validate_by: self.validate_by,
            group: self.group,
        }
    }
}

/// What is to be learned of the label, or none if that is to be found out.
#[derive(Clone, Copy)]
pub struct AskedTask(pub Option<Task>);

impl FromStr for AskedTask {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<AskedTask, &'static str> {
        match text {
            "auto" => Ok(AskedTask(None)),
            text => text
                .parse()
                .map(|task| AskedTask(Some(task)))
                .map_err(|_: String| "a task is auto, classify or regress"),
        }
    }
}

pub fn yes_or_no(text: &str) -> Result<bool, &'static str> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("the first line names the columns, or it does not: yes or no"),
    }
}

/// Reads a whole number within limits.
pub(super) fn whole<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("a whole number from {least} to {most} is allowed"))
    }
}
