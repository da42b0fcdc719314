//! What all values of a column are, counted. Owns the counts that decide a column's kind; does not know the decision.
//!
//! Every count is a sum, a minimum, a maximum or a set over the values, and so the same for any order of the rows. Memory is
//! bounded by the number of distinct values, of which only hashes are kept, up to a cap.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash as _, Hasher};

use super::date::{self, DateOrder};
use super::value::{self, MissingTokens, Notation, Ornament, Reading};

/// Distinct numbers of a column that are counted, in a table of so many columns at most; beyond them there are "many". More
/// columns share the memory.
const NUMBERS_MAX: [(usize, usize); 3] = [(64, 1 << 14), (4_096, 1 << 10), (usize::MAX, 64)];
/// Distinct texts of a column that are counted.
const TEXTS_MAX: usize = 1 << 20;
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

/// Of keys that are hashes, or the bits of numbers, spread.
#[derive(Clone, Copy, Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 ^ u64::from(byte)));
    }

    fn write_u64(&mut self, bits: u64) {
        self.0 = spread(bits);
    }
}

/// Distinct values, by their hashes, up to a cap.
#[derive(Clone, Debug)]
struct Distinct<T> {
    /// None beyond the cap.
    seen: Option<HashMap<u64, T, BuildHasherDefault<Spread>>>,
    max: usize,
}

impl<T> Distinct<T> {
    fn new(max: usize) -> Distinct<T> {
        Distinct { seen: Some(HashMap::default()), max }
    }

    /// The value's entry, made where it is new; none beyond the cap.
    fn entry(&mut self, hash: u64, make: impl FnOnce() -> T) -> Option<&mut T> {
        let seen = self.seen.as_ref()?;
        if seen.len() == self.max && !seen.contains_key(&hash) {
            self.seen = None;
        }
        Some(self.seen.as_mut()?.entry(hash).or_insert_with(make))
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
    pub(super) plain: u64,
    /// `inf`, `1e400`.
    pub(super) not_finite: u64,
    /// Plain numbers that are whole.
    pub(super) whole: u64,
    /// Plain numbers that f32 holds to the last digit.
    pub(super) single: u64,
    pub(super) least: f64,
    pub(super) greatest: f64,
    /// Numbers that start with a zero as no number does.
    pub(super) leading_zeros: u64,
    /// Numbers of digits alone.
    pub(super) digits: u64,
    /// How many fields each notation reads.
    notations: [u64; Notation::ALL.len()],
    ornaments: BTreeMap<Ornament, u64>,
    pub(super) booleans: [u64; 2],
    dates: [u64; DateOrder::ALL.len()],
    pub(super) times: u64,
    pub(super) uuids: u64,
    pub(super) not_utf8: u64,
    /// Of whole numbers, the sum of their hashes.
    sum_of_hashes: u64,
    numbers: Distinct<u64>,
    texts: Distinct<(u64, Class)>,
}

impl Tally {
    /// Of no values, of a column in a table of so many.
    pub(super) fn new(columns: usize) -> Tally {
        let numbers_max = NUMBERS_MAX.iter().find(|(most, _)| columns <= *most).map_or(0, |(_, max)| *max);
        Tally {
            present: 0,
            missing: 0,
            tokens: BTreeMap::new(),
            plain: 0,
            not_finite: 0,
            whole: 0,
            single: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            leading_zeros: 0,
            digits: 0,
            notations: [0; Notation::ALL.len()],
            ornaments: BTreeMap::new(),
            booleans: [0; 2],
            dates: [0; DateOrder::ALL.len()],
            times: 0,
            uuids: 0,
            not_utf8: 0,
            sum_of_hashes: 0,
            numbers: Distinct::new(numbers_max),
            texts: Distinct::new(TEXTS_MAX),
        }
    }

    /// Takes a field in.
    pub(super) fn take(&mut self, field: &[u8], missing: &MissingTokens) {
        let Ok(text) = std::str::from_utf8(field).map(str::trim) else {
            self.present += 1;
            self.not_utf8 += 1;
            return;
        };
        if missing.has(text) {
            self.missing += 1;
            if !text.is_empty() && (self.tokens.len() < TOKENS_MAX || self.tokens.contains_key(text)) {
                *self.tokens.entry(text.to_owned()).or_default() += 1;
            }
            return;
        }
        self.present += 1;
        match value::plain(text) {
            Reading::Number(number) => self.take_number(number, text),
            Reading::NotFinite => self.not_finite += 1,
            Reading::Not => self.take_text(text),
        }
    }

