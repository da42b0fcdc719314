//! Whether a model file's weights are those that its fingerprint names. Owns the sentence where they are not; does not know what the
//! model is for.

use std::path::Path;

use crate::digest::Digest;
use crate::job;
use crate::model::file::ModelFile;
use crate::wire::object::{self, ObjectKind};

/// The fingerprint that follows from the job's digest and the weights.
pub(super) fn fingerprint(model: &ModelFile) -> Digest {
    let weights = object::encode_parameters(ObjectKind::Weights, &model.network, &model.parameters);
    job::fingerprint(&model.semantic_digest, &Digest::of(&weights))
}

/// That the model, which was read from this file, has the fingerprint that the file says; if not, the sentence for it.
pub(super) fn check(path: &Path, model: &ModelFile) -> Result<(), String> {
    let computed = fingerprint(model);
    if computed == model.fingerprint {
        return Ok(());
    }
    Err(format!(
        "{}: the weights and the job give the fingerprint {computed}, and the file says {}: it was changed after it was saved",
        path.display(),
        model.fingerprint
    ))
}
