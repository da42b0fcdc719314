//! What all values of a column are, counted. Owns the counts that decide a column's kind; does not know the decision.
//!
//! Every count is a sum, a minimum, a maximum or a set over the values, and so the same for any order of the rows. Memory is
//! bounded by the number of distinct values, of which only hashes are kept, up to a cap.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use super::date::{self, DateOrder};
use super::delimited::Text;
use super::hash::{self, AsIs, KeySet};
use super::memo::Memo;
use super::short::{self, Short};
use super::value::{self, MissingTokens, Notation, Ornament, Reading};

/// Distinct numbers of a column that are counted, in a table of so many columns at most; beyond them there are "many". More
/// columns share the memory.
const NUMBERS_MAX: [(usize, usize); 3] = [(64, 1 << 14), (4_096, 1 << 10), (usize::MAX, 64)];
/// Distinct texts of a column that are counted.
const TEXTS_MAX: usize = 1 << 20;
/// Of up to so many different texts it is known what each is.
const KNOWN_MAX: usize = 1 << 14;
/// Different marks for a missing value that are told apart.
const TOKENS_MAX: usize = 16;

/// What one text is, apart from a plain number.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    notations: u8,
    dates: u8,
    boolean: Option<bool>,
    is_uuid: bool,
    has_time: bool,
    is_word: bool,
    is_code: bool,
    ornament: Option<Ornament>,
}

impl Class {
    fn of(text: &str) -> Class {
        let (notations, ornament) = value::notations(text);
        let dates = if notations == 0 { date::orders(text) } else { 0 };
        Class {
            notations,
            dates,
            boolean: value::boolean(text),
            is_uuid: value::is_uuid(text),
            has_time: dates != 0 && text.contains(':'),
            is_word: value::is_word(text),
            is_code: value::is_code(text),
            ornament: ornament.filter(|_| notations != 0),
        }
    }
}

/// The texts of a column that are no plain numbers.
#[derive(Clone, Debug)]
struct Texts {
    count: u64,
    /// The different ones, by their hashes, up to a cap.
    seen: KeySet,
    /// How often each stands, and what it is; none of them where they are many.
    known: Option<HashMap<u64, (u64, Class), BuildHasherDefault<AsIs>>>,
    are_words: bool,
    are_codes: bool,
    /// Hashes that are not among the seen yet, of a few rows.
    hashes: Vec<u64>,
    /// The hashes of short texts, and what they are.
    memo: Memo<(u64, Class)>,
}

impl Texts {
    fn new() -> Texts {
        let (seen, known) = (KeySet::new(TEXTS_MAX), Some(HashMap::default()));
        Texts { count: 0, seen, known, are_words: true, are_codes: true, hashes: Vec::new(), memo: Memo::default() }
    }

    /// Takes a text in that has been before.
    fn take_again(&mut self, hash: u64) {
        self.count += 1;
        if let Some((count, _)) = self.known.as_mut().and_then(|known| known.get_mut(&hash)) {
            *count += 1;
        }
    }

    /// Takes a text in, and tells its hash and what it is.
    fn take(&mut self, text: &str) -> (u64, Class) {
        let hash = hash::of_text(text.as_bytes());
        self.count += 1;
        if let Some(known) = &mut self.known {
            if let Some((count, class)) = known.get_mut(&hash) {
                *count += 1;
                return (hash, *class);
            }
            if known.len() == KNOWN_MAX {
                self.known = None;
            }
        }
        let class = Class::of(text);
        self.are_words &= class.is_word;
        self.are_codes &= class.is_code;
        self.hashes.push(hash);
        if let Some(known) = &mut self.known {
            known.insert(hash, (1, class));
        }
        (hash, class)
    }

    fn take_hashes(&mut self) {
        self.seen.take_all(self.hashes.drain(..));
    }
}

/// How plain numbers are written: five counts of twelve bits each, side by side, so that one addition counts a number.
#[derive(Clone, Copy, Default)]
struct Written(u64);

/// Numbers whose ways of being written are counted together, fewer than there is room for.
const WRITTEN_MAX: usize = 1 << 11;

impl Written {
    #[inline(always)]
    fn new(has_point: bool, may_be_thousands: bool, has_leading_zero: bool, is_of_digits: bool) -> Written {
        let [point, thousands, zero, digits] =
            [has_point, may_be_thousands, has_leading_zero, is_of_digits].map(u64::from);
        Written(1 | point << 12 | thousands << 24 | zero << 36 | digits << 48)
    }

    fn of(text: &str) -> Written {
        let has_point = text.as_bytes().contains(&b'.');
        let may_be_thousands = has_point && value::may_be_thousands(text);
        let is_of_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        Written::new(has_point, may_be_thousands, value::has_leading_zero(text), is_of_digits)
    }

