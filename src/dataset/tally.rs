//! What all values of a column are, counted. Owns the counts that decide a column's kind; does not know the decision.
//!
//! Every count is a sum, a minimum, a maximum or a set over the values, and so the same for any order of the rows. Memory is
//! bounded by the number of distinct values, of which only hashes are kept, up to a cap.

use super::codes::{Code, Ends};
use super::date::{self, DateOrder};
use super::delimited::{Column, Text};
use super::hash::{self, KeySet};
use super::missing::MissingTokens;
use super::short;
use super::sum_words;
use super::texts::{Counts, NO_CODE, Taken, Texts};
use super::value::{self, Notation, NumberForm, Ornament, Reading};
use super::written::Written;

/// Distinct numbers of a column that are counted, in a table of so many columns at most; beyond them there are "many". More
/// columns share the memory.
const NUMBERS_MAX: [(usize, usize); 3] = [(64, 1 << 14), (4_096, 1 << 10), (usize::MAX, 64)];
/// Different numbers, at least, where there are more than are counted.
const DISTINCT_MANY: u64 = 64;

/// What a field is that is no number in the shortest form.
enum Other {
    Number(f64),
    /// A known text's code, or that of a missing value.
    Code(u32),
    Neither,
}

/// The plain numbers of a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    pub(super) count: u64,
    /// Those that are whole.
    pub(super) whole: u64,
    pub(super) least: f64,
    pub(super) greatest: f64,
    /// Those that start with a zero as no number does.
    pub(super) leading_zeros: u64,
    /// Those of digits alone.
    pub(super) digits: u64,
    /// Those with a point.
    with_point: u64,
    /// Of those, the ones whose point may stand between thousands.
    thousands: u64,
    /// Of whole numbers, the sum of their hashes; of no use where one is known to come again.
    sum_of_hashes: u64,
    repeats: bool,
}

impl Default for Plain {
    fn default() -> Plain {
        Plain {
            count: 0,
            whole: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            leading_zeros: 0,
            digits: 0,
            with_point: 0,
            thousands: 0,
            sum_of_hashes: 0,
            repeats: false,
        }
    }
}

impl Plain {
    /// Takes in how some numbers are written.
    fn take_written(&mut self, written: Written) {
        self.count += written.count;
        self.with_point += written.with_point;
        self.thousands += written.thousands;
        self.leading_zeros += written.leading_zeros;
        self.digits += written.digits;
    }

    /// Takes in what numbers are worth, in loops without a branch; NaN is none. The least and the greatest of them.
    fn take_values(&mut self, numbers: &[f64]) -> (f64, f64) {
        let Extent { least, greatest, whole } = extent(numbers);
        (self.least, self.greatest) = (self.least.min(least), self.greatest.max(greatest));
        self.whole += whole;
        // They are no sequence where any is not whole, or comes again.
        if whole == numbers.len() as u64 && !self.repeats {
            self.sum_of_hashes =
                numbers.iter().fold(self.sum_of_hashes, |sum, &number| sum.wrapping_add(hash_of_whole(number)));
        }
        (least, greatest)
    }

    /// Those that this notation reads: all where it has a point for its decimal mark, else those without one.
    fn read_by(&self, notation: Notation) -> u64 {
        match notation {
            Notation::Point | Notation::PointGrouped | Notation::SpacedPoint => self.count,
            Notation::Comma | Notation::SpacedComma => self.count - self.with_point,
            Notation::CommaGrouped => self.count - self.with_point + self.thousands,
        }
    }
}

/// Characters of a unit, at most.
const UNIT_CHARACTERS_MAX: usize = 8;

/// What is known of a column.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Fields that hold a value.
    pub(super) present: u64,
    /// Fields that hold none.
    pub(super) missing: u64,
    /// Plain numbers, such as `-1.5`.
    pub(super) plain: Plain,
    /// `inf`, `1e400`.
    pub(super) not_finite: u64,
    pub(super) not_utf8: u64,
    /// What the texts are that are no plain numbers, as of the last [`Tally::settle`].
    pub(super) of_texts: Counts,
    numbers: KeySet,
    ends: Ends,
    texts: Texts,
    /// Whether the last rows were texts, most of them.
    expects_texts: bool,
}

