//! What columns are, and what is learned of them.

use proptest::prelude::*;

use super::*;

/// A table of a feature column with these values and a label that alternates.
fn column(values: &[&str]) -> String {
    let rows = values.iter().enumerate();
    "f,kind\n".to_owned()
        + &rows
            .map(|(row, value)| format!("\"{}\",{}\n", value.replace('"', "\"\""), ["a", "b"][row % 2]))
            .collect::<String>()
}

/// The kind of a column of these values, each of them so many times.
fn kind(values: &[&str], times: usize) -> &'static str {
    let values: Vec<&str> = values.iter().copied().cycle().take(values.len() * times).collect();
    kinds(&dataset(column(&values)))[0]
}

fn inputs(csv: &str, options: &ReadOptions, split: ValidationSplit) -> Prepared {
    read(csv, options).unwrap().prepare(&Preparation { split, sharding: Sharding::Contiguous, ..ASKED }).unwrap()
}

#[test]
fn kinds_are_told_by_all_values() {
    assert_eq!(kind(&["1", "2.5", "-3e2"], 10), "number");
    assert_eq!(kind(&["red", "green"], 10), "category");
    assert_eq!(kind(&["00123", "00456", "12345"], 10), "category");
    assert_eq!(kind(&["True", "FALSE", "yes", "no"], 10), "boolean");
    assert_eq!(kind(&["2024-02-29", "2023-01-01"], 10), "date");
    assert_eq!(kind(&["2024-02-29T10:00", "2023-01-01"], 10), "time");
    assert_eq!(kind(&["x"], 10), "constant");
    assert_eq!(kind(&["7"], 10), "constant");
    let numbered: Vec<String> = (0..30).map(|row| format!("item {row}")).collect();
    let numbered: Vec<&str> = numbered.iter().map(String::as_str).collect();
    assert_eq!(kind(&numbered, 1), "identifier");
    let mostly: Vec<&str> = numbered.iter().copied().chain(["item 3"; 3]).collect();
    assert_eq!(kind(&mostly, 1), "unusable");
    assert_eq!(kind(&["0", "1", "2", "3+"], 10), "category");
    // As a person writes them, with a slip.
    let text = sentence(column(&["1", "2", "3", "4", "5", "6", "7", "8x"]));
    assert!(text.contains("1 of 8 rows has no number (\"8x\" in line 9)"), "{text}");
}

#[test]
fn row_numbers_are_told_from_features_by_their_name_or_their_length() {
    let csv = |name: &str, rows: u32| {
        format!("{name},f,kind\n")
            + &(0..rows)
                .map(|row| format!("{row},{}.5,{}\n", row % 7, ["a", "b"][row as usize % 2]))
                .collect::<String>()
    };
    assert_eq!(kinds(&dataset(csv("id", 8)))[0], "row number");
    assert_eq!(kinds(&dataset(csv("height", 8)))[0], "number");
    assert_eq!(kinds(&dataset(csv("height", 30)))[0], "row number");
    // One number twice, and one left out.
    assert_eq!(kinds(&dataset(csv("height", 30).replace("\n3,", "\n4,")))[0], "number");
}

