//! What is said of files that cannot be used as they are, or not as they are meant: the cure that fits what stands there.

use super::*;

/// A table of these columns, whose last one says `a` and `b` in turn.
fn table(names: &str, separator: char, rows: usize, row: impl Fn(usize) -> String) -> String {
    let line = |at: usize| format!("{}{separator}{}\n", row(at), ["a", "b"][at % 2]);
    format!("{names}\n") + &(0..rows).map(line).collect::<String>()
}

fn notes(csv: &str) -> String {
    dataset(csv).report(None).all_lines().join("\n")
}

#[test]
fn values_in_another_form_are_told_beside_one_of_the_others_and_never_taken_for_missing() {
    let told = |value: &dyn Fn(usize) -> String| {
        let told = sentence(table("c;k", ';', 24, value));
        assert!(!told.contains("--missing"), "{told}");
        told
    };
    let every =
        |part: usize| move |row: usize| if row % part == 1 { format!("{}", row + 1) } else { format!("${}", row + 1) };
    let mixed = told(&every(2));
    let form = "two forms are mixed, as in \"$1\" and \"2\": write all in one form, or: --category c";
    assert!(mixed.contains(form), "{mixed}");
    let mixed = told(&every(4));
    assert!(mixed.contains("two forms are mixed, as in \"2\" and \"$1\""), "{mixed}");
    let marks = told(&|row| if row.is_multiple_of(2) { format!("{row},5") } else { format!("{row}.25") });
    assert!(marks.contains("decimal commas and decimal points are mixed, as in \"0,5\" and \"1.25\""), "{marks}");
    let slip = told(&|row| if row == 7 { "8x".to_owned() } else { format!("{}", 3 * row) });
    assert!(slip.contains("correct them (others are like \"0\"), or: --category c"), "{slip}");
    let stars = told(&|row| if row.is_multiple_of(5) { format!("{row}.5*") } else { format!("{row}.5") });
    assert!(stars.contains("two forms are mixed, as in \"0.5*\" and \"1.5\""), "{stars}");
    let versions = told(&|row| if row.is_multiple_of(5) { format!("1.{row}") } else { format!("{}.01.2024", row + 1) });
    assert!(versions.contains("two forms are mixed, as in \"1.0\" and \"10.01.2024\""), "{versions}");
}

#[test]
fn marks_among_values_are_all_named_where_they_are_few() {
    let told = |marks: &[&str], options: &ReadOptions| {
        let value = |row: usize| marks.get(row).map_or_else(|| format!("{row}.5"), |mark| (*mark).to_owned());
        read(table("c,k", ',', 30, value), options).unwrap_err().to_string()
    };
    let usual = ReadOptions::default();
    let few = told(&["x", "y", "x", "z"], &usual);
    assert!(few.contains("correct them, or: --missing default,x,y,z takes such values for missing"), "{few}");
    let dashes = told(&["–", "—"], &usual);
    assert!(dashes.contains("--missing 'default,–,—' takes"), "{dashes}");
    let many = told(&["u", "v", "w", "x", "y", "z"], &usual);
    assert!(!many.contains("--missing"), "{many}");
    // What is named already stays so.
    let named = ReadOptions { missing: "default,gone".parse().unwrap(), ..usual };
    let more = told(&["gone", "x"], &named);
    assert!(more.contains("--missing default,gone,x takes"), "{more}");
    let day = |row: usize| if row < 2 { "0000-00-00".to_owned() } else { format!("2024-01-{row:02}") };
    let told = sentence(table("day,k", ',', 30, day));
    assert!(told.contains("--missing default,0000-00-00 takes"), "{told}");
}

#[test]
fn a_line_that_repeats_the_names_of_the_columns_is_told_with_the_command_that_leaves_it_out() {
    let joined = |names: &str, row: &dyn Fn(usize) -> String| {
        let part = table(names, ',', 40, row);
        part.clone() + &part
    };
    let numbers = joined("age,income,cls", &|row| format!("{},{}", 20 + row, 7 * row));
    let told = "data.csv: 1 line repeats line 1, which seems to name the columns, as in files that were joined (line 42); leave it \
                out: sed 42d data.csv > table.csv; or say --header no if all are rows";
    assert_eq!(sentence(&numbers), told);
    let names = |row: usize| format!("{},{}", ["red", "blue", "green"][row % 3], ["S", "M"][row / 3 % 2]);
    let texts = joined("colour,size,cls", &names);
    assert_eq!(sentence(&texts), told);
    assert!(sentence(texts.clone() + &texts).contains("3 lines repeat line 1"));
    assert!(sentence(texts.clone() + &texts).contains("leave them out: sed '42d;83d;124d' data.csv > table.csv"));
    let many = sentence(texts.repeat(4));
    assert!(many.contains("leave them out: awk 'NR == 1 { names = $0 } NR <= 1 || $0 != names' data.csv"), "{many}");
    let rows = ReadOptions { header: Some(false), ..ReadOptions::default() };
    assert_eq!(read(&texts, &rows).unwrap().rows(), 82);
    // A row that stands twice, without any names.
    let twice = dataset(table("red,S,a", ',', 40, names));
    assert_eq!((twice.rows(), twice.survey.names), (41, None));
}

