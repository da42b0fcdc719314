//! Where a data file's bytes come from, as often as they are read: a file, the standard input, a pipe; compressed or not. Owns
//! what their first bytes say of the format, and the command that converts a foreign one; does not know what the bytes mean.

use std::cell::{Cell, RefCell, RefMut};
use std::fs::{self, File};
use std::io::{self, Cursor, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use tempfile::SpooledTempFile;

use super::delimited::unreadable;
use super::error::Fault;
use super::store;

/// Bytes from which a format is recognised, at most.
const HEAD_BYTES: u64 = 4_096;
/// Bytes of what can be read only once that are kept in memory; the rest goes to a file.
const KEPT_BYTES: usize = 1 << 20;
/// The name of the standard input.
const STDIN: &str = "-";

/// What the first bytes of a file say that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Lines of fields.
    Delimited,
    /// NumPy's array.
    Npy,
    /// NumPy's archive of arrays.
    Npz,
    /// The array of the MNIST files.
    Idx,
}

/// How far the reading of a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How often it has been read before.
    pub before: u32,
    /// Bytes that have been read.
    pub read: u64,
    /// Bytes that there are; none where nobody knows that yet.
    pub all: Option<u64>,
}

/// Who is told how far a reading has come, after every piece.
pub type Watch = Rc<dyn Fn(Progress)>;

/// Bytes that can be read more than once.
pub(super) struct Source<'a> {
    bytes: Bytes<'a>,
    watch: Option<Watch>,
    /// How often they have been read since somebody watches.
    readings: Cell<u32>,
}

enum Bytes<'a> {
    File(PathBuf),
    /// What can be read only once, and what has been read of it.
    Once {
        input: RefCell<Option<Box<dyn Read + 'a>>>,
        copy: RefCell<SpooledTempFile>,
    },
    Memory(&'a [u8]),
}

impl<'a> Source<'a> {
    fn new(bytes: Bytes<'a>) -> Source<'a> {
        Source { bytes, watch: None, readings: Cell::new(0) }
    }

    /// From now on this one is told how far a reading has come.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    /// These bytes.
    pub(super) fn of_bytes(bytes: &'a [u8]) -> Source<'a> {
        Source::new(Bytes::Memory(bytes))
    }

    /// The file at this path; the standard input where it is `-`.
    pub(super) fn of_path(path: &Path) -> Result<Source<'a>, Fault> {
        if path.as_os_str() == STDIN {
            return Ok(Source::of_reader(io::stdin()));
        }
        let about = fs::metadata(path).map_err(unreadable)?;
        if about.is_dir() {
            return Err(Fault::Directory);
        }
        let file = File::open(path).map_err(unreadable)?;
        // A pipe has no beginning to go back to; and of many files, one is open at a time.
        Ok(if about.is_file() { Source::new(Bytes::File(path.to_owned())) } else { Source::of_reader(file) })
    }

    /// Whether it is a file that can be read as often as one likes.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.bytes, Bytes::File(_))
    }

    /// What comes out of a reader. What has been read is kept, in a file without a name where it is long.
    pub(super) fn of_reader(input: impl Read + 'a) -> Source<'a> {
        let copy = RefCell::new(SpooledTempFile::new(KEPT_BYTES));
        Source::new(Bytes::Once { input: RefCell::new(Some(Box::new(input))), copy })
    }

    /// The bytes from the first one, decompressed, and what they are; the reading before must have come to the end.
    pub(super) fn open(&self) -> Result<(Format, Box<dyn Read + '_>), Fault> {
        let mut all = None;
        let raw: Box<dyn Read + '_> = match &self.bytes {
            Bytes::Memory(bytes) => Box::new(*bytes),
            Bytes::File(path) => {
                let file = File::open(path).map_err(unreadable)?;
                all = file.metadata().ok().map(|about| about.len());
                Box::new(file)
            }
            Bytes::Once { input, copy } => {
                let mut copy = copy.borrow_mut();
                match input.borrow_mut().take() {
                    Some(input) => Box::new(Copying { input, copy, bytes: 0, checked: KEPT_BYTES as u64 }),
                    None => {
                        all = copy.stream_position().ok();
                        copy.rewind().map_err(unreadable)?;
                        Box::new(Copied(copy))
                    }
                }
            }
        };
        let Some(watch) = &self.watch else { return decompressed(raw) };
        let progress = Progress { before: self.readings.replace(self.readings.get() + 1), read: 0, all };
        decompressed(Box::new(Watched { input: raw, watch: watch.clone(), progress }))
    }

