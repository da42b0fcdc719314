//! What a doctor says of nodes that are dead, silent or compute otherwise, and of a directory that cannot be written.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use gradwire::wire::message::{Doctor, Finding};
use gradwire::wire::{ErrorCode, Message, Role};
use serde_json::Value;

use crate::common::clients::client;
use crate::common::peer::Peer;
use crate::common::process::{PATIENCE, reserve_port};
use crate::common::servers::{Coordinator, Node};
use crate::common::tables::file_in;
use crate::lying_node::{Lie, LyingNode};

/// What the client says of a coordinator: its exit code, and a finding a line.
fn examined(coordinator: &Coordinator) -> (Option<i32>, Vec<Value>) {
    let ended = client(["127.0.0.1", &coordinator.port.to_string(), "doctor", "--json"]);
    let findings = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (ended.code, findings)
}

/// What mends this one; empty where nothing is to be mended.
fn cure<'a>(findings: &'a [Value], subject: &str) -> &'a str {
    let finding = findings.iter().find(|finding| finding["subject"] == subject);
    let finding = finding.unwrap_or_else(|| panic!("no {subject} in {findings:#?}"));
    assert_eq!(finding["is_well"], finding["cure"].is_null());
    finding["cure"].as_str().unwrap_or_default()
}

#[test]
fn a_doctor_tells_the_dead_from_those_that_compute_otherwise_and_of_a_directory_that_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let state = file_in(&directory, "state");
    let (honest, liar, dead) = (Node::named("honest"), LyingNode::start(Lie::OtherVector), reserve_port());
    let ports = [honest.port, liar.address.port(), dead];
    let coordinator = Coordinator::start("2", &ports, &["--state-dir", state.to_str().unwrap()]);
    coordinator.await_in_status("2 of 3 active");
    let [honest, liar, dead] = ports.map(|port| format!("127.0.0.1:{port}"));

    let (code, findings) = examined(&coordinator);
    assert_eq!((code, findings.len()), (Some(1), 4), "{findings:#?}");
    assert_eq!(cure(&findings, &honest), "");
    // A disk that has others to serve is told of, too.
    let of_coordinator = cure(&findings, "coordinator");
    assert!(of_coordinator.is_empty() || of_coordinator.starts_with("the disk took"), "{of_coordinator}");
    assert!(
        cure(&findings, &liar).contains("it computes arithmetic 2 otherwise than this coordinator"),
        "{findings:#?}"
    );
    assert!(cure(&findings, &dead).contains(&format!("nothing listens at {dead}")), "{findings:#?}");
    let facts = |subject: &str| &findings.iter().find(|finding| finding["subject"] == subject).unwrap()["facts"];
    assert!(facts("coordinator")["sync_ms"].as_f64().is_some_and(|took| took > 0.0), "{findings:#?}");
    assert!(facts(&honest)["round_trip_ms"].as_f64().is_some_and(|took| took > 0.0), "{findings:#?}");
    assert!(facts(&honest)["memory_mib"].as_u64().is_some_and(|mib| mib > 0), "{findings:#?}");
    assert_eq!((&facts(&honest)["bits"], &facts(&liar)["bits"]), (&"proven".into(), &"differs".into()));
    assert_ne!(facts(&honest)["arithmetic_digest"], facts(&liar)["arithmetic_digest"]);

    std::fs::remove_dir_all(&state).unwrap();
    let (code, findings) = examined(&coordinator);
    let told = cure(&findings, "coordinator");
    assert!(code == Some(1) && told.contains("no job can be written") && told.contains("--state-dir"), "{told}");
}

#[test]
fn what_has_taken_a_nodes_port_is_told_of_once_and_with_the_cure() {
    let mut node = Node::named("node");
    let coordinator = Coordinator::with_all_active(&[node.port], &[]);
    node.kill();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, node.port)).unwrap();
    let (answered, answers) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            if answered.send(()).is_err() {
                return;
            }
        }
    });
    let told = coordinator.await_line("another program has the port");
    assert!(
        told.contains("warn: node 127.0.0.1:") && told.contains(&format!("compute_node {} 0", node.port)),
        "{told}"
    );
    // It is dialled again and again.
    (0..3).for_each(|_| answers.recv_timeout(PATIENCE).unwrap());
    let (code, findings) = examined(&coordinator);
    assert!(code == Some(1) && cure(&findings, &node.address.to_string()).contains("another program has the port"));
    let (_, said) = coordinator.stop();
    assert_eq!(said.matches("another program has the port").count(), 1, "{said}");
}

#[test]
fn all_is_well_where_it_is() {
    let node = Node::named("well");
    let coordinator = Coordinator::with_all_active(&[node.port], &[]);
    let ended = client(["127.0.0.1", &coordinator.port.to_string(), "doctor"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("all is well: the coordinator and 1 node"), "{ended:?}");
    assert!(ended.stdout.lines().all(|line| line.chars().count() <= 80), "{ended:?}");
    for command in ["doctor", "jobs"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let line = ["127.0.0.1", &coordinator.port.to_string(), command, "--json"].map(str::to_owned);
        let unread =
            std::process::Command::new(env!("CARGO_BIN_EXE_client")).args(line).stdout(writer).output().unwrap();
        // No jobs are no line.
        assert_eq!(unread.status.code(), Some(if command == "doctor" { 4 } else { 0 }), "{unread:?}");
    }
}

#[test]
fn one_doctor_is_answered_at_a_time_and_a_node_that_is_silent_is_told() {
    let node = Node::named("silent");
    let coordinator = Coordinator::with_all_active(&[node.port], &[]);
    node.freeze();
    let mut peer = Peer::greeted(coordinator.address, Role::Client);
    peer.stream().set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    peer.send(Doctor, 1);
    peer.send(Doctor, 3);
    let busy = peer.expect_error(3, ErrorCode::Busy);
    assert!(busy.retry, "{busy}");
    let mut findings: Vec<Finding> = Vec::new();
    loop {
        let frame = peer.receive();
        match frame.message() {
            Message::Finding(finding) => findings.push(finding),
            Message::Listed(listed) => {
                assert_eq!(listed.jobs as usize, findings.len());
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    node.thaw();
    let of_node = findings.iter().find(|finding| finding.subject != "coordinator").unwrap();
    assert!(of_node.cure.contains("left a PING unanswered"), "{findings:?}");
}