#[test]
fn a_name_less_than_fields_is_r_s_only_where_most_first_fields_differ() {
    let fault = |csv: &str| read(csv, &ReadOptions::default()).unwrap_err();
    let commas = table("weight,cls", ',', 24, |row| format!("{},{}", 70 + row % 9, row % 10));
    let error = fault(&commas);
    assert_eq!(error.fault, Fault::FewerNames { line: 1, names: 2 });
    let told = error.to_string();
    assert!(told.starts_with("data.csv, line 1: here is a field less than in all other lines, 2 and not 3;"), "{told}");
    let person = |row: usize| format!("{},Rome, IT,{}", ["Ann", "Bob", "Cy"][row % 3], 30 + row);
    let places = table("name,place,age,k", ',', 24, person);
    assert_eq!(fault(&places).fault, Fault::FewerNames { line: 1, names: 4 });
    // Some rows of a frame, and a title.
    let frame = table("weight,cls", ',', 24, |row| format!("{},{}", 3 + 5 * row, row % 10));
    assert_eq!(dataset(frame).survey.names.unwrap(), ["", "weight", "cls"]);
    // R's rows of a split frame, and of countries; and whatever somebody says.
    let names =
        |name: &dyn Fn(usize) -> String| table("weight,cls", ',', 24, |row| format!("{},{}", name(row), row % 10));
    let country = |row: usize| if row == 7 { "NA".to_owned() } else { format!("C{row}") };
    for csv in [
        names(&|row| format!("{}.{}", 1 + row / 12, 1 + row % 12)),
        names(&country),
        names(&|row| (1990 + row).to_string()),
    ] {
        assert_eq!(dataset(&csv).survey.names.unwrap(), ["", "weight", "cls"], "{csv}");
    }
    let header = ReadOptions { header: Some(true), ..ReadOptions::default() };
    assert_eq!(read(&commas, &header).unwrap().survey.names.unwrap(), ["", "weight", "cls"]);
    let sales = table("n,m,k", ',', 24, |row| format!("{},{}", row % 9, row % 10));
    let titled = "Sales, all of them\n\n".to_owned() + &sales;
    assert_eq!(fault(&titled).fault, Fault::Titled { line: 3 });
}

#[test]
fn text_that_is_not_utf_8_is_told_with_a_command_that_keeps_the_signs_of_windows() {
    let told = sentence(&b"a;preis;y\n2;40,63 \x80;b\n3;52,41 \x80;a\n"[..]);
    let command = "iconv -f WINDOWS-1252 -t UTF-8 FILE > FILE.csv converts the file where it is of Windows or Latin-1, which is a guess";
    assert!(told.contains(command), "{told}");
}

#[test]
fn a_refusal_of_the_first_line_alone_names_the_option_that_takes_it_for_names() {
    let csv = table("a,b,c,d,b", ',', 40, |row| format!("{},{},,", ["a", "z"][row % 2], 10 + row));
    let told = sentence(&csv);
    let cure =
        "1 of 41 rows has no number (\"b\" in line 1); if line 1 names the columns, say --header yes; or: --category 2";
    assert!(told.contains(cure) && !told.contains("--missing"), "{told}");
    let header = ReadOptions { header: Some(true), ..ReadOptions::default() };
    assert_eq!(read(&csv, &header).unwrap().rows(), 40);
    let rows = ReadOptions { header: Some(false), ..ReadOptions::default() };
    assert!(!read(&csv, &rows).unwrap_err().to_string().contains("--header yes"));
}

