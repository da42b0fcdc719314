//! A saved model that a job starts from. Owns whether it fits the job, and the sentences where it does not; does not know how
//! either is made.

use crate::dataset::Prepared;
use crate::model::Network;
use crate::model::file::ModelFile;
use crate::model::scaling::{Target, TargetScale};
use crate::wire::text::shown;

/// Refuses a model that tells something else than the job, or of other columns; of one that fits, a sentence where its numbers
/// were scaled by other data.
pub(super) fn check(model: &ModelFile, network: &Network, prepared: &Prepared) -> Result<Option<String>, String> {
    if model.network != *network {
        return Err(format!("the model to start from is {}, and this job's network is {network}", model.network));
    }
    check_target(&model.target, &prepared.target)?;
    let mut names = model.feature_names.iter().zip(&prepared.feature_names).zip(1..);
    if let Some(((known, asked), number)) = names.find(|((known, asked), _)| known != asked) {
        return Err(format!(
            "the model to start from learned from other columns: its input {number} is {:?}, and this job's is {:?}; give the \
             columns that trained it, in the same order and with the same names, or leave out --start-from",
            shown(known).to_string(),
            shown(asked).to_string()
        ));
    }
    let is_scaled_so = model.scaling == prepared.scaling && model.target == prepared.target;
    Ok((!is_scaled_so).then(|| {
        "the model to start from had its numbers scaled by other data: what it tells of these rows at first is not what it told of \
         its own"
            .to_owned()
    }))
}

fn check_target(of_model: &Target, target: &Target) -> Result<(), String> {
    let names = |scales: &[TargetScale]| scales.iter().map(|scale| scale.name().to_owned()).collect::<Vec<_>>();
    match (of_model, target) {
        (Target::Classes(known), Target::Classes(classes)) if known == classes => Ok(()),
        (Target::Classes(_), Target::Classes(_)) => {
            Err("the model to start from knows other classes than the data".to_owned())
        }
        (Target::Values(known), Target::Values(scales)) if names(known) == names(scales) => Ok(()),
        (Target::Values(known), Target::Values(scales)) => Err(format!(
            "the model to start from fits {}, and this job is to fit {}",
            shown(&names(known).join(", ")),
            shown(&names(scales).join(", "))
        )),
        (Target::Classes(_), Target::Values(_)) => {
            Err("the model to start from tells classes apart, and this job is to fit numbers".to_owned())
        }
        (Target::Values(_), Target::Classes(_)) => {
            Err("the model to start from fits numbers, and this job is to tell classes apart".to_owned())
        }
    }
}
