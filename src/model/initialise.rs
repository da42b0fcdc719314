//! The weights of round 0. Owns how they are drawn; does not know what comes of them.

use super::network::Network;
use super::random::{Purpose, Stream};
use super::recipe::Initialisation;

/// The parameters that a job of this network and seed starts from, flat as [`Network`] says.
pub fn initialise(network: &Network, initialisation: Initialisation, seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(Purpose::Initialise, seed, [0; 3]);
    let mut parameters = Vec::with_capacity(network.parameters());
    for layer in network.layers() {
        match initialisation {
            Initialisation::He => {
                let limit = (6.0 / layer.inputs as f32).sqrt();
                parameters.extend((0..layer.weights()).map(|_| stream.symmetric(limit)));
                parameters.resize(parameters.len() + layer.outputs, 0.0);
            }
            Initialisation::Small => {
                parameters.extend((0..layer.weights() + layer.outputs).map(|_| stream.symmetric(0.01)));
            }
        }
    }
    parameters
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
}