    /// The same for those who read once: nothing is kept of what has been read.
    pub(super) fn into_reader(self) -> Result<(Format, Box<dyn Read + 'a>), Fault> {
        decompressed(match self.bytes {
            Bytes::Memory(bytes) => Box::new(bytes),
            Bytes::File(path) => Box::new(File::open(path).map_err(unreadable)?),
            Bytes::Once { input, .. } => input.into_inner().unwrap_or_else(|| Box::new(io::empty())),
        })
    }
}

/// Bytes without their compression, and what they are.
fn decompressed<'a>(raw: Box<dyn Read + 'a>) -> Result<(Format, Box<dyn Read + 'a>), Fault> {
    let (head, raw) = peek(raw)?;
    if head.starts_with(b"\x1f\x8b") {
        let (head, decompressed) = peek(Box::new(MultiGzDecoder::new(raw)))?;
        return Ok((recognise(&head)?, decompressed));
    }
    Ok((recognise(&head)?, raw))
}

/// Tells how far it has come.
struct Watched<'a> {
    input: Box<dyn Read + 'a>,
    watch: Watch,
    progress: Progress,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.progress.read += read as u64;
        (self.watch)(self.progress);
        Ok(read)
    }
}

/// What was kept of a reader.
struct Copied<'a>(RefMut<'a, SpooledTempFile>);

impl Read for Copied<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A reader's first bytes, and all of its bytes.
fn peek<'a>(mut input: Box<dyn Read + 'a>) -> Result<(Vec<u8>, Box<dyn Read + 'a>), Fault> {
    let mut head = Vec::new();
    input.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(unreadable)?;
    Ok((head.clone(), Box::new(Cursor::new(head).chain(input))))
}

/// Keeps what it passes on, as long as there is room for it.
struct Copying<'a, 'b> {
    input: Box<dyn Read + 'b>,
    copy: RefMut<'a, SpooledTempFile>,
    /// How much that is.
    bytes: u64,
    /// For so much there was room.
    checked: u64,
}

impl Read for Copying<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.bytes += read as u64;
        if self.bytes > self.checked {
            self.checked = store::room_for(self.bytes)?;
        }
        self.copy.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// Formats that are not read, by their first bytes: what it is, and the command that makes a file of it that is.
const FOREIGN: [(&[u8], &str, &str); 15] = [
    (
        b"PAR1",
        "a Parquet file",
        "python3 -c 'import pandas; pandas.read_parquet(\"FILE\").to_csv(\"FILE.csv\", index=False)'",
    ),
    (
        b"ARROW1",
        "a Feather file",
        "python3 -c 'import pandas; pandas.read_feather(\"FILE\").to_csv(\"FILE.csv\", index=False)'",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "libreoffice --headless --convert-to csv FILE"),
    (
        b"\x89HDF",
        "an HDF5 file",
        "python3 -c 'import pandas; pandas.read_hdf(\"FILE\").to_csv(\"FILE.csv\", index=False)'",
    ),
    (b"SQLite format 3", "an SQLite database", "sqlite3 -header -csv FILE 'select * from TABLE' > FILE.csv"),
    (b"BZh", "compressed with bzip2", "bunzip2 FILE"),
    (b"\xfd7zXZ", "compressed with xz", "unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unzstd FILE"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "7z x FILE"),
    (b"%PDF", "a PDF document", "pdftotext -layout FILE"),
    (b"\xff\xfe", "text in UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > FILE.csv"),
    (b"\xfe\xff", "text in UTF-16", "iconv -f UTF-16 -t UTF-8 FILE > FILE.csv"),
    (
        b"\x80\x04\x95",
        "a Python pickle",
        "python3 -c 'import pandas; pandas.read_pickle(\"FILE\").to_csv(\"FILE.csv\", index=False)'",
    ),
    (
        b"\x80\x05\x95",
        "a Python pickle",
        "python3 -c 'import pandas; pandas.read_pickle(\"FILE\").to_csv(\"FILE.csv\", index=False)'",
    ),
    (
        b"<?xml",
        "an XML file",
        "python3 -c 'import pandas; pandas.read_xml(\"FILE\").to_csv(\"FILE.csv\", index=False)'",
    ),
];

