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

/// The draws that choose what a network in training drops, on a CPU: those of an image are its own, so that they do not
/// depend on which images are computed together. On other devices libtorch's generator of the device draws.
#[derive(Debug)]
pub struct Dropout {
    draws: RefCell<Draws>,
}

#[derive(Debug)]
struct Draws {
    seed: Seed,
    /// The number of the first image that is computed.
    first: u64,
    /// One an image, as far as images have come.
    streams: Vec<RandomStream>,
}

impl Dropout {
    /// Draws from a seed, for images from number 0 on.
    pub fn new(seed: Seed) -> Self {
        let streams = Vec::new();
        Self {
            draws: RefCell::new(Draws {
                seed,
                first: 0,
                streams,
            }),
        }
    }

    /// Begins again with the draws of another seed, for images from number `first` on.
    pub fn reseed(&self, seed: Seed, first: u64) {
        let mut draws = self.draws.borrow_mut();
        draws.seed = seed;
        draws.first = first;
        draws.streams.clear();
    }

    /// Zeroes each element of `x`, `[images, …]`, with `probability`, in place, and leaves the others as they are.
    ///
    /// No formula of a backward pass may need the former values of `x`.
    pub(crate) fn drop_unscaled(&self, mut x: Tensor, probability: f64) -> Tensor {
        let size = x.size();
        let images = size.first().map_or(0, |&images| images as usize);
        let of_image = x.numel().checked_div(images).unwrap_or(0);
        let words = of_image.div_ceil(4);
        let draws: Vec<i64> = {
            let mut draws = self.draws.borrow_mut();
            let Draws {
                seed,
                first,
                streams,
            } = &mut *draws;
            for index in streams.len()..images {
                streams.push(seed.at(*first + index as u64).stream());
            }
            streams[..images]
                .iter_mut()
                .flat_map(|stream| (0..words).map(|_| stream.next_u64().cast_signed()))
                .collect()
        };
        let shape = [images as i64, of_image as i64];
        let numbers = Tensor::from_slice(&draws)
            .view_dtype(Kind::Int16)
            .view([shape[0], words as i64 * 4])
            .narrow(1, 0, shape[1]);
        // Zeros and ones, because a product takes a fifth of the time of a fill by truth values.
        let kept = Tensor::empty(shape, (x.kind(), x.device()));
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

    #[test]
    fn an_image_loses_the_same_whatever_is_computed_beside_it() {
        let ones = |images: i64| Tensor::ones([images, 3, 5, 7], (Kind::Float, Device::Cpu));
        let seed = Seed::new(9);
        let dropout = Dropout::new(seed);
        let whole = [0.4, 0.1].map(|share| dropout.drop_unscaled(ones(5), share));
        for (first, images) in [(0, 5), (0, 2), (2, 3), (4, 1)] {
            dropout.reseed(seed, first as u64);
            for (whole, share) in whole.iter().zip([0.4, 0.1]) {
                let part = dropout.drop_unscaled(ones(images), share);
                assert!(part.equal(&whole.narrow(0, first, images)), "{first}");
            }
        }
        assert!(!whole[0].get(0).equal(&whole[0].get(1)));
    }
}
