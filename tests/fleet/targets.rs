//! Jobs that fit numbers, asked for by a person with a table: the same bits on any fleet whatever dies, results in the target's
//! own unit beside what a guess comes to, and a model file that says all of it.

use std::fmt::Write as _;
use std::fs;

use gradwire::model::file::ModelFile;
use serde_json::{Value, json};

use crate::common::clients::{Client, Finished, client};
use crate::common::servers::{Coordinator, nodes};
use crate::common::tables::{Written, file_in, small_data};

/// A price that follows from two of three features, around 250,000.
fn prices() -> Written {
    let mut text = String::from("rooms,floor,noise,price\n");
    for row in 0..600u32 {
        let [rooms, floor, noise] = [7, 11, 13].map(|step| f64::from((row * step) % 97) / 10.0);
        let price = 250_000.0 + 9_000.0 * rooms - 350.0 * floor * floor + 500.0 * (noise - 4.8).signum();
        writeln!(text, "{rooms},{floor},{noise},{price}").unwrap();
    }
    Written::new("prices.csv", text)
}

fn job(data: &Written) -> Vec<&str> {
    let split = ["--validate-split", "0.2"];
    [&["--data", data.text(), "--task", "regress", "--hidden", "24", "--rounds", "20"][..], &split].concat()
}

