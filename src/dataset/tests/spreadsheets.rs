//! What spreadsheets make of tables: sums below them, titles above them, points between thousands, dates as each hand wrote them.

use super::*;

fn notes(csv: &str) -> String {
    dataset(csv).report(None).all_lines().join("\n")
}

/// Rows of two columns, of which the first counts.
fn rows(separator: char, numbers: usize, number: impl Fn(usize) -> String) -> String {
    let class = |row: usize| if row.is_multiple_of(2) { "x" } else { "y" };
    (0..numbers).map(|row| format!("{}{separator}{}\n", number(row), class(row))).collect()
}

#[test]
fn codes_in_columns_with_a_decimal_comma_are_named_with_the_option_that_takes_them_for_missing() {
    let number = |row: usize| if row.is_multiple_of(9) { "-999,0".to_owned() } else { format!("{row},5") };
    let csv = "temp;k\n".to_owned() + &rows(';', 36, number);
    let told = notes(&csv);
    assert!(told.contains("column 1 (\"temp\") has -999 in 4 rows, else 1.5 to 35.5"), "{told}");
    assert!(told.contains("--missing 'default,\"-999,0\"' says so"), "{told}");
    let options = ReadOptions { missing: "default,\"-999,0\"".parse().unwrap(), ..ReadOptions::default() };
    assert_eq!(read(&csv, &options).unwrap().roles.columns[0].missing, 4);
}

