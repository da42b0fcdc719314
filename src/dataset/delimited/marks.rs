//! Where separators, line ends and quotes stand in a text. Owns how many bytes are looked at in one go; does not know what the
//! marks mean.

use super::record::PADDING;

/// Bytes that are looked at together, a bit for each.
pub(super) const BLOCK: usize = 64;

// A block that begins with the last byte is all there.
const _: () = assert!(BLOCK <= PADDING);

/// The marks of a block, a bit for each byte, the first byte's the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) separators: u64,
    pub(super) newlines: u64,
    pub(super) quotes: u64,
}

impl Marks {
    /// Those of the first so many bytes, if there are not more in a block.
    #[inline(always)]
    pub(super) fn of_first(self, bytes: usize) -> Marks {
        if bytes >= BLOCK {
            return self;
        }
        let first = (1u64 << bytes) - 1;
        let Marks { separators, newlines, quotes } = self;
        Marks { separators: separators & first, newlines: newlines & first, quotes: quotes & first }
    }

    /// The marks of a block.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn find(block: &[u8; BLOCK], separator: u8) -> Marks {
        // SAFETY: every processor of this architecture has SSE2.
        unsafe { find_by_sse2(block, separator) }
    }

    /// The marks of a block.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(super) fn find(block: &[u8; BLOCK], separator: u8) -> Marks {
        find_in_words(block, separator)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "sse2")]
fn find_by_sse2(block: &[u8; BLOCK], separator: u8) -> Marks {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    // Without closures, which would not be compiled for the same processor.
    let separator = _mm_set1_epi8(separator as i8);
    let newline = _mm_set1_epi8(b'\n' as i8);
    let quote = _mm_set1_epi8(b'"' as i8);
    let mut marks = Marks::default();
    for (place, pair) in block.as_chunks::<16>().0.iter().enumerate() {
        let pair = u128::from_le_bytes(*pair);
        let bytes = _mm_set_epi64x((pair >> 64) as i64, pair as i64);
        marks.separators |= u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, separator)) as u16) << (16 * place);
        marks.newlines |= u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, newline)) as u16) << (16 * place);
        marks.quotes |= u64::from(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, quote)) as u16) << (16 * place);
    }
    marks
}

/// The same in words of eight bytes.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn find_in_words(block: &[u8; BLOCK], separator: u8) -> Marks {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const LOW: u64 = 0x7f * ONES;
    let of = |mark: u8| {
        let mut bits = 0;
        for (place, word) in block.as_chunks::<8>().0.iter().enumerate() {
            let unlike = u64::from_le_bytes(*word) ^ (ONES * u64::from(mark));
            // The highest bit of every byte that is 0.
            let marks = !(((unlike & LOW) + LOW) | unlike | LOW);
            // One bit of each byte, side by side.
            bits |= ((marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * place);
        }
        bits
    };
    Marks { separators: of(separator), newlines: of(b'\n'), quotes: of(b'"') }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_are_where_separators_line_ends_and_quotes_are(
            text in prop::collection::vec(
                prop_oneof![Just(b','), Just(b'\n'), Just(b'"'), Just(0), any::<u8>()], BLOCK,
            ),
            separator in prop_oneof![Just(b','), any::<u8>()],
            first in 0..=2 * BLOCK,
        ) {
            let block = text.first_chunk().unwrap();
            let marks = Marks::find(block, separator);
            prop_assert_eq!(marks, find_in_words(block, separator));
            for (bits, mark) in [(marks.separators, separator), (marks.newlines, b'\n'), (marks.quotes, b'"')] {
                prop_assert!((0..BLOCK).all(|at| (bits >> at & 1 == 1) == (text[at] == mark)), "{:?}", mark);
            }
            let cut = marks.of_first(first);
            for (bits, all) in [(cut.separators, marks.separators), (cut.newlines, marks.newlines), (cut.quotes, marks.quotes)] {
                prop_assert!((0..BLOCK).all(|at| (bits >> at & 1 == 1) == (all >> at & 1 == 1 && at < first)));
            }
        }
    }
}
