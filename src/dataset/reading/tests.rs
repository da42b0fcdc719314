use super::*;

/// Limits that a test can reach.
const SMALL: Limits = Limits { rows: 4, features: 3, classes: 3, record_bytes: 20_000 };

fn table(csv: impl AsRef<[u8]>) -> Table {
    read(csv.as_ref(), &LIMITS).unwrap()
}

fn fault(csv: impl AsRef<[u8]>) -> Fault {
    read(csv.as_ref(), &LIMITS).unwrap_err()
}

fn place(line: u64, number: usize) -> FieldLocation {
    FieldLocation { line, column: Column { number, name: None } }
}

fn named(line: u64, number: usize, name: &str) -> FieldLocation {
    FieldLocation { line, column: Column { number, name: Some(name.to_owned()) } }
}

/// Values, labels and classes of what must be the table of two rows `1 2 x` and `3.5 -4 y`.
fn assert_the_two_rows(table: &Table) {
    assert_eq!(table.values, ndarray::arr2(&[[1.0, 2.0], [3.5, -4.0]]));
    assert_eq!((&table.labels[..], &table.classes[..]), (&[0, 1][..], &["x".to_owned(), "y".to_owned()][..]));
}

#[test]
fn a_file_without_a_header_is_read_from_its_first_line() {
    let table = table("1,2,x\n3.5,-4,y\n");
    assert_the_two_rows(&table);
    assert!(table.columns.names.is_none());
    assert_eq!((table.lines.of(0), table.lines.of(1)), (1, 2));
}

#[test]
fn a_first_line_with_text_among_the_features_is_a_header() {
    for csv in ["width,height,kind\n1,2,x\n3.5,-4,y", "width,7,8\n1,2,x\n3.5,-4,y"] {
        let table = table(csv);
        assert_the_two_rows(&table);
        assert_eq!(table.columns.at(0), Column { number: 1, name: Some("width".to_owned()) });
        assert_eq!(table.lines.of(0), 2);
    }
}

#[test]
fn a_first_line_with_a_missing_value_or_nan_is_no_header() {
    assert_eq!(fault("1,,x\n3,4,y"), Fault::Missing { place: place(1, 2), got: String::new() });
    assert_eq!(fault("?,2,x\n3,4,y"), Fault::Missing { place: place(1, 1), got: "?".to_owned() });
    assert_eq!(fault("nan,2,x\n3,4,y"), Fault::NotFinite { place: place(1, 1), got: "nan".to_owned() });
}

#[test]
fn an_unnamed_column_of_a_header_has_its_number_only() {
    let table = table(",height,kind\n1,2,x\n3.5,-4,y");
    assert_the_two_rows(&table);
    assert_eq!(table.columns.at(0), Column { number: 1, name: None });
}

#[test]
fn commas_semicolons_and_tabs_separate() {
    for separator in [",", ";", "\t"] {
        assert_the_two_rows(&table("1,2,x\n3.5,-4,y\n".replace(',', separator)));
        assert_the_two_rows(&table("wide,high,kind\n1,2,x\n3.5,-4,y\n".replace(',', separator)));
    }
}

#[test]
fn a_separator_inside_quotes_does_not_count() {
    let table = table("\"a;;;\",\"b\t\t\t\",kind\n1,2,x\n3.5,-4,y\n");
    assert_the_two_rows(&table);
    assert_eq!(table.columns.names.unwrap(), ["a;;;", "b\t\t\t", "kind"].map(str::trim));
}

#[test]
fn decimal_commas_are_refused_and_not_taken_for_separators() {
    let csv = "wide;high;kind\n1,5;2,5;x\n3;4;y";
    assert_eq!(fault(csv), Fault::NotANumber { place: named(2, 1, "wide"), got: "1,5".to_owned() });
    let csv = "1,5;2,5;x\n3,5;4,5;y";
    assert_eq!(fault(csv), Fault::NotANumber { place: named(2, 1, "1,5"), got: "3,5".to_owned() });
}

#[test]
fn white_space_blank_lines_crlf_and_a_byte_order_mark_are_passed_over() {
    assert_the_two_rows(&table("\u{feff}1,2,x\r\n3.5,-4,y\r\n"));
    assert_the_two_rows(&table("\u{feff}\r\n \n1,2,x\n\n  \t\r\n\n3.5,-4,y\n\n"));
    assert_the_two_rows(&table("  1 ,\t2,  x \n3.5 , -4\u{a0}, y"));
    assert_the_two_rows(&table("\u{feff}\"wide\",high,kind\r\n1,2,\"x\"\r\n3.5,-4,\"y\""));
}

#[test]
fn quoted_labels_keep_their_separators_quotes_and_lines() {
    let table = table("1,\"a, \"\"b\"\"\nc\"\n2,d\n");
    assert_eq!(table.classes, ["a, \"b\"\nc", "d"]);
}

