//! docs/model-file.md, followed: by its own Python, and in plain Rust, on models that gradwire has trained. What both
//! predict is what gradwire predicts, or off by what gradwire has measured. The Python part needs numpy.
#![cfg(feature = "client")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::skip;

use gradwire::dataset::Schema;
use gradwire::model::file::ModelFile;
use gradwire::model::scaling::Target;
use gradwire::model::{Kernel, predict};
use serde_json::Value;
use tempfile::TempDir;

const DOCUMENT: &str = include_str!("../docs/model-file.md");
/// The section of the program that takes every kind of column, and that of the short one.
const WHOLE: &str = "5 A program";
const SHORT: &str = "3 To predict";
/// Lines of the short one, at most.
const SHORT_LINES_MAX: usize = 15;
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

/// A number that follows from each row, but for what no model can know; in a unit far from the network's.
fn numbers(rows: &[[f32; FEATURES]]) -> Vec<f64> {
    let number = |(index, [girth, height, north, age]): (usize, &[f32; FEATURES])| {
        let exact = 40.0 * f64::from(*girth) * f64::from(*height) - 900.0 * f64::from(*north) + 1e3 * f64::from(*age);
        25_000.0 + exact + [300.0, -150.0, -150.0][index % 3]
    };
    rows.iter().enumerate().map(number).collect()
}

/// A CSV file of the data, and a model trained on it.
fn trained(
    directory: &TempDir,
    rows: &[[f32; FEATURES]],
    labels: &[impl ToString],
    options: &[&str],
) -> (PathBuf, PathBuf) {
    let [data, model] = ["trees.csv", "model.safetensors"].map(|name| directory.path().join(name));
    let line = |(row, label): (&[f32; FEATURES], String)| {
        format!("{},{label}\n", row.map(|value| value.to_string()).join(","))
    };
    let lines: String = rows.iter().zip(labels.iter().map(ToString::to_string)).map(line).collect();
    fs::write(&data, format!("girth,height,north,age,kind\n{lines}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--local", "2", "--hidden", "12,6", "--rounds", "6", "--quiet"]).args(options);
    let output = command.arg("--data").arg(&data).arg("--out").arg(&model).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (data, model)
}

/// The number that a file's digits of a value say.
fn written(value: f32) -> f64 {
    value.to_string().parse().unwrap()
}

/// What gradwire takes the rows for.
fn predicted(model: &Path, rows: &[[f32; FEATURES]]) -> Vec<String> {
    let model = ModelFile::read(model).unwrap();
    let scaled =
        |row: &[f32; FEATURES]| row.iter().zip(&model.scaling).map(|(x, scale)| scale.apply(written(*x))).collect();
    let values: Vec<f32> = rows.iter().flat_map(|row| -> Vec<f32> { scaled(row) }).collect();
    let classes = predict(Kernel::best(), &model.network, model.activation, &model.parameters, &values).unwrap();
    let Target::Classes(names) = &model.target else { panic!("{:?}", model.target) };
    classes.into_iter().map(|class| names[class as usize].clone()).collect()
}

/// The metadata of a model file, and a list of numbers in them.
struct About(Value);

impl About {
    fn text(&self, key: &str) -> &str {
        self.0["__metadata__"][key].as_str().unwrap_or_else(|| panic!("no {key}"))
    }

    fn array(&self, key: &str) -> Vec<Value> {
        serde_json::from_str(self.text(key)).unwrap()
    }

    fn numbers(&self, key: &str) -> Vec<f64> {
        self.array(key).iter().map(|number| number.as_f64().unwrap()).collect()
    }
}

