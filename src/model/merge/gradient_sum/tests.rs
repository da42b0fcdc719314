//! Sums against integers computed in another way.

use proptest::prelude::*;

use super::*;

/// Units of 2^-40, to nearest, ties to even, by integers alone.
fn units(value: f32) -> i128 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32;
    let mantissa = i128::from(bits & 0x7f_ffff) | i128::from(exponent > 0) << 23;
    let places = exponent.max(1) - 150 + PLACES as i32;
    let magnitude = if places >= 0 {
        mantissa << places
    } else {
        let places = (-places).min(40) as u32;
        let (below, rest, half) = (mantissa >> places, mantissa & ((1 << places) - 1), 1i128 << (places - 1));
        below + i128::from(rest > half || rest == half && below % 2 == 1)
    };
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

fn values(sum: &GradientSum) -> Vec<i128> {
    (0..sum.parameters()).map(|index| sum.units.get(index)).collect()
}

/// The sum as an object's runs and words, each run of `run` parameters.
fn written(sum: &GradientSum, run: usize) -> (Vec<IntegerRun>, Vec<LittleEndianWord>) {
    let (mut runs, mut bytes) = (Vec::new(), Vec::new());
    for start in (0..sum.parameters()).step_by(run) {
        let range = start..sum.parameters().min(start + run);
        let is_wide = !sum.fits_narrow(range.clone());
        runs.push(IntegerRun { count: range.len(), is_wide });
        if is_wide { sum.append_wide(range, &mut bytes) } else { sum.append_narrow(range, &mut bytes) }
    }
    runs.push(IntegerRun { count: 1, is_wide: true });
    sum.append_loss(&mut bytes);
    (runs, bytes.as_chunks().0.to_vec())
}

fn same(a: &GradientSum, b: &GradientSum) -> bool {
    (values(a), a.loss, a.blocks) == (values(b), b.loss, b.blocks)
}

