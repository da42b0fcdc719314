//! Properties of the wire: values and bytes, streams however they are cut, specifications, sessions.

use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::job::{
    self, Attempt, CachedResult, EntryResult, FailKind, Failure, JobId, JobState, JobStatus, LedgerEntry, METRICS_MAX,
    MergedStep, MergedTask, Metrics, NodeTasks, OnNoNodes, OnTaskFailure, Operation, Profile, RejectReason,
    RoundSummary, RowsRef, Specification, Summary, TaskId, TaskResult, TaskState,
};
use gradwire::model::STEPS_MAX;
use gradwire::model::recipe::LOCAL_STEPS_MAX;
use gradwire::model::rows::{RowParts, RowsError};
use gradwire::model::{
    Activation, BatchSize, BlockRange, Initialisation, Loss, LossReduction, Merge, Network, Optimiser, Outer,
    OuterOptimiser, Recipe, Rows, Schedule, Targets, Training,
};
use gradwire::wire::message::*;
use gradwire::wire::object::{decode_rows, encode_row_parts, rows_bytes};
use gradwire::wire::{ErrorCode, Message, Reader, Role, fuzzing, limits, specification};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn name() -> impl Strategy<Value = String> {
    vec(select(b"AZaz09._-".as_slice()), 1..=limits::NAME_BYTES_MAX)
        .prop_map(|bytes| String::from_utf8(bytes).expect("ASCII"))
}

/// Text without control characters, some of it of several bytes a character, within the limit.
fn sentence() -> impl Strategy<Value = String> {
    vec(any::<char>().prop_filter("control", |c| !c.is_control()), 0..=limits::SENTENCE_BYTES_MAX / 4)
        .prop_map(String::from_iter)
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Client, Role::Coordinator, Role::Node])
}