/// Sections 1 to 3 of the document, with the exact sums that it names: a model file's bytes and raw rows to outputs.
fn follow(bytes: &[u8], network: &str, rows: &[[f32; FEATURES]]) -> (About, Vec<Vec<f32>>) {
    let (length, rest) = bytes.split_first_chunk().unwrap();
    let (header, tensors) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let about = About(serde_json::from_slice(header).unwrap());
    let tensor = |name: String| -> Vec<f32> {
        let place = |end: usize| about.0[&name]["data_offsets"][end].as_u64().unwrap() as usize;
        let (values, _) = tensors[place(0)..place(1)].as_chunks();
        values.iter().map(|value| f32::from_le_bytes(*value)).collect()
    };
    let named = (about.text("format"), about.text("activation"), about.text("network"));
    assert_eq!(named, ("gradwire model 1", "relu", network));
    let (means, inverses) = (about.numbers("feature_means"), about.numbers("feature_inverse_deviations"));
    let clips: Vec<bool> = match &about.0["__metadata__"]["feature_smooth_clips"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        _ => vec![false; FEATURES],
    };
    let cut = |x: f32| if x.abs() < 2f32.powi(-40) { 0.0 } else { x };
    let input = |x: f32, mean: f64, by: f64, is_bent: bool| {
        let z = (written(x) - mean) * by;
        let within = z.clamp(-2f64.powi(64), 2f64.powi(64));
        (if is_bent { within / (1.0 + (within / 3.0) * (within / 3.0)).sqrt() } else { z }) as f32
    };

    let outputs = |row: &[f32; FEATURES]| {
        let mut x: Vec<f32> = (0..FEATURES).map(|i| cut(input(row[i], means[i], inverses[i], clips[i]))).collect();
        for layer in 0..3 {
            let (weight, bias) = (tensor(format!("layer.{layer}.weight")), tensor(format!("layer.{layer}.bias")));
            let output = |j: usize| (0..x.len()).fold(bias[j], |sum, i| x[i].mul_add(weight[i * bias.len() + j], sum));
            let z: Vec<f32> = (0..bias.len()).map(output).collect();
            x = if layer < 2 { z.into_iter().map(|z| cut(z.max(0.0))).collect() } else { z };
        }
        x
    };
    let outputs = rows.iter().map(outputs).collect();
    (about, outputs)
}

/// The name of the class of each row of outputs.
fn names((about, outputs): &(About, Vec<Vec<f32>>)) -> Vec<String> {
    let names = about.array("class_names");
    let class = |x: &Vec<f32>| (1..x.len()).fold(0, |best, class| if x[class] > x[best] { class } else { best });
    outputs.iter().map(|x| names[class(x)].as_str().unwrap().to_owned()).collect()
}

#[test]
fn whoever_follows_the_document_predicts_what_gradwire_predicts() {
    let directory = TempDir::new().unwrap();
    let (rows, labels) = data();
    let (_, model) = trained(&directory, &rows, &labels, &[]);
    let wanted = predicted(&model, &rows);
    let right = wanted.iter().zip(&labels).filter(|(name, label)| name == *label).count();
    assert!((ROWS / 2..ROWS).contains(&right), "{right} of {ROWS} rows are right: this data shows little");
    assert_eq!(names(&follow(&fs::read(&model).unwrap(), "4-12-6-3", &rows)), wanted);
}

#[test]
fn whoever_follows_the_document_is_off_from_numbers_by_what_gradwire_has_measured() {
    let directory = TempDir::new().unwrap();
    let (rows, _) = data();
    let numbers = numbers(&rows);
    let (_, model) = trained(&directory, &rows, &numbers, &["--task", "regress", "--validate-split", "last:200"]);
    let (about, outputs) = follow(&fs::read(&model).unwrap(), "4-12-6-1", &rows);
    assert_eq!(about.array("target_names"), ["kind"]);
    let [[mean], [deviation]] =
        ["target_means", "target_deviations"].map(|key| <[f64; 1]>::try_from(about.numbers(key)).unwrap());
    // The statistics of the rows that train.
    let trained = &numbers[..ROWS - 200];
    let expected = trained.iter().sum::<f64>() / trained.len() as f64;
    let variance = trained.iter().map(|value| (value - expected).powi(2)).sum::<f64>() / trained.len() as f64;
    assert!((mean - expected).abs() < 1e-9 * expected && (deviation / variance.sqrt() - 1.0).abs() < 1e-9);

    let off: Vec<f64> =
        outputs.iter().zip(&numbers).map(|(x, number)| f64::from(x[0]) * deviation + mean - number).collect();
    let off = &off[ROWS - 200..];
    let validates = &numbers[ROWS - 200..];
    let over = |sum: f64| sum / 200.0;
    let squares = off.iter().map(|off| off * off).sum::<f64>();
    let centre = over(validates.iter().sum());
    let variation = validates.iter().map(|number| (number - centre).powi(2)).sum::<f64>();
    let from_mean = |power: i32| validates.iter().map(|number| (number - mean).abs().powi(power)).sum::<f64>();
    for (key, wanted) in [
        ("job.validation_rmse", over(squares).sqrt()),
        ("job.validation_mae", over(off.iter().map(|off| off.abs()).sum())),
        ("job.validation_r2", 1.0 - squares / variation),
        ("job.baseline_rmse", over(from_mean(2)).sqrt()),
        ("job.baseline_mae", over(from_mean(1))),
    ] {
        let said: f64 = about.text(key).parse().unwrap();
        assert!((said / wanted - 1.0).abs() < 1e-5, "{key}: {said}, and {wanted} by the document");
    }
    assert!(1.0 - squares / variation > 0.5, "this data shows little: {squares} of {variation}");
    assert_eq!(about.text("job.loss"), "squared_error");
}

