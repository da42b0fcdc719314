//! The values of a section as bytes. Owns their encoding; does not know what they are.

use crate::digest::{Digest, Hasher};

/// Values of a section, hashed in the order in which they are told: little-endian, and any NaN as one and the same.
#[derive(Default)]
pub struct Values(Hasher);

impl Values {
    #[inline(never)] // Here and below: the hash takes more code than a call, and is in many places.
    pub(super) fn f32(&mut self, value: f32) {
        self.integer(if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() });
    }

    pub(super) fn f64(&mut self, value: f64) {
        let bits = if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
        self.integer(bits as u32);
        self.integer((bits >> 32) as u32);
    }

    #[inline(never)]
    pub(super) fn integer(&mut self, value: u32) {
        self.0.update(&value.to_le_bytes());
    }

    /// What another way of computing a value gives: told where it is not the same.
    #[inline(never)]
    pub(super) fn other_way(&mut self, value: f32, other: f32) {
        if value.to_bits() != other.to_bits() && !(value.is_nan() && other.is_nan()) {
            self.f32(other);
        }
    }

    pub(super) fn digest(self) -> Digest {
        self.0.finish()
    }
}