#[test]
fn numbers_with_marks_are_read_where_the_whole_column_has_them() {
    let values = |cells: &[&str]| {
        let data = read(column(cells), &ReadOptions::default()).unwrap();
        let prepared = data.prepare(&Preparation {
            scaling: Scaling::None,
            split: last(1),
            sharding: Sharding::Contiguous,
            ..ASKED
        });
        prepared.unwrap().shards[0].values.clone()
    };
    assert_eq!(values(&["1,234.5", "12", "7,000,000", "3"]), [1_234.5, 12.0, 7e6]);
    assert_eq!(values(&["$1,200", "$5", "$7.25", "$1"]), [1_200.0, 5.0, 7.25]);
    assert_eq!(values(&["5 %", "10%", "12.5%", "1%"]), [5.0, 10.0, 12.5]);
    assert_eq!(values(&["1,5", "2,25", "3", "4"]), [1.5, 2.25, 3.0]);
    let text = sentence(column(&["5 %", "0.1", "12.5%", "1%", "2%"]));
    assert!(text.contains("1 of 5 rows has no number (\"0.1\" in line 3)") && text.contains("--category f"), "{text}");
    // Either would read these: the separator decides, and the option reverses.
    let semicolons = "f;kind\n1,234;a\n2,345;b\n3,456;a\n";
    let of = |options: &ReadOptions| {
        let data = read(semicolons, options).unwrap();
        let prepared = data.prepare(&Preparation {
            scaling: Scaling::None,
            split: last(1),
            sharding: Sharding::Contiguous,
            ..ASKED
        });
        (prepared.unwrap().shards[0].values.clone(), data.report(None).all_lines().join("\n"))
    };
    let (values, report) = of(&ReadOptions::default());
    assert!(values == [1.234, 2.345] && report.contains("--decimal ."), "{values:?}: {report}");
    assert_eq!(of(&ReadOptions { decimal: Some(Decimal::Point), ..ReadOptions::default() }).0, [1_234.0, 2_345.0]);
}

#[test]
fn what_is_not_finite_is_named_and_never_clipped() {
    // Beside one value, too, which alone would be a constant.
    let text = sentence(column(&["1", "1e400"]));
    assert!(text.contains("1 of 2 rows has no finite number (\"1e400\" in line 3)"), "{text}");
    for value in ["inf", "1e400", "-Infinity"] {
        let text = sentence(column(&["1", value, "2.5", "3"]));
        assert!(text.contains(&format!("no finite number ({value:?} in line 3)")), "{text}");
        assert!(text.contains(&format!("--missing default,{value}")), "{text}");
    }
}

#[test]
fn a_refusal_sums_up_every_column_with_two_examples_and_its_cures() {
    let text = sentence("f,g,kind\n1,5,a\nx,6,b\n3,y,a\nz,7,b\nw,8,a\n4,9,b\n5,10,a\n6,1,b\n");
    assert!(
        text.starts_with("data.csv: column 1 (\"f\"): 3 of 8 rows have no number (\"x\" in line 3, \"z\" in line 5); "),
        "{text}"
    );
    assert!(text.contains("; column 2 (\"g\"): 1 of 8 rows has no number (\"y\" in line 4)"), "{text}");
    for cure in ["--missing default,x,z", "--category f", "--ignore f"] {
        assert!(text.contains(cure), "{text}");
    }
    let json = read("f,kind\n1,a\n2,b\nx,a\n", &ReadOptions::default()).unwrap_err().to_json();
    assert_eq!((&json["event"], &json["columns"][0]["cause"]), (&"refused".into(), &"not_a_number".into()));
    assert_eq!(json["columns"][0]["examples"][0]["line"], 4);
}