/// The values of some rows of a column.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// The plain numbers that they are, NaN for what is none.
    pub(super) numbers: Vec<f64>,
    /// Where none is a plain number, the codes of the texts that they are.
    pub(super) codes: Vec<u32>,
    /// Those that are no numbers in the shortest form.
    others: Vec<u32>,
}

impl Tally {
    /// Of no values, of a column in a table of so many.
    pub(super) fn new(columns: usize) -> Tally {
        let numbers_max = NUMBERS_MAX.iter().find(|(most, _)| columns <= *most).map_or(0, |(_, max)| *max);
        Tally {
            present: 0,
            missing: 0,
            plain: Plain::default(),
            not_finite: 0,
            not_utf8: 0,
            of_texts: Counts::default(),
            numbers: KeySet::new(numbers_max),
            ends: Ends::default(),
            texts: Texts::new(),
            expects_texts: false,
        }
    }

    /// Takes a field in, and tells its code where it is a text.
    pub(super) fn take(&mut self, text: Text<'_>, missing: &MissingTokens) -> Option<u32> {
        let (mut values, mut room) = (Values::default(), Vec::new());
        self.take_all(Column::of_one(text, &mut room), missing, &mut values);
        values.codes.first().copied()
    }

    /// Takes the fields of some rows in, and gives their values.
    pub(super) fn take_all(&mut self, column: Column<'_>, missing: &MissingTokens, values: &mut Values) {
        let Values { numbers, codes, others } = values;
        let rows = column.len();
        codes.clear();
        others.clear();
        let before = self.plain.count;
        // What most fields are goes the shortest way; tokens that are named may be numbers.
        if !missing.named.is_empty() || self.expects_texts {
            numbers.clear();
            numbers.resize(rows, f64::NAN);
            others.extend(0..rows as u32);
        } else {
            short::read_all(column, numbers, others, |written| self.plain.take_written(written));
        }
        let mut more = 0;
        for &row in &*others {
            match self.take_other(column.text(row as usize), missing) {
                Other::Number(number) => {
                    numbers[row as usize] = number;
                    more += 1;
                }
                Other::Code(code) => codes.push(code),
                Other::Neither => {}
            }
        }
        self.expects_texts = 2 * (others.len() - more) > rows;
        self.present += self.plain.count - before;
        if self.plain.count > before {
            let (least, greatest) = self.plain.take_values(numbers);
            self.ends.take(numbers, column, least, greatest);
            // Both zeros are one number.
            let keys = numbers.iter().filter(|number| !number.is_nan()).map(|number| (number + 0.0).to_bits());
            self.plain.repeats |= self.numbers.take_all(keys);
        }
        self.texts.take_hashes();
    }

    /// Takes a field in that is, most likely, no plain number.
    #[inline(always)]
    fn take_other(&mut self, field: Text<'_>, missing: &MissingTokens) -> Other {
        if field.len() == 0 {
            self.missing += 1;
            return Other::Code(NO_CODE);
        }
        match self.texts.take_known(field) {
            Some(taken) => self.count(taken),
            None => self.take_unknown(field, missing),
        }
    }

    #[inline(always)]
    fn count(&mut self, taken: Taken) -> Other {
        match taken {
            Taken::Missing => {
                self.missing += 1;
                Other::Code(NO_CODE)
            }
            Taken::Code(code) => {
                self.present += 1;
                Other::Code(code)
            }
            Taken::Counted => {
                self.present += 1;
                Other::Neither
            }
        }
    }

