//! Rows as a job takes them.

use proptest::prelude::*;

use super::*;

fn taking(columns: &[&str]) -> ReadOptions {
    ReadOptions { take_in: names(columns), ..ReadOptions::default() }
}

#[test]
fn numbers_are_usually_scaled_robustly_but_for_classes_of_many_rows() {
    let is_robust = |rows: usize, labels: [&str; 2]| {
        let csv: String = (0..rows).map(|row| format!("{}.5,{}\n", row * 7 % 1_000, labels[row % 2])).collect();
        let prepared = dataset(csv).prepare(&Preparation { scaling: Scaling::Usual, ..ASKED }).unwrap();
        (prepared.shards[0].rows(), prepared.scaling[0].is_clipped())
    };
    assert_eq!(is_robust(6_240, ["a", "b"]), (4_992, true));
    assert_eq!(is_robust(6_250, ["a", "b"]), (5_000, false));
    assert_eq!(is_robust(6_250, ["1.5", "2.5"]), (5_000, true));
}

#[test]
fn the_built_in_data_are_the_letters() {
    let letters = Dataset::built_in();
    assert_eq!((letters.rows(), letters.task()), (20_000, Task::Classify));
    let prepared = letters.prepare(&Preparation { split: last(3_500), scaling: Scaling::None, ..ASKED }).unwrap();
    assert!(classes(&prepared).iter().map(String::as_bytes).eq((b'A'..=b'Z').map(|letter| [letter])));
    assert_eq!((prepared.features, &*prepared.feature_names[0]), (16, "x.box"));
    assert!(features(&letters)[..16].iter().all(|is_feature| *is_feature));
    let contiguous = Preparation { split: last(1), scaling: Scaling::None, sharding: Sharding::Contiguous, ..ASKED };
    let prepared = letters.prepare(&contiguous).unwrap();
    assert_eq!(prepared.shards[0].values[..4], [2.0, 8.0, 3.0, 5.0]);
    assert_eq!(labels(&prepared.shards[0])[0], u32::from(b'T' - b'A'));
}

#[test]
fn the_built_in_data_test_from_row_16500_on_and_files_a_tenth_if_they_have_many_rows() {
    let letters = Dataset::built_in();
    assert_eq!(letters.default_split().to_string(), "0.1");
    assert_eq!(letters.default_test(false), Some(last(3_500)));
    assert_eq!(letters.default_test(true), None, "whoever divides them decides");
    assert_eq!(letters.classic_split().to_string(), "last:3500");
    let tested = Preparation {
        split: letters.default_split(),
        test: letters.default_test(false),
        shards: ShardCount::Exactly(4),
        ..ASKED
    };
    let prepared = letters.prepare(&tested).unwrap();
    assert_eq!(prepared.test.as_ref().map(|test| test.rows()), Some(3_500));
    let trained: usize = prepared.shards.iter().map(|shard| shard.rows()).sum();
    assert_eq!((prepared.validation.rows(), trained), (1_651, 14_849), "a tenth of every class, rounded");
    let prepared =
        letters.prepare(&Preparation { split: last(3_500), shards: ShardCount::Exactly(4), ..ASKED }).unwrap();
    assert_eq!((prepared.validation.rows(), &prepared.test), (3_500, &None));
    assert_eq!(prepared.shards.iter().map(|shard| shard.rows()).collect::<Vec<_>>(), [4_125; 4]);

    let file = dataset("1,2,x\n3,4,y\n");
    assert_eq!(file.default_split().to_string(), "0.2");
    assert_eq!(file.default_test(false), None, "it has few rows");
    let rows = |count: usize| dataset("1,x\n2,y\n".repeat(count / 2));
    assert_eq!(rows(1_000).default_test(false), None);
    assert_eq!(rows(1_002).default_test(false).unwrap().to_string(), "0.1");
    assert_eq!([5_000, 5_002].map(|count| rows(count).default_split().to_string()), ["0.2", "0.1"]);
    let fitted = |count: usize| dataset((0..count).map(|row| format!("{row}.5,{row}.25\n")).collect::<String>());
    assert_eq!([99, 100].map(|count| fitted(count).default_split().to_string()), ["0.2", "0.1"]);
    assert_eq!(file.classic_split().to_string(), "last:0.2");
}

