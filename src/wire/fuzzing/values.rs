//! Any message, made from a fuzzer's bytes: every type, every variant, every field within its limits, and the limits
//! themselves. Owns how values are drawn; does not know what is asserted of them.
//!
//! Where values depend on each other they are made to fit; where that is not worth it, the input is given up.

use std::ops::RangeInclusive;

use arbitrary::{Arbitrary, Error as Unfit, Result, Unstructured};

use crate::digest::Digest;
use crate::job::{
    Attempt, CachedResult, EntryResult, Failure, JobId, JobState, JobStatus, LedgerEntry, METRICS_MAX, MergedStep,
    MergedTask, Metrics, NOTES_BYTES_MAX, NodeTasks, ObjectRef, Profile, ROWS_MAX, RejectReason, RoundSummary, RowsRef,
    SHARDS_MAX, STEPS_MAX, Specification, Summary, TaskId, TaskResult, TaskState, Tested,
};
use crate::model::network::{HIDDEN_LAYERS_MAX, HIDDEN_WIDTH_MAX};
use crate::model::{BlockRange, CLASS_WEIGHT_MAX, CLASS_WEIGHT_MIN, Loss, OuterOptimiser, Training};
use crate::wire::message::{
    Accepted, Attach, Cancel, Describe, Described, Done, Entries, Error, Features, Fetch, Goodbye, Have, Held, Hello,
    Holding, Jobs, Ledger, Listed, Notice, NoticeKind, Order, OrderVerb, PIECE_BYTES_MAX, Piece, Poll, Polled, Pong,
    Rejected, Results, RowsSource, ShippedRange, Submit, Train, Trained, Welcome,
};
use crate::wire::session::Role;
use crate::wire::specification::Draft;
use crate::wire::specification::fields::{FIELDS, Number, TRAINING_MAX, Value};
use crate::wire::{ErrorCode, Message, MessageType, VERSION, limits};