    #[inline(never)]
    fn take_unknown(&mut self, field: Text<'_>, missing: &MissingTokens) -> Other {
        let Ok(whole) = std::str::from_utf8(field.bytes()) else {
            self.present += 1;
            self.not_utf8 += 1;
            return Other::Neither;
        };
        let text = whole.trim();
        if text.len() < whole.len() {
            let within = field.part(whole.len() - whole.trim_start().len(), text.len());
            if let Some(taken) = self.texts.take_known(within) {
                return self.count(taken);
            }
            if let Some(short) = short::read(within).filter(|_| missing.named.is_empty()) {
                self.plain.take_written(Written::of(text));
                return Other::Number(short.value);
            }
        }
        if missing.has(text) {
            let taken = self.texts.take_missing(text);
            return self.count(taken);
        }
        match value::plain_unless_name(text) {
            Reading::Number(number) => {
                self.plain.take_written(Written::of(text));
                Other::Number(number)
            }
            Reading::NotFinite => {
                self.present += 1;
                self.not_finite += 1;
                Other::Neither
            }
            Reading::Not => {
                let taken = self.texts.take(text);
                self.count(taken)
            }
        }
    }

    /// Counts together what the texts are that have been taken in.
    pub(super) fn settle(&mut self) {
        self.of_texts = self.texts.counts();
    }

    /// The texts, by their codes; none where there are too many.
    pub(super) fn known_texts(&self) -> Option<&[String]> {
        self.texts.known()
    }

    /// Where all values are numbers of this form, and those that are not plain are known, the numbers that may stand for none.
    pub(super) fn codes(&self, form: NumberForm) -> Vec<Code> {
        let mut ends = self.ends.clone();
        // With a point plain ones are other numbers in this form.
        let are_other = form.notation.has_comma() && self.plain.with_point > 0;
        if are_other || self.not_finite + self.not_utf8 > 0 {
            return Vec::new();
        }
        if !self.is_plain() {
            let Some(texts) = self.texts.known_values() else { return Vec::new() };
            for (text, rows) in texts {
                let Reading::Number(number) = form.read(text) else { return Vec::new() };
                ends.take_one(number, rows, text);
            }
        }
        ends.codes(self.distinct().unwrap_or(DISTINCT_MANY)).collect()
    }