/// Any number but NaN, which is not equal to itself.
fn number() -> impl Strategy<Value = f64> {
    use proptest::num::f64::{INFINITE, NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO | INFINITE
}

fn features() -> impl Strategy<Value = Features> {
    (
        option::of(name()),
        vec(any::<u16>(), 0..=64),
        option::of(any::<u32>()),
        option::of(name()),
        option::of(sentence()),
        btree_map(any::<u16>(), digest(), 0..=16),
        [option::of(any::<u64>()), option::of(any::<u64>())],
        option::of(any::<u32>()),
    )
        .prop_map(
            |(cluster, arithmetics, workers, name, software, conformance, [memory_bytes, cache_bytes], load_ppm)| {
                Features {
                    cluster,
                    arithmetics,
                    workers,
                    name,
                    software,
                    conformance: conformance.into_iter().collect(),
                    memory_bytes,
                    cache_bytes,
                    load_ppm,
                }
            },
        )
}

fn hello() -> impl Strategy<Value = Hello> {
    // Versions that include 1: the fields of others are not read.
    (1..=u8::MAX, role(), limits::GREETING_PAYLOAD_BYTES_MAX.., any::<[u8; 16]>(), any::<[u8; 32]>(), features())
        .prop_map(|(version_max, role, payload_bytes_max, id, nonce, features)| Hello {
            version_min: 1,
            version_max,
            role,
            payload_bytes_max,
            id,
            nonce,
            features,
        })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (any::<u8>(), hello()).prop_map(|(version, hello)| {
        let Hello { role, payload_bytes_max, id, nonce, features, .. } = hello;
        Welcome { version, role, payload_bytes_max, id, nonce, features }
    })
}

fn error() -> impl Strategy<Value = Error> {
    (select(ErrorCode::ALL), any::<u8>(), any::<bool>(), any::<u64>(), any::<u64>(), sentence())
        .prop_map(|(code, about, retry, got, allowed, text)| Error { code, about, retry, got, allowed, text })
}

fn task_name() -> impl Strategy<Value = Attempt> {
    (any::<u128>(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
        |(job, step, shard, attempt, token)| Attempt { task: TaskId { job: JobId(job), step, shard }, attempt, token },
    )
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let enums = (
        select(Loss::ALL.to_vec()),
        select(Activation::ALL.to_vec()),
        select(Optimiser::ALL.to_vec()),
        select(vec![LossReduction::Mean, LossReduction::Sum]),
        select(vec![Initialisation::He, Initialisation::Small]),
    );
    // Defaults often, or a field left out would hardly be tried.
    let numbers = (
        1e-30f32..1e30,
        prop_oneof![Just(1.0), 1e-30f32..1.0],
        prop_oneof![Just(0), 1..=gradwire::model::recipe::BATCH_ROWS_MAX],
        prop_oneof![Just(1), 1..=gradwire::model::recipe::EPOCHS_MAX],
        prop_oneof![Just(0.0), Just(-0.0), 1e-18f32..1.0],
        option::of(prop_oneof![Just(0.0), Just(-0.0), 0f32..1e30]),
    );
    let fading = |usual: f64| prop_oneof![Just(usual), Just(0.0), Just(-0.0), 0.1..0.9999];
    let constants = (
        prop_oneof![Just(0.9), Just(0.0), Just(-0.0), 0.1f32..0.9999],
        [fading(0.9), fading(0.999)],
        prop_oneof![Just(1e-8), 1e-12f32..1.0],
        prop_oneof![Just(0.0), Just(-0.0), 1e-12f32..1.0],
    );
    let local_steps = option::of(prop_oneof![Just(1), 1..=LOCAL_STEPS_MAX]);
    let steps = || prop_oneof![Just(0), 0..=STEPS_MAX as u32];
    let rate = (select(Schedule::ALL.to_vec()), steps(), steps());
    let smoothing = prop_oneof![Just(0.0), Just(-0.0), 1e-6f32..1.0];
    let dropout = prop_oneof![Just(0.0), Just(-0.0), 0.001f32..0.99];
    (enums, numbers, constants, local_steps, (rate, smoothing, dropout)).prop_map(
        |(
            (loss, activation, optimiser, reduction, initialisation),
            numbers,
            constants,
            local_steps,
            (rate, smoothing, dropout),
        )| {
            let (schedule, steps, warmup) = rate;
            let (momentum, betas, epsilon, weight_decay) = constants;
            let (eta, eta_decay, rows, epochs, log_epsilon, change) = numbers;
            let batch = NonZeroU32::new(rows).map_or(BatchSize::Full, BatchSize::Rows);
            // They are batches, in the place of epochs.
            let local_steps = local_steps.filter(|_| batch != BatchSize::Full);
            let epochs = if local_steps.is_some() { 1 } else { epochs };
            let stop_loss_change = change.filter(|_| batch == BatchSize::Full);
            let recipe = Recipe {
                loss,
                activation,
                optimiser,
                reduction,
                initialisation,
                eta,
                eta_decay,
                schedule,
                schedule_steps: steps.max(1),
                warmup,
                batch,
                epochs,
                log_epsilon,
                huber_delta: if loss == Loss::Huber { momentum.max(0.1) } else { 1.0 },
                dropout: if stop_loss_change.is_some() { 0.0 } else { dropout },
                label_smoothing: if loss == Loss::CrossEntropy { smoothing } else { 0.0 },
                stop_loss_change,
                local_steps,
                momentum,
                betas,
                epsilon,
                weight_decay,
            };
            recipe.checked().expect("within its limits")
        },
    )
}

/// Inputs, and index columns that stand for some of them.
fn input_layout() -> impl Strategy<Value = (u32, Vec<[u32; 2]>)> {
    let columns = prop_oneof![Just(Vec::new()), vec((0..30u32, 1..300u32).prop_map(Into::into), 1..8)];
    (columns, 1..2000u32)
        .prop_map(|(columns, behind): (Vec<[u32; 2]>, u32)| (columns.iter().flatten().sum::<u32>() + behind, columns))
}

fn training() -> impl Strategy<Value = Training> {
    let network =
        (input_layout(), vec(1..200u32, 0..=5), 2..500u32).prop_map(|((inputs, columns), hidden, classes)| {
            let plain = Network::new(inputs, &hidden, classes).expect("within its limits");
            plain.with_index_columns(&columns).expect("columns that fit")
        });
    let one_or = |any: BoxedStrategy<u64>| prop_oneof![Just(1), any];
    (1..=2u16, network, recipe(), one_or(any::<u64>().boxed())).prop_map(|(arithmetic, network, recipe, seed)| {
        Training { arithmetic, network, recipe, seed, class_weights: Vec::new() }
    })
}

fn outer() -> impl Strategy<Value = Outer> {
    let or = |default: f32, any: std::ops::Range<f32>| prop_oneof![Just(default), any];
    let betas = (prop_oneof![Just(0.9), 0.1..0.9999], prop_oneof![Just(0.999), Just(0.0), 0.1..0.9999]);
    let numbers = (or(1.0, 1e-6..1e3), or(0.9, 0.1..0.9999), or(1e-8, 1e-12..1.0), or(0.0, 1e-12..1.0));
    let chosen = (select(OuterOptimiser::ALL.to_vec()), select(Schedule::ALL.to_vec()), option::of(1e-12..1e3f32));
    let rate = (or(1.0, 1e-30..1.0), prop_oneof![Just(0), 0..=STEPS_MAX as u32]);
    (chosen, betas, numbers, rate).prop_map(
        |((optimiser, schedule, clip), betas, (eta, momentum, epsilon, weight_decay), (eta_decay, warmup))| {
            let betas = betas.into();
            Outer { optimiser, eta, eta_decay, momentum, betas, epsilon, weight_decay, schedule, warmup, clip }
        },
    )
}

fn job_specification() -> impl Strategy<Value = Specification> {
    let rows = || (1..=gradwire::job::ROWS_MAX, digest()).prop_map(|(rows, digest)| RowsRef { rows, digest });
    let rounds = prop_oneof![Just(1), 1..=gradwire::job::ROUNDS_MAX];
    let on_task_failure = select(vec![OnTaskFailure::Fail, OnTaskFailure::Skip]);
    let on_no_nodes = select(vec![OnNoNodes::Fail, OnNoNodes::Pause]);
    let operation =
        (on_task_failure, any::<bool>(), on_no_nodes).prop_map(|(on_task_failure, allow_inexact, on_no_nodes)| {
            Operation { on_task_failure, allow_inexact, on_no_nodes, tasks_per_step: None }
        });
    let cut = (option::of(1..=16u32), option::of(1..=job::TASKS_PER_STEP_MAX));
    let notes = vec(any::<u8>(), 0..100);
    let merge = select(vec![Merge::Mean, Merge::Median]);
    let data = (vec(rows(), 1..20), rows(), option::of(digest()));
    (training(), (rounds, cut), data, merge, outer(), operation, notes).prop_map(
        |(training, (rounds, cut), (shards, validation, initial), merge, outer, operation, notes)| {
            let (round_steps, tasks_per_step) = cut;
            let recipe = &training.recipe;
            let merges_gradients = recipe.merges_gradients();
            // Without it, the shards may have more steps than a job may have.
            let round_steps = recipe.local_steps.and(round_steps.or(Some(7)));
            let optimiser = match outer.optimiser {
                OuterOptimiser::Average if merges_gradients => OuterOptimiser::Adam,
                chosen => chosen,
            };
            let mut specification = Specification {
                patience: None,
                target_accuracy: None,
                test: None,
                training,
                rounds,
                round_steps,
                shards,
                validation,
                merge,
                outer: Outer { optimiser, ..outer },
                initial,
                operation: Operation { tasks_per_step, ..operation },
                notes,
            };
            // The largest batches have more blocks than a median may be of.
            if specification.results_at_once() > job::MEDIAN_BLOCKS_MAX.into() {
                specification.merge = Merge::Mean;
            }
            specification
        },
    )
}

fn piece() -> impl Strategy<Value = Piece<'static>> {
    (digest(), vec(any::<u8>(), 1..300), any::<u32>(), any::<u32>()).prop_map(|(digest, bytes, offset, behind)| {
        let offset = u64::from(offset);
        let object_bytes = offset + bytes.len() as u64 + u64::from(behind);
        Piece { digest, object_bytes, offset, bytes: bytes.into() }
    })
}

fn control() -> impl Strategy<Value = Message<'static>> {
    let pong = (any::<u32>(), any::<u32>(), 0f64..f64::MAX)
        .prop_map(|(running, waiting, rows_per_second)| Pong { running, waiting, rows_per_second }.into());
    prop_oneof![
        hello().prop_map(Message::from),
        welcome().prop_map(Message::from),
        error().prop_map(Message::from),
        sentence().prop_map(|text| Goodbye { text }.into()),
        Just(Ping.into()),
        pong,
        any::<u32>().prop_map(|request| Cancel { request }.into()),
    ]
}

