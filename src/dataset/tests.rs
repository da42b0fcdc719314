use std::fs;

use proptest::prelude::*;

use super::*;

fn dataset(csv: &str) -> Dataset {
    Dataset::from_reader("data.csv", csv.as_bytes()).unwrap()
}

fn sentence(csv: &[u8]) -> String {
    Dataset::from_reader("data.csv", csv).unwrap_err().to_string()
}

/// What a test changes where it matters.
const ASKED: Preparation = Preparation {
    task: Task::Classify,
    split: ValidationSplit::STRATIFIED_FIFTH,
    scaling: Scaling::Standardise,
    sharding: Sharding::Stratified,
    shards: 1,
    seed: 1,
};

/// The classes of a block that has some.
fn labels(block: &Block) -> &[u32] {
    match &block.targets {
        Targets::Classes(labels) => labels,
        Targets::Values(_) => panic!("numbers, where classes are told apart"),
    }
}

fn last(rows: u32) -> ValidationSplit {
    format!("last:{rows}").parse().unwrap()
}

#[test]
fn the_built_in_data_are_the_letters() {
    let letters = Dataset::built_in();
    assert_eq!((letters.rows(), letters.features(), letters.classes().len()), (20_000, 16, 26));
    assert!(letters.classes().iter().map(String::as_bytes).eq((b'A'..=b'Z').map(|letter| [letter])));
    assert!(letters.has_header());
    assert_eq!(letters.feature_names()[0], "x.box");
    assert_eq!(letters.values().row(0).to_vec()[..4], [2.0, 8.0, 3.0, 5.0]);
    assert_eq!(letters.labels()[0], u32::from(b'T' - b'A'));
}

#[test]
fn the_built_in_data_split_at_row_16500_and_files_at_a_fifth() {
    let letters = Dataset::built_in();
    assert_eq!(letters.default_split().to_string(), "last:3500");
    assert_eq!(letters.classic_split().to_string(), "last:3500");
    let prepared = letters.prepare(&Preparation { split: letters.default_split(), shards: 4, ..ASKED }).unwrap();
    assert_eq!(prepared.validation.rows(16), 3_500);
    assert_eq!(prepared.shards.iter().map(|shard| shard.rows(16)).collect::<Vec<_>>(), [4_125; 4]);

    let file = dataset("1,2,x\n3,4,y\n");
    assert_eq!(file.default_split().to_string(), "0.2");
    assert_eq!(file.classic_split().to_string(), "last:0.2");
}

#[test]
fn standardised_training_rows_have_mean_0_and_deviation_1() {
    let letters = Dataset::built_in();
    let prepared = letters.prepare(&Preparation { split: last(3_500), shards: 7, ..ASKED }).unwrap();
    for feature in 0..prepared.features {
        let values = prepared.shards.iter().flat_map(|shard| shard.values.iter().skip(feature).step_by(16));
        let (mut sum, mut squares) = (0.0, 0.0);
        values.for_each(|&value| {
            sum += f64::from(value);
            squares += f64::from(value) * f64::from(value);
        });
        assert!((sum / 16_500.0).abs() < 1e-6, "feature {feature}: mean {}", sum / 16_500.0);
        assert!((squares / 16_500.0 - 1.0).abs() < 1e-6, "feature {feature}: variance {}", squares / 16_500.0);
    }
}

#[test]
fn the_validation_rows_have_no_part_in_the_scale() {
    let data = dataset("0,x\n2,y\n1000,x\n");
    let prepared = data.prepare(&Preparation { split: last(1), ..ASKED }).unwrap();
    assert_eq!((prepared.scaling[0].mean(), prepared.scaling[0].inverse_deviation()), (1.0, 1.0));
    assert_eq!(prepared.validation, Block { values: vec![999.0], targets: Targets::Classes(vec![0]) });
}

#[test]
fn unscaled_values_are_those_of_the_file() {
    let data = dataset("wide,high,kind\n0.1,2,x\n3e7,4,y\n5,6,x\n");
    let classic = Preparation {
        split: last(1),
        scaling: Scaling::None,
        sharding: Sharding::Contiguous,
        shards: 2,
        seed: 9,
        ..ASKED
    };
    let prepared = data.prepare(&classic).unwrap();
    let block = |values: [f32; 2], label| Block { values: values.to_vec(), targets: Targets::Classes(vec![label]) };
    assert_eq!(prepared.shards, [block([0.1, 2.0], 0), block([3e7, 4.0], 1)]);
    assert_eq!(prepared.validation, block([5.0, 6.0], 0));
    assert_eq!(prepared.scaling, [FeatureScale::IDENTITY; 2]);
    assert_eq!(
        (prepared.target, prepared.feature_names),
        (Target::Classes(vec!["x".into(), "y".into()]), vec!["wide".to_owned(), "high".to_owned()])
    );
}

