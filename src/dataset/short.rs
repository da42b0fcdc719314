//! Plain numbers, `-1.5`, as most fields are: read as whole words instead of byte by byte. Owns how they are recognised and
//! what they are worth; any other text is left to those who read every form (`value`).

mod quotient;
#[cfg(target_arch = "x86_64")]
mod vector;

use super::delimited::{Column, Text};
use super::written::Written;

/// A number, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Short {
    pub(super) value: f64,
    pub(super) is_negative: bool,
    /// Digits behind the point, where there is one.
    pub(super) decimals: Option<usize>,
    /// Bytes without the sign.
    pub(super) bytes: usize,
}

/// The digits of a text, without its point.
#[derive(Clone, Copy)]
struct Digits {
    number: u64,
    decimals: Option<usize>,
}

/// A text of digits, perhaps with a sign before and a point among them; none of another text, or of more than 24 bytes or 19
/// digits behind zeros.
#[inline(always)]
pub(super) fn read(text: Text<'_>) -> Option<Short> {
    let is_negative = text.first() == Some(b'-');
    let sign = usize::from(is_negative);
    let bytes = text.len() - sign;
    let digits = match bytes {
        1..=8 => eight(u64::from_le_bytes(text.half_word(sign)), bytes)?,
        9..=16 => sixteen(u128::from_le_bytes(text.word(sign)), bytes)?,
        17..=24 => more(text, sign)?,
        _ => return None,
    };
    let magnitude = match digits.decimals {
        None => digits.number as f64,
        Some(decimals) => quotient::rounded(digits.number, decimals),
    };
    // Which sign is next is nothing that a processor could guess.
    let value = f64::from_bits(magnitude.to_bits() | u64::from(is_negative) << 63);
    Some(Short { value, is_negative, decimals: digits.decimals, bytes })
}

/// Reads the texts of a column: numbers, one for each, and the places of those that [`read`] gives none for, which are NaN; tells how
/// they are written, some at a time.
#[inline]
pub(super) fn read_all(
    column: Column<'_>,
    numbers: &mut Vec<f64>,
    others: &mut Vec<u32>,
    written: impl FnMut(Written),
) {
    #[cfg(target_arch = "x86_64")]
    if vector::is_there() {
        // SAFETY: the processor has what it is compiled for.
        return unsafe { vector::read_all(column, numbers, others, written) };
    }
    read_each(column, numbers, others, written);
}

/// The same one by one.
fn read_each(column: Column<'_>, numbers: &mut Vec<f64>, others: &mut Vec<u32>, mut written: impl FnMut(Written)) {
    numbers.resize(column.len(), f64::NAN);
    let mut of_all = Written::default();
    for (row, number) in numbers.iter_mut().enumerate() {
        let text = column.text(row);
        match read(text) {
            Some(short) => {
                of_all.add(short.written(text));
                *number = short.value;
            }
            None => {
                others.push(row as u32);
                *number = f64::NAN;
            }
        }
    }
    written(of_all);
}

/// The number of eight digits, the first in the lowest byte: neighbours are put together, then pairs, then fours.
#[inline(always)]
fn number(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff
}

/// What a point is where a digit is its value.
const POINT: u8 = b'.' ^ b'0';

/// The digits of one to eight bytes, the first of them lowest.
#[inline(always)]
fn eight(word: u64, bytes: usize) -> Option<Digits> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // Zeros in front take the place of what stands behind.
    let digits = (word ^ (ONES * u64::from(b'0'))) << (8 * (8 - bytes));
    let others = (((digits & (0x7f * ONES)) + (0x76 * ONES)) | digits) & (0x80 * ONES);
    if others == 0 {
        return Some(Digits { number: number(digits), decimals: None });
    }
    let at = others.trailing_zeros() & !7;
    if others & (others - 1) != 0 || (digits >> at) as u8 != POINT || bytes == 1 {
        return None;
    }
    // The digits before the point close up to those behind.
    let before = (1u64 << at) - 1;
    let behind = !((before << 8) | 0xff);
    let closed = (digits & behind) | ((digits & before) << 8);
    Some(Digits { number: number(closed), decimals: Some(7 - at as usize / 8) })
}

/// The digits of one to sixteen bytes, the first of them lowest.
#[inline(always)]
fn sixteen(word: u128, bytes: usize) -> Option<Digits> {
    const ONES: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;
    let digits = (word ^ (ONES * b'0' as u128)) << (8 * (16 - bytes));
    let others = (((digits & (0x7f * ONES)) + (0x76 * ONES)) | digits) & (0x80 * ONES);
    let (closed, decimals) = if others == 0 {
        (digits, None)
    } else {
        let at = others.trailing_zeros() & !7;
        if others & (others - 1) != 0 || (digits >> at) as u8 != POINT || bytes == 1 {
            return None;
        }
        let before = (1u128 << at) - 1;
        let behind = !((before << 8) | 0xff);
        ((digits & behind) | ((digits & before) << 8), Some(15 - at as usize / 8))
    };
    Some(Digits { number: 100_000_000 * number(closed as u64) + number((closed >> 64) as u64), decimals })
}

