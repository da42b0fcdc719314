//! What the examples must be: the same values, built by hand from the library's types.

use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::job::{
    self, Attempt, CachedResult, EntryResult, FailKind, Failure, JobId, JobState, JobStatus, LedgerEntry, MergedStep,
    MergedTask, Metrics, NodeTasks, ObjectRef, OnNoNodes, OnTaskFailure, Operation, Profile, RejectReason,
    RoundSummary, RowsRef, Specification, Summary, TaskId, TaskResult, TaskState,
};
use gradwire::model::conformance::published;
use gradwire::model::figures::{Judgement, judge};
use gradwire::model::rows::RowParts;
use gradwire::model::{
    Activation, BatchSize, BlockRange, Initialisation, Kernel, Loss, LossReduction, Merge, Network, Optimiser, Outer,
    OuterOptimiser, OuterState, Recipe, Rows, Schedule, Targets, Training, evaluate,
};
use gradwire::wire::message::*;
use gradwire::wire::object::{
    ObjectKind, encode_outer, encode_parameters, encode_row_parts, encode_rows, encode_rows_of_values, outer_digest,
};
use gradwire::wire::{ErrorCode, Message, MessageType, Role, specification};

/// ln 2 as arithmetic 2 rounds it.
const LN_2: f32 = std::f32::consts::LN_2;
const JOB: JobId = JobId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

pub fn network() -> Network {
    Network::new(1, &[], 2).unwrap()
}

pub fn base() -> Vec<u8> {
    encode_parameters(ObjectKind::Weights, &network(), &[0.0; 4])
}

pub fn update() -> Vec<u8> {
    encode_parameters(ObjectKind::Update, &network(), &[0.25, -0.25, 0.0, 0.0])
}

pub fn weights() -> Vec<u8> {
    encode_parameters(ObjectKind::Weights, &network(), &[0.25, -0.25, 0.0, 0.0])
}

pub fn shard() -> Vec<u8> {
    encode_rows(1, &[1.0, -1.0], &[0, 1])
}

pub fn validation() -> Vec<u8> {
    encode_rows(1, &[2.0], &[0])
}

pub fn rows_with_targets() -> Vec<u8> {
    encode_rows_of_values(1, &[1.0, -1.0], 2, &[0.5, 2.0, -0.5, -1.0])
}

/// Of four features, of which an index stands for two.
fn indexed() -> Network {
    Network::new(4, &[], 2).unwrap().with_index_columns(&[[1, 2]]).unwrap()
}

fn rows_with_indices() -> Vec<u8> {
    let targets = Targets::Labels { labels: vec![0, 1].into(), classes: 2 };
    let values = vec![1.0, -1.0, 0.5, 2.0].into();
    encode_row_parts(indexed().input_layout(), &RowParts { values, indices: vec![1, 2].into(), targets })
}

/// The sum of the shard's gradients as one block: its layout by hand.
pub fn sum() -> Vec<u8> {
    let tensor = |element: u8, sides: &[u64]| {
        let sides: Vec<u8> = sides.iter().flat_map(|side| side.to_le_bytes()).collect();
        [&[element, 0, (sides.len() / 8) as u8, 0, 0, 0, 0, 0][..], &sides].concat()
    };
    let gradients = [-(1i64 << 40), 1 << 40, 0, 0];
    let loss = (2.0 * f64::from(LN_2) * f64::from(1 << 20)) as i128;
    [
        &[4, 3, 0, 0, 0, 0, 0, 0][..],
        &tensor(3, &[1, 2]),
        &tensor(3, &[2]),
        &tensor(4, &[1]),
        &gradients.map(i64::to_le_bytes).concat(),
        &loss.to_le_bytes(),
    ]
    .concat()
}

/// The object of an example `object NAME`.
pub fn object(name: &str) -> Vec<u8> {
    match name {
        "weights" => base(),
        "rows" => shard(),
        "update" => update(),
        "rows-with-targets" => rows_with_targets(),
        "rows-with-indices" => rows_with_indices(),
        "sum" => sum(),
        "outer" => remembered(),
        "confusion" => confusion(),
        _ => panic!("no object {name:?} is built here: add it"),
    }
}

/// What Momentum remembers after a step.
fn remembered() -> Vec<u8> {
    let outer = Outer { optimiser: OuterOptimiser::Momentum, ..Outer::AVERAGE };
    let velocity = [0.5f32, -0.5, 0.0, 0.0].map(f32::to_le_bytes);
    encode_outer(&OuterState::restored(&outer, 4, 1..=1, 1, velocity.as_flattened()).unwrap())
}

