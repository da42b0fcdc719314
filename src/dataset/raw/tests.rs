use std::cell::Cell;
use std::io;
use std::rc::Rc;

use super::*;
use crate::dataset::{Dataset, Preparation, Prepared, ReadOptions, Scaling, ShardCount, Sharding, ValidationSplit};

/// Trees, of which the second's girth and the fifth's bark are not known.
const TREES: &str = "\
tree,girth,bark,seen,kind
A1,1.5,rough,2024-03-01,oak
B7,,smooth,2024-03-02,ash
C3,4.5,rough,2024-03-05,oak
D4,2.25,smooth,2024-03-07,ash
E9,3.5,NA,2024-03-08,oak
F2,2.5,smooth,2024-03-09,ash
";

/// What training makes of a file all of whose rows but the last train.
fn prepared(csv: &str) -> Prepared {
    // So few names of rows could be categories.
    let ignore = if csv.starts_with("tree,") { vec!["tree".to_owned()] } else { Vec::new() };
    let options = ReadOptions { ignore, ..ReadOptions::default() };
    let data = Dataset::from_reader("trees.csv", csv.as_bytes(), &options).unwrap();
    let split: ValidationSplit = "last:1".parse().unwrap();
    let asked = Preparation {
        test: None,
        split,
        scaling: Scaling::Standardise,
        sharding: Sharding::Contiguous,
        shards: ShardCount::Exactly(1),
        seed: 1,
    };
    data.prepare(&asked).unwrap()
}

fn schema(csv: &str) -> Schema {
    prepared(csv).schema
}

/// What comes of some bytes: inputs of the rows that have some, row by row, and what is said.
#[derive(Debug, Default, PartialEq)]
struct Read {
    inputs: Vec<Vec<f32>>,
    labels: Vec<Option<String>>,
    kept: Vec<String>,
    bad: Vec<String>,
    said: Vec<String>,
}

fn read(bytes: &[u8], schema: &Schema, options: &RawOptions) -> Result<Read, String> {
    let mut rows = RawRows::from_reader("new.csv", bytes, schema, options).map_err(|error| error.to_string())?;
    let mut read = Read { said: rows.notes().to_vec(), ..Read::default() };
    let mut inputs = vec![f32::NAN; schema.width()];
    while let Some(RawRow { place, bad }) = rows.advance(&mut inputs).map_err(|error| error.to_string())? {
        match bad {
            None => read.inputs.push(inputs.clone()),
            Some(bad) => read.bad.push(rows.refuse(place, bad).to_string()),
        }
        read.labels.push(rows.label(0).map(Cow::into_owned));
        read.kept.extend(rows.kept().map(|kept| String::from_utf8_lossy(&kept).into_owned()));
    }
    read.said.extend(rows.summary());
    Ok(read)
}

fn usual(csv: &str, schema: &Schema) -> Result<Read, String> {
    read(csv.as_bytes(), schema, &RawOptions::default())
}

/// The lines of a file with their fields in another order.
fn reordered(csv: &str, order: &[usize]) -> String {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        order.iter().map(|&place| fields[place]).collect::<Vec<_>>().join(",") + "\n"
    };
    csv.lines().map(line).collect()
}

#[test]
fn rows_become_what_they_became_in_training_wherever_their_columns_stand() {
    let prepared = prepared(TREES);
    let width = prepared.features;
    let mut wanted: Vec<Vec<f32>> = Vec::new();
    for block in [&prepared.shards[0], &prepared.validation] {
        let mut inputs = Vec::new();
        block.inputs().expand(0..block.rows(), &mut inputs);
        wanted.extend(inputs.chunks(width).map(<[f32]>::to_vec));
    }
    let as_they_were = usual(TREES, &prepared.schema).unwrap();
    assert_eq!(as_they_were.inputs, wanted);
    let missing = "missing values, taken as in training: 1 in column 2 (\"girth\"), 1 in column 3 (\"bark\")";
    assert_eq!(as_they_were.said, [missing]);
    // Without the label and what was no input, in another order, with columns that are nobody's.
    let other = usual(&reordered(TREES, &[3, 2, 1]), &prepared.schema).unwrap();
    assert_eq!(other.inputs, wanted);
    assert!(other.said[0].contains("another order"), "{other:?}");
    let more = usual(&TREES.replace("tree,", "owner,"), &prepared.schema).unwrap();
    assert_eq!((more.inputs, &*more.said[0]), (wanted.clone(), "the model has no use for column 1 (\"owner\")"));
    // And in other dialects.
    let schema = &prepared.schema;
    for text in [
        TREES.replace(',', ";"),
        TREES.replace(',', "\t").replace('\n', "\r\n"),
        format!("sep=|\n{}", TREES.replace(',', "|")),
        format!("\u{feff}{TREES}"),
        TREES.replace(",rough", ", \"rough\" ").replace(", \"", ",\"").replace("\" ,", "\","),
    ] {
        assert_eq!(usual(&text, schema).unwrap().inputs, wanted, "{text}");
    }
}

