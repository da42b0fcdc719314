//! What must be true of a payload, whatever it holds, and of an object in it. Owns where tagged fields lie and which may be
//! skipped, said once more; does not know how payloads arrive.

use crate::job::{EntryResult, LedgerEntry, NOTES_BYTES_MAX, SHARDS_MAX, Specification};
use crate::model::{Loss, Network, Rows, Training};
use crate::wire::message::{Error, Goodbye, Notice, RowsSource, ShippedRange};
use crate::wire::object::{self, ObjectKind};
use crate::wire::{Message, MessageType, VERSION, is_name, limits};

/// A payload that was understood is encoded as it came, but for fields that may be skipped; of one that was not, the
/// peer can be told.
///
/// # Panics
///
/// When it is encoded otherwise, when a value is beyond its limits, or when the peer could not be told.
pub fn check_payload(kind: MessageType, payload: &[u8]) {
    let message = match Message::decode(kind, payload) {
        Ok(message) => message,
        Err(malformed) => return check_told(Error::of_payload(kind, &malformed)),
    };
    check_values(&message);
    match &message {
        Message::Put(piece) | Message::Data(piece) => check_object(&piece.bytes),
        Message::Trained(trained) => check_object(&trained.inline),
        _ => {}
    }
    let again = message.payload();
    assert_eq!(Message::decode(kind, &again).map(|message| message.payload()).as_ref(), Ok(&again), "does not settle");
    let Some(fields) = Fields::of(&message) else {
        return assert!(again == payload, "{kind} came out as another payload");
    };
    let (head, fields_as_they_came) = payload.split_at(fields.start);
    let (head_again, fields_again) = again.split_at(fields.start);
    // The fields' length, where it is said, is the head's end.
    let told = fields.start - fields.told_bytes;
    assert_eq!(head[..told], head_again[..told], "the head of {kind} came out as another");
    assert_eq!(fields_again, fields.kept(fields_as_they_came), "fields of {kind} came out as others");
}

/// What the rest of the program takes for granted of a message from a peer.
fn check_values(message: &Message<'_>) {
    let is_fit = match message {
        Message::Put(piece) | Message::Data(piece) => {
            let end = piece.offset.checked_add(piece.bytes.len() as u64);
            !piece.bytes.is_empty() && end.is_some_and(|end| end <= piece.object_bytes)
        }
        Message::Fetch(fetch) => fetch.bytes_max > 0,
        Message::Pong(pong) => pong.rows_per_second.is_finite() && pong.rows_per_second >= 0.0,
        Message::Submit(submit) => is_fit(&submit.specification),
        Message::Described(described) => is_fit(&described.specification),
        Message::Train(train) => {
            let is_ascending = match &train.rows {
                RowsSource::Blocks { ranges, .. } => {
                    !ranges.is_empty()
                        && ranges.is_sorted_by(|a, b| a.blocks.shard < b.blocks.shard)
                        && ranges.iter().all(|ShippedRange { blocks, .. }| {
                            blocks.count > 0 && blocks.first.checked_add(blocks.count).is_some()
                        })
                }
                RowsSource::Shipped(_) | RowsSource::Resident(_) => true,
            };
            let is_of_blocks = matches!(train.rows, RowsSource::Blocks { .. });
            is_ascending
                && train.training.as_ref().is_none_or(|Training { recipe, .. }| {
                    recipe.checked().is_ok() && recipe.merges_gradients() == is_of_blocks
                })
        }
        Message::Trained(trained) => {
            trained.inline.is_empty() || trained.inline.len() as u64 == trained.result.update_bytes
        }
        Message::Done(done) => done.summary.nodes.iter().all(|node| is_name(&node.node)),
        Message::Holding(holding) => holding.results.len() <= limits::HOLDING_MAX,
        Message::Job(status) => status.is_consistent() && is_sentence(status.failure_text()),
        Message::Entries(entries) => {
            let is_fit = |entry: &LedgerEntry| match &entry.result {
                EntryResult::Merged(task) => task.loss.is_finite() && is_name(&task.node),
                EntryResult::Skipped => true,
                EntryResult::Step(step) => {
                    let is_whole = (step.blocks == 0) == (entry.rows == 0) && step.blocks <= entry.rows;
                    is_whole && step.loss.is_finite() && step.skipped.is_sorted_by(|a, b| a < b)
                }
            };
            let end = entries.first.checked_add(entries.entries.len() as u64);
            (1..=SHARDS_MAX).contains(&entries.shards)
                && entries.entries.len() <= limits::LEDGER_ENTRIES_MAX
                && (entries.entries.is_empty() || end.is_some_and(|end| end <= entries.total))
                && entries.entries.iter().all(is_fit)
        }
        Message::Error(Error { text, .. })
        | Message::Goodbye(Goodbye { text })
        | Message::Notice(Notice { text, .. }) => is_sentence(text),
        _ => true,
    };
    assert!(is_fit, "{message:?} was let in");
}

fn is_sentence(text: &str) -> bool {
    text.len() <= limits::SENTENCE_BYTES_MAX && !text.contains(char::is_control)
}

