//! From seeds to the noise that an image starts from, and from samples to pixels.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::sampler::RecordedNoise;

/// libtorch's CPU generator is one for the process: whoever seeds it draws before anyone else seeds it.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Seeds libtorch's CPU generator for a test's draws, which end before the guard is dropped.
#[cfg(test)]
pub(crate) fn seeded(seed: u64) -> std::sync::MutexGuard<'static, ()> {
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed.cast_signed());
    guard
}

/// Starting noise of images, each from its own seed.
///
/// # Shapes
/// - returns: `[seeds, channels, height, width]`, standard normal, f32, on the CPU
///
/// # Determinism
/// The draws of a seed are those of a fresh CPU generator of that seed, whatever the other seeds are.
/// Leaves libtorch's global generator somewhere else.
pub fn seeded_latents(seeds: &[u64], channels: i64, height: i64, width: i64) -> Tensor {
    seeded_draws(seeds, channels, height, width, 0).0
}

/// Starting noise as [`seeded_latents`], and the noise of `churn_steps` steps from the same streams:
/// each image's generator gives its latent (f32), then the noise of its steps in order (f64).
pub fn seeded_draws(
    seeds: &[u64],
    channels: i64,
    height: i64,
    width: i64,
    churn_steps: usize,
) -> (Tensor, RecordedNoise) {
    let shape = [channels, height, width];
    let _guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let mut latents = Vec::with_capacity(seeds.len());
    let mut steps: Vec<Vec<Tensor>> = (0..churn_steps).map(|_| Vec::new()).collect();
    for &seed in seeds {
        tch::manual_seed(seed.cast_signed());
        latents.push(Tensor::randn(shape, (Kind::Float, Device::Cpu)));
        for step in &mut steps {
            step.push(Tensor::randn(shape, (Kind::Double, Device::Cpu)));
        }
    }
    let steps = steps.iter().map(|step| Tensor::stack(step, 0)).collect();
    (Tensor::stack(&latents, 0), RecordedNoise::new(steps))
}

/// Pixels of samples in [-1, 1]: `clip(x · 127.5 + 128, 0, 255)`, truncated to u8, same shape.
pub fn to_pixels(samples: &Tensor) -> Tensor {
    (samples * 127.5 + 128.0)
        .clamp(0.0, 255.0)
        .to_kind(Kind::Uint8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampler::NoiseSource;

    #[test]
    fn draws_do_not_depend_on_the_split() {
        let (latents, mut noise) = seeded_draws(&[5, 6, 7], 2, 4, 4, 2);
        let (single, mut own) = seeded_draws(&[6], 2, 4, 4, 2);
        assert!(latents.narrow(0, 1, 1).equal(&single));
        for step in 0..2 {
            assert!(noise.draw(step).narrow(0, 1, 1).equal(&own.draw(step)));
        }
        assert!(latents.equal(&seeded_latents(&[5, 6, 7], 2, 4, 4)));
    }

    #[test]
    fn pixels_are_clipped_and_truncated() {
        let pixels = to_pixels(&Tensor::from_slice(&[-2.0, -1.0, 0.0, 0.999, 1.0, 3.0]));
        assert_eq!(
            Vec::<u8>::try_from(pixels).unwrap(),
            [0, 0, 128, 255, 255, 255]
        );
    }
}