    /// Whether all values so far are plain numbers.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.count == self.present
    }

    /// Whether all values are whole numbers below this one, of digits alone, without zeros in front.
    pub(super) fn is_of_plain_digits(&self, below: f64) -> bool {
        let Plain { count, digits, leading_zeros, greatest, .. } = self.plain;
        count == self.present && digits == count && leading_zeros == 0 && greatest < below
    }

    /// Whether all values are days of eight digits, and are counted.
    pub(super) fn are_days_of_digits(&self) -> bool {
        let mut keys = self.numbers.keys().into_iter().flatten().peekable();
        let are_digits = self.is_of_plain_digits(f64::INFINITY) && keys.peek().is_some();
        are_digits && keys.all(|bits| date::is_day_of_digits(f64::from_bits(bits)))
    }

    /// How many values differ; none where they are more than are counted.
    pub(super) fn distinct(&self) -> Option<u64> {
        let count = |seen: Option<usize>| seen.map(|seen| seen as u64);
        Some(count(self.numbers.len())? + count(self.texts.distinct())?)
    }

    /// Whether no value is a number, and each begins with one or a currency's sign and one, with a unit or a time of day behind it.
    pub(super) fn are_texts_behind_numbers(&self) -> bool {
        // Of a street with a number in front there is more behind it.
        let is_unit = |text: &str| {
            let is_of_number = |c: char| c.is_ascii_digit() || c.is_whitespace() || ".,:'".contains(c);
            let behind = value::behind_currency(text).trim_start_matches(is_of_number);
            behind.chars().count() <= UNIT_CHARACTERS_MAX
        };
        let are_units = self.texts.known_values().is_none_or(|mut texts| texts.all(|(text, _)| is_unit(text)));
        self.plain.count + self.not_finite + self.not_utf8 == 0 && self.texts.begin_with_digits() && are_units
    }

    /// Whether each value is groups of digits, perhaps with the sign of a currency, and marks between them that no number has so.
    pub(super) fn are_of_digits_and_marks(&self) -> bool {
        let is_mark = |c: char| c.is_whitespace() || ".,'’".contains(c);
        let is_of_digits = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
        let is_one = |text: &str| {
            let mut groups = value::behind_currency(text).trim().split(is_mark);
            groups.next().is_some_and(is_of_digits)
                && groups.all(|group| is_of_digits(group) && (2..=3).contains(&group.len()))
        };
        self.are_all_texts(is_one)
    }

    /// Whether each value is a number of digits, with commas between hundreds, thousands and lakhs, or without any, and some are of lakhs
    /// or more: `1,39,750`.
    pub(super) fn are_in_lakhs(&self) -> bool {
        let of_texts = self.texts.known_values().map(|texts| texts.map(|(text, _)| value::is_in_lakhs(text)));
        let are_all = of_texts.is_some_and(|texts| {
            let found: Vec<Option<bool>> = texts.collect();
            found.contains(&Some(true)) && !found.contains(&None)
        });
        are_all && self.not_finite + self.not_utf8 == 0
    }

    /// Whether each text that is a value and no number in any notation begins with a digit and ends with a letter, as `1.2K` does, and
    /// there are any.
    pub(super) fn have_units(&self) -> bool {
        let Some(texts) = self.texts.known_values() else { return false };
        let mut others = texts.map(|(text, _)| text).filter(|text| value::notations(text).0 == 0).peekable();
        others.peek().is_some()
            && others.all(|text| text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(char::is_alphabetic))
    }

    /// The dates in this order that stand for a day that is never to come, and how often each stands.
    pub(super) fn never(&self, order: DateOrder) -> impl Iterator<Item = (&str, u64)> {
        self.texts.known_values().into_iter().flatten().filter(move |(text, _)| date::is_never(text, order))
    }

    /// Whether another column has the same values, as far as they are known.
    pub(super) fn is_like(&self, other: &Tally) -> bool {
        let numbers = |tally: &Tally| {
            let Plain { count, whole, least, greatest, sum_of_hashes, .. } = tally.plain;
            (tally.present, tally.distinct(), count, whole, least.to_bits(), greatest.to_bits(), sum_of_hashes)
        };
        let texts = self.known_texts();
        numbers(self) == numbers(other) && texts.is_some() && texts == other.known_texts()
    }

    /// Whether each value is a number behind the name of one and the same currency.
    pub(super) fn are_numbers_behind_a_currency(&self) -> bool {
        let first = self.texts.known_values().and_then(|mut texts| texts.next());
        let name = first.and_then(|(text, _)| value::currency_in_front(text));
        name.is_some() && self.are_all_texts(|text| value::currency_in_front(text) == name)
    }

    /// Whether all values are known texts of some kind, and there are any.
    pub(super) fn are_all_texts(&self, is_one: impl Fn(&str) -> bool) -> bool {
        let are_all = self.texts.known_values().is_some_and(|mut texts| texts.all(|(text, _)| is_one(text)));
        are_all && self.present > 0 && self.plain.count + self.not_finite + self.not_utf8 == 0
    }

    /// Whether each value is a number behind an apostrophe, as a spreadsheet has it that is to take it for text.
    pub(super) fn are_numbers_behind_apostrophes(&self) -> bool {
        let is_one =
            |text: &str| text.strip_prefix('\'').is_some_and(|rest| matches!(value::plain(rest), Reading::Number(_)));
        self.are_all_texts(is_one)
    }

    /// Whether the values may name the rows: most differ. R's names do, but 1.1 and 1.10 are the same number, and NA is Namibia.
    pub(super) fn may_name_rows(&self) -> bool {
        let rows = self.present + self.missing;
        self.distinct().is_none_or(|distinct| 4 * (distinct + self.not_utf8) >= 3 * rows)
    }

    /// One of the values of which this holds, as it is written: the least of the texts that are known, or of the plain numbers.
    pub(super) fn example(&self, is_meant: impl Fn(&str) -> bool) -> Option<String> {
        let texts = self.texts.known_values().into_iter().flatten().map(|(text, _)| text);
        let text = texts.filter(|text| is_meant(text)).min();
        let least = (self.plain.count > 0).then(|| self.plain.least.to_string());
        text.map(str::to_owned).or(least.filter(|text| is_meant(text)))
    }

    /// How often this text stands among the values, where it is no plain number and is known.
    pub(super) fn times(&self, text: &str) -> Option<u64> {
        self.texts.known_values()?.find(|(known, _)| *known == text).map(|(_, times)| times)
    }

    /// The texts among the values that are what a line of sums is called, alone or with another of the values, and how often each stands.
    pub(super) fn sums(&self) -> impl Iterator<Item = (&str, u64)> {
        let is_sum = |text: &str| sum_words::sum_of(text).is_some_and(|of| of.is_empty() || self.texts.has(of));
        self.texts.known_values().into_iter().flatten().filter(move |(text, _)| is_sum(text))
    }

    /// Whether all numbers are whole and written plainly, and each other text is a word.
    pub(super) fn are_words_among_whole(&self) -> bool {
        self.plain.whole == self.plain.count && self.not_finite + self.not_utf8 == 0 && self.texts.are_words()
    }

    /// Rows with codes of digits and one letter, where every other value is of digits alone; else none.
    pub(super) fn codes_among_digits(&self) -> u64 {
        let codes = self.of_texts.texts;
        if self.texts.are_codes() && self.plain.digits + codes == self.present { codes } else { 0 }
    }

    /// Whether this text is among the values.
    pub(super) fn has(&self, text: &str) -> bool {
        match value::plain(text) {
            Reading::Number(number) => self.numbers.has((number + 0.0).to_bits()),
            _ => self.texts.has(text),
        }
    }

    /// The notation that reads most, with what it reads; the first of equals in this order of preference. Whether another one
    /// reads as much.
    pub(super) fn best_notation(&self, prefers_comma: bool) -> (Notation, u64, Option<Notation>) {
        use Notation::*;
        let order = match prefers_comma {
            false => [Point, PointGrouped, Comma, CommaGrouped, SpacedPoint, SpacedComma],
            true => [Point, Comma, CommaGrouped, PointGrouped, SpacedComma, SpacedPoint],
        };
        let reads = |notation: Notation| self.read_by(notation);
        let most = order.into_iter().map(reads).max().unwrap_or(0);
        let best = order.into_iter().find(|&notation| reads(notation) == most).unwrap_or_default();
        // Numbers that are plain are so to anybody; and where a decimal mark stood, only one of those with blanks would read as much.
        let is_plain_to_all = matches!(best, Point | SpacedPoint | SpacedComma);
        let is_rival = |other: &Notation| other.has_comma() != best.has_comma() && reads(*other) == most;
        let rival = order.into_iter().find(is_rival).filter(|_| !is_plain_to_all);
        (best, most, rival)
    }

    /// Whether each number has a decimal comma, and may have no point for its decimal mark.
    pub(super) fn has_decimal_commas(&self) -> bool {
        let reads_all = |notation: &Notation| self.read_by(*notation) == self.present;
        let mut all = Notation::ALL.into_iter().filter(reads_all).peekable();
        self.present > 0 && all.peek().is_some() && all.all(Notation::has_comma)
    }

    /// Whether all are plain numbers, and some have a point that stands between no thousands.
    pub(super) fn has_decimal_points(&self) -> bool {
        self.is_plain() && self.plain.with_point > self.plain.thousands
    }

    /// Whether each value is a number in which a point may stand between thousands, and some have one.
    pub(super) fn may_have_points_between_thousands(&self) -> bool {
        let reads = |notation: Notation| self.read_by(notation);
        // Nobody writes 123 as 0.123.
        let is_part = 0.0 < self.plain.least && self.plain.least < 1.0;
        reads(Notation::CommaGrouped) == self.present && reads(Notation::Comma) < self.present && !is_part
    }

    /// Fields that this notation reads.
    pub(super) fn read_by(&self, notation: Notation) -> u64 {
        self.plain.read_by(notation) + self.of_texts.notations[notation as usize]
    }

    /// The ornament that stands most often, and how often; the others are none of the form.
    pub(super) fn ornament(&self) -> Option<(Ornament, u64)> {
        let most = self.of_texts.ornaments.values().max()?;
        self.of_texts.ornaments.iter().find(|(_, count)| *count == most).map(|(ornament, count)| (*ornament, *count))
    }

    /// The order of dates that reads most, with what it reads, and whether another reads as much.
    pub(super) fn best_date(&self) -> (DateOrder, u64, Option<DateOrder>) {
        let most = self.of_texts.dates.iter().copied().max().unwrap_or(0);
        let mut of_most = DateOrder::ALL.into_iter().zip(self.of_texts.dates).filter(|(_, count)| *count == most);
        let best = of_most.next().map_or(DateOrder::YearFirst, |(order, _)| order);
        (best, most, of_most.next().map(|(order, _)| order))
    }

    /// Whether the values are whole numbers that count up one by one, none missing and none twice.
    pub(super) fn is_sequence(&self) -> bool {
        let Plain { least, greatest, whole, repeats, .. } = self.plain;
        let span = greatest - least;
        if repeats || self.missing > 0 || self.present < 2 || whole != self.present || span + 1.0 != self.present as f64
        {
            return false;
        }
        // As many different numbers: the sum of their hashes is that of the sequence.
        let first = least as i64;
        let sum =
            (0..self.present).fold(0u64, |sum, step| sum.wrapping_add(hash_of_whole((first + step as i64) as f64)));
        sum == self.plain.sum_of_hashes
    }
}