#[test]
fn features_without_names_are_called_by_their_column() {
    assert_eq!(dataset("1,2,x\n3,4,y\n").feature_names(), ["column 1", "column 2"]);
    assert_eq!(dataset(",b,c\n1,2,x\n3,4,y\n").feature_names(), ["column 1", "b"]);
}

#[test]
fn the_letters_are_always_prepared_to_the_same_bits() {
    // Frozen: a job's data are part of its identity, and a change here changes every fingerprint.
    let prepared = Dataset::built_in().prepare(&Preparation { split: last(3_500), shards: 4, ..ASKED }).unwrap();
    let mut hasher = crate::digest::Hasher::default();
    for block in prepared.shards.iter().chain([&prepared.validation]) {
        block.values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
        labels(block).iter().for_each(|label| hasher.update(&label.to_le_bytes()));
    }
    assert_eq!(hasher.finish().to_string(), "be33e9a7ea0b61f17c50e0cf68aa8990a23f2dfbad7bbd5068a1ee360344646f");
}

#[test]
fn targets_of_numbers_are_standardised_by_the_training_rows() {
    let data = dataset("f,price\n1,10\n2,2e1\n3,30\n4,100\n");
    let prepared = data.prepare(&Preparation { task: Task::Regress, split: last(2), ..ASKED }).unwrap();
    assert_eq!(prepared.target, Target::Values(vec![TargetScale::new("price", 15.0, 5.0).unwrap()]));
    assert_eq!(prepared.validation.targets, Targets::Values(vec![3.0, 17.0]));
    let Targets::Values(trained) = &prepared.shards[0].targets else { panic!("classes") };
    // Each row keeps its own target.
    let of_rows: Vec<_> = prepared.shards[0].values.iter().zip(trained).map(|(value, target)| value * target).collect();
    assert_eq!((trained.iter().sum::<f32>(), of_rows), (0.0, vec![1.0, 1.0]));
}

#[test]
fn rows_with_targets_of_numbers_validate_whatever_their_targets() {
    // Every target is its own: as classes, each would have to stay among the rows that train.
    let csv: String = (0..50).map(|row| format!("{row},{}.5\n", row * row)).collect();
    let prepared = dataset(&csv).prepare(&Preparation { task: Task::Regress, shards: 4, ..ASKED }).unwrap();
    assert_eq!(prepared.validation.rows(1), 10);
    assert_eq!(prepared.shards.iter().map(|shard| shard.rows(1)).collect::<Vec<_>>(), [10; 4]);
}

#[test]
fn a_target_that_is_no_number_or_leaves_f32_is_refused_with_its_place() {
    let text = |csv: &str| {
        dataset(csv).prepare(&Preparation { task: Task::Regress, split: last(1), ..ASKED }).unwrap_err().to_string()
    };
    let sentence = text("f,kind\n1,2\n2,oak\n3,4\n");
    assert!(
        sentence.starts_with("data.csv, line 3, column 2 (\"kind\"): \"oak\" is not a finite number"),
        "{sentence}"
    );
    assert!(sentence.contains("--task classify"), "{sentence}");
    assert!(text("1,2\n2,1e39\n3,4\n").starts_with("data.csv, line 2, column 2: \"1e39\" is not a finite"));
    assert!(text("1,1e-30\n2,2e-30\n3,1e38\n").starts_with("data.csv, line 3, column 2: the value is too far"));
}

#[test]
fn a_label_that_only_validates_is_refused_with_its_line() {
    let data = dataset("f,kind\n1,x\n2,y\n\n3,x\n4,z\n");
    let error = data.prepare(&Preparation { split: last(2), ..ASKED }).unwrap_err();
    assert_eq!(error.fault, Fault::UntrainedLabel { label: "z".to_owned(), line: 6 });
    let text = error.to_string();
    assert!(text.starts_with("data.csv, line 6: the label \"z\" is among the rows that validate"), "{text}");
}

#[test]
fn a_validation_value_that_scales_beyond_f32_is_refused_with_its_place() {
    let data = dataset("f,kind\n1e-30,x\n2e-30,y\n3e38,x\n");
    let text = data.prepare(&Preparation { split: last(1), ..ASKED }).unwrap_err().to_string();
    assert!(text.starts_with("data.csv, line 4, column 1 (\"f\"): the value is too far"), "{text}");
}

#[test]
fn more_shards_than_training_rows_are_refused() {
    let data = dataset("1,x\n2,y\n3,x\n");
    let text = |shards| data.prepare(&Preparation { split: last(1), shards, ..ASKED }).unwrap_err().to_string();
    assert_eq!(text(3), "data.csv: 3 shards do not fit 2 training rows; ask for at most 2");
    assert_eq!(text(0), "data.csv: a job has at least one shard; ask for one or more");
}

#[test]
fn splits_that_leave_a_side_empty_are_refused() {
    let data = dataset("1,x\n2,y\n3,x\n");
    let text = |split| data.prepare(&Preparation { split, ..ASKED }).unwrap_err().to_string();
    assert!(text(last(3)).starts_with("data.csv: 3 of 3 rows would validate, and none is left to train on"));
    let text = text(ValidationSplit::STRATIFIED_FIFTH);
    assert!(text.starts_with("data.csv: of these 3 rows the share that validates comes to none"), "{text}");
}

