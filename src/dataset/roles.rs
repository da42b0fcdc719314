//! What becomes of each column: which is the label, which are learned from, which are left out, and why. Owns these decisions
//! and the options that name columns; does not know rows.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::codes::Code;
use super::error::Fault;
use super::kinds::{self, Decimals, Decision, Kind, Said};
use super::options::{Decimal, ReadOptions, Task};
use super::place::{Column, Quoted, for_shell, listed};
use super::survey::Survey;
use super::tally::Tally;
use super::target::alike;
use super::value::{Notation, NumberForm};

/// Different whole numbers that are classes, at most.
const CLASSES_OF_NUMBERS_MAX: u64 = 32;
/// Names under which a label is often found.
const NAMES_OF_LABELS: [&str; 6] = ["label", "class", "target", "y", "species", "outcome"];

/// Groups of categories that differ only in case or spaces that a sentence names.
const ALIKE_SHOWN: usize = 4;
/// Columns with numbers that may stand for no value that a sentence names.
const CODES_SHOWN: usize = 4;

/// Different things that are more than categories, at least.
const THINGS_MANY: u64 = 20;
/// Rows in which a day stands that is never to come, at least.
const ROWS_OF_NEVER_MIN: u64 = 3;

/// What a column is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is learned from.
    Feature,
    /// It is what is learned.
    Label,
    /// It says which rows validate.
    Side,
    /// Its values stay together.
    Group,
    /// Nothing, for this reason.
    LeftOut(String),
}

/// What is decided of a column.
#[derive(Clone, Debug)]
pub(super) struct PlannedColumn {
    pub(super) column: Column,
    pub(super) kind: Kind,
    /// How a model reads the column, in rows that may be written with more marks than these.
    pub(super) kind_of_later_rows: Kind,
    pub(super) role: Role,
    /// Why it is of this kind, where that is not plain.
    pub(super) why: &'static str,
    /// Options that reverse the decision.
    pub(super) reverse: &'static str,
    pub(super) missing: u64,
    /// None where there are more than are counted.
    pub(super) distinct: Option<u64>,
    /// Marks that count as missing and may be values.
    pub(super) doubtful: Vec<(String, u64)>,
}

/// What is decided of a file.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    pub(super) columns: Vec<PlannedColumn>,
    /// Places of the labels, in the order in which they are asked for.
    pub(super) labels: Vec<usize>,
    pub(super) side: Option<usize>,
    pub(super) group: Option<usize>,
    pub(super) task: Task,
    /// Why it is this task.
    pub(super) task_why: String,
    /// Whether the task is a guess.
    pub(super) task_is_guess: bool,
    /// Marks for missing values that stand where no text is a value.
    pub(super) needed_marks: Vec<String>,
    /// Sentences for the person.
    pub(super) hints: Vec<String>,
}

impl Roles {
    /// The form of the numbers in a label's column.
    pub(super) fn label_form(&self, place: usize) -> NumberForm {
        match self.columns[place].kind {
            Kind::Number(form) => form,
            _ => NumberForm::default(),
        }
    }
}

/// Names columns by the header's names or by numbers.
struct Finder<'a> {
    survey: &'a Survey,
}

impl Finder<'_> {
    fn place(&self, option: &'static str, wanted: &str) -> Result<usize, Fault> {
        let wanted = wanted.trim();
        let names = self.survey.names.as_deref().unwrap_or_default();
        let numbers: Vec<usize> = names
            .iter()
            .enumerate()
            .filter(|(_, name)| *name == wanted && !name.is_empty())
            .map(|(place, _)| place + 1)
            .collect();
        match (&numbers[..], wanted.parse::<usize>()) {
            ([number], _) => Ok(number - 1),
            ([], Ok(number)) if (1..=self.survey.tallies.len()).contains(&number) => Ok(number - 1),
            ([], _) => {
                let columns = (0..self.survey.tallies.len()).map(|place| self.survey.column(place)).collect();
                Err(Fault::UnknownColumn { option, wanted: wanted.to_owned(), columns })
            }
            _ => Err(Fault::AmbiguousColumn { option, wanted: wanted.to_owned(), numbers }),
        }
    }

    fn places(&self, option: &'static str, wanted: &[String]) -> Result<Vec<usize>, Fault> {
        wanted.iter().map(|wanted| self.place(option, wanted)).collect()
    }
}