fn training() -> Training {
    let recipe = Recipe {
        activation: Activation::Relu,
        optimiser: Optimiser::Sgd,
        reduction: LossReduction::Mean,
        initialisation: Initialisation::He,
        eta: 0.5,
        eta_decay: 1.0,
        batch: BatchSize::Full,
        epochs: 1,
        log_epsilon: 0.0,
        stop_loss_change: None,
        local_steps: None,
        ..Recipe::DEFAULT
    };
    Training { arithmetic: 2, network: network(), recipe, seed: 1, class_weights: Vec::new() }
}

/// The smallest job.
pub fn smallest() -> Specification {
    Specification {
        patience: None,
        target_accuracy: None,
        test: None,
        training: training(),
        rounds: 1,
        round_steps: None,
        shards: vec![RowsRef { rows: 2, digest: Digest::of(&shard()) }],
        validation: RowsRef { rows: 1, digest: Digest::of(&validation()) },
        merge: Merge::Mean,
        outer: Outer::AVERAGE,
        initial: Some(Digest::of(&base())),
        operation: Operation::default(),
        notes: Vec::new(),
    }
}

/// The same, with what is no part of what it computes.
fn annotated() -> Specification {
    let operation = Operation { on_no_nodes: OnNoNodes::Pause, ..Operation::default() };
    Specification { operation, notes: b"for the paper".to_vec(), ..smallest() }
}

/// The specification of an example `specification NAME`.
pub fn specification(name: &str) -> Specification {
    let mut specification = smallest();
    match name {
        "smallest" => {}
        "mini-batches" => {
            specification.training.recipe =
                Recipe { eta: 0.008, epochs: 4, label_smoothing: 0.125, dropout: 0.25, ..Recipe::DEFAULT };
            specification.training.class_weights = vec![0.5, 2.0];
            (specification.patience, specification.target_accuracy) = (Some(1), Some(0.75));
            specification.initial = None;
        }
        "indices" => {
            let rows = RowsRef { rows: 2, digest: Digest::of(&rows_with_indices()) };
            (specification.shards, specification.validation, specification.initial) = (vec![rows], rows, None);
            specification.training.network = indexed();
        }
        "regression" => {
            let rows = RowsRef { rows: 2, digest: Digest::of(&rows_with_targets()) };
            (specification.shards, specification.validation, specification.initial) = (vec![rows], rows, None);
            specification.training.network = Network::new(1, &[3], 2).unwrap();
            specification.training.recipe = Recipe {
                loss: Loss::SquaredError,
                activation: Activation::Tanh,
                optimiser: Optimiser::Momentum,
                eta: 0.25,
                momentum: 0.5,
                weight_decay: 0.125,
                ..training().recipe
            };
        }
        "every-field" => {
            specification.training = Training {
                arithmetic: 2,
                network: Network::new(16, &[128, 20], 26).unwrap(),
                recipe: Recipe {
                    loss: Loss::Huber,
                    activation: Activation::MaskedIdentity,
                    optimiser: Optimiser::Adam,
                    reduction: LossReduction::Sum,
                    initialisation: Initialisation::Small,
                    eta: 0.0625,
                    eta_decay: 0.9375,
                    schedule: Schedule::FlatCosine,
                    schedule_steps: 40,
                    warmup: 3,
                    batch: BatchSize::Full,
                    epochs: 15,
                    log_epsilon: 2f32.powi(-20),
                    huber_delta: 0.5,
                    label_smoothing: 0.0,
                    dropout: 0.0,
                    stop_loss_change: Some(0.25),
                    local_steps: None,
                    momentum: 0.5,
                    betas: [0.5, 0.75],
                    epsilon: 2f32.powi(-20),
                    weight_decay: 0.125,
                },
                seed: 7,
                class_weights: Vec::new(),
            };
            specification.rounds = 40;
            specification.merge = Merge::Median;
            specification.outer = Outer {
                optimiser: OuterOptimiser::Adam,
                eta: 0.25,
                eta_decay: 0.875,
                momentum: 0.5,
                betas: [0.5, 0.75],
                epsilon: 2f32.powi(-20),
                weight_decay: 0.125,
                schedule: Schedule::Cosine,
                warmup: 2,
                clip: Some(8.0),
            };
            specification.shards.push(specification.validation);
            (specification.test, specification.patience) = (Some(specification.validation), Some(5));
            specification.initial = Some(Digest([0x22; 32]));
            specification.notes = annotated().notes;
            specification.operation = Operation {
                on_task_failure: OnTaskFailure::Skip,
                allow_inexact: true,
                on_no_nodes: OnNoNodes::Pause,
                tasks_per_step: Some(5),
            };
        }
        "merged-gradients" => {
            specification.training = merges_gradients(specification.training);
            specification.shards.push(specification.validation);
            let optimiser = OuterOptimiser::Momentum;
            specification.outer = Outer { optimiser, eta: 0.5, momentum: 0.0, ..Outer::AVERAGE };
        }
        "local-steps" => {
            let recipe = specification.training.recipe;
            let batch = BatchSize::Rows(NonZeroU32::MIN);
            specification.training.recipe = Recipe { batch, local_steps: Some(4), ..recipe };
            (specification.rounds, specification.round_steps) = (2, Some(3));
            specification.initial = None;
        }
        _ => panic!("no specification {name:?} is built here: add it"),
    }
    specification
}