/// The digits of 17 to 24 bytes behind a sign.
#[inline(never)]
fn more(text: Text<'_>, sign: usize) -> Option<Digits> {
    let ahead = text.len() - sign - 16;
    let front = eight(u64::from_le_bytes(text.half_word(sign)), ahead)?;
    let back = sixteen(u128::from_le_bytes(text.word(sign + ahead)), 16)?;
    let (power, decimals) = match (front.decimals, back.decimals) {
        (None, None) => (10_000_000_000_000_000, None),
        (Some(decimals), None) => (10_000_000_000_000_000, Some(decimals + 16)),
        // One byte of the back is the point.
        (None, Some(decimals)) => (1_000_000_000_000_000, Some(decimals)),
        (Some(_), Some(_)) => return None,
    };
    let is_small = front.number < 1_000 && decimals.is_none_or(|decimals| decimals <= quotient::DECIMALS_MAX);
    is_small.then(|| Digits { number: front.number * power + back.number, decimals })
}

impl Short {
    /// How it is written, as this text.
    fn written(&self, text: Text<'_>) -> Written {
        let is_of_digits = self.is_of_digits();
        Written {
            count: 1,
            with_point: u64::from(self.decimals.is_some()),
            thousands: u64::from(self.may_be_thousands()),
            leading_zeros: u64::from(is_of_digits && self.bytes > 1 && text.first() == Some(b'0')),
            digits: u64::from(is_of_digits),
        }
    }

    /// Whether it is written with digits alone.
    #[inline]
    pub(super) fn is_of_digits(&self) -> bool {
        self.decimals.is_none() && !self.is_negative
    }

    /// Whether its point may stand between thousands: `1.234`.
    #[inline]
    pub(super) fn may_be_thousands(&self) -> bool {
        self.decimals == Some(3) && (5..=7).contains(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::value::{self, Reading};

    /// Digits and points that are read, whatever they come to.
    fn is_read(text: &str) -> bool {
        let digits = text.trim_start_matches('-');
        digits.len() <= 16 && digits.bytes().any(|byte| byte.is_ascii_digit())
    }

    fn check(text: &str, wanted: bool) -> Result<(), TestCaseError> {
        // Whatever stands behind is none of it.
        for behind in ["", "7", ".5", "e5\n", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", ",1234567890123456789"] {
            let found = read(Text::within(&[text, behind].concat(), text.len()));
            prop_assert!(found.is_some() || !wanted, "{text:?} {behind:?}");
            let Some(found) = found else { continue };
            let Reading::Number(value) = value::plain(text) else { return Err(TestCaseError::fail(text.to_owned())) };
            prop_assert_eq!(found.value.to_bits(), value.to_bits(), "{:?} {:?}", text, behind);
            prop_assert_eq!(found.may_be_thousands(), value::may_be_thousands(text), "{:?}", text);
            prop_assert_eq!(found.is_of_digits(), text.bytes().all(|byte| byte.is_ascii_digit()), "{:?}", text);
            prop_assert_eq!(found.decimals, text.split_once('.').map(|(_, part)| part.len()), "{:?}", text);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn short_numbers_have_the_bits_of_the_longer_way(
            whole in "-?[0-9]{1,16}",
            decimal in "-?[0-9]{0,8}[.][0-9]{0,9}",
            text in "[-+]?[0-9]{0,12}[.eE, /:]?[0-9]{0,12}",
            any in "\\PC{0,25}",
            long in any::<f64>(),
            near_one in -1e3f64..1e3,
            longer in "-?[0-9]{0,8}[.][0-9]{8,20}",
            thousands in "-?[0-9]{0,4}[.][0-9]{3}",
        ) {
            for text in [&text, &any, &long.to_string(), &format!("{long:e}"), &near_one.to_string(), &longer, &thousands] {
                check(text, false)?;
            }
            check(&whole, is_read(&whole))?;
            check(&decimal, is_read(&decimal))?;
        }
    }

    /// How all texts of a column are read.
    type ReadAll = fn(Column<'_>, &mut Vec<f64>, &mut Vec<u32>, &mut dyn FnMut(Written));

    proptest! {
        #[test]
        fn columns_are_read_as_their_texts_are_one_by_one(
            texts in prop::collection::vec(
                "-?[0-9]{1,24}|-?[0-9]{0,12}[.][0-9]{0,14}|[0-9]{1,4}[.][0-9]{3}|0[0-9]{1,3}|\\PC{0,6}|[-.0-9]{0,20}",
                1..300,
            ),
        ) {
            let line = texts.concat() + &"7".repeat(64);
            let ends = texts.iter().scan(0, |end, text| { *end += text.len() as u32; Some(*end) });
            let spans: Vec<(u32, u32)> = texts.iter().zip(ends).map(|(text, end)| (end - text.len() as u32, end)).collect();
            let column = Column::of_spans(line.as_bytes(), &spans);
            let all = |read_all: ReadAll| {
                let (mut numbers, mut others, mut written) = (vec![1.5; 7], Vec::new(), Written::default());
                read_all(column, &mut numbers, &mut others, &mut |more| written.add(more));
                let bits: Vec<u64> = numbers.iter().map(|number| number.to_bits()).collect();
                (bits, others, written)
            };
            let each = all(|column, numbers, others, written| read_each(column, numbers, others, written));
            prop_assert_eq!(each, all(|column, numbers, others, written| read_all(column, numbers, others, written)));
        }
    }

    #[test]
    fn what_has_no_digits_is_no_number() {
        for text in [
            "",
            "-",
            ".",
            "-.",
            "..",
            "--1",
            "1-",
            "+1",
            "1 ",
            " 1",
            "1..2",
            "10000000000000000000000",
            "0.1234567890123456789012",
        ] {
            assert_eq!(read(text.into()), None, "{text:?}");
        }
        assert!(read("-0".into()).unwrap().value.is_sign_negative());
    }
}