/// Decides what becomes of each column.
pub(super) fn decide(survey: &Survey, options: &ReadOptions) -> Result<Roles, Fault> {
    let finder = Finder { survey };
    let width = survey.tallies.len();
    let [ignore, only, take_in] = [
        finder.places("--ignore", &options.ignore)?,
        finder.places("--only", &options.only)?,
        finder.places("--use", &options.take_in)?,
    ];
    let said: [(&'static str, Vec<usize>, Said); 3] = [
        ("--number", finder.places("--number", &options.number)?, Said::Number),
        ("--category", finder.places("--category", &options.category)?, Said::Category),
        ("--date", finder.places("--date", &options.date)?, Said::Date),
    ];
    let one = |option, wanted: &Option<String>| wanted.as_ref().map(|wanted| finder.place(option, wanted)).transpose();
    let (side, group) = (one("--validate-by", &options.validate_by)?, one("--group", &options.group)?);
    let mut labels = finder.places("--label", &options.label)?;
    let is_default_label = labels.is_empty();
    let decimals = match (options.decimal, survey.separator) {
        (Some(decimal), _) => Decimals::Said { comma: decimal == Decimal::Comma },
        (None, None) => Decimals::PrefersPoint,
        (None, Some(_)) if has_decimal_commas(&survey.tallies) => Decimals::HasComma,
        (None, Some(b',')) => Decimals::PrefersPoint,
        (None, Some(_)) => Decimals::PrefersComma,
    };
    let mut hints = Vec::new();
    if is_default_label {
        // A separator at the end of every line leaves an empty column behind the label.
        let is_candidate = |place: &usize| {
            survey.tallies[*place].present > 0 && ![side, group].contains(&Some(*place)) && !ignore.contains(place)
        };
        let last = (0..width).rev().find(is_candidate).unwrap_or(width - 1);
        let passed_over = |place: &usize| no_label(&survey.tallies[*place], name_of(survey, *place), decimals);
        let label = (0..width).rev().filter(is_candidate).find(|place| passed_over(place).is_none()).unwrap_or(last);
        if let Some(why) = passed_over(&last).filter(|_| label != last) {
            let (column, last) = (survey.column(label), survey.column(last));
            let first = if kinds::is_of_numbers_with_text(why) { "write its numbers alone and " } else { "" };
            hints.push(format!(
                "the label is {column}: the last column, {last}, is none ({why}); if it is, {first}say --label {}",
                last.as_word()
            ));
        }
        labels.push(label);
    }
    for &place in &labels {
        let parts = [
            ("--ignore", ignore.contains(&place)),
            ("--validate-by", side == Some(place)),
            ("--group", group == Some(place)),
        ];
        if let Some((option, _)) = parts.into_iter().find(|(_, has)| *has) {
            return Err(Fault::Contradiction { column: survey.column(place), options: ("--label", option) });
        }
    }

    let mut columns = Vec::with_capacity(width);
    for (place, tally) in survey.tallies.iter().enumerate() {
        let kinds_said: Vec<_> = said.iter().filter(|(_, places, _)| places.contains(&place)).collect();
        if let [(one, ..), (other, ..), ..] = kinds_said[..] {
            return Err(Fault::Contradiction { column: survey.column(place), options: (one, other) });
        }
        let is_taken_in = take_in.contains(&place) || only.contains(&place);
        let said = kinds_said.first().map(|(_, _, said)| *said).or(is_taken_in.then_some(Said::Use));
        let column = survey.column(place);
        let decision = kinds::decide(tally, name_of(survey, place), said, decimals);
        let role = if labels.contains(&place) {
            Role::Label
        } else if side == Some(place) {
            Role::Side
        } else if group == Some(place) {
            Role::Group
        } else if ignore.contains(&place) {
            Role::LeftOut("--ignore".to_owned())
        } else if !only.is_empty() && !only.contains(&place) {
            Role::LeftOut("not in --only".to_owned())
        } else {
            role_by_kind(&decision, tally)
        };
        columns.push(planned(column, decision, role, tally));
    }

    let (task, task_why, task_is_guess) = task(&labels, &survey.tallies, options);
    if is_default_label && hints.is_empty() {
        hints.extend(label_elsewhere(&columns, labels[0], survey));
    }
    if is_default_label && matches!(columns[labels[0]].kind, Kind::Date { .. }) && task == Task::Classify {
        let column = &columns[labels[0]].column;
        hints.push(format!("the labels in {column} are dates, each of which is a class; --label names another column"));
    }
    if task == Task::Regress {
        for &place in &labels {
            if !matches!(columns[place].kind, Kind::Number(_)) {
                columns[place].kind = kinds::decide(&survey.tallies[place], "", Some(Said::Number), decimals).kind;
            }
        }
    }
    for (column, tally) in columns.iter_mut().zip(&survey.tallies) {
        column.kind_of_later_rows = kinds::of_later_rows(column.kind, tally, decimals);
    }
    if options.task.is_none() && task == Task::Classify {
        hints.extend(numbers_with_text(&columns[labels[0]], &survey.tallies[labels[0]]));
    }
    hints.extend(alike_categories(&columns, survey));
    hints.extend(repeated_identifiers(&columns, survey));
    hints.extend(points_of_thousands(&columns, survey, decimals));
    hints.extend(doubled(&columns, survey));
    hints.extend(stand_for_none(&columns, survey, options, task));
    let needed_marks = marks_among_numbers(&columns, survey);
    let roles = Roles { columns, labels, side, group, task, task_why, task_is_guess, needed_marks, hints };
    if roles.labels.len() > 1 && task == Task::Classify {
        return Err(Fault::SeveralLabels);
    }
    Ok(roles)
}

/// Labels that are numbers to a person, and how to have them fitted.
fn numbers_with_text(label: &PlannedColumn, tally: &Tally) -> Option<String> {
    let example = tally.example(|text| text.contains(|c: char| c.is_ascii_digit()))?;
    kinds::is_of_numbers_with_text(label.why).then(|| {
        format!(
            "the labels in {} are numbers with text beside them, such as {}, and taken for names; write the numbers alone, in one \
             unit, if they are to be fitted",
            label.column,
            Quoted(&example)
        )
    })
}

/// Marks for missing values in columns of numbers, dates and booleans, which would refuse them as values.
fn marks_among_numbers(columns: &[PlannedColumn], survey: &Survey) -> Vec<String> {
    let refuses = |column: &PlannedColumn| {
        let is_in_use = matches!(column.role, Role::Feature | Role::Label);
        is_in_use && matches!(column.kind, Kind::Number(_) | Kind::Date { .. } | Kind::Boolean)
    };
    let pairs = columns.iter().zip(&survey.tallies).filter(|(column, _)| refuses(column));
    let marks: BTreeSet<&String> = pairs.flat_map(|(_, tally)| tally.of_texts.tokens.keys()).collect();
    marks.into_iter().cloned().collect()
}

/// Categories of a column that may be meant for one. Single letters in two cases are two codes, rather.
fn alike_categories(columns: &[PlannedColumn], survey: &Survey) -> Option<String> {
    let is_of_names = |column: &PlannedColumn| column.role == Role::Feature && column.kind == Kind::Category;
    let mut found = Vec::new();
    for (column, tally) in columns.iter().zip(&survey.tallies).filter(|(column, _)| is_of_names(column)) {
        let words = tally.known_texts().unwrap_or_default().iter().filter(|text| text.chars().nth(1).is_some());
        found.extend(alike(words).iter().map(|texts| {
            let texts: Vec<String> = texts.iter().map(|text| Quoted(text).to_string()).collect();
            format!("{} of {}", texts.join(" and "), column.column)
        }));
    }
    (!found.is_empty()).then(|| {
        let found = listed(found.iter(), ALIKE_SHOWN);
        format!("categories that differ only in case or spaces are different ones: {found}; write them alike where they are one")
    })
}

/// Columns named as what tells things from each other, each of which has several rows: they are learned from, and how to say otherwise.
fn repeated_identifiers(columns: &[PlannedColumn], survey: &Survey) -> Option<String> {
    let repeats = |column: &PlannedColumn, tally: &Tally| {
        let are_many = column.distinct.is_none_or(|distinct| distinct > THINGS_MANY && distinct < tally.present);
        let is_number = matches!(column.kind, Kind::Number(_)) && tally.plain.whole == tally.present;
        let is_id = || column.column.name.as_deref().is_some_and(|name| name.to_lowercase().ends_with("id"));
        are_many && (is_number || column.kind == Kind::Category && is_id())
    };
    let is_named = |column: &PlannedColumn| column.column.name.as_deref().is_some_and(kinds::names_things);
    let is_guess = |column: &PlannedColumn| column.role == Role::Feature && column.why != kinds::AS_ASKED;
    let pairs = columns.iter().zip(&survey.tallies).filter(|(column, _)| is_guess(column) && is_named(column));
    let found: Vec<&Column> =
        pairs.filter(|(column, tally)| repeats(column, tally)).map(|(column, _)| &column.column).collect();
    let word = found.first()?.as_word();
    let found = listed(found.iter(), CODES_SHOWN);
    Some(format!(
        "{found}: such a name tells things from each other, and some have several rows; --group {word} has all rows of one \
         train or all validate, --ignore {word} leaves the column out"
    ))
}

/// Whether a file's decimal mark is a comma: there are columns of which nothing else can be said, and none with a decimal point.
fn has_decimal_commas(tallies: &[Tally]) -> bool {
    tallies.iter().any(Tally::has_decimal_commas) && !tallies.iter().any(Tally::has_decimal_points)
}

/// Columns of numbers with points that may stand between thousands, and how to say so.
fn points_of_thousands(columns: &[PlannedColumn], survey: &Survey, decimals: Decimals) -> Option<String> {
    let is_meant = |column: &PlannedColumn, tally: &Tally| {
        let is_of_points = matches!(column.kind, Kind::Number(NumberForm { notation: Notation::Point, .. }));
        let has_word = matches!(column.role, Role::Feature | Role::Label);
        is_of_points && has_word && tally.may_have_points_between_thousands()
    };
    let pairs = columns.iter().zip(&survey.tallies).filter(|(column, tally)| is_meant(column, tally));
    let found: Vec<&Column> = pairs.map(|(column, _)| &column.column).collect();
    (decimals == Decimals::PrefersComma && !found.is_empty()).then(|| {
        let found = listed(found.iter(), CODES_SHOWN);
        format!(
            "{found}: each point has three digits behind it, and is taken for the decimal mark; if points stand between thousands, \
             --decimal , says so, of all columns"
        )
    })
}

/// Columns of one name whose values seem to be the same, and how to leave one out.
fn doubled(columns: &[PlannedColumn], survey: &Survey) -> Option<String> {
    let features = || columns.iter().zip(&survey.tallies).filter(|(column, _)| column.role == Role::Feature);
    let mut firsts: HashMap<&str, (&PlannedColumn, &Tally)> = HashMap::new();
    let (mut found, mut word) = (Vec::new(), None);
    for (column, tally) in features() {
        let Some(name) = column.column.name.as_deref() else { continue };
        match firsts.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert((column, tally))),
            Entry::Occupied(entry) => {
                let (first, of_first) = *entry.get();
                if first.kind == column.kind && of_first.is_like(tally) {
                    found.push(format!(
                        "columns {} and {} ({})",
                        first.column.number,
                        column.column.number,
                        Quoted(name)
                    ));
                    word.get_or_insert(column.column.number);
                }
            }
        }
    }
    let word = word?;
    let found = listed(found.iter(), CODES_SHOWN);
    Some(format!("{found}: of one name, and their values seem to be the same; --ignore {word} leaves one of them out"))
}

