//! The shape of a network and where its parameters lie. Owns layer sizes and their limits; does not know how a layer is
//! computed.

use std::fmt;

use super::input_layout::{InputLayout, InputLayoutError};

/// Inputs of a network, at most.
pub const INPUTS_MAX: u32 = 1 << 20;
/// Outputs of a hidden layer, at most.
pub const HIDDEN_WIDTH_MAX: u32 = 1 << 20;
/// Hidden layers, at most.
pub const HIDDEN_LAYERS_MAX: usize = 64;
/// Outputs of a network, classes or targets, at most.
pub const CLASSES_MAX: u32 = 65_535;
/// Parameters of a network, at most: 512 MiB as f32.
pub const PARAMETERS_MAX: u64 = 1 << 27;

/// A multilayer perceptron's shape: inputs, and how they are written in rows, hidden layers, outputs.
///
/// The parameters of a model are one flat slice of f32: for each layer in order its weights, row-major
/// `[inputs][outputs]`, then its bias `[outputs]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    inputs: InputLayout,
    hidden: Vec<u32>,
    outputs: u32,
}

/// One fully connected layer, and where its parameters begin in the flat slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Values that come in.
    pub inputs: usize,
    /// Values that go out.
    pub outputs: usize,
    /// Index of the first weight in the flat parameters; the bias follows the weights.
    pub offset: usize,
}

impl Layer {
    /// Number of weights: inputs x outputs.
    pub fn weights(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Weights and biases.
    pub fn parameters(&self) -> usize {
        self.weights() + self.outputs
    }

    /// Index of the first bias in the flat parameters.
    pub fn bias_offset(&self) -> usize {
        self.offset + self.weights()
    }
}

impl Network {
    /// A network of these sizes, if every size and their product is within the limits.
    pub fn new(inputs: u32, hidden: &[u32], outputs: u32) -> Result<Network, NetworkError> {
        if inputs == 0 || inputs > INPUTS_MAX {
            return Err(NetworkError::Inputs { got: inputs });
        }
        if !(1..=CLASSES_MAX).contains(&outputs) {
            return Err(NetworkError::Classes { got: outputs });
        }
        if hidden.len() > HIDDEN_LAYERS_MAX {
            return Err(NetworkError::HiddenLayers { got: hidden.len() });
        }
        if let Some(&got) = hidden.iter().find(|&&width| width == 0 || width > HIDDEN_WIDTH_MAX) {
            return Err(NetworkError::HiddenWidth { got });
        }
        let network = Network { inputs: InputLayout::plain(inputs), hidden: hidden.to_vec(), outputs };
        // In u64: widths of 2^20 multiply to 2^40 before the cap is checked.
        let sizes = (0..=hidden.len()).filter_map(|index| network.size(index));
        let parameters: u64 = sizes.map(|(inputs, outputs)| (u64::from(inputs) + 1) * u64::from(outputs)).sum();
        if parameters > PARAMETERS_MAX {
            return Err(NetworkError::Parameters { got: parameters });
        }
        Ok(network)
    }

    /// The same with index columns, [before, levels] each, where they fit its inputs.
    pub fn with_index_columns(self, columns: &[[u32; 2]]) -> Result<Network, NetworkError> {
        let inputs = InputLayout::new(self.inputs(), columns).map_err(NetworkError::Layout)?;
        Ok(Network { inputs, ..self })
    }

    /// Features of a row.
    pub fn inputs(&self) -> u32 {
        self.inputs.inputs()
    }

    /// How they are written in rows of data.
    pub fn input_layout(&self) -> &InputLayout {
        &self.inputs
    }

    /// Widths of the hidden layers, from the input on; may be empty.
    pub fn hidden(&self) -> &[u32] {
        &self.hidden
    }

    /// What the last layer puts out: one value for each class or target.
    pub fn outputs(&self) -> u32 {
        self.outputs
    }

    /// Number of parameters, weights and biases.
    pub fn parameters(&self) -> usize {
        self.layers().last().map_or(0, |layer| layer.bias_offset() + layer.outputs)
    }

    /// The layers from the input to the outputs.
    pub fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        Layers { network: self, index: 0, offset: 0 }
    }

    /// Inputs and outputs of a layer, if there is one of this index.
    #[inline(never)] // It is asked for in a dozen places.
    fn size(&self, index: usize) -> Option<(u32, u32)> {
        let outputs = match self.hidden.get(index) {
            Some(width) => *width,
            None if index == self.hidden.len() => self.outputs,
            None => return None,
        };
        Some((if index == 0 { self.inputs() } else { self.hidden[index - 1] }, outputs))
    }
}

