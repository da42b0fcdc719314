//! Saved models on raw rows, through the client: `predict` and `evaluate`, and docs/predict.md, whose commands are run.
#![cfg(feature = "client")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use gradwire::model::file::ModelFile;
use serde_json::Value;
use tempfile::TempDir;

const CLIENT: &str = env!("CARGO_BIN_EXE_client");
const DOCUMENT: &str = include_str!("../docs/predict.md");
/// Rows of trees.csv, and those of its end that validate.
const ROWS: usize = 400;
const VALIDATING: usize = 80;

fn data(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", file].iter().collect()
}

fn client(words: &[&str]) -> Output {
    Command::new(CLIENT).args(words).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command that must succeed prints.
fn printed(words: &[&str]) -> String {
    let output = client(words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    text(&output.stdout)
}

/// A model of trees.csv, whose columns are numbers and texts, some missing.
fn trained(directory: &TempDir, more: &[&str]) -> String {
    let (trees, model) = (data("trees.csv"), directory.path().join("trees.safetensors"));
    let (trees, model) = (trees.to_str().unwrap(), model.to_str().unwrap().to_owned());
    let split = format!("last:{VALIDATING}");
    let words = ["--local", "2", "--data", trees, "--hidden", "12", "--rounds", "8", "--quiet", "--out", &model];
    printed(&[&words, &["--validate-split", &split][..], more].concat());
    model
}

/// The last column of each line of trees.csv, and the others.
fn lines_and_labels() -> Vec<(String, String)> {
    let trees = fs::read_to_string(data("trees.csv")).unwrap();
    trees
        .lines()
        .skip(1)
        .map(|line| line.rsplit_once(',').unwrap())
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

#[test]
fn the_rows_that_validated_are_told_as_the_job_counted_them_from_a_file_and_from_a_pipe() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let said = ModelFile::read(Path::new(&model)).unwrap().specification;
    let trees = data("trees.csv");
    let predicted = printed(&["predict", &model, trees.to_str().unwrap()]);
    let mut lines = predicted.lines();
    assert_eq!(lines.next(), Some("prediction"));
    let labels = lines_and_labels();
    let lines: Vec<&str> = lines.collect();
    assert_eq!((lines.len(), labels.len()), (ROWS, ROWS));
    let wrong = lines.iter().zip(&labels).skip(ROWS - VALIDATING).filter(|(told, (_, label))| **told != label).count();
    assert_eq!((wrong.to_string().as_str(), "80"), (&*said["validation_errors"], &*said["validation_rows"]));
    assert!((1..VALIDATING / 2).contains(&wrong), "{wrong} of {VALIDATING} rows are wrong: this data shows little");

    // The same without labels, from a pipe, compressed.
    let mut command = Command::new("sh");
    let line = format!("cut -d, -f1-5 '{}' | gzip | '{CLIENT}' predict '{model}' -", trees.display());
    assert_eq!(text(&command.args(["-c", &line]).output().unwrap().stdout), predicted);

    // Judged by the rows that validated, the model is as good as the job said; by a part of them in another order too.
    let tail = directory.path().join("tail.csv");
    let all = fs::read_to_string(&trees).unwrap();
    let mut rows: Vec<&str> = all.lines().skip(1 + ROWS - VALIDATING).collect();
    let judge = |rows: &[&str]| {
        fs::write(&tail, format!("{}\n{}\n", all.lines().next().unwrap(), rows.join("\n"))).unwrap();
        let printed = printed(&["evaluate", &model, tail.to_str().unwrap(), "--json"]);
        serde_json::from_str::<Value>(&printed).unwrap()
    };
    let judged = judge(&rows);
    let right = (VALIDATING - wrong) as f64;
    assert_eq!((&judged["rows"], judged["accuracy"].as_f64()), (&VALIDATING.into(), Some(right / VALIDATING as f64)));
    let diagonal: u64 = (0..3).map(|class| judged["confusion"][class][class].as_u64().unwrap()).sum();
    assert_eq!(diagonal as f64, right);
    rows.reverse();
    let reversed = judge(&rows);
    assert_eq!((&reversed["classes"], &reversed["auc"]), (&judged["classes"], &judged["auc"]));
}

/// What a job says at its end of these rows of a file, in the figures' names, and the matrix of which class is taken for which.
fn end_of_job(judged: &str, names: &[&str], words: &[&str]) -> (Vec<Option<f64>>, Value) {
    let printed = printed(&[&["--local", "2", "--hidden", "12", "--rounds", "4", "--json"], words].concat());
    let done: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(done["event"], "done");
    let figure = |name: &&str| done[format!("{judged}_{name}")].as_f64();
    (names.iter().map(figure).collect(), done[format!("{judged}_confusion")].clone())
}

#[test]
fn a_job_tells_of_the_rows_that_judge_it_what_evaluate_tells_to_the_last_bit() {
    let directory = TempDir::new().unwrap();
    let (model, rows) = (directory.path().join("model"), directory.path().join("rows.csv"));
    let (model, rows) = (model.to_str().unwrap(), rows.to_str().unwrap());
    let classes = ["accuracy", "balanced_accuracy", "log_loss", "auc"];
    let three = ["--label", "kind", "--ignore", "yes"];
    let two = ["--label", "yes", "--ignore", "kind"];
    let numbers = ["--label", "height"];
    for (names, options) in [(&classes[..], &three[..]), (&classes, &two), (&["r2", "rmse", "mae"], &numbers)] {
        // Another column of two classes.
        let trees = fs::read_to_string(data("trees.csv")).unwrap();
        let yes = |(row, line): (usize, &str)| match row {
            0 => format!("{line},yes"),
            row => format!("{line},{}", if line.contains("needle") != row.is_multiple_of(5) { "y" } else { "n" }),
        };
        let all: Vec<String> = trees.lines().enumerate().map(yes).collect();
        let table = directory.path().join("table.csv");
        fs::write(&table, all.join("\n")).unwrap();
        fs::write(rows, [&all[..1], &all[1 + ROWS - VALIDATING..]].concat().join("\n")).unwrap();
        let split = format!("last:{VALIDATING}");
        let words = ["--data", table.to_str().unwrap(), "--validate-split", &split, "--out", model];
        let (told, confusion) = end_of_job("validation", names, &[&words, options].concat());
        let judged: Value = serde_json::from_str(&printed(&["evaluate", model, rows, "--json"])).unwrap();
        let found = if names.len() == 3 { &judged["targets"][0] } else { &judged };
        let found: Vec<Option<f64>> = names.iter().map(|name| found[name].as_f64()).collect();
        assert!(told.iter().all(Option::is_some), "{told:?}");
        assert_eq!(told, found, "{names:?} of {options:?}");
        assert_eq!(confusion, judged["confusion"]);
        let all: u64 = confusion
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|row| row.as_array().unwrap())
            .map(|rows| rows.as_u64().unwrap())
            .sum();
        assert_eq!(all, if names.len() == 3 { 0 } else { VALIDATING as u64 });
    }
}

#[test]
fn importance_is_the_same_for_the_same_seed_and_of_columns_not_of_inputs() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let trees = data("trees.csv");
    let told = |seed: &str| {
        let words = ["evaluate", &model, trees.to_str().unwrap(), "--json", "--importance", "--seed", seed];
        serde_json::from_str::<Value>(&printed(&words)).unwrap()["importance"].take()
    };
    let first = told("1");
    assert_eq!(first, told("1"));
    assert_ne!(first["columns"], told("2")["columns"]);
    let columns = first["columns"].as_array().unwrap();
    let mut names: Vec<&str> = columns.iter().map(|column| column["column"].as_str().unwrap()).collect();
    let added: Vec<f64> = columns.iter().map(|column| column["log_loss_added"].as_f64().unwrap()).collect();
    assert!(added.is_sorted_by(|a, b| a >= b) && added[0] > 0.0, "{added:?}");
    names.sort_unstable();
    assert_eq!(names, ["bark", "girth", "height", "leaf"]);
    assert_eq!((&first["rows"], &first["rows_left_out"]), (&ROWS.into(), &0.into()));
}

