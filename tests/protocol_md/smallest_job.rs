//! The smallest job of the documents: its digests, its training, its sums, its journal.

use gradwire::digest::Digest;
use gradwire::wire::{Message, MessageType, specification};

use crate::common::book::{self, Example, values};
use crate::{check_layout, examples, inside};

/// The bytes of the field with this name.
fn bytes_of(example: &Example, name: &str) -> Vec<u8> {
    let named = example.pieces.iter().filter(|piece| piece.annotation().name == name);
    named.flat_map(|piece| piece.bytes.iter().copied()).collect()
}

#[test]
fn the_journal_of_the_smallest_job_has_the_layouts_digests_and_messages_that_it_says() {
    let [state, block] = ["state", "block"].map(|kind| examples(kind).pop().unwrap());
    check_layout(&book::table("## 2 A state"), &state.pieces);
    check_layout(&book::table("## 3 The progress of a job"), &inside(&state.pieces, "progress."));
    check_layout(&book::table("## 4 A block of the ledger"), &block.pieces);

    let objects = ["weights", "confusion"].map(|name| bytes_of(&state, name));
    let (head, rest) = (state.bytes(), objects.concat().len() + 32);
    let head = &head[..head.len() - rest];
    assert_eq!(bytes_of(&state, "head_bytes"), (head.len() as u32).to_le_bytes());
    assert_eq!(bytes_of(&state, "trailer"), Digest::of(head).0);
    assert_eq!(objects, [values::weights(), values::confusion()]);
    assert_eq!(bytes_of(&state, "progress.base"), Digest::of(&values::weights()).0);
    assert_eq!(bytes_of(&state, "tail"), block.bytes());
    let sealed = &block.bytes()[..block.bytes().len() - 32];
    assert_eq!(bytes_of(&block, "sealed_bytes"), (sealed.len() as u32 - 4).to_le_bytes());
    assert_eq!(bytes_of(&block, "seal"), Digest::of_parts(&[&[0; 32], sealed]).0);

    let parts = [
        (&state, "submit", MessageType::Submit),
        (&state, "done", MessageType::Done),
        (&state, "progress.round", MessageType::Round),
        (&block, "round", MessageType::Round),
    ];
    for (example, name, kind) in parts.into_iter().chain([(&block, "entries", MessageType::Entries)]) {
        let payload = bytes_of(example, name);
        assert_eq!(bytes_of(example, &format!("{name}_bytes")), (payload.len() as u32).to_le_bytes());
        assert_eq!(Message::decode(kind, &payload).as_ref(), Ok(&values::message(kind).1), "{name}");
    }
    let standing = bytes_of(&state, "standing");
    let Ok(Message::Job(standing)) = Message::decode(MessageType::Job, &standing) else { panic!("no JOB") };
    assert_eq!(standing.fingerprint, Some(values::fingerprint()));
}

#[test]
fn the_digests_of_the_smallest_job_are_those_of_the_table() {
    let rows = book::table("### The two digests");
    let found: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[1].trim_matches('`'))).collect();
    let semantic = specification::semantic_digest(&values::smallest()).to_string();
    let weights = Digest::of(&values::weights()).to_string();
    let fingerprint = values::fingerprint().to_string();
    assert_eq!(found, [("semantic digest", &*semantic), ("weights", &weights), ("fingerprint", &fingerprint)]);
    // The formula in words, once more without the library's function for it.
    let by_hand = [&b"gradwire specification 1"[..], &specification::encode(&values::smallest())].concat();
    assert_eq!(Digest::of(&by_hand).to_string(), semantic);
}