    fn take_number(&mut self, number: f64, text: &str) {
        self.plain += 1;
        self.least = self.least.min(number);
        self.greatest = self.greatest.max(number);
        self.single += u64::from(f64::from(number as f32) == number);
        if number.fract() == 0.0 {
            self.whole += 1;
            self.sum_of_hashes = self.sum_of_hashes.wrapping_add(hash_of_whole(number));
        }
        self.leading_zeros += u64::from(value::has_leading_zero(text));
        self.digits += u64::from(text.bytes().all(|byte| byte.is_ascii_digit()));
        // Every notation that has a point for its decimal mark reads a plain number, and the others those without one.
        let has_point = text.as_bytes().contains(&b'.');
        let groups = has_point && value::may_be_thousands(text);
        for (count, notation) in self.notations.iter_mut().zip(Notation::ALL) {
            let reads = !notation.has_comma() || !has_point || (notation == Notation::CommaGrouped && groups);
            *count += u64::from(reads);
        }
        if let Some(count) = self.numbers.entry((number + 0.0).to_bits(), || 0) {
            *count += 1;
        }
    }

    fn take_text(&mut self, text: &str) {
        let class = match self.texts.entry(hash_of_text(text), || (0, Class::of(text))) {
            Some((count, class)) => {
                *count += 1;
                *class
            }
            None => Class::of(text),
        };
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

    /// How many values differ; none where they are more than are counted.
    pub(super) fn distinct(&self) -> Option<u64> {
        let count = |seen: Option<usize>| seen.map(|seen| seen as u64);
        Some(count(self.numbers.seen.as_ref().map(HashMap::len))? + count(self.texts.seen.as_ref().map(HashMap::len))?)
    }

    /// How often the rarest text stands that is no plain number.
    pub(super) fn rarest_text(&self) -> u64 {
        self.texts.seen.iter().flatten().map(|(_, (count, _))| *count).min().unwrap_or(0)
    }

    /// Whether all numbers are whole and written plainly, and each other text is a word.
    pub(super) fn are_words_among_whole(&self) -> bool {
        let mut texts = self.texts.seen.iter().flatten().map(|(_, (_, class))| class);
        self.whole == self.plain && self.not_finite + self.not_utf8 == 0 && texts.all(|class| class.is_word)
    }

    /// Rows with codes of digits and one letter, where every other value is of digits alone; else none.
    pub(super) fn codes_among_digits(&self) -> u64 {
        let mut texts = self.texts.seen.iter().flatten().map(|(_, seen)| seen);
        let are_codes = self.texts.seen.is_some() && texts.clone().all(|(_, class)| class.is_code);
        let codes: u64 = texts.by_ref().map(|(count, _)| count).sum();
        if are_codes && self.digits + codes == self.present { codes } else { 0 }
    }

    /// Whether this text is among the values.
    pub(super) fn has(&self, text: &str) -> bool {
        match value::plain(text) {
            Reading::Number(number) => {
                self.numbers.seen.as_ref().is_some_and(|seen| seen.contains_key(&(number + 0.0).to_bits()))
            }
            _ => self.texts.seen.as_ref().is_some_and(|seen| seen.contains_key(&hash_of_text(text))),
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
        let reads = |notation: Notation| self.notations[notation as usize];
        let most = order.into_iter().map(reads).max().unwrap_or(0);
        let best = order.into_iter().find(|&notation| reads(notation) == most).unwrap_or_default();
        // Numbers that are plain are so to anybody.
        let is_rival = |other: &Notation| other.has_comma() != best.has_comma() && reads(*other) == most;
        let rival = order.into_iter().find(is_rival).filter(|_| best != Point);
        (best, most, rival)
    }

    /// Fields that this notation reads.
    pub(super) fn read_by(&self, notation: Notation) -> u64 {
        self.notations[notation as usize]
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
        let span = self.greatest - self.least;
        if self.missing > 0 || self.present < 2 || self.whole != self.present || span + 1.0 != self.present as f64 {
            return false;
        }
        // As many different numbers: the sum of their hashes is that of the sequence.
        let first = self.least as i64;
        let sum =
            (0..self.present).fold(0u64, |sum, step| sum.wrapping_add(hash_of_whole((first + step as i64) as f64)));
        sum == self.sum_of_hashes
    }
}

fn hash_of_text(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Spreads the bits of a number (the end of MurmurHash3).
fn hash_of_whole(number: f64) -> u64 {
    spread((number + 0.0).to_bits())
}

fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    bits = (bits ^ bits >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    bits ^ bits >> 33
}
