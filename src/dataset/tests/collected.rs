//! What files of collections hold that tables made for a program do not, and that no order of their rows changes what they are.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom as _;

use super::*;

/// A table of these columns, whose last one says `a` and `b` in turn.
fn table(names: &str, rows: usize, row: impl Fn(usize) -> String) -> String {
    let line = |at: usize| format!("{},{}\n", row(at), ["a", "b"][at % 2]);
    format!("{names},kind\n") + &(0..rows).map(line).collect::<String>()
}

#[test]
fn a_last_column_that_counts_rows_or_names_each_is_no_label() {
    let counted =
        "x,y,a\n".to_owned() + &(0..30).map(|row| format!("{}.5,{},{row}\n", row % 7, row % 2)).collect::<String>();
    let data = dataset(&counted);
    assert_eq!((data.roles.labels.clone(), kinds(&data)[2]), (vec![1], "row number"));
    let report = data.report(None).all_lines().join("\n");
    let hint = "the label is column 2 (\"y\"): the last column, column 3 (\"a\"), is none (whole numbers in sequence); if it is, \
                say --label a";
    assert!(report.contains(hint), "{report}");
    let asked = ReadOptions { label: names(&["a"]), ..ReadOptions::default() };
    assert_eq!(read(&counted, &asked).unwrap().roles.labels, [2]);

    let month = |row: usize| format!("20{:02}-{:02}-01", row / 12, row % 12 + 1);
    let dated = "x,y,day\n".to_owned()
        + &(0..30).map(|row| format!("{}.5,{},{}\n", row % 7, row % 2, month(row))).collect::<String>();
    let data = dataset(dated);
    assert_eq!((data.roles.labels.clone(), features(&data)), (vec![1], vec![true, false, true]));
    // Where there is no other.
    let only = "name\n".replace("name", "a,b") + &(0..30).map(|row| format!("n{row},t{row}\n")).collect::<String>();
    assert_eq!(dataset(only).roles.labels, [1]);
}

#[test]
fn years_in_sequence_are_numbers_and_other_sequences_count_rows() {
    let csv = |name: &str, first: usize| table(name, 30, |row| format!("{}", first + row));
    for (name, first, kind) in
        [("Year", 1_947, "number"), ("time", 1_871, "number"), ("time", 1, "row number"), ("case", 1_947, "row number")]
    {
        assert_eq!(kinds(&dataset(csv(name, first)))[0], kind, "{name} from {first}");
    }
}

#[test]
fn row_numbers_of_a_part_of_a_file_are_row_numbers() {
    // As a program writes them that has drawn rows.
    let drawn =
        |name: &str, step: usize| table(&format!("{name},x"), 30, |row| format!("{},{}", 7 + row * step % 97, row % 5));
    for (name, step, kind) in
        [("", 13, "row number"), ("\"\"", 13, "row number"), ("index", 13, "row number"), ("height", 13, "number")]
    {
        assert_eq!(kinds(&dataset(drawn(name, step)))[0], kind, "{name:?}");
    }
    let twice = drawn("", 13).replace("\n20,", "\n7,");
    assert_eq!(kinds(&dataset(twice))[0], "number");
}

#[test]
fn names_in_capitals_that_end_like_an_identifier_s_are_none() {
    let drawn = |name: &str| table(name, 30, |row| format!("{}", 100 + row * 37 % 1_009));
    for name in ["AMOUNT_PAID", "COVID", "BID", "PAID"] {
        assert_eq!(kinds(&dataset(drawn(name)))[0], "number", "{name}");
    }
    for name in ["customerID", "ID", "PID", "CUSTOMER_ID", "PassengerId", "Order ID"] {
        assert_eq!(kinds(&dataset(drawn(name)))[0], "identifier", "{name}");
    }
}

