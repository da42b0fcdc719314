//! A job's ledger as it is written: one block a round, each sealed by a digest over itself and the seal before. Owns the
//! block's layout (docs/journal.md, section 4); does not know where blocks are kept.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::digest::Digest;
use crate::job::{MergedTask, RoundRecord, RoundSummary, RowsRef, Specification};
use crate::wire::message::{Entries, LedgerEntry};
use crate::wire::{Message, MessageType, Reader, limits};

/// Bytes of a digest.
pub(crate) const SEAL_BYTES: usize = 32;
/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

/// How far a ledger goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes from its start.
    pub(crate) bytes: u64,
    /// The seal of the last block; zeros before the first.
    pub(crate) seal: Digest,
}

impl Extent {
    /// No round is done.
    pub(crate) const START: Extent = Extent { bytes: 0, seal: Digest([0; 32]) };
}

/// A round's block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    /// What watchers heard of it.
    pub(crate) round: RoundSummary,
    /// Its tasks, in the order of their shards.
    pub(crate) entries: Vec<LedgerEntry>,
}

/// What is wrong with a ledger.
#[derive(Debug)]
pub(crate) enum LedgerError {
    /// The disk does not give it.
    Disk(io::Error),
    /// It ends in the middle of a block.
    Short {
        /// Bytes of it.
        bytes: u64,
    },
    /// A block's seal is not that of its bytes.
    Seal {
        /// Where the block begins.
        offset: u64,
    },
    /// A block is well sealed and does not make sense.
    Layout {
        /// Where the block begins.
        offset: u64,
        /// Why.
        why: String,
    },
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(why) => write!(f, "the ledger cannot be read: {why}"),
            Self::Short { bytes } => write!(f, "the ledger ends after {bytes} bytes, in the middle of a round"),
            Self::Seal { offset } => write!(f, "the digest of the round at byte {offset} of the ledger is wrong"),
            Self::Layout { offset, why } => write!(f, "the round at byte {offset} of the ledger: {why}"),
        }
    }
}

/// What is written of a round's tasks.
pub(crate) fn entries(specification: &Specification, record: &RoundRecord) -> Vec<LedgerEntry> {
    let entry = |(task, shard): (&Option<MergedTask>, &RowsRef)| LedgerEntry {
        rows: shard.rows,
        base: record.base,
        merged: task.clone(),
    };
    record.tasks.iter().zip(&specification.shards).map(entry).collect()
}

/// Appends a round's block to `out`, behind the block with `seal`; returns its own seal.
pub(crate) fn append(out: &mut Vec<u8>, block: Block, seal: &Digest) -> Digest {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let shards = block.entries.len() as u32;
    let first = u64::from(block.round.round - 1) * u64::from(shards);
    let total = first + u64::from(shards);
    part(out, &block.round.into());
    for (index, entries) in block.entries.chunks(limits::LEDGER_ENTRIES_MAX).enumerate() {
        let first = first + (index * limits::LEDGER_ENTRIES_MAX) as u64;
        part(out, &Entries { total, first, shards, entries: entries.to_vec() }.into());
    }
    let length = (out.len() - start - LENGTH_BYTES) as u32;
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    let own = Digest::of_parts(&[&seal.0, &out[start..]]);
    out.extend_from_slice(&own.0);
    own
}

/// Appends a message's payload behind its length.
pub(crate) fn part(out: &mut Vec<u8>, message: &Message<'_>) {
    payload(out, &message.payload());
}

/// Appends a payload behind its length.
pub(crate) fn payload(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(payload);
}

/// Walks over a ledger's blocks; holds one of them at a time.
pub(crate) struct Blocks<R> {
    reader: R,
    /// Bytes that are still to be walked over.
    left: u64,
    offset: u64,
    seal: Digest,
}