#[test]
fn without_a_header_columns_stand_in_their_places_with_or_without_the_label() {
    let schema = schema(TREES);
    let wanted = usual(TREES, &schema).unwrap().inputs;
    let rows = |order: &[usize]| reordered(TREES, order).lines().skip(1).collect::<Vec<_>>().join("\n");
    for order in [&[0, 1, 2, 3, 4][..], &[0, 1, 2, 3], &[1, 2, 3]] {
        let read = usual(&rows(order), &schema).unwrap();
        assert_eq!(read.inputs, wanted, "{order:?}");
        assert_eq!(read.said[0], "the first line is taken for a row, and columns by their place");
    }
    let sentence = usual(&rows(&[1, 2]), &schema).unwrap_err();
    assert!(sentence.contains("the number of columns is 2") && sentence.contains("5 or 4 or 3"), "{sentence}");
    // The labels must be there where rows are judged.
    let judged = RawOptions { wants_labels: true, ..RawOptions::default() };
    assert_eq!(read(rows(&[0, 1, 2, 3, 4]).as_bytes(), &schema, &judged).unwrap().labels[0].as_deref(), Some("oak"));
    let sentence = read(rows(&[0, 1, 2, 3]).as_bytes(), &schema, &judged).unwrap_err();
    assert!(sentence.contains("the column \"kind\" is not there") && sentence.contains("client predict"), "{sentence}");
    let sentence = read(rows(&[1, 2]).as_bytes(), &schema, &judged).unwrap_err();
    assert!(sentence.contains("the number of columns is 2") && sentence.contains("takes 5:"), "{sentence}");
    let sentence = read(reordered(TREES, &[0, 1, 2, 3]).as_bytes(), &schema, &judged).unwrap_err();
    assert!(sentence.contains("column \"kind\""), "{sentence}");
}

#[test]
fn a_missing_column_is_refused_with_its_name_and_a_repeated_one_with_its() {
    let schema = schema(TREES);
    let sentence = usual(&reordered(TREES, &[0, 1, 3]), &schema).unwrap_err();
    assert_eq!(
        sentence,
        "new.csv, line 1: the model learned from the column \"bark\", and this header does not name it; add it (an empty \
         field is a missing value), or say --header no if the line is a row; there are column 1 (\"tree\"), column 2 \
         (\"girth\"), column 3 (\"seen\")"
    );
    let sentence = usual(&reordered(TREES, &[0]), &schema).unwrap_err();
    assert!(sentence.contains("columns \"girth\", \"bark\", \"seen\""), "{sentence}");
    let sentence = usual(&reordered(TREES, &[1, 2, 3, 2]), &schema).unwrap_err();
    assert!(sentence.contains("the column \"bark\" more often"), "{sentence}");
}

#[test]
fn a_header_is_told_from_a_row_as_pandas_and_r_write_them_and_as_is_asked() {
    // Names that are numbers, of which rows may hold the same.
    let numbers = "0,1,2,3\n3,0,7,a\n2,9,1,b\n4,1,0,a\n8,2,5,b\n9,3,3,a\n";
    let schema_of_numbers = schema(numbers);
    let header = usual(numbers, &schema_of_numbers).unwrap();
    assert_eq!(header.inputs.len(), 5, "{header:?}");
    let rows = usual("3,0,7\n2,9,1\n0,0,2\n", &schema_of_numbers).unwrap();
    assert_eq!((rows.inputs.len(), rows.inputs[0] == header.inputs[0]), (3, true), "{rows:?}");
    let asked = |header| RawOptions { header: Some(header), ..RawOptions::default() };
    assert_eq!(read(b"0,1,2\n3,0,7\n", &schema_of_numbers, &asked(false)).unwrap().inputs.len(), 2);
    assert!(read(b"3,0,7\n2,9,1\n", &schema_of_numbers, &asked(true)).unwrap_err().contains("does not name"));
    // R leaves out the name of the rows' names; spreadsheets end every line with a separator.
    let r =
        "\"x\",\"y\",\"kind\"\n\"1\",2,3,\"a\"\n\"2\",4,1,\"b\"\n\"3\",5,5,\"a\"\n\"4\",1,9,\"b\"\n\"5\",0,2,\"a\"\n";
    let of_r = schema(r);
    let read_r = usual(r, &of_r).unwrap();
    assert_eq!((read_r.inputs.len(), read_r.said.len()), (5, 0), "{read_r:?}");
    let trailing = "x,y,\n2,3,\n4,1,\n";
    assert_eq!(usual(trailing, &of_r).unwrap().inputs, read_r.inputs[..2]);
    assert_eq!(usual("x,y\n2,3,\n4,1,\n", &of_r).unwrap().inputs, read_r.inputs[..2]);
    // A model that knows no names takes a header for names by what stands below numbers.
    let unnamed = schema("1,2,a\n3,1,b\n2,2,a\n5,3,b\n7,7,a\n");
    let by_place = usual("left,right\n1,2\n3,1\n", &unnamed).unwrap();
    assert_eq!((by_place.inputs.len(), by_place.said.len()), (2, 1), "{by_place:?}");
    assert_eq!(usual("1,2\n3,1\n", &unnamed).unwrap().inputs, by_place.inputs);
    // What is neither is said to be neither.
    let sentence = usual("A1,thin,rough,2024-03-01,oak\n", &schema(TREES)).unwrap_err();
    assert!(
        sentence
            .contains("line 1: this is no row of the model's columns (column 2 (\"girth\"): \"thin\" is no number)"),
        "{sentence}"
    );
}

