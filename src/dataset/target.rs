//! What is to be learned of each row. Owns the classes, their names and their order, and the sentences about labels that may be
//! one; does not know features.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::Fault;
use super::place::{Column, Quoted, listed};
use super::survey::Survey;
use super::value::{self, Reading};

/// The class of rows without a label, where they have one.
pub(crate) const NO_LABEL: &str = "missing";
/// Pairs of labels that a sentence shows, at most.
const SHOWN_MAX: usize = 4;

/// The targets of all rows.
#[derive(Clone, Debug)]
pub(super) enum TargetColumn {
    /// One class each.
    Classes(ClassColumn),
    /// `[rows, outputs]`.
    Values { values: Vec<f64>, outputs: usize },
}

/// The classes of all rows.
#[derive(Clone, Debug)]
pub(super) struct ClassColumn {
    /// `[rows]`: an index into the names.
    pub(super) labels: Vec<u32>,
    /// In order of value where all are numbers, else of their bytes.
    pub(super) names: Vec<String>,
    /// Sentences about labels that look alike.
    pub(super) warnings: Vec<String>,
}

/// Classes as they are found.
pub(super) struct Classes {
    /// Whether labels that are the same number are the same class: 1 and 1.0.
    by_value: bool,
    labels: Vec<u32>,
    /// Numbers in order of appearance, by text.
    numbers: HashMap<String, u32>,
    /// The same by value.
    by_bits: HashMap<u64, u32>,
    /// How each class is written.
    spellings: Vec<BTreeSet<String>>,
}

impl Classes {
    pub(super) fn new(labels: &[usize], survey: &Survey) -> Classes {
        let by_value = labels.first().is_some_and(|&place| {
            let tally = &survey.tallies[place];
            tally.plain.count == tally.present
        });
        Classes {
            by_value,
            labels: Vec::new(),
            numbers: HashMap::new(),
            by_bits: HashMap::new(),
            spellings: Vec::new(),
        }
    }

    /// Takes the label of the next row in, and gives the number of its class; none where it is one class too many.
    pub(super) fn push(&mut self, text: &str, classes_max: usize) -> Option<u32> {
        let text = if text.is_empty() { NO_LABEL } else { text };
        let number = match self.numbers.get(text) {
            Some(&number) => number,
            None => {
                let next = self.spellings.len() as u32;
                let number = match value::plain(text) {
                    Reading::Number(value) if self.by_value => {
                        *self.by_bits.entry((value + 0.0).to_bits()).or_insert(next)
                    }
                    _ => next,
                };
                if number == next {
                    if self.spellings.len() == classes_max {
                        return None;
                    }
                    self.spellings.push(BTreeSet::new());
                }
                self.spellings[number as usize].insert(text.to_owned());
                self.numbers.insert(text.to_owned(), number);
                number
            }
        };
        self.labels.push(number);
        Some(number)
    }

    /// The same of a label whose class's number is known.
    pub(super) fn push_known(&mut self, number: u32) {
        self.labels.push(number);
    }

    /// The classes in order: by value if every label is a number, else by their bytes.
    pub(super) fn finish(mut self, column: &Column) -> Result<ClassColumn, Fault> {
        // The shortest spelling, and of equals the first: the same in any order of rows.
        let name =
            |spellings: &BTreeSet<String>| spellings.iter().min_by_key(|text| text.len()).cloned().unwrap_or_default();
        let mut classes: Vec<(String, u32)> = self.spellings.iter().map(name).zip(0..).collect();
        if let [(label, _)] = &classes[..] {
            return Err(Fault::OneClass { label: label.clone(), column: column.clone() });
        }
        classes.sort_unstable();
        let value = |label: &str| label.parse::<f64>().ok().filter(|value| value.is_finite());
        if let Some(values) = classes.iter().map(|(label, _)| value(label)).collect::<Option<Vec<f64>>>() {
            let mut keyed: Vec<(f64, (String, u32))> = values.into_iter().zip(classes).collect();
            keyed.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            classes = keyed.into_iter().map(|(_, class)| class).collect();
        }
        let mut class_of = vec![0; classes.len()];
        for (class, &(_, number)) in classes.iter().enumerate() {
            class_of[number as usize] = class as u32;
        }
        self.labels.iter_mut().for_each(|label| *label = class_of[*label as usize]);
        let warnings = warnings(&self.spellings);
        let names = classes.into_iter().map(|(label, _)| label).collect();
        Ok(ClassColumn { labels: self.labels, names, warnings })
    }
}

/// Different texts that differ only in case or spaces, those that are alike together.
pub(super) fn alike<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<BTreeSet<String>> {
    let mut alike: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for text in texts {
        let folded = text.to_lowercase().split_whitespace().collect::<String>();
        alike.entry(folded).or_default().insert(text.clone());
    }
    alike.into_values().filter(|texts| texts.len() > 1).collect()
}

/// Labels that are one class in several forms, and classes whose labels differ only in case or spaces.
fn warnings(spellings: &[BTreeSet<String>]) -> Vec<String> {
    let quoted =
        |texts: &BTreeSet<String>| texts.iter().map(|text| Quoted(text).to_string()).collect::<Vec<_>>().join(" and ");
    let merged: Vec<String> = spellings.iter().filter(|texts| texts.len() > 1).map(quoted).collect();
    let is_one_class = |texts: &BTreeSet<String>| spellings.iter().any(|class| texts.is_subset(class));
    let alike = alike(spellings.iter().flatten());
    let alike: Vec<String> = alike.iter().filter(|texts| !is_one_class(texts)).map(quoted).collect();
    let mut warnings = Vec::new();
    if !merged.is_empty() {
        warnings.push(format!("labels that are the same number are one class: {}", listed(merged.iter(), SHOWN_MAX)));
    }
    if !alike.is_empty() {
        warnings.push(format!(
            "labels that differ only in case or spaces are different classes: {}; write them alike where they are one",
            listed(alike.iter(), SHOWN_MAX)
        ));
    }
    warnings
}
