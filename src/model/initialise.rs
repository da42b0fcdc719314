//! The weights of round 0. Owns how they are drawn, and what becomes of given ones; does not know what comes of them.

use super::merge::LittleEndianF32;
use super::network::Network;
use super::random::{Purpose, Stream};
use super::recipe::Initialisation;
use super::thresholds::{VALUE_LEAST, cut};

/// The parameters that a job of this network and seed starts from, flat as [`Network`] says.
pub fn initialise(network: &Network, initialisation: Initialisation, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(Purpose::Initialise, seed, [0; 3]);
    let mut parameters = Vec::with_capacity(network.parameters());
    for layer in network.layers() {
        let (limit, drawn) = match initialisation {
            Initialisation::He => ((6.0 / layer.inputs as f32).sqrt(), layer.weights()),
            Initialisation::Small => (0.01, layer.weights() + layer.outputs),
        };
        for index in 0..layer.weights() + layer.outputs {
            parameters.push(if index < drawn { stream.symmetric(limit) } else { 0.0 });
        }
    }
    parameters
}

/// Whether given weights can be those of round 0 as they are: none is below 2^-40 in magnitude but +0.
pub fn are_fit_to_start_from(weights: &[LittleEndianF32]) -> bool {
    weights.iter().all(|weight| weight_to_start_from(*weight) == *weight)
}

/// Makes the weights of round 0 of given ones: those below 2^-40 in magnitude become +0.
pub fn make_fit_to_start_from(weights: &mut [LittleEndianF32]) {
    weights.iter_mut().for_each(|weight| *weight = weight_to_start_from(*weight));
}

fn weight_to_start_from(given: LittleEndianF32) -> LittleEndianF32 {
    cut(f32::from_le_bytes(given), VALUE_LEAST).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn he_draws_weights_by_the_layers_inputs_and_no_biases() {
        let network = Network::new(6, &[24], 2).unwrap();
        let parameters = initialise(&network, Initialisation::He, 7);
        assert_eq!(parameters.len(), network.parameters());
        let (first, second) = parameters.split_at(7 * 24);
        let widest = |values: &[f32]| values.iter().fold(0.0, |widest: f32, value| widest.max(value.abs()));
        assert!(widest(&first[..6 * 24]) <= 1.0 && widest(&first[..6 * 24]) > 0.9);
        assert!(widest(&second[..24 * 2]) <= 0.5 && widest(&second[..24 * 2]) > 0.4);
        assert!(first[6 * 24..].iter().chain(&second[24 * 2..]).all(|bias| bias.to_bits() == 0));
    }

    #[test]
    fn small_draws_every_parameter_within_a_hundredth() {
        let network = Network::new(3, &[5], 4).unwrap();
        let parameters = initialise(&network, Initialisation::Small, 7);
        assert_eq!(parameters.len(), network.parameters());
        assert!(parameters.iter().all(|value| value.abs() <= 0.01 && *value != 0.0));
        assert_ne!(parameters, initialise(&network, Initialisation::Small, 8));
    }

    #[test]
    fn given_weights_are_taken_with_plus_zero_for_what_is_too_small() {
        let mut weights = [1.0, 1e-12, -1e-13, -0.0, 1e-42].map(f32::to_le_bytes);
        assert!(!are_fit_to_start_from(&weights));
        make_fit_to_start_from(&mut weights);
        assert_eq!(weights, [1.0, 1e-12, 0.0, 0.0, 0.0].map(f32::to_le_bytes));
        assert!(are_fit_to_start_from(&weights));
        for initialisation in [Initialisation::He, Initialisation::Small] {
            let network = Network::new(300, &[300], 7).unwrap();
            let drawn = initialise(&network, initialisation, 3);
            assert!(are_fit_to_start_from(&drawn.into_iter().map(f32::to_le_bytes).collect::<Vec<_>>()));
        }
    }
}