/// Pairs of a line that tell LIBSVM's files, and bytes of it that are looked at.
const PAIRS_SEEN: usize = 2;
const LINE_BYTES_SEEN: usize = 256;

/// What holds no rows at all, and what to do.
fn without_rows(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const NAME_DATA: &str = "it holds no rows: name a data file";
    let has = |text: &[u8]| head.windows(text.len()).any(|window| window == text);
    // A header, which is JSON, behind its length.
    let is_of_tensors = head.get(4..10) == Some(b"\0\0\0\0{\"");
    match head {
        [0x7f, b'E', b'L', b'F', ..] => Some(("a program", NAME_DATA)),
        [0x89, b'P', b'N', b'G', ..] | [0xff, 0xd8, 0xff, ..] | [b'G', b'I', b'F', b'8', ..] => {
            Some(("a picture", "pictures are read as arrays of numbers, IDX's or NumPy's: --data IMAGES,LABELS"))
        }
        _ if is_of_tensors && has(b"\"feature_inverse_deviations\"") => {
            Some(("a model that was saved", "it holds no rows: name a data file; client inspect FILE shows the model"))
        }
        _ if is_of_tensors => Some((
            "a safetensors file",
            "it holds tensors and says of none that it is rows: save those as NumPy's arrays (--data X.npy,Y.npy)",
        )),
        _ => None,
    }
}

/// What a file is by its first bytes; a fault where it is not read.
fn recognise(head: &[u8]) -> Result<Format, Fault> {
    let foreign = |what, command: &str| Err(Fault::Foreign { what, cure: format!("convert it: {command}") });
    if let Some((what, cure)) = without_rows(head) {
        return Err(Fault::Foreign { what, cure: cure.to_owned() });
    }
    if let Some((_, what, command)) = FOREIGN.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return foreign(*what, command);
    }
    if head.starts_with(b"PK\x03\x04") {
        let has = |name: &[u8]| head.windows(name.len()).any(|window| window == name);
        // The first member's name follows its header.
        let first = head.get(30..).unwrap_or_default();
        if has(b"[Content_Types].xml") || has(b"xl/") {
            return foreign("an Excel workbook", "libreoffice --headless --convert-to csv FILE");
        }
        if first.starts_with(b"mimetype") {
            return foreign("an OpenDocument file", "libreoffice --headless --convert-to csv FILE");
        }
        let name_bytes =
            usize::from(u16::from_le_bytes([head.get(26).copied().unwrap_or(0), head.get(27).copied().unwrap_or(0)]));
        if first.get(..name_bytes).is_some_and(|name| name.ends_with(b".npy")) {
            return Ok(Format::Npz);
        }
        return foreign("a zip archive", "unzip FILE");
    }
    if head.starts_with(b"\x93NUMPY") {
        return Ok(Format::Npy);
    }
    if let [0, 0, 0x08..=0x0e, 1..=8, ..] = head {
        return Ok(Format::Idx);
    }
    if is_utf_16(head) {
        return foreign("text in UTF-16", "iconv -f UTF-16LE -t UTF-8 FILE > FILE.csv");
    }
    let mut lines =
        head.split(|&byte| byte == b'\n' || byte == b'\r').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let is_arff = |line: &[u8]| line.get(..9).is_some_and(|word| word.eq_ignore_ascii_case(b"@relation"));
    if lines.clone().find(|line| !line.starts_with(b"%")).is_some_and(is_arff) {
        let command = "python3 -c 'import pandas, scipy.io.arff as a; pandas.DataFrame(a.loadarff(\"FILE\")[0]).to_csv(\"FILE.csv\", index=False)'";
        return foreign("an ARFF file", command);
    }
    if let Some(is_in_lines) = json(head) {
        let command = format!(
            "python3 -c 'import pandas; pandas.read_json(\"FILE\"{}).to_csv(\"FILE.csv\", index=False)'",
            if is_in_lines { ", lines=True" } else { "" }
        );
        return foreign("JSON", &command);
    }
    let (first, second, third) = (lines.next(), lines.next(), lines.next());
    if let (Some(first), Some(second)) = (first, second)
        && is_orange(first, second, third)
    {
        return foreign("an Orange table, with types in its second line", "sed '2,3d' FILE > FILE.csv");
    }
    if let (Some(first), Some(second)) = (first, second)
        && is_libsvm(first)
        && is_libsvm(second)
    {
        let command = "python3 -c 'import numpy, sklearn.datasets as d; x, y = d.load_svmlight_file(\"FILE\"); \
                       numpy.savetxt(\"FILE.csv\", numpy.c_[x.toarray(), y], delimiter=\",\", fmt=\"%.17g\")'";
        return foreign("a file of LIBSVM, with a number in front of each value", command);
    }
    Ok(Format::Delimited)
}