#[test]
fn probabilities_add_up_and_json_says_what_csv_says() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let felled = data("felled.csv");
    let felled = felled.to_str().unwrap();
    let words = ["predict", &model, felled, "--proba", "--keep", "tree,owner"];
    let csv = printed(&words);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("tree,owner,prediction,probability_birch,probability_oak,probability_pine"));
    let json = printed(&[&words[..], &["--json"]].concat());
    assert_eq!(json.lines().count(), lines.clone().count());
    let classes = ["birch", "oak", "pine"];
    for (number, (line, object)) in lines.zip(json.lines()).enumerate() {
        let fields: Vec<&str> = line.split(',').collect();
        let object: Value = serde_json::from_str(object).unwrap();
        assert_eq!((&object["event"], &object["line"]), (&"prediction".into(), &(number + 2).into()));
        assert_eq!((&object["kept"]["tree"], &object["kept"]["owner"]), (&fields[0].into(), &fields[1].into()));
        assert_eq!(object["prediction"], fields[2]);
        let parts: Vec<f64> = fields[3..].iter().map(|part| part.parse().unwrap()).collect();
        let total: f64 = parts.iter().sum();
        assert!((total - 1.0).abs() < 1e-6, "{line}");
        let most = (0..3).fold(0, |most, class| if parts[class] > parts[most] { class } else { most });
        assert_eq!(classes[most], fields[2], "{line}");
        for (class, part) in classes.iter().zip(&parts) {
            let told = object["probabilities"][class].as_f64().unwrap();
            assert!((told - part).abs() <= 1e-9 * part, "{object} {line}");
        }
    }
}

