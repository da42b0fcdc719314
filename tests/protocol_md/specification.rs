//! The fields of a specification: their table, their examples, their options, and what a specification may not say.

use std::collections::{BTreeMap, BTreeSet};

use gradwire::job;
use gradwire::wire::{Malformation, Reader, specification};

use crate::common::book::{self, values};
use crate::{examples, fields, number, tags};

#[test]
fn every_specification_is_the_value_it_says_both_ways() {
    for example in examples("specification") {
        let wanted = values::specification(example.name());
        let decoded = specification::decode(Reader::new("the example", &example.bytes()));
        assert_eq!(decoded.as_ref(), Ok(&wanted), "line {}", example.line());
        assert_eq!(specification::encode(&wanted), example.bytes(), "line {}", example.line());
        let digest = example.pieces.last().unwrap();
        let said = format!("semantic digest = {}", specification::semantic_digest(&wanted));
        assert_eq!(digest.comment, said, "line {}", digest.line);
    }
}

/// Fields of a specification put together again.
fn assemble(fields: &BTreeMap<u16, Vec<u8>>) -> Vec<u8> {
    fields.values().flatten().copied().collect()
}

fn decode_fields(fields: &BTreeMap<u16, Vec<u8>>) -> Result<job::Specification, Malformation> {
    specification::decode(Reader::new("the specification", &assemble(fields))).map_err(|error| error.why)
}

fn field(tag: u16, value: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &(value.len() as u32).to_le_bytes(), value].concat()
}

#[test]
fn the_table_of_specification_fields_is_what_is_decoded() {
    let rows = book::table("## 5 The specification");
    let mut seen = BTreeSet::new();
    let mut specifications: Vec<BTreeMap<u16, Vec<u8>>> = Vec::new();
    for example in examples("specification") {
        let fields = fields(&example.pieces[..example.pieces.len() - 1], 6);
        seen.extend(fields.iter().map(|(tag, name, _)| (*tag, name.clone())));
        specifications.push(fields.into_iter().map(|(tag, _, bytes)| (tag, bytes)).collect());
    }
    assert_eq!(seen, tags(&rows), "the examples together have every field of the table");

    for row in &rows {
        let (tag, kind, default) = (number(row[0]), row[2], row[3]);
        // Left out: a default, or an error. The digest changes with semantic fields only.
        let with = specifications.iter().find(|fields| fields.contains_key(&tag)).unwrap();
        let mut without = with.clone();
        without.remove(&tag);
        match decode_fields(&without) {
            Ok(changed) => {
                assert_ne!(default, "required", "{row:?}");
                let digest = specification::semantic_digest;
                let same = digest(&changed) == digest(&decode_fields(with).unwrap());
                assert_eq!(same, tag >= 0x4000, "whether {row:?} is hashed");
            }
            Err(why) => assert_eq!((why, default), (Malformation::MissingField { tag }, "required")),
        }
        // Written: a default is refused.
        if !["required", "none"].contains(&default) {
            let annotation = book::Annotation { name: row[1], kind, value: Some(default) };
            let mut written = specifications[0].clone();
            written.insert(tag, field(tag, &annotation.encode().unwrap()));
            assert_eq!(decode_fields(&written), Err(Malformation::DefaultWritten { tag }), "{row:?}");
        }
    }

    // Who may ignore an unknown field.
    for (tag, skipped) in [(0x001F, false), (0x4005, false), (0xC000, true), (0x8000, false)] {
        let mut fields = specifications[0].clone();
        fields.insert(tag, field(tag, b"new"));
        let wanted = if skipped { Ok(values::smallest()) } else { Err(Malformation::UnknownField { tag }) };
        assert_eq!(decode_fields(&fields), wanted, "{tag:#06x}");
    }
}

#[test]
fn the_table_of_specification_fields_is_the_programs() {
    let programs: Vec<_> = specification::descriptions()
        .map(|field| (field.tag, field.name.to_owned(), field.kind.to_owned(), field.default))
        .collect();
    let rows = book::table("## 5 The specification");
    let documented: Vec<_> =
        rows.iter().map(|row| (number(row[0]), row[1].to_owned(), row[2].to_owned(), row[3].to_owned())).collect();
    assert_eq!(documented, programs);
}