fn transfer() -> impl Strategy<Value = Message<'static>> {
    let fetch = (digest(), any::<u64>(), 1..=u32::MAX)
        .prop_map(|(digest, offset, bytes_max)| Fetch { digest, offset, bytes_max }.into());
    prop_oneof![
        vec(digest(), 0..50).prop_map(|digests| Have { digests }.into()),
        vec(any::<u64>(), 0..50).prop_map(|bytes| Held { bytes }.into()),
        piece().prop_map(Message::Put),
        piece().prop_map(Message::Data),
        fetch,
    ]
}

/// Blocks of shards in ascending order.
fn blocks() -> impl Strategy<Value = RowsSource> {
    let range = (0..=1u32 << 31, 1..1u32 << 31, digest());
    (any::<u64>(), btree_map(any::<u32>(), range, 1..20)).prop_map(|(epoch, ranges)| {
        let range = |(shard, (first, count, digest))| {
            let blocks = BlockRange { shard, first, count };
            ShippedRange { blocks, shard: digest }
        };
        RowsSource::Blocks { epoch, ranges: ranges.into_iter().map(range).collect() }
    })
}

fn tasks() -> impl Strategy<Value = Message<'static>> {
    let source = prop_oneof![digest().prop_map(RowsSource::Shipped), name().prop_map(RowsSource::Resident)];
    let train = (task_name(), any::<bool>(), digest(), (source, blocks()), training(), any::<bool>()).prop_map(
        |(name, may_reject, base, (source, blocks), training, is_told)| {
            let rows = if training.recipe.merges_gradients() { blocks } else { source };
            Train { name, may_reject, base, rows, training: is_told.then_some(training) }.into()
        },
    );
    let inside = (any::<bool>(), vec(any::<u8>(), 0..300), any::<u64>());
    let trained = (task_name(), any::<u32>(), number(), any::<u64>(), digest(), inside).prop_map(
        |(name, epochs, loss, train_us, update, (inside, bytes, elsewhere))| {
            let (inline, update_bytes) = if inside { (bytes.clone(), bytes.len() as u64) } else { (vec![], elsewhere) };
            let result = TaskResult { epochs, loss, train_us, update, update_bytes };
            Trained { name, result, delayed_ms: epochs, inline }.into()
        },
    );
    let reason = select(vec![RejectReason::LoadProbability, RejectReason::Busy]);
    let rejected =
        (task_name(), reason, any::<(u32, u32, u32)>()).prop_map(|(name, reason, (running, waiting, retry_ms))| {
            Rejected { name, reason, running, waiting, retry_ms }.into()
        });
    let state = select(vec![TaskState::Unknown, TaskState::Waiting, TaskState::Running]);
    let polled =
        (task_name(), state, any::<u64>(), any::<u64>()).prop_map(|(name, state, batches_done, batches_planned)| {
            Polled { name, state, batches_done, batches_planned }.into()
        });
    let results = any::<u128>().prop_map(|job| Results { job: JobId(job) }.into());
    let held =
        (any::<u64>(), any::<u32>(), digest()).prop_map(|(step, shard, base)| CachedResult { step, shard, base });
    let holding = vec(held, 0..20).prop_map(|results| Holding { results }.into());
    prop_oneof![train, trained, rejected, task_name().prop_map(|name| Poll { name }.into()), polled, results, holding]
}

