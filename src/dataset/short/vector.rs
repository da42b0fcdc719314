//! The digits of a number in one vector register. Owns the instructions; does not know what numbers are for.
//!
//! The bytes of a text of up to sixteen are moved to the register's end, so that zeros stand before them; the digits before a point
//! close up to those behind; and then neighbours are put together, pairs, and fours.

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_madd_epi16, _mm_maddubs_epi16, _mm_max_epu8,
    _mm_movemask_epi8, _mm_packus_epi32, _mm_set1_epi8, _mm_setr_epi8, _mm_setr_epi16, _mm_shuffle_epi8, _mm_xor_si128,
};

use super::quotient;
use crate::dataset::delimited::{Column, Text};
use crate::dataset::written::Written;

/// What a point is where a digit is its value.
const POINT: u8 = b'.' ^ b'0';
/// Bytes of a register.
const BYTES: usize = 16;
/// A place from which a zero comes.
const ZERO: u8 = 0x80;

/// Of each number of bytes, what moves so many from the register's beginning to its end.
const TO_THE_END: [[u8; BYTES]; BYTES + 1] = {
    let mut table = [[ZERO; BYTES]; BYTES + 1];
    let mut bytes = 0;
    while bytes <= BYTES {
        let mut place = 0;
        while place < bytes {
            table[bytes][BYTES - bytes + place] = place as u8;
            place += 1;
        }
        bytes += 1;
    }
    table
};

/// Of each place of a point, what closes the gap; the last is that of none.
const WITHOUT_POINT: [[u8; BYTES]; BYTES + 1] = {
    let mut table = [[ZERO; BYTES]; BYTES + 1];
    let mut point = 0;
    while point <= BYTES {
        let mut place = 0;
        while place < BYTES {
            if place > point || point == BYTES {
                table[point][place] = place as u8;
            } else if place > 0 {
                table[point][place] = place as u8 - 1;
            }
            place += 1;
        }
        point += 1;
    }
    table
};

/// Whether this processor has the instructions.
pub(super) fn is_there() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1")
}

/// In the place of the decimals of a number without a point.
const NO_POINT: u8 = 31;
/// The same of what is no number.
const NO_NUMBER: u8 = 30;

/// What the digits are divided by, by their decimals.
const DIVISORS: [f64; NO_POINT as usize + 1] = {
    let mut table = [1.0; NO_POINT as usize + 1];
    let mut decimals = 0;
    while decimals <= quotient::DECIMALS_MAX {
        table[decimals] = quotient::POWERS_OF_TEN[decimals];
        decimals += 1;
    }
    table
};

/// Below here, these bits of the mantissa of a number of 2^52 are the number itself.
const WHOLE_MAX: u64 = 1 << 52;

/// Texts that are looked at together.
const PART: usize = 1_024;

/// What is told of some texts.
struct Part {
    wholes: [u64; PART],
    /// Digits behind the point, [`NO_POINT`], or [`NO_NUMBER`].
    decimals: [u8; PART],
    /// First bytes.
    firsts: [u8; PART],
    /// Bytes without a sign, modulo 256.
    bytes: [u8; PART],
}

/// [`super::read_all`].
///
/// Digits and decimals are told first, and then divided, so that neither waits for the other.
#[target_feature(enable = "avx2,bmi1")]
pub(super) fn read_all(
    column: Column<'_>,
    numbers: &mut Vec<f64>,
    others: &mut Vec<u32>,
    mut written: impl FnMut(Written),
) {
    let mut part = Part { wholes: [0; PART], decimals: [0; PART], firsts: [0; PART], bytes: [0; PART] };
    numbers.resize(column.len(), f64::NAN);
    for (at, numbers) in numbers.chunks_mut(PART).enumerate() {
        let first_other = others.len();
        let all_bits = part.tell_apart(column, at * PART, numbers.len(), others);
        written(part.written(numbers.len()));
        let digits = part.wholes.iter().zip(&part.decimals).zip(&part.firsts);
        let sign = |first: u8| u64::from(first == b'-') << 63;
        if all_bits < WHOLE_MAX {
            for (to, ((whole, decimals), first)) in numbers.iter_mut().zip(digits) {
                let whole = f64::from_bits(*whole | (WHOLE_MAX as f64).to_bits()) - WHOLE_MAX as f64;
                let magnitude = whole / DIVISORS[usize::from(decimals & NO_POINT)];
                *to = f64::from_bits(magnitude.to_bits() | sign(*first));
            }
        } else {
            for (to, ((whole, decimals), first)) in numbers.iter_mut().zip(digits) {
                let decimals = if *decimals >= NO_NUMBER { 0 } else { usize::from(*decimals) };
                // Which of them a division would do for is nothing that a processor could guess.
                let magnitude = if *whole == 0 { 0.0 } else { quotient::multiplied(*whole, decimals) };
                *to = f64::from_bits(magnitude.to_bits() | sign(*first));
            }
        }
        for &row in &others[first_other..] {
            numbers[row as usize - at * PART] = f64::NAN;
        }
    }
}