#[test]
fn the_letters_are_always_prepared_to_the_same_bits() {
    // Frozen: a job's data are part of its identity, and a change here changes every fingerprint.
    let prepared = Dataset::built_in()
        .prepare(&Preparation { split: last(3_500), shards: ShardCount::Exactly(4), ..ASKED })
        .unwrap();
    let mut hasher = crate::digest::Hasher::default();
    for block in prepared.shards.iter().chain([&prepared.validation]) {
        block.values.iter().for_each(|value| hasher.update(&value.to_le_bytes()));
        labels(block).iter().for_each(|label| hasher.update(&label.to_le_bytes()));
    }
    assert_eq!(hasher.finish().to_string(), "be33e9a7ea0b61f17c50e0cf68aa8990a23f2dfbad7bbd5068a1ee360344646f");
}

#[test]
fn standardised_training_rows_have_mean_0_and_deviation_1() {
    let letters = Dataset::built_in();
    let prepared =
        letters.prepare(&Preparation { split: last(3_500), shards: ShardCount::Exactly(7), ..ASKED }).unwrap();
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
fn unscaled_values_are_those_of_the_file() {
    let data = dataset("wide,high,kind\n0.1,2,x\n3e7,4,y\n5,6,x\n");
    let classic = Preparation {
        test: None,
        split: last(1),
        scaling: Scaling::None,
        sharding: Sharding::Contiguous,
        shards: ShardCount::Exactly(2),
        seed: 9,
    };
    let prepared = data.prepare(&classic).unwrap();
    let block = |values: [f32; 2], label| block(2, values.to_vec(), label);
    assert_eq!(prepared.shards, [block([0.1, 2.0], 0), block([3e7, 4.0], 1)]);
    assert_eq!(prepared.validation, block([5.0, 6.0], 0));
    assert_eq!(prepared.scaling, [FeatureScale::IDENTITY; 2]);
    assert_eq!(
        (classes(&prepared), &prepared.feature_names[..]),
        (&names(&["x", "y"])[..], &names(&["wide", "high"])[..])
    );
}

#[test]
fn features_without_names_are_called_by_their_column() {
    let names_of = |csv: &str| dataset(csv).prepare(&Preparation { split: last(1), ..ASKED }).unwrap().feature_names;
    assert_eq!(names_of("1,2,x\n3,4,y\n1,4,x\n"), ["column 1", "column 2"]);
    assert_eq!(names_of(",b,c\n1,2,x\n3,4,y\n1,4,x\n"), ["column 1", "b"]);
}

#[test]
fn targets_of_numbers_are_standardised_by_the_training_rows() {
    let options = ReadOptions { task: Some(Task::Regress), ..ReadOptions::default() };
    let data = read("f,price\n1,10\n2.5,2e1\n3,30\n4,100\n", &options).unwrap();
    let prepared = data.prepare(&Preparation { split: last(2), ..ASKED }).unwrap();
    assert_eq!(prepared.target, Target::Values(vec![TargetScale::new("price", 15.0, 5.0).unwrap()]));
    assert_eq!(prepared.validation.targets, Targets::Values(vec![3.0, 17.0]));
    let Targets::Values(trained) = &prepared.shards[0].targets else { panic!("classes") };
    // Each row keeps its own target.
    let of_rows: Vec<_> = prepared.shards[0].values.iter().zip(trained).map(|(value, target)| value * target).collect();
    assert_eq!((trained.iter().sum::<f32>(), of_rows), (0.0, vec![1.0, 1.0]));
}

#[test]
fn several_labels_are_several_targets_in_the_order_that_is_asked_for() {
    let options = ReadOptions { label: names(&["b", "a"]), ..ReadOptions::default() };
    let data = read("a,x,b\n1,5,10\n2,6,30\n3,9,20\n", &options).unwrap();
    let prepared = data.prepare(&Preparation { split: last(1), ..ASKED }).unwrap();
    let Target::Values(scales) = &prepared.target else { panic!("classes") };
    assert_eq!(scales.iter().map(|scale| (scale.name(), scale.mean())).collect::<Vec<_>>(), [("b", 20.0), ("a", 1.5)]);
    assert_eq!(prepared.validation.targets, Targets::Values(vec![0.0, 3.0]));
    let classify = ReadOptions { task: Some(Task::Classify), ..options };
    assert_eq!(read("a,x,b\n1,5,10\n2,6,30\n3,9,20\n", &classify).unwrap_err().fault, Fault::SeveralLabels);
}

#[test]
fn rows_with_targets_of_numbers_validate_whatever_their_targets() {
    // Every target is its own: as classes, each would have to stay among the rows that train.
    let csv: String = (0..50).map(|row| format!("{row}.5,{}.5\n", row * row)).collect();
    let prepared = dataset(&csv).prepare(&Preparation { shards: ShardCount::Exactly(4), ..ASKED }).unwrap();
    assert_eq!(prepared.validation.rows(), 10);
    assert_eq!(prepared.shards.iter().map(|shard| shard.rows()).collect::<Vec<_>>(), [10; 4]);
}

#[test]
fn a_label_that_only_validates_is_refused_with_its_line() {
    let data = dataset("f,kind\n1,x\n2,y\n\n3.5,x\n4,z\n");
    let error = data.prepare(&Preparation { split: last(2), ..ASKED }).unwrap_err();
    assert_eq!(error.fault, Fault::UntrainedLabel { label: "z".to_owned(), line: 6 });
    let text = error.to_string();
    assert!(text.starts_with("data.csv, line 6: the label \"z\" is among the rows that validate or test"), "{text}");
}

#[test]
fn a_validation_value_that_scales_beyond_f32_is_refused_with_its_place() {
    let data = dataset("f,kind\n1e-30,x\n2e-30,y\n3e38,x\n");
    let text = data.prepare(&Preparation { split: last(1), ..ASKED }).unwrap_err().to_string();
    assert!(text.starts_with("data.csv, line 4, column 1 (\"f\"): the value is too far"), "{text}");
}

#[test]
fn more_shards_than_training_rows_are_refused() {
    let data = dataset("1,x\n2,y\n5,x\n");
    let text = |shards| {
        data.prepare(&Preparation { split: last(1), shards: ShardCount::Exactly(shards), ..ASKED })
            .unwrap_err()
            .to_string()
    };
    assert_eq!(text(3), "data.csv: 3 shards do not fit 2 training rows; ask for at most 2");
    assert_eq!(text(0), "data.csv: a job has at least one shard; ask for one or more");
}

#[test]
fn splits_that_leave_a_side_empty_are_refused() {
    let text = |split| dataset("1,x\n2,y\n").prepare(&Preparation { split, ..ASKED }).unwrap_err().to_string();
    assert!(text(last(2)).starts_with("data.csv: 2 of 2 rows would validate, and none is left to train on"));
    let text = text(ValidationSplit::STRATIFIED_FIFTH);
    assert!(text.starts_with("data.csv: of these 2 rows the share that validates comes to none"), "{text}");
}

#[test]
fn a_file_of_its_own_validates_whatever_the_order_of_its_columns() {
    let directory = tempfile::tempdir().unwrap();
    let [train, validate] = ["train.csv", "validate.csv"].map(|name| directory.path().join(name));
    fs::write(&train, "f,kind,g\n1,x,2\n3.5,y,4\n").unwrap();
    fs::write(&validate, "kind,g,f\ny,9,7\n").unwrap();
    let options = ReadOptions { label: names(&["kind"]), validation: Some(validate.clone()), ..ReadOptions::default() };
    let unscaled = Preparation { scaling: Scaling::None, ..ASKED };
    let prepared = Dataset::read(&train, &options).unwrap().prepare(&unscaled).unwrap();
    assert_eq!(prepared.validation, block(2, vec![7.0, 9.0], 1));
    assert_eq!(prepared.shards[0].rows(), 2);

    fs::write(&validate, "kind,h,f\ny,9,7\n").unwrap();
    let error = Dataset::read(&train, &options).unwrap_err();
    assert!(error.file.ends_with("validate.csv") && error.to_string().contains("no column \"g\""), "{error}");
    fs::write(&validate, "kind,g,f\ny,9,7\nz,8,1\n").unwrap();
    let error = Dataset::read(&train, &options).unwrap().prepare(&unscaled).unwrap_err();
    assert!(error.to_string().contains("validate.csv, line 3: the label \"z\""), "{error}");
}

#[test]
fn a_file_of_its_own_tests_and_neither_trains_nor_validates() {
    let directory = tempfile::tempdir().unwrap();
    let [train, validate, test] = ["train.csv", "validate.csv", "test.csv"].map(|name| directory.path().join(name));
    let rows: String = (0..20).map(|row| format!("{row}.5,{}\n", ["x", "y"][row % 2])).collect();
    fs::write(&train, format!("f,kind\n{rows}")).unwrap();
    fs::write(&validate, "f,kind\n7,x\n").unwrap();
    fs::write(&test, "kind,f\ny,900\nx,800\n").unwrap();
    let divided = |options: &ReadOptions, split| {
        let data = Dataset::read(&train, options).unwrap();
        assert_eq!(
            (data.says_which_validate(), data.rows()),
            (options.validation.is_some(), 22 + usize::from(options.validation.is_some()))
        );
        data.prepare(&Preparation { split, ..ASKED }).unwrap()
    };
    let options = ReadOptions { test: Some(test.clone()), ..ReadOptions::default() };
    let prepared = divided(&options, last(4));
    // The tail is that of the rows that do not test, and nothing is learned of those that do.
    let alone = Dataset::read(&train, &ReadOptions::default()).unwrap();
    let without = alone.prepare(&Preparation { split: last(4), ..ASKED }).unwrap();
    assert_eq!((&prepared.shards, &prepared.validation), (&without.shards, &without.validation));
    assert_eq!(prepared.scaling, without.scaling);
    let test_rows = prepared.test.unwrap();
    assert_eq!(test_rows.targets, Targets::Classes(vec![1, 0]));
    assert_eq!(test_rows.values, [900.0, 800.0].map(|value| prepared.scaling[0].apply(value)));

    let both = ReadOptions { validation: Some(validate), ..options.clone() };
    let prepared = divided(&both, last(4));
    assert_eq!((prepared.validation.rows(), prepared.test.unwrap().rows(), prepared.shards[0].rows()), (1, 2, 20));

    // A column that says which rows validate says nothing of these.
    fs::write(&train, "f,kind,side\n1,x,train\n2,y,train\n3,x,test\n").unwrap();
    fs::write(&test, "f,kind,side\n4,y,\n").unwrap();
    let by_column = ReadOptions { validate_by: Some("side".to_owned()), ..options.clone() };
    let prepared = Dataset::read(&train, &by_column).unwrap().prepare(&ASKED).unwrap();
    assert_eq!((prepared.validation.rows(), prepared.test.unwrap().rows()), (1, 1));
    fs::write(&test, "f,kind,side\n4,z,\n").unwrap();
    let error = Dataset::read(&train, &by_column).unwrap().prepare(&ASKED).unwrap_err();
    assert!(error.to_string().contains("test.csv, line 2: the label \"z\""), "{error}");
    fs::write(&test, "f,kind,side\n").unwrap();
    let error = Dataset::read(&train, &by_column).unwrap().prepare(&ASKED).unwrap_err();
    assert_eq!(error.fault, Fault::NothingToTest { rows: 3 });
}

#[test]
fn a_column_says_which_rows_validate_and_is_no_feature() {
    let options = ReadOptions { validate_by: Some("side".to_owned()), ..ReadOptions::default() };
    let data = read("f,side,kind\n1,train,x\n2,train,y\n9,test,x\n", &options).unwrap();
    let prepared = data.prepare(&Preparation { scaling: Scaling::None, ..ASKED }).unwrap();
    assert_eq!(prepared.validation, block(1, vec![9.0], 0));
    let text = read("f,side,kind\n1,train,x\n2,left,y\n9,test,x\n", &options).unwrap_err().to_string();
    assert!(
        text.contains("column 2 (\"side\"): 1 of 3 rows has neither true nor false")
            && text.contains("\"left\" in line 3"),
        "{text}"
    );
}

#[test]
fn a_group_is_not_divided() {
    let csv: String = (0..60).map(|row| format!("{}.5,g{},{}\n", row, row % 12, ["x", "y"][row / 3 % 2])).collect();
    let options = ReadOptions { group: Some("2".to_owned()), ..ReadOptions::default() };
    let data = read(&csv, &options).unwrap();
    assert_eq!(features(&data), [true, false, false]);
    for seed in 0..20 {
        let prepared = data.prepare(&Preparation { scaling: Scaling::None, seed, ..ASKED }).unwrap();
        let groups = |block: &Block| block.values.iter().map(|value| *value as u32 % 12).collect::<Vec<_>>();
        let (training, validation) = (groups(&prepared.shards[0]), groups(&prepared.validation));
        assert!(validation.iter().all(|group| !training.contains(group)));
        // Twelve groups of five: a fifth of the rows are two groups and no part of a third.
        assert_eq!(validation.len(), 10);
    }
    assert_eq!(data.prepare(&Preparation { split: last(5), ..ASKED }).unwrap_err().fault, Fault::GroupsNeedAShare);
}

#[test]
fn rows_without_a_value_where_groups_stand_are_said_to_be_one_group() {
    let options = ReadOptions { group: Some("g".to_owned()), ..ReadOptions::default() };
    let csv = |some: &str| {
        let group = |row: usize| if row < 5 { some.to_owned() } else { format!("g{}", row % 12) };
        let line = |row: usize| format!("{row}.5,{},{}\n", group(row), ["x", "y"][row / 3 % 2]);
        "f,g,kind\n".to_owned() + &(0..60).map(line).collect::<String>()
    };
    assert_eq!(read(csv("some"), &options).unwrap().groups_without_a_value(), None);
    let said = read(csv(""), &options).unwrap().groups_without_a_value().unwrap();
    assert!(said.starts_with("5 rows have no value in column 2 (\"g\")"), "{said}");
}

#[test]
fn few_groups_test_only_where_that_is_asked_for_and_a_whole_one_validates() {
    let options = ReadOptions { group: Some("g".to_owned()), ..ReadOptions::default() };
    let csv = |groups: usize| {
        let line = |row: usize| format!("{}.5,g{},{}\n", row % 89, row % groups, ["x", "y"][row / groups % 2]);
        "f,g,kind\n".to_owned() + &(0..1_200).map(line).collect::<String>()
    };
    let usual = |groups: usize| {
        let data = read(csv(groups), &options).unwrap();
        let (split, test) = (data.default_split(), data.default_test(false));
        let prepared = data.prepare(&Preparation { split, test, ..ASKED }).unwrap();
        let said = [data.no_usual_test(false), data.more_than_usual_validate()].map(|said| said.is_some());
        (prepared.test.map_or(0, |test| test.rows()), prepared.validation.rows(), said)
    };
    assert_eq!(usual(30), (120, 200, [false, false]));
    assert_eq!(usual(8), (0, 150, [true, false]));
    assert_eq!(usual(3), (0, 400, [true, true]));
    // What is asked for is refused with what can be done.
    let data = read(csv(3), &options).unwrap();
    let text = |asked: &Preparation| data.prepare(asked).unwrap_err().to_string();
    let told = text(&ASKED);
    assert!(told.contains("--group keeps rows together, and the smallest of 3 groups, of 400 of 1200 rows"), "{told}");
    assert!(told.contains("(--validate-split 0.34)") && told.contains("leave out --group"), "{told}");
    let told = text(&Preparation { test: Some(ValidationSplit::STRATIFIED_TENTH), ..ASKED });
    assert!(told.contains("(--test 0.34)") && told.contains("--test none"), "{told}");
    let told = read(csv(1), &options).unwrap().prepare(&ASKED).unwrap_err().to_string();
    assert!(told.contains("all 1200 rows that can be drawn are of one group"), "{told}");
}

#[test]
fn a_group_that_the_data_divide_is_refused_with_two_of_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("a.csv"), "f,g,side,kind\n1,a,0,x\n2,b,0,y\n3,c,1,x\n4,c,1,y\n").unwrap();
    fs::write(path("b.csv"), "f,g,side,kind\n5,d,0,x\n6,b,0,y\n").unwrap();
    let prepare = |options: ReadOptions| {
        let grouped = ReadOptions { group: Some("g".to_owned()), ..options };
        Dataset::read(&path("a.csv"), &grouped).and_then(|data| data.prepare(&ASKED)).map_err(|error| error.to_string())
    };
    let other = Some(path("b.csv"));
    for (options, told) in [
        (ReadOptions { validation: other.clone(), ..ReadOptions::default() }, "this row validates, and line 3"),
        (
            ReadOptions { test: other, validate_by: Some("side".to_owned()), ..ReadOptions::default() },
            "this row tests, and line 3",
        ),
    ] {
        let text = prepare(options).unwrap_err();
        let (b, a) = (path("b.csv").display().to_string(), path("a.csv").display().to_string());
        let column = "trains; both have the same value in column 2 (\"g\")";
        assert!(text.starts_with(&format!("{b}, line 3: {told} of {a} {column}")), "{text}");
    }
    let by_column = ReadOptions { validate_by: Some("side".to_owned()), ..ReadOptions::default() };
    assert!(prepare(by_column.clone()).is_ok());
    fs::write(path("a.csv"), "f,g,side,kind\n1,a,0,x\n2,b,0,y\n3,c,1,x\n4,b,1,y\n").unwrap();
    let text = prepare(by_column).unwrap_err();
    assert!(
        text.contains(", line 5: this row validates, and line 3 trains; both have the same value in column 2"),
        "{text}"
    );
}

