//! Texts and their numbers, in the order in which they came. Owns how a text is found again, byte for byte; does not know what it
//! stands for.

use super::delimited::Text;
use super::hash;

/// Texts of a dictionary, at most.
const TEXTS_MAX: usize = 1 << 14;
/// Places of the smallest table.
const PLACES_MIN: usize = 16;
/// The longest texts that are compared in one go.
const SHORT_BYTES: usize = 16;
/// The longest texts of which all bytes are among their first and last ones.
const LONG_BYTES: usize = 2 * SHORT_BYTES;
/// The code of a free place.
const FREE: u32 = u32::MAX;

/// What tells a text from most others, and a short one from all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    low: u64,
    high: u64,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    code: u32,
}

/// Different texts, of which none is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Dictionary {
    /// Each in the first free place from where it belongs; half of them are free.
    places: Vec<Place>,
    texts: Vec<String>,
    /// The code of the text of no bytes, which has no key.
    empty: Option<u32>,
}

impl Key {
    #[inline(always)]
    fn of(text: Text<'_>) -> Key {
        let len = text.len();
        let first = u128::from_le_bytes(text.word(0));
        let bytes = if len <= SHORT_BYTES {
            first << (8 * (SHORT_BYTES - len))
        } else if len <= LONG_BYTES {
            first ^ u128::from_le_bytes(text.word(len - SHORT_BYTES)).rotate_left(59)
        } else {
            first ^ u128::from(hash::of_text(text.bytes()))
        };
        Key { low: bytes as u64, high: (bytes >> 64) as u64, len: len as u32 }
    }

    /// The place in a table of a power of two of places.
    #[inline(always)]
    fn place(self, places: usize) -> usize {
        let folded = (self.low ^ self.high.rotate_left(29) ^ u64::from(self.len)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((folded ^ folded >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as usize & (places - 1)
    }
}

impl Dictionary {
    /// The code of a text, if it is known.
    #[inline(always)]
    pub(super) fn find(&self, text: Text<'_>) -> Option<u32> {
        if text.len() == 0 {
            return self.empty;
        }
        if self.places.is_empty() {
            return None;
        }
        let key = Key::of(text);
        let mut at = key.place(self.places.len());
        loop {
            let place = &self.places[at];
            if place.key == key && (text.len() <= SHORT_BYTES || self.is(place.code, text.bytes())) {
                return Some(place.code);
            }
            if place.code == FREE {
                return None;
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    fn is(&self, code: u32, text: &[u8]) -> bool {
        self.texts.get(code as usize).is_some_and(|known| known.as_bytes() == text)
    }

    /// Takes a text in that is not known, and gives its code; nothing where there are as many as may be.
    pub(super) fn insert(&mut self, text: &str) -> Option<u32> {
        if self.texts.len() == TEXTS_MAX {
            return None;
        }
        let code = self.texts.len() as u32;
        if text.is_empty() {
            self.empty = Some(code);
        } else {
            if self.places.len() < 2 * (self.texts.len() + 1) {
                self.grow();
            }
            put(&mut self.places, Place { key: Key::of(text.into()), code });
        }
        self.texts.push(text.to_owned());
        Some(code)
    }

    #[cold]
    fn grow(&mut self) {
        let free = Place { key: Key { low: 0, high: 0, len: 0 }, code: FREE };
        let mut places = vec![free; (2 * self.places.len()).max(PLACES_MIN)];
        self.places.iter().filter(|place| place.code != FREE).for_each(|place| put(&mut places, *place));
        self.places = places;
    }

    /// All texts, by their codes.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }
}

fn put(places: &mut [Place], place: Place) {
    let mut at = place.key.place(places.len());
    while places[at].code != FREE {
        at = (at + 1) & (places.len() - 1);
    }
    places[at] = place;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_found_by_its_very_bytes(texts in prop::collection::vec("[ab\\x00]{0,3}|[a-c]{14,18}", 0..200)) {
            let mut dictionary = Dictionary::default();
            let mut known: Vec<String> = Vec::new();
            for text in texts {
                // Whatever stands behind is none of it.
                let longer = text.clone() + "ab";
                let found = dictionary.find(Text::within(&longer, text.len()));
                prop_assert_eq!(found, known.iter().position(|known| *known == text).map(|code| code as u32));
                if found.is_none() {
                    prop_assert_eq!(dictionary.insert(&text), Some(known.len() as u32));
                    known.push(text);
                }
            }
            prop_assert_eq!(dictionary.texts(), known);
        }
    }

    #[test]
    fn beyond_the_most_texts_none_is_taken_in() {
        let mut dictionary = Dictionary::default();
        assert!((0..TEXTS_MAX).all(|code| dictionary.insert(&format!("text {code}")) == Some(code as u32)));
        assert_eq!(dictionary.insert("another"), None);
        assert_eq!(dictionary.find("text 7".into()), Some(7));
        assert_eq!(dictionary.find("another".into()), None);
    }
}
