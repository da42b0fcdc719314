//! Arrays as IDX and .npy write them. Owns these formats; does not know what an array is for.
//!
//! Memory is taken as bytes arrive, and never for what a header announces.

use std::io::{BufReader, ErrorKind, Read};

use super::delimited::unreadable;
use super::error::Fault;

/// The longest header of a .npy file.
const HEADER_BYTES_MAX: u32 = 1 << 16;
/// The most dimensions of an array.
const DIMENSIONS_MAX: usize = 8;
/// Bytes of an array that is read row by row that are there at a time.
const STREAM_BYTES: usize = 1 << 16;

fn wrong<T>(cause: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Array { cause: cause.into() })
}

/// The elements of an array, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Bytes(Vec<u8>),
    Doubles(Vec<f64>),
    /// Of 8 bytes, more of which there are than an f64 tells apart.
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Texts(Vec<String>),
}

/// Rows of as many elements each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    rows: usize,
    width: usize,
    pub(super) numbers: Numbers,
}

/// How an element is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    Unsigned(usize),
    Signed(usize),
    Float(usize),
    /// Unicode of 4 bytes a letter.
    Unicode(usize),
    Ascii(usize),
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Element::Unsigned(bytes) | Element::Signed(bytes) | Element::Float(bytes) | Element::Ascii(bytes) => bytes,
            Element::Unicode(letters) => 4 * letters,
        }
    }
}

impl Array {
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The numbers of a column; NaN where the elements are texts.
    pub(super) fn column(&self, place: usize) -> impl Iterator<Item = f64> + '_ {
        (0..self.rows).map(move |row| self.at(row * self.width + place))
    }

    /// All numbers, row by row.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.rows * self.width).map(|index| self.at(index))
    }

    fn at(&self, index: usize) -> f64 {
        match &self.numbers {
            Numbers::Bytes(values) => f64::from(values[index]),
            Numbers::Doubles(values) => values[index],
            Numbers::Signed(values) => values[index] as f64,
            Numbers::Unsigned(values) => values[index] as f64,
            Numbers::Texts(_) => f64::NAN,
        }
    }

    /// The whole numbers whose magnitude is 2^53 or more, below which an f64 tells them apart.
    pub(super) fn large_wholes(&self) -> impl Iterator<Item = i128> + '_ {
        let whole = |index: usize| match &self.numbers {
            Numbers::Signed(values) => Some(i128::from(values[index])),
            Numbers::Unsigned(values) => Some(i128::from(values[index])),
            // A larger one saturates, and is none of 64 bits.
            Numbers::Doubles(values) if values[index].fract() == 0.0 => Some(values[index] as i128),
            _ => None,
        };
        (0..self.rows * self.width).filter_map(whole).filter(|whole| whole.unsigned_abs() >= 1 << 53)
    }

    /// The number at this place of all elements, row by row; NaN for a text.
    pub(super) fn number(&self, index: usize) -> f64 {
        self.at(index)
    }

    /// The elements, where they are texts.
    pub(super) fn texts(&self) -> Option<&Vec<String>> {
        match &self.numbers {
            Numbers::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// All columns but the last, and the last.
    pub(super) fn split_last_column(self) -> Result<(Array, Array), Fault> {
        let Array { rows, width, numbers } = self;
        if width < 2 {
            return wrong(
                "the array has one column, and needs features and, last, the label; or name two files: --data X.npy,y.npy",
            );
        }
        fn split<T: Clone>(values: &[T], width: usize, numbers: fn(Vec<T>) -> Numbers) -> (Numbers, Numbers) {
            let rows = values.chunks_exact(width);
            let last = rows.clone().map(|row| row[width - 1].clone()).collect();
            (numbers(rows.flat_map(|row| row[..width - 1].to_vec()).collect()), numbers(last))
        }
        let (features, labels) = match numbers {
            Numbers::Bytes(values) => split(&values, width, Numbers::Bytes),
            Numbers::Doubles(values) => split(&values, width, Numbers::Doubles),
            Numbers::Signed(values) => split(&values, width, Numbers::Signed),
            Numbers::Unsigned(values) => split(&values, width, Numbers::Unsigned),
            Numbers::Texts(_) => {
                return wrong("the array holds texts, and features are numbers; save them as a CSV file");
            }
        };
        Ok((Array { rows, width: width - 1, numbers: features }, Array { rows, width: 1, numbers: labels }))
    }

    /// An array of the MNIST files.
    pub(super) fn from_idx(input: &mut dyn Read) -> Result<Array, Fault> {
        let head = Head::of_idx(input)?;
        Array::from_elements(input, &head)
    }

    /// NumPy's array.
    pub(super) fn from_npy(input: &mut dyn Read) -> Result<Array, Fault> {
        let head = Head::of_npy(input)?;
        Array::from_elements(input, &head)
    }

    fn from_elements(input: &mut dyn Read, head: &Head) -> Result<Array, Fault> {
        let Head { ref shape, element, is_big_endian, is_columns_first } = *head;
        let (rows, width) = head.size()?;
        let Some(bytes) = width.checked_mul(rows).and_then(|count| count.checked_mul(element.bytes())) else {
            return head.too_large();
        };
        let mut data = Vec::new();
        input.take(bytes as u64).read_to_end(&mut data).map_err(unreadable)?;
        if data.len() != bytes {
            return wrong(format!(
                "the array of shape {shape:?} needs {bytes} bytes, and {} are there; is it cut off?",
                data.len()
            ));
        }
        if is_columns_first && shape.len() > 2 {
            return wrong(
                "the array lies column by column in more than two dimensions; save numpy.ascontiguousarray of it",
            );
        }
        let order = |index: usize| match is_columns_first {
            true => index % width * rows + index / width,
            false => index,
        };
        let element_at = |index: usize| &data[order(index) * element.bytes()..][..element.bytes()];
        let count = rows * width;
        let numbers = match element {
            Element::Unsigned(1) if !is_columns_first => Numbers::Bytes(data),
            Element::Unicode(_) | Element::Ascii(_) => {
                Numbers::Texts((0..count).map(|index| text(element_at(index), element, is_big_endian)).collect())
            }
            Element::Signed(8) => {
                let bits = (0..count).map(|index| bits(element_at(index), is_big_endian));
                Numbers::Signed(bits.map(|bits| bits as i64).collect())
            }
            Element::Unsigned(8) => {
                Numbers::Unsigned((0..count).map(|index| bits(element_at(index), is_big_endian)).collect())
            }
            _ => Numbers::Doubles((0..count).map(|index| number(element_at(index), element, is_big_endian)).collect()),
        };
        Ok(Array { rows, width, numbers })
    }
}

/// What stands before an array's elements.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    shape: Vec<usize>,
    element: Element,
    is_big_endian: bool,
    is_columns_first: bool,
}

