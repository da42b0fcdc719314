//! The seeds that are made: of the stream targets from the documents' examples, of the others from what their bytes mean.

use std::collections::BTreeMap;

use gradwire::dataset::{Dataset, Preparation, ReadOptions, Scaling, ShardCount, Sharding, Task};
use gradwire::digest::Digest;
use gradwire::model::file::ModelFile;
use gradwire::model::{Activation, Network};
use gradwire::wire::message::Piece;
use gradwire::wire::{Encoded, Flags, HEADER_BYTES, Header, Message, MessageType};

use crate::common::book::{self, Example, values};
use crate::files::Files;

fn examples_of(kind: &str) -> Vec<Example> {
    book::examples().into_iter().filter(|example| example.kind() == kind).collect()
}

/// The documents' frames and conversations.
fn streams() -> Files {
    let mut streams = Files::new();
    for example in examples_of("frame") {
        streams.insert(format!("{}.bin", example.name().to_lowercase().replace([' ', '_'], "-")), example.bytes());
    }
    for (index, example) in examples_of("conversation").iter().enumerate() {
        streams.insert(format!("conversation-{}.bin", index + 1), example.bytes());
    }
    streams
}

/// The documents' examples, and frames that are refused.
pub fn frames() -> Files {
    let mut wanted = streams();
    let (request, ping) = values::message(MessageType::Ping);
    let ping = ping.seal(request, false).to_bytes();
    let header = Header::decode(ping[..HEADER_BYTES].try_into().unwrap()).unwrap();
    wanted.insert("refused-version.bin".to_owned(), Header { version: 2, ..header }.encode().to_vec());

    let (request, Message::Put(piece)) = values::message(MessageType::Put) else { unreachable!() };
    let rows = values::object("rows-with-indices");
    let of_rows = Piece { digest: Digest::of(&rows), object_bytes: rows.len() as u64, offset: 0, bytes: rows.into() };
    wanted.insert("put-indices.bin".to_owned(), Message::Put(of_rows).seal(request, false).to_bytes());
    let mut put = |name: &str, piece| {
        wanted.insert(format!("refused-{name}.bin"), Message::Put(piece).seal(request, false).to_bytes());
    };
    put("piece", Piece { offset: u64::MAX, object_bytes: u64::MAX, ..piece.clone() });
    // An object with one element more than it says.
    let bytes = [&piece.bytes[..], &[0; 4]].concat();
    put("object", Piece { object_bytes: bytes.len() as u64, bytes: bytes.into(), ..piece });

    // The smallest job, with its one round written out: a default.
    let smallest = &examples_of("specification")[0];
    let mut fields: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    let mut tag = 0;
    for piece in &smallest.pieces[..smallest.pieces.len() - 1] {
        if piece.annotation().name.ends_with(".tag") {
            tag = u16::from_le_bytes(piece.bytes[..].try_into().unwrap());
        }
        fields.entry(tag).or_default().extend_from_slice(&piece.bytes);
    }
    fields.insert(0x0020, [&[0x20, 0, 4, 0, 0, 0][..], &1u32.to_le_bytes()].concat());
    let specification: Vec<u8> = fields.into_values().flatten().collect();
    let payload = [&[7; 20][..], &(specification.len() as u32).to_le_bytes(), &specification].concat();
    let submit = Encoded::seal(MessageType::Submit as u8, Flags::NONE, 1, &payload, None);
    wanted.insert("refused-default.bin".to_owned(), submit.to_bytes());
    wanted
}

/// The documents' conversations, cut into pieces.
pub fn pieces() -> Files {
    // Cuts in front of the stream: after the magic, inside the header, behind it; conversations alone, which hold frames
    // of every type, with the payload limit of a greeting too.
    let cut = |head: u8, stream: &[u8]| [&[head, 3, 6, 12][..], stream].concat();
    let conversations = streams().into_iter().filter(|(name, _)| name.starts_with("conversation"));
    let seeds = conversations.flat_map(|(name, stream)| {
        [(name.replace(".bin", "-greeting.bin"), cut(0x83, &stream)), (name, cut(3, &stream))]
    });
    seeds.collect()
}