#[test]
fn eight_digits_are_dates_where_the_name_says_so_and_all_are_or_where_that_is_asked_for() {
    let day = |row: usize| format!("2024{:02}{:02}", 1 + row % 12, 1 + row * 7 % 28);
    let kind = |name: &str, day: &dyn Fn(usize) -> String, options: &ReadOptions| {
        kinds(&read(table(name, 60, day), options).unwrap())[0]
    };
    let usual = ReadOptions::default();
    for name in ["date", "Day", "ORDER_DATE", "Bestelldatum"] {
        assert_eq!(kind(name, &day, &usual), "date", "{name}");
    }
    assert_eq!(kind("amount", &day, &usual), "number");
    let far = |row: usize| if row == 9 { "20241301".to_owned() } else { day(row) };
    assert_eq!(kind("date", &far, &usual), "number");
    let asked = ReadOptions { date: names(&["amount"]), ..ReadOptions::default() };
    let csv = table("amount", 60, day);
    let data = read(&csv, &asked).unwrap();
    assert_eq!(kinds(&data)[0], "date");
    let iso = |row: usize| format!("2024-{:02}-{:02}", 1 + row % 12, 1 + row * 7 % 28);
    let [digits, signs] = [data, dataset(table("amount", 60, iso))].map(|data| data.prepare(&ASKED).unwrap());
    assert_eq!((digits.features, &digits.shards), (signs.features, &signs.shards));
    let number = ReadOptions { number: names(&["date"]), ..ReadOptions::default() };
    assert_eq!(kind("date", &day, &number), "number");
    // Times without colons are times.
    let clock = |row: usize| format!("{}T{:02}30", day(row), row % 24);
    assert_eq!(kind("at", &clock, &usual), "time");
}

#[test]
fn codes_with_a_letter_among_numbers_are_names_and_one_that_stands_alone_is_a_slip() {
    let family = |letters: &[usize]| {
        table("family", 60, |row| format!("{}{}", row / 4 + 100, if letters.contains(&row) { "A" } else { "" }))
    };
    assert_eq!(kinds(&dataset(family(&[1, 21, 41])))[0], "category");
    assert!(sentence(family(&[1, 21])).contains("2 of 60 rows have no number (\"100A\" in line 3"));
    // Letters that are units, or beside numbers that are no codes.
    let weights = table("kg", 60, |row| if row % 20 == 1 { format!("{row}kg") } else { format!("{row}") });
    assert!(sentence(weights).contains("3 of 60 rows have no number (\"1kg\" in line 3"));
    let measured = table("f", 60, |row| if row % 20 == 1 { format!("{row}k") } else { format!("{row}.5") });
    assert!(sentence(measured).contains("3 of 60 rows have no number (\"1k\" in line 3"));
}

#[test]
fn a_word_among_few_whole_numbers_is_a_name() {
    let cylinders = |word: &str| {
        table("cylinders", 40, |row| match row {
            17 => word.to_owned(),
            row => [3, 4, 6, 8][row % 4].to_string(),
        })
    };
    assert_eq!(kinds(&dataset(cylinders("rotary")))[0], "category");
    assert!(sentence(cylinders("8x")).contains("1 of 40 rows has no number (\"8x\" in line 19)"));
    let ages = table("age", 40, |row| if row == 17 { "rotary".to_owned() } else { (20 + row).to_string() });
    assert!(sentence(ages).contains("1 of 40 rows has no number (\"rotary\" in line 19)"));
}

#[test]
fn classes_of_two_rows_are_trained_and_a_label_for_each_row_is_refused() {
    let csv =
        |rows: usize, each: usize| (0..rows).map(|row| format!("{}.5,s{}\n", row % 7, row / each)).collect::<String>();
    let prepared = dataset(csv(60, 2)).prepare(&ASKED).unwrap();
    assert_eq!((classes(&prepared).len(), labels(&prepared.validation).len()), (30, 12));
    let error = dataset(csv(12, 1)).prepare(&ASKED).unwrap_err();
    assert_eq!(error.fault, Fault::EveryLabelDiffers { rows: 12 });
    assert!(error.to_string().contains("each of these 12 rows has a label of its own"), "{error}");
}

#[test]
fn the_sign_with_which_dos_ended_a_text_is_no_part_of_the_last_value() {
    let data = dataset("x,y\n1,2.5\n2,3.5\n4,6.2\x1a");
    assert_eq!((kinds(&data), data.rows()), (vec!["number", "number"], 3));
    assert_eq!(dataset("x,y\n1,2.5\n2,3.5\n4,6.2\r\n\x1a").rows(), 3);
    // Elsewhere it is a byte like others.
    assert!(sentence("x,y\n1,2.5\n2\x1a,3.5\n4,6.2\n5,1.5\n").contains("1 of 4 rows has no number"));
}

