//! A bounded cursor over a payload, and the few ways to write one. Owns how integers, names and sentences are laid
//! out; does not know which message they belong to.

use std::fmt;

use byteorder::{ByteOrder, LittleEndian};

use super::code::ErrorCode;
use super::limits;
use super::text::counted;
use crate::digest::Digest;

/// A payload that is not what its type says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedPayload {
    /// What was being read.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: Malformation,
}

/// What is wrong with a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformation {
    /// It ends too early.
    TooShort {
        /// Bytes needed.
        needed: usize,
        /// Bytes left.
        left: usize,
    },
    /// Bytes follow where the message has ended.
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// A number stands for nothing here.
    UnknownValue {
        /// The number.
        got: u64,
    },
    /// A count or length is over its limit.
    OverLimit {
        /// The number.
        got: u64,
        /// The limit.
        allowed: u64,
    },
    /// Bytes that are reserved are not zero.
    ReservedNotZero,
    /// A text is not UTF-8, or has control characters.
    NotText,
    /// A name has other characters than `A-Z a-z 0-9 . _ -`, or none.
    NotAName,
    /// Tagged fields out of order or repeated.
    FieldOrder {
        /// The tag that came too late.
        tag: u16,
    },
    /// A field that must be understood is not.
    UnknownField {
        /// Its tag.
        tag: u16,
    },
    /// A field that must be there is not.
    MissingField {
        /// Its tag.
        tag: u16,
    },
    /// A field holds its default: it must be left out, so that a specification has one encoding.
    DefaultWritten {
        /// Its tag.
        tag: u16,
    },
    /// A specification is well formed, but a value is outside its limits.
    Specification {
        /// The sentence that says which.
        why: String,
        /// The value, where it is one whole number.
        got: u64,
        /// The limit that it passes then; 0 with a value of another kind.
        allowed: u64,
    },
    /// A piece does not lie within its object.
    ObjectRange {
        /// Bytes of the piece.
        piece_bytes: u64,
        /// Where it begins.
        offset: u64,
        /// Bytes of the object.
        object_bytes: u64,
    },
    /// The values are well formed but make no sense together; the sentence says why.
    Refused(String),
}

impl MalformedPayload {
    /// The code that the peer is told. Only MALFORMED closes the connection: the others refuse one request.
    pub fn code(&self) -> ErrorCode {
        match self.why {
            Malformation::Specification { .. } => ErrorCode::Specification,
            Malformation::UnknownField { .. } => ErrorCode::UnknownField,
            Malformation::ObjectRange { .. } => ErrorCode::ObjectRange,
            _ => ErrorCode::Malformed,
        }
    }
}

impl fmt::Display for MalformedPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.why {
            // Its tag says which.
            Malformation::DefaultWritten { .. } => self.what.trim_start_matches("a field of "),
            _ => self.what,
        };
        match &self.why {
            Malformation::TooShort { needed, left } => {
                write!(f, "{what} needs {needed} more bytes, and {left} are left")
            }
            Malformation::TrailingBytes { left } => {
                write!(f, "{} after the end of {what}", counted(*left as u64, "byte"))
            }
            Malformation::UnknownValue { got } => write!(f, "{what} has a value, {got}, that its place does not allow"),
            Malformation::OverLimit { got, allowed } => {
                write!(f, "{what} has a length or count of {got}, and at most {allowed} is allowed")
            }
            Malformation::ReservedNotZero => write!(f, "reserved bytes of {what} are not zero"),
            Malformation::NotText => write!(f, "{what} is not printable UTF-8"),
            Malformation::NotAName => write!(f, "{what} is not a name of 1 to 64 of A-Z a-z 0-9 . _ -"),
            Malformation::FieldOrder { tag } => write!(f, "field {tag:#06x} of {what} is out of order or repeated"),
            Malformation::UnknownField { tag } => write!(f, "field {tag:#06x} of {what} is not known here"),
            Malformation::MissingField { tag } => write!(f, "field {tag:#06x} of {what} is missing"),
            Malformation::DefaultWritten { tag } => {
                write!(f, "field {tag:#06x} of {what} is empty or holds its default, and must be left out")
            }
            Malformation::ObjectRange { piece_bytes, offset, object_bytes } => {
                write!(f, "{what}: {piece_bytes} bytes at {offset} are no piece of an object of {object_bytes}")
            }
            Malformation::Specification { why, .. } | Malformation::Refused(why) => write!(f, "{what}: {why}"),
        }
    }
}

impl std::error::Error for MalformedPayload {}

/// What reading yields.
pub type Read<T> = Result<T, MalformedPayload>;

