//! Browsers, scrapers and web pages on both servers' ports: one answer each, and never the console.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use crate::common::cluster::{Cluster, to_both_servers};
use crate::common::process::{PATIENCE, typed};
use crate::common::skip;

/// What a request gets: the status line, the rest of the head, and the body.
fn get(address: SocketAddr, request: &[u8]) -> (String, String, String) {
    let answer = typed(address, request);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
    let (status, head) = head.split_once("\r\n").unwrap();
    assert!(
        head.ends_with("Connection: close") && head.contains("nosniff") && !head.contains("Allow-Origin"),
        "{head}"
    );
    (status.to_owned(), head.to_owned(), body.to_owned())
}

#[test]
fn the_status_and_the_metrics_are_served_and_the_connection_closes() {
    to_both_servers(|address| {
        let (status, head, body) = get(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(head.contains("Content-Type: text/plain"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("\nNODE "), "{body}");
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n");
        let (status, head, body) = get(address, request.as_bytes());
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
        assert!(body.starts_with("# HELP gradwire_build_info "), "{body}");
        let (_, head, body) = get(address, b"HEAD /metrics HTTP/1.0\n\n");
        assert!(!head.contains("Content-Length: 0") && body.is_empty());
    });
}

#[test]
fn a_request_never_reaches_the_console() {
    to_both_servers(|address| {
        let requests: [(&[u8], &str); 8] = [
            (b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\nstatus\r\nstatus\r\n", "404"),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\nstatus\nstatus\n", "405"),
            (b"POST / HTTP/1.1\r\nContent-Length: 14\r\n\r\nstatus\nstatus\n", "400"),
            (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
            (b"GET / HTTP/1.1\r\nstatus\r\n\r\n", "400"),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n", "400"),
            (b"GET / status\n", "400"),
            (b"status\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\nstatus\n", "421"),
        ];
        for (request, code) in requests {
            let answer = typed(address, request);
            let lines: Vec<_> = answer.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
            assert_eq!(lines.len(), 1, "{answer}");
            assert!(lines[0].starts_with(&format!("HTTP/1.1 {code} ")), "{answer}");
            let behind = answer.split("\r\n\r\n").nth(1).unwrap();
            assert_eq!(behind.lines().count(), 1, "one sentence: {behind}");
        }
        let long = [b"GET /", &[b'a'; 20_000][..], b" HTTP/1.1\r\n\r\n"].concat();
        assert!(typed(address, &long).starts_with("HTTP/1.1 431 "));
    });
}

#[test]
fn a_name_is_answered_once_it_is_configured() {
    let cluster = Cluster::with_http_host("box.example");
    let request = b"GET /metrics HTTP/1.1\r\nHost: Box.Example:80\r\n\r\n";
    assert!(typed(cluster.node.address, request).starts_with("HTTP/1.1 200 OK"));
    assert!(
        typed(cluster.coordinator.address, request).starts_with("HTTP/1.1 421 "),
        "only the node was told its name"
    );
}

#[test]
fn a_browser_that_keeps_its_half_open_is_answered_all_the_same() {
    to_both_servers(|address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    });
}

#[test]
fn a_browser_gets_a_page_of_the_coordinator_and_nothing_that_it_sends_changes_anything() {
    let cluster = Cluster::new();
    cluster.assert_is_well();
    let ask = |address, line: &str| {
        let browser = "Host: localhost\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
        get(address, format!("{line} HTTP/1.1\r\n{browser}\r\n").as_bytes())
    };
    let console = typed(cluster.coordinator.address, b"status\n");
    let (status, head, body) = ask(cluster.coordinator.address, "GET /");
    assert!(status == "HTTP/1.1 200 OK" && head.contains("Content-Type: text/html; charset=utf-8"), "{head}");
    assert!(body.starts_with("<!DOCTYPE html>") && body.ends_with("</html>\n"), "{body}");
    assert!(!body.contains("<script") && !body.contains("<form") && !body.contains("http://"), "{body}");
    for word in
        console.lines().flat_map(str::split_whitespace).filter(|word| word.contains("honest") || word.len() == 32)
    {
        assert!(body.contains(word), "{word} is not in\n{body}");
    }
    let (_, head, body) = ask(cluster.coordinator.address, "HEAD /?reload=1");
    assert!(head.contains("text/html") && body.is_empty());
    for (line, code) in [("POST /", "405"), ("GET /jobs", "404"), ("DELETE /", "405"), ("GET //", "404")] {
        let (status, head, body) = ask(cluster.coordinator.address, line);
        assert!(status.starts_with(&format!("HTTP/1.1 {code} ")) && head.contains("text/plain"), "{line}: {status}");
        assert_eq!(body.lines().count(), 1, "{line}: one sentence");
    }
    // A node has no such page.
    let (_, head, _) = ask(cluster.node.address, "GET /");
    assert!(head.contains("Content-Type: text/plain"), "{head}");
    assert_eq!(typed(cluster.coordinator.address, b"jobs\n"), jobs_of(&console));
}

/// The console's list of jobs, as `status` ends with it.
fn jobs_of(status: &str) -> String {
    let at = status.find("\nJOB ").unwrap();
    status[at + 1..].to_owned()
}

/// Reads an exposition and prints every sample; a family that does not keep the conventions is an error.
const PARSE: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.type in ('counter', 'gauge') and family.documentation, family
    for sample in family.samples:
        assert (family.type == 'counter') == sample.name.endswith('_total'), sample
        print(sample.name, sorted(sample.labels.items()), float(sample.value))
";

#[test]
fn prometheus_own_parser_reads_the_metrics() {
    let has_client = Command::new("python3").args(["-c", "import prometheus_client"]).stderr(Stdio::null()).status();
    if !has_client.is_ok_and(|status| status.success()) {
        return skip("there is no Python 3 with prometheus_client");
    }
    let cluster = Cluster::new();
    cluster.assert_is_well();
    for (address, wanted) in [
        (cluster.coordinator.address, "gradwire_jobs_ended_total [('outcome', 'done')] 1.0"),
        (cluster.node.address, "gradwire_tasks [('state', 'running')] 0.0"),
    ] {
        let (_, _, body) = get(address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut parser =
            Command::new("python3").args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        parser.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
        let parsed = parser.wait_with_output().unwrap();
        assert!(parsed.status.success(), "{body}");
        let samples = String::from_utf8(parsed.stdout).unwrap();
        assert_eq!(samples.lines().count(), body.lines().filter(|line| !line.starts_with('#')).count());
        assert!(samples.lines().any(|line| line == wanted), "{wanted} is not in\n{samples}");
    }
}