impl<'a> Arbitrary<'a> for Message<'static> {
    /// The first byte chooses the type: its place among all of them.
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.choose(MessageType::ALL)? {
            MessageType::Hello => hello(u)?.into(),
            MessageType::Welcome => welcome(u)?.into(),
            MessageType::Error => error(u)?.into(),
            // It has a number and no layout.
            MessageType::Challenge => return Err(Unfit::IncorrectFormat),
            MessageType::Goodbye => Goodbye { text: sentence(u)? }.into(),
            MessageType::Ping => crate::wire::message::Ping.into(),
            MessageType::Pong => {
                let (running, waiting, speed): (_, _, u64) = u.arbitrary()?;
                Pong { running, waiting, rows_per_second: f64::from_bits(speed % f64::INFINITY.to_bits()) }.into()
            }
            MessageType::Cancel => Cancel { request: u.arbitrary()? }.into(),
            MessageType::Have => Have { digests: list(u, 0..=limits::HAVE_DIGESTS_MAX, digest)? }.into(),
            MessageType::Held => Held { bytes: list(u, 0..=limits::HAVE_DIGESTS_MAX, u64::arbitrary)? }.into(),
            MessageType::Put => Message::Put(piece(u)?),
            MessageType::Fetch => {
                let (digest, offset) = (digest(u)?, u.arbitrary()?);
                Fetch { digest, offset, bytes_max: u.int_in_range(1..=u32::MAX)? }.into()
            }
            MessageType::Data => Message::Data(piece(u)?),
            MessageType::Train => train(u)?.into(),
            MessageType::Trained => trained(u)?.into(),
            MessageType::Rejected => {
                let reason = *u.choose(&[RejectReason::LoadProbability, RejectReason::Busy])?;
                let (running, waiting, retry_ms) = u.arbitrary()?;
                Rejected { name: task_name(u)?, reason, running, waiting, retry_ms }.into()
            }
            MessageType::Poll => Poll { name: task_name(u)? }.into(),
            MessageType::Polled => {
                let state = *u.choose(&[TaskState::Unknown, TaskState::Waiting, TaskState::Running])?;
                let (batches_done, batches_planned) = u.arbitrary()?;
                Polled { name: task_name(u)?, state, batches_done, batches_planned }.into()
            }
            MessageType::Results => Results { job: job(u)? }.into(),
            MessageType::Holding => Holding { results: list(u, 0..=limits::HOLDING_MAX, cached_result)? }.into(),
            MessageType::Submit => {
                let (job, rounds_seen) = (job(u)?, u.arbitrary()?);
                Submit { job, rounds_seen, specification: specification(u)? }.into()
            }
            MessageType::Accepted => {
                let state = *u.choose(&JobState::ALL)?;
                let (attached, queue_position, rounds_done) = u.arbitrary()?;
                Accepted { state, attached, queue_position, rounds_done }.into()
            }
            MessageType::Round => round(u)?.into(),
            MessageType::Notice => {
                use NoticeKind::{Alarm, Fleet, Load, Membership, Other, Revival, Skipped};
                let kind = *u.choose(&[Other, Membership, Revival, Skipped, Alarm, Fleet, Load])?;
                Notice { kind, text: sentence(u)? }.into()
            }
            MessageType::Done => done(u)?.into(),
            MessageType::Attach => Attach { job: job(u)?, rounds_seen: u.arbitrary()? }.into(),
            MessageType::Jobs => Jobs { job: maybe(u, job)?.filter(|job| job.0 != 0) }.into(),
            MessageType::Job => status(u)?.into(),
            MessageType::Listed => Listed { jobs: u.arbitrary()? }.into(),
            MessageType::Order => {
                Order { job: job(u)?, verb: *u.choose(&[OrderVerb::Cancel, OrderVerb::Resume])? }.into()
            }
            MessageType::Describe => Describe { job: job(u)? }.into(),
            MessageType::Described => Described { job: job(u)?, specification: specification(u)? }.into(),
            MessageType::Ledger => Ledger { job: job(u)?, first: u.arbitrary()? }.into(),
            MessageType::Entries => entries(u)?.into(),
            #[cfg(feature = "coordinator")]
            MessageType::Doctor => crate::wire::message::Doctor.into(),
            #[cfg(feature = "coordinator")]
            MessageType::Finding => {
                let (subject, cure) = (sentence(u)?, sentence(u)?);
                let fact =
                    |u: &mut Unstructured<'_>| Ok(crate::wire::message::Fact { name: name(u)?, value: sentence(u)? });
                let facts = list(u, 0..=limits::FACTS_MAX, fact)?;
                crate::wire::message::Finding { subject, cure, facts }.into()
            }
            #[cfg(not(feature = "coordinator"))]
            MessageType::Doctor | MessageType::Finding => return Err(Unfit::IncorrectFormat),
        })
    }
}

fn hello(u: &mut Unstructured<'_>) -> Result<Hello> {
    let version_min = u.int_in_range(1..=u8::MAX)?;
    let version_max = u.int_in_range(version_min..=u8::MAX)?;
    let role = role(u)?;
    let payload_bytes_max = u.int_in_range(limits::GREETING_PAYLOAD_BYTES_MAX..=u32::MAX)?;
    let (id, nonce) = u.arbitrary()?;
    // The fields of a greeting that offers no version known here are not read.
    let known = (version_min..=version_max).contains(&VERSION);
    let features = if known { features(u)? } else { Features::default() };
    Ok(Hello { version_min, version_max, role, payload_bytes_max, id, nonce, features })
}

fn welcome(u: &mut Unstructured<'_>) -> Result<Welcome> {
    Ok(Welcome {
        version: u.arbitrary()?,
        role: role(u)?,
        payload_bytes_max: u.int_in_range(limits::GREETING_PAYLOAD_BYTES_MAX..=u32::MAX)?,
        id: u.arbitrary()?,
        nonce: u.arbitrary()?,
        features: features(u)?,
    })
}

fn features(u: &mut Unstructured<'_>) -> Result<Features> {
    Ok(Features {
        cluster: maybe(u, name)?,
        arithmetics: list(u, 0..=64, u16::arbitrary)?,
        workers: u.arbitrary()?,
        name: maybe(u, name)?,
        software: maybe(u, sentence)?,
        conformance: conformance(u)?,
        cache_bytes: u.arbitrary()?,
        load_ppm: u.arbitrary()?,
        memory_bytes: u.arbitrary()?,
    })
}

