//! People with netcat on both servers' ports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use gradwire::wire::{limits, text};

use crate::common::cluster::{Cluster, to_both_servers};
use crate::common::process::{PATIENCE, typed};

fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

#[test]
fn a_line_is_answered_in_any_case_and_with_any_line_end() {
    let cluster = Cluster::new();
    for line in ["status\n", "status\r\n", "STATUS\n", "  Status \n", "status"] {
        assert!(typed(cluster.node.address, line.as_bytes()).starts_with("compute_node"), "{line:?}");
        assert!(typed(cluster.coordinator.address, line.as_bytes()).starts_with("coordinator_node"), "{line:?}");
    }
    assert_eq!(typed(cluster.node.address, b"\n\nhelp\nquit\nstatus\n"), text::HELP, "nothing is answered after quit");
    cluster.assert_is_well();
}

#[test]
fn an_unknown_line_gets_a_hint_and_the_connection_closes() {
    to_both_servers(|address| {
        assert_eq!(typed(address, b"rm -rf /\nstatus\n"), text::UNKNOWN);
        assert_eq!(typed(address, b"s\xC3\x28\nstatus\n"), text::UNKNOWN);
        assert_eq!(typed(address, b"job ../../etc\nstatus\n"), text::NO_JOB_ID);
    });
}

#[test]
fn a_line_of_300_bytes_is_refused_with_or_without_its_end() {
    to_both_servers(|address| {
        assert_eq!(typed(address, &[b'a'; 300]), text::LINE_TOO_LONG);
        assert_eq!(typed(address, &[&[b' '; 300][..], b"\nstatus\n"].concat()), text::LINE_TOO_LONG);
        let fits = [&[b' '; limits::TEXT_LINE_BYTES_MAX - 4][..], b"help\nquit\n"].concat();
        assert_eq!(typed(address, &fits), text::HELP);
    });
}

#[test]
fn every_command_is_answered_and_the_connection_stays() {
    to_both_servers(|address| {
        let mut stream = dial(address);
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        for (command, first) in [
            ("status", "co"),
            ("nodes", "NODE "),
            ("jobs", "JOB "),
            ("job 0", "no job "),
            ("limits", "LIMIT "),
            ("version", "program "),
            ("help", "status "),
        ] {
            // What lies between the answer's first line and the pong is the rest of it.
            writeln!(stream, "{command}\nping").unwrap();
            let line = lines.next().unwrap();
            assert!(line.starts_with(first), "{command}: {line}");
            assert!(lines.by_ref().any(|line| line == "pong"), "{command}");
        }
        writeln!(stream, "quit").unwrap();
        assert_eq!(lines.next(), None);
    });
}

#[test]
fn tables_have_as_many_words_in_each_line_as_titles() {
    let cluster = Cluster::new();
    cluster.assert_is_well();
    for (address, commands) in
        [(cluster.coordinator.address, ["nodes"].as_slice()), (cluster.node.address, &["nodes", "jobs"])]
    {
        for command in commands {
            let text = typed(address, command.as_bytes());
            let words: Vec<usize> = text.lines().map(|line| line.split_whitespace().count()).collect();
            assert!(words.len() > 1 && words.iter().all(|&count| count == words[0]), "{command}:\n{text}");
        }
    }
}

#[test]
fn a_job_is_found_by_the_beginning_of_its_id_on_both_servers() {
    let cluster = Cluster::new();
    cluster.assert_is_well();
    let jobs = typed(cluster.coordinator.address, b"jobs\n");
    let id = jobs.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert_eq!(id.len(), 32);
    for length in [1, 7, 32] {
        let command = format!("JOB {}\n", id[..length].to_uppercase());
        let job = typed(cluster.coordinator.address, command.as_bytes());
        assert!(job.starts_with(&format!("job           {id}\nstate         done\n")), "{job}");
        assert!(job.contains("\nreproducible  true\n") && job.contains("\nhonest "), "{job}");
        let job = typed(cluster.node.address, command.as_bytes());
        assert!(job.starts_with(&format!("job   {id}\ndone  ")), "{job}");
    }
}

#[test]
fn who_watches_hears_of_a_job_from_beginning_to_end_and_may_go_on_typing() {
    let cluster = Cluster::new();
    let watch = |address| {
        let mut stream = dial(address);
        // What is typed behind `watch` is answered once watching has begun.
        stream.write_all(b"watch\nping\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        // Something may have happened meanwhile.
        assert!(lines.any(|line| line == "pong"));
        (stream, lines)
    };
    let (_keeps_it_open, mut coordinator) = watch(cluster.coordinator.address);
    let (mut typing, mut node) = watch(cluster.node.address);
    // Somebody who half-closes, as `nc -N` does, watches all the same.
    let (half_closed, mut third) = watch(cluster.coordinator.address);
    half_closed.shutdown(Shutdown::Write).unwrap();
    cluster.assert_is_well();
    for lines in [&mut coordinator, &mut third] {
        for happening in
            [" client ", "is queued", "starts", "at honest: trained in", "round 1 of", "is done: fingerprint"]
        {
            let line = lines.by_ref().find(|line| line.contains(happening)).unwrap();
            let time = line.split_whitespace().next().unwrap();
            assert!(time.len() == "2000-01-01T00:00:00.000Z".len() && time.ends_with('Z'), "{line}");
        }
    }
    assert!(node.any(|line| line.contains("  task  ") && line.contains("task 0, attempt 1: trained in")));
    typing.write_all(b"quit\n").unwrap();
    node.for_each(drop);
}

#[test]
fn a_peer_that_breaks_a_rule_is_seen_by_who_watches_and_counted() {
    to_both_servers(|address| {
        let mut stream = dial(address);
        stream.write_all(b"watch\nping\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.any(|line| line == "pong"));
        let mut wrong = dial(address);
        wrong.write_all(b"\xF5\x47\x52\x58").unwrap();
        wrong.read_to_end(&mut Vec::new()).unwrap();
        let peer = wrong.local_addr().unwrap().to_string();
        assert!(lines.any(|line| line.contains(&peer) && line.contains("refused: ") && line.ends_with("(MAGIC)")));
        let metrics = typed(address, b"GET /metrics HTTP/1.0\n\n");
        assert!(metrics.contains("\ngradwire_connections_refused_total{code=\"MAGIC\"} 1\n"), "{metrics}");
    });
}
