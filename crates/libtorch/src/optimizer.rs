//! PyTorch's fused optimisers: one kernel an update, where operations one after the other read and write every buffer
//! several times.

use std::ffi::c_int;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::error::{LibtorchError, check};

#[expect(
    unsafe_code,
    reason = "declares the function of csrc/optimizer.cpp, with its very signature; `at::Tensor` is torch-sys's `C_tensor`"
)]
unsafe extern "C" {
    fn pw_fused_adam(
        values: *mut C_tensor,
        gradients: *mut C_tensor,
        first_moment: *mut C_tensor,
        second_moment: *mut C_tensor,
        step: *mut C_tensor,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
    ) -> c_int;
}

/// The numbers of one update of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamUpdate {
    /// The number of this step, from 1 on.
    pub step: i64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// What is added to the root of the second moment.
    pub epsilon: f64,
}

/// One step of Adam (Kingma and Ba, arXiv 1412.6980, Algorithm 1, without weight decay), in place.
///
/// # Shapes
/// All of one shape, element type and device; on a CPU or a CUDA device. The gradients stay as they are.
///
/// # Errors
/// What libtorch says of tensors that are not alike, or of a device without such a kernel.
#[expect(
    unsafe_code,
    reason = "the tensors are borrowed until the call returns, those that it writes to exclusively; libtorch takes the \
              gradients by a pointer that it may write through, and writes to them only where a scale is given"
)]
pub fn fused_adam(
    values: &mut Tensor,
    gradients: &Tensor,
    [first_moment, second_moment]: [&mut Tensor; 2],
    update: &AdamUpdate,
) -> Result<(), LibtorchError> {
    // A fill on the device: nothing is waited for.
    let step = Tensor::full([] as [i64; 0], update.step, (Kind::Float, values.device()));
    check(unsafe {
        pw_fused_adam(
            values.as_mut_ptr(),
            gradients.as_ptr().cast_mut(),
            first_moment.as_mut_ptr(),
            second_moment.as_mut_ptr(),
            step.as_ptr().cast_mut(),
            update.learning_rate,
            update.beta1,
            update.beta2,
            update.epsilon,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Algorithm 1 in float64.
    #[test]
    fn updates_are_those_of_the_paper() {
        let float = (Kind::Double, Device::Cpu);
        let numbers = |factor: f64| (Tensor::arange(1000, float) * factor).sin();
        let mut values = numbers(0.3);
        let mut moments = [(); 2].map(|()| Tensor::zeros([1000], float));
        let mut expected = values.copy();
        let [mut mean, mut square] = [(); 2].map(|()| Tensor::zeros([1000], float));
        for step in 1..=4_i32 {
            let gradients = numbers(0.7 * f64::from(step));
            let update = AdamUpdate {
                step: step.into(),
                learning_rate: 0.01 * f64::from(step),
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-6,
            };
            let given = gradients.copy();
            let [first, second] = &mut moments;
            fused_adam(&mut values, &gradients, [first, second], &update).unwrap();
            assert!(gradients.equal(&given));
            mean = mean * 0.9 + &gradients * (1.0 - 0.9);
            square = square * 0.99 + gradients.square() * (1.0 - 0.99);
            let corrected = &mean / (1.0 - 0.9_f64.powi(step));
            let root = (&square / (1.0 - 0.99_f64.powi(step))).sqrt() + 1e-6;
            expected -= corrected / root * update.learning_rate;
            for (found, expected) in [
                (&values, &expected),
                (&moments[0], &mean),
                (&moments[1], &square),
            ] {
                assert!(found.allclose(expected, 1e-12, 1e-15, false), "{step}");
            }
        }
    }

    #[test]
    fn tensors_that_are_not_alike_are_refused() {
        let float = (Kind::Float, Device::Cpu);
        let mut long = Tensor::zeros([4], float);
        let mut moments = [(); 2].map(|()| Tensor::zeros([4], float));
        let update = AdamUpdate {
            step: 1,
            learning_rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
        };
        let [first, second] = &mut moments;
        let short = Tensor::zeros([3], float);
        let error = fused_adam(&mut long, &short, [first, second], &update).unwrap_err();
        assert!(error.text().contains("not alike"), "{error}");
    }
}
