//! Protocol buffers, as far as they are written: messages of integers, bytes and messages. Owns the encoding; does not know what
//! the messages mean.
//!
//! A message's length stands before it. Weights are kept as the slices that they are until they are written, so that a large
//! model is in memory once.

use std::io::{self, Write};

/// The wire type of an integer.
const VARINT: u64 = 0;
/// The wire type of what has its length in front.
const LENGTH_DELIMITED: u64 = 2;
/// Numbers that are turned into bytes at a time.
const NUMBERS_AT_A_TIME: usize = 4_096;

/// A message: its fields, one behind the other.
#[derive(Default)]
pub(super) struct Message<'a> {
    pieces: Vec<Piece<'a>>,
}

/// A part of a message.
enum Piece<'a> {
    Bytes(Vec<u8>),
    /// Little-endian, one behind the other.
    Floats(&'a [f32]),
}

impl Piece<'_> {
    fn bytes(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Floats(floats) => size_of_val(*floats),
        }
    }
}

impl<'a> Message<'a> {
    /// A message without fields.
    pub(super) fn new() -> Message<'a> {
        Message::default()
    }

    /// With an integer in this field.
    pub(super) fn integer(mut self, field: u64, value: i64) -> Message<'a> {
        self.varint(field << 3 | VARINT);
        // A negative one has ten bytes, as the encoding wants it.
        self.varint(value as u64);
        self
    }

    /// With bytes in this field.
    pub(super) fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Message<'a> {
        let bytes = bytes.as_ref();
        self.delimit(field, bytes.len());
        self.tail().extend_from_slice(bytes);
        self
    }

    /// With numbers in this field, as bytes.
    pub(super) fn floats(mut self, field: u64, floats: &'a [f32]) -> Message<'a> {
        self.delimit(field, size_of_val(floats));
        self.pieces.push(Piece::Floats(floats));
        self
    }

    /// With a message in this field.
    pub(super) fn message(mut self, field: u64, message: Message<'a>) -> Message<'a> {
        self.delimit(field, message.pieces.iter().map(Piece::bytes).sum());
        for piece in message.pieces {
            match piece {
                Piece::Bytes(bytes) => self.tail().extend_from_slice(&bytes),
                floats => self.pieces.push(floats),
            }
        }
        self
    }

    /// Writes the message.
    pub(super) fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        for piece in &self.pieces {
            match piece {
                Piece::Bytes(bytes) => out.write_all(bytes)?,
                Piece::Floats(floats) => {
                    for floats in floats.chunks(NUMBERS_AT_A_TIME) {
                        let bytes: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
                        out.write_all(&bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn delimit(&mut self, field: u64, bytes: usize) {
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(bytes as u64);
    }

    /// Seven bits a byte, the lowest first; all bytes but the last have the highest bit.
    fn varint(&mut self, mut value: u64) {
        let tail = self.tail();
        while value >= 0x80 {
            tail.push(value as u8 | 0x80);
            value >>= 7;
        }
        tail.push(value as u8);
    }

    /// Where bytes go.
    fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.pieces.last(), Some(Piece::Bytes(_))) {
            self.pieces.push(Piece::Bytes(Vec::new()));
        }
        let Some(Piece::Bytes(bytes)) = self.pieces.last_mut() else { unreachable!("it was put there a line before") };
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &Message<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        message.write_to(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn messages_have_the_bytes_of_the_encodings_own_examples() {
        assert_eq!(written(&Message::new().integer(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(&Message::new().bytes(2, "testing")), b"\x12\x07testing");
        assert_eq!(written(&Message::new().message(3, Message::new().integer(1, 150))), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let minus_two = [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(written(&Message::new().integer(1, -2)), minus_two);
        // Field 16 is the first whose tag has two bytes.
        assert_eq!(written(&Message::new().integer(16, 0)), [0x80, 0x01, 0x00]);
    }

    #[test]
    fn numbers_that_are_only_written_count_in_the_lengths_of_all_messages_around() {
        let floats: Vec<f32> = (0..3 * NUMBERS_AT_A_TIME + 1).map(|index| index as f32).collect();
        let inner = Message::new().integer(1, 7).floats(9, &floats).integer(1, 8);
        let bytes = written(&Message::new().message(7, Message::new().message(5, inner)).integer(1, 9));
        let raw: Vec<u8> = floats.iter().flat_map(|float| float.to_le_bytes()).collect();
        let inner = written(&Message::new().integer(1, 7).bytes(9, raw).integer(1, 8));
        let wanted = Message::new().message(7, Message::new().bytes(5, inner)).integer(1, 9);
        assert_eq!(bytes, written(&wanted));
    }
}