impl Head {
    /// Of the MNIST files: magic, dimensions, and then elements, all big-endian.
    pub(super) fn of_idx(input: &mut dyn Read) -> Result<Head, Fault> {
        let [_, _, kind, dimensions] = head::<4>(input)?;
        let element = match kind {
            0x08 => Element::Unsigned(1),
            0x09 => Element::Signed(1),
            0x0B => Element::Signed(2),
            0x0C => Element::Signed(4),
            0x0D => Element::Float(4),
            0x0E => Element::Float(8),
            _ => return wrong(format!("an IDX file has elements of no type {kind:#04x}; is it damaged?")),
        };
        if usize::from(dimensions) > DIMENSIONS_MAX {
            return wrong(format!("the array has {dimensions} dimensions, and at most {DIMENSIONS_MAX} are read"));
        }
        let shape: Vec<usize> = (0..dimensions)
            .map(|_| Ok(u32::from_be_bytes(head::<4>(input)?) as usize))
            .collect::<Result<_, Fault>>()?;
        Ok(Head { shape, element, is_big_endian: true, is_columns_first: false })
    }

    /// NumPy's: a Python dictionary.
    pub(super) fn of_npy(input: &mut dyn Read) -> Result<Head, Fault> {
        let magic: [u8; 8] = head(input)?;
        if !magic.starts_with(b"\x93NUMPY") {
            return wrong("this is no .npy array; save it with numpy.save, or numpy.savez");
        }
        let header_bytes = match magic[6] {
            1 => u32::from(u16::from_le_bytes(head(input)?)),
            _ => u32::from_le_bytes(head(input)?),
        };
        if header_bytes > HEADER_BYTES_MAX {
            return wrong(format!(
                "the array's header has {header_bytes} bytes, and at most {HEADER_BYTES_MAX} are read"
            ));
        }
        let mut header = Vec::new();
        input.take(header_bytes.into()).read_to_end(&mut header).map_err(unreadable)?;
        let header = String::from_utf8_lossy(&header).into_owned();
        let value = |key: &str| header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        let damaged =
            || Fault::Array { cause: "the array's header is damaged; save it again with numpy.save".to_owned() };
        let kind = value("descr").and_then(|rest| rest.strip_prefix('\'')).and_then(|rest| rest.split('\'').next());
        let Some(kind) = kind else {
            return wrong("the array's elements are records; save columns of one type, or a CSV file");
        };
        let is_columns_first = value("fortran_order").ok_or_else(damaged)?.starts_with("True");
        let shape = value("shape").and_then(|rest| rest.strip_prefix('(')).and_then(|rest| rest.split(')').next());
        let sizes = shape.ok_or_else(damaged)?.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>().ok_or_else(damaged)?;
        let (is_big_endian, element) = element_of(kind)?;
        Ok(Head { shape, element, is_big_endian, is_columns_first })
    }