    #[inline(always)]
    fn of_short(short: &Short, text: Text<'_>) -> Written {
        let is_of_digits = short.is_of_digits();
        let has_leading_zero = is_of_digits & (short.bytes > 1) & (text.first() == Some(b'0'));
        Written::new(short.decimals.is_some(), short.may_be_thousands(), has_leading_zero, is_of_digits)
    }
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
    /// Takes in how numbers are written, [`WRITTEN_MAX`] at most.
    fn take_written(&mut self, Written(counts): Written) {
        let count = |place: u32| counts >> (12 * place) & 0xfff;
        self.count += count(0);
        self.with_point += count(1);
        self.thousands += count(2);
        self.leading_zeros += count(3);
        self.digits += count(4);
    }

    /// Takes in what numbers are worth, in loops without a branch; NaN is none.
    fn take_values(&mut self, numbers: &[f64]) {
        let (mut least, mut greatest) = (self.least, self.greatest);
        let mut whole = 0;
        for &number in numbers {
            least = if number < least { number } else { least };
            greatest = if number > greatest { number } else { greatest };
            whole += u64::from(is_whole(number));
        }
        (self.least, self.greatest) = (least, greatest);
        self.whole += whole;
        // They are no sequence where any is not whole, or comes again.
        if whole == numbers.len() as u64 && !self.repeats {
            self.sum_of_hashes =
                numbers.iter().fold(self.sum_of_hashes, |sum, &number| sum.wrapping_add(hash_of_whole(number)));
        }
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

/// What is known of a column.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Fields that hold a value.
    pub(super) present: u64,
    /// Fields that hold none.
    pub(super) missing: u64,
    /// Of those, how often each mark stands.
    pub(super) tokens: BTreeMap<String, u64>,
    /// Plain numbers, such as `-1.5`.
    pub(super) plain: Plain,
    /// `inf`, `1e400`.
    pub(super) not_finite: u64,
    /// How many fields each notation reads, without plain numbers.
    notations: [u64; Notation::ALL.len()],
    ornaments: BTreeMap<Ornament, u64>,
    pub(super) booleans: [u64; 2],
    dates: [u64; DateOrder::ALL.len()],
    pub(super) times: u64,
    pub(super) uuids: u64,
    pub(super) not_utf8: u64,
    numbers: KeySet,
    texts: Texts,
}

impl Tally {
    /// Of no values, of a column in a table of so many.
    pub(super) fn new(columns: usize) -> Tally {
        let numbers_max = NUMBERS_MAX.iter().find(|(most, _)| columns <= *most).map_or(0, |(_, max)| *max);
        Tally {
            present: 0,
            missing: 0,
            tokens: BTreeMap::new(),
            plain: Plain::default(),
            not_finite: 0,
            notations: [0; Notation::ALL.len()],
            ornaments: BTreeMap::new(),
            booleans: [0; 2],
            dates: [0; DateOrder::ALL.len()],
            times: 0,
            uuids: 0,
            not_utf8: 0,
            numbers: KeySet::new(numbers_max),
            texts: Texts::new(),
        }
    }

    /// Takes a field in.
    pub(super) fn take(&mut self, text: Text<'_>, missing: &MissingTokens) {
        self.take_all(std::iter::once(text), missing, &mut Vec::new());
    }

    /// Takes the fields of many rows in, and gives the plain numbers that they are, NaN for what is none.
    pub(super) fn take_all<'a>(
        &mut self,
        texts: impl Iterator<Item = Text<'a>>,
        missing: &MissingTokens,
        numbers: &mut Vec<f64>,
    ) {
        numbers.clear();
        // What most fields are goes the shortest way; tokens that are named may be numbers.
        let has_names = !missing.named.is_empty();
        let before = self.plain.count;
        let mut written = Written::default();
        for text in texts {
            let number = match short::read(text) {
                Some(short) if !has_names => {
                    written.0 += Written::of_short(&short, text).0;
                    short.value
                }
                _ => match self.take_any(text, missing) {
                    Some((number, Written(one))) => {
                        written.0 += one;
                        number
                    }
                    None => f64::NAN,
                },
            };
            numbers.push(number);
            if numbers.len().is_multiple_of(WRITTEN_MAX) {
                self.plain.take_written(std::mem::take(&mut written));
            }
        }
        self.plain.take_written(written);
        self.present += self.plain.count - before;
        if self.plain.count > before {
            self.plain.take_values(numbers);
            // Both zeros are one number.
            let keys = numbers.iter().filter(|number| !number.is_nan()).map(|number| (number + 0.0).to_bits());
            self.plain.repeats |= self.numbers.take_all(keys);
        }
        self.texts.take_hashes();
    }

