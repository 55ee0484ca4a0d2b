//! Adam on one flat buffer, with a state that can be saved and resumed exactly.
//!
//! Source: Kingma and Ba, arXiv 1412.6980, Algorithm 1, as PyTorch computes it, without weight decay.

use std::collections::BTreeMap;

use patchwork_libtorch::optimizer::{AdamUpdate, fused_adam};
use patchwork_networks::Parameter;
use tch::{Device, Kind, Tensor};

use crate::DiffusionError;
use crate::flat::{FlatGradients, FlatLayout, for_each_block, move_into};

const FIRST_MOMENT: &str = "optimizer.m/";
const SECOND_MOMENT: &str = "optimizer.v/";
const STEP: &str = "optimizer.step";

/// Adam's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamOptions {
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// What is added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for AdamOptions {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
        }
    }
}

/// What cleaning found in the gradients, as tensors on their device: reading them waits for the device.
#[derive(Debug)]
pub struct GradientReport {
    /// Euclidean norm of the cleaned gradients before clipping, loss scaling undone; a scalar.
    pub norm: Tensor,
    /// Share of the elements that were NaN or infinite, in [0, 1]; a scalar.
    pub cleaned_share: Tensor,
}

/// Adam over a network's parameters, whose storage it moves into one buffer.
///
/// The network must not be given other storage afterwards; copying weights into it is fine.
pub struct Adam {
    options: AdamOptions,
    layout: FlatLayout,
    values: Tensor,
    gradients: FlatGradients,
    first_moment: Tensor,
    second_moment: Tensor,
    step: i64,
    is_fused: bool,
}

impl Adam {
    /// Takes over the parameters (f32, all on one device): each becomes a view into the flat buffer.
    pub fn new(parameters: Vec<Parameter>, options: AdamOptions) -> Self {
        let layout = FlatLayout::new(&parameters);
        let device = parameters
            .first()
            .map_or(Device::Cpu, |parameter| parameter.tensor.device());
        let values = layout.zeros(Kind::Float, device);
        let mut tensors: Vec<Tensor> = parameters
            .into_iter()
            .map(|parameter| parameter.tensor)
            .collect();
        move_into(&layout, &values, &mut tensors);
        Self {
            options,
            first_moment: layout.zeros(Kind::Float, device),
            second_moment: layout.zeros(Kind::Float, device),
            gradients: FlatGradients::new(&layout, tensors, Kind::Float, device),
            layout,
            values,
            step: 0,
            is_fused: false,
        }
    }

    /// Has updates made by libtorch's fused kernel: the same mathematics in one pass over the buffers, rounded otherwise.
    #[must_use]
    pub fn fused(mut self) -> Self {
        self.is_fused = true;
        self
    }

    /// Where the parameters lie.
    pub fn layout(&self) -> &FlatLayout {
        &self.layout
    }

    /// The parameters as one buffer.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// Everything that a saved state holds, but for the number of the step: parameters, first and second moments.
    pub fn buffers(&self) -> [&Tensor; 3] {
        [&self.values, &self.first_moment, &self.second_moment]
    }

    /// The gradients as one buffer, after [`Adam::gather`] and until [`Adam::update`], which uses it up.
    pub fn gradients(&mut self) -> &mut Tensor {
        &mut self.gradients.buffer
    }

    /// Forgets all gradients.
    pub fn zero_grad(&mut self) {
        self.gradients.zero();
    }

    /// Brings all gradients into the flat buffer; parameters without one count as zero.
    pub fn gather(&mut self) {
        self.gradients.gather();
    }

