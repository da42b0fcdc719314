//! What short texts were read as the last time. Owns how they are found again; does not know what they were read as.

use super::delimited::Text;

/// Texts that are remembered; each has one place that it can be in.
const TEXTS: usize = 256;
/// The longest ones.
const BYTES_MAX: usize = 16;

/// What each of some texts was read as.
#[derive(Clone, Debug)]
pub(super) struct Memo<T> {
    texts: Vec<Option<(u128, usize, T)>>,
}

impl<T> Default for Memo<T> {
    fn default() -> Memo<T> {
        Memo { texts: Vec::new() }
    }
}

/// A text as a number, and its place.
#[inline]
fn key(text: Text<'_>) -> Option<(u128, usize)> {
    if !(1..=BYTES_MAX).contains(&text.len()) {
        return None;
    }
    let key = u128::from_le_bytes(text.word(0)) << (8 * (BYTES_MAX - text.len()));
    let folded = key as u64 ^ ((key >> 64) as u64).rotate_left(29);
    Some((key, (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % TEXTS))
}

impl<T: Copy> Memo<T> {
    /// What a text was read as, if that is remembered.
    #[inline]
    pub(super) fn get(&self, text: Text<'_>) -> Option<T> {
        let (key, place) = key(text)?;
        match self.texts.get(place)? {
            Some((known, bytes, value)) if *known == key && *bytes == text.len() => Some(*value),
            _ => None,
        }
    }

    /// Remembers what a text was read as, where it is short.
    pub(super) fn put(&mut self, text: Text<'_>, value: T) {
        let Some((key, place)) = key(text) else { return };
        if self.texts.is_empty() {
            self.texts.resize(TEXTS, None);
        }
        self.texts[place] = Some((key, text.len(), value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_remembered_is_what_was_put_last_for_the_very_text(
            texts in prop::collection::vec("[ab\\x00]{0,3}|[a-c]{14,18}", 0..100),
        ) {
            let mut memo = Memo::default();
            let mut known = std::collections::HashMap::new();
            for (value, text) in texts.iter().enumerate() {
                // Whatever stands behind is none of it.
                let longer = text.clone() + "ab";
                let within = Text::within(&longer, text.len());
                let found = memo.get(within);
                prop_assert!(found.is_none() || found == known.get(text).copied(), "{:?}", text);
                memo.put(within, value);
                prop_assert_eq!(memo.get(text.as_str().into()), (1..=BYTES_MAX).contains(&text.len()).then_some(value));
                known.insert(text.clone(), value);
            }
        }
    }
}