/// A cursor over a payload that never reads past its end.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`, which are `what` in error texts.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, rest: bytes }
    }

    /// The error `why` about what is being read.
    pub fn fail<T>(&self, why: Malformation) -> Read<T> {
        Err(MalformedPayload { what: self.what, why })
    }

    /// Bytes not yet read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.fail(Malformation::TooShort { needed: count, left: self.rest.len() }),
        }
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// `count` bytes as a reader of their own, called `what`.
    pub fn sub(&mut self, what: &'static str, count: usize) -> Read<Reader<'a>> {
        Ok(Reader::new(what, self.take(count)?))
    }

    /// Refuses bytes that follow the end.
    pub fn end(self) -> Read<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => self.fail(Malformation::TrailingBytes { left }),
        }
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// The next u8.
    pub fn u8(&mut self) -> Read<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// The next u16.
    pub fn u16(&mut self) -> Read<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next u32.
    pub fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next u64.
    pub fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next u128.
    pub fn u128(&mut self) -> Read<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// The next f32.
    pub fn f32(&mut self) -> Read<f32> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    /// The next f64.
    pub fn f64(&mut self) -> Read<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// The next 16 bytes.
    pub fn bytes16(&mut self) -> Read<[u8; 16]> {
        self.array()
    }

    /// The next 32 bytes.
    pub fn bytes32(&mut self) -> Read<[u8; 32]> {
        self.array()
    }

    /// The next digest.
    pub fn digest(&mut self) -> Read<Digest> {
        Ok(Digest(self.array()?))
    }

    /// A byte that is 0 or 1.
    pub fn boolean(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            got => self.fail(Malformation::UnknownValue { got: got.into() }),
        }
    }

    /// `count` reserved bytes, all zero.
    pub fn reserved(&mut self, count: usize) -> Read<()> {
        if self.take(count)?.iter().any(|&byte| byte != 0) {
            return self.fail(Malformation::ReservedNotZero);
        }
        Ok(())
    }

    /// A count of things, at most `allowed`, each of `bytes_each` bytes that must be there already.
    pub fn count(&mut self, allowed: usize, bytes_each: usize) -> Read<usize> {
        let got = self.u32()?;
        if u64::from(got) > allowed as u64 {
            return self.fail(Malformation::OverLimit { got: got.into(), allowed: allowed as u64 });
        }
        let needed = got as usize * bytes_each;
        if needed > self.left() {
            return self.fail(Malformation::TooShort { needed, left: self.left() });
        }
        Ok(got as usize)
    }

    /// A sentence: u16 length, then UTF-8 without control characters.
    pub fn sentence(&mut self) -> Read<String> {
        let got = usize::from(self.u16()?);
        if got > limits::SENTENCE_BYTES_MAX {
            let allowed = limits::SENTENCE_BYTES_MAX as u64;
            return self.fail(Malformation::OverLimit { got: got as u64, allowed });
        }
        match std::str::from_utf8(self.take(got)?) {
            Ok(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
            _ => self.fail(Malformation::NotText),
        }
    }

    /// A name: u16 length, then 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn name(&mut self) -> Read<String> {
        let count = usize::from(self.u16()?);
        self.take(count).and_then(|bytes| self.check_name(bytes))
    }

    /// All that is left, as a name.
    pub fn rest_as_name(&mut self) -> Read<String> {
        let bytes = self.rest();
        self.check_name(bytes)
    }

    fn check_name(&self, bytes: &[u8]) -> Read<String> {
        match std::str::from_utf8(bytes) {
            Ok(text) if is_name(text) => Ok(text.to_owned()),
            _ => self.fail(Malformation::NotAName),
        }
    }
}

/// Whether a text may name a node, a cluster or a class in messages: `[A-Za-z0-9._-]{1,64}`.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=limits::NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

/// Writing, by the same layout. Messages are written field by field in a hundred places: a call in each takes less than the
/// growing of the payload would.
pub(super) trait Write {
    fn bytes(&mut self, bytes: &[u8]);
    fn u8(&mut self, value: u8);
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    fn u128(&mut self, value: u128);
    fn f64(&mut self, value: f64);
    fn sentence(&mut self, text: &str);
    fn name(&mut self, name: &str);
}

impl Write for Vec<u8> {
    #[inline(never)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    #[inline(never)]
    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline(never)]
    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline(never)]
    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline(never)]
    fn u128(&mut self, value: u128) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    #[inline(never)]
    fn f64(&mut self, value: f64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    /// Control characters become spaces and the text is cut at its limit: what a person reads cannot break a frame.
    fn sentence(&mut self, text: &str) {
        let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        clean.truncate(clean.floor_char_boundary(limits::SENTENCE_BYTES_MAX));
        self.u16(clean.len() as u16);
        self.bytes(clean.as_bytes());
    }

    fn name(&mut self, name: &str) {
        debug_assert!(is_name(name), "{name:?}");
        self.u16(name.len() as u16);
        self.bytes(name.as_bytes());
    }
}

/// f32 values from little-endian bytes, in bulk.
pub(super) fn f32_from_bytes(bytes: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; bytes.len() / 4];
    LittleEndian::read_f32_into(bytes, &mut out);
    out
}

/// u32 values from little-endian bytes, in bulk.
pub(super) fn u32_from_bytes(bytes: &[u8]) -> Vec<u32> {
    let mut out = vec![0; bytes.len() / 4];
    LittleEndian::read_u32_into(bytes, &mut out);
    out
}

/// Appends f32 values as little-endian bytes, in bulk.
pub(super) fn append_f32(out: &mut Vec<u8>, values: &[f32]) {
    append(out, values, |value| value.to_le_bytes());
}

/// Appends u32 values as little-endian bytes, in bulk.
pub(super) fn append_u32(out: &mut Vec<u8>, values: &[u32]) {
    append(out, values, |value| value.to_le_bytes());
}

fn append<T: bytemuck::NoUninit>(out: &mut Vec<u8>, values: &[T], little_endian: impl Fn(&T) -> [u8; 4]) {
    if cfg!(target_endian = "little") {
        out.extend_from_slice(bytemuck::cast_slice(values));
    } else {
        values.iter().for_each(|value| out.extend_from_slice(&little_endian(value)));
    }
}
