//! Jobs in which `node.py` takes part, or may not. Owns what a fleet of two languages promises.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::common::clients::{Client, Finished};
use crate::common::process::{PATIENCE, reserve_port};
use crate::common::servers::{Coordinator, Node, node_column, nodes};
use crate::common::tables::Written;
use crate::python::Python;

/// The default recipe in epochs, small: 36 tasks.
const DEFAULT: [&str; 10] = ["--rounds", "6", "--epochs", "3", "--shards", "6", "--hidden", "32", "--seed", "7"];
/// The older literature's recipe: 44 tasks.
const CLASSIC: [&str; 6] = ["--recipe", "classic", "--rounds", "4", "--seed", "7"];
/// So long does a delayed Rust node take for a task at least: no faster than Python, on any machine.
const DELAYED: [&str; 2] = ["--load-delay", "0.3"];
const INEXACT: &str = "--allow-inexact";

fn inexact<'a>(job: &[&'a str]) -> Vec<&'a str> {
    [job, &[INEXACT]].concat()
}

/// A coordinator of the nodes at these ports, once all are active.
fn coordinator_of(policy: &str, ports: &[u16]) -> Coordinator {
    let coordinator = Coordinator::start(policy, ports, &[]);
    ports.iter().for_each(|port| drop(coordinator.await_line(&format!("is active at 127.0.0.1:{port}"))));
    coordinator
}

/// Tasks of this node that were merged.
fn tasks_of(finished: &Finished, name: &str) -> u64 {
    finished.tasks().iter().find(|(other, _)| other == name).map_or(0, |(_, tasks)| *tasks)
}

/// The share of validation rows told rightly.
fn accuracy(finished: &Finished) -> f64 {
    1.0 - finished.done()["validation_error"].as_f64().unwrap()
}

fn loss(finished: &Finished) -> f64 {
    finished.done()["loss"].as_f64().unwrap()
}