/// Where numbers lie, and how many are whole.
struct Extent {
    least: f64,
    greatest: f64,
    whole: u64,
}

/// The extent of numbers, among which NaN is none.
fn extent(numbers: &[f64]) -> Extent {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn by_avx2(numbers: &[f64]) -> Extent {
            extent_of(numbers)
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has what it is compiled for.
            return unsafe { by_avx2(numbers) };
        }
    }
    extent_of(numbers)
}

#[inline(always)]
fn extent_of(numbers: &[f64]) -> Extent {
    // Several side by side, which need not wait for each other.
    const LANES: usize = 8;
    let (mut least, mut greatest, mut whole) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES], [0u64; LANES]);
    let mut take = |lane: usize, number: f64| {
        least[lane] = if number < least[lane] { number } else { least[lane] };
        greatest[lane] = if number > greatest[lane] { number } else { greatest[lane] };
        whole[lane] += u64::from(is_whole(number));
    };
    let (eights, rest) = numbers.as_chunks::<LANES>();
    for eight in eights {
        (0..LANES).for_each(|lane| take(lane, eight[lane]));
    }
    rest.iter().for_each(|&number| take(0, number));
    Extent {
        least: least.into_iter().fold(f64::INFINITY, f64::min),
        greatest: greatest.into_iter().fold(f64::NEG_INFINITY, f64::max),
        whole: whole.iter().sum(),
    }
}

/// Whether a number is whole. What is added pushes out what is behind the point, where there is any.
#[inline(always)]
fn is_whole(number: f64) -> bool {
    const WHOLE_FROM: f64 = (1u64 << 52) as f64;
    let size = number.abs();
    (size + WHOLE_FROM) - WHOLE_FROM == size || size >= WHOLE_FROM
}

/// Of a whole number.
fn hash_of_whole(number: f64) -> u64 {
    hash::spread((number + 0.0).to_bits())
}
