//! `client export`: what ONNX, C and JSON tell of rows is what `client predict` tells, in C to the bit; names are escaped
//! wherever they go; and docs/export.md, whose commands are run. Needs a C compiler, and Python 3 with onnxruntime.
#![cfg(feature = "client")]

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod document;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gradwire::dataset::Schema;
use gradwire::model::file::ModelFile;
use gradwire::model::scaling::Target;
use serde_json::Value;
use tempfile::TempDir;

use cases::{CLIENT, Case, HOSTILE, cases};
use common::skip;

/// Differences of a probability, and of the two largest ones of a row whose class may differ.
const PROBABILITY_OFF_MAX: f64 = 1e-5;
const TIE_MAX: f64 = 2e-5;
/// Differences of a number, in the target's deviations.
const NUMBER_OFF_MAX: f64 = 1e-5;
/// What a header is compiled with, as the document says.
const STRICT: [&str; 7] = ["-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pedantic"];

fn here(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/exporting", file].iter().collect()
}

fn succeeded(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn client(words: &[&str]) -> Output {
    Command::new(CLIENT).args(words).output().unwrap()
}

/// A model in another form, under a name of the same directory.
fn exported(model: &Path, form: &str, name: &str) -> PathBuf {
    let out = model.with_file_name(name);
    let words = ["export", model.to_str().unwrap(), "--format", form, "--out", out.to_str().unwrap()];
    assert!(succeeded(client(&words)).is_empty());
    out
}

/// What `predict` tells of a table: of each row the class or the numbers, and the probabilities.
fn predicted(case: &Case) -> Vec<Vec<String>> {
    let mut words = vec!["predict", case.model.to_str().unwrap(), case.table.to_str().unwrap()];
    words.extend(classes_of(case).map(|_| "--proba"));
    let printed = succeeded(client(&words));
    let mut reader = csv::Reader::from_reader(&printed[..]);
    let rows: Vec<Vec<String>> =
        reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
    assert_eq!(rows.len(), case.rows, "{}", case.name);
    rows
}

fn classes_of(case: &Case) -> Option<Vec<String>> {
    match ModelFile::read(&case.model).unwrap().target {
        Target::Classes(names) => Some(names),
        Target::Values(_) => None,
    }
}

/// Whether a program is there; says so if not.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        skip(format!("there is no {program}"));
    }
    is_there
}

/// Whether Python has what graphs are run with; says so if not.
fn has_onnxruntime() -> bool {
    let found = Command::new("python3").args(["-c", "import numpy, onnxruntime"]).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        skip("there is no Python 3 with onnxruntime");
    }
    is_there
}

/// A model's header, compiled with what tells of rows.
fn compiled(case: &Case, compiler: &str, language: &[&str]) -> PathBuf {
    let directory = case.model.with_file_name(format!("{}-{compiler}", case.name));
    fs::create_dir(&directory).unwrap();
    fs::rename(exported(&case.model, "c", &format!("{}.h", case.name)), directory.join("model.h")).unwrap();
    fs::copy(here("rows.c"), directory.join("rows.c")).unwrap();
    let mut command = Command::new(compiler);
    command.current_dir(&directory).args(language).args(["rows.c", "-o", "rows", "-lm"]);
    succeeded(command.output().unwrap());
    directory.join("rows")
}

fn told_by(program: &Path, values: &[u8]) -> String {
    let path = program.with_extension("values");
    fs::write(&path, values).unwrap();
    let output = Command::new(program).stdin(File::open(&path).unwrap()).output().unwrap();
    String::from_utf8(succeeded(output)).unwrap()
}

/// What `predict` tells of a row, as the C program writes it.
fn in_bits(row: &[String], classes: Option<&[String]>) -> String {
    let Some(classes) = classes else {
        let bits = row.iter().map(|number| format!(" {:016x}", number.parse::<f64>().unwrap().to_bits()));
        return format!("0{}", bits.collect::<String>());
    };
    let class = classes.iter().position(|class| *class == row[0]).unwrap();
    let bits = row[1..].iter().map(|number| format!(" {:08x}", number.parse::<f32>().unwrap().to_bits()));
    format!("0 {class}{}", bits.collect::<String>())
}

