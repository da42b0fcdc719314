//! Whether the first line of a file names its columns, and lines below repeat it. Owns the evidence and how it is weighed; does not
//! know how lines are read.
//!
//! The evidence is what stands below: a name above numbers is no number, and a row's category is among the others'. Names
//! that are numbers, as pandas writes them, count up in equal steps where the rows below do not.

use super::missing::MissingTokens;
use super::tally::Tally;
use super::value::{self, Reading};

/// Numbers that count up by one, at least, to be taken for names where nothing else stands beside them.
const RUN_MIN: usize = 3;
/// The same of another step: few numbers have equal distances by chance.
const STEPS_MIN: usize = 4;
/// Numbers that are years.
const YEARS: std::ops::RangeInclusive<f64> = 1_800.0..=2_100.0;
/// Rows to each line that may repeat the names of the columns, at least.
const ROWS_TO_REPEATED_MIN: u64 = 10;

/// What a first line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_header: bool,
    /// Why, where it is a close call.
    pub(super) close: Option<&'static str>,
}

fn verdict(is_header: bool) -> Verdict {
    Verdict { is_header, close: None }
}

fn close(is_header: bool, why: &'static str) -> Verdict {
    Verdict { is_header, close: Some(why) }
}

/// How fields count up that are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Steps {
    /// Each is this much more than the one before.
    Equal(f64),
    /// They are years in order, some of which are not there.
    Years,
}

/// How these fields count up, if they are whole numbers in equal steps or years, perhaps behind texts, as they name the rows, and
/// before one, as it names the label.
pub(super) fn step<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Option<Steps> {
    let (mut last, mut step): (Option<f64>, Option<f64>) = (None, None);
    let (mut is_from_0, mut are_equal, mut are_years) = (false, true, true);
    let (mut count, mut names, mut has_label) = (0, 0, false);
    for (index, field) in fields.enumerate() {
        let field = std::str::from_utf8(field).ok()?.trim();
        match (value::plain(field), last) {
            // Behind the label nothing comes.
            _ if has_label => return None,
            (Reading::Number(number), None) if number.fract() == 0.0 => {
                (last, is_from_0, are_years) = (Some(number), number == 0.0, YEARS.contains(&number));
            }
            (Reading::Number(number), Some(before)) if number.fract() == 0.0 && number > before => {
                let found = number - before;
                are_equal &= *step.get_or_insert(found) == found;
                are_years &= YEARS.contains(&number);
                if !are_equal && !are_years {
                    return None;
                }
                last = Some(number);
            }
            // The names of rows may have none themselves.
            (Reading::Not, None) if index == 0 || !field.is_empty() => {
                names += 1;
                continue;
            }
            (Reading::Not, Some(_)) if !field.is_empty() => {
                has_label = true;
                continue;
            }
            _ => return None,
        }
        count += 1;
    }
    let step = step?;
    if !are_equal {
        return (names > 0 && !has_label && count >= STEPS_MIN).then_some(Steps::Years);
    }
    let least = match (names, has_label, step == 1.0) {
        (2.., _, _) if are_years => RUN_MIN,
        (2.., _, _) => STEPS_MIN,
        (1, false, true) => RUN_MIN - 1,
        // 0, 1 and a label: a frame of two columns of numbers to which a third was given by name.
        (_, true, true) if is_from_0 => RUN_MIN - 1,
        (0, false, false) => STEPS_MIN,
        _ => RUN_MIN,
    };
    (count >= least).then_some(Steps::Equal(step))
}

/// What a field of the first line says of the line, by those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Name,
    Value,
    /// It may be either, and is rather a name.
    PerhapsName,
    /// It may be either, and is rather a value.
    PerhapsValue,
    None,
}

fn evidence(text: &str, below: &Tally, missing: &MissingTokens) -> Evidence {
    if missing.has(text) {
        return Evidence::None;
    }
    if below.present == 0 {
        return if matches!(value::plain(text), Reading::Not) { Evidence::PerhapsName } else { Evidence::None };
    }
    let is_number = value::notations(text).0 != 0 || matches!(value::plain(text), Reading::NotFinite);
    let (_, numbers, _) = below.best_notation(false);
    let (_, dates, _) = below.best_date();
    if 2 * (numbers + below.not_finite) > below.present {
        return if is_number { Evidence::PerhapsValue } else { Evidence::Name };
    }
    if 2 * dates > below.present {
        return if super::date::orders(text) != 0 { Evidence::Value } else { Evidence::Name };
    }
    if 2 * below.of_texts.booleans.iter().sum::<u64>() > below.present {
        return if value::boolean(text).is_some() { Evidence::Value } else { Evidence::Name };
    }
    let repeats = below.distinct().is_some_and(|distinct| 2 * distinct <= below.present);
    match (below.has(text), repeats) {
        (true, true) => Evidence::Value,
        (true, false) => Evidence::PerhapsValue,
        (false, true) => Evidence::PerhapsName,
        (false, false) => Evidence::None,
    }
}