/// Each batch is a step, whose blocks' gradients are merged.
fn merges_gradients(training: Training) -> Training {
    let batch = BatchSize::Rows(NonZeroU32::new(16).unwrap());
    Training { recipe: Recipe { batch, local_steps: Some(1), ..training.recipe }, ..training }
}

/// The fingerprint of the smallest job's model.
pub fn fingerprint() -> Digest {
    job::fingerprint(&specification::semantic_digest(&smallest()), &Digest::of(&weights()))
}

/// How good the smallest job's model is on its validation row.
pub fn metrics() -> Metrics {
    let rows = Rows::labelled(1, vec![2.0], vec![0], 2).unwrap();
    let weights = [0.25, -0.25, 0.0, 0.0];
    evaluate(Kernel::best(), &network(), &training().recipe, &weights, &rows).unwrap().metrics
}

/// All that is told of it once the job is done.
pub fn judgement() -> Judgement {
    let rows = Rows::labelled(1, vec![2.0], vec![0], 2).unwrap();
    judge(Kernel::best(), &network(), &training().recipe, &[0.25, -0.25, 0.0, 0.0], &rows).unwrap()
}

/// Which class that row was taken for: its layout by hand.
pub fn confusion() -> Vec<u8> {
    let side = |side: u64| side.to_le_bytes();
    let pair = [0, 0, 1].map(u32::to_le_bytes).concat();
    [&[6, 1, 0, 0, 0, 0, 0, 0][..], &[2, 0, 2, 0, 0, 0, 0, 0], &side(1), &side(3), &pair].concat()
}

fn bytes<const N: usize>(first: u8) -> [u8; N] {
    std::array::from_fn(|index| first + index as u8)
}

fn name() -> Attempt {
    Attempt { task: TaskId { job: JOB, step: 0, shard: 0 }, attempt: 1, token: 0x1122_3344_5566_7788 }
}

/// The values of the examples `frame NAME` by their names, with their request ids; of ERROR, the example in its own section.
pub fn frames() -> Vec<(String, u32, Message<'static>)> {
    let kinds = MessageType::ALL.iter().filter(|&&kind| kind != MessageType::Challenge);
    let plain = kinds.map(|&kind| {
        let (request, message) = message(kind);
        let name = if kind == MessageType::Error { "ERROR BUSY" } else { kind.name() };
        (name.to_owned(), request, message)
    });
    let of_gradients = of_gradients().into_iter();
    let of_gradients = of_gradients.map(|message| (format!("{} GRADIENTS", message.message_type()), 13, message));
    let unspecified = [("TRAIN UNSPECIFIED".to_owned(), 15, unspecified())];
    let refused = [("ERROR SPECIFICATION TRAIN".to_owned(), 15, without_specification())];
    plain.chain(of_gradients).chain(unspecified).chain(refused).collect()
}

/// The next attempt at the smallest job's task, by the specification of the one before.
pub fn unspecified() -> Message<'static> {
    let (base, rows) = (Digest::of(&base()), RowsSource::Shipped(Digest::of(&shard())));
    let name = Attempt { attempt: 2, token: 0x1122_3344_5566_7799, ..name() };
    Train { name, may_reject: true, base, rows, training: None }.into()
}

/// What a node says to that where there was none before.
pub fn without_specification() -> Message<'static> {
    let text = "the task comes without a specification, and none has come on this connection: send it with the job's";
    let (code, about) = (ErrorCode::Specification, MessageType::Train as u8);
    Error { code, about, retry: false, got: 0, allowed: 1, text: text.to_owned() }.into()
}