impl<'a> Blocks<&'a [u8]> {
    /// The blocks in `bytes`, the first behind a block with `seal`.
    pub(crate) fn within(bytes: &'a [u8], seal: Digest) -> Blocks<&'a [u8]> {
        Blocks::new(bytes, bytes.len() as u64, seal)
    }
}

impl<R: Read> Blocks<R> {
    /// The blocks in the next `bytes` bytes of a reader, the first behind a block with `seal`.
    pub(crate) fn new(reader: R, bytes: u64, seal: Digest) -> Blocks<R> {
        Blocks { reader, left: bytes, offset: 0, seal }
    }

    /// The seal of the last block that was walked over.
    pub(crate) fn seal(&self) -> Digest {
        self.seal
    }

    /// Where the next block begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    fn step(&mut self) -> Result<Option<Block>, LedgerError> {
        if self.left == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        let length = self.take(LENGTH_BYTES as u64)?;
        let sealed_bytes = length.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let sealed = self.take(sealed_bytes)?;
        let seal = self.take(SEAL_BYTES as u64)?;
        let own = Digest::of_parts(&[&self.seal.0, &length, &sealed]);
        if own.0 != *seal {
            return Err(LedgerError::Seal { offset });
        }
        self.seal = own;
        let block = read(&sealed).map_err(|why| LedgerError::Layout { offset, why })?;
        Ok(Some(block))
    }

    fn take(&mut self, count: u64) -> Result<Vec<u8>, LedgerError> {
        if count > self.left {
            return Err(LedgerError::Short { bytes: self.offset + self.left });
        }
        let mut bytes = Vec::with_capacity(count as usize);
        self.reader.by_ref().take(count).read_to_end(&mut bytes).map_err(LedgerError::Disk)?;
        self.left -= count;
        self.offset += bytes.len() as u64;
        if (bytes.len() as u64) < count {
            return Err(LedgerError::Short { bytes: self.offset });
        }
        Ok(bytes)
    }
}

impl<R: Read> Iterator for Blocks<R> {
    type Item = Result<Block, LedgerError>;

    fn next(&mut self) -> Option<Result<Block, LedgerError>> {
        let block = self.step();
        if block.is_err() {
            self.left = 0;
        }
        block.transpose()
    }
}

/// The seal at the end of these blocks; of none, that before the first.
pub(crate) fn last_seal(blocks: &[u8]) -> Digest {
    blocks.last_chunk::<SEAL_BYTES>().map_or(Extent::START.seal, |seal| Digest(*seal))
}

/// These blocks, of which the first is behind a block with `seal`, one by one.
pub(crate) fn split(bytes: &[u8], seal: Digest) -> Vec<Arc<Vec<u8>>> {
    let mut blocks = Blocks::within(bytes, seal);
    let (mut split, mut start) = (Vec::new(), 0);
    while let Some(Ok(_)) = blocks.next() {
        let end = blocks.offset() as usize;
        split.push(Arc::new(bytes[start..end].to_vec()));
        start = end;
    }
    split
}

fn read(bytes: &[u8]) -> Result<Block, String> {
    let mut reader = Reader::new("a round of the ledger", bytes);
    let Message::Round(round) = read_part(&mut reader, MessageType::Round)? else { return Err("no ROUND".to_owned()) };
    let mut entries = Vec::new();
    while reader.left() > 0 {
        let Message::Entries(part) = read_part(&mut reader, MessageType::Entries)? else {
            return Err("no ENTRIES".to_owned());
        };
        entries.extend(part.entries);
    }
    if round.round == 0 {
        return Err("rounds are counted from 1".to_owned());
    }
    Ok(Block { round, entries })
}

/// Reads a message's payload behind its length.
pub(crate) fn read_part<'a>(reader: &mut Reader<'a>, kind: MessageType) -> Result<Message<'a>, String> {
    let bytes = reader.u32().and_then(|length| reader.take(length as usize)).map_err(|error| error.to_string())?;
    Message::decode(kind, bytes).map_err(|error| error.to_string())
}