    /// Takes a field in that is no plain number, and tells what number it is otherwise.
    fn take_any(&mut self, field: Text<'_>, missing: &MissingTokens) -> Option<(f64, Written)> {
        if field.len() == 0 {
            self.missing += 1;
            return None;
        }
        if let Some((hash, class)) = self.texts.memo.get(field) {
            self.texts.take_again(hash);
            self.present += 1;
            self.take_class(&class);
            return None;
        }
        let Ok(text) = std::str::from_utf8(field.bytes()).map(str::trim) else {
            self.present += 1;
            self.not_utf8 += 1;
            return None;
        };
        if missing.has(text) {
            self.missing += 1;
            if !text.is_empty() && (self.tokens.len() < TOKENS_MAX || self.tokens.contains_key(text)) {
                *self.tokens.entry(text.to_owned()).or_default() += 1;
            }
            return None;
        }
        match value::plain(text) {
            Reading::Number(number) => return Some((number, Written::of(text))),
            Reading::NotFinite => self.not_finite += 1,
            Reading::Not => {
                let (hash, class) = self.texts.take(text);
                self.texts.memo.put(field, (hash, class));
                self.take_class(&class);
            }
        }
        self.present += 1;
        None
    }

    fn take_class(&mut self, class: &Class) {
        for (bit, count) in self.notations.iter_mut().enumerate() {
            *count += u64::from(class.notations >> bit & 1);
        }
        for (bit, count) in self.dates.iter_mut().enumerate() {
            *count += u64::from(class.dates >> bit & 1);
        }
        if let Some(value) = class.boolean {
            self.booleans[usize::from(value)] += 1;
        }
        if let Some(ornament) = class.ornament {
            *self.ornaments.entry(ornament).or_default() += 1;
        }
        self.uuids += u64::from(class.is_uuid);
        self.times += u64::from(class.has_time);
    }

    /// Whether all values so far are plain numbers.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.count == self.present
    }

    /// How many values differ; none where they are more than are counted.
    pub(super) fn distinct(&self) -> Option<u64> {
        let count = |seen: Option<usize>| seen.map(|seen| seen as u64);
        Some(count(self.numbers.len())? + count(self.texts.seen.len())?)
    }

    /// How often the rarest text stands that is no plain number, where there are few.
    pub(super) fn rarest_text(&self) -> u64 {
        self.texts.known.iter().flatten().map(|(_, (count, _))| *count).min().unwrap_or(0)
    }

    /// Whether all numbers are whole and written plainly, and each other text is a word.
    pub(super) fn are_words_among_whole(&self) -> bool {
        self.plain.whole == self.plain.count && self.not_finite + self.not_utf8 == 0 && self.texts.are_words
    }

    /// Rows with codes of digits and one letter, where every other value is of digits alone; else none.
    pub(super) fn codes_among_digits(&self) -> u64 {
        let are_codes = self.texts.seen.len().is_some() && self.texts.are_codes;
        let codes = self.texts.count;
        if are_codes && self.plain.digits + codes == self.present { codes } else { 0 }
    }

    /// Whether this text is among the values.
    pub(super) fn has(&self, text: &str) -> bool {
        match value::plain(text) {
            Reading::Number(number) => self.numbers.has((number + 0.0).to_bits()),
            _ => self.texts.seen.has(hash::of_text(text.as_bytes())),
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
        // Numbers that are plain are so to anybody.
        let is_rival = |other: &Notation| other.has_comma() != best.has_comma() && reads(*other) == most;
        let rival = order.into_iter().find(is_rival).filter(|_| best != Point);
        (best, most, rival)
    }

    /// Fields that this notation reads.
    pub(super) fn read_by(&self, notation: Notation) -> u64 {
        self.plain.read_by(notation) + self.notations[notation as usize]
    }

    /// The ornament that stands most often, and how often; the others are none of the form.
    pub(super) fn ornament(&self) -> Option<(Ornament, u64)> {
        let most = self.ornaments.values().max()?;
        self.ornaments.iter().find(|(_, count)| *count == most).map(|(ornament, count)| (*ornament, *count))
    }

    /// The order of dates that reads most, with what it reads, and whether another reads as much.
    pub(super) fn best_date(&self) -> (DateOrder, u64, Option<DateOrder>) {
        let most = self.dates.iter().copied().max().unwrap_or(0);
        let mut of_most = DateOrder::ALL.into_iter().zip(self.dates).filter(|(_, count)| *count == most);
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