fn jobs() -> impl Strategy<Value = Message<'static>> {
    let submit = (any::<u128>(), any::<u32>(), job_specification())
        .prop_map(|(job, rounds_seen, specification)| Submit { job: JobId(job), rounds_seen, specification }.into());
    let state = select(JobState::ALL.to_vec());
    let accepted = (state, any::<bool>(), any::<u32>(), any::<u32>()).prop_map(
        |(state, attached, queue_position, rounds_done)| {
            Accepted { state, attached, queue_position, rounds_done }.into()
        },
    );
    let round = (any::<[u32; 5]>(), number(), any::<[u64; 2]>(), metrics()).prop_map(
        |([round, rounds, nodes, merged, skipped], loss, [rows, round_us], metrics)| {
            RoundSummary { round, rounds, loss, rows, metrics, nodes, merged, skipped, round_us }.into()
        },
    );
    use NoticeKind::{Alarm, Fleet, Membership, Other, Revival, Skipped};
    let notice = (select(vec![Other, Membership, Revival, Skipped, Alarm, Fleet]), sentence())
        .prop_map(|(kind, text)| Notice { kind, text }.into());
    let node = (name(), any::<u64>()).prop_map(|(node, tasks)| NodeTasks { node, tasks });
    let done =
        (digest(), digest(), number(), any::<[u64; 14]>(), any::<u32>(), any::<bool>(), vec(node, 0..20), metrics())
            .prop_map(|(fingerprint, weights, loss, counts, revivals, reproducible, nodes, metrics)| {
                let [weights_bytes, rows, merged, skipped, times @ ..] = counts;
                let [elapsed_us, training_us, validating_us, parts @ ..] = times;
                let [prepare_us, compute_us, wire_us, stragglers_us, no_nodes_us, merge_us, validate_us] = parts;
                let profile =
                    Profile { prepare_us, compute_us, wire_us, stragglers_us, no_nodes_us, merge_us, validate_us };
                let summary = Summary {
                    round: 1,
                    rounds: 1,
                    test: None,
                    confusion: None,
                    fingerprint,
                    weights,
                    rows,
                    metrics,
                    loss,
                    merged,
                    skipped,
                    elapsed_us,
                    profile,
                    training_us,
                    validating_us,
                    revivals,
                    reproducible,
                    nodes,
                };
                Done { weights_bytes, summary }.into()
            });
    prop_oneof![submit, accepted, round, notice, done]
}