#[test]
fn a_value_is_rounded_to_whole_units_and_ties_go_to_the_even_one() {
    let unit = UNIT as f32;
    let listed = [0.0, -0.0, unit, 0.5 * unit, 1.5 * unit, -0.5 * unit, -2.5 * unit, 0.499 * unit, 1e-38, 2047.9998];
    let edges = [2048.0, -2048.0, 2047.5, 1.0e12, -1.0995115e12, 8_388_607.5, -1e-30, 0.1, -3.7e9];
    let all: Vec<f32> = listed.into_iter().chain(edges).collect();
    for kernel in Kernel::available() {
        for values in [&listed[..], &all] {
            let mut sum = GradientSum::new(kernel, values.len());
            sum.add_block(values, 0.5).unwrap();
            let expected: Vec<i128> = values.iter().map(|value| units(*value)).collect();
            assert_eq!(super::tests::values(&sum), expected, "{kernel}");
            assert_eq!(sum.loss(), 0.5);
        }
    }
    assert_eq!([1.5, 2.5, -2.5].map(|value| units(value * unit)), [2, 2, -2]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_blocks_in_any_order_and_any_cut_come_to_the_same_integers(
        blocks in proptest::collection::vec((proptest::collection::vec(any::<f32>(), 7), -1e9..1e9f64), 1..12),
        magnitudes in proptest::collection::vec(0u32..3, 12),
        run in 1usize..8,
        part in 1usize..9,
    ) {
        let limits = [1.0f32, 3000.0, GRADIENT_LIMIT];
        let blocks: Vec<(Vec<f32>, f64)> = blocks.into_iter().zip(&magnitudes).map(|((gradient, loss), magnitude)| {
            let limit = limits[*magnitude as usize];
            (gradient.into_iter().map(|value| if value.abs() < limit { value } else { 0.3 }).collect(), loss)
        }).collect();
        let expected: Vec<i128> =
            (0..7).map(|index| blocks.iter().map(|(gradient, _)| units(gradient[index])).sum()).collect();
        for kernel in Kernel::available() {
            let mut whole = GradientSum::new(kernel, 7);
            for (gradient, loss) in blocks.iter().rev() {
                whole.add_block(gradient, *loss).unwrap();
            }
            prop_assert_eq!(values(&whole), expected.clone());
            // Each block a task of its own, merged as objects and as sums.
            let (mut merged, mut added) = (GradientSum::new(kernel, 7), GradientSum::new(kernel, 7));
            let mut task = GradientSum::new(kernel, 1);
            for (gradient, loss) in &blocks {
                task.reset(7);
                task.add_part(0, &gradient[..3]).unwrap();
                task.add_part(3, &gradient[3..]).unwrap();
                task.add_loss(*loss).unwrap();
                let (runs, words) = written(&task, run);
                merged.add_words(&runs, words.chunks(part).collect(), 1).unwrap();
                added.add_sum(&task).unwrap();
            }
            prop_assert!(same(&merged, &whole) && same(&added, &whole));
            prop_assert_eq!(written(&merged, run), written(&whole, run));
            let (mut ours, mut theirs) = ([[0; 4]; 7], [[0; 4]; 7]);
            let rows = NonZeroU64::new(37).unwrap();
            whole.gradient(rows, LossReduction::Mean, &mut ours).unwrap();
            for widen in [Integers::widen, Integers::widen_fully] {
                widen(&mut merged.units).unwrap();
                prop_assert!(same(&merged, &whole));
                merged.gradient(rows, LossReduction::Mean, &mut theirs).unwrap();
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}

#[test]
fn sums_that_no_longer_fit_64_bits_go_on_exactly() {
    for kernel in Kernel::available() {
        let mut sum = GradientSum::new(kernel, 3);
        // Just below 2^11, 10,000 times: beyond 2^63 units.
        for _ in 0..10_000 {
            sum.add_block(&[2047.9999, -2047.9999, 1e-12], 1.0).unwrap();
        }
        assert_eq!(values(&sum), [units(2047.9999), units(-2047.9999), units(1e-12)].map(|units| units * 10_000));
        assert!(!sum.fits_narrow(0..1) && sum.fits_narrow(2..3));
        let (runs, words) = written(&sum, 1);
        assert_eq!(runs.iter().map(|run| run.is_wide).collect::<Vec<_>>(), [true, true, false, true]);
        let mut merged = GradientSum::new(kernel, 3);
        merged.add_words(&runs, vec![words], 10_000).unwrap();
        assert!(same(&sum, &merged));
        // And what a sum leaves behind is not the next one's.
        sum.reset(3);
        sum.add_block(&[1.0; 3], 0.0).unwrap();
        assert_eq!((values(&sum), sum.loss()), (vec![1 << 40; 3], 0.0));
    }
}

#[test]
fn parts_of_a_block_are_not_added_up_as_if_they_were_of_the_same_parameters() {
    const PARTS: usize = 1 << 13;
    for kernel in Kernel::available() {
        let mut sum = GradientSum::new(kernel, PARTS);
        // All together beyond 2^63 units, and each parameter far below.
        for blocks in 1..=2 {
            (0..PARTS).for_each(|start| sum.add_part(start, &[1024.0]).unwrap());
            sum.add_loss(0.0).unwrap();
            assert_eq!((sum.units.bits(), values(&sum)), (64, vec![blocks * units(1024.0); PARTS]));
        }
        // Where one needs it, all have more.
        for _ in 0..2 * PARTS {
            sum.add_part(5, &[-1024.0]).unwrap();
        }
        let mut expected = vec![2 * units(1024.0); PARTS];
        expected[5] -= units(1024.0) * 2 * PARTS as i128;
        assert_eq!((sum.units.bits(), values(&sum)), (96, expected));
    }
}

#[test]
fn integers_become_f64_to_nearest_and_gradients_are_cut() {
    for number in [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1, -(1 << 53) - 3, 0x7fff_ffff_ffff_fe00, 1 << 32] {
        assert_eq!(rounded(number).to_bits(), (number as f64).to_bits(), "{number}");
        assert_eq!((i128::from(number)) as f64, number as f64);
    }
    let mut sum = GradientSum::new(Kernel::best(), 3);
    sum.add_block(&[3.0, -1e-12, 0.0], 0.0).unwrap();
    let gradient = |reduction| {
        let mut out = [[0; 4]; 3];
        sum.gradient(NonZeroU64::new(7).unwrap(), reduction, &mut out).unwrap();
        out.map(f32::from_le_bytes)
    };
    assert_eq!(gradient(LossReduction::Mean), [(3.0f64 / 7.0) as f32, 0.0, 0.0]);
    assert_eq!(gradient(LossReduction::Sum)[0], 3.0);
    assert!(gradient(LossReduction::Sum)[1] < -9e-13);
}

#[test]
fn a_block_that_has_run_away_is_refused_and_leaves_no_trace() {
    let mut sum = GradientSum::new(Kernel::best(), 3);
    sum.add_block(&[1.0; 3], 1.0).unwrap();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, GRADIENT_LIMIT, -GRADIENT_LIMIT] {
        let refused = sum.add_block(&[1.0, value, value], 1.0);
        assert!(matches!(refused, Err(GradientSumError::Gradient { index: 1, .. })), "{value}");
    }
    for loss in [f64::NAN, f64::INFINITY, LOSS_LIMIT, -LOSS_LIMIT] {
        assert!(matches!(sum.add_block(&[1.0; 3], loss), Err(GradientSumError::Loss { .. })), "{loss}");
    }
    assert!(matches!(sum.add_block(&[1.0; 2], 1.0), Err(GradientSumError::Length { got: 2, expected: 3 })));
    assert_eq!((values(&sum), sum.loss(), sum.blocks()), (vec![1 << 40; 3], 1.0, 1));
}

#[test]
fn what_is_no_sum_of_so_many_blocks_is_refused_and_leaves_no_trace() {
    let mut sum = GradientSum::new(Kernel::best(), 2);
    sum.add_block(&[1.0, -1.0], 1.0).unwrap();
    let words = |integers: &[i128]| -> Vec<LittleEndianWord> {
        integers.iter().flat_map(|units| units.to_le_bytes().as_chunks().0.to_vec()).collect()
    };
    let wide = |count| IntegerRun { count, is_wide: true };
    let narrow = |count| IntegerRun { count, is_wide: false };
    let mut refused = |runs: &[IntegerRun], integers: &[i128], blocks| {
        sum.add_words(runs, vec![words(integers)], blocks).unwrap_err()
    };
    let limit = 1i128 << 80;
    let runs = [wide(2), wide(1)];
    for (integers, index) in
        [([0, limit, 0], 1), ([-limit, 1, 0], 0), ([i128::MIN, 0, 0], 0), ([0, limit - 1, limit], 2)]
    {
        assert_eq!(refused(&runs, &integers, 1), GradientSumError::Magnitude { index });
    }
    assert_eq!(refused(&runs, &[i64::MAX.into(), i64::MIN.into(), 0], 1), GradientSumError::Width { before: 2 });
    let one_by_one = [wide(1), wide(1), wide(1)];
    assert_eq!(refused(&one_by_one, &[1 << 70, 3, 0], 1), GradientSumError::Width { before: 2 });
    for blocks in [0, BLOCKS_MAX] {
        assert_eq!(refused(&runs, &[1 << 70, 0, 0], blocks), GradientSumError::Blocks { got: blocks });
    }
    for runs in [&[][..], &[wide(2)], &[wide(2), narrow(1)], &[wide(1), wide(1), wide(1), wide(1)]] {
        refused(runs, &[1 << 70; 3], 1);
    }
    assert_eq!(refused(&runs, &[1 << 70; 2], 1), GradientSumError::Words { expected: 6 });
    assert_eq!((values(&sum), sum.loss(), sum.blocks()), (vec![1 << 40, -(1 << 40)], 1.0, 1));
    // What is just as large as it may be is not.
    let most = [limit * 5 - 1, 1 - limit * 5, limit * 5 - 1];
    sum.add_words(&runs, vec![words(&most)], 5).unwrap();
    sum.add_words(&[narrow(2), wide(1)], vec![vec![i64::MIN.to_le_bytes(), i64::MAX.to_le_bytes()], words(&[-7])], 1)
        .unwrap();
    let expected = [most[0] + (1 << 40) + i128::from(i64::MIN), most[1] - (1 << 40) + i128::from(i64::MAX)];
    assert_eq!((values(&sum), sum.loss, sum.blocks()), (expected.to_vec(), most[2] + (1 << 20) - 7, 7));
}

#[test]
fn integers_have_as_many_bits_as_the_largest_may_need() {
    let edges: [(i128, usize); 6] =
        [((1 << 63) - 1, 64), (1 << 63, 96), ((1 << 95) - 1, 96), (1 << 95, 128), ((1 << 126) - 1, 128), (0, 64)];
    for (edge, bits) in edges {
        let mut integers = Integers::new(3);
        let numbers = [edge, -edge, edge / 3 - 1];
        integers.make_room(edge as u128).unwrap();
        numbers.iter().enumerate().for_each(|(index, number)| integers.add(index, *number));
        assert_eq!([0, 1, 2].map(|index| integers.get(index)), numbers);
        assert_eq!(integers.bits(), bits, "{edge}");
        // What is as large again, of the other sign, needs the room though the sums are small.
        integers.make_room(edge as u128).unwrap();
        numbers.iter().enumerate().for_each(|(index, number)| integers.add(index, 5 - number));
        assert_eq!([0, 1, 2].map(|index| integers.get(index)), [5; 3]);
        // Sums of every width add up with those of every other.
        for narrower in [0, 1 << 62, 1 << 90] {
            let mut other = Integers::new(3);
            other.make_room(narrower as u128).unwrap();
            other.add(1, -narrower);
            integers.make_room(other.most()).unwrap();
            integers.add_all(&other);
            other.make_room(integers.most()).unwrap();
            other.add_all(&integers);
            assert_eq!([0, 1, 2].map(|index| other.get(index)), [5, 5 - 2 * narrower, 5]);
            integers.make_room(narrower as u128).unwrap();
            integers.add(1, narrower);
        }
        integers.reset(2);
        assert_eq!((integers.bits(), integers.get(1), integers.most()), (64, 0, 0));
    }
}