#[test]
fn a_number_that_is_written_otherwise_is_refused_with_how_it_is_to_be_written() {
    let schema = schema("girth;kind\n1,5;oak\n2,25;fir\n3,5;oak\n4,0;fir\n");
    let found = usual("girth;kind\n12.9;oak\n12,9;fir\nx;oak\n", &schema).unwrap();
    assert_eq!(found.inputs.len(), 1, "{found:?}");
    let beginnings = [
        "new.csv, line 2, column 1 (\"girth\"): \"12.9\" is no number: the model's are written like 1234,5; ",
        "new.csv, line 4, column 1 (\"girth\"): \"x\" is no number; ",
    ];
    for (sentence, beginning) in found.bad.iter().zip(beginnings) {
        assert!(sentence.starts_with(beginning), "{sentence}");
    }
}

#[test]
fn what_stands_beside_a_number_dates_in_another_order_and_another_encoding_are_told_as_such() {
    let schema =
        schema("p;d;n;k\n1,5 %;31.01.2024;a;x\n2,25 %;01.02.2024;b;y\n3,5 %;03.02.2024;a;x\n4,0 %;04.02.2024;b;y\n");
    let bytes = b"p;d;n\n5,5;31.01.2024;a\n5 %;2024-01-31;b\n5 %;soon;a\n5 %;01.02.2024;b\xfcro\n";
    let found = read(bytes, &schema, &RawOptions::default()).unwrap();
    let beginnings = [
        "new.csv, line 2, column 1 (\"p\"): \"5,5\" is no number: the model's are written like 1234,5 with %; ",
        "new.csv, line 3, column 2 (\"d\"): \"2024-01-31\" is no date: the model's are written like 31.01.2024; ",
        "new.csv, line 4, column 2 (\"d\"): \"soon\" is no date; ",
        "new.csv, line 5, column 3 (\"n\"): \"b",
    ];
    assert_eq!(found.bad.len(), beginnings.len(), "{found:?}");
    for (sentence, beginning) in found.bad.iter().zip(beginnings) {
        assert!(sentence.starts_with(beginning), "{sentence}");
    }
    let told =
        "ro\" is not UTF-8; if Windows wrote the file, iconv -f WINDOWS-1252 -t UTF-8 FILE > FILE.csv converts it; ";
    assert!(found.bad[3].contains(told), "{found:?}");
}

#[test]
fn points_between_thousands_are_read_in_new_rows_as_in_those_that_trained() {
    let csv = |number: &str| format!("n;area;k\n{number};1,5;x\n149;2,5;y\n60;3,5;x\n7;0,5;y\n88;2,0;x\n12;1,0;y\n");
    let (without, with) = (schema(&csv("950")), schema(&csv("1.250")));
    for schema in [&without, &with] {
        let inputs = usual("n;area\n1.250;1,5\n1250;1,5\n1.25;1,5\n", schema).unwrap();
        assert_eq!((inputs.inputs.len(), inputs.inputs[0] == inputs.inputs[1]), (2, true), "{inputs:?}");
        assert!(inputs.bad[0].contains("\"1.25\" is no number: the model's are written like 1.234,5"), "{inputs:?}");
    }
    // Nothing tells of a file without decimal commas, or with decimal points.
    for csv in [csv("950").replace(",5", "").replace(",0", ""), csv("950").replace("area", "p").replace(',', ".")] {
        let inputs = usual("n;area;p\n1.250;1;1\n1.25;1;1\n", &schema(&csv)).unwrap();
        assert_eq!((inputs.inputs.len(), inputs.inputs[0] == inputs.inputs[1]), (2, true), "{inputs:?}");
    }
}

