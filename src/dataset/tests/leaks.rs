//! Columns that tell the label by themselves.

use super::*;

fn warnings(csv: &str) -> String {
    dataset(csv).prepare(&ASKED).unwrap().warnings.join("\n")
}

fn table(header: &str, row: impl Fn(usize) -> String) -> String {
    format!("{header}\n") + &(0..60).map(|number| row(number) + "\n").collect::<String>()
}

#[test]
fn a_column_whose_values_stand_beside_one_class_each_is_named_with_the_option_that_leaves_it_out() {
    let class = |row: usize| ["a", "b", "a", "c"][row % 4];
    for leak in [
        |row: usize| format!("s{}", row % 4),
        |row: usize| (row % 4 + 7).to_string(),
        |row: usize| ["", "x", "", "y"][row % 4].to_owned(),
    ] {
        let told = warnings(&table("n,copy,kind", |row| format!("{}.5,{},{}", row % 9, leak(row), class(row))));
        let sentence = "column 2 (\"copy\") alone tells the label of every row: if it is known only with the label, leave it out \
                        (--ignore copy)";
        assert_eq!(told, sentence);
    }
    for other in [
        |row: usize| format!("s{}", row % 3),
        |row: usize| format!("s{}", row % 16),
        |row: usize| {
            if row == 49 { "s0".to_owned() } else { format!("s{}", row % 4) }
        },
    ] {
        let told = warnings(&table("n,copy,kind", |row| format!("{}.5,{},{}", row % 9, other(row), class(row))));
        assert_eq!(told, "", "{}", other(7));
    }
}

#[test]
fn a_column_on_a_line_with_the_number_to_be_fitted_is_named() {
    let net = |row: usize| 1_000.0 + (row * row % 97) as f64 * 12.3;
    let of = |x: &dyn Fn(usize) -> String| {
        warnings(&table("n,x,net", |row| format!("{}.5,{},{}", row % 9, x(row), net(row))))
    };
    let told = of(&|row| format!("{:.2}", net(row) * 1.19));
    assert!(
        told.contains("column 2 (\"x\") lies on a straight line with the label") && told.contains("--ignore x"),
        "{told}"
    );
    assert!(of(&|row| format!("{:.1}", -net(row) / 7.0)).contains("straight line"));
    for no_line in
        [&(|row: usize| format!("{}", net(row) + (row % 5) as f64 * 20.0)) as &dyn Fn(usize) -> String, &|_: usize| {
            "7".to_owned()
        }]
    {
        assert_eq!(of(no_line), "");
    }
}
