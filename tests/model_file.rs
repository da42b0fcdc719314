//! docs/model-file.md, followed: by its own Python, and in plain Rust, on a model that gradwire has trained. What both
//! predict is what gradwire predicts. The Python part needs numpy.
#![cfg(feature = "client")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::skip;

use gradwire::model::file::ModelFile;
use gradwire::model::{Kernel, predict};
use serde_json::Value;
use tempfile::TempDir;

const DOCUMENT: &str = include_str!("../docs/model-file.md");
const ROWS: usize = 900;
const FEATURES: usize = 4;

/// Rows in three classes of different sizes that overlap, and the names of their classes.
fn data() -> (Vec<[f32; FEATURES]>, Vec<&'static str>) {
    let mut state = 1u32;
    let mut unit = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let row = |index: usize| {
        let class = [0, 1, 2, 2, 1, 2][index % 6];
        let values = std::array::from_fn(|feature| {
            let centre = [[1.0, 200.0, -3.0, 0.5], [2.0, 260.0, -1.0, 0.5], [1.5, 180.0, 2.0, 0.75]][class][feature];
            let spread = [1.5, 90.0, 4.0, 0.5][feature];
            (centre + spread * (unit() - 0.5) * 2.0) as f32
        });
        (values, ["oak", "elm", "ash"][class])
    };
    (0..ROWS).map(row).unzip()
}

/// A CSV file of the data, and a model trained on it.
fn trained(directory: &TempDir, rows: &[[f32; FEATURES]], labels: &[&str]) -> (PathBuf, PathBuf) {
    let [data, model] = ["trees.csv", "model.safetensors"].map(|name| directory.path().join(name));
    let line =
        |(row, label): (&[f32; FEATURES], &&str)| format!("{},{label}\n", row.map(|value| value.to_string()).join(","));
    let lines: String = rows.iter().zip(labels).map(line).collect();
    fs::write(&data, format!("girth,height,north,age,kind\n{lines}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--local", "2", "--hidden", "12,6", "--rounds", "6", "--quiet"]);
    let output = command.arg("--data").arg(&data).arg("--out").arg(&model).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (data, model)
}

/// What gradwire takes the rows for.
fn predicted(model: &Path, rows: &[[f32; FEATURES]]) -> Vec<String> {
    let model = ModelFile::read(model).unwrap();
    let scaled = |row: &[f32; FEATURES]| row.iter().zip(&model.scaling).map(|(x, scale)| scale.apply(*x)).collect();
    let values: Vec<f32> = rows.iter().flat_map(|row| -> Vec<f32> { scaled(row) }).collect();
    let classes = predict(Kernel::best(), &model.network, model.activation, &model.parameters, &values).unwrap();
    classes.into_iter().map(|class| model.class_names[class as usize].clone()).collect()
}

/// Sections 1 to 3 of the document, with the exact sums that it names: a model file's bytes and raw rows to names.
fn follow(bytes: &[u8], rows: &[[f32; FEATURES]]) -> Vec<String> {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, tensors) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let about = |key: &str| header["__metadata__"][key].as_str().unwrap();
    let array = |key: &str| serde_json::from_str::<Vec<Value>>(about(key)).unwrap();
    let tensor = |name: String| -> Vec<f32> {
        let place = |end: usize| header[&name]["data_offsets"][end].as_u64().unwrap() as usize;
        let (values, _) = tensors[place(0)..place(1)].as_chunks();
        values.iter().map(|value| f32::from_le_bytes(*value)).collect()
    };
    assert_eq!((about("format"), about("activation"), about("network")), ("gradwire model 1", "relu", "4-12-6-3"));
    let numbers = |key: &str| array(key).iter().map(|number| number.as_f64().unwrap()).collect::<Vec<_>>();
    let (means, inverses) = (numbers("feature_means"), numbers("feature_inverse_deviations"));
    let names = array("class_names");
    let cut = |x: f32| if x.abs() < 2f32.powi(-40) { 0.0 } else { x };

    let class_of = |row: &[f32; FEATURES]| {
        let scaled = row.iter().zip(&means).zip(&inverses).map(|((x, mean), by)| ((f64::from(*x) - mean) * by) as f32);
        let mut x: Vec<f32> = scaled.map(cut).collect();
        for layer in 0..3 {
            let (weight, bias) = (tensor(format!("layer.{layer}.weight")), tensor(format!("layer.{layer}.bias")));
            let output = |j: usize| (0..x.len()).fold(bias[j], |sum, i| x[i].mul_add(weight[i * bias.len() + j], sum));
            let z: Vec<f32> = (0..bias.len()).map(output).collect();
            x = if layer < 2 { z.into_iter().map(|z| cut(z.max(0.0))).collect() } else { z };
        }
        (1..x.len()).fold(0, |best, class| if x[class] > x[best] { class } else { best })
    };
    rows.iter().map(|row| names[class_of(row)].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whoever_follows_the_document_predicts_what_gradwire_predicts() {
    let directory = TempDir::new().unwrap();
    let (rows, labels) = data();
    let (_, model) = trained(&directory, &rows, &labels);
    let wanted = predicted(&model, &rows);
    let right = wanted.iter().zip(&labels).filter(|(name, label)| name == *label).count();
    assert!((ROWS / 2..ROWS).contains(&right), "{right} of {ROWS} rows are right: this data shows little");
    assert_eq!(follow(&fs::read(&model).unwrap(), &rows), wanted);
}

#[test]
fn the_documents_program_predicts_what_gradwire_predicts_and_finds_the_rows_that_validated() {
    let numpy = Command::new("python3").args(["-c", "import numpy"]).stderr(Stdio::null()).status();
    if !numpy.is_ok_and(|status| status.success()) {
        return skip("there is no Python 3 with numpy");
    }
    let directory = TempDir::new().unwrap();
    let (rows, labels) = data();
    let (data, model) = trained(&directory, &rows, &labels);
    let program = DOCUMENT.split_once("\n```python\n").unwrap().1.split_once("\n```\n").unwrap().0;
    let path = directory.path().join("predict.py");
    fs::write(&path, program).unwrap();

    let output = Command::new("python3").args([&path, &model, &data]).output().unwrap();
    let [printed, counted] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{counted}");
    let wanted = predicted(&model, &rows);
    // Sums in another order may decide a tie otherwise.
    let differ = printed.lines().zip(&wanted).filter(|(said, wanted)| said != wanted).count();
    assert!(printed.lines().count() == ROWS && differ <= 1, "{differ} rows differ:\n{printed}");

    // The file's own count is of the rows that the program has found, none of which is so near a tie.
    let [found, said] = counted.lines().collect::<Vec<_>>()[..] else { panic!("{counted}") };
    let first_words = |line: &str, from: usize| line.split(' ').skip(from).take(3).collect::<Vec<_>>().join(" ");
    assert_eq!(first_words(found, 0), first_words(said, 2), "{counted}");
    assert!(found.contains(" of 180 validation rows"), "{counted}");
}