fn metrics() -> impl Strategy<Value = Metrics> {
    btree_map(any::<u16>(), number(), 0..=METRICS_MAX).prop_map(|tagged| {
        let with = |metrics: Metrics, (tag, value)| metrics.with_tagged(tag, value).unwrap();
        tagged.into_iter().fold(Metrics::default(), with)
    })
}

fn job_id() -> impl Strategy<Value = JobId> {
    any::<u128>().prop_map(JobId)
}

/// How a job stands: code, fingerprint and text where they belong.
fn status() -> impl Strategy<Value = JobStatus> {
    let kinds: Vec<FailKind> = ErrorCode::ALL.iter().filter_map(|code| code.fail_kind()).collect();
    let said = (select(kinds), any::<[u8; 32]>(), sentence());
    let state = select(JobState::ALL.to_vec());
    (job_id(), state, any::<[u32; 3]>(), any::<[u64; 2]>(), said).prop_map(
        |(job, state, [rounds_done, rounds, queue_position], [submitted_ms, ended_ms], (kind, mut digest, text))| {
            digest[0] |= 1;
            JobStatus {
                job,
                state,
                failure: state.has_failure().then_some(Failure { kind, text }),
                rounds_done,
                rounds,
                queue_position,
                submitted_ms,
                ended_ms,
                fingerprint: (state == JobState::Done).then_some(Digest(digest)),
                weights: (state.has_failure() && rounds > 7).then_some(Digest(digest)),
            }
        },
    )
}

fn ledger_entry() -> impl Strategy<Value = LedgerEntry> {
    let merged = (any::<u32>(), -f64::MAX..f64::MAX, digest(), name())
        .prop_map(|(attempt, loss, update, node)| MergedTask { attempt, loss, update, node });
    let step = (1..=1u32 << 20, btree_set(any::<u32>(), 0..20), -f64::MAX..f64::MAX, digest(), digest());
    let step = step.prop_map(|(blocks, skipped, loss, sum, outer)| {
        let skipped = skipped.into_iter().collect();
        MergedStep { blocks, skipped, loss, sum, outer }
    });
    let result = prop_oneof![
        merged.prop_map(EntryResult::Merged),
        Just(EntryResult::Skipped),
        step.prop_map(EntryResult::Step),
    ];
    (1u32 << 20..=u32::MAX, digest(), result).prop_map(|(rows, base, result)| LedgerEntry { rows, base, result })
}

