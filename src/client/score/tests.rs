use super::*;

fn measure(target: Target, baseline: Baseline) -> Measure {
    Measure { target: Some(target), baseline: Some(baseline), test_baseline: None }
}

fn of_classes(errors: u64) -> Measure {
    measure(Target::Classes(vec!["oak".to_owned(), "ash".to_owned()]), Baseline::Class { class: 1, errors })
}

fn wrong(errors: f64) -> Metrics {
    Metrics::default().with(Metric::Loss, 1.0).with(Metric::Errors, errors)
}

fn plain(rows: u64, errors: f64) -> Accuracy {
    Accuracy { judged: Judged::Validation, rows, errors, baseline: None, figures: [None; 4] }
}

/// What is told of a job's result: of 1000 rows 100 are wrong.
fn whole() -> Metrics {
    let more =
        [(Metric::LogLoss, 250.0), (Metric::InTop, 990.0), (Metric::BalancedAccuracy, 0.75), (Metric::Auc, 0.875)];
    more.into_iter().fold(wrong(100.0), |metrics, (metric, value)| metrics.with(metric, value))
}

fn text(score: &Score) -> Vec<String> {
    score.lines().iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

/// One target of mean 100 and deviation 10; the guess is off by 1 deviation in each of four rows.
fn of_price() -> Measure {
    let scale = TargetScale::new("price", 100.0, 10.0).unwrap();
    let guess = Baseline::Mean { squared: 4.0, absolute: 4.0, variation: 2.0 };
    measure(Target::Values(vec![scale]), guess)
}

fn off(squared: f64, absolute: f64) -> Metrics {
    let metrics = Metrics::default().with(Metric::Loss, squared / 2.0);
    metrics.with(Metric::SquaredError, squared).with(Metric::AbsoluteError, absolute)
}

#[test]
fn an_accuracy_stands_beside_what_the_most_frequent_class_comes_to() {
    let score = of_classes(500).score(&wrong(100.0), 1_000);
    assert_eq!(
        text(&score),
        [
            "accuracy: 90.00 % of 1000 validation rows (error 0.1000)",
            "margin: with 1000 validation rows the accuracy is known to about \u{b1} 1.9 points",
            "baseline: 50.00 % by always saying ash, the training rows' most frequent class"
        ]
    );
    assert_eq!((score.columns(), score.cells()), (&["accuracy"][..], vec!["90.00 %".to_owned()]));
    let untold = Measure::default().score(&wrong(100.0), 100_000);
    assert_eq!(text(&untold), ["accuracy: 99.90 % of 100000 validation rows (error 0.0010)"]);
    assert_eq!(untold.beats_baseline(), None);
}

#[test]
fn a_row_that_is_wrong_among_very_many_is_seen() {
    let score = of_classes(1).score(&wrong(1.0), 1_000_000);
    assert_eq!(
        text(&score),
        [
            "accuracy: 99.99 % of 1000000 validation rows (error <0.0001)",
            "baseline: 99.99 % by always saying ash, the training rows' most frequent class; the model does not beat it"
        ]
    );
    assert_eq!((score.cells(), score.curve()), (vec!["99.99 %".to_owned()], Some(("accuracy", 100.0 * (1.0 - 1e-6)))));
    let right = Measure::default().score(&wrong(0.0), 1_000_000);
    assert_eq!(text(&right), ["accuracy: 100.00 % of 1000000 validation rows (error 0.0000)"]);
}

#[test]
fn a_result_has_more_figures_than_a_round() {
    let score = of_classes(500).score(&whole(), 1_000);
    assert_eq!(text(&score)[2], "figures: balanced 0.7500, log loss 0.2500, top 3 0.9900, AUC 0.8750");
    let mut event = json!({});
    score.put(&mut event);
    let told = ["balanced_accuracy", "log_loss", "top_3_accuracy", "auc"]
        .map(|name| event[format!("validation_{name}")].as_f64());
    assert_eq!(told, [Some(0.75), Some(0.25), Some(0.99), Some(0.875)]);
    let more = [(Metric::SquaredTotal, 1.0), (Metric::AbsoluteTotal, 2.0), (Metric::Variation, 4.0)];
    let exact = more.into_iter().fold(off(9.0, 9.0), |metrics, (metric, value)| metrics.with(metric, value));
    let lines = text(&of_price().score(&exact, 4));
    assert_eq!(
        lines[..3],
        ["r2: 0.7500 over 4 validation rows", "rmse: 5.0000 of price over 4 validation rows", "mae: 5.0000 of price"]
    );
    assert_eq!(text(&Measure::default().score(&exact, 4))[0], "r2: 0.7500 over 4 validation rows");
}

#[test]
fn the_test_rows_word_comes_first_and_the_validation_rows_in_a_line() {
    let measure = Measure { test_baseline: Some(Baseline::Class { class: 1, errors: 25 }), ..of_classes(500) };
    let test = Some(measure.score_of(Judged::Test, &wrong(5.0), 50));
    let lines = Score::result_lines(&(measure.score(&wrong(20.0), 1_000), test));
    let lines: Vec<String> = lines.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(lines[0], "accuracy: 90.00 % of 50 test rows (error 0.1000)");
    assert!(lines[1].starts_with("margin: with 50 test rows") && lines[2].starts_with("baseline: 50.00 %"));
    assert_eq!(lines[3], "validation: 98.00 % of 1000 validation rows");
}

#[test]
fn a_model_that_does_not_beat_the_baseline_says_so() {
    for (errors, beats) in [(499.0, true), (500.0, false), (501.0, false)] {
        let score = of_classes(500).score(&wrong(errors), 1_000);
        assert_eq!(score.beats_baseline(), Some(beats));
        assert_eq!(text(&score)[2].ends_with("; the model does not beat it"), !beats, "{score:?}");
    }
    for (squared, beats) in [(3.9, true), (4.0, false)] {
        let score = of_price().score(&off(squared, 1.0), 4);
        assert_eq!(score.beats_baseline(), Some(beats));
        assert_eq!(text(&score)[3].ends_with("; the model does not beat it"), !beats, "{score:?}");
    }
}

#[test]
fn few_rows_leave_a_wide_margin_even_where_all_are_right() {
    let interval = |rows, errors| plain(rows, errors).interval();
    // Wilson's, as in the tables.
    let (low, high) = interval(10, 2.0);
    assert!((low - 0.4902).abs() < 1e-4 && (high - 0.9433).abs() < 1e-4, "{low} {high}");
    let (low, high) = interval(30, 0.0);
    assert!((low - 0.8865).abs() < 1e-4 && high == 1.0, "{low} {high}");
    let margin = |rows, errors| plain(rows, errors).margin_in_words();
    assert_eq!(margin(3_500, 123.0), None);
    assert!(
        margin(30, 0.0).unwrap().ends_with("with 30 validation rows the accuracy is known to about \u{b1} 5.7 points")
    );
    // What a lying coordinator says breaks nothing.
    assert!(margin(4, 9.0).is_some() && margin(0, f64::NAN).unwrap().ends_with("\u{b1} 50.0 points"));
}

#[test]
fn errors_are_in_the_targets_unit_and_r2_is_about_the_validation_rows_mean() {
    let score = of_price().score(&off(1.0, 2.0), 4);
    assert_eq!(
        text(&score),
        [
            "r2: 0.5000 over 4 validation rows",
            "rmse: 5.0000 of price over 4 validation rows",
            "mae: 5.0000 of price",
            "baseline: rmse 10.000, mae 10.000 by always saying 100.00, the training rows' mean"
        ]
    );
    assert_eq!(score.columns(), ["r2", "rmse", "mae"]);
    assert_eq!(score.cells(), ["0.5000", "5.0000", "5.0000"]);
    let mut event = json!({});
    score.put_result(&mut event);
    assert_eq!(
        event,
        json!({
            "validation_r2": 0.5, "validation_rmse": 5.0, "validation_mae": 5.0, "target": "price",
            "baseline": {"mean": 100.0, "validation_r2": -1.0, "validation_rmse": 10.0, "validation_mae": 10.0},
            "beats_baseline": true,
        })
    );
}

#[test]
fn numbers_without_notes_or_of_several_targets_are_in_deviations_and_name_no_target() {
    let score = Measure::default().score(&off(16.0, 4.0), 4);
    assert_eq!(
        text(&score),
        ["rmse: 2.0000 deviations of all targets over 4 validation rows", "mae: 1.0000 deviations of all targets"]
    );
    assert_eq!(score.cells().len(), score.columns().len());
    let scales = vec![TargetScale::new("a", 1.0, 10.0).unwrap(), TargetScale::new("b", 1.0, 2.0).unwrap()];
    let guess = Baseline::Mean { squared: 4.0, absolute: 4.0, variation: 0.0 };
    let score = measure(Target::Values(scales), guess).score(&off(1.0, 2.0), 4);
    assert_eq!(
        text(&score),
        [
            "r2: - over 4 validation rows",
            "rmse: 0.50000 deviations of all targets over 4 validation rows",
            "mae: 0.50000 deviations of all targets",
            "baseline: rmse 1.0000, mae 1.0000 by always saying the training rows' mean"
        ]
    );
}

#[test]
fn a_model_file_keeps_the_whole_result() {
    let scales = vec![TargetScale::new("a", 1.0, 10.0).unwrap(), TargetScale::new("b", 1.0, 2.0).unwrap()];
    let guess = Baseline::Mean { squared: 4.0, absolute: 4.0, variation: 0.0 };
    let cases = [
        (of_classes(3), wrong(2.0)),
        (of_classes(300), whole()),
        (Measure { baseline: None, ..of_classes(3) }, wrong(2.0)),
        (of_price(), off(0.1, 0.3)),
        (measure(Target::Values(scales), guess), off(0.1, 0.3)),
    ];
    for (measure, metrics) in cases {
        let score = measure.score(&metrics, 7);
        let mut words: BTreeMap<String, String> = score.in_words().into_iter().collect();
        words.insert("validation_rows".to_owned(), "7".to_owned());
        let target = measure.target.as_ref().unwrap();
        assert_eq!(Score::of_file(&words, target), (score.clone(), None), "{words:?}");
        let unknown = Score::Unknown { judged: Judged::Validation, rows: 0 };
        assert_eq!(Score::of_file(&BTreeMap::new(), target), (unknown, None));
        // Of the test rows the same stands beside it.
        let of_test = Measure { test_baseline: measure.baseline, ..measure.clone() };
        let test = of_test.score_of(Judged::Test, &metrics, 9);
        words.extend(test.in_words());
        words.insert("test_rows".to_owned(), "9".to_owned());
        assert_eq!(Score::of_file(&words, target), (score, Some(test)), "{words:?}");
    }
}

#[test]
fn numbers_of_any_magnitude_have_five_digits() {
    for (value, said) in [
        (0.0, "0"),
        (-0.0, "0"),
        (123_456.7, "123457"),
        (9.99999, "10.000"),
        (-0.000123456, "-0.00012346"),
        (1.5e-9, "1.5000e-9"),
        (2e12, "2.0000e12"),
        (f64::NAN, "NaN"),
    ] {
        assert_eq!(significant(value), said);
    }
}
