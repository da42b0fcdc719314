//! The model file: a trained model and all that is needed to use it, as safetensors. Owns the names in the file and the
//! checks on reading; does not know how the model came about.
//!
//! Tensors are F32: `layer.0.weight` `[inputs, outputs]`, `layer.0.bias` `[outputs]`, `layer.1.weight` and so on; they
//! lie one behind the other as in the flat parameters. The metadata are a map of strings:
//!
//! | key | value |
//! |---|---|
//! | `format` | `gradwire model 1` |
//! | `network` | inputs, hidden layers, outputs: `16-128-26` |
//! | `activation` | `relu`, `identity`, `masked_identity` or `tanh` |
//! | `fingerprint`, `semantic_digest` | 64 hexadecimal digits |
//! | `feature_names` | a JSON array of strings |
//! | `feature_means`, `feature_inverse_deviations` | JSON arrays of numbers that give the f64s back exactly; an input is `f32((value - mean) * inverse_deviation)` |
//! | `feature_smooth_clips` | where some are: a JSON array that says of which features what lies far off is clipped |
//! | `class_names` | a JSON array of strings; where classes are told apart |
//! | `target_names`, `target_means`, `target_deviations` | the same of numbers that are fitted; a value is `output * deviation + mean` |
//! | `schema` | how a raw row becomes inputs, a JSON object (docs/model-file.md); opaque here |
//! | `job.*` | the job's specification, a key each |
//!
//! The same model is the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::disk::{self, System};
use crate::model::network::{Network, PARAMETERS_MAX};
use crate::model::recipe::Activation;
use crate::model::scaling::{FeatureScale, Target, TargetScale};

/// What `format` says.
const FORMAT: &str = "gradwire model 1";
/// Prefix of the specification's keys.
const JOB_PREFIX: &str = "job.";
/// The longest header that safetensors reads.
const HEADER_BYTES_MAX: usize = 100_000_000;
/// The longest file: length, header, tensors.
const FILE_BYTES_MAX: u64 = 8 + HEADER_BYTES_MAX as u64 + 4 * PARAMETERS_MAX;
/// Characters of a file's text that a sentence quotes, at most.
const QUOTED_CHARACTERS_MAX: usize = 40;

/// A trained model as a file holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// The shape.
    pub network: Network,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// What the training job's result was named by.
    pub fingerprint: Digest,
    /// What that job was named by: with the weights' digest, the fingerprint follows from it.
    pub semantic_digest: Digest,
    /// The job's specification for readers, as keys and values.
    pub specification: BTreeMap<String, String>,
    /// `[inputs]`: how a feature becomes an input.
    pub scaling: Vec<FeatureScale>,
    /// `[inputs]`: the features' names.
    pub feature_names: Vec<String>,
    /// What an output means.
    pub target: Target,
    /// How a raw row becomes inputs, if that is told: the data set's schema, as JSON.
    pub schema: Option<String>,
    /// The flat parameters, laid out as [`Network`] says; finite.
    pub parameters: Vec<f32>,
}

/// A model file that cannot be read or written: which, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFileError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub fault: ModelFault,
}

/// What is wrong with a model, or with its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelFault {
    /// No such file.
    NotFound,
    /// A directory, a device: nothing that a model is read from or may replace.
    NotAFile,
    /// The system refuses to read it.
    Unreadable {
        /// The system's reason.
        cause: String,
    },
    /// The system refuses to write it.
    Unwritable {
        /// The system's reason.
        cause: String,
    },
    /// Longer than any model.
    TooLarge,
    /// Names and specification fill more than a safetensors header.
    HeaderTooLarge {
        /// Bytes that the header would have.
        got: usize,
    },
    /// Not safetensors, or damaged.
    NotSafetensors {
        /// What its reader says.
        cause: String,
    },
    /// Safetensors, of another program or a later version.
    Format {
        /// What `format` says, if anything.
        got: Option<String>,
    },
    /// A key of the metadata is missing.
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A key of the metadata says what it never does.
    Value {
        /// The key.
        key: &'static str,
        /// What it says.
        got: String,
    },
    /// More or fewer values than the network has use for.
    Count {
        /// The values.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many the network needs.
        expected: usize,
    },
    /// A tensor that the network needs is missing, or has another type or shape.
    Tensor {
        /// The tensor.
        name: String,
        /// The shape that it needs.
        expected: Vec<usize>,
    },
    /// A parameter is NaN or infinite.
    NotFinite {
        /// Its index in the flat parameters.
        index: usize,
    },
}

impl fmt::Display for ModelFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.fault)
    }
}

impl std::error::Error for ModelFileError {}