    /// Replaces NaN by 0, +∞ by 1e5 and -∞ by -1e5, then scales the gradients down to `max_norm` if they exceed it.
    ///
    /// `loss_scaling` is the factor that the loss was multiplied by: norms are those of the unscaled gradients.
    pub fn clean(&mut self, max_norm: Option<f64>, loss_scaling: f64) -> GradientReport {
        tch::no_grad(|| {
            let gradients = &mut self.gradients.buffer;
            let mut norm = gradients.norm();
            let mut cleaned_share = Tensor::zeros([], (Kind::Double, gradients.device()));
            // A finite norm has no other elements; reading it would keep other devices waiting.
            if gradients.device() != Device::Cpu || !norm.double_value(&[]).is_finite() {
                let count = gradients.isfinite().logical_not().sum(Kind::Double);
                cleaned_share = count / i64::max(self.layout.elements(), 1) as f64;
                let _ = gradients.nan_to_num_(0.0, 1e5, -1e5);
                norm = gradients.norm();
            }
            let norm = norm / loss_scaling;
            if let Some(max_norm) = max_norm {
                let factor = (max_norm / (&norm + 1e-6)).clamp_max(1.0);
                *gradients *= factor;
            }
            GradientReport {
                norm,
                cleaned_share,
            }
        })
    }

    /// One step of Adam with the gathered gradients, whose buffer serves as scratch.
    ///
    /// # Panics
    /// With libtorch's errors.
    pub fn update(&mut self, learning_rate: f64) {
        self.step += 1;
        if self.is_fused {
            return self.update_fused(learning_rate);
        }
        let AdamOptions {
            beta1,
            beta2,
            epsilon,
        } = self.options;
        let correction1 = 1.0 - beta1.powf(self.step as f64);
        let correction2 = 1.0 - beta2.powf(self.step as f64);
        // lr / c1 · m / (√(v / c2) + ε), multiplied above and below by √c2.
        let rate = -learning_rate * correction2.sqrt() / correction1;
        let epsilon = epsilon * correction2.sqrt();
        let buffers = [
            &self.values,
            &self.gradients.buffer,
            &self.first_moment,
            &self.second_moment,
        ];
        tch::no_grad(|| {
            for_each_block(
                buffers,
                |[mut values, mut scratch, mut first, mut second]| {
                    let _ = first.lerp_(&scratch, 1.0 - beta1);
                    let _ = scratch.square_();
                    let _ = second.lerp_(&scratch, 1.0 - beta2);
                    let _ = second.sqrt_out(&scratch);
                    scratch += epsilon;
                    let _ = values.addcdiv_(&(first * rate), &scratch);
                },
            );
        });
    }

    fn update_fused(&mut self, learning_rate: f64) {
        let AdamOptions {
            beta1,
            beta2,
            epsilon,
        } = self.options;
        let update = AdamUpdate {
            step: self.step,
            learning_rate,
            beta1,
            beta2,
            epsilon,
        };
        let moments = [&mut self.first_moment, &mut self.second_moment];
        if let Err(error) = fused_adam(&mut self.values, &self.gradients.buffer, moments, &update) {
            panic!("{error}");
        }
    }

    /// Steps made so far.
    pub fn step_count(&self) -> i64 {
        self.step
    }