#[test]
fn values_that_did_not_train_are_counted_and_those_of_another_kind_refused_with_line_and_column() {
    let schema = schema(TREES);
    let csv = "bark,girth,seen\nflaky,1,2024-03-01\nrough,x,2024-03-01\npapery,2,2024-03-01\nrough,3,soon\nrough,4\n\
               rough,1e300,2024-03-01\nrough,1e100,2024-03-01\n";
    let found = usual(csv, &schema).unwrap();
    assert_eq!(found.inputs.len(), 2);
    assert_eq!(
        found.said[1..],
        [
            "column 1 (\"bark\"): 2 of 7 rows have a category that was rare or unknown in training, first \"flaky\" in line 2"
        ]
    );
    let beginnings = [
        "new.csv, line 3, column 2 (\"girth\"): \"x\" is no number; correct the row, or say --on-error leave",
        "new.csv, line 5, column 3 (\"seen\"): \"soon\" is no date",
        "new.csv, line 6, the number of fields is 2, and in other rows 3",
        "new.csv, line 7, column 2 (\"girth\"): \"1e300\" is no finite number",
        "new.csv, line 8, column 2 (\"girth\"): \"1e100\" is no finite number, or too far from those that trained",
    ];
    assert_eq!(found.bad.len(), beginnings.len());
    for (sentence, beginning) in found.bad.iter().zip(beginnings) {
        assert!(sentence.starts_with(beginning), "{sentence}");
    }
    // A model that refuses missing values in training refuses them now.
    let scale = [crate::model::scaling::FeatureScale::IDENTITY];
    let strict = Schema::of_numbers(&["x".to_owned()], &scale, &["kind".to_owned()]);
    let found = usual("x,kind\n1,a\n,b\n", &strict).unwrap();
    assert_eq!(found.inputs, [[1.0]]);
    assert!(found.bad[0].contains("line 3, column 1 (\"x\"): \"\" is no value"), "{found:?}");
}

#[test]
fn columns_are_passed_on_as_they_are_by_name_or_number() {
    let schema = schema(TREES);
    let asked = |keep: &[&str]| RawOptions {
        keep: keep.iter().map(|word| (*word).to_owned()).collect(),
        ..RawOptions::default()
    };
    let csv = "girth,bark,seen,note\n1,rough,2024-03-01,\" a, \"\"b\"\"\"\n";
    assert_eq!(read(csv.as_bytes(), &schema, &asked(&["note", "1"])).unwrap().kept, [" a, \"b\"", "1"]);
    let sentence = read(csv.as_bytes(), &schema, &asked(&["notes"])).unwrap_err();
    assert!(sentence.contains("--keep names a column \"notes\", and there is none"), "{sentence}");
}

#[test]
fn rows_that_are_to_be_judged_without_their_labels_are_refused_with_what_tells_without() {
    let schema = schema("x,y,kind\n1.5,2,oak\n3,-1,elm\n2,,oak\n5,3,elm\n7,7,oak\n");
    let judged = |header| RawOptions { wants_labels: true, header, ..RawOptions::default() };
    for (csv, header) in [("x,y\n1,2\n", None), ("y,x\n1,2\n", None), ("1,2\n3,4\n", Some(false))] {
        let sentence = read(csv.as_bytes(), &schema, &judged(header)).unwrap_err();
        assert!(
            sentence.contains("line 1: the column \"kind\" is not there") && sentence.contains("predict"),
            "{sentence}"
        );
    }
    let sentence = read(&b"x\n1\n"[..], &schema, &judged(None)).unwrap_err();
    assert!(sentence.contains("the model learned from the columns \"y\", \"kind\""), "{sentence}");
}

