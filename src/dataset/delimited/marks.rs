//! Where separators, line ends and quotes stand in a text. Owns how many bytes are looked at in one go; does not know what the
//! marks mean.

use super::record::PADDING;

/// Bytes that are looked at together, a bit for each.
pub(super) const BLOCK: usize = 64;

// A block that begins with the last byte is all there.
const _: () = assert!(BLOCK <= PADDING);

/// The marks of a text from some byte on, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    separator: u8,
    /// Where the block in hand begins.
    block: usize,
    /// Its marks that are still to come.
    bits: u64,
}

impl Marks {
    /// None yet: see [`Marks::begin`].
    pub(super) fn new(separator: u8) -> Marks {
        Marks { separator, block: 0, bits: 0 }
    }

    /// Goes to a byte of a text of so many bytes, behind which there is padding.
    pub(super) fn begin(&mut self, text: &[u8], at: usize, len: usize) {
        self.block = at;
        self.bits = 0;
        if at < len {
            self.load(text, len);
        }
    }

    /// The next mark; none where the text ends before it.
    #[inline(always)]
    pub(super) fn next(&mut self, text: &[u8], len: usize) -> Option<usize> {
        while self.bits == 0 {
            if self.block + BLOCK >= len {
                return None;
            }
            self.block += BLOCK;
            self.load(text, len);
        }
        let at = self.block + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(at)
    }

    #[inline(always)]
    fn load(&mut self, text: &[u8], len: usize) {
        let Some(block) = text[self.block..].first_chunk() else { return };
        let there = len - self.block;
        let cut = if there < BLOCK { (1u64 << there) - 1 } else { u64::MAX };
        self.bits = find(block, self.separator) & cut;
    }
}

/// A bit for each byte that is a separator, a line end or a quote.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn find(block: &[u8; BLOCK], separator: u8) -> u64 {
    // SAFETY: every processor of this architecture has SSE2.
    unsafe { find_by_sse2(block, separator) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn find_by_sse2(block: &[u8; BLOCK], separator: u8) -> u64 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8};
    // Without closures, which would not be compiled for the same processor.
    let separator = _mm_set1_epi8(separator as i8);
    let newline = _mm_set1_epi8(b'\n' as i8);
    let quote = _mm_set1_epi8(b'"' as i8);
    let mut bits = 0;
    for (place, pair) in block.as_chunks::<16>().0.iter().enumerate() {
        let pair = u128::from_le_bytes(*pair);
        let bytes = _mm_set_epi64x((pair >> 64) as i64, pair as i64);
        let marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, separator), _mm_cmpeq_epi8(bytes, newline));
        let marks = _mm_or_si128(marks, _mm_cmpeq_epi8(bytes, quote));
        bits |= u64::from(_mm_movemask_epi8(marks) as u16) << (16 * place);
    }
    bits
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn find(block: &[u8; BLOCK], separator: u8) -> u64 {
    find_in_words(block, separator)
}

/// The same in words of eight bytes.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn find_in_words(block: &[u8; BLOCK], separator: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f * ONES;
    let mut bits = 0;
    for (place, word) in block.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let mut marks = 0;
        for mark in [separator, b'\n', b'"'] {
            let unlike = word ^ (ONES * u64::from(mark));
            // The highest bit of every byte that is 0.
            marks |= !(((unlike & LOW) + LOW) | unlike | LOW);
        }
        // One bit of each byte, side by side.
        bits |= ((marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * place);
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_are_where_separators_line_ends_and_quotes_are(
            text in prop::collection::vec(prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), Just(0), any::<u8>()], 0..200),
            separator in prop_oneof![Just(b','), any::<u8>()],
            from in 0usize..200,
        ) {
            let from = from.min(text.len());
            let padded = [&text[..], &[b','; PADDING]].concat();
            let mut marks = Marks::new(separator);
            marks.begin(&padded, from, text.len());
            let found: Vec<usize> = std::iter::from_fn(|| marks.next(&padded, text.len())).collect();
            let is_mark = |at: &usize| [separator, b'\n', b'"'].contains(&text[*at]);
            prop_assert_eq!(found, (from..text.len()).filter(is_mark).collect::<Vec<_>>());
            if let Some(block) = padded.first_chunk() {
                prop_assert_eq!(find(block, separator), find_in_words(block, separator));
            }
        }
    }
}