#[test]
fn labels_that_are_numbers_with_text_beside_them_are_told() {
    let csv = |value: &dyn Fn(usize) -> String| {
        "x,price\n".to_owned() + &(0..60).map(|row| format!("{}.5,{}\n", row % 7, value(row))).collect::<String>()
    };
    for (front, behind) in [("", " kg"), ("$", "k"), ("0:", ":30")] {
        let csv = csv(&|row| format!("{front}{}{behind}", 50 + row % 33));
        let told = notes(&csv);
        let hint = "the labels in column 2 (\"price\") are numbers with text beside them, such as";
        assert!(told.contains(&format!("{hint} \"{front}50{behind}\"")), "{told}");
        assert!(told.contains("write the numbers alone, in one unit"), "{told}");
        let fitted = ReadOptions { task: Some(Task::Regress), ..ReadOptions::default() };
        let told = read(csv, &fitted).unwrap_err().to_string();
        assert!(told.contains("write them as numbers alone, in one unit, or: --task classify"), "{told}");
    }
    let told = notes(&csv(&|row| format!("{} EUR", 100 + row)));
    assert!(told.contains("if it is, write its numbers alone and say --label price"), "{told}");
    assert!(!notes(&csv(&|row| format!("s{}", row % 33))).contains("beside them"));
}

#[test]
fn of_two_lines_of_names_the_one_that_lacks_some_is_left_out_and_lines_below_the_names_all_are() {
    let rows = table("", ',', 40, |row| format!("{},F,{},{}", 20 + row, 30 + row, 40 + row));
    let told = sentence("Demographics,,Scores,,Outcome\nAge,Sex,Math,Reading,Passed".to_owned() + &rows);
    assert!(told.contains("the table seems to begin in line 2") && told.contains("tail -n +2 data.csv"), "{told}");
    let rows = table("", ',', 40, |row| format!("2023-01-{:02},{}", row % 28 + 1, row));
    let told = sentence("Start,Q1,Q3\nStart Date,How old,Buy?\n{start},{QID1},{QID3}".to_owned() + &rows);
    assert!(
        told.contains("lines 2 to 3, below the names of the columns, have text where 2 columns have none"),
        "{told}"
    );
    assert!(told.contains("leave them out: sed 2,3d data.csv > table.csv"), "{told}");
}

#[test]
fn marks_that_numbers_beside_them_need_are_not_given_up() {
    let csv = |number: &str, text: &str| {
        table("a,b,k", ',', 30, |row| match row % 3 {
            0 => format!("{number},{text}"),
            _ => format!("{row}.5,{}", ["p", "q"][row % 2]),
        })
    };
    let told = notes(&csv("\\N", "\\N"));
    assert!(told.contains("b: \"\\N\" (10 rows) count as missing, as among the numbers of other columns"), "{told}");
    assert!(!told.contains("--missing"), "{told}");
    let told = notes(&csv("?", "NA"));
    assert!(told.contains("b: \"NA\" (10 rows) count as missing; --missing '?' takes them for values"), "{told}");
    let options = ReadOptions { missing: "?".parse().unwrap(), ..ReadOptions::default() };
    assert_eq!(read(csv("?", "NA"), &options).unwrap().roles.columns[1].missing, 0);
}

#[test]
fn columns_that_only_a_later_file_has_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.csv"), "x,kind\n0.5,a\n1.5,b\n").unwrap();
    fs::write(path("b.csv"), "x,extra,kind\n2.5,7,b\n3.5,8,a\n").unwrap();
    let [a, b] = ["a.csv", "b.csv"].map(|name| path(name).display().to_string());
    let told = |first: &str, options: &ReadOptions| {
        Dataset::read(Path::new(first), options).unwrap().report(None).all_lines().join("\n")
    };
    let hint = format!("columns that the first file has not are left out: \"extra\" of {b}");
    let both = told(&format!("{a},{b}"), &ReadOptions::default());
    assert!(both.contains(&hint), "{both}");
    let validated = told(&a, &ReadOptions { validation: Some(path("b.csv")), ..ReadOptions::default() });
    assert!(validated.contains(&hint), "{validated}");
    assert!(!told(&a, &ReadOptions::default()).contains("left out"));
}

#[test]
fn blanks_between_thousands_alone_leave_no_question_of_a_decimal_mark() {
    let told = notes(&table("p;q;k", ';', 24, |row| format!("{} {:03};{row},5", row + 1, 7 * row)));
    assert!(told.contains("written 1 234,5") && !told.contains("a comma for the decimal mark"), "{told}");
}