/// In ascending order, none twice.
fn conformance(u: &mut Unstructured<'_>) -> Result<Vec<(u16, Digest)>> {
    let mut proofs = list(u, 0..=16, |u| Ok((u.arbitrary()?, digest(u)?)))?;
    proofs.sort_by_key(|(arithmetic, _)| *arithmetic);
    proofs.dedup_by_key(|(arithmetic, _)| *arithmetic);
    Ok(proofs)
}

fn error(u: &mut Unstructured<'_>) -> Result<Error> {
    let code = *u.choose(ErrorCode::ALL)?;
    let (about, retry, got, allowed) = u.arbitrary()?;
    Ok(Error { code, about, retry, got, allowed, text: sentence(u)? })
}

fn piece(u: &mut Unstructured<'_>) -> Result<Piece<'static>> {
    let digest = digest(u)?;
    let bytes = bytes(u, 1..=PIECE_BYTES_MAX)?;
    let offset = u.int_in_range(0..=u64::MAX - bytes.len() as u64)?;
    let object_bytes = u.int_in_range(offset + bytes.len() as u64..=u64::MAX)?;
    Ok(Piece { digest, object_bytes, offset, bytes: bytes.into() })
}

fn train(u: &mut Unstructured<'_>) -> Result<Train> {
    let training = training(u)?;
    let rows = match training.recipe.merges_gradients() {
        true => RowsSource::Blocks { epoch: u.arbitrary()?, ranges: ranges(u)? },
        false if u.arbitrary()? => RowsSource::Shipped(digest(u)?),
        false => RowsSource::Resident(name(u)?),
    };
    let (may_reject, base) = (u.arbitrary()?, digest(u)?);
    // One in four relies on what another has said.
    let training = if u.ratio(1, 4)? { None } else { Some(training) };
    Ok(Train { name: task_name(u)?, may_reject, base, rows, training })
}

/// Of shards in ascending order, none twice.
fn ranges(u: &mut Unstructured<'_>) -> Result<Vec<ShippedRange>> {
    let range = |u: &mut Unstructured<'_>| {
        let (shard, count) = (u.arbitrary()?, u.int_in_range(1..=u32::MAX)?);
        let blocks = BlockRange { shard, first: u.int_in_range(0..=u32::MAX - count)?, count };
        Ok(ShippedRange { blocks, shard: digest(u)? })
    };
    let mut ranges = list(u, 1..=limits::RANGES_MAX, range)?;
    ranges.sort_by_key(|range| range.blocks.shard);
    ranges.dedup_by_key(|range| range.blocks.shard);
    Ok(ranges)
}

fn trained(u: &mut Unstructured<'_>) -> Result<Trained> {
    let inline = bytes(u, 0..=limits::INLINE_UPDATE_BYTES_MAX)?;
    let update_bytes = if inline.is_empty() { u.arbitrary()? } else { inline.len() as u64 };
    let (epochs, loss, train_us) = u.arbitrary()?;
    let result = TaskResult { epochs, loss, train_us, update: digest(u)?, update_bytes };
    Ok(Trained { name: task_name(u)?, result, delayed_ms: u.arbitrary()?, inline })
}

fn task_name(u: &mut Unstructured<'_>) -> Result<Attempt> {
    let (job, step, shard, attempt, token) = u.arbitrary()?;
    Ok(Attempt { task: TaskId { job: JobId(job), step, shard }, attempt, token })
}

fn specification(u: &mut Unstructured<'_>) -> Result<Specification> {
    let notes = bytes(u, 0..=NOTES_BYTES_MAX)?;
    let mut draft = draft(u, u16::MAX)?;
    draft.notes = &notes;
    if draft.recipe.merges_gradients() && draft.outer.is_average() {
        draft.outer.optimiser = OuterOptimiser::Adam;
    }
    // Local steps alone make rounds of steps, and not more than a job may have.
    let most = (STEPS_MAX / u64::from(draft.rounds.max(1))) as u32;
    draft.round_steps = draft.recipe.local_steps.map(|_| draft.round_steps.unwrap_or(1).min(most));
    draft.specification().map_err(|_| Unfit::IncorrectFormat)
}

fn training(u: &mut Unstructured<'_>) -> Result<Training> {
    // Sizes within their limits may have too many parameters together, and stopping by loss needs full batches.
    draft(u, TRAINING_MAX)?.training().map_err(|_| Unfit::IncorrectFormat)
}

