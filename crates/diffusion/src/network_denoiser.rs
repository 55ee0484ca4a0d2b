//! A denoiser made of a raw network and a preconditioning.

use patchwork_networks::{Dropout, Network, Preconditioning};
use tch::{Kind, Tensor};

use crate::precondition::{Coefficients, coefficients, round_sigma, sigma_range};
use crate::{Conditioning, Denoiser};

/// A network under its preconditioning: `D(x; σ) = c_skip x + c_out F(c_in x, positions; c_noise)`.
///
/// The coordinates are concatenated after the scaling by `c_in` under every preconditioning (Patch Diffusion,
/// arXiv 2304.12526, section 3.1), so they are neither scaled, noised nor predicted.
pub struct NetworkDenoiser {
    /// The raw network F.
    pub network: Network,
    /// The factors around it.
    pub preconditioning: Preconditioning,
    /// Standard deviation of the data, in data units; only EDM's preconditioning asks for it.
    pub sigma_data: f64,
    /// Number format in which F runs; x, σ and D are f32 whatever it is.
    pub precision: Kind,
    /// What F drops in training; none in evaluation.
    pub dropout: Option<Dropout>,
}

impl NetworkDenoiser {
    /// Wraps a network for evaluation in f32, under the preconditioning and with the standard deviation of the data
    /// that its configuration names.
    pub fn new(network: Network) -> Self {
        Self {
            preconditioning: network.config().preconditioning,
            sigma_data: network.config().sigma_data,
            network,
            precision: Kind::Float,
            dropout: None,
        }
    }
}

impl Denoiser for NetworkDenoiser {
    fn denoise(&self, noisy: &Tensor, sigma: &Tensor, conditioning: &Conditioning) -> Tensor {
        let x = noisy.to_kind(Kind::Float);
        let images = x.size()[0];
        let Coefficients {
            c_skip,
            c_out,
            c_in,
            c_noise,
        } = coefficients(self.preconditioning, sigma, self.sigma_data);
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
            &input,
            &c_noise.expand([images], false),
            conditioning.class_labels.as_ref(),
            conditioning.augment_labels.as_ref(),
            self.precision,
            self.dropout.as_ref(),
        );
        c_skip * x + c_out * raw.to_kind(Kind::Float)
    }

    fn sigma_range(&self) -> (f64, f64) {
        sigma_range(self.preconditioning)
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        round_sigma(self.preconditioning, sigma)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{LossOptions, patch_loss, scalar_loss};
    use crate::patches::patch_positions;
    use tch::Device;

    const ALL: [Preconditioning; 4] = [
        Preconditioning::Edm,
        Preconditioning::Vp,
        Preconditioning::Ve,
        Preconditioning::Iddpm,
    ];

    fn network(preconditioning: Preconditioning) -> Network {
        let mut settings = serde_json::json!({
            "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 8,
            "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.0, "sigma_data": 0.5
        });
        settings["preconditioning"] = serde_json::to_value(preconditioning).unwrap();
        let network = Network::new(&serde_json::from_value(settings).unwrap(), Device::Cpu, 3);
        let network = network.unwrap();
        // The last convolution begins near zero; F has to matter here.
        for mut parameter in network.parameters() {
            let _ = tch::no_grad(|| parameter.tensor.g_add_scalar_(0.02));
        }
        network
    }

    #[test]
    fn patches_go_in_scaled_and_coordinates_unscaled() {
        let sigma = Tensor::from_slice(&[0.05, 3.0]);
        let x = Tensor::arange(2 * 3 * 64, (Kind::Float, Device::Cpu)).sin() * 2.0;
        let x = x.reshape([2, 3, 8, 8]);
        let positions = patch_positions(&[0, 5], &[8, 1], 8, 8, 16, 16, Device::Cpu);
        for preconditioning in ALL {
            let denoiser = NetworkDenoiser::new(network(preconditioning));
            let factors = coefficients(preconditioning, &sigma, 0.5);
            let conditioning = Conditioning {
                positions: Some(positions.shallow_clone()),
                ..Conditioning::default()
            };
            let (denoised, expected) = tch::no_grad(|| {
                let input = Tensor::cat(&[&x * &factors.c_in, positions.shallow_clone()], 1);
                let raw = denoiser.network.forward(
                    &input,
                    &factors.c_noise,
                    None,
                    None,
                    Kind::Float,
                    None,
                );
                (
                    denoiser.denoise(&x, &sigma, &conditioning),
                    &x * factors.c_skip + raw * factors.c_out,
                )
            });
            let error = (denoised - &expected).norm() / expected.norm();
            assert!(error.double_value(&[]) < 1e-6, "{preconditioning:?}");
        }
    }

    #[test]
    fn every_preconditioning_trains_on_patches() {
        let patches = Tensor::arange(3 * 3 * 64, (Kind::Float, Device::Cpu)).sin();
        let patches = patches.reshape([3, 3, 8, 8]);
        let noise = (Tensor::arange(3 * 3 * 64, (Kind::Float, Device::Cpu)) * 1.7).cos();
        for preconditioning in ALL {
            let denoiser = NetworkDenoiser::new(network(preconditioning));
            let conditioning = Conditioning {
                positions: Some(patch_positions(
                    &[0, 5, 8],
                    &[8, 1, 8],
                    8,
                    8,
                    16,
                    16,
                    Device::Cpu,
                )),
                ..Conditioning::default()
            };
            let options = LossOptions {
                preconditioning,
                ..LossOptions::default()
            };
            let draws = Tensor::from_slice(&[-2.5_f32, 0.0, 2.5]);
            let noise = noise.reshape([3, 3, 8, 8]);
            let loss = patch_loss(&denoiser, &patches, &draws, &noise, &conditioning, &options);
            let scalar = scalar_loss(&loss, 1.0, 3);
            scalar.backward();
            assert!(scalar.double_value(&[]).is_finite(), "{preconditioning:?}");
            for parameter in denoiser.network.parameters() {
                let name = &parameter.name;
                // Coordinates are at hand, augmentation labels and classes are not.
                let gradient = parameter.tensor.grad();
                assert!(gradient.defined(), "{preconditioning:?} {name}");
                let norm = gradient.norm().double_value(&[]);
                assert!(norm.is_finite(), "{preconditioning:?} {name}: {norm}");
            }
        }
    }
}
