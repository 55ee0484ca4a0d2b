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
    seeded_draws(seeds, channels, height, width, &[]).0
}

/// Starting noise as [`seeded_latents`], and the noise of a sampler's steps from the same streams:
/// each image's generator gives its latent (f32), then the noise of its steps in order (f64).
///
/// Of a step that is not among `noisy_steps` the draws are made, since those of later steps follow on them, and not kept.
pub fn seeded_draws(
    seeds: &[u64],
    channels: i64,
    height: i64,
    width: i64,
    noisy_steps: &[bool],
) -> (Tensor, RecordedNoise) {
    let room = |kind| {
        let shape = [seeds.len() as i64, channels, height, width];
        Tensor::empty(shape, (kind, Device::Cpu))
    };
    let draw = |kind| Tensor::randn([channels, height, width], (kind, Device::Cpu));
    let latents = room(Kind::Float);
    let last = noisy_steps.iter().rposition(|is_noisy| *is_noisy);
    let drawn = last.map_or(0, |last| last + 1);
    let steps: Vec<Option<Tensor>> = noisy_steps[..drawn]
        .iter()
        .map(|is_noisy| is_noisy.then(|| room(Kind::Double)))
        .collect();
    let _guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    for (image, &seed) in (0..).zip(seeds) {
        tch::manual_seed(seed.cast_signed());
        latents.get(image).copy_(&draw(Kind::Float));
        for step in &steps {
            let noise = draw(Kind::Double);
            if let Some(step) = step {
                step.get(image).copy_(&noise);
            }
        }
    }
    (latents, RecordedNoise::of_steps(steps))
}

/// The starting noise on the great circle between two, at `share` of the way from the first, 0 to 1.
///
/// A mixture of two independent draws in a line would be less noisy than either; on the circle every point is a draw of the
/// same distribution, up to the two lengths.
///
/// # Shapes
/// - `from`, `to`: the same shape, which the result has; its kind is that of `from`
///
/// # Source
/// Shoemake 1985, "Animating rotation with quaternion curves", equation 3.
pub fn between(from: &Tensor, to: &Tensor, share: f64) -> Tensor {
    let (first, last) = (from.to_kind(Kind::Double), to.to_kind(Kind::Double));
    let number = |tensor: Tensor| tensor.double_value(&[]);
    let lengths = number(first.norm()) * number(last.norm());
    let cosine = number((&first * &last).sum(Kind::Double)) / lengths;
    let angle = cosine.clamp(-1.0, 1.0).acos();
    // Equal or opposite draws span no circle.
    let (own, other) = if angle.sin() < 1e-9 {
        (1.0 - share, share)
    } else {
        let part = |share: f64| (share * angle).sin() / angle.sin();
        (part(1.0 - share), part(share))
    };
    (first * own + last * other).to_kind(from.kind())
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
        let (latents, mut noise) = seeded_draws(&[5, 6, 7], 2, 4, 4, &[true, true]);
        let (single, mut own) = seeded_draws(&[6], 2, 4, 4, &[true, true]);
        // Nor on the steps whose noise is kept.
        let (_, mut late) = seeded_draws(&[6], 2, 4, 4, &[false, true, false]);
        assert!(latents.narrow(0, 1, 1).equal(&single));
        for step in 0..2 {
            let draw = own.draw(step);
            assert!(noise.draw(step).narrow(0, 1, 1).equal(&draw));
            assert!(step == 0 || late.draw(step).equal(&draw));
        }
        assert!(latents.equal(&seeded_latents(&[5, 6, 7], 2, 4, 4)));
    }

    #[test]
    fn the_way_between_two_draws_keeps_their_length() {
        let latents = seeded_latents(&[1, 2], 3, 16, 16);
        let (from, to) = (latents.get(0), latents.get(1));
        let length = |tensor: &Tensor| tensor.norm().double_value(&[]);
        assert!(between(&from, &to, 0.0).allclose(&from, 1e-6, 1e-6, false));
        assert!(between(&from, &to, 1.0).allclose(&to, 1e-6, 1e-6, false));
        let half = between(&from, &to, 0.5);
        let mean = f64::midpoint(length(&from), length(&to));
        assert!(
            (length(&half) / mean - 1.0).abs() < 0.01,
            "{}",
            length(&half) / mean
        );
        // As far from one as from the other, where both are of one length.
        let level = &to * (length(&from) / length(&to));
        let half = between(&from, &level, 0.5);
        let cosine = |other: &Tensor| {
            (&half * other).sum(Kind::Double).double_value(&[]) / (length(&half) * length(other))
        };
        assert!((cosine(&from) - cosine(&level)).abs() < 1e-6);
        assert!(between(&from, &from, 0.3).allclose(&from, 1e-6, 1e-6, false));
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