/// The fields of the table up to this tag, as its limits have them, notes aside. What may be left out is left out half of the
/// time.
fn draft(u: &mut Unstructured<'_>, last: u16) -> Result<Draft<'static>> {
    let mut draft = Draft::empty();
    for field in FIELDS.iter().take_while(|field| field.tag <= last) {
        if !field.is_required() && !u.arbitrary::<bool>()? {
            continue;
        }
        match &field.value {
            Value::Choice(number) => (number.set)(&mut draft, integer(u, number)?),
            Value::U16(number) => (number.set)(&mut draft, integer(u, number)?),
            Value::U32(number) => (number.set)(&mut draft, integer(u, number)?),
            Value::U64(number) => (number.set)(&mut draft, integer(u, number)?),
            // Positive floats are in the order of their bits.
            Value::F32(number) => {
                let (least, greatest) = number.limits;
                let value = f32::from_bits(u.int_in_range(least.to_bits()..=greatest.to_bits())?);
                (number.set)(&mut draft, if number.or_zero { *u.choose(&[value, value, 0.0, -0.0])? } else { value });
            }
            Value::F64(number) => {
                let (least, greatest) = number.limits;
                let value = f64::from_bits(u.int_in_range(least.to_bits()..=greatest.to_bits())?);
                (number.set)(&mut draft, if number.or_zero { *u.choose(&[value, value, 0.0, -0.0])? } else { value });
            }
            Value::U32s(list) => {
                let widths = self::list(u, 0..=HIDDEN_LAYERS_MAX, |u| u.int_in_range(1..=HIDDEN_WIDTH_MAX))?;
                (list.set)(&mut draft, widths);
            }
            Value::F32s(list) => {
                let weight =
                    |u: &mut Unstructured<'_>| u.int_in_range(CLASS_WEIGHT_MIN.to_bits()..=CLASS_WEIGHT_MAX.to_bits());
                let weights = self::list(u, 0..=3, |u| weight(u).map(f32::from_bits))?;
                (list.set)(&mut draft, weights);
            }
            Value::Pairs(list) => {
                let column = |u: &mut Unstructured<'_>| Ok([u.int_in_range(0..=4)?, u.int_in_range(1..=400)?]);
                (list.set)(&mut draft, self::list(u, 0..=3, column)?);
            }
            Value::RowsRefs(list) => (list.set)(&mut draft, self::list(u, 1..=SHARDS_MAX as usize, rows_ref)?),
            Value::RowsRef(item) => (item.set)(&mut draft, rows_ref(u)?),
            Value::Digest(item) => (item.set)(&mut draft, digest(u)?),
            Value::Bytes { .. } => {}
        }
    }
    // Labels that are smoothed are of classes, and losses that are compared drop nothing.
    if draft.recipe.loss != Loss::CrossEntropy {
        draft.recipe.label_smoothing = 0.0;
    }
    if draft.recipe.stop_loss_change.is_some() {
        draft.recipe.dropout = 0.0;
    }
    if draft.recipe.local_steps.is_some() {
        // They are batches, in the place of epochs; of a single one gradients are merged.
        (draft.recipe.epochs, draft.recipe.stop_loss_change) = (1, None);
        draft.batch.get_or_insert(1);
        if u.arbitrary()? {
            draft.recipe.local_steps = Some(1);
        }
    }
    Ok(draft)
}

fn integer<T: arbitrary::unstructured::Int>(u: &mut Unstructured<'_>, number: &Number<T>) -> Result<T> {
    u.int_in_range(number.limits.0..=number.limits.1)
}

fn rows_ref(u: &mut Unstructured<'_>) -> Result<RowsRef> {
    Ok(RowsRef { rows: u.int_in_range(1..=ROWS_MAX)?, digest: digest(u)? })
}

fn round(u: &mut Unstructured<'_>) -> Result<RoundSummary> {
    let (round, rounds, loss) = u.arbitrary()?;
    let (rows, nodes, merged, skipped, round_us) = u.arbitrary()?;
    Ok(RoundSummary { round, rounds, loss, rows, metrics: metrics(u)?, nodes, merged, skipped, round_us })
}

/// In ascending order of their tags, known or not.
fn metrics(u: &mut Unstructured<'_>) -> Result<Metrics> {
    let mut tagged = list(u, 0..=METRICS_MAX, |u| u.arbitrary::<(u16, f64)>())?;
    tagged.sort_by_key(|(tag, _)| *tag);
    tagged.dedup_by_key(|(tag, _)| *tag);
    let with = |metrics: Metrics, (tag, value)| metrics.with_tagged(tag, value).ok_or(Unfit::IncorrectFormat);
    tagged.into_iter().try_fold(Metrics::default(), with)
}

fn done(u: &mut Unstructured<'_>) -> Result<Done> {
    let (weights_bytes, rows, loss, merged, skipped) = u.arbitrary()?;
    let (elapsed_us, training_us, validating_us) = u.arbitrary()?;
    let (prepare_us, compute_us, wire_us, stragglers_us, no_nodes_us, merge_us, validate_us) = u.arbitrary()?;
    let profile = Profile { prepare_us, compute_us, wire_us, stragglers_us, no_nodes_us, merge_us, validate_us };
    let node = |u: &mut Unstructured<'_>| Ok(NodeTasks { node: name(u)?, tasks: u.arbitrary()? });
    let summary = Summary {
        fingerprint: digest(u)?,
        weights: digest(u)?,
        rounds: u.arbitrary()?,
        round: u.arbitrary()?,
        rows,
        metrics: metrics(u)?,
        test: tested(u)?,
        confusion: object_ref(u)?,
        loss,
        merged,
        skipped,
        elapsed_us,
        profile,
        training_us,
        validating_us,
        revivals: u.arbitrary()?,
        reproducible: u.arbitrary()?,
        nodes: list(u, 0..=limits::DONE_NODES_MAX, node)?,
    };
    Ok(Done { weights_bytes, summary })
}

/// Where there are rows, whatever is told of them.
/// A name and a size that stand for an object, or none.
fn object_ref(u: &mut Unstructured<'_>) -> Result<Option<ObjectRef>> {
    let object = ObjectRef { digest: digest(u)?, bytes: u.arbitrary()? };
    Ok(Some(object).filter(|object| object.bytes > 0 && object.digest.0 != [0; 32]))
}

fn tested(u: &mut Unstructured<'_>) -> Result<Option<Tested>> {
    let rows = u.arbitrary()?;
    if rows == 0 { Ok(None) } else { Ok(Some(Tested { rows, metrics: metrics(u)? })) }
}

fn cached_result(u: &mut Unstructured<'_>) -> Result<CachedResult> {
    let (step, shard) = u.arbitrary()?;
    Ok(CachedResult { step, shard, base: digest(u)? })
}

fn status(u: &mut Unstructured<'_>) -> Result<JobStatus> {
    let state = *u.choose(&JobState::ALL)?;
    let (job, rounds_done, rounds, queue_position, submitted_ms, ended_ms) = u.arbitrary()?;
    let (kind, fingerprint, text) = (u.choose(ErrorCode::ALL)?.fail_kind(), digest(u)?, sentence(u)?);
    let kind = kind.ok_or(Unfit::IncorrectFormat)?;
    if state == JobState::Done && fingerprint == Digest([0; 32]) {
        return Err(Unfit::IncorrectFormat);
    }
    Ok(JobStatus {
        job: JobId(job),
        state,
        failure: state.has_failure().then_some(Failure { kind, text }),
        rounds_done,
        rounds,
        queue_position,
        submitted_ms,
        ended_ms,
        fingerprint: (state == JobState::Done).then_some(fingerprint),
        weights: Some(fingerprint).filter(|weights| state.has_failure() && *weights != Digest([0; 32])),
    })
}

fn entries(u: &mut Unstructured<'_>) -> Result<Entries> {
    let shards = u.int_in_range(1..=SHARDS_MAX)?;
    let entries = list(u, 0..=limits::LEDGER_ENTRIES_MAX, ledger_entry)?;
    let first = u.int_in_range(0..=u64::MAX - entries.len() as u64)?;
    // Where there is none from there on there may be fewer.
    let least = if entries.is_empty() { 0 } else { first + entries.len() as u64 };
    Ok(Entries { total: u.int_in_range(least..=u64::MAX)?, first, shards, entries })
}

fn ledger_entry(u: &mut Unstructured<'_>) -> Result<LedgerEntry> {
    let base = digest(u)?;
    let (rows, result) = match u.int_in_range(0..=3)? {
        0 => (u.arbitrary()?, EntryResult::Skipped),
        1 => {
            let (rows, blocks) = u.arbitrary::<(u32, u32)>()?;
            let (rows, blocks) = (rows.max(blocks), rows.min(blocks));
            let skipped = skipped_blocks(u)?;
            match blocks {
                0 => {
                    let nothing = Digest([0; 32]);
                    let step = MergedStep { blocks, skipped, loss: 0.0, sum: nothing, outer: nothing };
                    (0, EntryResult::Step(step))
                }
                _ => {
                    let (loss, sum, outer) = (finite(u)?, digest(u)?, digest(u)?);
                    (rows, EntryResult::Step(MergedStep { blocks, skipped, loss, sum, outer }))
                }
            }
        }
        _ => {
            let (rows, attempt) = u.arbitrary()?;
            (rows, EntryResult::Merged(MergedTask { attempt, loss: finite(u)?, update: digest(u)?, node: name(u)? }))
        }
    };
    Ok(LedgerEntry { rows, base, result })
}

/// In ascending order, none twice.
fn skipped_blocks(u: &mut Unstructured<'_>) -> Result<Vec<u32>> {
    let mut blocks = list(u, 0..=limits::SKIPPED_BLOCKS_MAX, |u| u.arbitrary::<u32>())?;
    blocks.sort_unstable();
    blocks.dedup();
    Ok(blocks)
}

/// Finite, of either sign.
fn finite(u: &mut Unstructured<'_>) -> Result<f64> {
    let bits: u64 = u.arbitrary()?;
    Ok(f64::from_bits(((bits >> 1) % f64::INFINITY.to_bits()) | (bits << 63)))
}

fn job(u: &mut Unstructured<'_>) -> Result<JobId> {
    u.arbitrary().map(JobId)
}

pub(super) fn role(u: &mut Unstructured<'_>) -> Result<Role> {
    Ok(*u.choose(&[Role::Client, Role::Coordinator, Role::Node])?)
}

fn digest(u: &mut Unstructured<'_>) -> Result<Digest> {
    Ok(Digest(u.arbitrary()?))
}

fn name(u: &mut Unstructured<'_>) -> Result<String> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    let length = u.int_in_range(1..=limits::NAME_BYTES_MAX)?;
    (0..length).map(|_| u.choose(ALPHABET).map(|&byte| char::from(byte))).collect()
}

/// As a peer's sentence may be: without control characters, within its limit.
fn sentence(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text: String = u.arbitrary::<&str>()?.chars().filter(|c| !c.is_control()).collect();
    text.truncate(text.floor_char_boundary(limits::SENTENCE_BYTES_MAX));
    Ok(text)
}

fn maybe<'a, T>(u: &mut Unstructured<'a>, draw: impl Fn(&mut Unstructured<'a>) -> Result<T>) -> Result<Option<T>> {
    if u.arbitrary()? { draw(u).map(Some) } else { Ok(None) }
}

/// Few elements mostly, and sometimes as many as are allowed: past the input's end they are zeros, so that a short input
/// reaches every limit.
fn list<'a, T>(
    u: &mut Unstructured<'a>,
    allowed: RangeInclusive<usize>,
    draw: impl Fn(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let few = *allowed.start()..=*allowed.end().min(&8);
    let count = if u.ratio(31, 32)? { u.int_in_range(few)? } else { u.int_in_range(allowed)? };
    (0..count).map(|_| draw(u)).collect()
}

/// Some of the input, and sometimes zeros behind it, up to any length that is allowed.
fn bytes(u: &mut Unstructured<'_>, allowed: RangeInclusive<usize>) -> Result<Vec<u8>> {
    let length = if u.ratio(1, 32)? { u.int_in_range(allowed.clone())? } else { *allowed.start() };
    let given: &[u8] = u.arbitrary()?;
    let mut bytes = given[..given.len().min(*allowed.end())].to_vec();
    bytes.resize(bytes.len().max(length), 0);
    Ok(bytes)
}