#[test]
fn several_files_of_one_schema_are_read_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    write("b.csv", "c;kind;x\n7;b;2.5\n8;a;3.5\n");
    write("a.csv", "x,c,kind\n0.5,5,a\n1.5,6,b\n");
    write("c.csv", "x,c,kind\n");
    write("_done", "");
    write(".a.csv.crc", "crc");
    let all = |text: &str, options: &ReadOptions| Dataset::read(Path::new(text), options);
    let unscaled = Preparation { split: last(1), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let values = |data: &Dataset| {
        let prepared = data.prepare(&unscaled).unwrap();
        (prepared.shards[0].values.clone(), prepared.validation.values)
    };
    // Of a directory in the order of the names, else as they are named; the columns by their names.
    let data = all(&path(""), &ReadOptions::default()).unwrap();
    assert_eq!(values(&data), (vec![0.5, 5.0, 1.5, 6.0, 2.5, 7.0], vec![3.5, 8.0]));
    let pair = format!("{},{}", path("b.csv"), path("a.csv"));
    let label = ReadOptions { label: names(&["kind"]), ..ReadOptions::default() };
    assert_eq!(values(&all(&pair, &label).unwrap()), (vec![7.0, 2.5, 8.0, 3.5, 5.0, 0.5], vec![6.0, 1.5]));
    // Several may validate.
    let validation = ReadOptions { validation: Some(pair.into()), ..ReadOptions::default() };
    let both = all(&path("a.csv"), &validation).unwrap().prepare(&unscaled).unwrap();
    assert_eq!((both.shards[0].rows(), both.validation.rows()), (2, 4));

    // What is wrong is told with its file.
    let far = "x,c,kind\n1e39,9,a\n";
    write("d.csv", far);
    let text = all(&path(""), &ReadOptions::default()).unwrap().prepare(&unscaled).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}, line 2, column 1", path("d.csv"))), "{text}");
    write("d.csv", "x,c,kind\n1.5,9y,a\n");
    let text = all(&path(""), &ReadOptions::default()).unwrap_err().to_string();
    assert!(text.contains(&format!("1 of 5 rows has no number (\"9y\" in line 2 of {})", path("d.csv"))), "{text}");
    write("d.csv", "x,c\n1.5,9\n");
    let text = all(&path(""), &ReadOptions::default()).unwrap_err().to_string();
    let other = "this file has other columns than the first: it has no column \"kind\"";
    assert_eq!(text, format!("{}: {other}; give all files the same", path("d.csv")));
    let text = all(&format!("{},{}", path("a.csv"), path("e.csv")), &ReadOptions::default()).unwrap_err().to_string();
    assert_eq!(text, format!("{}: there is no such file; check the path", path("e.csv")));
}

#[test]
fn another_file_s_rows_have_as_many_fields_as_its_own_names_and_each_column_one_field() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let unscaled = Preparation { split: last(1), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let both = |first: &str, second: &str| {
        write("a.csv", first);
        write("b.csv", second);
        let data = Dataset::read(Path::new(&format!("{},{}", path("a.csv"), path("b.csv"))), &ReadOptions::default());
        let text = |error: DatasetError| error.to_string().replace(&path("b.csv"), "b.csv");
        data.and_then(|data| data.prepare(&unscaled)).map_err(text)
    };
    let values = |first: &str, second: &str| both(first, second).unwrap().shards[0].values.clone();
    let refused = |first: &str, second: &str| {
        let text = both(first, second).unwrap_err();
        let what = text.strip_prefix("b.csv: this file has other columns than the first: ");
        what.and_then(|what| what.strip_suffix("; give all files the same")).map(str::to_owned).ok_or(text)
    };
    let first = "x,c,kind\n0.5,5,a\n1.5,6,b\n";
    for (second, what) in [
        ("c,kind,x\n7,b,2.5\n8,a\n", "line 3 has 2, and its first line names 3"),
        ("c,kind,x\n7,b,2.5\n8,a,3.5,9\n", "line 3 has 4, and its first line names 3"),
        ("x,c,kind\n7,8\n", "line 2 has 2, and there are 3"),
        ("c,x,kind,c\n7,2.5,b,1\n", "it has more columns \"c\""),
    ] {
        assert_eq!(refused(first, second).unwrap(), what);
    }
    // The names stand among its rows, too.
    let repeated = refused(first, "x,c,kind\n2.5,7,b\nx,c,kind\n3.5,8,a\n").unwrap_err();
    assert!(repeated.contains("b.csv: 1 line repeats line 1") && repeated.contains("sed 3d"), "{repeated}");
    // More columns are nobody's.
    assert_eq!(values(first, "c,kind,x,more\n7,b,2.5,0\n8,a,3.5,0\n"), [0.5, 5.0, 1.5, 6.0, 2.5, 7.0]);
    // Columns of one name, in their order.
    let twice = "x,x,kind\n0.5,5,a\n1.5,6,b\n";
    assert_eq!(values(twice, "kind,x,x\nb,2.5,7\na,3.5,8\n"), [0.5, 5.0, 1.5, 6.0, 2.5, 7.0]);
    assert_eq!(refused(twice, "kind,x,y\nb,2.5,7\n").unwrap(), "it has too few columns \"x\"");
}

