//! Files as people have them, each standing for a kind.

use super::*;

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

fn case(file: &str) -> Dataset {
    case_with(file, &ReadOptions::default()).unwrap()
}

fn case_with(file: &str, options: &ReadOptions) -> Result<Dataset, DatasetError> {
    Dataset::read(&path(file), options)
}

fn notes(data: &Dataset) -> String {
    data.report(None).all_lines().join("\n")
}

#[test]
fn times_in_milliseconds_keep_their_digits() {
    let data = case("ms.csv");
    assert_eq!((kinds(&data), data.rows(), data.task()), (vec!["number", "category"], 400, Task::Classify));
    let prepared = data.prepare(&ASKED).unwrap();
    // A threshold tells the classes apart: not so where f32 makes one number of many.
    let rows = prepared.shards[0].values.iter().zip(labels(&prepared.shards[0]));
    let greatest =
        |class| rows.clone().filter(|(_, label)| **label == class).map(|(value, _)| *value).fold(f32::MIN, f32::max);
    let least =
        |class| rows.clone().filter(|(_, label)| **label == class).map(|(value, _)| *value).fold(f32::MAX, f32::min);
    assert!(greatest(0) < least(1) || greatest(1) < least(0));
    let mut distinct: Vec<u32> = prepared.shards[0].values.iter().map(|value| value.to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), prepared.shards[0].values.len());
}

#[test]
fn seconds_since_1970_keep_their_digits() {
    let data = case("unixsec.csv");
    assert_eq!(kinds(&data), ["number", "category"]);
    let prepared = data.prepare(&ASKED).unwrap();
    let mut distinct: Vec<u32> = prepared.shards[0].values.iter().map(|value| value.to_bits()).collect();
    distinct.sort_unstable();
    distinct.dedup();
    // f32 makes two of the file's fourteen.
    assert_eq!(distinct.len(), 14);
}

#[test]
fn names_that_are_numbers_are_a_header_and_that_is_said() {
    let data = case("hdr4.csv");
    assert_eq!((data.rows(), data.task()), (40, Task::Classify));
    assert_eq!(data.survey.names.as_deref().unwrap(), ["1", "2", "3", "4"]);
    assert!(notes(&data).contains("--header no"), "{}", notes(&data));
    let other = case_with("hdr4.csv", &ReadOptions { header: Some(false), ..ReadOptions::default() }).unwrap();
    assert_eq!((other.rows(), other.survey.names.is_some()), (41, false));
}

#[test]
fn numbers_in_equal_steps_above_others_are_names_beside_a_text_label_or_names_of_rows() {
    let number = |row: usize, column: usize| (row * (7 + 4 * column) + 5 * column * column) % 97;
    let line = |row: usize| format!("{},{},{}", number(row, 0), number(row, 1), number(row, 2));
    let lines = |row: &dyn Fn(usize) -> String| (0..60).map(|at| row(at) + "\n").collect::<String>();
    let of = |csv: String| {
        let data = dataset(csv);
        (data.rows(), data.survey.names.clone(), notes(&data).contains("--header no"))
    };
    let kind = |row: usize| ["a", "b"][row % 2];
    let rows = [
        ("0,1,2,label", lines(&|row| format!("{},{}", line(row), kind(row)))),
        (",0,1,2,label", lines(&|row| format!("{row},{},{}", line(row), kind(row)))),
        ("0,1,label", lines(&|row| format!("{},{},{}", number(row, 0), number(row, 1), kind(row)))),
        (",0,1,label", lines(&|row| format!("{row},{},{},{}", number(row, 0), number(row, 1), kind(row)))),
        ("400,405,410,kind", lines(&|row| format!("{},{}", line(row), kind(row)))),
        ("country,1990,2000,2010", lines(&|row| format!("land {row},{}", line(row)))),
        ("10,20,30,40", lines(&|row| format!("{},{}", line(row), row % 2))),
        ("country,code,1990,2000,2010", lines(&|row| format!("land {row},L{row},{}", line(row)))),
        ("country,code,unit,1990,2000,2010", lines(&|row| format!("land {row},L{row},births,{}", line(row)))),
        ("country,code,1,2,3,4", lines(&|row| format!("land {row},L{row},{},{}", line(row), number(row, 4)))),
        // The last years have no values yet; others were left out.
        ("country,1990,1991,1992,1993", lines(&|row| format!("land {row},{},", line(row)))),
        ("country,code,1990,1991,1992,1993", lines(&|row| format!("land {row},L{row},{},", line(row)))),
        ("country,1990,1995,2000,2002", lines(&|row| format!("land {row},{},", line(row)))),
    ];
    for (head, rows) in &rows {
        let expected: Vec<String> = head.split(',').map(str::to_owned).collect();
        assert_eq!(of(format!("{head}\n{rows}")), (60, Some(expected), true), "{head}");
    }
    // A row: its label stands below, or is missing, few numbers are in equal steps by chance, or other rows are so, too.
    for head in ["400,405,410,a", "400,405,410,", "400,405,410,NA", "400,406,410,a", "410,405,400,b"] {
        assert_eq!(of(format!("{head}\n{}", rows[0].1)).1, None, "{head}");
    }
    for head in ["1,2,label", "0,2,label", "0,1,a"] {
        assert_eq!(of(format!("{head}\n{}", rows[2].1)).1, None, "{head}");
    }
    // Years among those below, and too few numbers behind several names.
    let years =
        lines(&|row| format!("n{row},{},{},{},{}", 1980 + row % 40, 1900 + row, 2000 - row % 30, 1990 + row % 5));
    assert_eq!(of(format!("a,1990,1995,2000,2002\n{years}")).1, None);
    assert_eq!(of(format!("a,b,1,2,3\n{}", lines(&|row| format!("n{row},m{row},{}", line(row))))).1, None);
    let stepped = |row: usize| format!("{},{},{}", row, row + 5, row + 10);
    let runs = lines(&|row| format!("{},{}", stepped(row), kind(row)));
    assert_eq!(of(format!("400,405,410,c\n{runs}")).1, None);
    assert_eq!(of(format!("1,3,5\n{}", lines(&line))).1, None);
}