/// The option of the client that sets a field, or why there is none.
#[cfg(feature = "client")]
const SET_BY: [(&str, Result<&str, &str>); 55] = [
    ("arithmetic", Err("a program computes one")),
    ("inputs", Err("the data's features")),
    ("hidden", Ok("--hidden")),
    ("classes", Err("the data's classes, or its targets")),
    ("activation", Ok("--activation")),
    ("optimiser", Ok("--optimiser")),
    ("reduction", Err("what the learning rate means depends on it: --recipe sets both")),
    ("initialisation", Err("--recipe sets it")),
    ("eta", Ok("--eta")),
    ("eta_decay", Ok("--eta-decay")),
    ("batch", Ok("--batch")),
    ("epochs", Ok("--epochs")),
    ("log_epsilon", Err("only the classic recipe's loss has one: --recipe sets it")),
    ("stop_loss_change", Err("only the classic recipe stops: --recipe sets it")),
    ("seed", Ok("--seed")),
    ("loss", Ok("--loss")),
    ("momentum", Ok("--momentum")),
    ("beta1", Err("Adam's usual value serves")),
    ("beta2", Err("Adam's usual value serves")),
    ("epsilon", Err("Adam's usual value serves")),
    ("weight_decay", Ok("--weight-decay")),
    ("local_steps", Ok("--local-steps")),
    ("class_weights", Ok("--class-weight")),
    ("huber_delta", Ok("--huber-delta")),
    ("schedule", Ok("--schedule")),
    ("schedule_steps", Err("as many as the job has")),
    ("warmup", Ok("--warmup")),
    ("label_smoothing", Ok("--label-smoothing")),
    ("dropout", Ok("--dropout")),
    ("index_columns", Err("the data's categories and weekdays")),
    ("rounds", Ok("--rounds")),
    ("shards", Ok("--shards")),
    ("validation", Ok("--validate-split")),
    ("initial", Ok("--start-from")),
    ("merge", Ok("--merge")),
    ("outer", Ok("--outer")),
    ("outer_eta", Ok("--outer-eta")),
    ("outer_momentum", Ok("--outer-momentum")),
    ("outer_beta1", Err("Adam's usual value serves")),
    ("outer_beta2", Err("Adam's usual value serves")),
    ("outer_epsilon", Err("Adam's usual value serves")),
    ("outer_weight_decay", Ok("--outer-weight-decay")),
    ("outer_schedule", Ok("--outer-schedule")),
    ("outer_clip", Ok("--outer-clip")),
    ("round_steps", Ok("--round-steps")),
    ("patience", Ok("--patience")),
    ("test", Ok("--test")),
    ("target_accuracy", Ok("--target-accuracy")),
    ("outer_eta_decay", Ok("--outer-eta-decay")),
    ("outer_warmup", Ok("--outer-warmup")),
    ("on_task_failure", Ok("--on-task-failure")),
    ("allow_inexact", Ok("--allow-inexact")),
    ("on_no_nodes", Ok("--on-no-nodes")),
    ("tasks_per_step", Ok("--tasks-per-step")),
    ("notes", Err("the client's own words about the data")),
];

#[cfg(feature = "client")]
#[test]
fn every_field_of_a_specification_has_an_option_of_the_client_or_a_reason_for_none() {
    let help = crate::common::process::run(env!("CARGO_BIN_EXE_client"), ["--help"]).stdout;
    let names = help.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.starts_with("--"));
    let options: BTreeSet<&str> = names.collect();
    let fields: Vec<&str> = specification::descriptions().map(|field| field.name).collect();
    assert_eq!(SET_BY.map(|(field, _)| field)[..], fields);
    for (field, set_by) in SET_BY {
        match set_by {
            Ok(option) => assert!(options.contains(option), "{field}: no {option} in {options:?}"),
            Err(why) => {
                let option = format!("--{}", field.replace('_', "-"));
                assert!(!options.contains(&*option), "there is {option} all the same: {why}");
            }
        }
    }
}

/// The specification of an example with this field as it is given; without it where it is none.
fn with_field(example: &str, tag: u16, value: Option<&[u8]>) -> Vec<u8> {
    with_fields(example, &[(tag, value)])
}

/// The same with several.
fn with_fields(example: &str, given: &[(u16, Option<&[u8]>)]) -> Vec<u8> {
    let example = examples("specification").into_iter().find(|found| found.name() == example).unwrap();
    let fields = fields(&example.pieces[..example.pieces.len() - 1], 6);
    let mut fields: BTreeMap<u16, Vec<u8>> = fields.into_iter().map(|(tag, _, bytes)| (tag, bytes)).collect();
    for &(tag, value) in given {
        match value {
            Some(value) => fields.insert(tag, field(tag, value)),
            None => fields.remove(&tag),
        };
    }
    assemble(&fields)
}