#[test]
fn a_header_in_c_tells_what_predict_tells_to_the_bit_and_compiles_without_a_warning() {
    if !has("cc") {
        return;
    }
    let directory = TempDir::new().unwrap();
    for case in cases(directory.path()) {
        let program = compiled(&case, "cc", &STRICT);
        let told = told_by(&program, &case.values);
        let classes = classes_of(&case);
        let wanted = predicted(&case);
        assert_eq!(told.lines().count(), wanted.len(), "{}", case.name);
        for (place, (told, row)) in told.lines().zip(&wanted).enumerate() {
            assert_eq!(told, in_bits(row, classes.as_deref()), "{}, row {place}: {row:?}", case.name);
        }
        if let Some(classes) = classes {
            // Rows of one class alone would show little.
            let mut of: Vec<&String> = wanted.iter().map(|row| &row[0]).collect();
            of.sort();
            of.dedup();
            assert!(of.len() > 1, "{}: all rows are of {of:?}", case.name);
            let names = Command::new(&program).arg("names").output().unwrap().stdout;
            assert_eq!(String::from_utf8(names).unwrap(), classes.join("\0") + "\0");
        }
    }
}

#[test]
fn a_header_is_cplusplus_too() {
    if !has("c++") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let case = &cases(directory.path())[1];
    let language = ["-x", "c++", "-std=c++11"].into_iter().chain(STRICT.into_iter().skip(1)).collect::<Vec<_>>();
    let told = told_by(&compiled(case, "c++", &language), &case.values);
    let classes = classes_of(case);
    let wanted: Vec<String> = predicted(case).iter().map(|row| in_bits(row, classes.as_deref())).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), wanted);
}

/// A row's values with others in some places.
fn with(row: &[&str], changes: &[(usize, &str)]) -> Vec<u8> {
    let mut row = row.to_vec();
    for (place, value) in changes {
        row[*place] = value;
    }
    row.join("\0").into_bytes().into_iter().chain([0]).collect()
}

/// A row of the awkward table, as an exported model takes it.
const ROW: [&str; 10] = ["41.5", "2.0", "0.3", "red", "1", "86400", "90000", "0", "7", "3.5"];

#[test]
fn a_header_says_which_column_it_cannot_use_and_takes_unknown_categories_as_predict_does() {
    if !has("cc") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let cases = cases(directory.path());
    let program = compiled(&cases[0], "cc", &STRICT);
    // As NA, in any spelling, and the empty text; the two are one, and others are unknown.
    let category = |text: &str| told_by(&program, &with(&ROW, &[(3, text)]));
    assert_eq!(category("nAn"), category(""));
    assert_eq!(category("unheard of"), category("rare 0"));
    let (unknown, missing, red) = (category("unheard of"), category(""), category("red"));
    assert!(unknown != missing && unknown != red && red.starts_with("0 "), "{unknown}{missing}{red}");
    assert_eq!(told_by(&program, &with(&ROW, &[(1, "inf")])), "2\n");
    assert_eq!(told_by(&program, &with(&ROW, &[(5, "-inf")])), "6\n");
    // However far off a number may be, `predict` reads none that is greater.
    assert!(told_by(&program, &with(&ROW, &[(1, "-1e140")])).starts_with("0 "));
    assert_eq!(told_by(&program, &with(&ROW, &[(1, "-1.01e140")])), "2\n");
    let refusing = compiled(&cases[6], "cc", &STRICT);
    assert_eq!(told_by(&refusing, b"1000000\0\x001000000\0"), "2\n");
    assert!(told_by(&refusing, b"1000000\x001000000\x001000000\0").starts_with("0 "));
}

