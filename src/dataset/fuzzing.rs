//! What the fuzz target `csv` asserts, kept here so that a stable test can replay its inputs. Owns what must be true of
//! whatever is read from a file; does not know how inputs are found.

use std::io::{self, Read};

use super::{Block, Dataset, DatasetError, Preparation, Scaling, Sharding, Targets, Task, ValidationSplit};

/// What errors call the file.
const NAME: &str = "data.csv";
/// A sentence quotes three texts of a file at most, each cut and escaped, and its own words are few.
const SENTENCE_CHARACTERS_MAX: usize = 1_500;

/// A file's bytes.
///
/// # Panics
///
/// When what is read is not a table of finite numbers and labels, or more than the file holds; when a refusal names no
/// place or shows control characters; when line ends, a byte order mark, or how the bytes arrive make a difference; or
/// when rows are lost, doubled or changed as they are prepared.
pub fn csv(bytes: &[u8]) {
    let found = read(bytes);
    match &found {
        Ok(data) => {
            check_table(data, bytes.len());
            check_preparations(data);
        }
        Err(error) => check_sentence(error, bytes),
    }
    let found = seen(&found);
    let trickle = Dataset::from_reader(NAME, Trickle { bytes, next: 1 });
    assert_eq!(seen(&trickle), found, "arrived in small pieces");
    if !bytes.starts_with(b"\xef\xbb\xbf") {
        assert_eq!(seen(&read(&[b"\xef\xbb\xbf", bytes].concat())), found, "with a byte order mark");
    }
    // Inside quotes a line end belongs to the field.
    if !bytes.contains(&b'"') {
        let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        assert_eq!(seen(&read(&lines.join(&b"\r\n"[..]))), found, "with CR LF");
    }
}

fn read(bytes: &[u8]) -> Result<Dataset, DatasetError> {
    Dataset::from_reader(NAME, bytes)
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

/// All there is to see of a data set.
#[derive(Debug, PartialEq)]
struct Seen<'a> {
    /// By their bits: -0 is not 0.
    values: Vec<u32>,
    labels: &'a [u32],
    classes: &'a [String],
    feature_names: Vec<String>,
}

/// What is seen of a data set, or the sentence that refuses it.
fn seen(found: &Result<Dataset, DatasetError>) -> Result<Seen<'_>, String> {
    let data = found.as_ref().map_err(ToString::to_string)?;
    let values = data.values().iter().map(|value| value.to_bits()).collect();
    Ok(Seen { values, labels: data.labels(), classes: data.classes(), feature_names: data.feature_names() })
}

fn check_table(data: &Dataset, file_bytes: usize) {
    let (rows, features, classes) = (data.rows(), data.features(), data.classes());
    assert_eq!(data.values().dim(), (rows, features));
    assert!(data.values().iter().all(|value| value.is_finite()));
    assert_eq!((data.labels().len(), data.feature_names().len()), (rows, features));
    assert!(features >= 1 && classes.len() >= 2);

    let mut used = vec![false; classes.len()];
    data.labels().iter().for_each(|&label| used[label as usize] = true);
    assert!(used.into_iter().all(|used| used), "a class without a row");
    let mut distinct = classes.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), classes.len(), "a class twice");
    assert!(classes.iter().all(|class| !class.is_empty() && class.trim() == class));

    // A field takes a byte and its separator another, but for the last: what is kept follows from what has come.
    assert!(2 * rows * (features + 1) <= file_bytes + 1, "{rows} rows of {features} from {file_bytes} bytes");
    assert!(classes.iter().map(String::len).sum::<usize>() <= file_bytes);
}