#[test]
fn labels_that_are_all_numbers_are_classes_in_order_of_value() {
    assert_eq!(table("0,10\n0,2\n0,-1\n0,2\n").classes, ["-1", "2", "10"]);
    assert_eq!(table("0,10\n0,2\n0,-1\n0,2\n").labels, [2, 1, 0, 1]);
    assert_eq!(table("0,1.50\n0,1e0\n").classes, ["1e0", "1.50"]);
}

#[test]
fn labels_with_a_name_among_them_are_classes_in_order_of_their_bytes() {
    assert_eq!(table("0,b\n0,10\n0,2\n0,B\n0,é\n").classes, ["10", "2", "B", "b", "é"]);
    assert_eq!(table("0,nan\n0,10\n0,2\n").classes, ["10", "2", "nan"]);
}

#[test]
fn features_are_read_in_every_usual_notation() {
    let table = table("+1,.5,1e-3,-2.E2,1e-400,x\n0,0,0,0,0,y");
    assert_eq!(table.values.row(0).to_vec(), [1.0, 0.5, 1e-3, -200.0, 0.0]);
}

#[test]
fn lines_are_counted_through_blank_lines_crlf_and_quoted_line_ends() {
    let broken = |before: &str| match fault(format!("{before}7,oops,z")) {
        Fault::NotANumber { place, .. } => place.line,
        other => panic!("{other:?}"),
    };
    assert_eq!(broken("1,2,x\n"), 2);
    assert_eq!(broken("a,b,c\n"), 2);
    assert_eq!(broken("\n\n1,2,x\n\n \n"), 6);
    assert_eq!(broken("\r\n\r\n1,2,x\r\n\r\n \r\n"), 6);
    assert_eq!(broken("1,2,\"x\n\nx\"\n"), 4);
    assert_eq!(broken("1,2,\"x\r\ny\"\r\n\r\n"), 4);
}

#[test]
fn each_row_knows_its_line() {
    let table = table("a,b\n\n1,x\n2,y\n\n\n3,\"x\n\"\n4,y\n5,x\n");
    assert_eq!([0, 1, 2, 3, 4].map(|row| table.lines.of(row)), [3, 4, 7, 9, 10]);
    assert_eq!(table.lines.jumps.len(), 3);
}

#[test]
fn a_file_without_data_is_refused() {
    for csv in ["", "\n\n", " \r\n\t\n", "\u{feff}", "\u{feff}\n"] {
        assert_eq!(fault(csv), Fault::Empty, "{csv:?}");
    }
    for csv in ["a,b,kind", "\n\na,b,kind\n\n"] {
        let line = 1 + csv.starts_with('\n') as u64 * 2;
        assert_eq!(fault(csv), Fault::HeaderOnly { line }, "{csv:?}");
    }
}

#[test]
fn a_single_column_is_refused() {
    for csv in ["\n1\n2\n", "\n1 2 x\n3 4 y\n", "\n1|2|x"] {
        assert_eq!(fault(csv), Fault::OneColumn { line: 2 }, "{csv:?}");
    }
}

#[test]
fn lines_of_more_or_fewer_columns_are_refused() {
    let ragged = |line, got| Fault::Ragged { line, got, first_line: 1, expected: 3 };
    assert_eq!(fault("1,2,x\n3,y\n"), ragged(2, 2));
    assert_eq!(fault("1,2,x\n\n3,4,5,y\n"), ragged(3, 4));
    assert_eq!(fault("a,b,c\n1,2,x\n3\n"), ragged(3, 1));
}

#[test]
fn a_quote_that_is_never_closed_is_refused_with_its_line() {
    assert_eq!(fault("1,2,x\n3,4,\"y\n5,6,z\n"), Fault::OpenQuote { line: 2 });
    assert_eq!(fault("1,2,x\n\n3,4,\"y"), Fault::OpenQuote { line: 3 });
    assert_eq!(fault("\"1,2,x\n"), Fault::OpenQuote { line: 1 });
}

#[test]
fn a_missing_value_is_refused_with_its_place() {
    for mark in ["", "  ", "?", "NA", "n/a", "NULL"] {
        let got = mark.trim().to_owned();
        assert_eq!(fault(format!("a,b,c\n1,{mark},x\n2,3,y")), Fault::Missing { place: named(2, 2, "b"), got });
    }
    assert_eq!(fault("1,2,x\n3,4,\n"), Fault::Missing { place: place(2, 3), got: String::new() });
}

#[test]
fn text_among_the_features_is_refused_with_its_place() {
    for text in ["abc", "1,5", "1 000", "0x10", "1_000", "--1", "5\"", "12.5.1"] {
        let quoted = text.replace('"', "\"\"");
        let expected = Fault::NotANumber { place: named(3, 2, "b"), got: text.to_owned() };
        assert_eq!(fault(format!("a,b,c\n1,2,x\n1,\"{quoted}\",y")), expected);
    }
}

