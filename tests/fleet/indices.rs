//! A table's categories travel as indices, and train what the zeros and ones train that they stand for.

use std::fmt::Write as _;

use gradwire::model::file::ModelFile;
use tempfile::tempdir;

use crate::common::clients::{Client, Finished};
use crate::common::servers::{Coordinator, nodes};
use crate::common::tables::{Written, file_in};

const COLORS: [&str; 4] = ["blue", "green", "red", ""];
const SIZES: [&str; 3] = ["large", "medium", "small"];

/// The same rows twice: with two columns of categories, and with a column of 0 and 1 for each of them.
fn tables() -> [Written; 2] {
    let mut names = String::from("weight,color,height,size,sort\n");
    let mut ones = String::from("weight,blue,green,red,none,height,large,medium,small,sort\n");
    for row in 0..400usize {
        let (color, size) = (row * 7 % 11 % 4, row * 5 % 13 % 3);
        let [weight, height] = [13, 29].map(|step| (row * step % 97) as f64 / 40.0 - 1.2);
        let sort = if weight + height * (color as f64 - 1.5) + size as f64 > 1.0 { "ash" } else { "oak" };
        let one = |place: usize, count: usize| {
            (0..count).map(|input| if input == place { "1" } else { "0" }).collect::<Vec<_>>().join(",")
        };
        writeln!(names, "{weight},{},{height},{},{sort}", COLORS[color], SIZES[size]).unwrap();
        writeln!(ones, "{weight},{},{height},{},{sort}", one(color, 4), one(size, 3)).unwrap();
    }
    [Written::new("names.csv", names), Written::new("ones.csv", ones)]
}

/// The bits of the model that a job comes to, and what is told of its rounds.
fn trained(train: impl FnOnce(&[&str]) -> Finished, options: &[&str], data: &Written) -> (Vec<u32>, Vec<String>) {
    let directory = tempdir().unwrap();
    let out = file_in(&directory, "out.model");
    let finished = train(
        &[&["--data", data.text(), "--scale", "none", "--rare", "1", "--out", out.to_str().unwrap()], options].concat(),
    );
    finished.done();
    let told = |round: &&serde_json::Value| round["event"] == "round";
    let losses =
        finished.events.iter().filter(told).map(|round| format!("{} {}", round["loss"], round["validation_loss"]));
    let model = ModelFile::read(&out).unwrap();
    assert_eq!(model.network.inputs(), 9);
    (model.parameters.iter().map(|value| value.to_bits()).collect(), losses.collect())
}

#[test]
fn categories_train_the_same_bits_as_their_zeros_and_ones_with_any_kernel() {
    let [names, ones] = tables();
    for options in [
        &["--rounds", "3", "--hidden", "24"][..],
        &["--rounds", "2", "--epochs", "2", "--hidden", "17", "--batch", "50"],
        &["--rounds", "2", "--recipe", "classic"],
    ] {
        let mut all = Vec::new();
        for data in [&names, &ones] {
            for kernel in ["auto", "portable"] {
                let options = [options, &["--kernel", kernel]].concat();
                all.push(trained(|options| Client::local(2, options).finish(), &options, data));
            }
        }
        assert!(!all[0].1.is_empty());
        for other in &all[1..] {
            assert!(*other == all[0], "{options:?}: {:?} and {:?}", other.1, all[0].1);
        }
    }
}

#[test]
fn a_fleet_trains_categories_and_whoever_recomputes_the_job_finds_the_same() {
    let [names, ones] = tables();
    let fleet = nodes(2, "0", &[]);
    let directory = tempdir().unwrap();
    let state = file_in(&directory, "state");
    let coordinator = Coordinator::of("2", &fleet, &["--state-dir", state.to_str().unwrap()]);
    let mut jobs = Vec::new();
    let mut train = |options: &[&str]| {
        let finished = Client::start(&coordinator, options).finish();
        jobs.push(finished.done()["job"].as_str().unwrap().to_owned());
        finished
    };
    let options = ["--rounds", "4", "--hidden", "12"];
    let [told, wanted] = [&names, &ones].map(|data| trained(&mut train, &options, data));
    assert!(told == wanted);
    for job in jobs {
        let verified = Client::start(&coordinator, &["verify", &job]).finish();
        assert_eq!((verified.exit, &verified.events[0]["agrees"]), (Some(0), &true.into()), "{verified:#?}");
    }
}
