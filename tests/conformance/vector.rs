//! The vector as docs/arithmetic.md says it, computed by the oracle: nothing here knows how the programs compute it.

use std::num::NonZeroU32;

use gradwire::digest::Digest;
use gradwire::model::conformance::{self, Section};
use gradwire::model::{
    ARITHMETIC, Activation, BatchSize, Initialisation, Loss, LossReduction, Network, Optimiser, Recipe, Rows, Targets,
    Training, initialise,
};

use crate::common::book;
use crate::common::definition::{self, Definition};

/// What stands behind the heading.
fn text() -> &'static str {
    let behind =
        book::ARITHMETIC.text.split_once("\n## 15 Conformance\n").expect("no section 15 in docs/arithmetic.md").1;
    behind.split("\n## ").next().unwrap()
}

/// The rows of the table whose titles begin so.
fn table(titles: &str) -> Vec<Vec<&'static str>> {
    let lines = text().lines().skip_while(|line| !line.starts_with(titles));
    let rows: Vec<_> = lines.take_while(|line| line.starts_with('|')).skip(2).collect();
    assert!(!rows.is_empty(), "no table {titles}");
    rows.into_iter().map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The triples of this name.
fn triples(name: &str) -> Vec<[f32; 3]> {
    let first = format!("    {name}   ");
    let mut lines = text().lines().skip_while(|line| !line.starts_with(&first)).peekable();
    let first_line = lines.next().unwrap_or_else(|| panic!("no triples {name}"));
    let more = lines.take_while(|line| line.starts_with("        "));
    let words = [&first_line[5..]].into_iter().chain(more).flat_map(str::split_whitespace);
    let numbers: Vec<f32> = words.map(|word| f32::from_bits(u32::from_str_radix(word, 16).unwrap())).collect();
    assert_eq!(numbers.len(), 24, "{name}");
    numbers.chunks(3).map(|triple| triple.try_into().unwrap()).collect()
}

/// A section's values.
#[derive(Default)]
struct Values(Vec<u8>);

impl Values {
    fn f32(&mut self, value: f32) {
        let bits = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
        self.0.extend(bits.to_le_bytes());
    }