#[test]
fn a_graph_in_onnxruntime_tells_what_predict_tells() {
    if !has_onnxruntime() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let cases = cases(directory.path());
    let mut command = Command::new("python3");
    command.arg(here("rows.py"));
    for case in &cases {
        let values = case.model.with_extension("values");
        fs::write(&values, &case.values).unwrap();
        command.arg(exported(&case.model, "onnx", &format!("{}.onnx", case.name))).arg(values);
    }
    let output = command.output().unwrap();
    // That the offset of a clock may be overridden is warned of, too.
    let warned = String::from_utf8_lossy(&output.stderr);
    assert!(!warned.contains("not used by any node"), "{warned}");
    let printed = String::from_utf8(succeeded(output)).unwrap();
    let mut lines = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    for case in &cases {
        let told: Vec<Value> = lines.by_ref().take(case.rows).collect();
        let off = compare(case, &told, &predicted(case));
        println!("{}: {off:e} off at most", case.name);
    }
    assert_eq!(lines.count(), 0);
}

#[test]
fn a_graph_tells_nothing_of_rows_that_it_cannot_use_and_takes_unknown_categories_as_predict_does() {
    if !has_onnxruntime() {
        return;
    }
    let directory = TempDir::new().unwrap();
    let cases = cases(directory.path());
    let ask = |case: &Case, values: &[Vec<u8>]| -> Vec<Value> {
        let path = directory.path().join("asked");
        fs::write(&path, values.concat()).unwrap();
        let mut command = Command::new("python3");
        command.arg(here("rows.py")).arg(exported(&case.model, "onnx", "asked.onnx")).arg(path);
        let printed = String::from_utf8(succeeded(command.output().unwrap())).unwrap();
        // Python writes NaN, which is no JSON.
        printed.lines().map(|line| serde_json::from_str(&line.replace("NaN", "null")).unwrap()).collect()
    };
    let changes: [&[(usize, &str)]; 10] = [
        &[],
        &[(3, "nAn")],
        &[(3, "")],
        &[(3, "unheard of")],
        &[(3, "rare 0")],
        &[(1, "inf")],
        &[(5, "-inf")],
        &[(1, "-1.01e140")],
        &[(5, "691200")],
        &[(1, "-1e140")],
    ];
    // Tanh of infinity is a number.
    let told = ask(&cases[1], &changes.map(|changes| with(&ROW, changes)));
    assert_eq!((&told[1], &told[3]), (&told[2], &told[4]));
    assert!(told[1] != told[3] && told[0] != told[1] && told[0] != told[8], "{told:?}");
    assert!(told[9]["prediction"] != "" && told[9]["probabilities"][0].is_f64(), "{}", told[9]);
    for row in &told[5..8] {
        assert_eq!((&row["prediction"], row["probabilities"][0].is_null()), (&"".into(), true), "{row}");
    }
    let told = ask(&cases[6], &[b"1000000\0\x001000000\0".to_vec(), b"1000000\x001000000\x001000000\0".to_vec()]);
    assert!(told[0]["prediction"] == "" && told[1]["prediction"] != "", "{told:?}");
}

/// That what is told is what `predict` tells, and the largest difference.
fn compare(case: &Case, told: &[Value], wanted: &[Vec<String>]) -> f64 {
    assert_eq!(told.len(), wanted.len(), "{}", case.name);
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let parsed = |texts: &[String]| -> Vec<f64> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let mut worst = 0.0f64;
    for (place, (told, row)) in told.iter().zip(wanted).enumerate() {
        let (got, wanted, limit) = match classes_of(case) {
            Some(_) => {
                let wanted = parsed(&row[1..]);
                let mut sorted = wanted.clone();
                sorted.sort_by(f64::total_cmp);
                let apart = sorted[sorted.len() - 1] - sorted[sorted.len() - 2];
                let is_class = told["prediction"] == row[0].as_str();
                assert!(is_class || apart <= TIE_MAX, "{}, row {place}: {told}, {row:?}", case.name);
                (numbers(&told["probabilities"]), wanted, PROBABILITY_OFF_MAX)
            }
            None => (numbers(&told["prediction"]), parsed(row), NUMBER_OFF_MAX * spread(wanted)),
        };
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(&wanted) {
            let off = (got - wanted).abs();
            assert!(off <= limit, "{}, row {place}: {told}, {row:?}", case.name);
            worst = worst.max(off);
        }
    }
    worst
}