#[test]
fn the_smallest_job_trains_to_what_the_book_says() {
    use gradwire::model::figures::judge;
    use gradwire::model::train::Unwatched;
    use gradwire::model::{ExactSum, Kernel, Rows, Trainer, evaluate};
    use gradwire::wire::object::{
        ObjectKind, decode_parameters, decode_rows, encode_confusion, parameters, parameters_mut,
    };

    let training = values::smallest().training;
    let rows = |object: Vec<u8>| {
        let parts = decode_rows(&training.network, training.recipe.loss, &object).unwrap();
        Rows::of_parts(training.network.input_layout(), parts).unwrap().into_owned()
    };
    let base = values::base();
    let base = decode_parameters(ObjectKind::Weights, &training.network, &base).unwrap();
    for kernel in Kernel::available() {
        let shard = rows(values::shard());
        let trained = Trainer::new(kernel).train(&training, 0, 0, &base, &shard, &mut Unwatched).unwrap();
        let (_, Message::Trained(said)) = values::message(MessageType::Trained) else { unreachable!() };
        assert_eq!((trained.loss, trained.epochs), (said.result.loss, said.result.epochs));
        let update = values::update();
        assert_eq!(trained.update, *decode_parameters(ObjectKind::Update, &training.network, &update).unwrap());

        let mut sum = ExactSum::new(kernel, base.len(), 2);
        sum.add(parameters(ObjectKind::Update, &training.network, &update).unwrap(), 2).unwrap();
        let mut merged = values::base();
        sum.mean_onto(parameters_mut(&training.network, &mut merged)).unwrap();
        assert_eq!(merged, values::weights());
        let weights = decode_parameters(ObjectKind::Weights, &training.network, &merged).unwrap();
        let validation = rows(values::validation());
        let evaluation = evaluate(kernel, &training.network, &training.recipe, &weights, &validation).unwrap();
        assert_eq!(evaluation.metrics.get(gradwire::model::Metric::Errors), Some(0.0));
        assert_eq!(evaluation.metrics, values::metrics());
        let network = &training.network;
        let judgement = judge(kernel, network, &training.recipe, &weights, &validation).unwrap();
        assert_eq!(judgement, values::judgement());
        assert_eq!(judgement.metrics.tagged()[..2], *evaluation.metrics.tagged());
        assert_eq!(encode_confusion([&judgement.confusion[..]].into_iter()), values::confusion());
    }
}

#[test]
fn the_block_of_the_examples_has_the_sum_that_the_book_says() {
    use gradwire::model::train::Unwatched;
    use gradwire::model::{BlockRange, GradientSum, Kernel, Rows, Trainer};
    use gradwire::wire::message::RowsSource;
    use gradwire::wire::object::{ObjectKind, decode_parameters, decode_rows, encode_sum};

    let frames = values::frames();
    let of_gradients = |kind: &str| &frames.iter().find(|(name, ..)| *name == format!("{kind} GRADIENTS")).unwrap().2;
    let Message::Train(train) = of_gradients("TRAIN") else { unreachable!() };
    let Message::Trained(said) = of_gradients("TRAINED") else { unreachable!() };
    let RowsSource::Blocks { epoch, ranges } = &train.rows else { unreachable!() };
    let blocks: Vec<BlockRange> = ranges.iter().map(|range| range.blocks).collect();
    let training = train.training.as_ref().unwrap();
    let base = values::base();
    let base = decode_parameters(ObjectKind::Weights, &training.network, &base).unwrap();
    let shard = values::shard();
    let parts = decode_rows(&training.network, training.recipe.loss, &shard).unwrap();
    let rows = Rows::of_parts(training.network.input_layout(), parts).unwrap();
    for kernel in Kernel::available() {
        let mut sum = GradientSum::new(kernel, 0);
        let parts: Vec<_> = blocks.iter().map(|&range| (range, &rows)).collect();
        Trainer::new(kernel).sum_gradients(training, *epoch, &parts, &base, &mut Unwatched, &mut sum).unwrap();
        assert_eq!(encode_sum(Vec::new(), &training.network, &sum), values::sum());
        assert_eq!((sum.loss(), said.result.epochs), (said.result.loss, 0));
    }
}