/// Whether each of a line's texts is a word.
pub(super) fn are_words(texts: &[&str]) -> bool {
    texts.iter().all(|text| is_word(text))
}

/// Whether a text is no number in any notation, and not empty.
pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && value::notations(text).0 == 0
}

/// Whether rows that are the same as the first line, so many of all, repeat the names of the columns: the line is a header, or each of
/// its words stands nowhere else, and there are few of them.
pub(super) fn is_repeated(texts: &[&str], below: &[Tally], is_header: bool, count: u64, rows: u64) -> bool {
    let named: Vec<(&str, &Tally)> = texts.iter().copied().zip(below).filter(|(text, _)| !text.is_empty()).collect();
    let stands_alone = |&(text, below): &(&str, &Tally)| is_word(text) && below.times(text) == Some(count);
    let are_names = || match is_header {
        true => named.iter().any(|(text, _)| is_word(text)),
        false => named.len() > 1 && ROWS_TO_REPEATED_MIN * count <= rows && named.iter().all(stands_alone),
    };
    count > 0 && are_names()
}

/// What the first line is, above columns of these values, of which so many rows count up by the same step themselves. The texts are
/// one for each column.
pub(super) fn judge(texts: &[&str], below: &[Tally], missing: &MissingTokens, rows: u64, runs_below: u64) -> Verdict {
    let is_text = |text: &&&str| !missing.has(text) && value::notations(text).0 == 0;
    if rows == 0 {
        // The last may be a label.
        return verdict(texts.split_last().is_some_and(|(_, rest)| rest.iter().any(|text| is_text(&text))));
    }
    let count = |wanted: Evidence| {
        texts.iter().zip(below).filter(|(text, below)| evidence(text, below, missing) == wanted).count()
    };
    // A category that stands below, too, or a missing one, is none of a line of names.
    let ends_missing = texts.last().is_some_and(|text| missing.has(text));
    // Years with gaps between them are told from values that rise by chance: such values lie among those below.
    let is_among = |(text, below): (&&str, &Tally)| match value::plain(text) {
        Reading::Number(number) => (below.plain.least..=below.plain.greatest).contains(&number),
        _ => false,
    };
    let is_alone = runs_below * 100 <= rows;
    let are_apart = || is_alone && !texts.iter().zip(below).any(is_among);
    let may_be_names = |step: &Steps| *step != Steps::Years || are_apart();
    let step = step(texts.iter().map(|text| text.as_bytes())).filter(may_be_names);
    if let Some(step) = step.filter(|_| !ends_missing && count(Evidence::Value) == 0) {
        return match (is_alone, step) {
            (true, Steps::Equal(1.0)) => close(true, "its fields count up by one, as names that are numbers do"),
            (true, Steps::Equal(_)) => close(true, "its fields count up in equal steps, as names that are numbers do"),
            (true, Steps::Years) => close(true, "its fields are years in order, above numbers that are none"),
            (false, _) => close(false, "its fields count up in equal steps, as those of other lines do"),
        };
    }
    let (names, values) = (count(Evidence::Name), count(Evidence::Value));
    let (perhaps_names, perhaps_values) = (count(Evidence::PerhapsName), count(Evidence::PerhapsValue));
    match (names, values) {
        (1.., 0) if perhaps_values <= names => verdict(true),
        (1.., 0) => close(true, "some of its fields are numbers, and another is none above numbers"),
        (0, 1..) => verdict(false),
        (1.., 1..) if names >= values => close(true, "some of its fields are unlike those below, and others like them"),
        (1.., 1..) => close(false, "most of its fields are like those below, and others unlike them"),
        (0, 0) if perhaps_values > 0 && perhaps_names > 0 => {
            close(false, "it has numbers above numbers, and text that stands nowhere below")
        }
        (0, 0) if perhaps_values > 0 => verdict(false),
        (0, 0) => {
            let mut distinct: Vec<&str> = texts.iter().copied().filter(|text| !text.is_empty()).collect();
            let all = distinct.len();
            distinct.sort_unstable();
            distinct.dedup();
            let are_names = all == distinct.len() && all + 1 >= texts.len() && texts.iter().any(|text| is_text(&text));
            match (are_names, perhaps_names == texts.len()) {
                (true, true) => verdict(true),
                (true, false) => close(true, "its fields differ from each other, and nothing below tells them apart"),
                (false, _) => close(false, "its fields are no names that differ"),
            }
        }
    }
}