/// How far the first of the numbers that are told are apart, all in all.
fn spread(wanted: &[Vec<String>]) -> f64 {
    let first: Vec<f64> = wanted.iter().map(|row| row[0].parse().unwrap()).collect();
    first.iter().fold(f64::MIN, |most, x| most.max(*x)) - first.iter().fold(f64::MAX, |least, x| least.min(*x))
}

#[test]
fn a_document_in_json_has_every_weight_to_the_bit_and_the_schema() {
    let directory = TempDir::new().unwrap();
    for case in cases(directory.path()) {
        let model = ModelFile::read(&case.model).unwrap();
        let text = fs::read_to_string(exported(&case.model, "json", &format!("{}.json", case.name))).unwrap();
        assert!(!text.contains('<') && !text.contains('\u{2028}'), "{}: this may end a script", case.name);
        let document: Value = serde_json::from_str(&text).unwrap();
        let row = |row: &Value| -> Vec<f32> {
            row.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
        };
        let mut parameters = Vec::new();
        for layer in document["layers"].as_array().unwrap() {
            layer["weights"].as_array().unwrap().iter().for_each(|weights| parameters.extend(row(weights)));
            parameters.extend(row(&layer["biases"]));
        }
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert!(bits(&parameters) == bits(&model.parameters), "{}: other weights", case.name);
        let schema: Value = serde_json::from_str(model.schema.as_deref().unwrap()).unwrap();
        assert_eq!(Schema::from_json(&document["schema"]), Schema::from_json(&schema));
        assert_eq!(document["format"], "gradwire export 1");
        assert_eq!(document["fingerprint"], model.fingerprint.to_string());
        match classes_of(&case) {
            Some(classes) => assert_eq!(document["classes"], Value::from(classes)),
            None => assert!(document["targets"][0]["deviation"].is_f64(), "{}", document["targets"]),
        }
    }
}

#[test]
fn what_is_exported_is_the_same_bytes_every_time_and_on_the_standard_output() {
    let directory = TempDir::new().unwrap();
    let case = &cases(directory.path())[0];
    for form in ["onnx", "c", "json"] {
        let out = fs::read(exported(&case.model, form, "out")).unwrap();
        assert_eq!(fs::read(exported(&case.model, form, "out")).unwrap(), out);
        let words = ["export", case.model.to_str().unwrap(), "--format", form];
        assert_eq!(succeeded(client(&words)), out, "{form}");
    }
    let header = fs::read_to_string(exported(&case.model, "c", "out")).unwrap();
    assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "a name is not escaped");
    assert!(!header.contains(HOSTILE[0]) && !header.contains("??"), "a name is not escaped");
}

#[test]
fn what_cannot_be_exported_is_refused_with_a_sentence_and_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let case = &cases(directory.path())[5];
    let model = case.model.to_str().unwrap();
    let refused = |words: &[&str], code: i32, sentence: &str| {
        let output = client(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(sentence), "{said}");
    };
    refused(&["export", model, "--format", "pickle"], 2, "a model is exported as onnx, c or json");
    refused(&["export", case.table.to_str().unwrap(), "--format", "json"], 2, "the file is no model");
    let nowhere = directory.path().join("nowhere/model.h");
    refused(
        &["export", model, "--format", "c", "--out", nowhere.to_str().unwrap()],
        4,
        "the model's bytes cannot be written",
    );
    // A name with NUL has no form in C, and one in JSON.
    let mut changed = ModelFile::read(&case.model).unwrap();
    let Target::Classes(names) = &mut changed.target else { panic!("{:?}", changed.target) };
    names[1] = "a\0b".to_owned();
    let path = directory.path().join("nul.safetensors");
    changed.write(&path).unwrap();
    let out = directory.path().join("nul.h");
    let words = ["export", path.to_str().unwrap(), "--format", "c", "--out", out.to_str().unwrap()];
    refused(&words, 2, "the class or target \"a\\0b\" holds NUL");
    assert!(!out.exists());
    let document = fs::read(exported(&path, "json", "nul.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&document).unwrap()["classes"][1], "a\0b");
}
