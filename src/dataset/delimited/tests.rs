use super::*;

/// A limit that a test can reach.
const BYTES_MAX: usize = 20_000;

/// All records with their lines.
fn records(bytes: impl Read) -> Result<Vec<(u64, Vec<String>)>, Fault> {
    let mut records = Records::open(bytes, None, BYTES_MAX)?;
    let mut found = Vec::new();
    while let Some(line) = records.advance()? {
        let fields = records.record().iter().map(|field| String::from_utf8_lossy(field).trim().to_owned());
        found.push((line, fields.collect()));
    }
    Ok(found)
}

fn of(text: &str) -> Vec<(u64, Vec<String>)> {
    records(text.as_bytes()).unwrap()
}

fn lines(text: &str) -> Vec<u64> {
    of(text).iter().map(|(line, _)| *line).collect()
}

fn fields(text: &str) -> Vec<Vec<String>> {
    of(text).into_iter().map(|(_, fields)| fields).collect()
}

const TWO: [[&str; 3]; 2] = [["1", "2", "x"], ["3.5", "-4", "y"]];

#[test]
fn commas_semicolons_tabs_and_bars_separate() {
    for separator in [",", ";", "\t", "|", " "] {
        assert_eq!(fields(&"1,2,x\n3.5,-4,y\n".replace(',', separator)), TWO, "{separator}");
    }
    assert_eq!(fields("sep=;\n1;2;x\n3.5;-4;y\n"), TWO);
    assert_eq!(lines("\u{feff}SEP=:\r\n1:2:x\r\n3.5:-4:y\r\n"), [2, 3]);
    let mut named = Records::open(&b"1:2,5:x\n"[..], Some(b':'), BYTES_MAX).unwrap();
    named.advance().unwrap();
    assert_eq!(named.record().iter().collect::<Vec<_>>(), [&b"1"[..], b"2,5", b"x"]);
}

#[test]
fn a_separator_inside_quotes_does_not_count() {
    assert_eq!(fields("\"a;;;\",\"b\t\t\t\",kind\n1,2,x\n")[0], ["a;;;", "b", "kind"]);
    assert_eq!(fields("1,\"a, \"\"b\"\"\nc\"\n2,d\n"), [["1", "a, \"b\"\nc"], ["2", "d"]]);
    assert_eq!(fields("1,5;2,5;x\n"), [["1,5", "2,5", "x"]]);
}

#[test]
fn blanks_may_stand_in_front_of_quotes_and_behind_them() {
    let wanted = [["a", "b, c", "d \"e\""], ["1", "", "x\ny"]];
    for blanks in ["", " ", &" ".repeat(64)] {
        let text = "\"a\",_\"b, c\"_,_\"d \"\"e\"\"\"\n_1,_\"\",_\"x\ny\"_\n".replace('_', blanks);
        assert_eq!(fields(&text), wanted, "{text:?}");
        // Wherever the ends of blocks lie.
        for before in 0..130 {
            let text = format!("{},0,0\n{text}", "p".repeat(before + 1));
            assert_eq!(fields(&text)[1..], wanted, "{text:?}");
        }
    }
    // Behind other text they are bytes like others.
    assert_eq!(fields("a,b,c\n5' 11\", x \"y\", 2\n")[1], ["5' 11\"", "x \"y\"", "2"]);
}

#[test]
fn commas_between_digits_are_decimal_marks_where_another_sign_stands_between_numbers() {
    for separator in [";", "\t", "|", " ", "; ", "   "] {
        let text = "1,5;-2,7;3,1e-2\n3,5;4;5,25\n".replace(';', separator);
        assert_eq!(fields(&text), [["1,5", "-2,7", "3,1e-2"], ["3,5", "4", "5,25"]], "{separator:?}");
        assert_eq!(fields(&"\"1,5\";2,7;3,1\n".replace(';', separator)), [["1,5", "2,7", "3,1"]], "{separator:?}");
    }
    // A comma beside a blank, a text, or more commas than a number has.
    for text in ["1, 2, 3\n", "1, 2 ,3\n", "1,5;x,2\n", "1,2 3,x\n", "1,2,3 4,5,6\n", "1,5,2;\n", "2024-01-31 1,2,3\n"]
    {
        assert_eq!(fields(text)[0].len(), text.matches(',').count() + 1, "{text:?}");
    }
}

#[test]
fn white_space_blank_lines_every_line_end_and_a_byte_order_mark_are_passed_over() {
    for text in [
        "\u{feff}1,2,x\r\n3.5,-4,y\r\n",
        "1,2,x\r3.5,-4,y\r",
        "\u{feff}\r\n \n1,2,x\n\n  \t\r\n\n3.5,-4,y\n\n",
        "  1 ,\t2,  x \n3.5 , -4\u{a0}, y",
    ] {
        assert_eq!(fields(text), TWO, "{text:?}");
    }
}

#[test]
fn a_line_of_two_quotes_is_a_row_whose_only_field_is_empty() {
    for text in ["x\n\"\"\n2\n", "x\r\n\"\"\r\n2\r\n", "x\n\"\" \n2", "x\n\n\"  \"\n \n2\n"] {
        assert_eq!(fields(text), [["x"], [""], ["2"]], "{text:?}");
    }
    assert_eq!(fields("\"\"\n\n1\n\"\""), [[""], ["1"], [""]]);
}

#[test]
fn lines_are_counted_through_blank_lines_every_line_end_and_quoted_line_ends() {
    assert_eq!(lines("a,b\n\n1,x\n2,y\n\n\n3,\"x\n\"\n4,y\n5,x\n"), [1, 3, 4, 7, 9, 10]);
    assert_eq!(lines("\r\n\r\n1,2,x\r\n\r\n \r\n7,o,z"), [3, 6]);
    assert_eq!(lines("1,2,\"x\r\ny\"\r\n\r\n7,o,z"), [1, 4]);
    assert_eq!(lines("\r\r1,x\r2,\"y\r\"\r3,x"), [3, 4, 6]);
}

#[test]
fn a_quote_that_is_never_closed_is_refused_with_its_line() {
    for (text, line) in [("1,2,x\n3,4,\"y\n5,6,z\n", 2), ("1,2,x\n\n3,4,\"y", 3), ("\"1,2,x\n", 1)] {
        assert_eq!(records(text.as_bytes()), Err(Fault::OpenQuote { line }));
    }
}

#[test]
fn an_endless_stream_is_given_up() {
    for byte in [0, b'1', b',', b'"', b'\xff'] {
        let refused = |head: &[u8]| records(head.chain(io::repeat(byte))).unwrap_err();
        assert!(matches!(refused(b""), Fault::LongLine { line: 1, .. }));
        assert!(matches!(refused(b"1,2,x\n3,4,"), Fault::LongLine { line: 2, .. }));
        assert!(matches!(refused(b"1,2,x\n3,4,\"\n\n"), Fault::LongLine { .. }));
    }
    assert!(records(&[b'1'; BYTES_MAX + 1][..]).is_err());
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
    assert_eq!(records(Broken(io::ErrorKind::Other)).unwrap_err(), unreadable);
    assert_eq!(records(b"1,2,x\n".chain(Broken(io::ErrorKind::Other))).unwrap_err(), unreadable);
    assert_eq!(records(Broken(io::ErrorKind::IsADirectory)).unwrap_err(), Fault::Directory);
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
    let csv = "\u{feff}\r\nwide,high,kind\r\n1,2,\"x\"\r\n\r\n3.5,-4,y\r".as_bytes();
    for bytes in 1..=csv.len() {
        assert_eq!(records(Pieces(csv, bytes)), records(csv));
    }
}
