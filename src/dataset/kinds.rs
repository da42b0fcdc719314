//! What kind of column it is, by the counts of its values. Owns the rules; does not know what becomes of a kind.

use super::date::{self, DateOrder};
use super::tally::Tally;
use super::value::{self, Notation, NumberForm, Ornament};

/// Rows from which whole numbers in sequence count rows, and unique texts name them, whatever the column is called.
const ROWS_NUMBERED_MIN: u64 = 20;
/// Different values that are few in any column.
const FEW: u64 = 20;
/// Categories of a column, at most, where nobody has said that these are categories.
pub(super) const CATEGORIES_MAX: u64 = 1_000;
/// Rows in which a text stands that makes a column of numbers and texts one of names: fewer are slips.
const ROWS_OF_A_NAME_MIN: u64 = 3;
/// Days since 1900, as spreadsheets count them: those of 1954 to 2119.
const DAYS_OF_SPREADSHEETS: std::ops::RangeInclusive<f64> = 20_000.0..=80_000.0;
/// Whole numbers in sequence that are years where the column is named so: others count rows.
const YEARS: std::ops::RangeInclusive<f64> = 1_000.0..=2_999.0;

/// Of texts such as 0:30, or 7:15 PM.
const TIMES: &str =
    "times such as 12:30, which are not read; minutes or seconds alone, as one number, would be one input";
/// Of texts such as 2024-01.
const MONTHS: &str = "months without a day, which are not read; the first day of each, such as 2024-01-01, would be";
/// Of texts such as 2024-W05.
const WEEKS: &str = "weeks, which are not read; the first day of each, such as 2024-01-29, would be";
/// Of texts such as 9/5, or 50-59.
const PAIRS: &str = "two numbers with a sign between; each in a column of its own would be an input";
/// Of texts such as 12 kg, or 18h 46m.
const BEHIND_NUMBERS: &str = "text behind numbers; numbers alone, in one unit, would be one input";
/// Of texts such as CHF 12.
const IN_FRONT_OF_NUMBERS: &str = "text in front of numbers; numbers alone would be one input";
/// Of texts such as 3,70,14,476.00.
const OF_OTHER_MARKS: &str = "digits with other marks than numbers have; numbers such as 1234567.5 would be one input";
/// Of texts such as 1,39,750.
const IN_LAKHS: &str = "digits in groups of two, such as 1,39,750; numbers such as 139750 would be one input";
/// Of numbers beside texts such as 1.2K.
const MIXED: &str = "numbers, some with text behind; numbers alone, in one unit, would be one input";
/// Of whole numbers in sequence that may be days.
const DAYS_OR_ROWS: &str = "whole numbers in sequence, of use if they are the days of a spreadsheet";
/// Of texts such as '12.
const BEHIND_APOSTROPHES: &str = "an apostrophe in front of numbers; numbers alone would be one input";

/// Words of a name that say of a column that it tells things from each other, with blanks between.
const IDENTIFIERS: &str = "uid uuid guid pid ssn mrn ean isbn barcode phone telephone telefon matricule";
/// What is numbered, in names such as userid, invoice_no and Kundennummer.
const THINGS: &str = "account artikel auftrags bestell case client contract customer document employee invoice item konto kunden \
                      member mitglieds order passenger patient patienten personal phone policy product rechnungs record \
                      reference serial session student subject telefon ticket transaction user vertrags";
/// Of these, how many there are is told by such names, too: session_number.
const COUNTED: &str = "case item order passenger product session student subject ticket transaction user";
/// What stands behind that.
const NUMBERS: [&str; 6] = ["id", "no", "nr", "num", "number", "nummer"];

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Numbers.
    Number(NumberForm),
    /// Names, of which there are few.
    Category,
    /// True and false, yes and no.
    Boolean,
    /// Days, or points in time.
    Date {
        /// How they are written.
        order: DateOrder,
        /// Whether any has a time of day.
        has_time: bool,
    },
    /// Whole numbers that count the rows.
    RowNumber,
    /// A name for each row.
    Identifier,
    /// One value everywhere, or none at all.
    Constant,
    /// Text with few repetitions: nothing that can be learned from.
    Unusable,
}