/// A .npy file of f4.
fn npy(rows: usize, numbers: &[f32]) -> Vec<u8> {
    let shape = format!("({rows}, {})", numbers.len() / rows);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

#[test]
fn an_arrays_rows_become_what_the_same_numbers_in_a_file_become() {
    let csv = "x,y,kind\n1.5,2,0\n3,-1,1\n2,,0\n5,3,1\n7,7,0\n";
    let schema = schema(csv);
    let wanted = usual(csv, &schema).unwrap();
    let numbers = [1.5, 2.0, 0.0, 3.0, -1.0, 1.0, 2.0, f32::NAN, 0.0, 5.0, 3.0, 1.0, 7.0, 7.0, 0.0];
    let judged = RawOptions { wants_labels: true, keep: vec!["1".to_owned()], ..RawOptions::default() };
    let of_array = read(&npy(5, &numbers), &schema, &judged).unwrap();
    assert_eq!((&of_array.inputs, &of_array.labels), (&wanted.inputs, &wanted.labels));
    assert_eq!(of_array.kept, ["1.5", "3", "2", "5", "7"]);
    let bare: Vec<f32> = numbers.chunks(3).flat_map(|row| [row[0], row[1]]).collect();
    assert_eq!(read(&npy(5, &bare), &schema, &RawOptions::default()).unwrap().inputs, wanted.inputs);
    let sentence = read(&npy(1, &[1.0; 4]), &schema, &RawOptions::default()).unwrap_err();
    assert!(sentence.contains("4 columns, and at most 3"), "{sentence}");
    let infinite = read(&npy(2, &[1.0, 2.0, f32::INFINITY, 1.0]), &schema, &RawOptions::default()).unwrap();
    assert!(infinite.bad[0].starts_with("new.csv, row 1 (from 0), column 1 (\"x\")"), "{infinite:?}");
    let sentence = read(&npy(1, &[1.0; 3]), &super::tests::schema(TREES), &RawOptions::default()).unwrap_err();
    assert!(sentence.contains("column \"bark\" is a category, and an array holds numbers alone"), "{sentence}");
}

#[test]
fn a_number_that_stands_for_no_value_does_so_in_an_array_too() {
    let csv = "x,y,z\n1.5,2,0.5\n3,-1,1.25\n2,,2\n5,3,1\n7,7,0\n";
    let named = Schema { missing: "default,-999,-99.9".parse().unwrap(), ..schema(csv) };
    let wanted = usual("x,y,z\n-99.9,2,0.5\n3,-999,-999\n", &named).unwrap();
    // What is nearest to -99.9 in single precision is another number than the double.
    let numbers = [-99.9, 2.0, 0.5, 3.0, -999.0, -999.0];
    let mut of_array =
        read(&npy(2, &numbers), &named, &RawOptions { wants_labels: true, ..RawOptions::default() }).unwrap();
    assert_eq!((&of_array.inputs, &of_array.labels), (&wanted.inputs, &wanted.labels));
    assert_eq!(of_array.labels.pop(), Some(None));
    assert_eq!(of_array.said, ["missing values, taken as in training: 1 in column 1, 1 in column 2"]);
    let bytes = npy(2, &numbers);
    let mut rows = RawRows::from_reader("new", &bytes[..], &named, &RawOptions::default()).unwrap();
    let mut inputs = vec![0.0; named.width()];
    let mut value = || rows.advance(&mut inputs).unwrap().and_then(|_| rows.label_value(0));
    assert_eq!((value(), value()), (Some(0.5), None));
    // A schema that names no numbers takes all of them.
    assert!(read(&npy(2, &numbers), &schema(csv), &RawOptions::default()).unwrap().said.is_empty());
}

/// The same rows for ever; counts what has been read of them.
struct Endless {
    read: Rc<Cell<usize>>,
}

impl io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = b"1,2\n";
        let before = self.read.get();
        buffer.iter_mut().enumerate().for_each(|(index, byte)| *byte = line[(before + index) % line.len()]);
        self.read.set(before + buffer.len());
        Ok(buffer.len())
    }
}

#[test]
fn rows_are_told_long_before_the_last_is_read() {
    let schema = schema("1,2,a\n3,1,b\n2,2,a\n5,3,b\n7,7,a\n");
    let bytes = Rc::new(Cell::new(0));
    let mut rows = RawRows::from_reader("-", Endless { read: bytes.clone() }, &schema, &RawOptions::default()).unwrap();
    let mut inputs = [0.0; 2];
    for row in 1..=100_000usize {
        let read = rows.advance(&mut inputs).unwrap();
        assert_eq!(read, Some(RawRow { place: Place::Line(row as u64), bad: None }));
        // What is read ahead fits some buffers.
        assert!(bytes.get() <= 4 * row + (1 << 17), "{} bytes for {row} rows", bytes.get());
    }
}

#[test]
fn an_empty_file_is_refused_and_a_header_alone_has_no_rows() {
    let schema = schema(TREES);
    assert!(usual("", &schema).unwrap_err().starts_with("new.csv: the file is empty"));
    assert_eq!(usual("girth,bark,seen\n", &schema).unwrap(), Read::default());
}