/// What is asked of jobs that are known.
fn known_jobs() -> impl Strategy<Value = Message<'static>> {
    let attach = (job_id(), any::<u32>()).prop_map(|(job, rounds_seen)| Attach { job, rounds_seen }.into());
    let jobs = option::of(1..=u128::MAX).prop_map(|job| Jobs { job: job.map(JobId) }.into());
    let order = (job_id(), select(vec![OrderVerb::Cancel, OrderVerb::Resume]))
        .prop_map(|(job, verb)| Order { job, verb }.into());
    let described =
        (job_id(), job_specification()).prop_map(|(job, specification)| Described { job, specification }.into());
    let entries = (any::<u32>(), any::<u32>(), 1..=gradwire::job::SHARDS_MAX, vec(ledger_entry(), 0..20)).prop_map(
        |(first, behind, shards, entries)| {
            let first = u64::from(first);
            Entries { total: first + entries.len() as u64 + u64::from(behind), first, shards, entries }.into()
        },
    );
    prop_oneof![
        attach,
        jobs,
        status().prop_map(Message::from),
        any::<u32>().prop_map(|jobs| Listed { jobs }.into()),
        order,
        job_id().prop_map(|job| Describe { job }.into()),
        described,
        (job_id(), any::<u64>()).prop_map(|(job, first)| Ledger { job, first }.into()),
        entries,
        Just(Doctor.into()),
        finding(),
    ]
}

fn finding() -> impl Strategy<Value = Message<'static>> {
    let fact = (name(), sentence()).prop_map(|(name, value)| Fact { name, value });
    (sentence(), sentence(), vec(fact, 0..=limits::FACTS_MAX))
        .prop_map(|(subject, cure, facts)| Finding { subject, cure, facts }.into())
}

fn message() -> impl Strategy<Value = Message<'static>> {
    prop_oneof![control(), transfer(), tasks(), jobs(), known_jobs()]
}

/// A message as the frame that a peer would send.
fn sealed() -> impl Strategy<Value = Vec<u8>> {
    (message(), any::<u32>(), any::<bool>()).prop_map(|(message, request, more)| message.seal(request, more).to_bytes())
}