    /// Rows, and elements of each.
    pub(super) fn size(&self) -> Result<(usize, usize), Fault> {
        let [rows, rest @ ..] = &self.shape[..] else {
            return wrong("the array is a single number; rows of them are needed");
        };
        let width = rest.iter().try_fold(1usize, |width, &size| width.checked_mul(size));
        width.map_or_else(|| self.too_large(), |width| Ok((*rows, width)))
    }

    /// Whether its elements are numbers that lie row by row, so that they need not all be there at once.
    fn is_a_stream(&self) -> bool {
        let are_numbers = !matches!(self.element, Element::Unicode(_) | Element::Ascii(_));
        are_numbers && (!self.is_columns_first || self.shape.len() < 2)
    }

    fn too_large<T>(&self) -> Result<T, Fault> {
        wrong(format!("an array of shape {:?} is larger than any memory", self.shape))
    }
}

/// An array's numbers, row by row.
pub(super) struct ArrayRows<'a> {
    rows: usize,
    width: usize,
    next: usize,
    elements: Elements<'a>,
}

enum Elements<'a> {
    /// As they come.
    Stream { input: BufReader<Box<dyn Read + 'a>>, element: Element, is_big_endian: bool, row: Vec<u8> },
    /// Of which all had to be there.
    Whole(Array),
}

