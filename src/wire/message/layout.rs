//! How a payload's values follow each other. Owns what every payload can do; does not know any.

use crate::wire::bytes::{Read, Reader};

/// A payload's layout, both ways.
pub trait Layout<'a>: Sized {
    /// The value that a payload holds. Bytes left over are the caller's to refuse.
    fn decode(reader: &mut Reader<'a>) -> Read<Self>;

    /// Appends the payload.
    fn encode(&self, out: &mut Vec<u8>);
}