proptest! {
    #[test]
    fn every_message_comes_back_equal_from_its_bytes(message in message()) {
        let payload = message.payload();
        prop_assert!(payload.len() <= limits::PAYLOAD_BYTES_MAX as usize);
        prop_assert_eq!(Message::decode(message.message_type(), &payload), Ok(message));
    }

    /// A longer or a shorter payload is another message or none: nothing is ignored at a payload's end.
    #[test]
    fn a_payload_cut_or_extended_is_not_the_same_message(message in message(), cut in any::<Index>()) {
        let (kind, payload) = (message.message_type(), message.payload());
        let longer = [&payload[..], &[0]].concat();
        prop_assert_ne!(Message::decode(kind, &longer), Ok(message.clone()));
        if !payload.is_empty() {
            prop_assert_ne!(Message::decode(kind, &payload[..cut.index(payload.len())]), Ok(message));
        }
    }

    /// Bytes that are accepted at all are the encoding of what they were taken for, but for tagged fields that may be
    /// skipped, and greetings of other versions.
    #[test]
    fn accepted_payloads_have_one_encoding(
        message in message(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let kind = message.message_type();
        let mut payload = message.payload();
        prop_assume!(!payload.is_empty());
        for (index, byte) in changes {
            let index = index.index(payload.len());
            payload[index] = byte;
        }
        fuzzing::check_payload(kind, &payload);
    }

    /// The bodies of two fuzz targets, over streams that are nearly right.
    #[test]
    fn streams_mean_the_same_however_they_are_cut(
        frames in vec(sealed(), 1..5),
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
        kept in any::<Index>(),
        cuts in any::<[u8; 3]>(),
    ) {
        let mut stream = frames.concat();
        check_stream(cuts, &stream);
        for (index, byte) in changes {
            let index = index.index(stream.len());
            stream[index] = byte;
        }
        check_stream(cuts, &stream);
        check_stream(cuts, &stream[..kept.index(stream.len())]);
    }

    #[test]
    fn bytes_that_are_no_frames_at_all_are_survived(stream in vec(any::<u8>(), 0..2000), cuts in any::<[u8; 3]>()) {
        check_stream(cuts, &stream);
    }

    #[test]
    fn a_specification_has_one_encoding_and_neither_its_operation_nor_its_notes_are_hashed(specification in job_specification()) {
        let bytes = specification::encode(&specification);
        let decoded = specification::decode(Reader::new("a specification", &bytes));
        prop_assert_eq!(decoded.as_ref(), Ok(&specification));
        prop_assert_eq!(specification::encode(&specification), bytes);

        let semantic = specification::semantic_digest(&specification);
        let mut other = Specification { operation: Operation::default(), notes: Vec::new(), ..specification };
        prop_assert_eq!(specification::semantic_digest(&other), semantic);
        other.training.seed ^= 1;
        prop_assert_ne!(specification::semantic_digest(&other), semantic);
    }

    /// Fields in another order, or twice, are refused: there is one way to write a specification.
    #[test]
    fn rows_have_one_encoding_and_an_index_beyond_its_inputs_is_named(
        (inputs, columns) in input_layout(),
        rows in 1..20usize,
        draws in vec(any::<u32>(), 20 * 8),
        wrong in any::<Index>(),
    ) {
        let network = Network::new(inputs, &[], 2).unwrap().with_index_columns(&columns).unwrap();
        let (layout, loss) = (network.input_layout(), Loss::CrossEntropy);
        let count = rows * columns.len();
        let drawn: Vec<u32> = (0..count).map(|place| draws[place] % (columns[place % columns.len()][1] + 1)).collect();
        let parts = |indices: &[u32]| {
            let bytes = indices.iter().flat_map(|index| index.to_le_bytes()[..layout.index_bytes()].to_vec());
            let values = vec![0.5; rows * layout.plain_inputs() as usize].into();
            let targets = Targets::Labels { labels: vec![1; rows].into(), classes: 2 };
            RowParts { values, indices: bytes.collect::<Vec<u8>>().into(), targets }
        };
        let fine = parts(&drawn);
        let bytes = encode_row_parts(layout, &fine);
        prop_assert_eq!(bytes.len() as u64, rows_bytes(rows as u32, &network, loss));
        let decoded = decode_rows(&network, loss, &bytes);
        prop_assert_eq!(decoded.as_ref(), Ok(&fine));
        prop_assert!(decode_rows(&network, loss, &bytes[..bytes.len() - 1]).is_err());
        prop_assert!(Rows::of_parts(layout, fine).is_ok());
        if count > 0 {
            let place = wrong.index(count);
            let (row, column) = (place / columns.len(), place % columns.len());
            let [_, levels] = columns[column];
            let mut indices = drawn;
            indices[place] = levels + 1;
            // A byte holds no more than 255.
            if levels < 255 || layout.index_bytes() > 1 {
                let refused = Rows::of_parts(layout, parts(&indices));
                prop_assert_eq!(refused, Err(RowsError::Index { row, column, got: levels + 1, levels }));
            }
        }
    }

    #[test]
    fn fields_of_a_specification_are_in_order(
        specification in job_specification(),
        first in any::<Index>(),
        second in any::<Index>(),
    ) {
        let mut fields = split(&specification::encode(&specification));
        let (first, second) = (first.index(fields.len()), second.index(fields.len()));
        if first == second {
            fields.insert(first, fields[first].clone());
        } else {
            fields.swap(first, second);
        }
        prop_assert!(specification::decode(Reader::new("a specification", &fields.concat())).is_err());
    }

    /// The body of a fuzz target: dialogues drawn from these bytes.
    #[test]
    fn two_sessions_keep_the_rules_whatever_happens_between_them(dialogue in vec(any::<u8>(), 0..3000)) {
        fuzzing::session(&dialogue);
    }
}

fn check_stream(cuts: [u8; 3], stream: &[u8]) {
    fuzzing::frame_decode(stream);
    fuzzing::split_independent(&[&[cuts.len() as u8][..], &cuts, stream].concat());
}

/// The fields of a specification, each with its head.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while let Some(length) = bytes.get(2..6) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let (field, rest) = bytes.split_at(6 + length);
        fields.push(field.to_vec());
        bytes = rest;
    }
    fields
}