/// Columns with numbers, or days that are never to come, that may stand for no value, and how to say so.
fn stand_for_none(columns: &[PlannedColumn], survey: &Survey, options: &ReadOptions, task: Task) -> Option<String> {
    // Arrays have NaN for it.
    survey.separator?;
    let is_of_numbers = |column: &PlannedColumn| match column.role {
        Role::Feature => matches!(column.kind, Kind::Number(_)),
        Role::Label => task == Task::Regress,
        _ => false,
    };
    let mut missing = options.missing.clone();
    let mut found = Vec::new();
    for (column, tally) in columns.iter().zip(&survey.tallies).filter(|(column, _)| is_of_numbers(column)) {
        let form = if let Kind::Number(form) = column.kind { form } else { NumberForm::default() };
        for Code { value, rows, texts, others: (least, greatest) } in tally.codes(form) {
            found.push(format!("{} has {value} in {rows} rows, else {least} to {greatest}", column.column));
            missing.named.extend(texts);
        }
    }
    let of_numbers = found.len();
    for (column, tally) in columns.iter().zip(&survey.tallies) {
        let Kind::Date { order, .. } = column.kind else { continue };
        let is_feature = column.role == Role::Feature;
        for (text, rows) in tally.never(order).filter(|(_, rows)| is_feature && *rows >= ROWS_OF_NEVER_MIN) {
            found.push(format!("{} has {} in {rows} rows", column.column, Quoted(text)));
            missing.named.push(text.to_owned());
        }
    }
    let what = if found.len() > of_numbers { "value" } else { "number" };
    let mut seen = HashSet::new();
    missing.named.retain(|token| seen.insert(token.clone()));
    (!found.is_empty()).then(|| {
        let found = listed(found.iter(), CODES_SHOWN);
        let word = for_shell(&missing.to_string());
        format!("{found}: if such a {what} stands for a missing value, --missing {word} says so, of all columns")
    })
}

