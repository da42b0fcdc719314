//! What only the data know of a job: names, scaling, and what is right without a model. Owns how they travel with the job, as
//! JSON in its notes, so that whoever attaches to it can write the same model file and judge the same result without the data.

use serde_json::{Value, json};

use super::sample::TrainingSample;
use crate::dataset::Baseline;
use crate::job::NOTES_BYTES_MAX;
use crate::model::scaling::{FeatureScale, Target, TargetScale};
use crate::model::{TargetKind, Training};

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
    /// What an output means.
    pub target: Target,
    /// `[inputs]`: how a feature becomes an input.
    pub scaling: Vec<FeatureScale>,
    /// What is right about the validation rows without a model, if that is told.
    pub baseline: Option<Baseline>,
    /// The same of the test rows.
    pub test_baseline: Option<Baseline>,
    /// How a raw row becomes inputs, if that is told: the data set's schema as JSON.
    pub schema: Option<Value>,
    /// By what rows that trained are known, if that is told.
    pub sample: Option<TrainingSample>,
}

impl Words {
    /// The notes that bring them back, where they are no longer than notes may be.
    pub fn to_notes(&self) -> Option<Vec<u8>> {
        let numbers = |value: fn(&FeatureScale) -> f64| self.scaling.iter().map(value).collect::<Vec<f64>>();
        let mut notes = json!({
            "format": FORMAT,
            "data": self.data,
            "recipe": self.recipe,
            "feature_names": self.feature_names,
            "feature_means": numbers(FeatureScale::mean),
            "feature_inverse_deviations": numbers(FeatureScale::inverse_deviation),
        });
        if self.scaling.iter().any(FeatureScale::is_clipped) {
            notes["feature_smooth_clips"] = self.scaling.iter().map(FeatureScale::is_clipped).collect();
        }
        match &self.target {
            Target::Classes(names) => notes["class_names"] = json!(names),
            Target::Values(scales) => {
                notes["target_names"] = scales.iter().map(TargetScale::name).collect();
                notes["target_means"] = scales.iter().map(TargetScale::mean).collect();
                notes["target_deviations"] = scales.iter().map(TargetScale::deviation).collect();
            }
        }
        for (key, baseline) in [("baseline", self.baseline), ("test_baseline", self.test_baseline)] {
            match baseline {
                None => {}
                Some(Baseline::Class { class, errors }) => notes[key] = json!({"class": class, "errors": errors}),
                Some(Baseline::Mean { squared, absolute, variation }) => {
                    notes[key] = json!({"squared": squared, "absolute": absolute, "variation": variation});
                }
            }
        }
        if let Some(schema) = &self.schema {
            notes["schema"] = schema.clone();
        }
        if let Some(sample) = &self.sample {
            notes[TrainingSample::KEY] = sample.in_words().into();
        }
        let notes = notes.to_string().into_bytes();
        (notes.len() <= NOTES_BYTES_MAX).then_some(notes)
    }

    /// The words in a job's notes, if they are ours and fit its network and loss.
    pub fn from_notes(notes: &[u8], training: &Training) -> Option<Words> {
        let kind = training.recipe.loss.target_kind();
        let (inputs, outputs) = (training.network.inputs() as usize, training.network.outputs() as usize);
        let notes: Value = serde_json::from_slice(notes).ok()?;
        let text = |key: &str| Some(notes.get(key)?.as_str()?.to_owned());
        let list = |key: &str| notes.get(key)?.as_array();
        let texts =
            |key: &str| list(key)?.iter().map(|text| Some(text.as_str()?.to_owned())).collect::<Option<Vec<_>>>();
        if text("format")? != FORMAT {
            return None;
        }
        let (means, inverses) = (list("feature_means")?, list("feature_inverse_deviations")?);
        let is_clipped = |place: usize| notes.get("feature_smooth_clips").is_some_and(|clips| clips[place] == true);
        let scales = means.iter().zip(inverses).enumerate().map(|(place, (mean, inverse))| {
            Some(FeatureScale::new(mean.as_f64()?, inverse.as_f64()?)?.clipped_if(is_clipped(place)))
        });
        let target = match kind {
            TargetKind::Labels => Target::Classes(texts("class_names")?),
            TargetKind::Values => {
                let (means, deviations) = (list("target_means")?, list("target_deviations")?);
                let scale = |((name, mean), deviation): ((String, &Value), &Value)| {
                    TargetScale::new(name, mean.as_f64()?, deviation.as_f64()?)
                };
                let names = texts("target_names")?;
                let scales = names.into_iter().zip(means).zip(deviations).map(scale).collect::<Option<Vec<_>>>()?;
                if [means.len(), deviations.len()] != [scales.len(); 2] {
                    return None;
                }
                Target::Values(scales)
            }
        };
        let baseline = |key: &str| match notes.get(key) {
            None => Some(None),
            Some(told) => baseline(told, kind, outputs).map(Some),
        };
        let (baseline, test_baseline) = (baseline("baseline")?, baseline("test_baseline")?);
        let sample = match notes.get(TrainingSample::KEY) {
            None => None,
            Some(words) => Some(TrainingSample::from_words(words.as_str()?)?),
        };
        let words = Words {
            data: text("data")?,
            recipe: text("recipe")?,
            feature_names: texts("feature_names")?,
            target,
            scaling: scales.collect::<Option<_>>()?,
            baseline,
            test_baseline,
            schema: notes.get("schema").cloned(),
            sample,
        };
        let fit = means.len() == inverses.len()
            && words.scaling.len() == inputs
            && words.feature_names.len() == inputs
            && words.target.outputs() == outputs;
        fit.then_some(words)
    }
}

