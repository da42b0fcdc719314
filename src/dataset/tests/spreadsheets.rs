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
    assert!(
        told.contains("column 1 (\"month\") has \"Total\" in a row: if that is a line of sums, take it out"),
        "{told}"
    );
    // As many of them as of others are no sums.
    let told = notes(&("who,k\n".to_owned() + &rows(',', 24, |row| ["men", "women", "total"][row % 3].to_owned())));
    assert!(!told.contains("sums"), "{told}");
    let told = sentence("n,k\n".to_owned() + &rows(',', 24, |row| row.to_string()) + "Summe:,x\n");
    assert!(told.contains("leave it out: sed 26d FILE > table.csv; or: --category n"), "{told}");
    assert!(!told.contains("--missing"), "{told}");
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
        ("\"3,#,14,476.00\"", "digits with other marks than numbers have"),
        ("\"₹ 3,#,14,476.00\"", "digits with other marks than numbers have"),
        ("0:#", "text behind numbers"),
        ("# kg", "text behind numbers"),
    ] {
        let number = |row: usize| number.replace('#', &(10 + row % 40).to_string());
        let told = notes(&("a;n;k\n".to_owned() + &rows(';', 48, |row| format!("{};{row}.5", number(row)))));
        assert!(told.contains(wanted), "{wanted}: {told}");
    }
}