#[test]
fn files_are_read_by_path_and_named_by_it_in_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("two rows.csv");
    fs::write(&path, "1,2,x\n3,4,y\n").unwrap();
    let read = |path: &Path| Dataset::read(path, &ReadOptions::default());
    assert_eq!(read(&path).unwrap().rows(), 2);

    let text = |path: &Path| read(path).unwrap_err().to_string();
    // All of a directory, but no directory in it.
    assert_eq!(read(directory.path()).unwrap().rows(), 2);
    let below = directory.path().join("yet another");
    fs::create_dir(&below).unwrap();
    assert_eq!(text(directory.path()), format!("{}: this is a directory; name a CSV file in it", below.display()));
    assert!(text(&below).contains("this directory holds no file"), "{}", text(&below));
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
        let csv: String = (0..kinds.len()).map(|row| format!("{row},{}\n", ["a", "b", "c"][label(row) as usize])).collect();
        let asked = Preparation { test: None,
            split: if stratified { "0.3".parse().unwrap() } else { last(4) },
            scaling: Scaling::None,
            sharding: if contiguous { Sharding::Contiguous } else { Sharding::Stratified },
            shards: ShardCount::Exactly(shards),
            seed,
        };
        let prepared = read(&csv, &taking(&["1"])).unwrap().prepare(&asked).unwrap();
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