#[test]
fn points_stand_between_thousands_where_other_columns_have_decimal_commas() {
    let people = |row: usize| ["950", "1.250", "12.500", "101.000"][row % 4];
    let mut csv = "people;area;k\n".to_owned();
    (0..24)
        .for_each(|row| csv += &format!("{};{row},5;{}\n", people(row), if row.is_multiple_of(3) { "x" } else { "y" }));
    let asked = Preparation { split: last(4), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let prepared = dataset(&csv).prepare(&asked).unwrap();
    let first: Vec<f32> = dense(&prepared.shards[0]).chunks(prepared.features).take(4).map(|row| row[0]).collect();
    assert_eq!(first, [950.0, 1_250.0, 12_500.0, 101_000.0]);
    let told = notes(&csv);
    assert!(told.contains("written 1.234,5") && !told.contains("taken for the decimal mark"), "{told}");
    // One column with a decimal point, and nothing is known.
    let other = csv.replace("k\n", "p;k\n").replace(";x\n", ";0.5;x\n").replace(";y\n", ";1.25;y\n");
    let told = notes(&other);
    assert!(told.contains("column 1 (\"people\"): each point has three digits behind it"), "{told}");
}

#[test]
fn points_that_may_stand_between_thousands_are_named_where_no_other_column_tells() {
    let csv =
        |separator: char, number: &dyn Fn(usize) -> String| format!("n{separator}k\n{}", rows(separator, 24, number));
    let thousands = |row: usize| format!("{}.250", row + 1);
    let told = notes(&csv(';', &thousands));
    assert!(told.contains("--decimal , says so"), "{told}");
    let options = ReadOptions { decimal: Some(Decimal::Comma), ..ReadOptions::default() };
    let kind = read(csv(';', &thousands), &options).unwrap().roles.columns[0].kind;
    assert!(matches!(kind, Kind::Number(form) if form.notation.name() == "1.234,5"), "{kind:?}");
    let are_not_named = |separator: char, number: &dyn Fn(usize) -> String| {
        let told = notes(&csv(separator, number));
        assert!(!told.contains("three digits"), "{told}");
    };
    are_not_named(',', &thousands);
    are_not_named(';', &|row| format!("0.{}", 100 + row));
    are_not_named(';', &|row| format!("{}.25", row + 1));
    are_not_named(';', &|row| format!("{row}00"));
}

#[test]
fn numbers_with_a_decimal_comma_are_such_between_commas_too() {
    let notation = |csv: &str, column: usize| match dataset(csv).roles.columns[column].kind {
        Kind::Number(form) => form.notation.name(),
        kind => kind.name(),
    };
    let part = |row: usize| format!("\"0,{}\"", 101 + row);
    assert_eq!(notation(&("f,k\n".to_owned() + &rows(',', 24, part)), 0), "1234,5");
    // A column that may be either is as another one is that is not.
    let either = |row: usize| format!("\"{},250\"", row + 1);
    let beside = |other: &dyn Fn(usize) -> String| {
        notation(&("f,g,k\n".to_owned() + &rows(',', 24, |row| format!("{},{}", either(row), other(row)))), 0)
    };
    assert_eq!(beside(&|row| format!("\"{row},5\"")), "1234,5");
    assert_eq!([beside(&|row| format!("{row}.5")), beside(&|row| row.to_string())], ["1,234.5"; 2]);
    // Without a name, and every number with a comma.
    let headless: String = (0..24).map(|row| format!("{row},5;{},7;{},1\n", row % 7, 3 * row)).collect();
    let data = dataset(&headless);
    assert_eq!((data.rows(), data.survey.separator, kinds(&data)), (24, Some(b';'), vec!["number"; 3]));
}

#[test]
fn lines_of_sums_are_named_among_rows_and_left_out_where_they_are_refused() {
    let csv = "month,k\n".to_owned() + &rows(',', 24, |row| format!("m{}", row % 3)) + "Total,x\n";
    let told = notes(&csv);
    let wanted = "\"Total\" in line 26 of column 1 (\"month\"): if that is a sum of other rows, leave it out (sed 26d FILE > table.csv), \
                  or it trains and judges as a row like the others";
    assert!(told.contains(wanted), "{told}");
    // As many of them as of others are no sums.
    let told = notes(&("who,k\n".to_owned() + &rows(',', 24, |row| ["men", "women", "total"][row % 3].to_owned())));
    assert!(!told.contains("sums"), "{told}");
    let told = sentence("n,k\n".to_owned() + &rows(',', 24, |row| row.to_string()) + "Summe:,x\n");
    assert!(told.contains("leave it out: sed 26d FILE > table.csv; or: --category n"), "{told}");
    assert!(!told.contains("--missing"), "{told}");
    let told = sentence("n,k\n".to_owned() + &rows(',', 24, |row| row.to_string()) + "Total 2024,x\n");
    assert!(told.contains("leave it out: sed 26d FILE > table.csv; or: --category n"), "{told}");
}

#[test]
fn lines_of_sums_of_some_rows_are_named_with_all_others_where_what_they_sum_stands_among_the_rows() {
    let part = |name: &str, count: usize| rows(';', count, |row| format!("{name};{row}"));
    let csv =
        format!("rank;n;k\n{}Prof Total;;x\n{}Sum of Dean;;y\nGrand Total;;x\n", part("Prof", 24), part("Dean", 24));
    let told = notes(&csv);
    let wanted = "\"Prof Total\" in line 26 of column 1 (\"rank\"), \"Sum of Dean\" in line 51 of column 1 (\"rank\"), \
                  \"Grand Total\" in line 52 of column 1 (\"rank\"): if those are sums of other rows, leave them out \
                  (sed '26d;51d;52d' FILE > table.csv)";
    assert!(told.contains(wanted), "{told}");
    // Nothing else is called Recall; and many lines are not told one by one.
    let films = format!("film;n;k\n{}Total Recall;7;x\n", part("Alien", 24));
    assert!(!notes(&films).contains("sum of other rows"));
    let many = format!("rank;n;k\n{}{}", part("Prof", 300), part("Prof Total", 25));
    let told = notes(&many);
    assert!(told.contains(", and 5 more: if those are sums of other rows, leave them out, or they train"), "{told}");
}

#[test]
fn names_of_columns_in_several_lines_are_told_with_the_command_that_joins_them() {
    let numbers = rows(',', 24, |row| format!("A,{row},{}.5,{}.5,{}", row % 7, row % 5, row % 3));
    let pivot = format!("rank,,Prof,Prof,Dean,k\nsex,,Female,Male,Male,k\ngroup,years,,,,\n{numbers}");
    let error = read(&pivot, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.fault, Fault::SplitNames { lines: 3, separator: b',' });
    let told = error.to_string();
    let awk = "awk -F , -v OFS=, 'NR == 1 { split($0, a); next } NR == 2 { split($0, b); next } \
               NR == 3 { for (i = 1; i <= NF; i++) if ($i == \"\") $i = a[i] \"_\" b[i] } 1' data.csv > table.csv";
    assert!(told.contains("lines 1 to 3 name the columns together") && told.contains(awk), "{told}");
    let two = format!("group,years,salary,salary,hours,k\n,,mean,std,mean,last\n{numbers}");
    let error = read(&two, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.fault, Fault::SplitNames { lines: 2, separator: b',' });
    // Units below names that differ are none of theirs.
    let units = format!("group,years,salary,bonus,hours,k\n,,EUR,EUR,h,unit\n{numbers}");
    let error = read(&units, &ReadOptions::default()).unwrap_err();
    assert_eq!(error.fault, Fault::Units { last: 2, columns: 3 });
}

#[test]
fn lines_that_are_dropped_for_want_of_a_label_decide_no_kind() {
    let head = "customer_id,code,datum,area,k\n";
    let row = |row: usize| {
        let (id, day, area) = (5_000 + 7 * row * row, 20_240_101 + row % 20, row % 5);
        format!("{id},{:04},{day},{area},{}\n", 3 * row, ["x", "y"][row % 2])
    };
    let rows: String = (0..24).map(row).collect();
    let wanted = kinds(&dataset(format!("{head}{rows}")));
    assert_eq!(wanted, ["identifier", "identifier", "date", "number", "category"]);
    for line in ["Source: CRM export,,,,\n", ",#,,,\n", ",,degC,4000,\n"] {
        for csv in [format!("{head}{rows}{line}"), format!("{head}{line}{rows}")] {
            let data = dataset(&csv);
            assert_eq!((kinds(&data), data.rows(), data.table.dropped), (wanted.clone(), 24, 1), "{line}");
            assert_eq!(data.roles.columns[3].distinct, Some(5), "{line}");
        }
    }
    // A row of the table without a label leaves no gap in what counts the rows.
    let label = |row: usize| if row == 5 || row == 9 { "" } else { ["x", "y"][row % 2] };
    let counted: String = (0..24).map(|row| format!("{row},{},{}\n", row % 5, label(row))).collect();
    let data = dataset(format!("n,area,k\n{counted}"));
    assert_eq!((kinds(&data)[0], data.table.dropped), ("row number", 2));
    // Where the row is one of a class of its own, it counts as any.
    let options = ReadOptions { missing_label: MissingLabel::Class, ..ReadOptions::default() };
    let text = read(format!("{head}{rows},,degC,4000,\n"), &options).unwrap_err().to_string();
    assert!(text.contains("column 3 (\"datum\"): 1 of 25 rows"), "{text}");
}

#[test]
fn a_title_that_fills_several_lines_with_separators_is_told_from_rows() {
    let told = sentence("Report,,\nmade today,,\n,,\na,b,k\n".to_owned() + &"1,2,x\n3,4,y\n".repeat(4));
    assert!(told.contains("the table seems to begin in line 4"), "{told}");
}

#[test]
fn dates_in_several_orders_are_told_as_such() {
    let day = |row: usize| {
        if row.is_multiple_of(3) { format!("2024-01-{:02}", row + 1) } else { format!("{}.01.2024", row + 1) }
    };
    let told = sentence("day,k\n".to_owned() + &rows(',', 24, day));
    assert!(
        told.contains("8 of 24 rows have the date in another order than the others (\"2024-01-01\" in line 2"),
        "{told}"
    );
    assert!(
        told.contains("write all of them as 2024-01-31, or: --category day") && !told.contains("--missing"),
        "{told}"
    );
}

#[test]
fn what_stands_behind_a_number_or_in_front_of_it_is_told_as_what_it_is() {
    let address = |row: usize| format!("{row} High Street {}", row % 5);
    assert!(
        !notes(&("a,n,k\n".to_owned() + &rows(',', 48, |row| format!("{},{row}.5", address(row))))).contains("unit")
    );
    let told = notes(&("a,n,k\n".to_owned() + &rows(',', 48, |row| format!("'{}.5,{row}.5", row % 40))));
    assert!(told.contains("an apostrophe in front of numbers"), "{told}");
    for (number, wanted) in [
        ("CHF #.50", "text in front of numbers"),
        ("R$ 1.0#,65", "text in front of numbers"),
        ("\"3,#,14,476.00\"", "digits in groups of two, such as 1,39,750"),
        ("\"₹ 3,#,14,476.00\"", "digits in groups of two, such as 1,39,750"),
        ("1.0#.14.76", "digits with other marks than numbers have"),
        ("0:#", "times such as 12:30, which are not read; minutes or seconds alone"),
        ("4:# PM", "times such as 12:30, which are not read; minutes or seconds alone"),
        ("20#-07", "months without a day, which are not read; the first day of each"),
        ("20#-W07", "weeks, which are not read; the first day of each"),
        ("9/#", "two numbers with a sign between; each in a column of its own"),
        ("\"1,#,750\"", "digits in groups of two, such as 1,39,750; numbers such as 139750"),
        ("18h #m", "text behind numbers; numbers alone, in one unit"),
        ("# kg", "text behind numbers"),
    ] {
        let number = |row: usize| number.replace('#', &(10 + row % 40).to_string());
        let told = notes(&("a;n;k\n".to_owned() + &rows(';', 48, |row| format!("{};{row}.5", number(row)))));
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}

#[test]
fn numbers_in_lakhs_beside_smaller_ones_are_told_as_what_they_are() {
    let lakhs = |row: usize| {
        if row.is_multiple_of(5) { format!("\"{},750\"", 10 + row) } else { format!("\"1,{},750\"", 10 + row) }
    };
    let told = notes(&("pay,n,k\n".to_owned() + &rows(',', 48, |row| format!("{},{row}.5", lakhs(row)))));
    assert!(told.contains("digits in groups of two, such as 1,39,750"), "{told}");
    let labels: String = (0..48).map(|row| format!("{row}.5,{}\n", lakhs(row % 40))).collect();
    let options = ReadOptions { label: names(&["pay"]), ..ReadOptions::default() };
    let told = read("n,pay\n".to_owned() + &labels, &options).unwrap().report(None).all_lines().join("\n");
    assert!(told.contains("the labels in column 2 (\"pay\") are numbers with text beside them"), "{told}");
}

#[test]
fn a_title_and_a_line_of_separators_are_left_out_with_one_command() {
    let csv = "Salaries,,,\n,,,\nrank,n,m,k\n".to_owned()
        + &rows(',', 24, |row| format!("{},{row},{}", ["A", "B"][row % 2], 7 * row % 11));
    assert_eq!(read(&csv, &ReadOptions::default()).unwrap_err().fault, Fault::Titled { line: 3 });
}

#[test]
fn days_that_are_never_to_come_are_named_with_the_option_that_takes_them_for_missing() {
    let ends = |never: &str| {
        let day =
            |row: usize| if row.is_multiple_of(6) { never.to_owned() } else { format!("2024-01-{:02}", row % 28 + 1) };
        notes(&("until,k\n".to_owned() + &rows(',', 60, day)))
    };
    let told = ends("9999-12-31");
    let wanted = "column 1 (\"until\") has \"9999-12-31\" in 10 rows: if such a value stands for a missing value, \
                  --missing default,9999-12-31 says so, of all columns";
    assert!(told.contains(wanted), "{told}");
    assert!(!ends("2099-12-31").contains("--missing"));
}

#[test]
fn days_as_a_spreadsheet_counts_them_are_left_out_as_numbers_that_may_be_of_use() {
    let told =
        |name: &str| notes(&(format!("{name},n,k\n") + &rows(',', 48, |row| format!("{},{row}.5", 44_927 + row))));
    assert!(told("date").contains("of use if they are the days of a spreadsheet (--use date takes it in)"));
    assert!(!told("number").contains("days of a spreadsheet"));
}
