//! Values that are kept from the first reading, and where they are kept.

use super::*;

/// Rows in the order of the file, as they are but for missing ones.
const AS_THEY_ARE: Preparation =
    Preparation { split: ValidationSplit::LAST_FIFTH, scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };

fn values(csv: &str, options: &ReadOptions) -> Vec<f32> {
    let data = read(csv, options).unwrap();
    let prepared = data.prepare(&AS_THEY_ARE).unwrap();
    [&prepared.shards[0].values[..], &prepared.validation.values].concat()
}

#[test]
fn numbers_that_memory_is_not_for_come_back_from_a_file() {
    const COLUMNS: usize = 40;
    const ROWS: usize = 60_000;
    let number = |row: usize, column: usize| ((row * 37 + column * 11) % 4_001) as f32 / 8.0 - 100.0;
    let is_missing = |row: usize, column: usize| column == 3 && row % 1_000 == 7;
    let names = ["x", "y", "z"];
    let mut csv = (0..COLUMNS).map(|column| format!("c{column},")).collect::<String>() + "name,kind\n";
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            csv += &if is_missing(row, column) { ",".to_owned() } else { format!("{},", number(row, column)) };
        }
        csv += &format!("{},{}\n", names[row % 3], ["a", "b"][row % 2]);
    }
    let data = dataset(&csv);
    let asked = Preparation { split: last(1_000), shards: ShardCount::Exactly(3), ..AS_THEY_ARE };
    let prepared = data.prepare(&asked).unwrap();
    assert_eq!(prepared.features, COLUMNS + 3);
    let blocks = prepared.shards.iter().chain([&prepared.validation]);
    let rows = blocks.flat_map(|block| block.values.chunks(COLUMNS + 3));
    let mut count = 0;
    for (row, inputs) in rows.enumerate() {
        for (column, &input) in inputs[..COLUMNS].iter().enumerate().filter(|(column, _)| !is_missing(row, *column)) {
            assert_eq!(input, number(row, column), "row {row}, column {column}");
        }
        let name = [0, 1, 2].map(|name| f32::from(u8::from(row % 3 == name)));
        assert_eq!(inputs[COLUMNS..], name, "row {row}");
        count += 1;
    }
    assert_eq!(count, ROWS);
    assert_eq!(data.clone().prepare(&asked).unwrap(), prepared);
}

#[test]
fn the_first_line_is_a_row_or_none_and_the_others_stay_where_they_are() {
    let rows = "3,4,b\n5,6,a\n7,8,b\n9,10,a\n";
    let below = [3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
    let usual = ReadOptions::default();
    assert_eq!(values(&format!("x,y,k\n{rows}"), &usual), below);
    // A number in another form than the shortest, one that is missing, and what stands for that is a number by itself.
    let named = ReadOptions { missing: "1".parse().unwrap(), ..ReadOptions::default() };
    for (first, options, wanted) in [
        ("1,2,a", &usual, [1.0, 2.0]),
        ("1e0,2,a", &usual, [1.0, 2.0]),
        (" 1 ,+2,a", &usual, [1.0, 2.0]),
        (",2,a", &usual, [5.0, 2.0]),
        ("1,2,a", &named, [5.0, 2.0]),
    ] {
        let options = ReadOptions { header: Some(false), number: names(&["1", "2"]), ..options.clone() };
        let found = values(&format!("{first}\n{rows}"), &options);
        // Between them, a mark of a missing value may stand.
        let width = found.len() / 5;
        let pairs: Vec<f32> = found.chunks(width).flat_map(|row| [row[0], row[width - 1]]).collect();
        assert_eq!(pairs, [&wanted[..], &below].concat(), "{first}");
    }
}

#[test]
fn columns_stay_beside_each_other_where_rows_are_left_out_or_values_are_texts() {
    let usual = ReadOptions::default();
    // Two rows have no label.
    assert_eq!(
        values("x,y,k\n1,2,\n3,4,b\n5,6,a\n7,8,?\n9,10,b\n11,12,a\n", &usual),
        [3.0, 4.0, 5.0, 6.0, 9.0, 10.0, 11.0, 12.0]
    );
    let csv = "x,n,k\n1,p,a\n2,q,b\n3,p,a\n4,q,b\n5,p,a\n";
    let wanted = [[1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [3.0, 1.0, 0.0], [4.0, 0.0, 1.0], [5.0, 1.0, 0.0]].concat();
    assert_eq!(values(csv, &ReadOptions { rare: Some(1), ..usual.clone() }), wanted);
    // A text among numbers is refused with its line, which the second reading tells.
    let error = sentence("x,y,k\n1,2,a\n3,4,b\n5,oops,a\n7,8,b\n9,1,a\n2,3,b\n");
    assert!(error.contains("line 4") && error.contains("oops"), "{error}");
}