#[test]
fn layouts_with_a_name_less_than_fields_are_understood_in_every_file() {
    let directory = tempfile::tempdir().unwrap();
    let unscaled = Preparation { split: last(1), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let values = |files: &[&str], ignored: &[&str]| {
        let write = |(at, text): (usize, &&str)| {
            let path = directory.path().join(format!("{at}.csv"));
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let paths: Vec<String> = files.iter().enumerate().map(write).collect();
        let options = ReadOptions { ignore: names(ignored), ..ReadOptions::default() };
        let data = Dataset::read(Path::new(&paths.join(",")), &options).unwrap();
        data.prepare(&unscaled).unwrap().shards[0].values.clone()
    };
    let all = [0.5, 5.0, 1.5, 6.0, 2.5, 7.0];
    // R's lines, and files in which other programs have named the column of names, or hold no row.
    let r = "x c kind\nr1 0.5 5 a\nr2 1.5 6 b\n";
    assert_eq!(values(&[r, "x c kind\nr3 2.5 7 b\nr4 3.5 8 a\n"], &["1"]), all);
    assert_eq!(values(&[r, "c kind x\nr3 7 b 2.5\nr4 8 a 3.5\n"], &["1"]), all);
    assert_eq!(values(&[r, "x c kind\n", "\"\",x,c,kind\nr3,2.5,7,b\nr4,3.5,8,a\n"], &["1"]), all);
    // A separator at the end of each row, or of the names alone.
    let rows = "x,c,kind\n0.5,5,a,\n1.5,6,b,\n";
    assert_eq!(values(&[rows, "x,c,kind\n2.5,7,b,\n3.5,8,a,\n"], &[]), all);
    let head = "x,c,kind,\n0.5,5,a\n1.5,6,b\n";
    assert_eq!(values(&[head, "x,c,kind,\n2.5,7,b\n3.5,8,a\n"], &[]), all);
    assert_eq!(values(&["x,c,kind\n0.5,5,a\n1.5,6,b\n", "x,c,kind\n2.5,7,b,\n3.5,8,a,\n"], &[]), all);
}

/// Rows of columns that each could be taken for something else by their first ones.
fn awkward(row: usize) -> String {
    let day = format!("{:02}/{:02}/2024", 1 + row % 12, if row == 37 { 25 } else { 1 + row % 11 });
    let code = if row % 60 == 5 { format!("{}B", row % 50) } else { (row % 50).to_string() };
    let price = if row == 11 { "\"1,234.50\"".to_owned() } else { format!("{}.25", row % 90) };
    let width = if row == 99 { "0.5".to_owned() } else { (row % 40).to_string() };
    let zip = if row == 3 { "01234".to_owned() } else { (10_000 + 37 * (row % 60)).to_string() };
    let gap = if row.is_multiple_of(3) { "NA" } else { ["yes", "no"][row % 2] };
    let note = if row == 150 { "\"said \"\"no\"\",\nthen left\"".to_owned() } else { format!("note {}", row % 90) };
    let label = if row % 7 == 2 { "" } else { ["low", "high", "3"][row % 3] };
    format!("{row},{day},{code},{price},{width},{zip},{gap},{note},{label}\n")
}

#[test]
fn a_thousand_orders_of_the_rows_give_one_schema() {
    let mut rows: Vec<String> = (0..200).map(awkward).collect();
    let names = "n,day,code,price,width,zip,gap,note,label\n";
    let schema = |head: &str, rows: &[String]| {
        let csv = head.to_owned() + &rows.concat();
        let data = Dataset::from_reader("awkward.csv", csv.as_bytes(), &ReadOptions::default()).unwrap();
        let mut schema = data.report(None).to_json();
        // How close a call the first line is says something of that line alone.
        if head.is_empty() {
            schema.as_object_mut().unwrap().remove("notes");
        }
        schema
    };
    let first = [schema(names, &rows), schema("", &rows)];
    let of = |schema: &serde_json::Value| -> Vec<String> {
        let columns = schema["columns"].as_array().unwrap();
        columns.iter().map(|column| column["kind"].as_str().unwrap().to_owned()).collect()
    };
    let expected = ["row number", "date", "category", "number", "number", "category", "boolean", "category", "label"];
    assert_eq!(of(&first[0]), expected);
    assert_eq!(of(&first[1]), expected);
    for seed in 0..1_000 {
        rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(schema(names, &rows), first[0], "seed {seed}");
        assert_eq!(schema("", &rows), first[1], "seed {seed}, without a header");
    }
}

#[test]
fn columns_that_are_lined_up_with_blanks_are_those_of_the_same_file_with_commas() {
    let rows = |between: fn(usize) -> &'static str| {
        let line = |at: usize| format!("{}{}.5{}{}e-3", between(at), at % 7, between(at + 1), 3 * at % 11);
        "x,y,kind\n".replace(',', between(2))
            + &(0..40).map(|at| format!("{}{}{}\n", line(at), between(at), ["a", "b"][at % 2])).collect::<String>()
    };
    let lined_up = rows(|at| ["  ", "   ", " "][at % 3]);
    let with_commas = rows(|_| ",").replace("\n,", "\n");
    assert!(dataset(&lined_up).report(None).all_lines()[0].ends_with("; a header, separated by blanks"));
    let [lined_up, with_commas] = [lined_up, with_commas].map(|csv| dataset(csv).prepare(&ASKED).unwrap());
    assert_eq!(lined_up.feature_names, ["x", "y"]);
    assert_eq!(lined_up.shards, with_commas.shards);
    // A separator that somebody asks for is one each time.
    let asked = ReadOptions { separator: Some(" ".parse().unwrap()), ..ReadOptions::default() };
    assert!(read("x y kind\n1  a\n2  b\n", &asked).is_ok());
}

#[test]
fn texts_behind_numbers_are_told_of_where_they_are_many() {
    let of = |value: &dyn Fn(usize) -> String| {
        let data = dataset(table("f,x", 60, |row| format!("{},{}", value(row), row % 5)));
        data.report(None).all_lines().join("\n")
    };
    assert!(of(&|row| format!("{} kg", row % 25)).contains("text behind numbers"));
    assert!(of(&|row| format!("0:{row:02}:07")).contains("times such as 12:30"));
    for told in [of(&|row| format!("{} kg", row % 3)), of(&|row| format!("n{row}"))] {
        assert!(!told.contains("behind numbers"), "{told}");
    }
}

#[test]
fn categories_that_may_be_one_and_numbers_that_may_be_none_are_named_with_the_cure() {
    let towns = ["Ulm", "ulm", "Bonn", "Bonn "];
    let rain = |row: usize| if row.is_multiple_of(10) { "-999.0".to_owned() } else { format!("{}.5", row % 7) };
    let csv = table("town,grade,rain", 60, |row| format!("{},{},{}", towns[row % 4], ["a", "A"][row % 2], rain(row)));
    let said = |options: &ReadOptions| read(&csv, options).unwrap().report(None).all_lines().join("\n");
    let told = said(&ReadOptions::default());
    let alike = "categories that differ only in case or spaces are different ones: \"Ulm\" and \"ulm\" of column 1 (\"town\"); write them \
                 alike where they are one";
    assert!(told.lines().any(|line| line == alike), "{told}");
    let code = "column 3 (\"rain\") has -999 in 6 rows, else 0.5 to 6.5: if such a number stands for a missing value, --missing \
                default,-999.0 says so, of all columns";
    assert!(told.lines().any(|line| line == code), "{told}");
    let missing = "default,-999.0".parse().unwrap();
    assert!(!said(&ReadOptions { missing, ..ReadOptions::default() }).contains("stands for a missing value"));
}