#[test]
fn categories_become_inputs_of_0_and_1_by_the_training_rows() {
    let csv = "c,kind\nred,a\nblue,b\nred,a\nblue,b\nlone,a\n,b\ngreen,a\nred,b\n";
    let prepared = inputs(csv, &ReadOptions::default(), last(2));
    assert_eq!(prepared.feature_names, ["c=blue", "c=red", "c rare", "c missing"]);
    assert_eq!(dense(&prepared.shards[0])[..8], [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
    // One that stands once, a missing one, and one that no training row has.
    assert_eq!(dense(&prepared.shards[0])[16..], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(dense(&prepared.validation), [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    // A byte says which.
    let shard = &prepared.shards[0];
    assert_eq!(
        (shard.layout.columns(), &*shard.values, &*shard.indices),
        (&[[0, 4]][..], &[][..], &[1, 0, 1, 0, 2, 3][..])
    );
    let all = ReadOptions { rare: Some(1), impute: Impute::Most, ..ReadOptions::default() };
    assert_eq!(inputs(csv, &all, last(2)).feature_names, ["c=blue", "c=lone", "c=red"]);
}

#[test]
fn a_category_that_no_training_row_has_is_an_index_that_says_none() {
    // Nothing is rare, so nothing stands for what is unknown; a date that is missing has no weekday.
    let csv = "n,c,t,kind\n1,a,2024-03-01,x\n2,b,2024-03-02,y\n3,a,2024-03-03,x\n4,b,2024-03-04,y\n5,new,,x\n6,a,2024-03-06,y\n";
    let prepared = inputs(csv, &ReadOptions { rare: Some(1), ..ReadOptions::default() }, last(2));
    let validation = &prepared.validation;
    assert_eq!(validation.layout.columns(), [[1, 2], [1, 7]]);
    assert_eq!(validation.indices, [2, 7, 0, 2]);
    let inputs = dense(validation);
    let (unknown, known) = inputs.split_at(prepared.features);
    assert_eq!(
        (&unknown[1..3], &unknown[4..11], &known[1..3], known[6]),
        (&[0.0; 2][..], &[0.0; 7][..], &[1.0, 0.0][..], 1.0)
    );
}

#[test]
fn missing_numbers_are_filled_in_by_the_training_rows_and_marked() {
    let csv = "f,kind\n1,a\nNA,b\n3,a\n8,b\n100,a\n,b\n";
    let of = |impute| {
        let options = ReadOptions { impute, ..ReadOptions::default() };
        let asked = Preparation { split: last(2), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
        read(csv, &options).unwrap().prepare(&asked).unwrap()
    };
    let prepared = of(Impute::Median);
    assert_eq!(prepared.feature_names, ["f", "f missing"]);
    assert_eq!(prepared.shards[0].values, [1.0, 0.0, 3.0, 1.0, 3.0, 0.0, 8.0, 0.0]);
    assert_eq!(prepared.validation.values, [100.0, 0.0, 3.0, 1.0]);
    assert_eq!(of(Impute::Mean).validation.values[2], 4.0);
    assert_eq!(of(Impute::Most).validation.values[2], 1.0);
    let refuse = ReadOptions { impute: Impute::Refuse, ..ReadOptions::default() };
    let text = read(csv, &refuse).unwrap_err().to_string();
    assert!(
        text.contains("2 of 6 rows have no value (\"NA\" in line 3, line 7)") && text.contains("--impute median"),
        "{text}"
    );
}

#[test]
fn dates_become_seconds_weekday_and_hour() {
    let csv = "t,kind\n1970-01-01 06:00,a\n1970-01-02 18:30,b\n1970-01-03 00:00,a\n";
    let asked = Preparation { split: last(1), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let prepared = dataset(csv).prepare(&asked).unwrap();
    assert_eq!(
        (prepared.features, &*prepared.feature_names[8], &*prepared.feature_names[4]),
        (9, "t hour", "t=Thursday")
    );
    let shard = &prepared.shards[0];
    // The weekday is an index, between seconds and hour.
    assert_eq!((shard.layout.columns(), &*shard.indices), (&[[1, 7]][..], &[3, 4][..]));
    assert_eq!(shard.values, [21_600.0, 6.0, 153_000.0, 18.0]);
    let inputs = dense(shard);
    assert_eq!(inputs[..9], [21_600.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 6.0]);
    assert_eq!(inputs[9..], [153_000.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 18.0]);
}

#[test]
fn marks_that_may_be_values_are_named() {
    let csv = "country,kind\n".to_owned() + &"NA,a\nDE,b\nFR,a\nNA,b\n".repeat(5);
    let data = dataset(&csv);
    let report = data.report(None).all_lines().join("\n");
    assert!(report.contains("country: \"NA\" (10 rows) count as missing; --missing \"\""), "{report}");
    let once = dataset(csv.replacen("NA", "DE", 9)).report(None).all_lines().join("\n");
    assert!(once.contains("\"NA\" (1 row) counts as missing; --missing \"\" takes it for a value"), "{once}");
    let options = ReadOptions { missing: "".parse().unwrap(), ..ReadOptions::default() };
    assert_eq!(inputs(&csv, &options, last(4)).feature_names, ["country=DE", "country=FR", "country=NA"]);
}

#[test]
fn options_name_columns_by_name_or_number_and_say_what_they_are() {
    let csv = "a,b,b,kind\n1,2,3,x\n4,5,6,y\n7,8,9,x\n1,1,1,y\n";
    let options = |change: fn(&mut ReadOptions)| {
        let mut options = ReadOptions::default();
        change(&mut options);
        read(csv, &options)
    };
    assert_eq!(features(&options(|options| options.ignore = names(&["a"])).unwrap()), [false, true, true, false]);
    assert_eq!(features(&options(|options| options.only = names(&["2", "3"])).unwrap()), [false, true, true, false]);
    assert_eq!(kinds(&options(|options| options.category = names(&["a"])).unwrap())[0], "category");
    assert_eq!(options(|options| options.label = names(&["a"])).unwrap().roles.labels, [0]);
    let fault = |change| options(change).unwrap_err().fault;
    let ambiguous = Fault::AmbiguousColumn { option: "--ignore", wanted: "b".to_owned(), numbers: vec![2, 3] };
    assert_eq!(fault(|options| options.ignore = names(&["b"])), ambiguous);
    assert!(matches!(fault(|options| options.only = names(&["5"])), Fault::UnknownColumn { option: "--only", .. }));
    assert!(matches!(
        fault(|options| {
            options.label = names(&["a"]);
            options.ignore = names(&["1"])
        }),
        Fault::Contradiction { .. }
    ));
    assert!(matches!(
        fault(|options| {
            options.number = names(&["a"]);
            options.date = names(&["1"])
        }),
        Fault::Contradiction { .. }
    ));
}

#[test]
fn a_label_that_seems_to_stand_elsewhere_is_a_hint_and_no_guess() {
    let first = "species,f,g\n".to_owned() + &"cat,1.5,2\ndog,2.5,3\ncat,3.5,2.5\ndog,1.25,7\n".repeat(3);
    let data = dataset(&first);
    assert_eq!((data.roles.labels.clone(), data.task()), (vec![2], Task::Regress));
    let report = data.report(None).all_lines().join("\n");
    assert!(report.contains("if column 1 (\"species\") is the label, say --label species"), "{report}");
    assert!(dataset("f,g,species\n1,2,a\n2,3,b\n").roles.hints.is_empty());
}

#[test]
fn whole_numbers_are_classes_where_they_are_few() {
    let task = |labels: &[u32], times: usize| {
        let rows = labels.iter().cycle().take(labels.len() * times).enumerate();
        dataset(rows.map(|(row, label)| format!("{row}.5,{label}\n")).collect::<String>()).task()
    };
    let many: Vec<u32> = (1..=33).collect();
    assert_eq!(task(&[3, 4, 5, 6], 2), Task::Classify);
    assert_eq!(task(&[3, 4, 5, 6, 7], 2), Task::Regress);
    assert_eq!(task(&many[..32], 16), Task::Classify);
    assert_eq!(task(&many, 100), Task::Regress);
}

#[test]
fn r_leaves_out_the_name_of_the_names_of_the_rows() {
    let data = dataset("\"x\",\"kind\"\n\"r1\",1.5,\"a\"\n\"r2\",2.5,\"b\"\n\"r3\",2.5,\"a\"\n");
    assert_eq!(data.survey.names.as_deref().unwrap(), ["", "x", "kind"]);
}

#[test]
fn header_lines_are_told_from_rows() {
    let has_header = |csv: &str| dataset(csv).survey.names.is_some();
    assert!(has_header("width,7,8\n1,2,x\n3.5,-4,y\n"));
    assert!(has_header("country,1990,1991,1992\nDE,5,6,1\nFR,9,7,0\nDE,5,6,1\nFR,9,7,0\n"));
    assert!(has_header(",0,1,2\n0,1.5,2.5,3\n1,4.5,0.5,6\n2,4,5,6\n"));
    assert!(has_header("name,city\nAnn,Rome\nBob,Oslo\nAnn,Oslo\nBob,Rome\n"));
    for row in ["1,2,x\n3.5,-4,y\n", "?,2,x\n3,4,y\n5,6,x\n", "nan,2,x\n3,4,y\n", "red,a\nblue,b\nred,a\nblue,b\n"] {
        assert!(!has_header(row), "{row}");
    }
}

#[test]
fn lines_of_more_or_fewer_columns_are_refused_together_with_two_examples() {
    let error = read("a,b,k\n1,2,x\n3,4\n5,6,y\n7,8,9,x\n1\n1,3,x\n", &ReadOptions::default()).unwrap_err();
    let examples = vec![(3, 2), (5, 4)];
    assert_eq!(error.fault, Fault::Ragged { expected: 3, fitting: 3, lines: 3, examples });
    let text = error.to_string();
    assert!(
        text.contains(
            "3 lines have another number of columns than the other 3, which have 3: line 3 has 2, line 5 has 4"
        ),
        "{text}"
    );
    assert!(text.contains("--separator"), "{text}");
}

#[test]
fn what_stands_above_a_table_and_units_are_told_with_the_command_that_leaves_them_out() {
    let rows = "1,2,x\n3,4,y\n5,6,x\n";
    let of_title = "the table seems to begin in line 3";
    for title in ["Sales of 2024\n\n", "Sales\nall of them\n", "Sales,,\n,,\n", "Sales;North\n\n"] {
        let told = sentence(format!("{title}a,b,k\n{rows}"));
        assert!(told.contains(of_title) && told.contains("tail -n +3 data.csv > table.csv"), "{title:?}: {told}");
    }
    let told = sentence(format!("a,b,k\nkg,m,z\n{rows}"));
    assert!(told.contains("line 2, below the names") && told.contains("sed 2d data.csv > table.csv"), "{told}");
    // A row with two slips is one.
    let told = sentence(format!("a,b,k\n{rows}kg,m,x\n"));
    assert!(told.contains("column 1 (\"a\"): 1 of 4 rows has no number"), "{told}");
    let told = sentence(format!("a,b,k\nkg,7,z\n{rows}"));
    assert!(told.contains("column 1 (\"a\"): 1 of 4 rows has no number"), "{told}");
}

#[test]
fn of_text_in_another_encoding_only_that_is_told() {
    let lines = b"a,b,k\n1,2,M\xfcller\nx,2,Maier\n3,4,Maier\n5,6,M\xfcller\n7,8,Maier\n";
    let told = sentence(lines);
    assert!(told.contains("iconv") && !told.contains("no number"), "{told}");
}

#[test]
fn what_is_not_utf_8_is_another_value_than_all_others_and_is_refused() {
    let of = |values: [&str; 2]| {
        let rows = (0..24).map(|row| format!("{row}.5;{};{}\n", values[row % 3 % 2], ["a", "b"][row / 3 % 2]));
        let text = "n;g;k\n".to_owned() + &rows.collect::<String>();
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
        sentence(latin)
    };
    for values in [["weiblich", "männlich"], ["männlich", "weiblich"], ["No", "Sí"], ["12", "12 £"]] {
        let told = of(values);
        assert!(told.contains("column 2 (\"g\")") && told.contains("rows have text that is not UTF-8"), "{told}");
    }
}

#[test]
fn years_of_two_digits_are_told_with_the_century_that_they_are_taken_for() {
    let told = |values: &[&str]| dataset(column(values)).report(None).all_lines().join("\n");
    let what = "years of two digits count as 1969 to 2068 (write dates as 2024-01-31, or --category f says otherwise)";
    let days = ["28.01.41", "27.03.69", "20.01.50", "16.11.47"];
    assert!(told(&days).contains(what), "{}", told(&days));
    let either = told(&["01/02/41", "03/04/69", "05/06/50", "07/08/47"]);
    assert!(either.contains(&format!("second number; {what}")), "{either}");
    let days = days.map(|day| day.replace(".4", ".194").replace(".6", ".196").replace(".5", ".195"));
    let days = days.each_ref().map(|day| &**day);
    assert!(told(&days).contains("date") && !told(&days).contains("two digits"), "{}", told(&days));
}

#[test]
fn different_whole_numbers_are_identifiers_under_names_of_what_tells_things_from_each_other() {
    let csv = |name: &str, rows: usize, each: usize| {
        let row = |row: usize| format!("{},{}.5,{}\n", 5_000 + 7 * (row / each).pow(2), row % 7, ["a", "b"][row % 2]);
        format!("{name},f,kind\n") + &(0..rows).map(row).collect::<String>()
    };
    let names = "customer_id KundenID OrderId XYId uid userid id_client invoice_no invoice_num Kundennummer Kunden-Nr. \
                 account_number phone phone_number Telefonnummer SSN MRN barcode \
                 order_no";
    for name in names.split(' ').chain(["Invoice Number", "order id"]) {
        assert_eq!(kinds(&dataset(csv(name, 24, 1)))[0], "identifier", "{name}");
    }
    for name in [
        "paid",
        "AMOUNT_PAID",
        "humid",
        "number_of_rooms",
        "mean",
        "casino",
        "income",
        "orders",
        "session_number",
        "order_num",
        "id_mm",
    ] {
        assert_eq!(kinds(&dataset(csv(name, 24, 1)))[0], "number", "{name}");
    }
    // With several rows each they are learned from, and that is said.
    let told = |data: &Dataset| data.report(None).all_lines().join("\n").contains("--group");
    let data = dataset(csv("customer_id", 48, 2));
    assert_eq!((kinds(&data)[0], told(&data)), ("number", true));
    let options = ReadOptions { group: Some("customer_id".to_owned()), ..ReadOptions::default() };
    assert!(!told(&read(csv("customer_id", 48, 2), &options).unwrap()));
    assert!(!told(&dataset(csv("income", 48, 2))) && !told(&dataset(csv("customer_id", 48, 12))));
}

#[test]
fn marks_of_a_spreadsheet_are_told_in_the_quotes_that_a_shell_needs() {
    let told = sentence("a,b,k\n1,2,x\n#DIV/0!,4,y\n5,6,x\n7,8,y\n");
    assert!(told.contains("--missing 'default,#DIV/0!' takes"), "{told}");
}

#[test]
fn the_limits_hold_as_the_file_grows() {
    let small = Limits { rows: 40, features: 3, classes: 3, record_bytes: 20_000 };
    let of = |csv: &str| {
        let source = Source::of_bytes(csv.as_bytes());
        Dataset::from_source("data.csv".to_owned(), source, &ReadOptions::default(), &small)
    };
    let fault = |csv: &str| of(csv).unwrap_err().fault;
    assert_eq!(fault("1,1,1,1,a\n"), Fault::TooManyFeatures { line: 1, got: 4 });
    assert_eq!(fault(&("1,a\n2,b\n".repeat(20) + "\n1,b\n")), Fault::TooManyRows { line: 42 });
    assert!(matches!(fault("f,k\n1,a\n1,b\n1,c\n1,d\n"), Fault::TooManyClasses { .. }));
    assert!(matches!(fault(&"1".repeat(20_001)), Fault::LongLine { line: 1, .. }));
    let wide = of("f,c,k\n1,p,a\n2,q,b\n1,r,a\n5,p,b\n1,q,a\n2,r,b\n").unwrap();
    let error = wide.prepare(&Preparation { split: last(1), ..ASKED }).unwrap_err();
    let Fault::TooWide { inputs: 4, inputs_max: 3, widest } = &error.fault else { panic!("{error}") };
    assert_eq!((widest[0].0.number, widest[0].1), (2, 3));
    assert!(
        error.to_string().contains("column 2 (\"c\") becomes 3") && error.to_string().contains("--ignore c"),
        "{error}"
    );
}

/// Inputs of the training rows, and what is learned of the columns, where the last two rows validate.
fn learned(rows: &[[String; 4]], validation: [[String; 4]; 2]) -> (Vec<u32>, Schema) {
    let lines = rows.iter().chain(&validation).map(|row| row.join(",") + "\n");
    let csv = "n,c,t,kind\n".to_owned() + &lines.collect::<String>();
    let prepared = inputs(&csv, &ReadOptions::default(), last(2));
    (dense(&prepared.shards[0]).iter().map(|value| value.to_bits()).collect(), prepared.schema)
}

fn row(number: i16, color: u8, day: u8, class: bool) -> [String; 4] {
    [
        if number % 11 == 0 { String::new() } else { format!("{}.25", number) },
        ["red", "green", "blue", "NA", "grey"][usize::from(color % 5)].to_owned(),
        format!("2024-03-{:02}", day % 28 + 1),
        if class { "x" } else { "y" }.to_owned(),
    ]
}

proptest! {
    #[test]
    fn validation_rows_change_no_input_of_a_training_row(
        rows in prop::collection::vec((any::<i16>(), any::<u8>(), any::<u8>(), any::<bool>()), 12..40),
        one in prop::array::uniform2((any::<i16>(), any::<u8>(), any::<u8>())),
        other in prop::array::uniform2((any::<i16>(), any::<u8>(), any::<u8>())),
    ) {
        let mut training: Vec<_> = rows.into_iter().map(|(n, c, d, k)| row(n, c, d, k)).collect();
        // Every kind is that of all rows, whatever validates; both classes train.
        training.extend([row(1, 0, 0, true), row(2, 1, 1, false), row(3, 0, 2, true), row(4, 1, 3, false)]);
        let of = |rows: [(i16, u8, u8); 2]| learned(&training, rows.map(|(n, c, d)| row(n, c, d, true)));
        prop_assert_eq!(of(one), of(other));
    }

    #[test]
    fn any_order_of_the_rows_gives_the_same_schema(
        rows in prop::collection::vec((any::<i16>(), any::<u8>(), any::<u8>(), any::<bool>()), 3..30),
        seed: u64,
    ) {
        let mut lines: Vec<String> = rows.into_iter().map(|(n, c, d, k)| row(n, c, d, k).join(",") + "\n").collect();
        let of = |lines: &[String]| {
            let found = read("n,c,t,kind\n".to_owned() + &lines.concat(), &ReadOptions::default());
            found.map(|data| data.report(None).to_json().to_string()).map_err(|error| match error.fault {
                Fault::Refused { refusals } => format!("{:?}", refusals.iter().map(|refusal| (refusal.rows, refusal.cause)).collect::<Vec<_>>()),
                fault => format!("{fault:?}"),
            })
        };
        let found = of(&lines);
        crate::model::random::Stream::new(crate::model::random::Purpose::Split, seed, [0; 3]).shuffle(&mut lines);
        prop_assert_eq!(of(&lines), found);
    }

    #[test]
    fn a_raw_row_has_the_inputs_of_the_prepared_one(
        rows in prop::collection::vec((any::<i16>(), any::<u8>(), any::<u8>(), any::<bool>()), 8..30),
    ) {
        let mut rows: Vec<_> = rows.into_iter().map(|(n, c, d, k)| row(n, c, d, k)).collect();
        rows.extend([row(1, 0, 0, true), row(2, 1, 1, false)]);
        let csv = "n,c,t,kind\n".to_owned() + &rows.iter().map(|row| row.join(",") + "\n").collect::<String>();
        let Ok(data) = read(&csv, &ReadOptions::default()) else { return Ok(()) };
        let asked = Preparation { split: last(1), sharding: Sharding::Contiguous, ..ASKED };
        let Ok(prepared) = data.prepare(&asked) else { return Ok(()) };
        let json: serde_json::Value = serde_json::from_str(&prepared.schema.to_json().to_string()).unwrap();
        let schema = Schema::from_json(&json).unwrap();
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        for (row, wanted) in rows.iter().zip(dense(&prepared.shards[0]).chunks(prepared.features)) {
            let fields: Vec<&str> = row.iter().map(String::as_str).collect();
            prop_assert_eq!(bits(&schema.transform(&fields).unwrap()), bits(wanted));
        }
    }
}