/// Whether Python has these modules; says so if not.
fn has(modules: &str) -> bool {
    let found = Command::new("python3").args(["-c", &format!("import {modules}")]).stderr(Stdio::null()).status();
    let is_there = found.is_ok_and(|status| status.success());
    if !is_there {
        skip(format!("there is no Python 3 with {modules}"));
    }
    is_there
}

/// The program in a section of the document.
fn program_of(section: &str) -> &'static str {
    let section = DOCUMENT.split_once(&format!("\n## {section}\n")).unwrap().1.split("\n## ").next().unwrap();
    section.split_once("\n```python\n").unwrap().1.split_once("\n```\n").unwrap().0
}

/// What a program of the document prints for these rows, and what it says; none where there is no numpy.
fn program(section: &str, directory: &TempDir, model: &Path, data: &Path) -> Option<[String; 2]> {
    if !has("numpy") {
        return None;
    }
    let path = directory.path().join("predict.py");
    fs::write(&path, program_of(section)).unwrap();
    let output = Command::new("python3").arg(&path).args([model, data]).output().unwrap();
    let [printed, counted] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{counted}");
    Some([printed, counted])
}

#[test]
fn the_documents_program_fits_the_numbers_that_gradwire_fits_and_finds_the_rows_that_validated() {
    let directory = TempDir::new().unwrap();
    let (rows, _) = data();
    let numbers = numbers(&rows);
    let (data, model) = trained(&directory, &rows, &numbers, &["--task", "regress"]);
    let Some([printed, measured]) = program(WHOLE, &directory, &model, &data) else { return };
    let (about, outputs) = follow(&fs::read(&model).unwrap(), "4-12-6-1", &rows);
    let (mean, deviation) = (about.numbers("target_means")[0], about.numbers("target_deviations")[0]);
    let said: Vec<f64> = printed.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(said.len(), ROWS);
    for (said, outputs) in said.iter().zip(&outputs) {
        let wanted = f64::from(outputs[0]) * deviation + mean;
        assert!((said - wanted).abs() < 1e-4 * deviation, "{said}, and {wanted} by the document");
    }
    // Of other rows it would be another number.
    let [found, told] = measured.lines().collect::<Vec<_>>()[..] else { panic!("{measured}") };
    let number = |line: &str, place: usize| line.split(' ').nth(place).unwrap().parse::<f64>().unwrap();
    assert!((number(found, 1) / number(told, 2) - 1.0).abs() < 1e-4, "{measured}");
    assert!(found.ends_with(" over 90 validation rows;"), "{measured}");
}

#[test]
fn the_documents_program_predicts_what_gradwire_predicts_and_finds_the_rows_that_validated() {
    let directory = TempDir::new().unwrap();
    let (rows, labels) = data();
    let (data, model) = trained(&directory, &rows, &labels, &[]);
    let Some([printed, counted]) = program(WHOLE, &directory, &model, &data) else { return };
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

#[test]
fn the_documents_few_lines_of_numpy_predict_what_gradwire_predicts() {
    let lines = program_of(SHORT).lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= SHORT_LINES_MAX, "{lines} lines");
    let directory = TempDir::new().unwrap();
    let (rows, labels) = data();
    let (data, model) = trained(&directory, &rows, &labels, &[]);
    let Some([printed, _]) = program(SHORT, &directory, &model, &data) else { return };
    let wanted = predicted(&model, &rows);
    let differ = printed.lines().zip(&wanted).filter(|(said, wanted)| said != wanted).count();
    assert!(printed.lines().count() == ROWS && differ <= 1, "{differ} rows differ:\n{printed}");
}

