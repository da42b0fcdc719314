//! A job's ledger as it is written: a block for the steps that were written down together, each sealed by a digest over itself
//! and the seal before. Owns the block's layout (docs/journal.md, section 4); does not know where blocks are kept, or which
//! block may follow which.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use crate::digest::Digest;
use crate::job::{LedgerEntry, RoundSummary};
use crate::wire::message::Entries;
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
    /// No step is done.
    pub(crate) const START: Extent = Extent { bytes: 0, seal: Digest([0; 32]) };
}

/// The block of some steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    /// What watchers hear of the round that ends with it, if one does.
    pub(crate) round: Option<RoundSummary>,
    /// Entries before it.
    pub(crate) first: u64,
    /// Entries of a step.
    pub(crate) of_step: u32,
    /// Its entries; there is one at least.
    pub(crate) entries: Vec<LedgerEntry>,
}

/// A block as it is written.
#[derive(Clone)]
pub(crate) struct Written {
    /// Entries before it.
    pub(crate) first: u64,
    /// All of it, with its seal.
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// Where a block begins in the ledger's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Bytes of the ledger before it.
    pub(crate) bytes: u64,
    /// Entries before it.
    pub(crate) first: u64,
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
            Self::Short { bytes } => write!(f, "the ledger ends after {bytes} bytes, in the middle of a block"),
            Self::Seal { offset } => write!(f, "the digest of the block at byte {offset} of the ledger is wrong"),
            Self::Layout { offset, why } => write!(f, "the block at byte {offset} of the ledger: {why}"),
        }
    }
}

/// Appends a block to `out`, behind the block with `seal`; returns its own seal.
pub(crate) fn append(out: &mut Vec<u8>, block: Block, seal: &Digest) -> Digest {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    let Block { round, first, of_step, entries } = block;
    let total = first + entries.len() as u64;
    round_to(out, round);
    for (index, entries) in entries.chunks(limits::LEDGER_ENTRIES_MAX).enumerate() {
        let first = first + (index * limits::LEDGER_ENTRIES_MAX) as u64;
        part(out, &Entries { total, first, shards: of_step, entries: entries.to_vec() }.into());
    }
    let length = (out.len() - start - LENGTH_BYTES) as u32;
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    let own = Digest::of_parts(&[&seal.0, &out[start..]]);
    out.extend_from_slice(&own.0);
    own
}

/// Appends what is told of a round behind its length, or a length of 0 where none has ended.
pub(crate) fn round_to(out: &mut Vec<u8>, round: Option<RoundSummary>) {
    match round {
        Some(round) => part(out, &round.into()),
        None => payload(out, &[]),
    }
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

/// These blocks, of which the first is behind a block with `seal`, one by one; they have been read before.
pub(crate) fn split(bytes: &[u8], seal: Digest) -> Vec<Written> {
    let mut blocks = Blocks::within(bytes, seal);
    let (mut split, mut start) = (Vec::new(), 0);
    while let Some(Ok(block)) = blocks.next() {
        let end = blocks.offset() as usize;
        split.push(Written { first: block.first, bytes: Arc::new(bytes[start..end].to_vec()) });
        start = end;
    }
    split
}

fn read(bytes: &[u8]) -> Result<Block, String> {
    let mut reader = Reader::new("a block of the ledger", bytes);
    let round = read_round(&mut reader)?;
    let mut block: Option<Block> = None;
    while reader.left() > 0 {
        let Message::Entries(part) = read_part(&mut reader, MessageType::Entries)? else {
            return Err("no ENTRIES".to_owned());
        };
        let Entries { first, shards: of_step, entries, .. } = part;
        let block = block.get_or_insert_with(|| Block { round, first, of_step, entries: Vec::new() });
        if first != block.first + block.entries.len() as u64 || of_step != block.of_step {
            return Err("its parts do not fit each other".to_owned());
        }
        block.entries.extend(entries);
    }
    block.filter(|block| !block.entries.is_empty()).ok_or_else(|| "it has no entry".to_owned())
}

/// Reads what is told of a round behind its length; none where that is 0.
pub(crate) fn read_round(reader: &mut Reader<'_>) -> Result<Option<RoundSummary>, String> {
    if reader.clone().u32() == Ok(0) {
        return reader.u32().map(|_| None).map_err(|error| error.to_string());
    }
    match read_part(reader, MessageType::Round)? {
        Message::Round(round) if round.round > 0 => Ok(Some(round)),
        _ => Err("rounds are counted from 1".to_owned()),
    }
}

/// Reads a message's payload behind its length.
pub(crate) fn read_part<'a>(reader: &mut Reader<'a>, kind: MessageType) -> Result<Message<'a>, String> {
    let bytes = reader.u32().and_then(|length| reader.take(length as usize)).map_err(|error| error.to_string())?;
    Message::decode(kind, bytes).map_err(|error| error.to_string())
}