/// What a column's name says of its kind.
fn name_of(survey: &Survey, place: usize) -> &str {
    match &survey.names {
        // Without a header, no name says anything.
        None => "column",
        Some(names) => names.get(place).map_or("", String::as_str),
    }
}

/// Why a column is no label that anybody would mean: there is a different one in each row, or it is one of many days.
fn no_label(tally: &Tally, name: &str, decimals: Decimals) -> Option<&'static str> {
    let decision = kinds::decide(tally, name, None, decimals);
    match decision.kind {
        Kind::RowNumber | Kind::Identifier => Some(decision.why),
        // Of a few days each may be a class.
        Kind::Date { .. } => {
            let are_many = |distinct| 2 * distinct > tally.present || distinct > CLASSES_OF_NUMBERS_MAX;
            tally.distinct().is_none_or(are_many).then_some("dates")
        }
        _ => None,
    }
}

fn planned(column: Column, decision: Decision, role: Role, tally: &Tally) -> PlannedColumn {
    let Decision { kind, why, reverse } = decision;
    // Nobody measures NA, but Namibia's code is that.
    let doubtful = match kind {
        Kind::Category | Kind::Unusable | Kind::Identifier | Kind::Constant => {
            tally.of_texts.tokens.iter().map(|(token, count)| (token.clone(), *count)).collect()
        }
        _ => Vec::new(),
    };
    PlannedColumn {
        column,
        kind,
        kind_of_later_rows: kind,
        role,
        why,
        reverse,
        missing: tally.missing,
        distinct: tally.distinct(),
        doubtful,
    }
}

