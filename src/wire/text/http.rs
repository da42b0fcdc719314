//! As much of HTTP/1 (RFC 9112) as a browser or a scraper needs to be given one page: a request's head is parsed, one
//! answer is made, the connection closes. A head never reaches the console.
//!
//! A web page can make its visitor's browser send requests to any address. That is why nothing but reading is offered, why
//! no answer may be read across origins, and why a `Host` that is a foreign name is refused: a name that was made to
//! point here after the page was loaded would make this port part of that page's origin.

use std::fmt::{self, Write as _};

use super::metrics;

/// First words of requests.
const METHODS: [&[u8]; 9] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// What can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/`: what the console's `status` says.
    Status,
    /// `/metrics`, for Prometheus.
    Metrics,
}

/// A request for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The page.
    pub page: Page,
    /// HEAD: the answer's head alone is wanted.
    pub head_only: bool,
    /// Whether the asker shows HTML, as a browser says of itself.
    pub shows_html: bool,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head is not what RFC 9112 says, or not HTTP/1.
    Malformed,
    /// The head is longer than is allowed, or did not end in time.
    HeadTooLong,
    /// Another method than GET and HEAD.
    Method,
    /// `Host` is a name that is not known to be ours.
    Host,
    /// No such page.
    NotFound,
}

impl Refusal {
    fn status(self) -> &'static str {
        match self {
            Refusal::Malformed => "400 Bad Request",
            Refusal::HeadTooLong => "431 Request Header Fields Too Large",
            Refusal::Method => "405 Method Not Allowed\r\nAllow: GET, HEAD",
            Refusal::Host => "421 Misdirected Request",
            Refusal::NotFound => "404 Not Found",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Malformed => "this is not a request of HTTP/1.0 or HTTP/1.1",
            Refusal::HeadTooLong => "the head of a request has at most 8192 bytes, and arrives within 2 seconds",
            Refusal::Method => "this port is read-only: GET and HEAD are answered",
            Refusal::Host => {
                "this port is not served under that name: use its address or localhost, or start it with --http-host"
            }
            Refusal::NotFound => "there are / (the status) and /metrics (for Prometheus)",
        })
    }
}

/// Whether a line begins as a request does: with a method in capitals and a space. No command does.
pub fn is_request(line: &[u8]) -> bool {
    METHODS.iter().any(|method| line.strip_prefix(*method).is_some_and(|rest| rest.first() == Some(&b' ')))
}

/// Where a request's head ends: behind its empty line, if that is there.
pub fn head_bytes(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(length) = bytes[start..].iter().position(|&byte| byte == b'\n') {
        let line = &bytes[start..start + length];
        start += length + 1;
        if line.is_empty() || line == b"\r" {
            return Some(start);
        }
    }
    None
}

/// What a whole head asks for. `hosts` are the names, besides `localhost`, that this port is served under.
pub fn parse(head: &[u8], hosts: &[String]) -> Result<Request, Refusal> {
    let head = std::str::from_utf8(head).map_err(|_| Refusal::Malformed)?;
    let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Refusal::Malformed);
    };
    let Fields { host, shows_html } = fields(lines)?;
    match (version, host) {
        // "A server MUST respond with a 400 status code to any HTTP/1.1 request message that lacks a Host header field."
        ("HTTP/1.1", Some(_)) | ("HTTP/1.0", _) => {}
        _ => return Err(Refusal::Malformed),
    }
    if host.is_some_and(|host| !is_ours(host, hosts)) {
        return Err(Refusal::Host);
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Refusal::Method),
    };
    // A scraper may add a query; nothing here depends on one.
    let page = match target.split('?').next() {
        Some("/") => Page::Status,
        Some("/metrics") => Page::Metrics,
        _ => return Err(Refusal::NotFound),
    };
    Ok(Request { page, head_only, shows_html })
}

/// What matters of a head's fields.
struct Fields<'a> {
    /// The value of `Host`; there may be one.
    host: Option<&'a str>,
    /// Whether an `Accept` names `text/html`.
    shows_html: bool,
}

fn fields<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Fields<'a>, Refusal> {
    let (mut host, mut shows_html) = (None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(Refusal::Malformed)?;
        // A space here is how one reader is made to see another field than the next one (RFC 9112, 5.1 and 5.2).
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Refusal::Malformed);
        }
        if name.eq_ignore_ascii_case("host") && host.replace(value.trim_matches([' ', '\t'])).is_some() {
            return Err(Refusal::Malformed);
        }
        // Only a coordinator has such a page.
        if cfg!(feature = "coordinator") && name.eq_ignore_ascii_case("accept") {
            let mut types = value.split(',').map(|accepted| accepted.split(';').next().unwrap_or_default().trim());
            shows_html |= types.any(|name| name.eq_ignore_ascii_case("text/html"));
        }
    }
    Ok(Fields { host, shows_html })
}

/// Whether a `Host`, with or without a port, is an address, `localhost`, or one of `hosts`.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    if host.starts_with('[') {
        // No name has brackets: it is an IPv6 address, or nothing.
        return true;
    }
    let name = host.split(':').next().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    // Browsers take what ends in a number for an IPv4 address, or for nothing; no name ends so.
    let ends_in_number =
        name.rsplit('.').next().is_some_and(|last| !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()));
    ends_in_number || name.eq_ignore_ascii_case("localhost") || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// The answer with a page.
