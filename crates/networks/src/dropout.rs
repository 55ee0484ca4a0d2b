//! Dropout whose mask is cheap to draw on a CPU.
//!
//! Libtorch draws one number an element, on one thread and from one generator for all threads; here a 64-bit number
//! serves four elements, which rounds the probability to a multiple of 2^-16. The remaining elements are not scaled up:
//! the caller's next layer takes that factor, which costs little.

use std::cell::RefCell;

use patchwork_core::{RandomStream, Seed};
use tch::{Device, Kind, Tensor};

/// Values of one element's random number.
const LEVELS: f64 = 65_536.0;

/// The draws that choose what a network in training drops, on a CPU. On other devices libtorch's generator of the
/// device does.
#[derive(Debug)]
pub struct Dropout {
    stream: RefCell<RandomStream>,
}

impl Dropout {
    /// Draws from a seed.
    pub fn new(seed: Seed) -> Self {
        Self {
            stream: RefCell::new(seed.stream()),
        }
    }

    /// Goes on with the draws from another seed.
    pub fn reseed(&self, seed: Seed) {
        self.stream.replace(seed.stream());
    }

    /// Zeroes each element of `x` with `probability`, in place, and leaves the others as they are.
    ///
    /// No formula of a backward pass may need the former values of `x`.
    pub(crate) fn drop_unscaled(&self, mut x: Tensor, probability: f64) -> Tensor {
        let size = x.size();
        let count = x.numel();
        let draws: Vec<i64> = {
            let mut stream = self.stream.borrow_mut();
            (0..count.div_ceil(4))
                .map(|_| stream.next_u64().cast_signed())
                .collect()
        };
        let count = count as i64;
        let numbers = Tensor::from_slice(&draws)
            .view_dtype(Kind::Int16)
            .narrow(0, 0, count);
        // Zeros and ones, because a product takes a fifth of the time of a fill by truth values.
        let kept = Tensor::empty([count], (x.kind(), x.device()));
        let kept = numbers.ge_scalar_out(
            &kept,
            (probability * LEVELS).round() as i64 + i64::from(i16::MIN),
        );
        x.g_mul_(&kept.view(size.as_slice()))
    }
}

/// Whether the mask is better drawn here than by libtorch.
pub(crate) fn is_worthwhile(device: Device) -> bool {
    device == Device::Cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stated_share_is_dropped_and_the_rest_is_kept() {
        let dropout = Dropout::new(Seed::new(4));
        let options = (Kind::Float, Device::Cpu);
        for probability in [0.05, 0.25, 0.9] {
            // An odd count, so that the last number drawn serves fewer than four elements.
            let dropped =
                dropout.drop_unscaled(Tensor::full([3, 7, 101, 103], 2.0, options), probability);
            let zeros = dropped.eq(0.0).to_kind(Kind::Float);
            let kept = dropped.eq(2.0).to_kind(Kind::Float);
            assert_eq!(
                (&zeros + kept).min().double_value(&[]).to_bits(),
                1.0f64.to_bits()
            );
            assert!((zeros.mean(Kind::Double).double_value(&[]) - probability).abs() < 0.005);
        }
    }
}