/// The layers of a network that are still to come.
struct Layers<'a> {
    network: &'a Network,
    index: usize,
    offset: usize,
}

impl Iterator for Layers<'_> {
    type Item = Layer;

    fn next(&mut self) -> Option<Layer> {
        let (inputs, outputs) = self.network.size(self.index)?;
        let layer = Layer { inputs: inputs as usize, outputs: outputs as usize, offset: self.offset };
        self.index += 1;
        self.offset = layer.bias_offset() + layer.outputs;
        Some(layer)
    }
}

impl fmt::Display for Network {
    /// `16-128-26`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inputs())?;
        for width in &self.hidden {
            write!(f, "-{width}")?;
        }
        write!(f, "-{}", self.outputs)
    }
}

/// Why sizes make no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// No inputs, or more than [`INPUTS_MAX`].
    Inputs {
        /// Inputs asked for.
        got: u32,
    },
    /// No outputs, or fewer than two where they are classes, or more than [`CLASSES_MAX`].
    Classes {
        /// Classes asked for.
        got: u32,
    },
    /// More hidden layers than [`HIDDEN_LAYERS_MAX`].
    HiddenLayers {
        /// Layers asked for.
        got: usize,
    },
    /// A hidden layer of no or more than [`HIDDEN_WIDTH_MAX`] outputs.
    HiddenWidth {
        /// Width asked for.
        got: u32,
    },
    /// More parameters than [`PARAMETERS_MAX`].
    Parameters {
        /// Parameters that the sizes come to.
        got: u64,
    },
    /// Index columns that do not fit the inputs.
    Layout(InputLayoutError),
}

impl NetworkError {
    /// The value, and the limit that it passes.
    pub fn got_and_limit(&self) -> (u64, u64) {
        match *self {
            Self::Inputs { got } => (got.into(), got.clamp(1, INPUTS_MAX).into()),
            Self::Classes { got } => (got.into(), got.clamp(2, CLASSES_MAX).into()),
            Self::HiddenLayers { got } => (got as u64, HIDDEN_LAYERS_MAX as u64),
            Self::HiddenWidth { got } => (got.into(), got.clamp(1, HIDDEN_WIDTH_MAX).into()),
            Self::Parameters { got } => (got, PARAMETERS_MAX),
            Self::Layout(error) => error.got_and_limit(),
        }
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inputs { got } => write!(f, "a network takes 1 to {INPUTS_MAX} inputs, not {got}"),
            Self::Classes { got } => write!(f, "a network tells 2 to {CLASSES_MAX} classes apart, not {got}"),
            Self::HiddenLayers { got } => {
                write!(f, "a network has at most {HIDDEN_LAYERS_MAX} hidden layers, not {got}")
            }
            Self::HiddenWidth { got } => {
                write!(f, "a hidden layer has 1 to {HIDDEN_WIDTH_MAX} outputs, not {got}")
            }
            Self::Parameters { got } => write!(
                f,
                "this network has {got} parameters, and at most {PARAMETERS_MAX} are allowed: take narrower hidden layers"
            ),
            Self::Layout(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_lie_one_behind_the_other() {
        let network = Network::new(16, &[20, 8], 26).unwrap();
        let layers: Vec<Layer> = network.layers().collect();
        assert_eq!(layers[0], Layer { inputs: 16, outputs: 20, offset: 0 });
        assert_eq!(layers[1], Layer { inputs: 20, outputs: 8, offset: 340 });
        assert_eq!(layers[2], Layer { inputs: 8, outputs: 26, offset: 508 });
        assert_eq!(network.parameters(), 508 + 9 * 26);
        assert_eq!(network.to_string(), "16-20-8-26");
    }

    #[test]
    fn sizes_beyond_the_limits_are_refused_before_anything_overflows() {
        assert_eq!(Network::new(0, &[], 2), Err(NetworkError::Inputs { got: 0 }));
        assert_eq!(Network::new(1, &[], 0), Err(NetworkError::Classes { got: 0 }));
        assert_eq!(Network::new(1, &[], 65_536), Err(NetworkError::Classes { got: 65_536 }));
        assert_eq!(Network::new(1, &[4, 0], 2), Err(NetworkError::HiddenWidth { got: 0 }));
        assert_eq!(Network::new(1, &[1; 65], 2), Err(NetworkError::HiddenLayers { got: 65 }));
        let huge = Network::new(1 << 20, &[1 << 20, 1 << 20], 2);
        assert!(matches!(huge, Err(NetworkError::Parameters { got }) if got > 1 << 40));
    }
}
