//! People's own files, through the client: what is printed of them, what they are trained to, how they are refused.
#![cfg(feature = "client")]

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn data(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data", file].iter().collect()
}

fn client(words: &[&str], file: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_client")).args(words).arg(data(file)).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_schema_is_printed_with_the_option_that_reverses_each_guess() {
    let output = client(&["schema"], "id.csv");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = stdout(&output);
    let words: Vec<&str> = printed.split_whitespace().collect();
    let head = "100 rows read + 0 refused = 100 lines; a header, separated by commas";
    assert!(words.join(" ").contains(head), "{printed}");
    let row = "       1  id     row number       100        0  left out: whole numbers in\n\
               \x20                                               sequence (--use id takes it in)\n";
    assert!(printed.contains(row), "{printed}");

    let printed = stdout(&client(&["schema", "--use", "id", "--json"], "id.csv"));
    let schema: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&schema["event"], &schema["columns"][0]["kind"]), (&"schema".into(), &"number".into()));
    assert_eq!((&schema["lines"], &schema["inputs"]), (&100.into(), &2.into()));
}

#[test]
fn times_train_as_well_as_small_numbers() {
    for file in ["ms.csv", "unixsec.csv"] {
        let output = client(&["--local", "2", "--rounds", "60", "--quiet", "--data"], file);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let accuracy = stdout(&output).lines().find_map(|line| {
            let rest = line.strip_prefix("accuracy")?.trim_start();
            rest.split(' ').next()?.parse::<f64>().ok()
        });
        assert!(accuracy.is_some_and(|accuracy| accuracy >= 97.0), "{file}: {output:?}");
    }
}

#[test]
fn the_plan_of_a_file_is_printed_before_it_is_trained() {
    let output = client(&["--local", "1", "--rounds", "1", "--data"], "nalab2.csv");
    let said = String::from_utf8_lossy(&output.stderr);
    let plan = said.find("40 rows read + 20 dropped without a label = 60 lines");
    assert!(plan.is_some() && plan < said.find("for training in"), "{said}");
    // Scripts get it as the first object.
    let output = client(&["--local", "1", "--rounds", "1", "--json", "--data"], "floatlab.csv");
    let first: Value = serde_json::from_str(stdout(&output).lines().next().unwrap()).unwrap();
    assert_eq!(first["event"], "schema");
    assert!(first["warnings"][0].as_str().unwrap().contains("\"1\" and \"1.0\""), "{first}");
}

#[test]
fn a_refusal_is_a_json_object_for_scripts_and_exit_code_2() {
    let output = client(&["--local", "1", "--json", "--missing-label", "refuse", "--data"], "nalab2.csv");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let refused: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let column = &refused["columns"][0];
    assert_eq!((&refused["event"], &column["cause"]), (&"refused".into(), &"no_label".into()));
    assert_eq!((&column["name"], &column["rows"], &column["of"]), (&"sex".into(), &20.into(), &60.into()));
    assert_eq!(column["examples"].as_array().map(Vec::len), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("20 of 60 rows have no label"), "{output:?}");
}