/// Prints of a file what Python's own reader finds in it.
const READ: &str = "
import sys
from safetensors import safe_open
with safe_open(sys.argv[1], 'np') as file:
    print(file.metadata()['format'])
    for name in sorted(file.keys()):
        tensor = file.get_tensor(name)
        print(name, tensor.dtype, tensor.shape, tensor.tobytes().hex())
";

#[test]
fn pythons_safetensors_reads_the_file() {
    if !has("safetensors, numpy") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let (rows, labels) = data();
    let (_, path) = trained(&directory, &rows, &labels, &[]);
    let output = Command::new("python3").args(["-c", READ]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let model = ModelFile::read(&path).unwrap();
    let hex = |values: &[f32]| {
        values.iter().flat_map(|x| x.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let mut wanted = vec!["gradwire model 1".to_owned()];
    for (place, layer) in model.network.layers().enumerate() {
        let (weights, biases) = model.parameters[layer.offset..][..layer.parameters()].split_at(layer.weights());
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        wanted.push(format!("layer.{place}.bias float32 ({outputs},) {}", hex(biases)));
        wanted.push(format!("layer.{place}.weight float32 ({inputs}, {outputs}) {}", hex(weights)));
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), wanted);
}

/// Rows of every kind of column, some values missing, whose class follows from all of them.
fn mixed() -> Vec<[String; 6]> {
    let mut state = 7u32;
    let mut below = |bound: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % bound
    };
    let row = |_| {
        let (girth, color, bloom, hour, price) = (below(900), below(4), below(2), below(24), below(5_000));
        let sum = girth / 100 + 2 * color + 3 * bloom + hour / 4 + price / 1_000;
        let or_missing = |text: String, part: u32| if part == 0 { "NA".to_owned() } else { text };
        [
            or_missing(format!("{}.{}", girth / 10, girth % 10), below(9)),
            or_missing(["red", "green", "dark blue", "white"][color as usize].to_owned(), below(11)),
            ["no", "Yes"][bloom as usize].to_owned(),
            or_missing(format!("2024-03-{:02} {hour:02}:15", 1 + below(28)), below(13)),
            format!("$ {},{:03}", 1 + price / 1_000, price % 1_000),
            ["oak", "elm"][usize::from(sum > 12)].to_owned(),
        ]
    };
    (0..600).map(row).collect()
}

#[test]
fn the_documents_program_makes_the_schemas_inputs_of_every_kind_of_column() {
    for scale in ["standard", "robust"] {
        agrees_on_every_kind_of_column(scale);
    }
}

fn agrees_on_every_kind_of_column(scale: &str) {
    let directory = TempDir::new().unwrap();
    let [data, path] = ["mixed.csv", "model.safetensors"].map(|name| directory.path().join(name));
    let rows = mixed();
    let lines: String = rows.iter().map(|row| format!("\"{}\"\n", row.join("\",\""))).collect();
    fs::write(&data, format!("girth,color,bloom,seen,price,kind\n{lines}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.args(["--local", "2", "--hidden", "12", "--rounds", "6", "--quiet", "--scale", scale]);
    let output = command.arg("--data").arg(&data).arg("--out").arg(&path).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let model = ModelFile::read(&path).unwrap();
    let schema: Value = serde_json::from_str(model.schema.as_deref().unwrap()).unwrap();
    let schema = Schema::from_json(&schema).unwrap();
    assert_eq!((schema.input_names(), schema.scales()), (model.feature_names.clone(), model.scaling.clone()));
    let inputs = |row: &[String; 6]| schema.transform(&row.each_ref().map(String::as_str)).unwrap();
    let values: Vec<f32> = rows.iter().flat_map(inputs).collect();
    let classes = predict(Kernel::best(), &model.network, model.activation, &model.parameters, &values).unwrap();
    let names = ["elm", "oak"];
    let wanted: Vec<&str> = classes.into_iter().map(|class| names[class as usize]).collect();
    let right = wanted.iter().zip(&rows).filter(|(name, row)| **name == row[5]).count();
    assert!(right > 450, "{right} of 600 rows are right: the inputs are not those of the rows");

    let Some([printed, _]) = program(WHOLE, &directory, &path, &data) else { return };
    let differ = printed.lines().zip(&wanted).filter(|(said, wanted)| said != *wanted).count();
    assert!(printed.lines().count() == 600 && differ <= 1, "{differ} rows differ");
}
