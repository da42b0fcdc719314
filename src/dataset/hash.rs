//! Values by their hashes, for counting them: fast, the same on every machine, and no two of them mixed up where one can tell.
//! Owns how bits are spread; does not know what is counted.

use std::hash::Hasher;

/// Spreads bits over all others (the end of MurmurHash3): different numbers have different hashes.
#[inline]
pub(crate) fn spread(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    bits = (bits ^ bits >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    bits ^ bits >> 33
}

/// The hash of a text: texts of up to eight bytes have different ones, others in all likelihood.
#[inline]
pub(super) fn of_text(text: &[u8]) -> u64 {
    let (words, rest) = text.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let seed = (text.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let hash = words.iter().fold(seed, |hash, word| spread(hash ^ u64::from_le_bytes(*word)).rotate_left(23));
    spread(hash ^ u64::from_le_bytes(last)).min(EMPTY - 1)
}

/// For maps whose keys are texts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OfTexts(u64);

impl Hasher for OfTexts {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(5) ^ of_text(bytes);
    }

    // What a text's end is told by, which its length has told already.
    fn write_u8(&mut self, _: u8) {}
}

/// For maps whose keys are hashes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = of_text(bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// No number's bits, and no text's hash.
const EMPTY: u64 = u64::MAX;
/// Places of the smallest table.
const PLACES_MIN: usize = 16;

/// Different keys, up to so many: the bits of numbers, or the hashes of texts.
#[derive(Clone, Debug)]
pub(super) struct KeySet {
    /// Each in the first free place from where it belongs; none of them beyond the most.
    places: Option<Vec<u64>>,
    len: usize,
    max: usize,
}

impl KeySet {
    /// Of none yet, and of so many at most.
    pub(super) fn new(max: usize) -> KeySet {
        KeySet { places: Some(vec![EMPTY; PLACES_MIN]), len: 0, max }
    }

    /// Takes keys in, as long as there are no more than are counted; whether one of them is known to come again.
    pub(super) fn take_all(&mut self, mut keys: impl Iterator<Item = u64>) -> bool {
        let mut comes_again = false;
        let mut room = [EMPTY; FETCHED];
        while let Some(places) = &self.places {
            let count = room.iter_mut().zip(&mut keys).map(|(room, key)| *room = key).count();
            let some = &room[..count];
            // Of many tables that take turns, none stays in the nearest caches.
            if places.len() >= FETCHED_FROM {
                some.iter().for_each(|&key| fetch(places, hash(places, key)));
            }
            for &key in some {
                let Some(places) = &self.places else { break };
                // Most often the first place that is looked at is the right one.
                comes_again |= places[hash(places, key)] == key || !self.insert(key);
            }
            if count < FETCHED {
                break;
            }
        }
        comes_again
    }

    /// Takes a key in; whether it is new, or there are too many of them now.
    fn insert(&mut self, key: u64) -> bool {
        let Some(places) = &mut self.places else { return true };
        let place = find(places, key);
        if places[place] == key {
            return false;
        }
        if self.len == self.max {
            self.places = None;
            return true;
        }
        places[place] = key;
        self.len += 1;
        if 2 * self.len > places.len() {
            self.grow();
        }
        true
    }

    #[cold]
    fn grow(&mut self) {
        let Some(places) = &mut self.places else { return };
        // Fourfold, but not beyond what the most of them take.
        let len = (4 * places.len()).min(2 * self.max.next_power_of_two()).max(2 * places.len());
        for key in std::mem::replace(places, vec![EMPTY; len]) {
            if key != EMPTY {
                let place = find(places, key);
                places[place] = key;
            }
        }
    }

    /// Whether this one is among them.
    pub(super) fn has(&self, key: u64) -> bool {
        self.places.as_ref().is_some_and(|places| places[find(places, key)] == key)
    }

    /// All of them; nothing where there are more than are counted.
    pub(super) fn keys(&self) -> Option<impl Iterator<Item = u64>> {
        self.places.as_ref().map(|places| places.iter().copied().filter(|&key| key != EMPTY))
    }

    /// How many there are; nothing where there are more than are counted.
    pub(super) fn len(&self) -> Option<usize> {
        self.places.as_ref().map(|_| self.len)
    }
}

/// Keys whose places are fetched together.
const FETCHED: usize = 32;
/// Places of a table from which on that pays.
const FETCHED_FROM: usize = 1 << 10;

/// Asks the processor for a place, for which nobody waits.
#[inline(always)]
fn fetch(places: &[u64], place: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = places.as_ptr().wrapping_add(place).cast();
        // SAFETY: every processor of this architecture has the instruction, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (places, place);
}

/// Where a key belongs in a table of a power of two of places.
#[inline(always)]
fn hash(places: &[u64], key: u64) -> usize {
    // Of a product the highest bits depend on all of both factors; of whole numbers, the highest bits are all there is.
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (places.len().leading_zeros() + 1)) as usize & (places.len() - 1)
}

/// The place of a key, or that which it would take: half of the places are free.
#[inline]
fn find(places: &[u64], key: u64) -> usize {
    let last = places.len() - 1;
    let mut place = hash(places, key);
    while places[place] != key && places[place] != EMPTY {
        place = (place + 1) & last;
    }
    place
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn different_keys_are_counted_up_to_the_most(
            keys in prop::collection::vec(prop_oneof![0u64..40, 0..EMPTY], 0..200),
            max in 0usize..100,
        ) {
            let mut set = KeySet::new(max);
            let mut known = HashSet::new();
            for key in keys {
                let again = set.take_all([key].into_iter());
                let is_new = known.insert(key);
                prop_assert!(again != is_new || (!again && known.len() > max));
                prop_assert_eq!(set.len(), (known.len() <= max).then_some(known.len()));
                prop_assert!(known.len() > max || known.iter().all(|key| set.has(*key)));
                prop_assert!(!set.has(key ^ 1) || known.contains(&(key ^ 1)));
            }
        }

        #[test]
        fn texts_of_different_bytes_have_different_hashes(a in "[ab0]{0,12}", b in "[ab0]{0,12}") {
            prop_assert_eq!(of_text(a.as_bytes()) == of_text(b.as_bytes()), a == b);
            let longer = a.clone() + "\0";
            prop_assert!(of_text(a.as_bytes()) != of_text(longer.as_bytes()));
        }
    }
}