/// A message of each type three times: of zeros, of bytes that count up, and of their opposites.
pub fn messages() -> Files {
    let mut wanted = Files::new();
    for (place, kind) in MessageType::ALL.iter().enumerate() {
        let counting = |bytes: u8| (0..bytes).map(|byte| byte.wrapping_mul(7).wrapping_add(1));
        let patterns = [
            ("zeros", vec![0; 8]),
            ("rising", counting(200).collect::<Vec<u8>>()),
            ("falling", counting(250).map(|byte| !byte).collect()),
        ];
        for (pattern, bytes) in patterns {
            let name = format!("{}-{pattern}.bin", kind.name().to_lowercase());
            wanted.insert(name, [&[place as u8][..], &bytes].concat());
        }
    }
    // Behind the message, a sentence that is longer than sentences are: PING, 24 bytes of how it is sent and changed, the
    // text, and the text's length.
    let text = "é\n".repeat(500);
    let ping = [MessageType::ALL.iter().position(|&kind| kind == MessageType::Ping).unwrap() as u8];
    let length = (text.len() as u16).to_be_bytes();
    wanted.insert("long-sentence.bin".to_owned(), [&ping[..], &[0; 24], text.as_bytes(), &length].concat());
    wanted
}

/// Small models: of classes from columns of every kind, of numbers, and of a file that does not say what its columns are.
pub fn models() -> Files {
    let csv = "girth,bark,seen,price,tall,kind\n".to_owned()
        + &(0..30)
            .map(|row| {
                let (girth, bark) = (["NA", "7.5", "8.25"][row % 3], ["rough", "smooth", "flaky", "?"][row % 4]);
                let (seen, tall) = (1 + row % 28, ["yes", "no"][row / 3 % 2]);
                format!(
                    "{girth},{bark},2024-03-{seen:02} 0{}:30,\"$ 1,{seen:03}\",{tall},{}\n",
                    row % 9,
                    ["oak", "ash"][row % 2]
                )
            })
            .collect::<String>();
    let model = |label: &str, task| {
        let options = ReadOptions { label: vec![label.to_owned()], task: Some(task), ..ReadOptions::default() };
        let data = Dataset::from_reader("trees.csv", csv.as_bytes(), &options).unwrap();
        let split = "last:3".parse().unwrap();
        let (scaling, sharding) = (Scaling::Standardise, Sharding::Stratified);
        let prepared = data
            .prepare(&Preparation { split, test: None, scaling, sharding, shards: ShardCount::Exactly(1), seed: 1 })
            .unwrap();
        let outputs = prepared.target.outputs() as u32;
        let network = Network::new(prepared.features as u32, &[2], outputs).unwrap();
        let parameters = (0..network.parameters()).map(|index| (index % 7) as f32 - 3.0).collect();
        ModelFile {
            network,
            activation: Activation::Tanh,
            fingerprint: Digest([7; 32]),
            semantic_digest: Digest([8; 32]),
            specification: BTreeMap::from([("data".to_owned(), "trees.csv".to_owned())]),
            scaling: prepared.scaling,
            feature_names: prepared.feature_names,
            target: prepared.target,
            schema: Some(prepared.schema.to_json().to_string()),
            parameters,
        }
    };
    let of_classes = model("kind", Task::Classify);
    let of_numbers = model("girth", Task::Regress);
    let without = ModelFile { schema: None, ..of_numbers.clone() };
    let seeds = [("classes", of_classes), ("numbers", of_numbers), ("without-schema", without)];
    seeds.map(|(name, model)| (format!("{name}.safetensors"), model.to_bytes().unwrap())).into()
}

/// What `session` takes, in its bytes.
mod operation {
    pub const DIALLER: u8 = 1;
    pub const ACCEPTOR: u8 = 0;
    pub const ONCE: u8 = 0;
    /// More often than there are places for requests.
    pub const OFTEN: u8 = 0xFF;

    /// Roles of both sides, and whether any frame may arrive: 0 is a client, 1 a coordinator, 2 a node.
    pub fn begin(hostile: bool, dialler: u8, acceptor: u8) -> Vec<u8> {
        vec![hostile.into(), dialler, acceptor]
    }

    /// Kinds in the order PING, HAVE, PUT, FETCH, TRAIN, POLL, SUBMIT, ATTACH, JOBS, ORDER, DESCRIBE, LEDGER, RESULTS.
    pub fn ask(side: u8, kind: u8, times: u8) -> Vec<u8> {
        vec![0, side, kind, times]
    }

    pub fn answer(side: u8, which: u8, choice: u8, times: u8) -> Vec<u8> {
        vec![10, side, which, choice, times]
    }

    pub fn answer_any(side: u8, request: u32) -> Vec<u8> {
        [&[35, side][..], &request.to_le_bytes()].concat()
    }

    pub fn cancel(side: u8) -> Vec<u8> {
        vec![36, side]
    }

    pub fn send_optional(side: u8) -> Vec<u8> {
        vec![37, side, 0]
    }

    pub fn deliver(side: u8, times: u8) -> Vec<u8> {
        vec![20, side, times]
    }

    pub fn trickle(side: u8, bytes: u16) -> Vec<u8> {
        [&[29, side][..], &bytes.to_le_bytes()].concat()
    }

    pub fn stall(ms: u16) -> Vec<u8> {
        [&[30, 0][..], &ms.to_be_bytes()].concat()
    }

