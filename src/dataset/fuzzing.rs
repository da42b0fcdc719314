//! What the fuzz target `csv` asserts, kept here so that a stable test can replay its inputs. Owns what must be true of
//! whatever is read from a file; does not know how inputs are found.

use std::io::{self, Read};

use super::{
    Block, Dataset, DatasetError, Preparation, Prepared, ReadOptions, Scaling, Schema, ShardCount, Sharding, Targets,
    Task, ValidationSplit,
};

/// What errors call the file.
const NAME: &str = "data.csv";
/// A sentence quotes three texts of each of three columns of a file at most, each cut and escaped.
const SENTENCE_CHARACTERS_MAX: usize = 5_000;

/// A file's bytes.
///
/// # Panics
///
/// When what is read is not rows of finite numbers and targets, or more than the file holds; when a refusal names no
/// place or shows control characters; when line ends, a byte order mark, or how the bytes arrive make a difference; or
/// when rows are lost or doubled as they are prepared, or a schema does not come back from its JSON.
pub fn csv(bytes: &[u8]) {
    for task in [None, Some(Task::Classify), Some(Task::Regress)] {
        check(bytes, &ReadOptions { task, ..ReadOptions::default() });
    }
}

fn check(bytes: &[u8], options: &ReadOptions) {
    let read = |bytes: &[u8]| Dataset::from_reader(NAME, bytes, options);
    let found = read(bytes);
    match &found {
        Ok(data) => {
            // A field takes a byte and its separator another, but for the last: what is kept follows from what has come.
            assert!(2 * data.rows() <= bytes.len() + 1, "{} rows from {} bytes", data.rows(), bytes.len());
            check_preparations(data);
            let report = data.report(None);
            let misleads = |line: &String| line.contains(is_misleading);
            assert!(!report.all_lines().iter().any(misleads), "{report:?} may upset a terminal");
        }
        Err(error) => check_sentence(error, bytes),
    }
    let found = seen(&found);
    let trickle = Dataset::from_reader(NAME, Trickle { bytes, next: 1 }, options);
    assert_eq!(seen(&trickle), found, "arrived in small pieces");
    // Before other first bytes, by which formats are told, a byte order mark does not stand.
    let is_text = |byte: &u8| byte.is_ascii_alphanumeric();
    if bytes.first().is_some_and(is_text) && !bytes.starts_with(b"\xef\xbb\xbf") && bytes.iter().all(u8::is_ascii) {
        assert_eq!(seen(&read(&[b"\xef\xbb\xbf", bytes].concat())), found, "with a byte order mark");
    }
    // Inside quotes a line end belongs to the field, and a CR is one already.
    if !bytes.iter().any(|byte| matches!(byte, b'"' | b'\r' | 0)) {
        let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        assert_eq!(seen(&read(&lines.join(&b"\r\n"[..]))), found, "with CR LF");
        assert_eq!(seen(&read(&lines.join(&b"\r"[..]))), found, "with CR");
    }
}

/// Gives its bytes in pieces of one to seven, as a slow pipe might.
struct Trickle<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.next.min(buffer.len());
        self.next = self.next % 7 + 1;
        self.bytes.read(&mut buffer[..count])
    }
}

/// What is seen of a data set: its report, and its rows as they are prepared for one job; or the sentence that refuses it.
fn seen(found: &Result<Dataset, DatasetError>) -> Result<(String, Result<Vec<u32>, String>), String> {
    let data = found.as_ref().map_err(ToString::to_string)?;
    let prepared = data.prepare(&asked("0.2", Scaling::Standardise, Sharding::Stratified, 1));
    let bits = |prepared: Prepared| {
        let Block { values, indices, .. } = &prepared.shards[0];
        values.iter().map(|value| value.to_bits()).chain(indices.iter().map(|index| u32::from(*index))).collect()
    };
    let rows = prepared.map(bits);
    Ok((data.report(None).to_json().to_string(), rows.map_err(|error| error.to_string())))
}