#[test]
fn a_row_that_cannot_be_read_ends_it_or_is_left_empty_and_counted() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let (rows, out) = (directory.path().join("rows.csv"), directory.path().join("told.csv"));
    let row = "20.4,10.3,rough,round";
    fs::write(&rows, format!("girth,height,bark,leaf\n{row}\n{row}\nthin,10.3,rough,round\n{row}\n")).unwrap();
    let (rows, out) = (rows.to_str().unwrap(), out.to_str().unwrap());
    let refused = client(&["predict", &model, rows]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("line 4, column 1 (\"girth\"): \"thin\" is no number"), "{refused:?}");
    // Those before it are told, but not into a file, which would seem to be whole.
    assert_eq!(text(&refused.stdout).lines().count(), 3);
    let refused = client(&["predict", &model, rows, "--out", out]);
    assert_eq!((refused.status.code(), fs::read_dir(directory.path()).unwrap().count()), (Some(2), 2), "{refused:?}");

    let left = client(&["predict", &model, rows, "--on-error", "leave", "--out", out]);
    assert_eq!((left.status.code(), text(&left.stdout)), (Some(0), String::new()), "{left:?}");
    assert!(text(&left.stderr).contains("1 row without a prediction, first line 4: column 1"), "{left:?}");
    let told = fs::read_to_string(out).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!((lines.len(), lines[3], lines[1] == lines[4]), (5, "\"\"", true), "{told}");
    let json = printed(&["predict", &model, rows, "--on-error", "leave", "--json"]);
    let third: Value = serde_json::from_str(json.lines().nth(2).unwrap()).unwrap();
    assert!(third["prediction"].is_null() && third["text"].as_str().unwrap().contains("is no number"), "{third}");
    let refused = client(&["predict", &model, rows, "--json"]);
    let last: Value = serde_json::from_str(text(&refused.stdout).lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["line"]), (&"refused".into(), &4.into()));
}

#[test]
fn rows_whose_label_is_missing_or_unknown_are_not_judged_and_counted() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let rows = directory.path().join("rows.csv");
    let lines = lines_and_labels();
    let with = |label: &str, index: usize| format!("{},{label}\n", lines[index].0);
    let own: String = (0..30).map(|index| with(&lines[index].1, index)).collect();
    let head = "tree,girth,height,bark,leaf,kind\n";
    // A line of units has no label, and is left out as training leaves it out.
    let units = format!("{},cm,m,,,\n", lines[43].0.split(',').next().unwrap());
    fs::write(&rows, format!("{head}{units}{}{own}{}{}", with("", 40), with("elm", 41), with("elm", 42))).unwrap();
    let path = rows.to_str().unwrap();
    let table = printed(&["evaluate", &model, path]);
    let first =
        "rows         30 judged; left out: 2 without a target, 2 whose target the model does not know (first \"elm\"";
    assert!(
        table.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(&first.replace("         ", " ")),
        "{table}"
    );
    fs::write(&rows, format!("{head}{}", with("elm", 41))).unwrap();
    let refused = client(&["evaluate", &model, path]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("no row can be judged: 1 whose target"), "{refused:?}");
    fs::write(&rows, "tree,girth,height,bark,leaf\nT1,1,2,rough,round\n").unwrap();
    assert!(text(&client(&["evaluate", &model, path]).stderr).contains("column \"kind\""));
}

