//! What only the data know of a job and its model file says: names and scaling. Owns how they travel with the job, as
//! JSON in its notes, so that whoever attaches to it can write the same file without the data.

use serde_json::{Value, json};

use crate::job::NOTES_BYTES_MAX;
use crate::model::Network;
use crate::model::scaling::FeatureScale;

/// What `format` says.
const FORMAT: &str = "gradwire client notes 1";

/// What the data say of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// The data's name.
    pub data: String,
    /// The recipe's name.
    pub recipe: String,
    /// `[inputs]`: the features' names.
    pub feature_names: Vec<String>,
    /// `[classes]`: the classes' names.
    pub class_names: Vec<String>,
    /// `[inputs]`: how a feature becomes an input.
    pub scaling: Vec<FeatureScale>,
}

impl Words {
    /// The notes that bring them back, where they are no longer than notes may be.
    pub fn to_notes(&self) -> Option<Vec<u8>> {
        let numbers = |value: fn(&FeatureScale) -> f64| self.scaling.iter().map(value).collect::<Vec<f64>>();
        let notes = json!({
            "format": FORMAT,
            "data": self.data,
            "recipe": self.recipe,
            "feature_names": self.feature_names,
            "class_names": self.class_names,
            "feature_means": numbers(FeatureScale::mean),
            "feature_inverse_deviations": numbers(FeatureScale::inverse_deviation),
        });
        let notes = notes.to_string().into_bytes();
        (notes.len() <= NOTES_BYTES_MAX).then_some(notes)
    }

    /// The words in a job's notes, if they are ours and fit its network.
    pub fn from_notes(notes: &[u8], network: &Network) -> Option<Words> {
        let notes: Value = serde_json::from_slice(notes).ok()?;
        let text = |key: &str| Some(notes.get(key)?.as_str()?.to_owned());
        let list = |key: &str| notes.get(key)?.as_array();
        let texts =
            |key: &str| list(key)?.iter().map(|text| Some(text.as_str()?.to_owned())).collect::<Option<Vec<_>>>();
        if text("format")? != FORMAT {
            return None;
        }
        let (means, inverses) = (list("feature_means")?, list("feature_inverse_deviations")?);
        let scales =
            means.iter().zip(inverses).map(|(mean, inverse)| FeatureScale::new(mean.as_f64()?, inverse.as_f64()?));
        let words = Words {
            data: text("data")?,
            recipe: text("recipe")?,
            feature_names: texts("feature_names")?,
            class_names: texts("class_names")?,
            scaling: scales.collect::<Option<_>>()?,
        };
        let (inputs, classes) = (network.inputs() as usize, network.outputs() as usize);
        let fit = means.len() == inverses.len()
            && words.scaling.len() == inputs
            && words.feature_names.len() == inputs
            && words.class_names.len() == classes;
        fit.then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        Words {
            data: "fl\u{f6}wers \"of\"\n.csv".to_owned(),
            recipe: "default".to_owned(),
            feature_names: vec!["wid\\th".to_owned(), String::new()],
            class_names: vec!["oak".to_owned(), "\u{1F333}".to_owned(), "\u{0}".to_owned()],
            scaling: vec![
                FeatureScale::new(0.1 + 0.2, 1.0 / 3.0).unwrap(),
                FeatureScale::new(-f64::MIN_POSITIVE, f64::MAX).unwrap(),
            ],
        }
    }

    #[test]
    fn words_come_back_from_notes_to_the_bit() {
        let network = Network::new(2, &[4], 3).unwrap();
        let notes = words().to_notes().unwrap();
        assert_eq!(Words::from_notes(&notes, &network), Some(words()));
        assert_eq!(words().to_notes(), Some(notes));
    }

    #[test]
    fn notes_that_are_not_ours_or_do_not_fit_are_none() {
        let network = Network::new(2, &[4], 3).unwrap();
        let notes = String::from_utf8(words().to_notes().unwrap()).unwrap();
        assert!(Words::from_notes(notes.as_bytes(), &Network::new(3, &[4], 3).unwrap()).is_none());
        assert!(Words::from_notes(notes.as_bytes(), &Network::new(2, &[4], 2).unwrap()).is_none());
        let changes = [
            ("notes 1", "notes 2"),
            ("\"oak\"", "7"),
            ("\"recipe\"", "\"rezept\""),
            ("\"feature_means\":[", "\"feature_means\":[0,"),
        ];
        for (from, to) in changes {
            assert!(Words::from_notes(notes.replace(from, to).as_bytes(), &network).is_none(), "{to}");
        }
        for foreign in [&b""[..], b"null", b"[]", b"{}", b"\xFF"] {
            assert!(Words::from_notes(foreign, &network).is_none());
        }
    }

    #[test]
    fn words_that_are_too_long_for_notes_are_left_away() {
        let name = "n".repeat(NOTES_BYTES_MAX);
        assert_eq!(Words { data: name, ..words() }.to_notes(), None);
    }
}