impl fmt::Display for ModelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file; check the path"),
            Self::NotAFile => f.write_str("this is no regular file; name another path for the model"),
            Self::Unreadable { cause } => write!(f, "the model cannot be read: {cause}"),
            Self::Unwritable { cause } => write!(
                f,
                "the model cannot be written: {cause}; check that the directory exists and that you may write to it"
            ),
            Self::TooLarge => write!(f, "the file is longer than {FILE_BYTES_MAX} bytes: it is no gradwire model"),
            Self::HeaderTooLarge { got } => write!(
                f,
                "names and specification take {got} bytes, and at most {HEADER_BYTES_MAX} are allowed; shorten the \
                 names of features and classes"
            ),
            Self::NotSafetensors { cause } => {
                write!(f, "the file is no model, or damaged ({cause}); name a model that gradwire has saved")
            }
            Self::Format { got: Some(got) } => {
                write!(f, "the file's format is {got:?}, and this program reads {FORMAT:?}; save the model with it")
            }
            Self::Format { got: None } => {
                f.write_str("the file holds tensors of another program; name a model that gradwire has saved")
            }
            Self::Missing { key } => write!(f, "the file is damaged: its metadata lack {key:?}; save the model again"),
            Self::Value { key, got } => {
                write!(f, "the file is damaged: {key:?} cannot be {got:?}; save the model again")
            }
            Self::Count { what, got, expected } => {
                write!(f, "the network needs {expected} {what}, and there are {got}; save the model again")
            }
            Self::Tensor { name, expected } => {
                write!(f, "the network needs a tensor {name:?} of F32 {expected:?}; save the model again")
            }
            Self::NotFinite { index } => {
                write!(f, "parameter {index} is not a finite number: the model is of no use; train it again")
            }
        }
    }
}

impl ModelFile {
    /// Reads a model and checks all of it.
    pub fn read(path: &Path) -> Result<ModelFile, ModelFileError> {
        let read = || ModelFile::from_bytes(&bytes_of(path)?);
        read().map_err(|fault| ModelFileError { path: path.to_owned(), fault })
    }

    /// Writes the model, whole or not at all: the bytes go to a file beside `path`, to the disk, and only then to this
    /// name. Whatever regular file has the name is replaced.
    pub fn write(&self, path: &Path) -> Result<(), ModelFileError> {
        let write = || replace(path, &self.to_bytes()?);
        write().map_err(|fault| ModelFileError { path: path.to_owned(), fault })
    }