/// The sentence begins with the file, then a line that the file has, or nothing narrower where all of it is at fault.
fn check_sentence(error: &DatasetError, bytes: &[u8]) {
    let sentence = error.to_string();
    // Neither what moves a cursor nor what turns the direction of writing (Unicode's Bidi_Control).
    let turns = ['\u{61C}', '\u{200E}', '\u{200F}'];
    let misleads = |c: char| {
        c.is_control() || turns.contains(&c) || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!sentence.contains(misleads), "{sentence:?} may upset a terminal");
    assert!(sentence.chars().count() <= SENTENCE_CHARACTERS_MAX, "{sentence:?} is too long");

    let said = sentence.strip_prefix(NAME).unwrap_or_else(|| panic!("{sentence:?} does not name the file"));
    if let Some(place) = said.strip_prefix(", line ") {
        let digits = place.find([',', ':']).map(|end| &place[..end]);
        let line = digits.and_then(|digits| digits.parse().ok());
        let lines = 1 + bytes.iter().filter(|&&byte| byte == b'\n').count();
        assert!(line.is_some_and(|line| (1..=lines).contains(&line)), "{sentence:?} of {lines} lines");
    } else {
        assert!(said.starts_with(": "), "{sentence:?} has no place");
    }
}

/// Every way to divide, scale and deal out, with one shard, two, and one for each row.
fn check_preparations(data: &Dataset) {
    let asked = |split: &str, scaling, sharding, shards| Preparation {
        task: Task::Classify,
        split: split.parse().unwrap_or(ValidationSplit::LAST_FIFTH),
        scaling,
        sharding,
        shards,
        seed: 1,
    };
    let rows = data.rows() as u32;
    check_preparation(data, &asked("0.2", Scaling::Standardise, Sharding::Stratified, 1));
    check_preparation(data, &asked("0.5", Scaling::None, Sharding::Stratified, 2));
    check_preparation(data, &asked("last:0.2", Scaling::None, Sharding::Contiguous, 2));
    check_preparation(data, &asked("last:1", Scaling::Standardise, Sharding::Contiguous, 1));
    check_preparation(data, &asked("last:1", Scaling::None, Sharding::Stratified, rows - 1));
    let regress = Preparation { task: Task::Regress, ..asked("0.2", Scaling::Standardise, Sharding::Stratified, 1) };
    check_preparation(data, &regress);
}

fn check_preparation(data: &Dataset, asked: &Preparation) {
    let prepared = match data.prepare(asked) {
        Ok(prepared) => prepared,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error}"),
    };
    let blocks = || prepared.shards.iter().chain([&prepared.validation]);
    assert_eq!((prepared.features, prepared.shards.len()), (data.features(), asked.shards as usize));
    let rows = |block: &Block| block.rows(data.features());
    assert_eq!(blocks().map(rows).sum::<usize>(), data.rows(), "rows are lost or doubled");
    assert!(blocks().all(|block| rows(block) > 0 && block.values.len() == rows(block) * data.features()));
    assert!(blocks().flat_map(|block| &block.values).all(|value| value.is_finite()));
    let targets = blocks().map(|block| match &block.targets {
        Targets::Classes(labels) => labels.len(),
        Targets::Values(targets) => {
            assert!(targets.iter().all(|target| target.is_finite()));
            targets.len() / prepared.target.outputs()
        }
    });
    assert!(targets.eq(blocks().map(rows)), "a row lacks its target, or has too many");
    if asked.scaling == Scaling::None && asked.task == Task::Classify {
        let values = data.values();
        let read = values.as_slice().unwrap_or_default().chunks(data.features()).zip(data.labels());
        let dealt = blocks().flat_map(|block| match &block.targets {
            Targets::Classes(labels) => block.values.chunks(data.features()).zip(labels),
            Targets::Values(_) => panic!("numbers, where classes are told apart"),
        });
        assert_eq!(sorted(dealt), sorted(read), "rows are changed");
    }
}

/// Rows with their labels, in an order of their own, by their bits.
fn sorted<'a>(rows: impl Iterator<Item = (&'a [f32], &'a u32)>) -> Vec<(Vec<u32>, u32)> {
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect();
    let mut rows: Vec<(Vec<u32>, u32)> = rows.map(|(row, &label)| (bits(row), label)).collect();
    rows.sort_unstable();
    rows
}