/// Messages about a step of merged gradients: its task, what that yields, and the step's line in the ledger.
fn of_gradients() -> [Message<'static>; 3] {
    let (loss, sum_digest) = (2.0 * f64::from(LN_2), Digest::of(&sum()));
    let blocks = BlockRange { shard: 0, first: 0, count: 1 };
    let ranges = vec![ShippedRange { blocks, shard: Digest::of(&shard()) }];
    let rows = RowsSource::Blocks { epoch: 0, ranges };
    let (base, training) = (Digest::of(&base()), merges_gradients(training()));
    let train = Train { name: name(), may_reject: false, base, rows, training: Some(training) };

    let update_bytes = sum().len() as u64;
    let result = TaskResult { epochs: 0, loss, train_us: 12, update: sum_digest, update_bytes };
    let trained = Trained { name: name(), result, delayed_ms: 0, inline: sum() };

    let outer = outer_digest(&OuterState::default());
    let result = EntryResult::Step(MergedStep { blocks: 1, skipped: vec![1], loss, sum: sum_digest, outer });
    let entries = Entries { total: 1, first: 0, shards: 1, entries: vec![LedgerEntry { rows: 2, base, result }] };
    [train.into(), trained.into(), entries.into()]
}

/// The message of the example `frame NAME`, and its request id; of ERROR, the example in its own section.
pub fn message(kind: MessageType) -> (u32, Message<'static>) {
    let cluster = Some("lab".to_owned());
    match kind {
        MessageType::Hello => {
            let software = Some("gradwire 0.1.0".to_owned());
            let features = Features { cluster, software, ..Features::default() };
            let (version_min, version_max, role) = (1, 1, Role::Coordinator);
            let (id, nonce) = (bytes(0xA0), bytes(0));
            (0, Hello { version_min, version_max, role, payload_bytes_max: 1 << 20, id, nonce, features }.into())
        }
        MessageType::Welcome => {
            let name = Some("node-a".to_owned());
            let conformance = vec![(2, published())];
            let features = Features {
                cluster,
                arithmetics: vec![2],
                workers: Some(2),
                name,
                software: None,
                conformance,
                memory_bytes: Some(512 << 20),
                cache_bytes: Some(240 << 20),
                load_ppm: Some(300_000),
            };
            let (id, nonce) = (bytes(0xB0), bytes(0x20));
            (0, Welcome { version: 1, role: Role::Node, payload_bytes_max: 1 << 20, id, nonce, features }.into())
        }
        MessageType::Error => {
            let text = "16 jobs wait already; try again later".to_owned();
            (1, Error { code: ErrorCode::Busy, about: 0x30, retry: true, got: 17, allowed: 16, text }.into())
        }
        MessageType::Challenge => panic!("CHALLENGE has no layout"),
        MessageType::Goodbye => (0, Goodbye { text: "shutting down".to_owned() }.into()),
        MessageType::Ping => (5, Ping.into()),
        MessageType::Pong => (5, Pong { running: 1, waiting: 0, rows_per_second: 1_500_000.0 }.into()),
        MessageType::Cancel => (0, Cancel { request: 1 }.into()),
        MessageType::Have => (7, Have { digests: vec![Digest::of(&base()), Digest::of(&shard())] }.into()),
        MessageType::Held => (7, Held { bytes: vec![64, 0] }.into()),
        MessageType::Put => {
            let (digest, bytes) = (Digest::of(&base()), base().into());
            (9, Message::Put(Piece { digest, object_bytes: 64, offset: 0, bytes }))
        }
        MessageType::Fetch => {
            let bytes_max = PIECE_BYTES_MAX as u32;
            (2, Fetch { digest: Digest::of(&shard()), offset: 48, bytes_max }.into())
        }
        MessageType::Data => {
            let (digest, bytes) = (Digest::of(&shard()), shard()[48..].to_vec().into());
            (2, Message::Data(Piece { digest, object_bytes: 64, offset: 48, bytes }))
        }
        MessageType::Train => {
            let (base, rows) = (Digest::of(&base()), RowsSource::Shipped(Digest::of(&shard())));
            (11, Train { name: name(), may_reject: true, base, rows, training: Some(training()) }.into())
        }
        MessageType::Trained => {
            let (loss, update_bytes) = (2.0 * f64::from(LN_2), 64);
            let result = TaskResult { epochs: 1, loss, train_us: 12, update: Digest::of(&update()), update_bytes };
            (11, Trained { name: name(), result, delayed_ms: 0, inline: update() }.into())
        }
        MessageType::Rejected => (
            11,
            Rejected { name: name(), reason: RejectReason::LoadProbability, running: 2, waiting: 1, retry_ms: 400 }
                .into(),
        ),
        MessageType::Poll => (13, Poll { name: name() }.into()),
        MessageType::Polled => {
            let (state, batches_done, batches_planned) = (TaskState::Running, 40, 100);
            (13, Polled { name: name(), state, batches_done, batches_planned }.into())
        }
        MessageType::Results => (15, Results { job: JOB }.into()),
        MessageType::Holding => {
            let result = CachedResult { step: 0, shard: 0, base: Digest::of(&base()) };
            (15, Holding { results: vec![result] }.into())
        }
        MessageType::Submit => (1, Submit { job: JOB, rounds_seen: 0, specification: smallest() }.into()),
        MessageType::Accepted => {
            let (queue_position, rounds_done) = (0, 0);
            (1, Accepted { state: JobState::Collecting, attached: false, queue_position, rounds_done }.into())
        }
        MessageType::Round => {
            let round = RoundSummary {
                round: 1,
                rounds: 1,
                loss: LN_2.into(),
                rows: 1,
                metrics: metrics(),
                nodes: 1,
                merged: 1,
                skipped: 0,
                round_us: 1900,
            };
            (1, round.into())
        }
        MessageType::Notice => {
            (1, Notice { kind: NoticeKind::Membership, text: "node-a has joined".to_owned() }.into())
        }
        MessageType::Done => {
            let summary = Summary {
                round: 1,
                rounds: 1,
                test: None,
                fingerprint: fingerprint(),
                weights: Digest::of(&weights()),
                rows: 1,
                metrics: judgement().metrics,
                confusion: Some(ObjectRef { digest: Digest::of(&confusion()), bytes: 44 }),
                loss: LN_2.into(),
                merged: 1,
                skipped: 0,
                elapsed_us: 2100,
                profile: Profile {
                    prepare_us: 140,
                    compute_us: 12,
                    wire_us: 1798,
                    stragglers_us: 0,
                    no_nodes_us: 0,
                    merge_us: 90,
                    validate_us: 60,
                },
                training_us: 12,
                validating_us: 60,
                revivals: 0,
                reproducible: true,
                nodes: vec![NodeTasks { node: "node-a".to_owned(), tasks: 1 }],
            };
            (1, Done { weights_bytes: 64, summary }.into())
        }
        MessageType::Attach => (3, Attach { job: JOB, rounds_seen: 1 }.into()),
        MessageType::Jobs => (5, Jobs { job: None }.into()),
        MessageType::Job => {
            let text = "no node was active after 3 revivals".to_owned();
            let job = JobStatus {
                job: JOB,
                state: JobState::Paused,
                failure: Some(Failure { kind: FailKind::Paused, text }),
                rounds_done: 0,
                rounds: 1,
                queue_position: 0,
                submitted_ms: 1_767_225_600_000,
                ended_ms: 0,
                fingerprint: None,
                weights: None,
            };
            (5, job.into())
        }
        MessageType::Listed => (5, Listed { jobs: 1 }.into()),
        MessageType::Order => (7, Order { job: JOB, verb: OrderVerb::Resume }.into()),
        MessageType::Describe => (9, Describe { job: JOB }.into()),
        MessageType::Described => (9, Described { job: JOB, specification: annotated() }.into()),
        MessageType::Ledger => (11, Ledger { job: JOB, first: 0 }.into()),
        MessageType::Entries => {
            let (loss, update, node) = (2.0 * f64::from(LN_2), Digest::of(&update()), "node-a".to_owned());
            let result = EntryResult::Merged(MergedTask { attempt: 1, loss, update, node });
            let entries = vec![LedgerEntry { rows: 2, base: Digest::of(&base()), result }];
            (11, Entries { total: 1, first: 0, shards: 1, entries }.into())
        }
        MessageType::Doctor => (13, Doctor.into()),
        MessageType::Finding => {
            let cure = "nothing listens there: start it with compute_node 5106 0".to_owned();
            let facts = vec![Fact { name: "state".to_owned(), value: "inactive".to_owned() }];
            (13, Finding { subject: "10.0.0.1:5106".to_owned(), cure, facts }.into())
        }
    }
}
