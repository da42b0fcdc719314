//! The texts of a column that are no plain numbers, counted: what each is, how many differ, how often each stands. Owns the texts
//! that are known, as long as they are few, and the hashes of the others; does not know what follows from the counts.

use std::collections::BTreeMap;

use super::date::{self, DateOrder};
use super::delimited::Text;
use super::dictionary::Dictionary;
use super::hash::{self, KeySet};
use super::value::{self, Notation, Ornament};

/// Distinct texts of a column that are counted.
const TEXTS_MAX: usize = 1 << 20;
/// Different marks for a missing value that are told apart.
const TOKENS_MAX: usize = 16;
/// The code of a value that is missing.
pub(super) const NO_CODE: u32 = u32::MAX;

/// What one text is, apart from a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Class {
    notations: u8,
    dates: u8,
    boolean: Option<bool>,
    is_uuid: bool,
    has_time: bool,
    has_short_year: bool,
    is_word: bool,
    is_code: bool,
    ornament: Option<Ornament>,
}

impl Class {
    fn of(text: &str) -> Class {
        Class::of_letters_and_digits(text.as_bytes()).unwrap_or_else(|| Class::of_any(text))
    }

    /// The same of a letter with letters, digits and low lines behind, such as most names are.
    fn of_letters_and_digits(text: &[u8]) -> Option<Class> {
        let (_, rest) = text.split_first().filter(|(first, _)| first.is_ascii_alphabetic())?;
        // These may be booleans or UUIDs.
        if matches!(text.len(), 2..=5 | 36) {
            return None;
        }
        let (mut digits, mut letters) = (0, 0);
        for byte in rest {
            digits += usize::from(byte.is_ascii_digit());
            letters += usize::from(byte.is_ascii_alphabetic() || *byte == b'_');
        }
        if digits + letters != rest.len() {
            return None;
        }
        let is_word = digits == 0 && text.len() >= 3 && !text.contains(&b'_');
        Some(Class { is_word, is_code: letters == 0 && digits > 0, ..Class::default() })
    }

    fn of_any(text: &str) -> Class {
        let (notations, ornament) = value::notations(text);
        let dates = if notations == 0 { date::orders(text) } else { 0 };
        Class {
            notations,
            dates,
            boolean: value::boolean(text),
            is_uuid: value::is_uuid(text),
            has_time: dates != 0 && date::has_time(text),
            has_short_year: dates != 0 && date::has_short_year(text),
            is_word: value::is_word(text),
            is_code: value::is_code(text),
            ornament: ornament.filter(|_| notations != 0),
        }
    }
}

impl Class {
    /// Whether it is anything that is counted.
    fn is_counted(&self) -> bool {
        let is_anything = self.boolean.is_some() || self.ornament.is_some() || self.is_uuid || self.has_time;
        self.notations | self.dates != 0 || is_anything
    }
}

/// What a text is that is known.
#[derive(Clone, Copy, Debug)]
enum Known {
    Missing,
    Text(Class),
}

/// How a text was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It stands for no value.
    Missing,
    /// As the known text of this number.
    Code(u32),
    /// As one of too many to know each.
    Counted,
}

/// Counts over texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Texts that are a value.
    pub(super) texts: u64,
    /// How many each notation reads.
    pub(super) notations: [u64; Notation::ALL.len()],
    pub(super) ornaments: BTreeMap<Ornament, u64>,
    pub(super) booleans: [u64; 2],
    pub(super) dates: [u64; DateOrder::ALL.len()],
    pub(super) times: u64,
    /// Dates whose year has two digits.
    pub(super) short_years: u64,
    pub(super) uuids: u64,
    /// How often each mark for a missing value stands.
    pub(super) tokens: BTreeMap<String, u64>,
    /// How often the rarest text stands; 0 where there are none, or too many to know.
    pub(super) rarest: u64,
}

impl Counts {
    /// Takes a text of a class in that stands so often.
    fn add(&mut self, class: &Class, times: u64) {
        self.texts += times;
        if !class.is_counted() {
            return;
        }
        for (bit, count) in self.notations.iter_mut().enumerate() {
            *count += times * u64::from(class.notations >> bit & 1);
        }
        for (bit, count) in self.dates.iter_mut().enumerate() {
            *count += times * u64::from(class.dates >> bit & 1);
        }
        if let Some(value) = class.boolean {
            self.booleans[usize::from(value)] += times;
        }
        if let Some(ornament) = class.ornament {
            *self.ornaments.entry(ornament).or_default() += times;
        }
        self.uuids += times * u64::from(class.is_uuid);
        self.times += times * u64::from(class.has_time);
        self.short_years += times * u64::from(class.has_short_year);
    }

    /// Takes a mark for a missing value in that stands so often.
    fn add_token(&mut self, text: &str, times: u64) {
        if !text.is_empty() && (self.tokens.len() < TOKENS_MAX || self.tokens.contains_key(text)) {
            *self.tokens.entry(text.to_owned()).or_default() += times;
        }
    }
}