impl Kind {
    /// Whether its values are plain numbers, such as `-1.5`.
    pub(super) fn is_plain(&self) -> bool {
        const PLAIN: NumberForm = NumberForm { notation: Notation::Point, ornament: None };
        matches!(self, Kind::Number(PLAIN) | Kind::Constant | Kind::RowNumber)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Number(_) => "number",
            Kind::Category => "category",
            Kind::Boolean => "boolean",
            Kind::Date { has_time: false, .. } => "date",
            Kind::Date { has_time: true, .. } => "time",
            Kind::RowNumber => "row number",
            Kind::Identifier => "identifier",
            Kind::Constant => "constant",
            Kind::Unusable => "unusable",
        }
    }
}

/// Why a kind is what a user says.
pub(super) const AS_ASKED: &str = "as asked";

/// What a user says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Number,
    Category,
    Date,
    /// It is of use, whatever it seems to be.
    Use,
}

/// A kind, why it is that, and how to say otherwise where it is a guess.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) kind: Kind,
    pub(super) why: &'static str,
    /// Options that reverse it, before the column's name; "" where it is no guess.
    pub(super) reverse: &'static str,
}

fn decided(kind: Kind, why: &'static str, reverse: &'static str) -> Decision {
    Decision { kind, why, reverse }
}

/// What the whole file says of how its numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decimals {
    /// The user says so.
    Said { comma: bool },
    /// A comma where both are possible: another sign separates the fields.
    PrefersComma,
    /// The same, and there are columns that nothing else fits: a point can only stand between thousands.
    HasComma,
    /// A point where both are possible.
    PrefersPoint,
}

/// The form that reads most of the numbers, how many it reads, and whether another form would read them otherwise.
fn number_form(tally: &Tally, decimals: Decimals) -> (NumberForm, u64, bool) {
    let (notation, read, rival) = match decimals {
        Decimals::Said { comma } => {
            let of_mark = Notation::ALL.into_iter().filter(|notation| notation.has_comma() == comma);
            let most = of_mark.clone().map(|notation| tally.read_by(notation)).max().unwrap_or(0);
            let best = of_mark.clone().find(|&notation| tally.read_by(notation) == most).unwrap_or_default();
            (best, most, None)
        }
        Decimals::HasComma if tally.may_have_points_between_thousands() => {
            (Notation::CommaGrouped, tally.read_by(Notation::CommaGrouped), None)
        }
        Decimals::PrefersComma | Decimals::HasComma => tally.best_notation(true),
        Decimals::PrefersPoint => tally.best_notation(false),
    };
    let ornament = tally.ornament().filter(|(_, count)| 2 * count > read).map(|(ornament, _)| ornament);
    (NumberForm { notation, ornament }, read, rival.is_some())
}

/// Whether every row has one value. What is not counted among the different ones is another, and is refused.
fn is_one_value(tally: &Tally) -> bool {
    tally.distinct() == Some(1) && tally.missing + tally.not_finite + tally.not_utf8 == 0
}

/// The kind of a column of this name.
pub(super) fn decide(tally: &Tally, name: &str, said: Option<Said>, decimals: Decimals) -> Decision {
    let (form, read, is_ambiguous) = number_form(tally, decimals);
    let (order, dates, other_order) = tally.best_date();
    let has_time = tally.of_texts.times > 0;
    match said {
        Some(Said::Number) => return decided(Kind::Number(form), AS_ASKED, ""),
        Some(Said::Category) => return decided(Kind::Category, AS_ASKED, ""),
        Some(Said::Date) => return decided(Kind::Date { order, has_time }, AS_ASKED, ""),
        Some(Said::Use) | None => {}
    }
    let decision = by_values(tally, name, form, read, is_ambiguous, (order, dates, other_order.is_some()));
    match (said, decision.kind) {
        (Some(Said::Use), Kind::RowNumber) => decided(Kind::Number(form), AS_ASKED, ""),
        (Some(Said::Use), Kind::Identifier | Kind::Unusable) if read == tally.present => {
            decided(Kind::Number(form), AS_ASKED, "")
        }
        (Some(Said::Use), Kind::Identifier | Kind::Unusable) => decided(Kind::Category, AS_ASKED, ""),
        _ => decision,
    }
}