impl Part {
    /// Tells the digits of so many texts from a row on, and notes the rows of those that are no numbers; gives the bits of all numbers.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn tell_apart(&mut self, column: Column<'_>, from: usize, rows: usize, others: &mut Vec<u32>) -> u64 {
        let mut all_bits = 0;
        for place in 0..rows.min(PART) {
            // Behind a sign there are as many bytes as a register has.
            let Some((window, len)) = column.window::<{ BYTES + 1 }>(from + place) else {
                self.decimals[place] = NO_NUMBER;
                others.push((from + place) as u32);
                continue;
            };
            // An empty text has no first byte, and one that is no number all the same.
            let sign = usize::from(window[0] == b'-');
            let bytes = len.wrapping_sub(sign);
            self.firsts[place] = window[0];
            self.bytes[place] = bytes as u8;
            let found = match window[sign..].first_chunk() {
                Some(word) if bytes.wrapping_sub(1) < BYTES => sixteen(word, bytes),
                _ => longer(column.text(from + place), sign),
            };
            match found {
                Some(Digits { whole, decimals }) => {
                    self.wholes[place] = whole;
                    self.decimals[place] = decimals;
                    all_bits |= whole;
                }
                None => {
                    (self.wholes[place], self.decimals[place]) = (0, NO_NUMBER);
                    others.push((from + place) as u32);
                }
            }
        }
        all_bits
    }

    /// How so many are written.
    #[inline]
    #[target_feature(enable = "avx2,bmi1")]
    fn written(&self, rows: usize) -> Written {
        // So few that each count is one of a byte.
        const FEW: usize = 128;
        let mut all = Written::default();
        let (decimals, firsts) = (&self.decimals[..rows], &self.firsts[..rows]);
        let parts = decimals.chunks(FEW).zip(firsts.chunks(FEW)).zip(self.bytes[..rows].chunks(FEW));
        for ((decimals, firsts), bytes) in parts {
            let [mut numbers, mut points, mut thousands, mut zeros, mut digits] = [0u8; 5];
            for ((&decimals, &first), &bytes) in decimals.iter().zip(firsts).zip(bytes) {
                numbers += u8::from(decimals != NO_NUMBER);
                points += u8::from(decimals < NO_NUMBER);
                thousands += u8::from((decimals == 3) & (bytes.wrapping_sub(5) < 3));
                zeros += u8::from((decimals == NO_POINT) & (first == b'0') & (bytes > 1));
                digits += u8::from((decimals == NO_POINT) & (first != b'-'));
            }
            let [count, with_point, thousands, leading_zeros, digits] =
                [numbers, points, thousands, zeros, digits].map(u64::from);
            all.add(Written { count, with_point, thousands, leading_zeros, digits });
        }
        all
    }
}

/// The digits of a text without its point, and how many stand behind that; [`NO_POINT`] where there is none.
struct Digits {
    whole: u64,
    decimals: u8,
}

/// The digits of the first one to sixteen bytes of a word.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn sixteen(word: &[u8; BYTES], bytes: usize) -> Option<Digits> {
    let digits = _mm_xor_si128(load(word), _mm_set1_epi8(b'0' as i8));
    let digits = _mm_shuffle_epi8(digits, load(&TO_THE_END[bytes]));
    let above = _mm_set1_epi8(10);
    let no_digits = _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(digits, above), digits)) as u32;
    let points = _mm_movemask_epi8(_mm_cmpeq_epi8(digits, _mm_set1_epi8(POINT as i8))) as u32;
    if no_digits != points || points & points.wrapping_sub(1) != 0 || bytes == usize::from(points != 0) {
        return None;
    }
    let point = (points | 1 << BYTES).trailing_zeros() as usize;
    let digits = _mm_shuffle_epi8(digits, load(&WITHOUT_POINT[point]));
    let tens = _mm_setr_epi8(10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1, 10, 1);
    let fours = _mm_madd_epi16(_mm_maddubs_epi16(digits, tens), _mm_setr_epi16(100, 1, 100, 1, 100, 1, 100, 1));
    let ten_thousands = _mm_setr_epi16(10_000, 1, 10_000, 1, 10_000, 1, 10_000, 1);
    let eights = _mm_madd_epi16(_mm_packus_epi32(fours, fours), ten_thousands);
    let eights = _mm_cvtsi128_si64(eights) as u64;
    // Of none, one less than 0 in five bits.
    let decimals = (BYTES - 1).wrapping_sub(point) as u8 & NO_POINT;
    Some(Digits { whole: (eights & 0xffff_ffff) * 100_000_000 + (eights >> 32), decimals })
}

/// The digits of 17 to 24 bytes behind a sign; none of another text.
#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn longer(text: Text<'_>, sign: usize) -> Option<Digits> {
    let bytes = text.len().wrapping_sub(sign);
    if !(17..=24).contains(&bytes) {
        return None;
    }
    let (first, last) = (text.words(sign)?, text.words(text.len() - BYTES)?);
    let (front, back) = (sixteen(first, bytes - BYTES)?, sixteen(last, BYTES)?);
    let [front_has_point, back_has_point] = [front.decimals, back.decimals].map(|decimals| decimals != NO_POINT);
    // One byte of the back is its point.
    let power = if back_has_point { 1_000_000_000_000_000 } else { 10_000_000_000_000_000 };
    let decimals = if front_has_point { front.decimals + BYTES as u8 } else { back.decimals };
    if front_has_point & back_has_point {
        return None;
    }
    let has_room = front.whole < 1_000 && (decimals == NO_POINT || usize::from(decimals) <= quotient::DECIMALS_MAX);
    has_room.then(|| Digits { whole: front.whole * power + back.whole, decimals })
}

#[inline]
#[target_feature(enable = "avx2,bmi1")]
fn load(bytes: &[u8; BYTES]) -> __m128i {
    // SAFETY: there are as many bytes, and the load asks for no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}