/// What notes say is right without a model, if it can be.
fn baseline(told: &Value, kind: TargetKind, outputs: usize) -> Option<Baseline> {
    match kind {
        TargetKind::Labels => {
            let class = u32::try_from(told.get("class")?.as_u64()?).ok().filter(|&class| (class as usize) < outputs)?;
            Some(Baseline::Class { class, errors: told.get("errors")?.as_u64()? })
        }
        TargetKind::Values => {
            let sum = |key: &str| told.get(key)?.as_f64().filter(|sum| sum.is_finite() && *sum >= 0.0);
            let (squared, absolute, variation) = (sum("squared")?, sum("absolute")?, sum("variation")?);
            Some(Baseline::Mean { squared, absolute, variation })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ARITHMETIC, Loss, Network, Recipe};

    fn training(inputs: u32, outputs: u32, loss: Loss) -> Training {
        let network = Network::new(inputs, &[4], outputs).unwrap();
        Training {
            arithmetic: ARITHMETIC,
            network,
            recipe: Recipe { loss, ..Recipe::DEFAULT },
            seed: 1,
            class_weights: Vec::new(),
        }
    }

    fn of_numbers() -> Words {
        let scale = |name, mean, deviation| TargetScale::new(name, mean, deviation).unwrap();
        Words {
            target: Target::Values(vec![scale("pri\"ce", 0.1 + 0.2, 1.0 / 3.0), scale("", -1e300, f64::MIN_POSITIVE)]),
            baseline: Some(Baseline::Mean { squared: 0.1 + 0.2, absolute: 7.0, variation: 0.0 }),
            test_baseline: None,
            ..words()
        }
    }

    fn words() -> Words {
        Words {
            data: "fl\u{f6}wers \"of\"\n.csv".to_owned(),
            recipe: "default".to_owned(),
            feature_names: vec!["wid\\th".to_owned(), String::new()],
            target: Target::Classes(vec!["oak".to_owned(), "\u{1F333}".to_owned(), "\u{0}".to_owned()]),
            baseline: Some(Baseline::Class { class: 2, errors: 7 }),
            test_baseline: Some(Baseline::Class { class: 1, errors: 70 }),
            schema: Some(json!({"format": "gradwire schema 1", "columns": [{"mean": 0.1 + 0.2}]})),
            sample: TrainingSample::from_words("00000000000000ff,f000000000000000"),
            scaling: vec![
                FeatureScale::new(0.1 + 0.2, 1.0 / 3.0).unwrap(),
                FeatureScale::new(-f64::MIN_POSITIVE, f64::MAX).unwrap().clipped_if(true),
            ],
        }
    }

    #[test]
    fn words_come_back_from_notes_to_the_bit() {
        let notes = words().to_notes().unwrap();
        assert_eq!(Words::from_notes(&notes, &training(2, 3, Loss::CrossEntropy)), Some(words()));
        assert_eq!(words().to_notes(), Some(notes));
        let notes = of_numbers().to_notes().unwrap();
        assert_eq!(Words::from_notes(&notes, &training(2, 2, Loss::SquaredError)), Some(of_numbers()));
        let untold = Words { baseline: None, schema: None, sample: None, ..of_numbers() };
        let notes = untold.to_notes().unwrap();
        assert_eq!(Words::from_notes(&notes, &training(2, 2, Loss::SquaredError)), Some(untold));
    }

    #[test]
    fn notes_that_are_not_ours_or_do_not_fit_are_none() {
        let fitting = training(2, 3, Loss::CrossEntropy);
        let notes = String::from_utf8(words().to_notes().unwrap()).unwrap();
        for other in
            [training(3, 3, Loss::CrossEntropy), training(2, 2, Loss::CrossEntropy), training(2, 3, Loss::SquaredError)]
        {
            assert!(Words::from_notes(notes.as_bytes(), &other).is_none());
        }
        let changes = [
            ("notes 1", "notes 2"),
            ("\"oak\"", "7"),
            ("\"recipe\"", "\"rezept\""),
            ("\"feature_means\":[", "\"feature_means\":[0,"),
            ("\"class\":2", "\"class\":3"),
            ("\"errors\":7}", "\"errors\":-7}"),
            ("\"errors\":70", "\"errors\":-7"),
            ("00000000000000ff", "ff"),
        ];
        for (from, to) in changes {
            assert!(notes.contains(from), "{from}");
            assert!(Words::from_notes(notes.replace(from, to).as_bytes(), &fitting).is_none(), "{to}");
        }
        for foreign in [&b""[..], b"null", b"[]", b"{}", b"\xFF"] {
            assert!(Words::from_notes(foreign, &fitting).is_none());
        }
        let fitting = training(2, 2, Loss::SquaredError);
        let notes = String::from_utf8(of_numbers().to_notes().unwrap()).unwrap();
        assert!(Words::from_notes(notes.as_bytes(), &training(2, 2, Loss::CrossEntropy)).is_none());
        for (from, to) in [
            ("\"target_means\":[", "\"target_means\":[0,"),
            ("\"target_deviations\":[", "\"target_deviations\":[0,"),
            ("\"absolute\":7.0", "\"absolute\":-7.0"),
            ("\"variation\"", "\"variance\""),
        ] {
            assert!(notes.contains(from), "{from}: {notes}");
            assert!(Words::from_notes(notes.replace(from, to).as_bytes(), &fitting).is_none(), "{to}");
        }
    }

    #[test]
    fn words_that_are_too_long_for_notes_are_left_away() {
        let name = "n".repeat(NOTES_BYTES_MAX);
        assert_eq!(Words { data: name, ..words() }.to_notes(), None);
    }
}