    /// The file's bytes, if the model is one: the counts fit the network and the parameters are finite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelFault> {
        self.check()?;
        let mut header = self.header().to_string();
        // safetensors aligns the tensors with blanks behind the header.
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        if header.len() > HEADER_BYTES_MAX {
            return Err(ModelFault::HeaderTooLarge { got: header.len() });
        }
        let mut bytes = Vec::with_capacity(8 + header.len() + 4 * self.parameters.len());
        bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(self.parameters.iter().flat_map(|parameter| parameter.to_le_bytes()));
        Ok(bytes)
    }

    /// The model in a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<ModelFile, ModelFault> {
        let broken = |error: safetensors::SafeTensorError| ModelFault::NotSafetensors { cause: error.to_string() };
        // Twice over the header, as the reader of the tensors keeps the metadata to itself.
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        let metadata = Metadata(metadata.metadata().iter().flatten().map(|(k, v)| (&k[..], &v[..])).collect());

        if metadata.0.get("format") != Some(&FORMAT) {
            return Err(ModelFault::Format { got: metadata.0.get("format").map(|got| quotable(got)) });
        }
        let network = metadata.parse("network", network_from_text)?;
        let activation = |text: &str| text.parse::<Activation>().ok();
        let means = metadata.parse("feature_means", numbers)?;
        let inverse_deviations = metadata.parse("feature_inverse_deviations", numbers)?;
        expect_count("inverse deviations", inverse_deviations.len(), means.len())?;
        let clips = match metadata.0.contains_key("feature_smooth_clips") {
            true => metadata.parse("feature_smooth_clips", |text| serde_json::from_str(text).ok())?,
            false => vec![false; means.len()],
        };
        expect_count("smooth clips", clips.len(), means.len())?;
        let scales = means.iter().zip(&inverse_deviations).zip(&clips);
        let scales = scales.map(|((&mean, &inverse), &clip)| Some(FeatureScale::new(mean, inverse)?.clipped_if(clip)));
        let job = |(key, value): (&&str, &&str)| Some((key.strip_prefix(JOB_PREFIX)?.to_owned(), (*value).to_owned()));
        let model = ModelFile {
            activation: metadata.parse("activation", activation)?,
            fingerprint: metadata.parse("fingerprint", |text| text.parse().ok())?,
            semantic_digest: metadata.parse("semantic_digest", |text| text.parse().ok())?,
            specification: metadata.0.iter().filter_map(job).collect(),
            scaling: scales.collect::<Option<_>>().ok_or_else(|| metadata.refuse("feature_inverse_deviations"))?,
            feature_names: metadata.parse("feature_names", |text| serde_json::from_str(text).ok())?,
            target: metadata.target()?,
            schema: metadata.0.get("schema").map(|schema| (*schema).to_owned()),
            parameters: parameters(&network, &tensors)?,
            network,
        };
        model.check()?;
        Ok(model)
    }

    /// Whether everything fits the network.
    fn check(&self) -> Result<(), ModelFault> {
        let inputs = self.network.inputs() as usize;
        expect_count("parameters", self.parameters.len(), self.network.parameters())?;
        expect_count("scales of features", self.scaling.len(), inputs)?;
        expect_count("names of features", self.feature_names.len(), inputs)?;
        let targets = match &self.target {
            Target::Classes(_) => "names of classes",
            Target::Values(_) => "scales of targets",
        };
        expect_count(targets, self.target.outputs(), self.network.outputs() as usize)?;
        match self.parameters.iter().position(|parameter| !parameter.is_finite()) {
            Some(index) => Err(ModelFault::NotFinite { index }),
            None => Ok(()),
        }
    }

    /// The header's JSON. Written here because safetensors' own writer keeps the metadata in a hash map, and so in another
    /// order every time; `Map` sorts its keys.
    fn header(&self) -> Value {
        let scales = |value: fn(&FeatureScale) -> f64| json!(self.scaling.iter().map(value).collect::<Vec<_>>());
        let mut metadata: Map<String, Value> =
            self.specification.iter().map(|(key, value)| (format!("{JOB_PREFIX}{key}"), json!(value))).collect();
        let entries = [
            ("format", json!(FORMAT)),
            ("network", json!(self.network.to_string())),
            ("activation", json!(self.activation.to_string())),
            ("fingerprint", json!(self.fingerprint.to_string())),
            ("semantic_digest", json!(self.semantic_digest.to_string())),
            ("feature_names", json!(json!(self.feature_names).to_string())),
            ("feature_means", json!(scales(FeatureScale::mean).to_string())),
            ("feature_inverse_deviations", json!(scales(FeatureScale::inverse_deviation).to_string())),
        ];
        metadata.extend(entries.map(|(key, value)| (key.to_owned(), value)));
        if self.scaling.iter().any(FeatureScale::is_clipped) {
            let clips: Vec<bool> = self.scaling.iter().map(FeatureScale::is_clipped).collect();
            metadata.insert("feature_smooth_clips".to_owned(), json!(json!(clips).to_string()));
        }
        if let Some(schema) = &self.schema {
            metadata.insert("schema".to_owned(), json!(schema));
        }
        let mut put = |key: &str, list: Value| metadata.insert(key.to_owned(), json!(list.to_string()));
        match &self.target {
            Target::Classes(names) => {
                put("class_names", json!(names));
            }
            Target::Values(scales) => {
                put("target_names", scales.iter().map(TargetScale::name).collect());
                put("target_means", scales.iter().map(TargetScale::mean).collect());
                put("target_deviations", scales.iter().map(TargetScale::deviation).collect());
            }
        }

        let mut header = Map::from_iter([("__metadata__".to_owned(), Value::Object(metadata))]);
        let mut start = 0;
        for (name, shape) in tensors_of(&self.network) {
            let end = start + 4 * shape.iter().product::<usize>();
            header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": [start, end] }));
            start = end;
        }
        Value::Object(header)
    }
}

/// Names and shapes of a network's tensors, in the order of the flat parameters.
fn tensors_of(network: &Network) -> impl Iterator<Item = (String, Vec<usize>)> + '_ {
    network.layers().enumerate().flat_map(|(index, layer)| {
        let weight = (format!("layer.{index}.weight"), vec![layer.inputs, layer.outputs]);
        [weight, (format!("layer.{index}.bias"), vec![layer.outputs])]
    })
}