/// By which kind rows are read that come later: in a file with decimal commas, numbers without any mark may have points between
/// thousands there, as they might have here.
pub(super) fn of_later_rows(kind: Kind, tally: &Tally, decimals: Decimals) -> Kind {
    match kind {
        Kind::Number(NumberForm { notation: Notation::Point, ornament })
            if decimals == Decimals::HasComma && tally.read_by(Notation::Comma) == tally.present =>
        {
            Kind::Number(NumberForm { notation: Notation::CommaGrouped, ornament })
        }
        kind => kind,
    }
}

fn by_values(
    tally: &Tally,
    name: &str,
    form: NumberForm,
    read: u64,
    is_ambiguous: bool,
    (order, dates, is_either_order): (DateOrder, u64, bool),
) -> Decision {
    let present = tally.present;
    let distinct = tally.distinct();
    let is_one = is_one_value(tally);
    let numbers = read + tally.not_finite;
    if present == 0 {
        return decided(Kind::Constant, "no row has a value", "");
    }
    if numbers == present {
        return numeric(tally, name, form, is_ambiguous, is_one);
    }
    if is_one {
        return decided(Kind::Constant, "every row has the same value", "");
    }
    if tally.of_texts.booleans.iter().sum::<u64>() == present {
        return decided(Kind::Boolean, "", "");
    }
    if dates == present {
        let why = match (is_either_order, tally.of_texts.short_years > 0) {
            (true, true) => "the month may also be the second number; years of two digits count as 1969 to 2068",
            (true, false) => "the month may also be the second number",
            (false, true) => "years of two digits count as 1969 to 2068",
            (false, false) => "",
        };
        let reverse = if why.is_empty() { "" } else { "write dates as 2024-01-31, or --category" };
        return decided(Kind::Date { order, has_time: tally.of_texts.times > 0 }, why, reverse);
    }
    // A name in several rows is meant; one that stands once among numbers is a slip, unless it is a word among few numbers that
    // stand again and again, or there are codes such as 136A beside 136.
    let repeats = distinct.is_some_and(|distinct| 2 * distinct <= present);
    let are_few = distinct.is_some_and(|distinct| distinct <= FEW)
        && (tally.of_texts.rarest >= ROWS_OF_A_NAME_MIN || (repeats && tally.are_words_among_whole()));
    let are_names = are_few || tally.codes_among_digits() >= ROWS_OF_A_NAME_MIN;
    if 2 * numbers >= present && !are_names {
        return decided(Kind::Number(form), "most values are numbers", "");
    }
    if 2 * dates >= present && !are_names {
        return decided(Kind::Date { order, has_time: tally.of_texts.times > 0 }, "most values are dates", "");
    }
    textual(tally, numbers > 0)
}