impl<'a> ArrayRows<'a> {
    /// Those behind a head; at most as wide as is allowed.
    pub(super) fn behind(head: &Head, mut input: Box<dyn Read + 'a>, width_max: usize) -> Result<ArrayRows<'a>, Fault> {
        let (rows, width) = head.size()?;
        if width > width_max {
            return wrong(format!("the array has {width} columns, and at most {width_max} have a use here"));
        }
        if !head.is_a_stream() {
            return Ok(ArrayRows::of(Array::from_elements(&mut input, head)?));
        }
        let Head { element, is_big_endian, .. } = *head;
        let row = vec![0; width * element.bytes()];
        let input = BufReader::with_capacity(STREAM_BYTES, input);
        Ok(ArrayRows { rows, width, next: 0, elements: Elements::Stream { input, element, is_big_endian, row } })
    }

    /// Those of an array.
    pub(super) fn of(array: Array) -> ArrayRows<'a> {
        ArrayRows { rows: array.rows, width: array.width, next: 0, elements: Elements::Whole(array) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The row that was told last.
    pub(super) fn last(&self) -> usize {
        self.next.saturating_sub(1)
    }

    /// Puts the next row's numbers into as many places, NaN for texts; not where there is none.
    pub(super) fn advance(&mut self, numbers: &mut [f64]) -> Result<bool, Fault> {
        if self.next == self.rows {
            return Ok(false);
        }
        match &mut self.elements {
            Elements::Whole(array) => {
                for (place, number) in numbers.iter_mut().enumerate() {
                    *number = array.at(self.next * self.width + place);
                }
            }
            Elements::Stream { input, element, is_big_endian, row } => {
                input.read_exact(row).map_err(|error| match error.kind() {
                    ErrorKind::UnexpectedEof => Fault::Array {
                        cause: format!(
                            "the array has {} rows, and ends in row {} (from 0); is it cut off?",
                            self.rows, self.next
                        ),
                    },
                    _ => unreadable(error),
                })?;
                match (*element, *is_big_endian) {
                    // The usual ones, as fast as they come.
                    (Element::Float(4), false) => {
                        for (bytes, number) in row.as_chunks().0.iter().zip(numbers) {
                            *number = f64::from(f32::from_le_bytes(*bytes));
                        }
                    }
                    (Element::Float(_), false) => {
                        for (bytes, number) in row.as_chunks().0.iter().zip(numbers) {
                            *number = f64::from_le_bytes(*bytes);
                        }
                    }
                    (element, is_big_endian) => {
                        for (bytes, to) in row.chunks_exact(element.bytes()).zip(numbers) {
                            *to = number(bytes, element, is_big_endian);
                        }
                    }
                }
            }
        }
        self.next += 1;
        Ok(true)
    }
}

fn head<const N: usize>(input: &mut dyn Read) -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    match input.read_exact(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => wrong("the array is cut off in its header"),
        Err(error) => Err(unreadable(error)),
    }
}

/// Byte order and element of NumPy's name for a type: `<f4`.
fn element_of(kind: &str) -> Result<(bool, Element), Fault> {
    let unknown = || Fault::Array {
        cause: format!(
            "the array's elements are of type {kind:?}; save numbers (X.astype('f8')) or texts (y.astype('U'))"
        ),
    };
    let (order, rest) = kind.split_at_checked(1).ok_or_else(unknown)?;
    let (letter, size) = rest.split_at_checked(1).ok_or_else(unknown)?;
    let size: usize = size.parse().map_err(|_| unknown())?;
    let element = match (letter, size) {
        ("b" | "u", 1) | ("u", 2 | 4 | 8) => Element::Unsigned(size),
        ("i", 1 | 2 | 4 | 8) => Element::Signed(size),
        ("f", 4 | 8) => Element::Float(size),
        ("U", 1..=1_024) => Element::Unicode(size),
        ("S", 1..=1_024) => Element::Ascii(size),
        _ => return Err(unknown()),
    };
    Ok((order == ">", element))
}

/// Up to 8 bytes as a number without a sign.
fn bits(bytes: &[u8], is_big_endian: bool) -> u64 {
    let mut little = [0; 8];
    let size = bytes.len().min(8);
    little[..size].copy_from_slice(&bytes[..size]);
    if is_big_endian {
        little[..size].reverse();
    }
    u64::from_le_bytes(little)
}

fn number(bytes: &[u8], element: Element, is_big_endian: bool) -> f64 {
    let bits = bits(bytes, is_big_endian);
    let unused = 64 - 8 * element.bytes().min(8) as u32;
    match element {
        Element::Float(4) => f64::from(f32::from_bits(bits as u32)),
        Element::Float(_) => f64::from_bits(bits),
        // The sign's bit goes to the left end and comes back.
        Element::Signed(_) => ((bits << unused) as i64 >> unused) as f64,
        _ => bits as f64,
    }
}

fn text(bytes: &[u8], element: Element, is_big_endian: bool) -> String {
    let text: String = match element {
        Element::Unicode(_) => {
            let letters = bytes.as_chunks::<4>().0.iter().map(|&letter| match is_big_endian {
                true => u32::from_be_bytes(letter),
                false => u32::from_le_bytes(letter),
            });
            letters.map(|letter| char::from_u32(letter).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    text.trim_end_matches('\0').trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A .npy file.
    fn npy(kind: &str, shape: &str, is_columns_first: bool, data: &[u8]) -> Vec<u8> {
        let order = if is_columns_first { "True" } else { "False" };
        let header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn read(bytes: &[u8]) -> Result<Array, Fault> {
        Array::from_npy(&mut &bytes[..])
    }

    fn doubles(array: &Array) -> Vec<f64> {
        array.values().collect()
    }

    #[test]
    fn arrays_of_every_type_and_order_are_read() {
        let cases: [(&str, Vec<u8>); 7] = [
            ("|u1", vec![1, 2, 3, 250]),
            ("|i1", vec![1, 2, 3, 250]),
            ("<i2", [1i16, 2, 3, -6].map(i16::to_le_bytes).concat()),
            (">i4", [1i32, 2, 3, -6].map(i32::to_be_bytes).concat()),
            ("<i8", [1i64, 2, 3, -6].map(i64::to_le_bytes).concat()),
            ("<f4", [1f32, 2.0, 3.0, -6.0].map(f32::to_le_bytes).concat()),
            (">f8", [1f64, 2.0, 3.0, -6.0].map(f64::to_be_bytes).concat()),
        ];
        for (kind, data) in cases {
            let last = if kind == "|u1" { 250.0 } else { -6.0 };
            let array = read(&npy(kind, "(2, 2)", false, &data)).unwrap();
            assert_eq!((array.rows(), array.width(), doubles(&array)), (2, 2, vec![1.0, 2.0, 3.0, last]), "{kind}");
            let array = read(&npy(kind, "(2, 2)", true, &data)).unwrap();
            assert_eq!(doubles(&array), [1.0, 3.0, 2.0, last], "{kind}");
        }
        let texts = read(&npy("<U2", "(2,)", false, b"a\0\0\0\0\0\0\0b\0\0\0c\0\0\0")).unwrap();
        assert_eq!(texts.texts().unwrap(), &["a", "bc"]);
    }

    #[test]
    fn rows_of_an_array_come_one_by_one_and_are_missed_where_it_is_cut_off() {
        let data: Vec<u8> = [1f32, 2.0, 3.0, -6.0, 5.0, 0.5].into_iter().flat_map(f32::to_le_bytes).collect();
        let whole = npy("<f4", "(3, 2)", false, &data);
        let rows = |bytes: &[u8]| {
            let mut input: Box<dyn Read + '_> = Box::new(bytes);
            let head = Head::of_npy(&mut input).unwrap();
            let mut rows = ArrayRows::behind(&head, input, 2).unwrap();
            let (mut row, mut all) = ([0.0; 2], Vec::new());
            while rows.advance(&mut row)? {
                all.extend(row);
            }
            Ok::<_, Fault>(all)
        };
        assert_eq!(rows(&whole), Ok(vec![1.0, 2.0, 3.0, -6.0, 5.0, 0.5]));
        assert_eq!(rows(&npy("|i1", "(2, 2)", false, &[1, 255, 3, 128])), Ok(vec![1.0, -1.0, 3.0, -128.0]));
        assert_eq!(rows(&npy("|i1", "(2, 2)", true, &[1, 255, 3, 128])), Ok(vec![1.0, 3.0, -1.0, -128.0]));
        assert!(matches!(rows(&whole[..whole.len() - 1]), Err(Fault::Array { cause }) if cause.contains("row 2")));
        let wide = npy("<f8", "(1, 4000000000)", false, &[0; 8]);
        let mut input: Box<dyn Read + '_> = Box::new(&wide[..]);
        let head = Head::of_npy(&mut input).unwrap();
        assert!(ArrayRows::behind(&head, input, 2).is_err());
    }

    #[test]
    fn images_of_idx_are_rows() {
        let bytes = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2][..], &[1, 2, 3, 4]].concat();
        let array = Array::from_idx(&mut &bytes[..]).unwrap();
        assert_eq!((array.rows(), array.width(), doubles(&array)), (2, 2, vec![1.0, 2.0, 3.0, 4.0]));
    }

    #[test]
    fn an_array_that_announces_more_than_there_is_is_refused_before_memory_is_taken() {
        for (shape, words) in
            [("(2, 3)", "cut off"), ("(1000000000, 1000000)", "cut off"), ("(99999999999, 99999999999)", "memory")]
        {
            let Err(Fault::Array { cause }) = read(&npy("<f8", shape, false, &[0; 40])) else { panic!("{shape}") };
            assert!(cause.contains(words), "{cause}");
        }
        assert!(matches!(read(&npy("|O", "(2,)", false, b"")), Err(Fault::Array { .. })));
    }
}
