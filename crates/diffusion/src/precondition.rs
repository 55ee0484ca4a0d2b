//! Preconditioning: a denoiser made of a raw network.
//!
//! EDM's own preconditioner; others (VP, VE, iDDPM) are further implementations of [`Denoiser`] over a network.
//! Source: EDM (arXiv 2206.00364), section 5 and Table 1, column "Ours"; the coordinates are concatenated after
//! the scaling by `c_in` (Patch Diffusion, section 3.1), so they are neither scaled, noised nor predicted.

use patchwork_networks::Network;
use tch::{Kind, Tensor};

use crate::{Conditioning, Denoiser};

/// A network under EDM's preconditioning: `D(x; σ) = c_skip x + c_out F(c_in x, positions; c_noise)`.
pub struct EdmDenoiser {
    /// The raw network F.
    pub network: Network,
    /// Standard deviation of the data, in data units.
    pub sigma_data: f64,
    /// Number format in which F runs; x, σ and D are f32 whatever it is.
    pub precision: Kind,
    /// Whether F drops activations (training) or not (evaluation).
    pub train: bool,
}

impl EdmDenoiser {
    /// Wraps a network for evaluation in f32, with the standard deviation of the data from its configuration.
    pub fn new(network: Network) -> Self {
        Self {
            sigma_data: network.config().sigma_data,
            network,
            precision: Kind::Float,
            train: false,
        }
    }
}

impl Denoiser for EdmDenoiser {
    fn denoise(&self, noisy: &Tensor, sigma: &Tensor, conditioning: &Conditioning) -> Tensor {
        let x = noisy.to_kind(Kind::Float);
        let images = x.size()[0];
        let sigma = sigma.to_kind(Kind::Float).reshape([-1, 1, 1, 1]);
        let data_variance = self.sigma_data * self.sigma_data;
        let variance = sigma.square() + data_variance;
        let deviation = variance.sqrt();
        let c_skip = variance.reciprocal() * data_variance;
        let c_out = &sigma * self.sigma_data / &deviation;
        let c_in = deviation.reciprocal();
        let c_noise = (sigma.log() / 4.0).reshape([-1]).expand([images], false);

        let scaled = &x * c_in;
        let input = match &conditioning.positions {
            Some(positions) => {
                let size = x.size();
                let positions = positions
                    .to_kind(Kind::Float)
                    .expand([images, 2, size[2], size[3]], false);
                Tensor::cat(&[scaled, positions], 1)
            }
            None => scaled,
        };
        let raw = self.network.forward(
            &input.to_kind(self.precision),
            &c_noise,
            conditioning.class_labels.as_ref(),
            conditioning.augment_labels.as_ref(),
            self.train,
        );
        c_skip * x + c_out * raw.to_kind(Kind::Float)
    }
}
