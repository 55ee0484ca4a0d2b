//! The copy of the weights that forward and backward run on below float32.
//!
//! The float32 weights stay with the optimiser. Once a step they are cast as one buffer, and the gradients of a round
//! are added to the optimiser's as one buffer: casting each weight where it is used costs several passes over all
//! weights in a few hundred small operations, a sixth of a step of small patches.

use tch::{Kind, Tensor};

use crate::flat::{FlatGradients, for_each_block, move_into};
use crate::{Adam, NetworkDenoiser};

/// A network in another precision beside the one that an optimiser trains, under the same preconditioning.
pub(crate) struct ComputeCopy {
    denoiser: NetworkDenoiser,
    values: Tensor,
    gradients: FlatGradients,
}

impl ComputeCopy {
    /// A copy in the precision of `denoiser`, whose parameters `optimizer` holds; none for float32.
    pub(crate) fn of(denoiser: &NetworkDenoiser, optimizer: &Adam) -> Option<Self> {
        let kind = denoiser.precision;
        if matches!(kind, Kind::Float | Kind::Double) {
            return None;
        }
        let network = denoiser.network.to_training_copy(kind);
        let layout = optimizer.layout();
        let device = optimizer.values().device();
        let values = layout.zeros(kind, device);
        let mut parameters: Vec<Tensor> = network
            .parameters()
            .into_iter()
            .map(|parameter| parameter.tensor)
            .collect();
        // Shared parameters are float32 and stay the optimiser's; their place in the buffers is not used.
        let layout = layout.only(|index| parameters[index].kind() == kind);
        parameters.retain(|parameter| parameter.kind() == kind);
        move_into(&layout, &values, &mut parameters);
        Some(Self {
            denoiser: NetworkDenoiser {
                network,
                ..*denoiser
            },
            gradients: FlatGradients::new(&layout, parameters, kind, device),
            values,
        })
    }

    /// The network to run.
    pub(crate) fn denoiser(&self) -> &NetworkDenoiser {
        &self.denoiser
    }

    /// Takes over the optimiser's weights.
    pub(crate) fn refresh(&mut self, optimizer: &Adam) {
        tch::no_grad(|| self.values.copy_(optimizer.values()));
    }

    /// Adds the gradients of a round to the optimiser's, and forgets them.
    pub(crate) fn hand_over(&mut self, optimizer: &mut Adam) {
        self.gradients.gather();
        tch::no_grad(|| {
            let buffers = [&*optimizer.gradients(), &self.gradients.buffer];
            for_each_block(buffers, |[mut sum, mut gradients]| {
                sum += gradients.to_kind(Kind::Float);
                let _ = gradients.zero_();
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use patchwork_networks::Network;
    use tch::Device;

    use super::*;
    use crate::loss::LossOptions;
    use crate::{
        AdamOptions, EmaProfile, ImageClock, LearningRate, Round, Side, StepPlan, TrainOptions,
        TrainStep,
    };

    const SIDE: Side = Side::square(8, 1);

    /// For a test that holds libtorch's generator.
    fn training(precision: Kind) -> TrainStep {
        let config = serde_json::from_str(
            r#"{"arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
                "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 16,
                "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1,
                "sigma_data": 0.5}"#,
        )
        .unwrap();
        let network = Network::new(&config, Device::Cpu, 5).unwrap();
        // Fresh networks end in weights of nearly zero, which would leave most others without gradients.
        let weights: BTreeMap<String, Tensor> = (0..)
            .zip(network.named_tensors())
            .map(|(index, entry)| {
                let count = entry.tensor.numel() as i64;
                let values =
                    (Tensor::arange(count, (Kind::Float, Device::Cpu)) + index).sin() * 0.2;
                let values = values.reshape(entry.tensor.size());
                let is_filter = entry.name.ends_with("filter");
                (entry.name, if is_filter { entry.tensor } else { values })
            })
            .collect();
        network.load(&weights).unwrap();
        let denoiser = NetworkDenoiser {
            precision,
            ..NetworkDenoiser::new(network)
        };
        let options = TrainOptions {
            batch_per_rank: 4,
            loss_scaling: 1.0,
            learning_rate: LearningRate {
                rate: 1e-3,
                rampup_images: 0,
                decay: None,
            },
            max_gradient_norm: None,
            loss: LossOptions::default(),
            adam: AdamOptions::default(),
        };
        let clock = ImageClock {
            batch_size: 4,
            images_seen: 0,
        };
        let average = EmaProfile::HalfLife {
            images: 8,
            rampup_ratio: None,
        };
        TrainStep::new(denoiser, options, &[average], clock)
    }

    /// Two images, other ones for each index.
    fn round(index: i64) -> Round {
        let numbers = |count: i64, factor: f64| {
            ((Tensor::arange(count, (Kind::Float, Device::Cpu)) + index * 1000) * factor).sin()
        };
        Round {
            patches: numbers(2 * 3 * 64, 0.37).reshape([2, 3, 8, 8]),
            rows: vec![0, 8],
            cols: vec![3, index],
            class_labels: None,
            augment_labels: None,
            rnd_normal: numbers(2, 1.3),
            noise: numbers(2 * 3 * 64, 1.9).reshape([2, 3, 8, 8]) * 1.4,
            dropout_seed: Some(index),
        }
    }

    /// The gradients of a step of two rounds, by parameter.
    fn gradients(precision: Kind) -> BTreeMap<String, Tensor> {
        let _guard = crate::latents::seeded(1);
        let mut training = training(precision);
        training.begin();
        for index in 0..2 {
            training.accumulate(&round(index), SIDE);
        }
        let buffer = training.optimizer.gradients().copy();
        training.optimizer.layout().to_tensors(&buffer, "")
    }

    #[test]
    fn gradients_are_those_of_float32_up_to_rounding() {
        let (full, half) = (gradients(Kind::Float), gradients(Kind::BFloat16));
        let (mut error_squared, mut norm_squared) = (0.0, 0.0);
        for (name, full) in &full {
            let norm = full.norm().double_value(&[]);
            let error = (&half[name] - full).norm().double_value(&[]);
            // Softmax does not see a vector that is added to all keys: a third of these biases has rounding for
            // gradient. A gradient left out, doubled or without its factor of √½ is off by more than a quarter.
            let limit = if name.ends_with("qkv.bias") {
                0.5
            } else {
                0.25
            };
            assert!(
                norm > 0.0 && error < limit * norm,
                "{name}: {error} of {norm}"
            );
            error_squared += error * error;
            norm_squared += norm * norm;
        }
        let error = (error_squared / norm_squared).sqrt();
        assert!(error < 0.02, "{error} of all");
    }

    #[test]
    fn steps_move_the_float32_weights_alike_each_time() {
        let run = || {
            let _guard = crate::latents::seeded(1);
            let mut training = training(Kind::BFloat16);
            let before = training.optimizer.values().copy();
            let plan = StepPlan {
                side: SIDE,
                images_multiplier: 1.0,
            };
            for _ in 0..3 {
                let Ok(report) =
                    training.run(plan, 2, |index, _| Ok::<_, Infallible>(round(index as i64)));
                assert!(report.loss.is_finite());
            }
            let values = training.optimizer.values().copy();
            assert_eq!(values.kind(), Kind::Float);
            let moved = (&values - before).abs().max().double_value(&[]);
            // Adam's first steps are of the size of the rate, which bfloat16 weights could not hold.
            assert!(moved > 1e-3 && moved < 4e-3, "{moved}");
            values
        };
        assert!(run().equal(&run()));
    }
}