fn role_by_kind(decision: &Decision, tally: &Tally) -> Role {
    match decision.kind {
        Kind::Number(_) | Kind::Category | Kind::Boolean | Kind::Date { .. } => Role::Feature,
        // Of a number it is an input that is 0.
        Kind::Constant if tally.present > 0 && tally.plain.count == tally.present => Role::Feature,
        Kind::Constant | Kind::RowNumber | Kind::Identifier | Kind::Unusable => Role::LeftOut(decision.why.to_owned()),
    }
}

/// What is to be learned, why, and whether that is a guess. Whole numbers are classes where at most 32 differ, and the square
/// of how many differ is at most twice the rows.
pub(super) fn task(labels: &[usize], tallies: &[Tally], options: &ReadOptions) -> (Task, String, bool) {
    if let Some(task) = options.task {
        return (task, "as asked".to_owned(), false);
    }
    let [place] = labels else { return (Task::Regress, "there are several labels".to_owned(), false) };
    let tally = &tallies[*place];
    let (_, read, _) = tally.best_notation(false);
    let numbers = read + tally.not_finite;
    if 2 * numbers < tally.present || tally.present == 0 {
        return (Task::Classify, "the labels are names".to_owned(), false);
    }
    let distinct = tally.distinct();
    let is_few = |distinct: u64| {
        distinct <= CLASSES_OF_NUMBERS_MAX && (distinct <= 2 || distinct * distinct <= 2 * tally.present)
    };
    let in_words = distinct.map_or_else(|| "very many".to_owned(), |distinct| distinct.to_string());
    if numbers < tally.present {
        return match distinct.is_some_and(is_few) {
            true => (Task::Classify, "the labels are numbers and names".to_owned(), true),
            false => (Task::Regress, format!("most labels are numbers, {in_words} different ones"), true),
        };
    }
    if tally.plain.whole < tally.present {
        return (Task::Regress, "the labels are numbers that are not all written as whole ones".to_owned(), true);
    }
    match distinct.is_some_and(is_few) {
        true => (Task::Classify, format!("the labels are {in_words} different whole numbers"), true),
        false => {
            (Task::Regress, format!("the labels are {in_words} different whole numbers, too many for classes"), true)
        }
    }
}