/// What a coordinator's metrics say of this name.
fn metric(coordinator: &Coordinator, name: &str) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", coordinator.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find(|line| line.starts_with(name) && line[name.len()..].starts_with(' '));
    line.unwrap_or_else(|| panic!("no {name} in\n{answer}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn an_ordinary_job_gives_it_no_work_though_it_is_active() {
    let Some(python) = Python::start(&[]) else { return };
    let rust = Node::named("rust");
    let coordinator = coordinator_of("1", &[rust.port, python.address.port()]);
    let finished = Client::start(&coordinator, &CLASSIC).finish();
    assert_eq!(finished.fingerprint(), Client::local(1, &CLASSIC).finish().fingerprint());
    assert_eq!(finished.done()["reproducible"], true);
    assert_eq!((tasks_of(&finished, "python"), tasks_of(&finished, "rust")), (0, 44));
    let status = coordinator.status();
    assert_eq!(node_column(&status, "python", "STATE").as_deref(), Some("active"), "{status}");
    assert_eq!(node_column(&status, "python", "DONE").as_deref(), Some("0"), "{status}");
}

#[test]
fn beside_two_rust_nodes_it_does_its_part_of_an_inexact_job_and_the_model_is_as_good() {
    let Some(python) = Python::start(&[]) else { return };
    let rust = nodes(2, "1", &DELAYED);
    let coordinator = coordinator_of("1", &[rust[0].port, rust[1].port, python.address.port()]);
    let mixed = Client::start(&coordinator, &inexact(&DEFAULT)).finish();
    for name in ["node-1", "node-2", "python"] {
        assert!(tasks_of(&mixed, name) > 0, "{name}: {:?}", mixed.tasks());
    }
    assert_eq!(mixed.done()["reproducible"], false);
    assert_eq!(mixed.done()["tasks"]["merged"], 36);
    let pure = Client::local(2, &DEFAULT).finish();
    let difference = (accuracy(&mixed) - accuracy(&pure)).abs();
    assert!(difference < 0.01, "{} of the mixed fleet, {} of the pure one", accuracy(&mixed), accuracy(&pure));
}

#[test]
fn alone_it_does_a_classic_job_as_a_rust_node_does() {
    let Some(python) = Python::start(&[]) else { return };
    let coordinator = coordinator_of("2", &[python.address.port()]);
    let theirs = Client::start(&coordinator, &inexact(&CLASSIC)).finish();
    assert_eq!((tasks_of(&theirs, "python"), &theirs.done()["reproducible"]), (44, &false.into()));
    let ours = Client::local(1, &CLASSIC).finish();
    // Full batches in their order: rounding is all that differs.
    let difference = (loss(&theirs) - loss(&ours)).abs() / loss(&ours);
    assert!(difference < 1e-4, "losses {} and {}", loss(&theirs), loss(&ours));
    let difference = (accuracy(&theirs) - accuracy(&ours)).abs();
    assert!(difference < 0.005, "accuracies {} and {}", accuracy(&theirs), accuracy(&ours));
}

#[test]
fn alone_it_makes_of_indices_what_a_rust_node_makes_of_them() {
    let Some(python) = Python::start(&[]) else { return };
    // Categories in bytes, and so many in another that an index takes two.
    for names in [7, 300] {
        let row = |row: usize| {
            let (bark, place) = (["rough", "smooth", "flaky", ""][row * 7 % 11 % 4], row * 31 % names);
            let girth = (row * 13 % 97) as f64 / 40.0 - 1.2;
            let sort = if girth + (place % 3) as f64 + bark.len() as f64 / 4.0 > 2.0 { "ash" } else { "oak" };
            format!("{girth},{bark},place {place},{sort}\n")
        };
        let data =
            Written::new("trees.csv", "girth,bark,place,sort\n".to_owned() + &(0..1_500).map(row).collect::<String>());
        let job = [&CLASSIC[..], &["--data", data.text(), "--rare", "1"]].concat();
        let coordinator = coordinator_of("2", &[python.address.port()]);
        let theirs = Client::start(&coordinator, &inexact(&job)).finish();
        assert_eq!(tasks_of(&theirs, "python"), 44);
        let ours = Client::local(1, &job).finish();
        let difference = (loss(&theirs) - loss(&ours)).abs() / loss(&ours);
        assert!(difference < 1e-4, "{names} names: losses {} and {}", loss(&theirs), loss(&ours));
    }
}

#[test]
fn beside_a_rust_node_it_does_its_part_of_a_job_that_merges_gradients() {
    let Some(python) = Python::start(&[]) else { return };
    let rust = nodes(1, "1", &DELAYED);
    let coordinator = coordinator_of("1", &[rust[0].port, python.address.port()]);
    let steps = ["--local-steps", "1", "--rounds", "2", "--round-steps", "6", "--hidden", "32"];
    for merge in [&["--tasks-per-step", "4"][..], &["--merge", "median"]] {
        let job = [&steps[..], merge].concat();
        let mixed = Client::start(&coordinator, &inexact(&job)).finish();
        for name in ["node-1", "python"] {
            assert!(tasks_of(&mixed, name) > 0, "{name}: {:?}", mixed.tasks());
        }
        assert_eq!((&mixed.done()["reproducible"], &mixed.done()["tasks"]["skipped"]), (&false.into(), &0.into()));
        let pure = Client::local(2, &job).finish();
        // Python takes the rows of a block in an order of its own: after so few steps losses differ by one or two in a hundred.
        let difference = (loss(&mixed) - loss(&pure)).abs() / loss(&pure);
        assert!(difference < 0.06, "losses {} of the mixed fleet and {} of the pure one", loss(&mixed), loss(&pure));
    }
}

#[test]
fn a_node_that_turns_down_half_of_its_tasks_gets_them_done_all_the_same() {
    let Some(python) = Python::start(&["--reject", "0.5"]) else { return };
    let coordinator = coordinator_of("2", &[python.address.port()]);
    let finished = Client::start(&coordinator, &inexact(&CLASSIC)).finish();
    assert_eq!((tasks_of(&finished, "python"), &finished.done()["tasks"]["skipped"]), (44, &0.into()));
    // Each of 44 tasks was offered first: that all were taken has a chance of 2^-44.
    assert!(metric(&coordinator, "gradwire_tasks_rejected_total") > 0.0);
}

#[test]
fn what_takes_too_long_at_it_is_done_elsewhere_and_cancelled() {
    let Some(python) = Python::start(&["--delay", "3600"]) else { return };
    let rust = nodes(2, "0", &[]);
    let coordinator = coordinator_of("1", &[rust[0].port, rust[1].port, python.address.port()]);
    let finished = Client::start(&coordinator, &inexact(&["--recipe", "classic", "--rounds", "1"])).finish();
    assert_eq!((tasks_of(&finished, "python"), &finished.done()["tasks"]["merged"]), (0, &11.into()));
    python.await_line("CANCELLED");
}

#[test]
fn it_works_for_the_next_coordinator_after_one_that_was_killed() {
    let Some(python) = Python::start(&["--delay", "0.05"]) else { return };
    let port = python.address.port();
    let first = coordinator_of("2", &[port]);
    let mut interrupted = Client::start(&first, &inexact(&CLASSIC));
    interrupted.await_round();
    // Killed, in the middle of the job.
    drop(first);
    let second = coordinator_of("2", &[port]);
    let finished = Client::start(&second, &inexact(&CLASSIC)).finish();
    assert_eq!(tasks_of(&finished, "python"), 44);
}

#[test]
fn killed_in_a_job_and_started_again_it_has_work_again() {
    let port = reserve_port();
    let Some(mut first) = Python::start_at(port, &[]) else { return };
    let rust = nodes(1, "1", &DELAYED);
    let coordinator = coordinator_of("1", &[rust[0].port, port]);
    let long = inexact(&["--recipe", "classic", "--rounds", "1000"]);
    let mut client = Client::start(&coordinator, &long);
    first.await_line("trained");
    first.kill();
    client.await_notice("node python is lost");
    let Some(second) = Python::start_at(port, &[]) else { return };
    client.await_notice("node python joins");
    second.await_line("trained");
}