/// What is printed, however its lines are cut.
fn flat(printed: &str) -> String {
    printed.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What a job came to, but for how.
fn result(finished: &Finished) -> Value {
    let done = finished.done();
    ["fingerprint", "validation_r2", "validation_rmse", "validation_mae", "baseline", "target", "beats_baseline"]
        .map(|key| done[key].clone())
        .into_iter()
        .collect()
}

#[test]
fn numbers_are_fitted_to_the_same_bits_by_any_fleet_under_either_policy_whatever_dies() {
    let data = prices();
    let job = job(&data);
    let alone = Client::local(1, &job).finish();
    for nodes in [2, 4] {
        for policy in ["1", "2"] {
            let others = Client::local(nodes, &[&job[..], &["--policy", policy]].concat()).finish();
            assert_eq!(result(&others), result(&alone), "{nodes} nodes, policy {policy}");
        }
    }
    for policy in ["1", "2"] {
        let mut fleet = nodes(3, "0.3", &["--load-delay", "0.05"]);
        let coordinator = Coordinator::of(policy, &fleet, &[]);
        let mut watched = Client::start(&coordinator, &job);
        watched.await_round();
        fleet[0].kill();
        watched.await_round();
        fleet[1].kill();
        assert_eq!(result(&watched.finish()), result(&alone), "policy {policy}");
    }
    // Of weights that are merged once a round, too.
    let epochs = [&job[..], &["--epochs", "2"]].concat();
    let alone = Client::local(1, &epochs).finish();
    assert_eq!(result(&Client::local(3, &epochs).finish()), result(&alone));
}

#[test]
fn a_result_is_in_the_targets_unit_beside_the_mean_and_whoever_attaches_sees_the_same() {
    let data = prices();
    let job = job(&data);
    let fleet = nodes(2, "0", &[]);
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let coordinator = Coordinator::of("2", &fleet, &["--state-dir", state.to_str().unwrap()]);
    let mut watched = Client::start(&coordinator, &job);
    let id = watched.await_accepted()["job"].as_str().unwrap().to_owned();
    let round = watched.await_round();
    let finished = watched.finish();
    let done = finished.done();
    // The deviation of these prices is some 27,000.
    let (r2, rmse) = (number(&done["validation_r2"]), number(&done["validation_rmse"]));
    assert!(r2 > 0.9 && rmse > 100.0 && rmse < 9_000.0, "{done}");
    assert!(number(&done["validation_mae"]) < rmse && number(&round["validation_rmse"]) > rmse, "{done}");
    let baseline = &done["baseline"];
    assert!(number(&baseline["validation_rmse"]) > 15_000.0 && number(&baseline["validation_r2"]) <= 0.0, "{baseline}");
    assert!((200_000.0..300_000.0).contains(&number(&baseline["mean"])), "{baseline}");
    assert_eq!((&done["target"], &done["beats_baseline"]), (&json!("price"), &json!(true)));

    let port = coordinator.port.to_string();
    let ask = |words: &[&str]| {
        let ended = client([&["127.0.0.1", &port], words].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let attached = Client::start(&coordinator, &["attach", &id]).finish();
    assert_eq!(result(&attached), result(&finished));
    let told: Value = serde_json::from_str(&ask(&["job", &id, "--json"])).unwrap();
    assert_eq!((&told["validation_rmse"], &told["baseline"]), (&done["validation_rmse"], baseline));
    let lines = ask(&["attach", &id]);
    for words in
        ["       r2       rmse        mae  nodes", "r2           0.9", "rmse         ", " of price", "always saying 2"]
    {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    let told = ask(&["job", &id]);
    for words in ["1 target (price)", "squared error", "r2           0.9", "baseline     rmse "] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(ask(&["verify", &id]).contains("every sum has the ledger's bits"));
    // 20 rounds of 480 rows by batches of 32.
    assert_eq!(ask(&["ledger", &id]).lines().count(), 1 + 300);
}

#[test]
fn a_model_of_numbers_is_saved_inspected_and_started_from() {
    let (prices, kinds) = (prices(), small_data());
    let directory = tempfile::tempdir().unwrap();
    let path = file_in(&directory, "model.safetensors");
    let out = path.to_str().unwrap();
    let job = [&job(&prices)[..], &["--scale", "standard"]].concat();
    let finished = Client::local(2, &[&job[..], &["--out", out]].concat()).finish();
    let done = finished.done();

    let told = client(["inspect", out, "--json"]);
    let told: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    assert_eq!(
        (&told["task"], &told["classes"], &told["network"]),
        (&json!("regress"), &Value::Null, &json!("3-24-1"))
    );
    assert_eq!((&told["fingerprint"], &told["fingerprint_is_of_weights"]), (&done["fingerprint"], &json!(true)));
    assert_eq!((&told["targets"][0]["name"], &told["features"][2]["name"]), (&json!("price"), &json!("noise")));
    assert_eq!(told["targets"][0]["mean"], done["baseline"]["mean"]);
    assert_eq!(told["job"]["validation_rmse"], number(&done["validation_rmse"]).to_string());
    let words = client(["inspect", out]);
    assert_eq!(words.code, Some(0), "{words:?}");
    let words = flat(&words.stdout).to_lowercase();
    for said in [
        "network 3-24-1, 121 parameters; relu",
        "task regress: 1 target",
        "target price: mean 2",
        "480 rows for training, 120 for validation",
        "weights those that the fingerprint names",
        "loss squared_error",
        "r2 0.9",
        "of price over 120 validation rows",
        "baseline rmse 2",
        "scale rooms 4.6",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }

    let further = Client::local(1, &[&job[..], &["--start-from", out]].concat()).finish();
    assert!(number(&further.done()["validation_rmse"]) < number(&done["validation_rmse"]), "{further:#?}");
    let other = client(["--local", "1", "--data", kinds.text(), "--hidden", "24", "--start-from", out]);
    assert!(other.code == Some(2) && other.stderr.contains("the model to start from is 3-24-1"), "{other:?}");
    let text = fs::read_to_string(prices.path()).unwrap().replacen("price", "rent", 1);
    let rents = Written::new("rents.csv", text);
    let other = client([&["--local", "1", "--start-from", out][..], &self::job(&rents)].concat());
    let said = "the model to start from fits price, and this job is to fit rent";
    assert!(other.code == Some(2) && other.stderr.contains(said), "{other:?}");
}

#[test]
fn a_model_whose_weights_were_changed_is_found_out() {
    let directory = tempfile::tempdir().unwrap();
    let [path, changed] = ["model", "changed"].map(|name| file_in(&directory, name));
    let data = small_data();
    let job = ["--data", data.text(), "--hidden", "4", "--rounds", "2", "--out", path.to_str().unwrap()];
    let finished = Client::local(1, &job).finish();
    let told = client(["inspect", path.to_str().unwrap()]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let accuracy = format!("accuracy {:.2} % of 48", 100.0 * number(&finished.done()["validation_accuracy"]));
    let fingerprint = format!("fingerprint {}", finished.fingerprint());
    for said in ["task classify: 3 classes", "classes ash, fir, oak", &accuracy, "baseline 33.33 % by", &fingerprint] {
        assert!(flat(&told.stdout).contains(said), "{said}: {told:?}");
    }

    let mut model = ModelFile::read(&path).unwrap();
    model.parameters[3] += 0.5;
    fs::write(&changed, model.to_bytes().unwrap()).unwrap();
    let told = client(["inspect", changed.to_str().unwrap()]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("NOT those that the fingerprint names"), "{told:?}");
    assert!(told.stderr.contains("it was changed after it was saved"), "{told:?}");
    let changed = changed.to_str().unwrap();
    for words in [
        &["predict", changed, data.text()][..],
        &["evaluate", changed, data.text()],
        &["export", changed, "--format", "json"],
    ] {
        let told = client(words.iter().copied());
        assert_eq!((told.code, told.stdout.as_str()), (Some(2), ""), "{told:?}");
        assert!(told.stderr.contains("it was changed after it was saved"), "{told:?}");
    }
    let absent = client(["inspect", file_in(&directory, "absent").to_str().unwrap()]);
    assert!(absent.code == Some(2) && absent.stderr.contains("there is no such file"), "{absent:?}");
}

#[test]
fn a_model_that_is_no_better_than_a_guess_says_so() {
    // Nothing follows from the feature, and a rate of almost nothing leaves the weights as they were drawn.
    let row = |row: u32| format!("{},{}\n", row * 7919 % 101, if row % 10 < 9 { "usual" } else { "rare" });
    let data = Written::new("coin.csv", (0..100).map(row).collect::<String>());
    let job = ["--local", "1", "--data", data.text(), "--rounds", "1", "--eta", "1e-9", "--hidden", "none"];
    let told = client([&job[..], &["--seed", "2"]].concat());
    let said =
        "baseline 90.00 % by always saying usual, the training rows' most frequent class; the model does not beat it";
    assert!(flat(&told.stdout).contains(said), "{told:?}");
    let said = "margin with 20 validation rows the accuracy is known to about \u{b1} 20.0 points";
    assert!(flat(&told.stdout).contains(said), "{told:?}");
    let row = |row: u32| format!("{}.5,{}\n", row * 37 % 100, row * 7919 % 101);
    let numbers = Written::new("noise.csv", (0..100).map(row).collect::<String>());
    let job = ["--local", "1", "--data", numbers.text(), "--task", "regress", "--rounds", "1", "--eta", "1e-9"];
    let job = [&job[..], &["--scale", "standard", "--validate-split", "0.2", "--seed", "2", "--quiet"]].concat();
    let told = client(job);
    assert!(flat(&told.stdout).contains("the training rows' mean; the model does not beat it"), "{told:?}");
}

#[test]
fn a_recipe_or_a_column_that_is_none_for_numbers_is_refused_with_the_cure() {
    let (prices, kinds) = (prices(), small_data());
    let refused = |data: &Written, rest: &[&str], words: &str| {
        let ended = client([&["--local", "1", "--task", "regress", "--data", data.text()], rest].concat());
        assert!(ended.code == Some(2) && ended.stderr.contains(words), "{words}: {ended:?}");
    };
    refused(&prices, &["--recipe", "classic"], "leave out --recipe classic");
    refused(&kinds, &[], "column 4 (\"sort\"): 240 of 240 rows have no number (\"ash\" in line 2");
    let ended = client(["--local", "1", "--task", "rank"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("a task is auto, classify or regress"), "{ended:?}");
}
