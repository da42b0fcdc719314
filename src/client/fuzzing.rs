//! What the fuzz target `model` asserts, kept here so that a stable test can replay its inputs. Owns what must be true of
//! whatever is read as a model file; does not know how inputs are found.

use serde_json::Value;

use super::applied::Applied;
use super::export::{self, ExportFormat};
use crate::dataset::{Becomes, Encoder, RawOptions, RawRow, RawRows, Schema};
use crate::model::file::ModelFile;
use crate::model::scaling::Target;

/// A sentence quotes a few texts of the file, each cut.
const SENTENCE_CHARACTERS_MAX: usize = 2_000;
/// Fields that are tried in every column.
const FIELDS: [&str; 8] = ["", "1", "-2.5e3", "1e300", "yes", "2024-02-29 12:30", "$ 1,234", "\u{1F333}"];

/// A model file's bytes.
///
/// # Panics
///
/// When a refusal is no sentence for a terminal; when a model does not come back from the bytes that it is saved as; when
/// rows for it become no inputs of its network, or are told a class that there is not; or when a name is not escaped where the
/// model is exported.
pub fn model(bytes: &[u8]) {
    let model = match ModelFile::from_bytes(bytes) {
        Ok(model) => model,
        Err(fault) => return check_sentence(&fault.to_string()),
    };
    let saved = model.to_bytes().expect("it was whole a moment ago");
    assert_eq!(ModelFile::from_bytes(&saved).as_ref(), Ok(&model));
    match Applied::of(model) {
        Ok(applied) => {
            check_rows(&applied);
            check_exports(&applied);
        }
        Err(why) => check_sentence(&why.to_string()),
    }
}

fn check_sentence(sentence: &str) {
    assert!(!sentence.contains(char::is_control), "{sentence:?} may upset a terminal");
    assert!(sentence.chars().count() <= SENTENCE_CHARACTERS_MAX, "{sentence:?} is too long");
}

/// The model in every form that it has.
fn check_exports(applied: &Applied) {
    for format in ExportFormat::ALL {
        if let Err(sentence) = export::check(applied, format) {
            check_sentence(&sentence);
            continue;
        }
        let mut bytes = Vec::new();
        export::write(applied, format, &mut bytes).expect("memory takes all");
        match format {
            // Its reader is no part of the tests; the encoding has tests of its own.
            ExportFormat::Onnx => assert!(bytes.len() > 4 * applied.model.parameters.len()),
            ExportFormat::C => assert!(bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n'))),
            ExportFormat::Json => {
                assert!(!bytes.contains(&b'<'), "this may end a script");
                let document: Value = serde_json::from_slice(&bytes).expect("it is JSON");
                assert_eq!(Schema::from_json(&document["schema"]).as_ref(), Some(&applied.schema));
            }
        }
    }
}

/// Rows in the model's columns, without a header.
fn check_rows(applied: &Applied) {
    let columns = &applied.schema.columns;
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut csv = String::new();
    for index in 0..FIELDS.len() {
        let field = |(place, column): (usize, &crate::dataset::SchemaColumn)| match &column.becomes {
            Becomes::Inputs(Encoder::Categories(categories)) if index == 0 => {
                quoted(categories.levels.first().map_or("", String::as_str))
            }
            _ => quoted(FIELDS[(index + place) % FIELDS.len()]),
        };
        csv += &columns.iter().enumerate().map(field).collect::<Vec<_>>().join(",");
        csv.push('\n');
    }
    let options = RawOptions { header: Some(false), separator: ",".parse().ok(), ..RawOptions::default() };
    let mut rows = match RawRows::from_reader("rows.csv", csv.as_bytes(), &applied.schema, &options) {
        Ok(rows) => rows,
        Err(error) => return check_sentence(&error.to_string()),
    };
    let mut predictor = applied.predictor();
    let mut inputs = vec![0.0; applied.schema.width()];
    while let Some(RawRow { place, bad }) = rows.advance(&mut inputs).expect("the fields are quoted") {
        if let Some(bad) = bad {
            check_sentence(&rows.refuse(place, bad).to_string());
            continue;
        }
        assert!(inputs.iter().all(|input| input.is_finite()));
        match &applied.model.target {
            Target::Classes(names) => {
                let mut classes = Vec::new();
                predictor.classes(&mut inputs, &mut classes).expect("the inputs are the network's");
                assert!(classes.iter().flatten().all(|&class| (class as usize) < names.len()));
            }
            Target::Values(scales) => {
                let mut outputs = Vec::new();
                predictor.outputs(&mut inputs, &mut outputs).expect("the inputs are the network's");
                assert_eq!(outputs.len(), scales.len());
            }
        }
    }
}