#[test]
fn what_a_specification_may_not_say_is_answered_as_the_table_says() {
    let tags: BTreeMap<String, u16> =
        book::table("## 5 The specification").iter().map(|row| (row[1].to_owned(), number(row[0]))).collect();
    let written = |example, name: &str, value: &[u8]| with_field(example, tags[name], Some(value));
    let f32s = |example: &'static str, names: &'static [&'static str], values: &'static [f32]| -> Vec<Vec<u8>> {
        let each = |name: &&str| values.iter().map(|value| written(example, name, &value.to_le_bytes())).collect();
        names.iter().flat_map(|name| -> Vec<Vec<u8>> { each(name) }).collect()
    };
    let smallest = "smallest";
    let mut rows_of_no_shard = 0u32.to_le_bytes().to_vec();
    rows_of_no_shard.extend([7; 32]);
    let mut rows_of_large_shards = (1u32 << 30).to_le_bytes().to_vec();
    rows_of_large_shards.extend([7; 32]);
    rows_of_large_shards.extend_from_within(..);
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        (
            "a required field is missing; a default",
            [
                ["inputs", "classes", "eta", "shards", "validation"]
                    .map(|name| with_field(smallest, tags[name], None))
                    .to_vec(),
                vec![
                    written(smallest, "rounds", &1u32.to_le_bytes()),
                    written(smallest, "hidden", &[]),
                    written(smallest, "class_weights", &[]),
                    written(smallest, "index_columns", &[]),
                    written(smallest, "notes", &[]),
                ],
            ]
            .concat(),
        ),
        (
            "its type does not allow",
            vec![
                written(smallest, "optimiser", &[9]),
                written(smallest, "seed", &[1; 4]),
                written(smallest, "hidden", &[1; 5]),
                written(smallest, "index_columns", &[0; 12]),
            ],
        ),
        (
            "minus zero as `log_epsilon`",
            f32s(
                "every-field",
                &[
                    "log_epsilon",
                    "label_smoothing",
                    "dropout",
                    "stop_loss_change",
                    "outer_weight_decay",
                    "outer_momentum",
                ],
                &[-0.0],
            ),
        ),
        (
            "minus zero as `eta`",
            [
                f32s("every-field", &["eta", "eta_decay", "outer_eta", "outer_clip", "outer_epsilon"], &[-0.0]),
                f32s(
                    "every-field",
                    &[
                        "eta",
                        "eta_decay",
                        "log_epsilon",
                        "stop_loss_change",
                        "outer_eta",
                        "outer_momentum",
                        "outer_clip",
                    ],
                    &[f32::NAN, f32::INFINITY, f32::NEG_INFINITY],
                ),
            ]
            .concat(),
        ),
        (
            "outside its",
            vec![
                written(smallest, "batch", &0u32.to_le_bytes()),
                written(smallest, "rounds", &0u32.to_le_bytes()),
                written(smallest, "shards", &rows_of_no_shard),
            ],
        ),
        (
            "an empty `shards`",
            vec![
                written(smallest, "shards", &[]),
                written("mini-batches", "stop_loss_change", &0.5f32.to_le_bytes()),
                written("every-field", "dropout", &0.5f32.to_le_bytes()),
                written("mini-batches", "class_weights", &1f32.to_le_bytes()),
                written("mini-batches", "class_weights", &[0; 8]),
                written(smallest, "index_columns", &[[0u8; 4], 2u32.to_le_bytes()].concat()),
                written(smallest, "index_columns", &[0; 8]),
                written("regression", "label_smoothing", &0.5f32.to_le_bytes()),
                written("regression", "class_weights", &[1f32.to_le_bytes(); 2].concat()),
                written(smallest, "target_accuracy", &0.5f64.to_le_bytes()),
                with_fields(
                    "regression",
                    &[
                        (tags["patience"], Some(&1u32.to_le_bytes())),
                        (tags["target_accuracy"], Some(&0.5f64.to_le_bytes())),
                    ],
                ),
                written("mini-batches", "target_accuracy", &1.5f64.to_le_bytes()),
            ],
        ),
        (
            "`local_steps` without `batch`",
            vec![
                with_field("merged-gradients", tags["batch"], None),
                written("merged-gradients", "epochs", &2u32.to_le_bytes()),
                with_field("local-steps", tags["local_steps"], None),
                with_fields(
                    "merged-gradients",
                    &[
                        (tags["batch"], Some(&(1u32 << 24).to_le_bytes())),
                        (tags["shards"], Some(&rows_of_large_shards)),
                        (tags["merge"], Some(&[2])),
                    ],
                ),
                with_field("merged-gradients", tags["outer"], None),
                written("local-steps", "round_steps", &(1u32 << 24).to_le_bytes()),
            ],
        ),
    ];
    let table = book::table("### What a specification may not say");
    // The job's id is none of the specification's fields.
    assert_eq!(table.len(), cases.len() + 1);
    for (said, specifications) in cases {
        let rows: Vec<_> = table.iter().filter(|row| row[0].contains(said)).collect();
        let [row] = rows[..] else { panic!("{said:?} is in {} rows", rows.len()) };
        for (index, bytes) in specifications.iter().enumerate() {
            let refused = specification::decode(Reader::new("a specification", bytes)).expect_err(said);
            assert_eq!(refused.code().name(), row[1], "{said}, case {index}: {refused}");
        }
    }
}
