//! How plain numbers are written, counted: with a point, with one that may stand between thousands, of digits alone, with zeros in
//! front. Owns what is told of one number; does not know what the counts are for.

use super::value;

/// Numbers that are written in these ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// All.
    pub(super) count: u64,
    pub(super) with_point: u64,
    /// Those whose point may stand between thousands.
    pub(super) thousands: u64,
    /// Those that start with a zero as no number does.
    pub(super) leading_zeros: u64,
    /// Those of digits alone.
    pub(super) digits: u64,
}

impl Written {
    pub(super) fn of(text: &str) -> Written {
        let has_point = text.as_bytes().contains(&b'.');
        Written {
            count: 1,
            with_point: u64::from(has_point),
            thousands: u64::from(has_point && value::may_be_thousands(text)),
            leading_zeros: u64::from(value::has_leading_zero(text)),
            digits: u64::from(text.bytes().all(|byte| byte.is_ascii_digit())),
        }
    }

    /// Adds others.
    #[inline]
    pub(super) fn add(&mut self, others: Written) {
        self.count += others.count;
        self.with_point += others.with_point;
        self.thousands += others.thousands;
        self.leading_zeros += others.leading_zeros;
        self.digits += others.digits;
    }
}