    pub fn idle(ms: u16) -> Vec<u8> {
        [&[32, 0][..], &ms.to_be_bytes()].concat()
    }

    pub fn inject(side: u8, kind: u8, flags: u16, request: u32) -> Vec<u8> {
        [&[38, side, kind][..], &flags.to_le_bytes(), &request.to_le_bytes()].concat()
    }

    pub fn close(side: u8, error: u8) -> Vec<u8> {
        vec![40, side, error]
    }
}

/// Dialogues of every kind.
pub fn dialogues() -> Files {
    use operation::*;
    let mut wanted = Files::new();
    let mut seed = |name: &str, operations: &[Vec<u8>]| {
        wanted.insert(format!("{name}.bin"), operations.concat());
    };
    // Each kind of request in its direction, delivered, answered in each way, and the answer delivered.
    let kinds = [
        (0, "ping", 1, 2),
        (1, "have", 1, 2),
        (2, "put", 1, 2),
        (3, "fetch", 2, 1),
        (4, "train", 1, 2),
        (5, "poll", 1, 2),
        (8, "jobs", 0, 1),
        (9, "order", 0, 1),
        (10, "describe", 0, 1),
        (11, "ledger", 0, 1),
        (12, "results", 1, 2),
    ];
    for (kind, name, dialler, acceptor) in kinds {
        for choice in 0..3 {
            let there = [ask(DIALLER, kind, ONCE), deliver(ACCEPTOR, ONCE)].concat();
            let back = [answer(ACCEPTOR, 0, choice, ONCE), deliver(DIALLER, ONCE)].concat();
            seed(&format!("{name}-{choice}"), &[begin(false, dialler, acceptor), there, back]);
        }
    }
    let submit = [begin(false, 0, 1), ask(DIALLER, 6, ONCE), deliver(ACCEPTOR, ONCE)].concat();
    let partial = |choice| [answer(ACCEPTOR, 0, choice, ONCE), deliver(DIALLER, ONCE)].concat();
    seed("submit", &[submit.clone(), partial(0), partial(1), partial(2), cancel(DIALLER), partial(3)]);
    let attach = [begin(false, 0, 1), ask(DIALLER, 7, ONCE), deliver(ACCEPTOR, ONCE)].concat();
    seed("attach", &[attach, partial(0), partial(1), partial(2), cancel(DIALLER), partial(4)]);
    seed("submit-closed", &[submit.clone(), partial(0), close(ACCEPTOR, 0), deliver(DIALLER, OFTEN), idle(100)]);
    seed("submit-lost", &[submit, stall(999), stall(1), stall(1_999), stall(1)]);
    let full = [ask(DIALLER, 4, OFTEN), ask(DIALLER, 0, ONCE), deliver(ACCEPTOR, OFTEN)].concat();
    seed("full", &[begin(false, 1, 2), full.clone(), answer(ACCEPTOR, 3, 0, OFTEN), idle(5_000)]);
    seed("full-on-both-sides", &[begin(false, 2, 1), ask(DIALLER, 1, OFTEN), ask(ACCEPTOR, 4, OFTEN), idle(3_000)]);
    seed("idle", &[begin(false, 2, 1), idle(30_000), send_optional(ACCEPTOR), idle(1_500), stall(2_000), idle(1)]);
    let slow = [trickle(DIALLER, 8_192), trickle(ACCEPTOR, 8_191), stall(1_400)].concat();
    seed("slow-line", &[begin(false, 1, 2), slow.clone(), slow.clone(), trickle(ACCEPTOR, 2), slow]);
    seed("answered-out-of-turn", &[begin(false, 1, 2), answer_any(ACCEPTOR, 1), full, answer_any(ACCEPTOR, 7)]);
    // Every type to each side, as request 0, of either parity, and with MORE.
    for kind in (0..=0x40).chain([0x7F, 0x80, 0xFF]) {
        if MessageType::from_number(kind).is_none() && kind % 0x10 != 0x0F && kind != 0x80 {
            continue;
        }
        let mut operations = vec![begin(true, 1, 2), ask(DIALLER, 4, ONCE), ask(ACCEPTOR, 3, ONCE)];
        for (request, flags) in [(0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (4, 2), (4, 0), (u32::MAX, 0)] {
            operations.extend([inject(DIALLER, kind, flags, request), inject(ACCEPTOR, kind, flags, request)]);
        }
        operations.extend([
            deliver(ACCEPTOR, ONCE),
            answer(ACCEPTOR, 0, 0, ONCE),
            deliver(DIALLER, OFTEN),
            idle(2_000),
        ]);
        seed(&format!("hostile-{kind:02x}"), &operations);
    }
    wanted
}
