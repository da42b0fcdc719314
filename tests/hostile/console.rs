//! People with netcat, and web browsers, on both servers' ports.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use gradwire::wire::{limits, text};

use crate::programs::{House, PATIENCE, to_both_servers, typed};

#[test]
fn a_line_is_answered_in_any_case_and_with_any_line_end() {
    let house = House::new();
    for line in ["status\n", "status\r\n", "STATUS\n", "  Status \n", "status"] {
        assert!(typed(house.node.address, line.as_bytes()).starts_with("compute_node"), "{line:?}");
        assert!(typed(house.coordinator.address, line.as_bytes()).starts_with("coordinator_node"), "{line:?}");
    }
    assert_eq!(typed(house.node.address, b"\n\nhelp\nquit\nstatus\n"), text::HELP, "nothing is answered after quit");
    house.assert_is_well();
}

#[test]
fn an_unknown_line_gets_a_hint_and_the_connection_closes() {
    to_both_servers(|address| {
        assert_eq!(typed(address, b"rm -rf /\nstatus\n"), text::UNKNOWN);
        assert_eq!(typed(address, b"s\xC3\x28\nstatus\n"), text::UNKNOWN);
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
fn an_http_request_gets_one_answer_and_never_reaches_the_console() {
    to_both_servers(|address| {
        let requests: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\nstatus\r\nstatus\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 14\r\n\r\nstatus\nstatus\n",
            b"HEAD / HTTP/1.0\n\n",
            b"GET / HTTP/1.1\r\nstatus\r\n",
        ];
        for request in requests {
            assert_eq!(typed(address, request), text::HTTP_ANSWER);
        }
        let long = [b"GET /", &[b'a'; 20_000][..], b" HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(typed(address, &long), text::HTTP_ANSWER);
    });
}

#[test]
fn a_browser_that_keeps_its_half_open_is_answered_all_the_same() {
    to_both_servers(|address| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, text::HTTP_ANSWER);
    });
}
