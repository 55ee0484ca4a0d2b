//! Classifier-free guidance (Ho and Salimans, arXiv 2207.12598).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{Conditioning, Denoiser};

/// How much samples are pushed towards their class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Guidance {
    /// The weight g; 1 is the conditional model alone.
    pub scale: f64,
    /// Noise levels (low, high] between which guidance applies; absent for all (Kynkäänniemi et al., arXiv 2404.07724).
    pub interval: Option<(f64, f64)>,
}

impl Guidance {
    fn applies(&self, sigma: f64) -> bool {
        let inside = self
            .interval
            .is_none_or(|(low, high)| low < sigma && sigma <= high);
        inside && (self.scale - 1.0).abs() > f64::EPSILON
    }
}

/// `D = D_uncond + g (D_cond - D_uncond)` in f64; the conditional branch alone without guidance or labels.
pub(super) fn denoise(
    denoiser: &dyn Denoiser,
    noisy: &Tensor,
    sigma: f64,
    conditioning: &Conditioning,
    guidance: Option<&Guidance>,
) -> Tensor {
    let options = (Kind::Double, noisy.device());
    let sigmas = Tensor::full([noisy.size()[0]], sigma, options);
    let conditional = denoiser
        .denoise(noisy, &sigmas, conditioning)
        .to_kind(Kind::Double);
    match guidance {
        Some(guidance) if conditioning.class_labels.is_some() && guidance.applies(sigma) => {
            let unconditional = denoiser
                .denoise(noisy, &sigmas, &conditioning.without_class())
                .to_kind(Kind::Double);
            &unconditional + (conditional - &unconditional) * guidance.scale
        }
        _ => conditional,
    }
}