/// A column whose every value is a number.
fn numeric(tally: &Tally, name: &str, form: NumberForm, is_ambiguous: bool, is_one: bool) -> Decision {
    let present = tally.present;
    if tally.plain.leading_zeros > 0 && tally.plain.digits == present {
        return match textual(tally, true).kind {
            Kind::Category => decided(Kind::Category, "codes with leading zeros", "--number"),
            Kind::Constant => decided(Kind::Constant, "every row has the same value", ""),
            _ => decided(Kind::Identifier, "codes with leading zeros, nearly all different", "--number"),
        };
    }
    if is_one || (tally.missing == 0 && tally.plain.count == present && tally.plain.least == tally.plain.greatest) {
        return decided(Kind::Constant, "every row has the same number", "");
    }
    if says_day(name) && tally.are_days_of_digits() {
        let kind = Kind::Date { order: DateOrder::YearFirst, has_time: false };
        return decided(kind, "days of eight digits under the name of such", "--number");
    }
    let named = name_of_rows(name);
    let is_long = present >= ROWS_NUMBERED_MIN;
    let are_years = named == Named::Time && YEARS.contains(&tally.plain.least) && YEARS.contains(&tally.plain.greatest);
    if are_years && tally.is_sequence() {
        return decided(Kind::Number(form), "", "");
    }
    let counts_rows = is_long || matches!(named, Named::RowNumber | Named::Identifier);
    if counts_rows && tally.is_sequence() {
        let are_days = [tally.plain.least, tally.plain.greatest].iter().all(|day| DAYS_OF_SPREADSHEETS.contains(day));
        let why = if says_day(name) && are_days { DAYS_OR_ROWS } else { "whole numbers in sequence" };
        return decided(Kind::RowNumber, why, "--use");
    }
    let all_differ =
        is_long && tally.plain.whole == present && tally.distinct().is_none_or(|distinct| distinct == present);
    // Some rows of a file, in another order, as those that split it leave them.
    if named == Named::RowNumber && all_differ && tally.missing == 0 {
        return decided(Kind::RowNumber, "different whole numbers under the name of a row number, or none", "--use");
    }
    if named == Named::Identifier && all_differ {
        return decided(Kind::Identifier, "different whole numbers under the name of an identifier", "--use");
    }
    if is_ambiguous {
        let why = if form.notation.has_comma() { "a comma for the decimal mark" } else { "a comma between thousands" };
        let reverse = if form.notation.has_comma() {
            "--decimal . for all columns, or --category"
        } else {
            "--decimal , for all columns, or --category"
        };
        return decided(Kind::Number(form), why, reverse);
    }
    let is_few = tally.plain.whole == present && tally.distinct().is_some_and(|distinct| (3..=10).contains(&distinct));
    decided(Kind::Number(form), "", if is_few { "--category" } else { "" })
}

/// A column of names, more or less.
fn textual(tally: &Tally, has_numbers: bool) -> Decision {
    let (present, distinct) = (tally.present, tally.distinct());
    let most_differ = distinct.is_none_or(|distinct| 2 * distinct > present);
    if is_one_value(tally) {
        return decided(Kind::Constant, "every row has the same value", "");
    }
    if tally.of_texts.uuids == present && most_differ && present >= ROWS_NUMBERED_MIN {
        return decided(Kind::Identifier, "UUIDs", "--use");
    }
    // Few of them may well be names.
    let are_many = distinct.is_none_or(|distinct| distinct > FEW);
    let is_mixed = has_numbers && tally.have_units() && tally.codes_among_digits() == 0;
    let like_numbers = match (has_numbers, are_many) {
        (false, true) => like_numbers(tally),
        (true, true) if tally.are_in_lakhs() => Some(IN_LAKHS),
        (true, _) if is_mixed => Some(MIXED),
        _ => None,
    };
    let like_numbers = like_numbers.or_else(|| tally.are_numbers_behind_apostrophes().then_some(BEHIND_APOSTROPHES));
    // What would be refused is no advice.
    let reverse = if has_numbers && like_numbers.is_none() { "--number" } else { "" };
    if distinct == Some(present) && present >= ROWS_NUMBERED_MIN {
        return decided(Kind::Identifier, like_numbers.unwrap_or("a different text in every row"), "--use");
    }
    match distinct {
        Some(distinct) if distinct <= FEW || (distinct <= CATEGORIES_MAX && !most_differ) => {
            let why = like_numbers.unwrap_or(if has_numbers { "numbers and names" } else { "" });
            decided(Kind::Category, why, reverse)
        }
        _ => decided(Kind::Unusable, like_numbers.unwrap_or("text with few repetitions"), "--use"),
    }
}

/// What may be said of a column's values.
type Test = fn(&Tally) -> bool;