    /// The state, as views, under the names `optimizer.m/…`, `optimizer.v/…` and `optimizer.step`.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = self.layout.named_views(&self.first_moment, FIRST_MOMENT);
        state.extend(self.layout.named_views(&self.second_moment, SECOND_MOMENT));
        state.insert(STEP.to_owned(), Tensor::from_slice(&[self.step]));
        state
    }

    /// Continues from a saved state; other names in it are left alone.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<(), DiffusionError> {
        let step = state
            .get(STEP)
            .ok_or_else(|| DiffusionError::MissingState(STEP.to_owned()))?;
        if step.size() != [1] {
            return Err(DiffusionError::StateShape {
                name: STEP.to_owned(),
                expected: vec![1],
                found: step.size(),
            });
        }
        self.layout.load(&self.first_moment, state, FIRST_MOMENT)?;
        self.layout
            .load(&self.second_moment, state, SECOND_MOMENT)?;
        self.step = step.int64_value(&[0]);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    fn parameters() -> Vec<Parameter> {
        [("weight", [3, 2]), ("unused", [2, 2])]
            .map(|(name, shape)| Parameter {
                name: name.to_owned(),
                tensor: Tensor::ones(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true),
            })
            .into()
    }

    fn backward(tensor: &Tensor, factor: f64) {
        let weights = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([3, 2]);
        (tensor * weights * factor).sum(Kind::Float).backward();
    }

    #[test]
    fn the_first_step_is_the_sign_and_rounds_accumulate() {
        let given = parameters();
        let weight = given[0].tensor.shallow_clone();
        let mut adam = Adam::new(given, AdamOptions::default());
        for _ in 0..2 {
            adam.zero_grad();
            backward(&weight, 1.0);
            backward(&weight, 2.0);
            adam.gather();
            let report = adam.clean(None, 3.0);
            assert!((report.norm.double_value(&[]) - 55_f64.sqrt()).abs() < 1e-5);
            assert_eq!(report.cleaned_share.double_value(&[]), 0.0);
            adam.update(0.25);
        }
        assert_eq!(weight.double_value(&[0, 0]), 1.0);
        assert!((weight.double_value(&[2, 1]) - 0.5).abs() < 1e-6);
        assert_eq!(adam.step_count(), 2);
    }

    #[test]
    fn bad_gradients_are_cleaned_counted_and_clipped() {
        let given = parameters();
        let weight = given[0].tensor.shallow_clone();
        let mut adam = Adam::new(given, AdamOptions::default());
        let factors = Tensor::from_slice(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0., 0., 1.]);
        (&weight * factors.reshape([3, 2]))
            .sum(Kind::Float)
            .backward();
        adam.gather();
        let report = adam.clean(Some(1.0), 1.0);
        assert_eq!(report.cleaned_share.double_value(&[]), 0.3);
        assert!((report.norm.double_value(&[]) - 1e5 * 2_f64.sqrt()).abs() < 1.0);
        assert!((adam.gradients().norm().double_value(&[]) - 1.0).abs() < 1e-5);
    }

    /// Rounded otherwise, by a few parts in ten million of a step.
    #[test]
    fn fused_updates_are_the_same_steps() {
        let run = |is_fused: bool| {
            let given = parameters();
            let weight = given[0].tensor.shallow_clone();
            let adam = Adam::new(given, AdamOptions::default());
            let mut adam = if is_fused { adam.fused() } else { adam };
            for step in 0..20 {
                adam.zero_grad();
                backward(&weight, f64::from(step + 1).sin());
                adam.gather();
                adam.update(0.1);
            }
            let state = adam.state().into_iter();
            let mut found: BTreeMap<String, Tensor> =
                state.map(|(name, tensor)| (name, tensor.copy())).collect();
            found.insert("weight".to_owned(), weight.detach().copy());
            found
        };
        let [plain, fused] = [false, true].map(run);
        for (name, plain) in &plain {
            assert!(fused[name].allclose(plain, 1e-5, 1e-7, false), "{name}");
        }
        assert!(!plain["weight"].allclose(
            &Tensor::ones([3, 2], (Kind::Float, Device::Cpu)),
            0.1,
            0.0,
            false
        ));
    }

    #[test]
    fn a_loaded_state_continues_to_the_last_bit() {
        let run = |split: bool| {
            let given = parameters();
            let weight = given[0].tensor.shallow_clone();
            let mut adam = Adam::new(given, AdamOptions::default());
            for step in 0..6 {
                if split && step == 3 {
                    let state = adam.state().into_iter();
                    let saved: BTreeMap<String, Tensor> =
                        state.map(|(name, tensor)| (name, tensor.copy())).collect();
                    assert_eq!(parameters().len() * 2 + 1, saved.len());
                    let _ = adam.first_moment.zero_();
                    let _ = adam.second_moment.zero_();
                    adam.step = 0;
                    adam.load_state(&saved).unwrap();
                }
                adam.zero_grad();
                backward(&weight, f64::from(step).sin());
                adam.gather();
                adam.update(0.1);
            }
            weight.copy()
        };
        assert!(run(false).equal(&run(true)));
        let mut adam = Adam::new(parameters(), AdamOptions::default());
        assert!(adam.load_state(&BTreeMap::new()).is_err());
    }
}