#[test]
fn every_refusal_names_file_place_what_was_found_and_the_cure() {
    let cases: [(&[u8], &[&str]); 15] = [
        (b"", &["data.csv: ", "empty"]),
        (b"\na,b,c\n", &["data.csv, line 2: ", "no rows", "add"]),
        (b"\n\n1\n", &["data.csv, line 3: ", "one column", "commas, semicolons or tabs"]),
        (b"1,2,x\n3,y\n", &["data.csv, line 2: 2 columns, where line 1 has 3", "give every line"]),
        (b"1,2,x\ny\n", &["data.csv, line 2: 1 column,"]),
        (b"1,2,x\n3,4,\"y\n", &["data.csv, line 2: ", "a quote", "close it"]),
        (b"1,2,x\n3,,y\n", &["data.csv, line 2, column 2: ", "missing", "empty field", "fill it in"]),
        (b"a,b,c\n3,?,y\n", &["data.csv, line 2, column 2 (\"b\"): ", "missing (\"?\")", "fill it in"]),
        (b"1,2,x\n3,4,\n", &["data.csv, line 2, column 3: ", "missing"]),
        (b"a,b,c\n1,2,x\n3,abc,y\n", &["data.csv, line 3, column 2 (\"b\"): \"abc\" is not a number", "-1.5"]),
        (b"1,2,x\n1e400,4,y\n", &["data.csv, line 2, column 1: \"1e400\" is not a finite number", "correct it"]),
        (b"1,2,x\nnan,4,y\n", &["data.csv, line 2, column 1: \"nan\" is not a finite number"]),
        (b"1,2,x\n3,4,\xff\n", &["data.csv, line 2, column 3: ", "UTF-8", "save"]),
        (b"1,2,x\n3,4,x\n", &["data.csv: ", "label \"x\"", "last column"]),
        (b"1,2,x\n3,\x1b[2J,y\n", &["\"\\u{1b}[2J\""]),
    ];
    for (csv, parts) in cases {
        let text = sentence(csv);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
    let text = sentence(format!("1,2,x\n3,{},y\n", "é".repeat(1_000)).as_bytes());
    assert!(text.contains("é\"... is not a number") && text.len() < 250, "{text}");
}

#[test]
fn a_65536th_class_is_refused() {
    let classes = |count| (0..count).map(|class| format!("0,{class}\n")).collect::<String>();
    assert_eq!(dataset(&classes(65_535)).classes().len(), 65_535);
    let text = sentence(classes(65_536).as_bytes());
    assert!(text.starts_with("data.csv, line 65536, column 2: at most 65535 different labels"), "{text}");
}

#[test]
fn files_are_read_by_path_and_named_by_it_in_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("two rows.csv");
    fs::write(&path, "1,2,x\n3,4,y\n").unwrap();
    assert_eq!(Dataset::read(&path).unwrap().rows(), 2);

    let text = |path: &Path| Dataset::read(path).unwrap_err().to_string();
    assert_eq!(
        text(directory.path()),
        format!("{}: this is a directory; name a CSV file in it", directory.path().display())
    );
    let absent = directory.path().join("absent.csv");
    assert_eq!(text(&absent), format!("{}: there is no such file; check the path", absent.display()));
    let below_a_file = text(&path.join("below"));
    assert!(below_a_file.contains("cannot be read: "), "{below_a_file}");
}

proptest! {
    #[test]
    fn every_row_is_prepared_once_with_its_label(
        kinds in prop::collection::vec(0u32..3, 12..80),
        shards in 1u32..5,
        contiguous: bool,
        stratified: bool,
        seed: u64,
    ) {
        // Each row's only feature is its number, so that a prepared row can be told. Every class trains.
        let label = |row: usize| if row < 6 { row as u32 % 3 } else { kinds[row] };
        let csv: String = (0..kinds.len()).map(|row| format!("{row},{}\n", label(row))).collect();
        let asked = Preparation {
            split: if stratified { "0.3".parse().unwrap() } else { last(4) },
            scaling: Scaling::None,
            sharding: if contiguous { Sharding::Contiguous } else { Sharding::Stratified },
            shards,
            seed,
            ..ASKED
        };
        let prepared = dataset(&csv).prepare(&asked).unwrap();
        prop_assert_eq!(prepared.shards.len(), shards as usize);
        let mut seen = vec![false; kinds.len()];
        for block in prepared.shards.iter().chain([&prepared.validation]) {
            prop_assert_eq!(block.values.len(), labels(block).len());
            for (&value, &kind) in block.values.iter().zip(labels(block)) {
                let row = value as usize;
                prop_assert!(!std::mem::replace(&mut seen[row], true), "row {} twice", row);
                prop_assert_eq!(kind, label(row));
            }
        }
        prop_assert!(seen.into_iter().all(|row| row));
    }
}
