//! Values that are kept from the first reading, and where they are kept.

use proptest::prelude::*;

use super::*;
use crate::dataset::files::Part;
use crate::dataset::kept::Kept;
use crate::dataset::source::Source;
use crate::dataset::survey::{LIMITS, Survey};
use crate::dataset::table::{self, Table};
use crate::dataset::{DatasetError, roles};

/// Rows in the order of the file, as they are but for missing ones.
const AS_THEY_ARE: Preparation =
    Preparation { split: ValidationSplit::LAST_FIFTH, scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };

fn values(csv: &str, options: &ReadOptions) -> Vec<f32> {
    let data = read(csv, options).unwrap();
    let prepared = data.prepare(&AS_THEY_ARE).unwrap();
    [dense(&prepared.shards[0]), dense(&prepared.validation)].concat()
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
    let rows: Vec<Vec<f32>> =
        blocks.flat_map(|block| dense(block).chunks(COLUMNS + 3).map(<[f32]>::to_vec).collect::<Vec<_>>()).collect();
    let mut count = 0;
    for (row, inputs) in rows.iter().enumerate() {
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

/// What a table holds, in a form that does not tell how it is kept.
fn content(table: Result<Table, DatasetError>) -> Result<Vec<String>, String> {
    let table = table.map_err(|error| error.to_string())?;
    let lines: Vec<u64> = (0..table.rows).map(|row| table.lines.of(row)).collect();
    let Table { rows, target, starts, dropped, validates, tests_from, groups, lead, .. } = &table;
    let mut content =
        vec![format!("{rows} {target:?} {starts:?} {dropped} {validates:?} {tests_from:?} {groups:?} {lines:?}")];
    for (place, column) in &table.features {
        let value = |cells: &crate::dataset::cells::Cells, value: usize| {
            (cells.number(value), cells.code(value).map(|code| &column.names()[code as usize]), cells.moment(value))
        };
        let values = column.all(|cells, at| format!("{:?}", value(cells, at))).unwrap();
        content.push(format!("{place} {:?}", &values[*lead..]));
    }
    Ok(content)
}

/// A field of a column of some kind.
fn field(kind: u32, seed: u32) -> String {
    let number = seed % 1_000;
    match kind % 14 {
        0 => format!("{number}"),
        1 => format!("{}.{:03}", number as i32 - 500, seed / 1_000 % 1_000),
        2 => [format!(" {number}"), format!("+{number}.5 "), format!("{number}e-2"), format!("{number}")]
            [seed as usize % 4]
            .clone(),
        3 => ["red", "green", "blue "][seed as usize % 3].to_owned(),
        4 => format!("\"a long name of {}, with \"\"quotes\"\"\"", seed % 5),
        5 => ["true", "False", "yes", "no"][seed as usize % 4].to_owned(),
        6 => format!("20{:02}-{:02}-{:02}", seed % 30 + 10, seed % 12 + 1, seed % 28 + 1),
        7 => format!("{number}%"),
        8 => {
            if seed.is_multiple_of(40) {
                "oops".to_owned()
            } else {
                format!("{number}")
            }
        }
        9 => ["NA", "", "null", "-"][seed as usize % 4].to_owned(),
        10 => format!("\"{},{:03}.5\"", seed % 9 + 1, number),
        11 => ["1", "2", "2.0", "x"][seed as usize % 4].to_owned(),
        12 => format!("{}", seed % 3),
        _ => ["1.0", "1", " 2", "02"][seed as usize % 4].to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_is_kept_is_what_a_second_reading_finds(
        kinds in prop::collection::vec(any::<u32>(), 2..6),
        seeds in prop::collection::vec(any::<u32>(), 12..200),
        missing in prop::sample::select(vec![u32::MAX, 9]),
        header in any::<Option<bool>>(),
        task in prop::sample::select(vec![None, Some(Task::Classify), Some(Task::Regress)]),
        missing_label in prop::sample::select(vec![MissingLabel::Drop, MissingLabel::Class]),
    ) {
        let width = kinds.len();
        let mut csv = String::new();
        if header != Some(false) {
            csv += &(0..width).map(|column| format!("c{column}")).collect::<Vec<_>>().join(",");
            csv += "\n";
        }
        for (row, seeds) in seeds.chunks_exact(width).enumerate() {
            let fields = kinds.iter().zip(seeds).map(|(&kind, &seed)| {
                if (seed >> 7).is_multiple_of(missing) { String::new() } else { field(kind, seed) }
            });
            csv += &fields.collect::<Vec<_>>().join(",");
            csv += if row % 7 == 3 { "\n\n" } else { "\n" };
        }
        let options = ReadOptions { header, task, missing_label, ..ReadOptions::default() };
        let part = Part::of_source("data.csv".to_owned(), Source::of_bytes(csv.as_bytes()));
        let Ok((survey, kept)) = Survey::of(&part.source, &options, &LIMITS) else { return Ok(()) };
        let Ok(roles) = roles::decide(&survey, &options) else { return Ok(()) };
        let parts = [part];
        let read = |kept| content(table::read("data.csv", &parts, (&survey, kept), &roles, &options, &LIMITS));
        prop_assert_eq!(read(kept), read(Kept::default()), "{}", csv);
    }
}