#[test]
fn a_first_row_with_a_missing_value_is_a_row() {
    let data = case("headless_dash.csv");
    assert_eq!((data.rows(), data.survey.names.is_some()), (61, false));
    assert_eq!(data.roles.columns[0].missing, 1);
    let prepared = data.prepare(&ASKED).unwrap();
    assert_eq!(classes(&prepared), ["a", "b"]);
}

#[test]
fn r_s_names_of_rows_are_left_out_and_that_is_said() {
    let data = case("r_rownames_2col.csv");
    assert_eq!((data.survey.names.as_deref().unwrap(), kinds(&data)[0]), (&names(&["", "x"])[..], "row number"));
    assert!(notes(&data).contains("left out: whole numbers in sequence (--use 1 takes it in)"), "{}", notes(&data));
    // The label is the only other column.
    let text = data.prepare(&ASKED).unwrap_err().to_string();
    assert!(text.contains("no column is left to learn from") && text.contains("--use 1"), "{text}");
}

#[test]
fn a_sequential_id_is_left_out_and_taken_in_where_it_is_asked_for() {
    let data = case("id.csv");
    assert_eq!((kinds(&data)[0], features(&data)), ("row number", vec![false, true, false]));
    assert!(notes(&data).contains("--use id"), "{}", notes(&data));
    let options = ReadOptions { take_in: names(&["id"]), ..ReadOptions::default() };
    let data = case_with("id.csv", &options).unwrap();
    assert_eq!((kinds(&data)[0], features(&data)), ("number", vec![true, true, false]));
}

#[test]
fn numbers_to_be_fitted_are_told_from_classes_with_the_reason_and_the_option() {
    for (file, reason) in
        [("regr.csv", "not all written as whole ones"), ("regr_int.csv", "65 different whole numbers")]
    {
        let data = case(file);
        assert_eq!(data.task(), Task::Regress);
        assert!(notes(&data).contains(reason) && notes(&data).contains("--task classify"), "{}", notes(&data));
        let prepared = data.prepare(&ASKED).unwrap();
        assert!(matches!(&prepared.target, Target::Values(scales) if scales.len() == 1));
    }
}

#[test]
fn rows_without_a_label_are_dropped_and_counted() {
    let data = case("nalab2.csv");
    let prepared = data.prepare(&ASKED).unwrap();
    assert_eq!(classes(&prepared), ["female", "male"]);
    assert_eq!((data.rows() as u64 + data.table.dropped, data.table.dropped > 0), (60, true));
    assert!(notes(&data).contains("= 60 lines"), "{}", notes(&data));

    let as_class = ReadOptions { missing_label: MissingLabel::Class, ..ReadOptions::default() };
    let data = case_with("nalab2.csv", &as_class).unwrap();
    assert_eq!(classes(&data.prepare(&ASKED).unwrap()), ["female", "male", "missing"]);
    // One class, whatever stands there.
    let csv: String = (0..60).map(|row| format!("{row}.5,{}\n", ["x", "", "?", "NA", "y", "NaN"][row % 6])).collect();
    let prepared = read(&csv, &as_class).unwrap().prepare(&ASKED).unwrap();
    assert_eq!(classes(&prepared), ["missing", "x", "y"]);
    let count = |block: &Block| labels(block).iter().filter(|label| **label == 0).count();
    assert_eq!(count(&prepared.shards[0]) + count(&prepared.validation), 40);
    let refused = ReadOptions { missing_label: MissingLabel::Refuse, ..ReadOptions::default() };
    let text = case_with("nalab2.csv", &refused).unwrap_err().to_string();
    assert!(text.contains("20 of 60 rows have no label (\"NA\" in line 4"), "{text}");
}

#[test]
fn labels_that_are_the_same_number_are_one_class_with_a_warning() {
    let prepared = case("floatlab.csv").prepare(&ASKED).unwrap();
    assert_eq!(classes(&prepared), ["0", "1"]);
    assert!(prepared.warnings[0].contains("\"0\" and \"0.0\""), "{:?}", prepared.warnings);
}

#[test]
fn compressed_files_other_line_ends_and_separators_are_read() {
    for (file, separator) in [("semi.csv.gz", b';'), ("cr.csv", b','), ("excelsep.csv", b';')] {
        let data = case(file);
        assert_eq!((data.survey.separator, features(&data)), (Some(separator), vec![true, true, false]), "{file}");
        assert_eq!(classes(&data.prepare(&ASKED).unwrap()), ["a", "b"], "{file}");
    }
}

#[test]
fn an_empty_column_behind_a_last_separator_is_left_out() {
    let data = case("trail.csv");
    assert_eq!(features(&data), [true, true, false, false]);
    assert_eq!(data.roles.labels, [2]);
    assert!(notes(&data).contains("left out: no row has a value"), "{}", notes(&data));
    assert_eq!(classes(&data.prepare(&ASKED).unwrap()), ["a", "b"]);
}