/// What many texts are that would be of use if they were written otherwise, if they are that.
fn like_numbers(tally: &Tally) -> Option<&'static str> {
    let reasons: [(Test, &str); 8] = [
        (|tally| tally.are_all_texts(date::is_time_alone), TIMES),
        (|tally| tally.are_all_texts(date::is_month), MONTHS),
        (|tally| tally.are_all_texts(date::is_week), WEEKS),
        (|tally| tally.are_all_texts(value::is_pair), PAIRS),
        (Tally::are_in_lakhs, IN_LAKHS),
        (Tally::are_of_digits_and_marks, OF_OTHER_MARKS),
        (Tally::are_texts_behind_numbers, BEHIND_NUMBERS),
        (Tally::are_numbers_behind_a_currency, IN_FRONT_OF_NUMBERS),
    ];
    reasons.into_iter().find(|(is_so, _)| is_so(tally)).map(|(_, why)| why)
}

/// Whether this is why: the texts are numbers with something beside them.
pub(super) fn is_of_numbers_with_text(why: &str) -> bool {
    let reasons =
        [TIMES, PAIRS, BEHIND_NUMBERS, IN_FRONT_OF_NUMBERS, OF_OTHER_MARKS, IN_LAKHS, MIXED, BEHIND_APOSTROPHES];
    reasons.contains(&why)
}

/// What a column's name says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// As what counts rows: R and pandas leave it empty.
    RowNumber,
    Identifier,
    /// A year, or a point in time that may be one.
    Time,
    Otherwise,
}

/// Whether a column's name is that of days.
fn says_day(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["date", "day", "datum"].iter().any(|word| lower.contains(word))
}

fn name_of_rows(name: &str) -> Named {
    let lower = name.to_ascii_lowercase();
    match &*lower {
        "" | "index" | "row" | "rownum" | "row_number" | "rownames" | "no" | "nr" | "#" | "unnamed: 0" => {
            Named::RowNumber
        }
        "year" | "years" | "yr" | "time" | "date" => Named::Time,
        _ if names_things(name) || (name.ends_with("Id") && name.len() > 2) => Named::Identifier,
        _ => Named::Otherwise,
    }
}

/// Whether a column's name is that of what tells one thing from others: by its words, which signs, blanks and capitals divide.
pub(super) fn names_things(name: &str) -> bool {
    let (mut spaced, mut before) = (String::new(), ' ');
    for c in name.chars() {
        if before.is_lowercase() && c.is_uppercase() {
            spaced.push(' ');
        }
        match c.is_alphanumeric() {
            true => spaced.extend(c.to_lowercase()),
            false => spaced.push(' '),
        }
        before = c;
    }
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let [first, .., last] = words[..] else {
        return words.first().is_some_and(|word| *word == "id" || names_things_alone(word));
    };
    let of_thing = is_number_of(words[words.len() - 2], last) || first == "id" && is_among(words[1], THINGS);
    last == "id" || of_thing || names_things_alone(last)
}

/// The same of a name's last word.
fn names_things_alone(word: &str) -> bool {
    let is_of_thing = |number: &&str| word.strip_suffix(*number).is_some_and(|thing| is_number_of(thing, number));
    is_among(word, IDENTIFIERS) || NUMBERS.iter().any(is_of_thing)
}

/// Whether a thing and what stands behind it are its number, and not how many there are.
fn is_number_of(thing: &str, number: &str) -> bool {
    let may_count = matches!(number, "num" | "number") && is_among(thing, COUNTED);
    NUMBERS.contains(&number) && is_among(thing, THINGS) && !may_count
}

fn is_among(word: &str, words: &str) -> bool {
    words.split(' ').any(|other| other == word)
}

/// How a form of numbers is told to a person, where it is not the plain one.
pub(super) fn form_in_words(form: NumberForm) -> Option<String> {
    let notation = (form.notation != Notation::Point).then(|| format!("written {}", form.notation.name()));
    let ornament = form.ornament.map(|ornament| match ornament {
        Ornament::Percent => "in %".to_owned(),
        Ornament::Currency(sign) => format!("in {sign}"),
    });
    match (notation, ornament) {
        (Some(notation), Some(ornament)) => Some(format!("{notation}, {ornament}")),
        (notation, ornament) => notation.or(ornament),
    }
}