fn is_fit(specification: &Specification) -> bool {
    specification.clone().checked().is_ok()
        && specification.training.recipe.checked().is_ok()
        && specification.notes.len() <= NOTES_BYTES_MAX
}

/// An object that is what it should be is encoded as it came. What it should be is said by others: here the network of
/// the documents' examples, and rows of as many features as the descriptor says.
fn check_object(bytes: &[u8]) {
    let Ok(network) = Network::new(1, &[], 2) else { return };
    for kind in [ObjectKind::Weights, ObjectKind::Update] {
        match object::decode_parameters(kind, &network, bytes) {
            Ok(values) => {
                assert!(object::encode_parameters(kind, &network, &values) == bytes, "{kind} came out as others")
            }
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
    // The descriptor's first tensor is the features', its second side their number.
    let features = bytes.get(24..28).and_then(|side| side.first_chunk()).map_or(1, |side| u32::from_le_bytes(*side));
    let Ok(network) = Network::new(features, &[], 2) else { return };
    // As many indices as the third tensor's second side says, all of its element's largest size; labels have one side, targets two.
    let third = if bytes.get(34) == Some(&2) { 56 } else { 48 };
    let indices = bytes
        .get(third + 16..third + 18)
        .and_then(|side| side.first_chunk())
        .map_or(0, |side| u16::from_le_bytes(*side));
    let levels = match bytes.get(third) {
        Some(5) => 200,
        Some(6) => 2_000,
        _ => 70_000,
    };
    let width = features.saturating_add(u32::from(indices).saturating_mul(levels));
    let indexed = Network::new(width, &[], 2)
        .and_then(|network| network.with_index_columns(&vec![[0, levels]; usize::from(indices)]));
    for network in [Some(network), indexed.ok()].into_iter().flatten() {
        for loss in [Loss::CrossEntropy, Loss::SquaredError] {
            let Ok(parts) = object::decode_rows(&network, loss, bytes) else { continue };
            let layout = network.input_layout();
            assert_eq!(parts.values.len(), parts.targets.rows() * layout.plain_inputs() as usize);
            assert_eq!(bytes.len() as u64, object::rows_bytes(parts.targets.rows() as u32, &network, loss));
            assert!(object::encode_row_parts(layout, &parts) == bytes, "rows came out as others");
            if let Ok(rows) = Rows::of_parts(layout, parts) {
                assert_eq!(rows.inputs().rows(), Some(rows.rows() as usize));
            }
        }
    }
}

/// An ERROR that this side sends reaches the peer as it is, and fits what every peer takes.
pub(super) fn check_told(error: Error) {
    let message = Message::from(error);
    let payload = message.payload();
    assert!(payload.len() <= limits::GREETING_PAYLOAD_BYTES_MAX as usize, "the peer might not take {message:?}");
    assert_eq!(Message::decode(MessageType::Error, &payload).as_ref(), Ok(&message));
}

/// The tagged fields at a payload's end, as protocol.md has them.
struct Fields {
    /// Where they begin.
    start: usize,
    /// Bytes before them that tell their length; none where they take all that is left.
    told_bytes: usize,
    /// Bytes of a field's length, behind its tag of two.
    length_bytes: usize,
    /// Whether a field of this tag may be skipped here, and is.
    is_skipped: fn(u16) -> bool,
}

impl Fields {
    /// The fields of a message; none where it has none.
    fn of(message: &Message<'_>) -> Option<Fields> {
        let (start, told_bytes, length_bytes) = match message {
            Message::Hello(_) | Message::Welcome(_) => (56, 0, 2),
            Message::Submit(_) => (24, 4, 4),
            Message::Described(_) => (20, 4, 4),
            Message::Train(train) => match &train.rows {
                RowsSource::Shipped(_) => (112, 4, 4),
                RowsSource::Resident(name) => (82 + name.len(), 4, 4),
                RowsSource::Blocks { ranges, .. } => (92 + 44 * ranges.len(), 4, 4),
            },
            _ => return None,
        };
        let is_skipped: fn(u16) -> bool = match message {
            // The fields of a greeting that offers no version known here are not read.
            Message::Hello(hello) if !(hello.version_min..=hello.version_max).contains(&VERSION) => |_| true,
            Message::Hello(_) | Message::Welcome(_) => |tag| tag >= 0x8000 && !(0x8001..=0x8007).contains(&tag),
            // A task has no notes.
            Message::Train(_) => |tag| tag >= 0xC000,
            _ => |tag| tag >= 0xC000 && tag != 0xC001,
        };
        Some(Fields { start, told_bytes, length_bytes, is_skipped })
    }

    /// What comes out again of these bytes.
    fn kept(&self, mut fields: &[u8]) -> Vec<u8> {
        let mut kept = Vec::new();
        while let Some((tag, behind)) = fields.split_first_chunk::<2>() {
            let length = behind.iter().take(self.length_bytes).rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            let (field, rest) = fields.split_at((2 + self.length_bytes + length).min(fields.len()));
            if !(self.is_skipped)(u16::from_le_bytes(*tag)) {
                kept.extend_from_slice(field);
            }
            fields = rest;
        }
        kept
    }
}
