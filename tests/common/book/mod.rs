//! Reads the documents that define the protocol: their fenced examples, and their tables. Owns their grammar; does not know
//! what they mean.

use std::fmt;

pub mod values;

/// A document that the tests execute.
pub struct Document {
    /// Where it lies in the repository.
    pub path: &'static str,
    pub text: &'static str,
}

pub const PROTOCOL: Document = Document { path: "protocol.md", text: include_str!("../../../protocol.md") };
pub const EXAMPLES: Document =
    Document { path: "docs/protocol-examples.md", text: include_str!("../../../docs/protocol-examples.md") };
pub const JOURNAL: Document = Document { path: "docs/journal.md", text: include_str!("../../../docs/journal.md") };
pub const ARITHMETIC: Document =
    Document { path: "docs/arithmetic.md", text: include_str!("../../../docs/arithmetic.md") };

/// All of them, in the order in which a reader meets them.
pub const ALL: [Document; 4] = [PROTOCOL, EXAMPLES, ARITHMETIC, JOURNAL];

/// A line of a document. Shown as `12 of protocol.md`.
#[derive(Clone, Copy)]
pub struct Place {
    document: &'static str,
    /// Counted from 1.
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.line, self.document)
    }
}

impl Document {
    /// Whether the document says this, however its lines are broken.
    pub fn check_says(&self, text: &str) {
        let says = |words: &str| words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(says(self.text).contains(&says(text)), "{text:?} is not in {}", self.path);
    }
}

/// A fenced example.
pub struct Example {
    /// What follows the opening fence: `frame TRAIN`.
    pub label: String,
    pub pieces: Vec<Piece>,
}

/// Bytes in an example, and what the comment behind them says of them.
pub struct Piece {
    /// Where it is.
    pub line: Place,
    /// `>` or `<` where a line of a conversation begins a frame.
    pub direction: Option<char>,
    pub bytes: Vec<u8>,
    pub comment: String,
}

impl Example {
    /// The label's first word.
    pub fn kind(&self) -> &str {
        self.label.split(' ').next().unwrap()
    }

    /// The label behind its first word.
    pub fn name(&self) -> &str {
        self.label.split_once(' ').map_or("", |(_, name)| name)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    pub fn line(&self) -> Place {
        self.pieces[0].line
    }
}

/// Fenced blocks that are no bytes.
const PROSE: [&str; 2] = ["text", "sh"];

/// What stands in the blocks that a reader pastes into a shell, in order.
pub fn shell_blocks() -> Vec<&'static str> {
    EXAMPLES.text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// All examples that consist of bytes, in order.
pub fn examples() -> Vec<Example> {
    ALL.iter().flat_map(examples_of).collect()
}

fn examples_of(document: &Document) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut open = false;
    for (index, text) in document.text.lines().enumerate() {
        match text.strip_prefix("```") {
            Some(label) if !open => {
                open = true;
                examples.push(Example { label: label.to_owned(), pieces: Vec::new() });
            }
            Some(_) => open = false,
            None if open && examples.last().is_some_and(|example| !PROSE.contains(&example.kind())) => {
                examples
                    .last_mut()
                    .unwrap()
                    .pieces
                    .push(piece(Place { document: document.path, line: index + 1 }, text));
            }
            None => {}
        }
    }
    examples.retain(|example| !PROSE.contains(&example.kind()));
    examples
}

/// `> F5 47 "text"  # comment`
fn piece(line: Place, text: &str) -> Piece {
    let direction = text.chars().next().filter(|first| "<>".contains(*first));
    let mut rest = text.trim_start_matches(['<', '>']).trim();
    let mut bytes = Vec::new();
    while let Some(first) = rest.chars().next().filter(|&first| first != '#') {
        if first == '"' {
            let (quoted, after) = rest[1..].split_once('"').unwrap_or_else(|| panic!("line {line}: an open quote"));
            bytes.extend_from_slice(quoted.as_bytes());
            rest = after.trim_start();
        } else {
            let pair = rest.get(..2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
            bytes.push(pair.unwrap_or_else(|| panic!("line {line}: no hexadecimal byte at {rest:?}")));
            rest = rest[2..].trim_start();
        }
    }
    Piece { line, direction, bytes, comment: rest.trim_start_matches('#').trim().to_owned() }
}

/// A comment of the form `name: type`, or `name: type = value`.
#[derive(Clone, Copy)]
pub struct Annotation<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub value: Option<&'a str>,
}

impl Piece {
    /// The comment, which must have that form and be true of the bytes.
    pub fn annotation(&self) -> Annotation<'_> {
        let line = self.line;
        let Some((name, kind)) = self.comment.split_once(": ") else { panic!("line {line}: no `name: type`") };
        let (kind, value) = match kind.split_once(" = ") {
            Some((kind, value)) => (kind, Some(value)),
            None => (kind, None),
        };
        let annotation = Annotation { name, kind, value };
        if let Some(expected) = annotation.encode() {
            assert_eq!(self.bytes, expected, "line {line}: the bytes are not {name} = {value:?}");
        }
        let fixed = match kind {
            "digest" => Some(32),
            "bytes" => None,
            "utf8" | "name" => {
                assert!(std::str::from_utf8(&self.bytes).is_ok(), "line {line}: no text");
                None
            }
            _ => {
                assert!(value.is_some(), "line {line}: a number without its value");
                None
            }
        };
        assert!(fixed.is_none_or(|bytes| bytes == self.bytes.len()), "line {line}: not the length of a {kind}");
        annotation
    }
}

impl Annotation<'_> {
    /// The bytes of a number as the annotation says it.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let value = self.value?;
        let integer = match value.strip_prefix("0x") {
            Some(digits) => u128::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        let bytes = match self.kind {
            "f32" => value.parse::<f32>().ok()?.to_le_bytes().to_vec(),
            "f64" => value.parse::<f64>().ok()?.to_le_bytes().to_vec(),
            "u8" | "u16" | "u32" | "u64" | "u128" => {
                let (width, integer) = (self.kind[1..].parse::<usize>().ok()? / 8, integer?);
                assert!(integer.checked_shr(width as u32 * 8).unwrap_or(0) == 0, "{value} is no {}", self.kind);
                integer.to_le_bytes()[..width].to_vec()
            }
            "i64" => value.parse::<i64>().ok()?.to_le_bytes().to_vec(),
            "i128" => value.parse::<i128>().ok()?.to_le_bytes().to_vec(),
            other => panic!("a {other} has no value to check"),
        };
        Some(bytes)
    }
}

/// The cells of the first table behind this heading, which one of the documents has, without the table's head.
pub fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let line = format!("\n{heading}\n");
    let found: Vec<&str> = ALL.iter().flat_map(|document| document.text.split(&line).skip(1)).collect();
    let [behind] = found[..] else { panic!("{heading:?} is in the documents {} times", found.len()) };
    let rows = behind.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}