/// The flat parameters: the network's tensors, and no others.
fn parameters(network: &Network, tensors: &SafeTensors) -> Result<Vec<f32>, ModelFault> {
    expect_count("tensors", tensors.len(), tensors_of(network).count())?;
    let mut parameters = Vec::new();
    for (name, expected) in tensors_of(network) {
        match tensors.tensor(&name) {
            Ok(tensor) if tensor.dtype() == Dtype::F32 && tensor.shape() == expected => {
                let (values, _) = tensor.data().as_chunks();
                parameters.extend(values.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            }
            _ => return Err(ModelFault::Tensor { name, expected }),
        }
    }
    Ok(parameters)
}

/// The metadata of a file, not yet believed.
struct Metadata<'a>(BTreeMap<&'a str, &'a str>);

impl Metadata<'_> {
    /// What a key says, as `parse` understands it.
    fn parse<T>(&self, key: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ModelFault> {
        let text = self.0.get(key).ok_or(ModelFault::Missing { key })?;
        parse(text).ok_or_else(|| self.refuse(key))
    }

    /// What the model tells: numbers where targets have names, else classes.
    fn target(&self) -> Result<Target, ModelFault> {
        let names = |text: &str| serde_json::from_str::<Vec<String>>(text).ok();
        if !self.0.contains_key("target_names") {
            return Ok(Target::Classes(self.parse("class_names", names)?));
        }
        let names = self.parse("target_names", names)?;
        let (means, deviations) = (self.parse("target_means", numbers)?, self.parse("target_deviations", numbers)?);
        expect_count("means of targets", means.len(), names.len())?;
        expect_count("deviations of targets", deviations.len(), names.len())?;
        let scales = names.into_iter().zip(means.into_iter().zip(deviations));
        let scales = scales.map(|(name, (mean, deviation))| TargetScale::new(name, mean, deviation));
        scales.collect::<Option<_>>().map(Target::Values).ok_or_else(|| self.refuse("target_deviations"))
    }

    /// That a key says what it does.
    fn refuse(&self, key: &'static str) -> ModelFault {
        ModelFault::Value { key, got: self.0.get(key).map(|got| quotable(got)).unwrap_or_default() }
    }
}

/// The network that its text form names.
fn network_from_text(text: &str) -> Option<Network> {
    let sizes: Vec<u32> = text.split('-').map(|size| size.parse().ok()).collect::<Option<_>>()?;
    let [inputs, hidden @ .., outputs] = &sizes[..] else { return None };
    // Only one text names a network: "+16-026" does not.
    Network::new(*inputs, hidden, *outputs).ok().filter(|network| network.to_string() == text)
}

/// The numbers of a JSON array.
fn numbers(text: &str) -> Option<Vec<f64>> {
    serde_json::from_str(text).ok()
}

/// As much of a file's text as a sentence can show.
fn quotable(text: &str) -> String {
    text.chars().take(QUOTED_CHARACTERS_MAX).collect()
}

fn expect_count(what: &'static str, got: usize, expected: usize) -> Result<(), ModelFault> {
    if got == expected { Ok(()) } else { Err(ModelFault::Count { what, got, expected }) }
}

/// A regular file's bytes, if they are no more than a model has.
fn bytes_of(path: &Path) -> Result<Vec<u8>, ModelFault> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ModelFault::NotFound,
        _ => ModelFault::Unreadable { cause: error.to_string() },
    };
    // Before it is opened: to open a pipe would wait for its writer.
    let there = fs::metadata(path).map_err(unreadable)?;
    if !there.is_file() {
        return Err(ModelFault::NotAFile);
    }
    if there.len() > FILE_BYTES_MAX {
        return Err(ModelFault::TooLarge);
    }
    let mut bytes = Vec::new();
    // A file that grows meanwhile is cut off, and then found to be damaged.
    File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

/// Puts a file of these bytes at `path`, in one step.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ModelFault> {
    // A rename would also replace a link, a device such as /dev/null, and the name of what is open.
    let is_replaceable =
        |path: &PathBuf| path.file_name().is_some() && fs::metadata(path).map_or(true, |there| there.is_file());
    let path = &disk::name_of(path).filter(is_replaceable).ok_or(ModelFault::NotAFile)?;
    let unwritable = |cause: &dyn fmt::Display| ModelFault::Unwritable { cause: cause.to_string() };
    let mut options = tempfile::Builder::new();
    options.prefix(".gradwire-").suffix(".part");
    // As any other file, by the user's umask: a temporary file is its owner's alone otherwise.
    options.permissions(fs::Permissions::from_mode(0o666));
    let part = options.tempfile_in(disk::directory_of(path)).map_err(|error| unwritable(&error))?;
    disk::keep_mode(path, part.as_file()).map_err(|error| unwritable(&error))?;
    // What has not become the model is removed.
    let (file, part) = part.into_parts();
    disk::replace(&System, &file, &part, path, &[bytes]).map_err(|error| unwritable(&error))?;
    part.keep().map(drop).map_err(|error| unwritable(&error.error))
}

#[cfg(test)]
mod tests;
