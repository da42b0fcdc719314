//! Random choices that are part of a job's result. Owns the mapping from ChaCha8's raw words to numbers, permutations
//! and keys (docs/arithmetic.md, section 4); only the raw words come from a crate. Does not know what
//! they are used for.

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, SeedableRng as _};

use crate::digest::Digest;

/// What a stream is for: streams of different purposes never share words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// A model's initial weights.
    Initialise = 1,
    /// The order of a shard's rows in an epoch; indices: step, shard, epoch.
    Shuffle = 2,
    /// Which rows validate.
    Split = 3,
    /// Which training rows go to which shard.
    Shard = 4,
    /// The order of a shard's rows in an epoch of a job in steps; indices: epoch, shard, 0.
    ShuffleEpoch = 5,
    /// Among which rows a column's values are dealt anew, to find its importance; indices: column, repetition, 0.
    Importance = 6,
    /// Which outputs of hidden layers are dropped; indices: pass, shard, row.
    Dropout = 7,
}

/// A stream of random 32-bit words, fixed by seed, purpose and indices.
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of ChaCha8 words under the key
    /// `SHA-256("gradwire stream" purpose:u8 seed:u64 index:u64 index:u64 index:u64)`, all little-endian, nonce and
    /// counter zero.
    #[inline(never)]
    pub fn new(purpose: Purpose, seed: u64, indices: [u64; 3]) -> Stream {
        let [a, b, c] = indices.map(u64::to_le_bytes);
        let key = Digest::of_parts(&[b"gradwire stream", &[purpose as u8], &seed.to_le_bytes(), &a, &b, &c]);
        Stream(ChaCha8Rng::from_seed(key.0))
    }

    /// The next raw word.
    pub fn word(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in 0..1, a multiple of 2^-24: the word's upper 24 bits.
    pub fn unit(&mut self) -> f32 {
        (self.word() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in -limit..limit: `(2 unit - 1) * limit`, one rounding.
    #[inline(never)]
    pub fn symmetric(&mut self, limit: f32) -> f32 {
        (self.unit() * 2.0 - 1.0) * limit
    }

    /// Uniform in 0..bound, unbiased (Lemire 2019): the upper half of word x bound; words whose lower half falls under
    /// 2^32 mod bound are drawn again. `bound` is not 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.word()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// Shuffles in place (Fisher and Yates, from the last place down to the second).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            let other = self.below(place as u32 + 1) as usize;
            items.swap(place, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_words_are_chacha8s() {
        // ChaCha8, 256-bit zero key, zero nonce: the published key stream begins 3e00ef2f 895f40d6 (bytes).
        let mut words = ChaCha8Rng::from_seed([0; 32]);
        assert_eq!(words.next_u32().to_le_bytes(), [0x3e, 0x00, 0xef, 0x2f]);
        assert_eq!(words.next_u32().to_le_bytes(), [0x89, 0x5f, 0x40, 0xd6]);
    }

    #[test]
    fn streams_differ_by_purpose_seed_and_index_and_repeat_otherwise() {
        let first = |purpose, seed, indices| Stream::new(purpose, seed, indices).word();
        let word = first(Purpose::Shuffle, 7, [1, 2, 3]);
        assert_eq!(word, first(Purpose::Shuffle, 7, [1, 2, 3]));
        assert_ne!(word, first(Purpose::Split, 7, [1, 2, 3]));
        assert_ne!(word, first(Purpose::Shuffle, 8, [1, 2, 3]));
        assert_ne!(word, first(Purpose::Shuffle, 7, [1, 3, 2]));
    }

    #[test]
    fn a_shuffle_keeps_every_item_and_bounds_are_kept() {
        let mut stream = Stream::new(Purpose::Shard, 1, [0; 3]);
        let mut items: Vec<u32> = (0..1000).collect();
        stream.shuffle(&mut items);
        assert_ne!(items[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        items.sort_unstable();
        assert!(items.iter().copied().eq(0..1000));
        assert!((0..1000).all(|_| stream.below(3) < 3 && (0.0..1.0).contains(&stream.unit())));
        assert!((0..1000).all(|_| stream.symmetric(0.01).abs() <= 0.01));
    }
}