/// The texts of a column, and the marks for missing values among them.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    /// Of the texts that are not known.
    counts: Counts,
    /// The known ones, with how often each has stood; none where there are too many.
    known: Option<(Dictionary, Vec<(Known, u64)>)>,
    /// The different ones, by their hashes, up to a cap.
    seen: KeySet,
    are_words: bool,
    are_codes: bool,
    begin_with_digits: bool,
    /// Hashes that are not among the seen yet, of a few rows.
    hashes: Vec<u64>,
}

impl Texts {
    pub(super) fn new() -> Texts {
        Texts {
            counts: Counts::default(),
            known: Some((Dictionary::default(), Vec::new())),
            seen: KeySet::new(TEXTS_MAX),
            are_words: true,
            are_codes: true,
            begin_with_digits: true,
            hashes: Vec::new(),
        }
    }

    /// Takes a text without white space around it in once more, if it is known.
    #[inline(always)]
    pub(super) fn take_known(&mut self, text: Text<'_>) -> Option<Taken> {
        let (dictionary, known) = self.known.as_mut()?;
        let code = dictionary.find(text)?;
        let (known, count) = &mut known[code as usize];
        *count += 1;
        Some(if matches!(known, Known::Missing) { Taken::Missing } else { Taken::Code(code) })
    }

    /// Takes a mark for a missing value in that is not known.
    pub(super) fn take_missing(&mut self, text: &str) -> Taken {
        if self.know(text, Known::Missing).is_none() {
            self.counts.add_token(text, 1);
        }
        Taken::Missing
    }

    /// Takes a text in that is not known.
    pub(super) fn take(&mut self, text: &str) -> Taken {
        let class = Class::of(text);
        self.are_words &= class.is_word;
        self.are_codes &= class.is_code;
        self.begin_with_digits &= value::behind_currency(text).as_bytes().first().is_some_and(u8::is_ascii_digit);
        self.hashes.push(hash::of_text(text.as_bytes()));
        match self.know(text, Known::Text(class)) {
            Some(code) => Taken::Code(code),
            None => {
                self.counts.add(&class, 1);
                Taken::Counted
            }
        }
    }

    /// Makes a text known that has come once, unless there are too many.
    fn know(&mut self, text: &str, what: Known) -> Option<u32> {
        let (dictionary, known) = self.known.as_mut()?;
        match dictionary.insert(text) {
            Some(code) => {
                known.push((what, 1));
                Some(code)
            }
            None => {
                self.counts = self.counts();
                self.counts.rarest = 0;
                self.known = None;
                None
            }
        }
    }

    /// Puts the texts of a few rows to those that have been seen.
    pub(super) fn take_hashes(&mut self) {
        self.seen.take_all(self.hashes.drain(..));
    }

    /// All counts.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = self.counts.clone();
        let Some((dictionary, known)) = &self.known else { return counts };
        let mut rarest = None;
        for ((what, times), text) in known.iter().zip(dictionary.texts()) {
            match what {
                Known::Missing => counts.add_token(text, *times),
                Known::Text(class) => {
                    counts.add(class, *times);
                    rarest = rarest.into_iter().chain([*times]).min();
                }
            }
        }
        counts.rarest = rarest.unwrap_or(0);
        counts
    }

    /// The known texts, with the marks for missing values among them, by their codes; none where there are too many.
    pub(super) fn known(&self) -> Option<&[String]> {
        self.known.as_ref().map(|(dictionary, _)| dictionary.texts())
    }

    /// The known texts that are values, and how often each stands; none where there are too many.
    pub(super) fn known_values(&self) -> Option<impl Iterator<Item = (&str, u64)>> {
        let (dictionary, known) = self.known.as_ref()?;
        let values = known.iter().zip(dictionary.texts()).filter(|((what, _), _)| matches!(what, Known::Text(_)));
        Some(values.map(|((_, times), text)| (text.as_str(), *times)))
    }

    /// How many differ; none where they are more than are counted.
    pub(super) fn distinct(&self) -> Option<usize> {
        self.seen.len()
    }

    /// Whether this one is among them.
    pub(super) fn has(&self, text: &str) -> bool {
        self.seen.has(hash::of_text(text.as_bytes()))
    }

    /// Whether each is a word.
    pub(super) fn are_words(&self) -> bool {
        self.are_words
    }

    /// Whether each begins with a digit, as an amount with its unit does, or a time of day.
    pub(super) fn begin_with_digits(&self) -> bool {
        self.begin_with_digits
    }

    /// Whether each is a code of digits and one letter, as far as they are counted.
    pub(super) fn are_codes(&self) -> bool {
        self.seen.len().is_some() && self.are_codes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_classed_the_shorter_way_as_the_longer_one_classes_them(
            text in "[a-zA-Z][a-zA-Z0-9_]{0,40}|[a-zA-Z][0-9]{1,9}|[a-f]{8}-[a-f]{4}-[a-f]{4}-[a-f]{4}-[a-f]{12}|\\PC{1,12}",
        ) {
            if let Some(class) = Class::of_letters_and_digits(text.as_bytes()) {
                prop_assert_eq!(class, Class::of_any(&text), "{:?}", text);
            }
        }
    }
}