#[test]
fn limits_beyond_which_values_lie_are_not_taken_for_missing() {
    let value = |row: usize| if row.is_multiple_of(8) { "<5".to_owned() } else { format!("{}", 5 + row) };
    let told = sentence(table("c,k", ',', 40, value));
    let cure = "write a number for each that is known to lie beyond a limit, such as the limit, or half of it, or: --category c";
    assert!(told.contains(cure) && !told.contains("--missing"), "{told}");
}

#[test]
fn dates_that_are_asked_for_and_are_none_are_told_with_the_forms_that_are_read() {
    let options = ReadOptions { date: names(&["c"]), ..ReadOptions::default() };
    let told = read(table("c,k", ',', 40, |row| format!("day {row}")), &options).unwrap_err().to_string();
    assert!(told.contains("write them in one form, such as 2024-01-31, 01/31/2024, 31.01.2024"), "{told}");
}

#[test]
fn numbers_of_which_some_have_a_unit_are_told_without_an_option_that_would_be_refused() {
    let told = notes(&table("c,n,k", ',', 40, |row| format!("{},{row}.5", ["1.2K", "560", "2.2B", "3.5M"][row % 4])));
    assert!(told.contains("numbers, some with text behind") && !told.contains("--number"), "{told}");
    let told = notes(&table("c,n,k", ',', 40, |row| format!("{},{row}.5", ["1", "2", "none", "all"][row % 4])));
    assert!(told.contains("numbers and names (--number c says otherwise)"), "{told}");
}

#[test]
fn a_last_column_of_many_days_is_no_label_and_one_of_few_is_told() {
    let days = |count: usize| {
        let day =
            |row: usize| format!("{},{},{}-01-{:02}\n", row % 7, row % 5, 1990 + row % count, 1 + row % count % 28);
        dataset("a,b,day\n".to_owned() + &(0..160).map(day).collect::<String>())
    };
    let many = days(40);
    assert_eq!(many.roles.labels, [1]);
    let told = many.report(None).all_lines().join("\n");
    assert!(told.contains("the last column, column 3 (\"day\"), is none (dates); if it is, say --label day"), "{told}");
    let few = days(3);
    assert_eq!(few.roles.labels, [2]);
    let told = few.report(None).all_lines().join("\n");
    assert!(told.contains("the labels in column 3 (\"day\") are dates, each of which is a class"), "{told}");
}

#[test]
fn columns_of_one_name_with_the_same_values_are_told() {
    let row = |row: usize| format!("{},{}.5,{}", ["p", "q", "r"][row % 3], row % 9, ["p", "q", "r"][row % 3]);
    let told = notes(&table("rank,n,rank,k", ',', 40, row));
    assert!(
        told.contains("columns 1 and 3 (\"rank\"): of one name, and their values seem to be the same; --ignore 3"),
        "{told}"
    );
    let row = |row: usize| format!("{},{}.5,{}", ["p", "q", "r"][row % 3], row % 9, ["q", "p", "r"][row % 3]);
    assert!(!notes(&table("rank,n,rank,k", ',', 40, row)).contains("of one name"));
}

#[test]
fn a_first_line_that_may_name_the_columns_is_told_where_nothing_else_is_a_label() {
    // One name is that of a row, too.
    let csv = "a,4,5,6\n".to_owned()
        + &(0..40).map(|row| format!("{},{},{},\n", ["a", "b"][row % 2], row % 7, row)).collect::<String>();
    let told = sentence(&csv);
    assert!(
        told.contains("is it the label (--label)? If the first line names the columns, say --header yes"),
        "{told}"
    );
    let header = ReadOptions { header: Some(false), ..ReadOptions::default() };
    assert!(!read(&csv, &header).unwrap_err().to_string().contains("--header yes"));
}

#[test]
fn a_number_to_be_fitted_far_off_all_others_is_told_with_its_line() {
    let warnings = |slip: &str| {
        let row = |row: usize| {
            format!("{},{}\n", row * row % 17, if row == 7 { slip.to_owned() } else { format!("{}.5", row * 7 % 19) })
        };
        let csv = "x,y\n".to_owned() + &(0..60).map(row).collect::<String>();
        dataset(csv).prepare(&ASKED).unwrap().warnings.join("\n")
    };
    let told = warnings("99999");
    assert!(
        told.contains("line 9: the label in column 2 (\"y\") is 99999, more than a hundred times as far off"),
        "{told}"
    );
    assert!(!warnings("150").contains("far off"));
}