#[test]
fn numbers_are_told_and_judged_in_the_targets_own_unit() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &["--label", "height"]);
    let trees = data("trees.csv");
    let trees = trees.to_str().unwrap();
    let told: Vec<f64> =
        printed(&["predict", &model, trees]).lines().skip(1).map(|line| line.parse().unwrap()).collect();
    let heights: Vec<f64> =
        lines_and_labels().iter().map(|(line, _)| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    assert_eq!(told.len(), ROWS);
    let judged: Value = serde_json::from_str(&printed(&["evaluate", &model, trees, "--json"])).unwrap();
    let target = &judged["targets"][0];
    let mean = heights.iter().sum::<f64>() / ROWS as f64;
    let sum = |of: &dyn Fn(usize) -> f64| (0..ROWS).map(of).sum::<f64>();
    let squared = sum(&|row| (told[row] - heights[row]).powi(2));
    let variation = sum(&|row| (heights[row] - mean).powi(2));
    let wanted = [
        ("r2", 1.0 - squared / variation),
        ("rmse", (squared / ROWS as f64).sqrt()),
        ("mae", sum(&|row| (told[row] - heights[row]).abs()) / ROWS as f64),
    ];
    for (name, wanted) in wanted {
        // The model is trained and judged on f32, in deviations.
        let got = target[name].as_f64().unwrap();
        assert!((got - wanted).abs() < 1e-6 * wanted.abs(), "{name}: {got}, {wanted}");
    }
    assert_eq!(target["target"], "height");
    assert!(target["r2"].as_f64() > Some(0.5) && target["baseline"]["r2"].as_f64() < Some(0.1), "{target}");
    let refused = client(&["predict", &model, trees, "--proba"]);
    assert!(text(&refused.stderr).contains("only classes have probabilities"), "{refused:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_success_and_no_panic() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let mut command = Command::new(CLIENT);
    command.args(["predict", &model, "-", "--header", "no"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    // More rows than fit any pipe; the writer is to end as soon as nobody reads.
    let writer = std::thread::spawn(move || {
        let rows = "20.4,10.3,rough,round\n".repeat(4_096);
        (0..500).all(|_| stdin.write_all(rows.as_bytes()).is_ok())
    });
    stdout.read_exact(&mut [0; 20]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert!(!writer.join().unwrap(), "all rows were read, and nobody read what came of them");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert_eq!(text(&output.stderr), "", "the code alone tells it");
}

#[test]
fn an_interrupt_leaves_no_half_written_predictions_behind() {
    let directory = TempDir::new().unwrap();
    let model = trained(&directory, &[]);
    let (out, outs) = (directory.path().join("outs/told.csv"), directory.path().join("outs"));
    fs::create_dir(&outs).unwrap();
    let written = || fs::read_dir(&outs).unwrap().count();
    for signal in ["-INT", "-TERM"] {
        let mut command = Command::new(CLIENT);
        command.args(["predict", &model, "-", "--header", "no", "--out"]).arg(&out);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all("20.4,10.3,rough,round\n".repeat(20_000).as_bytes()).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while written() == 0 {
            assert!(Instant::now() < until, "no file is begun");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), written()), (Some(130), 0), "{signal}: {output:?}");
    }
}

/// The blocks of commands in the document: each command, and what follows it.
fn commands() -> Vec<(String, String)> {
    let blocks = DOCUMENT.split("```").skip(1).step_by(2);
    let mut commands = Vec::new();
    for block in blocks.filter(|block| block.contains("\n$ ")) {
        for part in block.split("\n$ ").skip(1) {
            let (command, output) = part.split_once('\n').unwrap_or((part, ""));
            commands.push((command.to_owned(), output.trim_end().to_owned()));
        }
    }
    commands
}

#[test]
fn the_documents_commands_print_what_it_says() {
    let directory = TempDir::new().unwrap();
    for file in ["trees.csv", "felled.csv"] {
        fs::copy(data(file), directory.path().join(file)).unwrap();
    }
    let found = commands();
    assert!(found.len() >= 5, "{found:?}");
    for (command, wanted) in found {
        let words = command.replace("client ", &format!("{CLIENT} "));
        let output = Command::new("sh").args(["-c", &words]).current_dir(directory.path()).output().unwrap();
        let printed = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(printed.trim_end(), wanted, "{command}");
    }
}