pub fn page(request: Request, body: &str) -> String {
    let content_type = match request.page {
        Page::Status => "text/plain; charset=utf-8",
        Page::Metrics => metrics::CONTENT_TYPE,
    };
    answer("200 OK", content_type, body, request.head_only)
}

/// The answer with a page of HTML.
#[cfg(feature = "coordinator")]
pub fn html(request: Request, body: &str) -> String {
    answer("200 OK", "text/html; charset=utf-8", body, request.head_only)
}

/// The answer without one.
pub fn refuse(refusal: Refusal) -> String {
    answer(refusal.status(), "text/plain; charset=utf-8", &format!("{refusal}\n"), false)
}

fn answer(status: &str, content_type: &str, body: &str, head_only: bool) -> String {
    let mut text = String::with_capacity(body.len() + 256);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !head_only {
        text.push_str(body);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str) -> Result<Request, Refusal> {
        parse(text.as_bytes(), &["box.example".to_owned()])
    }

    #[test]
    fn a_request_is_told_from_a_line_by_its_first_word() {
        assert!(is_request(b"GET / HTTP/1.1\r\n") && is_request(b"POST /") && is_request(b"HEAD "));
        assert!(!is_request(b"GET") && !is_request(b"get / HTTP/1.1") && !is_request(b"status\n"));
        assert!(!is_request(b"GETS x"));
        assert_eq!(head_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Some(27));
        assert_eq!(head_bytes(b"GET /\n\nbody"), Some(7));
        assert_eq!(head_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n"), None);
    }

    #[test]
    fn the_two_pages_are_given_by_any_address_and_by_names_that_are_ours() {
        let status = Ok(Request { page: Page::Status, head_only: false, shows_html: false });
        for host in
            ["127.0.0.1", "127.0.0.1:4000", "[::1]:4000", "10.1.2.3", "localhost", "LocalHost:4000", "localhost."]
        {
            assert_eq!(asked(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), status, "{host}");
        }
        assert_eq!(asked("GET / HTTP/1.1\r\nUser-Agent: x\r\nhOST:\tBox.Example:80 \r\n\r\n"), status);
        assert_eq!(asked("GET /?a=b HTTP/1.0\n\n"), status);
        let metrics = Ok(Request { page: Page::Metrics, head_only: true, shows_html: false });
        assert_eq!(asked("HEAD /metrics?x=/ HTTP/1.1\r\nHost: localhost\r\n\r\n"), metrics);
    }

    #[cfg(feature = "coordinator")]
    #[test]
    fn a_browser_is_known_by_what_it_shows() {
        let shows =
            |field: &str| asked(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n")).unwrap().shows_html;
        for field in ["Accept: text/html", "ACCEPT:Text/HTML;q=0.9", "Accept: text/plain, text/html,*/*;q=0.8"] {
            assert!(shows(field), "{field}");
        }
        for field in ["X: text/html", "Accept: */*", "Accept: text/htmlx", "Accept:", "Accept: text/plain;text/html"] {
            assert!(!shows(field), "{field}");
        }
    }

    #[test]
    fn foreign_names_are_refused_whatever_they_ask_for() {
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "box.example.evil", "", "0x7f"]
        {
            assert_eq!(asked(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(Refusal::Host), "{host}");
            assert_eq!(asked(&format!("POST /x HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(Refusal::Host), "{host}");
        }
    }

    #[test]
    fn whatever_is_not_a_plain_request_is_refused() {
        let head = |line: &str, fields: &str| asked(&format!("{line}\r\n{fields}\r\n"));
        let host = "Host: localhost\r\n";
        for (line, fields) in [
            ("GET /", host),
            ("GET  / HTTP/1.1", host),
            ("GET / HTTP/2.0", host),
            ("GET / HTTP/1.1", ""),
            ("GET / HTTP/1.1", "Host: localhost\r\nHost: evil.example\r\n"),
            ("GET / HTTP/1.1", "Host : localhost\r\n"),
            ("GET / HTTP/1.1", "Host: localhost\r\n folded: yes\r\n"),
            ("GET / HTTP/1.1", "status\r\n"),
        ] {
            assert_eq!(head(line, fields), Err(Refusal::Malformed), "{line} {fields}");
        }
        assert_eq!(head("POST / HTTP/1.1", host), Err(Refusal::Method));
        assert_eq!(head("GET /status HTTP/1.1", host), Err(Refusal::NotFound));
        assert_eq!(head("GET http://localhost/ HTTP/1.1", host), Err(Refusal::NotFound));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nHost: \xFF\r\n\r\n", &[]), Err(Refusal::Malformed));
    }

    #[test]
    fn answers_say_their_length_and_heads_have_no_body() {
        let refused = refuse(Refusal::Host);
        let (head, body) = refused.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 421 ") && head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        let head_only = page(Request { page: Page::Metrics, head_only: true, shows_html: true }, "x 1\n");
        assert!(head_only.contains("Content-Length: 4\r\n") && head_only.ends_with("\r\n\r\n"));
    }
}