/// Whether it is JSON, and if so, whether in lines with an object each.
fn json(head: &[u8]) -> Option<bool> {
    let begins = |text: &[u8], with: &[u8]| {
        let mut seen = text.iter().filter(|byte| !byte.is_ascii_whitespace());
        with.iter().all(|byte| seen.next() == Some(byte))
    };
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let is_line = |line: &[u8]| begins(line, b"{\"") && line.ends_with(b"}");
    match begins(text, b"{\"") {
        true => Some(lines.next().is_some_and(is_line)),
        false => (begins(text, b"[{\"") || begins(text, b"[[")).then_some(false),
    }
}

/// Every second byte is 0, as in no text of one byte a letter.
fn is_utf_16(head: &[u8]) -> bool {
    let pairs = head.as_chunks::<2>().0;
    pairs.len() > 3 && pairs.iter().all(|pair| (pair[0] == 0) != (pair[1] == 0))
}

/// Whether a line is a label and then pairs, the first of which count up: `-1 1:0.5 3:2`. Times of day have two digits behind the colon.
fn is_libsvm(line: &[u8]) -> bool {
    let Some(text) = line.get(..line.len().min(LINE_BYTES_SEEN)).and_then(|line| std::str::from_utf8(line).ok()) else {
        return false;
    };
    let mut words = text.split_ascii_whitespace();
    let has_label = words.next().is_some_and(|word| word.parse::<f64>().is_ok());
    // The last may be cut off.
    let pair = |word: &str| {
        let (index, value) = word.split_once(':')?;
        let is_time = value.len() == 2 || value.contains(':');
        (value.parse::<f64>().is_ok() && !is_time).then_some(index.parse::<u32>().ok()?)
    };
    let indices: Option<Vec<u32>> = words.take(PAIRS_SEEN).map(pair).collect();
    has_label && indices.is_some_and(|indices| indices.len() == PAIRS_SEEN && indices.is_sorted_by(|a, b| a < b))
}