/// Neither what moves a cursor nor what turns the direction of writing (Unicode's Bidi_Control).
fn is_misleading(c: char) -> bool {
    let turns = ['\u{61C}', '\u{200E}', '\u{200F}'];
    c.is_control() || turns.contains(&c) || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The sentence begins with the file, then a line that the file has, or nothing narrower where all of it is at fault.
fn check_sentence(error: &DatasetError, bytes: &[u8]) {
    let sentence = error.to_string();
    assert!(!sentence.contains(is_misleading), "{sentence:?} may upset a terminal");
    assert!(sentence.chars().count() <= SENTENCE_CHARACTERS_MAX, "{sentence:?} is too long");

    let said = sentence.strip_prefix(NAME).unwrap_or_else(|| panic!("{sentence:?} does not name the file"));
    if let Some(place) = said.strip_prefix(", line ") {
        let digits = place.find([',', ':']).map(|end| &place[..end]);
        let line = digits.and_then(|digits| digits.parse().ok());
        let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n' || byte == b'\r').count();
        assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{sentence:?} of {lines} lines");
    } else {
        assert!(said.starts_with(": "), "{sentence:?} has no place");
    }
}

fn asked(split: &str, scaling: Scaling, sharding: Sharding, shards: u32) -> Preparation {
    let split = split.parse().unwrap_or(ValidationSplit::LAST_FIFTH);
    Preparation { split, test: None, scaling, sharding, shards: ShardCount::Exactly(shards), seed: 1 }
}

/// Every way to divide, scale and deal out, with one shard, two, and one for each row.
fn check_preparations(data: &Dataset) {
    let rows = data.rows() as u32;
    check_preparation(data, &asked("0.2", Scaling::Standardise, Sharding::Stratified, 1));
    check_preparation(data, &asked("0.5", Scaling::None, Sharding::Stratified, 2));
    check_preparation(data, &asked("last:0.2", Scaling::None, Sharding::Contiguous, 2));
    check_preparation(data, &asked("last:1", Scaling::Standardise, Sharding::Contiguous, 1));
    check_preparation(data, &asked("last:1", Scaling::None, Sharding::Stratified, rows.saturating_sub(1)));
}

fn check_preparation(data: &Dataset, asked: &Preparation) {
    let prepared = match data.prepare(asked) {
        Ok(prepared) => prepared,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error}"),
    };
    let blocks = || prepared.shards.iter().chain([&prepared.validation]);
    let features = prepared.features;
    assert!(features >= 1 && ShardCount::Exactly(prepared.shards.len() as u32) == asked.shards);
    assert_eq!((prepared.feature_names.len(), prepared.scaling.len()), (features, features));
    let rows = |block: &Block| block.rows();
    assert_eq!(blocks().map(rows).sum::<usize>(), data.rows(), "rows are lost or doubled");
    let mut inputs = Vec::new();
    for block in blocks() {
        block.inputs().expand(0..rows(block), &mut inputs);
        assert!(
            rows(block) > 0 && inputs.len() == rows(block) * features && inputs.iter().all(|input| input.is_finite())
        );
        let (layout, columns) = (&block.layout, block.layout.columns());
        for place in 0..rows(block) * columns.len() {
            assert!(layout.index(&block.indices, place) <= columns[place % columns.len()][1]);
        }
    }
    let outputs = prepared.target.outputs();
    let targets = blocks().map(|block| match &block.targets {
        Targets::Classes(labels) => {
            assert!(outputs >= 2 && labels.iter().all(|&label| (label as usize) < outputs));
            labels.len()
        }
        Targets::Values(targets) => {
            assert!(targets.iter().all(|target| target.is_finite()));
            targets.len() / outputs
        }
    });
    assert!(targets.eq(blocks().map(rows)), "a row lacks its target, or has too many");
    let json = prepared.schema.to_json().to_string();
    let back = serde_json::from_str(&json).ok().and_then(|json| Schema::from_json(&json));
    assert_eq!(back.as_ref(), Some(&prepared.schema), "{json}");
}