    fn f64(&mut self, value: f64) {
        let bits = if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
        self.0.extend(bits.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }
}

fn operations(section: &str, out: &mut Values) {
    let row = table("| Section | Triples |").into_iter().find(|row| row[0] == section).unwrap();
    for [a, b, c] in triples(row[1]) {
        let [wide_a, wide_b, wide_c] = [a, b, c].map(f64::from);
        let sum = wide_a * wide_b + wide_c;
        for operation in row[2].split(' ') {
            match operation {
                "1" => out.f32(a + b),
                "2" => out.f32(a - b),
                "3" => out.f32(a * b),
                "4" => out.f32(a / b),
                "5" => out.f32(a.mul_add(b, c)),
                "6" => out.f32(a * b + c),
                "7" => out.f32(if b > a { b } else { a }),
                "8" => out.f32(if a.abs() < b { 0.0 } else { a }),
                "9" => out.f32(a.sqrt()),
                "10" => out.f64(sum),
                "11" => out.f64(wide_a / wide_b),
                "12" => out.f32(sum as f32),
                "13" => {
                    let is_so = [(a < b, 32), (a <= b, 16), (a == b, 8), (a >= b, 4), (a > b, 2), (a != b, 1)];
                    out.u32(is_so.into_iter().filter(|(is_so, _)| *is_so).map(|(_, value)| value).sum());
                }
                other => panic!("no operation {other}"),
            }
        }
    }
}

fn oracle() -> Definition<()> {
    definition::ARITHMETIC_2
}

/// Each row's loss and derivatives.
fn softmax(log_epsilon: f32) -> Vec<(f64, Vec<f32>)> {
    let logits = |row: u32| (0..13).map(move |class| -((class * class * row) as f32) / 32.0).collect::<Vec<_>>();
    (0..8).map(|row| oracle().softmax(&logits(row), 12, log_epsilon)).collect()
}

/// A row of the table of tasks: what to train, from what, on what, at which step.
fn task(row: &[&str]) -> (Training, Vec<f32>, Rows<'static>, u64) {
    let [
        _,
        sizes,
        weights,
        activation,
        optimiser,
        loss,
        eta,
        eta_decay,
        batch,
        epochs,
        stop,
        log_epsilon,
        rows,
        step,
        besides,
    ] = row[..]
    else {
        panic!("a task has fifteen columns: {row:?}")
    };
    let sizes: Vec<u32> = sizes.split('-').map(|size| size.parse().unwrap()).collect();
    let (features, classes, rows) = (sizes[0], sizes[sizes.len() - 1], rows.parse::<u32>().unwrap());
    let mut recipe = Recipe {
        activation: Activation::ALL.into_iter().find(|known| format!("{known:?}") == activation).unwrap(),
        optimiser: Optimiser::ALL.into_iter().find(|known| format!("{known:?}") == optimiser).unwrap(),
        reduction: if loss == "Mean" { LossReduction::Mean } else { LossReduction::Sum },
        initialisation: if weights == "He" { Initialisation::He } else { Initialisation::Small },
        eta: eta.parse().unwrap(),
        eta_decay: eta_decay.parse().unwrap(),
        batch: batch.parse().map_or(BatchSize::Full, |rows| BatchSize::Rows(NonZeroU32::new(rows).unwrap())),
        epochs: epochs.parse().unwrap(),
        log_epsilon: log_epsilon.parse().unwrap(),
        stop_loss_change: stop.parse().ok(),
        ..Recipe::DEFAULT
    };
    for constant in besides.split(", ").filter(|text| !text.is_empty()) {
        match constant.split_once(' ').unwrap() {
            ("loss", "SquaredError") => recipe.loss = Loss::SquaredError,
            ("momentum", value) => recipe.momentum = value.parse().unwrap(),
            ("beta1", value) => recipe.betas[0] = value.parse().unwrap(),
            ("beta2", value) => recipe.betas[1] = value.parse().unwrap(),
            ("epsilon", value) => recipe.epsilon = value.parse().unwrap(),
            ("weight_decay", value) => recipe.weight_decay = value.parse().unwrap(),
            other => panic!("no constant {other:?}"),
        }
    }
    let network = Network::new(features, &sizes[1..sizes.len() - 1], classes).unwrap();
    let base = initialise(&network, recipe.initialisation, 1);
    let values: Vec<f32> = (0..rows * features).map(|index| (index * 37 % 101) as f32 / 32.0 - 1.5).collect();
    let targets = if recipe.loss == Loss::SquaredError {
        let of_row = |row| (0..classes).map(move |target| ((row + target) % 7) as f32 / 4.0 - 0.75);
        Targets::Values { values: (0..rows).flat_map(of_row).collect::<Vec<f32>>().into(), width: classes }
    } else {
        Targets::Labels { labels: (0..rows).map(|row| row % classes).collect::<Vec<u32>>().into(), classes }
    };
    let rows = Rows::new(features, values, targets).unwrap();
    (
        Training { arithmetic: ARITHMETIC, network, recipe, seed: 1, class_weights: Vec::new() },
        base,
        rows,
        step.parse().unwrap(),
    )
}

fn tasks(section: &str) -> Vec<(Training, Vec<f32>, Rows<'static>, u64)> {
    let rows = table("| Section | Network |");
    rows.iter().filter(|row| row[0] == section).map(|row| task(row)).collect()
}

fn compute(section: &str) -> Digest {
    let mut out = Values::default();
    match section {
        "exp" => {
            let rows = softmax(0.0);
            (0..13).for_each(|class| rows.iter().for_each(|(_, derivatives)| out.f32(derivatives[class])));
        }
        "ln" => {
            for log_epsilon in [0.0, 1e-6] {
                out.f64(softmax(log_epsilon).into_iter().fold(0.0, |sum, (loss, _)| sum + loss));
            }
        }
        "weights" => {
            tasks("small").into_iter().flat_map(|(_, base, ..)| base).for_each(|weight| out.f32(weight));
        }
        "small" | "large" | "further" => {
            for (training, base, rows, step) in tasks(section) {
                let (update, loss, epochs) = oracle().train(&training, step, 0, &base, &rows);
                update.into_iter().for_each(|value| out.f32(value));
                out.f64(loss);
                out.u32(epochs);
            }
        }
        "merging" => {
            let updates = [[0.1, 0.2], [-1e-3, 2e-3], [1e-20, -3.0], [16_383.0, -16_383.0], [-0.0, 5.421_011e-20]];
            for (updates, base) in updates.into_iter().zip([1.0, 0.5, 0.0, -1.0, -0.0]) {
                out.f32(definition::mean_onto(&[base], &[(&updates[..1], 3), (&updates[1..], 4)])[0]);
            }
        }
        _ => operations(section, &mut out),
    }
    Digest::of(&out.0)
}

#[test]
fn the_oracle_comes_to_the_published_digests_and_the_programs_know_them() {
    let published = table("| Section | SHA-256 |");
    let computed: Vec<Digest> = published.iter().map(|row| compute(row[0])).collect();
    let whole = Digest::of(computed.iter().map(|digest| digest.0).collect::<Vec<_>>().as_flattened());
    let known = Section::ALL.map(Section::published);
    // What to write, where all of it is right but the digests: in docs/arithmetic.md, and in src/model/conformance/mod.rs.
    let mut wanted = format!("    {whole}\n\n");
    published.iter().zip(&computed).for_each(|(row, digest)| wanted += &format!("| {} | `{digest}` |\n", row[0]));
    computed.iter().for_each(|digest| wanted += &format!("    Digest::from_hex(\"{digest}\").0,\n"));
    for ((row, computed), (section, known)) in published.iter().zip(&computed).zip(Section::ALL.iter().zip(known)) {
        assert_eq!(row[0], format!("{section:?}").to_lowercase());
        assert_eq!(
            row[1].trim_matches('`'),
            computed.to_string(),
            "{section:?} in docs/arithmetic.md; wanted:\n{wanted}"
        );
        assert_eq!(known, *computed, "{section:?} in the programs; wanted:\n{wanted}");
    }
    assert!(
        text().contains(&format!("\n    {whole}\n")),
        "the digest of the vector in docs/arithmetic.md; wanted:\n{wanted}"
    );
    assert_eq!((published.len(), conformance::published()), (Section::ALL.len(), whole));
}

#[test]
fn the_tasks_of_the_vector_go_every_way() {
    let epochs = |(training, base, rows, step): &(Training, Vec<f32>, Rows, u64)| {
        oracle().train(training, *step, 0, base, rows).2
    };
    let small = tasks("small");
    // It stops by itself, and not at once.
    assert!((2..5).contains(&epochs(&small[1])), "{} epochs", epochs(&small[1]));
    let large = tasks("large");
    assert!(large.iter().all(|(training, ..)| training.network.layers().any(|layer| layer.weights() > 4096)));
}