#[test]
fn numbers_that_are_not_finite_in_f32_are_refused_with_their_place() {
    for text in ["nan", "NaN", "inf", "-inf", "Infinity", "1e400", "1e39", "-3.5e38"] {
        let expected = Fault::NotFinite { place: place(2, 1), got: text.to_owned() };
        assert_eq!(fault(format!("1,2,x\n{text},2,y")), expected);
    }
    assert_eq!(table("3.4028235e38,x\n-3.4028235e38,y").values[[0, 0]], f32::MAX);
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_its_place() {
    assert_eq!(fault(b"1,2,x\n3,\xff,y\n"), Fault::NotUtf8 { place: place(2, 2) });
    assert_eq!(fault(b"1,2,x\n3,4,\xe9t\xe9\n"), Fault::NotUtf8 { place: place(2, 3) });
    assert_eq!(fault(b"a,gr\xf6\xdfe,c\n1,2,x\n"), Fault::NotUtf8 { place: place(1, 2) });
    // UTF-16 with its byte order mark, as spreadsheets may save it.
    assert_eq!(fault(b"\xff\xfe1\0,\x002\0\n\0"), Fault::NotUtf8 { place: place(1, 1) });
}

#[test]
fn one_class_only_is_refused() {
    assert_eq!(fault("1,2,x\n3,4,x\n"), Fault::OneClass { label: "x".to_owned() });
    assert_eq!(fault("1,2,x"), Fault::OneClass { label: "x".to_owned() });
}

#[test]
fn the_limits_hold_as_the_file_grows() {
    let refused = |csv: String| read(csv.as_bytes(), &SMALL).unwrap_err();
    assert!(read("1,1,1,a\n1,1,1,b\n1,1,1,c\n1,1,1,c\n".as_bytes(), &SMALL).is_ok());
    assert_eq!(refused("1,1,1,1,a\n".to_owned()), Fault::TooManyFeatures { line: 1, got: 4 });
    assert_eq!(refused("1,a\n1,b\n1,c\n1,a\n\n1,b\n".to_owned()), Fault::TooManyRows { line: 6 });
    assert_eq!(refused("f,k\n1,a\n1,b\n1,c\n1,d\n".to_owned()), Fault::TooManyClasses { place: named(5, 2, "k") });
    let too_long = |line| Fault::LongLine { line, bytes_max: SMALL.record_bytes };
    assert_eq!(refused("1".repeat(20_001)), too_long(1));
    assert_eq!(refused(format!("\n1,a\n1,{}\n", "b".repeat(60_000))), too_long(3));
}

#[test]
fn an_endless_stream_is_given_up() {
    for byte in [0, b'1', b',', b'"', b'\xff'] {
        let refused = |head: &[u8]| read(head.chain(io::repeat(byte)), &SMALL).unwrap_err();
        assert!(matches!(refused(b""), Fault::LongLine { line: 1, .. }));
        assert!(matches!(refused(b"1,2,x\n3,4,"), Fault::LongLine { line: 2, .. }));
        assert!(matches!(refused(b"1,2,x\n3,4,\"\n\n"), Fault::LongLine { .. } | Fault::Ragged { .. }));
    }
}

#[test]
fn a_read_that_fails_is_told_with_the_systems_reason() {
    struct Broken(io::ErrorKind);
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(self.0, "the disk is gone"))
        }
    }
    let unreadable = Fault::Unreadable { cause: "the disk is gone".to_owned() };
    assert_eq!(read(Broken(io::ErrorKind::Other), &LIMITS).unwrap_err(), unreadable);
    assert_eq!(read(b"1,2,x\n".chain(Broken(io::ErrorKind::Other)), &LIMITS).unwrap_err(), unreadable);
    assert_eq!(read(Broken(io::ErrorKind::IsADirectory), &LIMITS).unwrap_err(), Fault::Directory);
}

#[test]
fn pieces_of_any_size_are_read_alike() {
    struct Pieces<'a>(&'a [u8], usize);
    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let bytes = self.1.min(buffer.len());
            self.0.read(&mut buffer[..bytes])
        }
    }
    let csv = "\u{feff}\r\nwide,high,kind\r\n1,2,\"x\"\r\n\r\n3.5,-4,y".as_bytes();
    for bytes in 1..=csv.len() {
        assert_the_two_rows(&read(Pieces(csv, bytes), &LIMITS).unwrap());
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_a_table_or_a_fault(bytes: Vec<u8>) {
        let _ = read(&bytes[..], &SMALL);
    }

    #[test]
    fn anything_like_csv_is_a_table_or_a_fault(csv in "([0-9a,;\t\"\r\n .-]|\u{e9}){0,80}") {
        if let Ok(table) = read(csv.as_bytes(), &SMALL) {
            assert_eq!(table.values.nrows(), table.labels.len());
            assert!(table.labels.iter().all(|&label| (label as usize) < table.classes.len()));
            assert!((0..table.classes.len() as u32).all(|class| table.labels.contains(&class)));
        }
    }
}