/// A hint that another column looks like the label.
fn label_elsewhere(columns: &[PlannedColumn], label: usize, survey: &Survey) -> Option<String> {
    let is_named = |planned: &PlannedColumn| {
        let name = planned.column.name.as_deref().unwrap_or_default().to_ascii_lowercase();
        NAMES_OF_LABELS.contains(&&*name)
    };
    if is_named(&columns[label]) {
        return None;
    }
    // Beside x, y is a coordinate.
    let is_called = |planned: &PlannedColumn, name: &str| {
        planned.column.name.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(name))
    };
    let has_x = columns.iter().any(|planned| is_called(planned, "x"));
    let by_name = columns.iter().position(|planned| is_named(planned) && !(has_x && is_called(planned, "y")));
    let is_text = |place: usize| {
        let tally: &Tally = &survey.tallies[place];
        tally.present > 0 && tally.plain.count == 0 && columns[place].kind == Kind::Category
    };
    let only_text_is_first = label != 0 && is_text(0) && (1..columns.len()).all(|place| !is_text(place));
    let place = by_name.or(only_text_is_first.then_some(0)).filter(|place| *place != label)?;
    let column = &columns[place].column;
    Some(format!(
        "the label is the last column, {}; if {column} is the label, say --label {}",
        columns[label].column,
        column.as_word()
    ))
}