/// Whether the second of these lines says types as Orange does.
fn is_orange(first: &[u8], second: &[u8], third: Option<&[u8]>) -> bool {
    const TYPES: [&[u8]; 10] = [b"c", b"d", b"s", b"t", b"continuous", b"discrete", b"string", b"time", b"C", b"D"];
    let fields = |line: &[u8]| line.split(|&byte| byte == b'\t').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let (names, types) = (fields(first), fields(second));
    let has_class = third.is_some_and(|line| fields(line).iter().any(|field| field == b"class" || field == b"meta"));
    names.len() > 1
        && types.len() == names.len()
        && types.iter().all(|field| TYPES.contains(&&field[..]))
        && (has_class || types.iter().any(|field| field.len() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(head: &[u8]) -> &'static str {
        match recognise(head) {
            Err(Fault::Foreign { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn foreign_formats_are_recognised_by_their_first_bytes() {
        assert_eq!(what(b"PAR1\x15\x04"), "a Parquet file");
        assert_eq!(what(b"PK\x03\x04\x14\0\x06\0\x08\0[Content_Types].xml"), "an Excel workbook");
        assert_eq!(what(b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.csv"), "a zip archive");
        assert_eq!(what(b"\xff\xfe1\0,\x002\0"), "text in UTF-16");
        assert_eq!(what(b"1\0,\x002\0\n\0"), "text in UTF-16");
        assert_eq!(what(b"\x7fELF\x02\x01"), "a program");
        assert_eq!(what(b"\x89PNG\r\n\x1a\n"), "a picture");
        assert_eq!(what(b"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\""), "a safetensors file");
        let ours = b"\x40\0\0\0\0\0\0\0{\"__metadata__\":{\"feature_inverse_deviations\":\"[1.0]\"";
        assert_eq!(what(ours), "a model that was saved");
        assert_eq!(what(b"% comment\n@RELATION iris\n@attribute a numeric\n"), "an ARFF file");
        assert_eq!(what(b"{\"a\": 1, \"b\": \"x\"}\n{\"a\": 2"), "JSON");
        assert_eq!(what(b"[\n  {\"a\": 1}\n]"), "JSON");
        assert_eq!((json(b"{\"a\":1}\n{\"a\":2}\n"), json(b"[{\"a\":1}]")), (Some(true), Some(false)));
        assert!(what(b"a\tb\tk\nc\tc\td\n\t\tclass\n1\t2\tx\n").starts_with("an Orange table"));
        assert!(what(b"-1 1:1.617 2:-0.919\n1 1:0.5 7:1 9:2\n").starts_with("a file of LIBSVM"));
        assert!(what(b"a\tk\ncontinuous\tdiscrete\n\n1\tx\n").starts_with("an Orange table"));
    }

    #[test]
    fn arrays_and_text_are_told_apart() {
        assert_eq!(recognise(b"\x93NUMPY\x01\0"), Ok(Format::Npy));
        assert_eq!(recognise(b"\0\0\x08\x03\0\0\0\x01"), Ok(Format::Idx));
        for text in [
            &b""[..],
            b"a,b\n1,2\n",
            b"c\td\nc\td\nd\tc\n",
            b"x",
            b"\xef\xbb\xbfa,b\n",
            b"1 10:30 11:45\n2 9:30 12:45\n",
            b"1 2:0.5 1:0.5\n1 2:0.5 1:0.5\n",
        ] {
            assert_eq!(recognise(text), Ok(Format::Delimited), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_read_only_once_is_read_as_often_as_it_takes() {
        let source = Source::of_reader(&b"a,b\n1,2\n"[..]);
        for _ in 0..3 {
            let mut text = String::new();
            source.open().unwrap().1.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a,b\n1,2\n");
        }
    }

    #[test]
    fn who_watches_is_told_how_far_each_reading_has_come() {
        let mut source = Source::of_reader(&b"a,b\n1,2\n"[..]);
        let told = Rc::new(RefCell::new(Vec::new()));
        let keeps = told.clone();
        source.watch(Rc::new(move |progress| keeps.borrow_mut().push(progress)));
        for _ in 0..2 {
            source.open().unwrap().1.read_to_end(&mut Vec::new()).unwrap();
        }
        let told = told.take();
        let last = |before: u32| told.iter().rfind(|progress| progress.before == before).copied();
        assert_eq!(last(0), Some(Progress { before: 0, read: 8, all: None }));
        assert_eq!(last(1), Some(Progress { before: 1, read: 8, all: Some(8) }));
        assert_eq!(last(2), None);
    }
}
