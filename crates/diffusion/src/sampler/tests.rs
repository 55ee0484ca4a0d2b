//! Samplers against data with a known denoiser.

use super::ablation::{Discretization, NoiseSchedule, Scaling, Solver};
use super::*;
use crate::Preconditioning;
use crate::latents::seeded_draws;
use crate::precondition::{round_sigma, sigma_range};
use tch::Kind;

/// The exact denoiser of Gaussian data N(mean, deviation²): a known flow from noise to data.
struct GaussianData {
    mean: f64,
    deviation: f64,
}

impl GaussianData {
    /// Where the exact flow takes a latent from `sigma_max` to `sigma_min`, and the denoiser from there.
    fn exact(&self, latents: &Tensor, sigma_min: f64, sigma_max: f64) -> Tensor {
        let variance = self.deviation * self.deviation;
        let deviation = |sigma: f64| (variance + sigma * sigma).sqrt();
        let flow = deviation(sigma_min) / deviation(sigma_max);
        let last = variance / (variance + sigma_min * sigma_min);
        let start = latents.to_kind(Kind::Double) * sigma_max;
        (start - self.mean) * (flow * last) + self.mean
    }
}

impl Denoiser for GaussianData {
    fn denoise(&self, noisy: &Tensor, sigma: &Tensor, conditioning: &Conditioning) -> Tensor {
        let variance = self.deviation * self.deviation;
        let shift = conditioning
            .class_labels
            .as_ref()
            .map_or(0.0, |labels| labels.sum(Kind::Double).double_value(&[]));
        let mean = self.mean + shift;
        let weight = (sigma.square() + variance).reciprocal() * variance;
        (noisy - mean) * weight.reshape([-1, 1, 1, 1]) + mean
    }
}

const DATA: GaussianData = GaussianData {
    mean: 0.3,
    deviation: 0.5,
};

fn levels(num_steps: usize) -> NoiseLevels {
    NoiseLevels {
        num_steps,
        ..NoiseLevels::default()
    }
}

fn error(latents: &Tensor, options: &SamplerOptions) -> f64 {
    let samples = sample(
        &DATA,
        latents,
        &mut NoNoise,
        &Conditioning::default(),
        options,
    );
    let exact = DATA.exact(latents, 0.002, 80.0);
    ((samples - &exact).norm() / exact.norm()).double_value(&[])
}

/// Order of convergence between two numbers of steps, one four times the other.
fn order(options: impl Fn(usize) -> SamplerOptions) -> f64 {
    let (latents, _) = seeded_draws(&[1, 2], 1, 8, 8, &[]);
    let coarse = error(&latents, &options(128));
    let fine = error(&latents, &options(512));
    (coarse / fine).log(4.0)
}

#[test]
fn solvers_converge_at_their_order() {
    let heun = order(|steps| {
        SamplerOptions::Heun(HeunOptions {
            levels: levels(steps),
            ..HeunOptions::default()
        })
    });
    let euler = order(|num_steps| {
        SamplerOptions::Ablation(AblationOptions {
            num_steps,
            solver: Solver::Euler,
            ..AblationOptions::default()
        })
    });
    let multistep = order(|steps| {
        SamplerOptions::DpmSolver(DpmSolverOptions {
            levels: levels(steps),
            guidance: None,
        })
    });
    assert!((heun - 2.0).abs() < 0.25, "{heun}");
    assert!((euler - 1.0).abs() < 0.15, "{euler}");
    assert!((multistep - 2.0).abs() < 0.35, "{multistep}");
}

#[test]
fn every_combination_of_the_general_sampler_reaches_the_data() {
    let (latents, _) = seeded_draws(&[3], 1, 8, 8, &[]);
    for discretization in [
        Discretization::Vp,
        Discretization::Ve,
        Discretization::Iddpm,
        Discretization::Edm,
    ] {
        for schedule in [NoiseSchedule::Vp, NoiseSchedule::Ve, NoiseSchedule::Linear] {
            for scaling in [Scaling::Vp, Scaling::None] {
                let options = AblationOptions {
                    num_steps: 600,
                    discretization,
                    schedule,
                    scaling,
                    ..AblationOptions::default()
                };
                let samples = ablation::sample(
                    &DATA,
                    &latents,
                    &mut NoNoise,
                    &Conditioning::default(),
                    &options,
                );
                // The ranges start between 80 and 124, where the data hardly matter.
                let exact = DATA.exact(&latents, 0.0, 100.0);
                let error = ((samples - &exact).norm() / exact.norm()).double_value(&[]);
                assert!(
                    error < 0.03,
                    "{discretization:?} {schedule:?} {scaling:?}: {error}"
                );
            }
        }
    }
}

#[test]
fn samples_do_not_depend_on_the_batch_split() {
    let options = SamplerOptions::Heun(HeunOptions {
        levels: levels(8),
        churn: Churn {
            amount: 40.0,
            sigma_min: 0.05,
            sigma_max: 50.0,
            noise_scale: 1.003,
        },
        guidance: None,
    });
    let run = |seeds: &[u64]| {
        let noisy_steps = options.noisy_steps(&DATA);
        // Neither above `sigma_max` nor below `sigma_min`.
        assert_eq!(
            noisy_steps,
            [0, 1, 1, 1, 1, 1, 0, 0].map(|noisy| noisy == 1)
        );
        let (latents, mut noise) = seeded_draws(seeds, 2, 8, 8, &noisy_steps);
        sample(
            &DATA,
            &latents,
            &mut noise,
            &Conditioning::default(),
            &options,
        )
    };
    let whole = run(&[10, 11, 12, 13, 14]);
    for split in 1..5 {
        let seeds = [10, 11, 12, 13, 14];
        let parts = [run(&seeds[..split]), run(&seeds[split..])];
        assert!(whole.equal(&Tensor::cat(&parts, 0)), "{split}");
    }
}

#[test]
#[expect(clippy::float_cmp, reason = "these values are exact")]
fn guidance_extrapolates_inside_its_interval_only() {
    let (latents, _) = seeded_draws(&[4], 1, 8, 8, &[]);
    let conditioning = Conditioning {
        class_labels: Some(Tensor::from_slice(&[1.0_f32]).reshape([1, 1])),
        ..Conditioning::default()
    };
    let mean = |guidance: Option<Guidance>| {
        let options = SamplerOptions::Heun(HeunOptions {
            levels: levels(40),
            churn: Churn::NONE,
            guidance,
        });
        sample(&DATA, &latents, &mut NoNoise, &conditioning, &options)
            .mean(Kind::Double)
            .double_value(&[])
    };
    let plain = mean(None);
    let scaled = |scale, interval| mean(Some(Guidance { scale, interval }));
    assert_eq!(scaled(1.0, None), plain);
    assert_eq!(scaled(2.0, Some((1e3, 1e4))), plain);
    assert!((scaled(2.0, None) - plain - 1.0).abs() < 0.02);
    let partly = scaled(2.0, Some((0.1, 1.0)));
    assert!(partly > plain + 0.1 && partly < plain + 0.9);
}

/// The same data behind the noise levels of a preconditioning.
struct Limited(Preconditioning);

impl Denoiser for Limited {
    fn denoise(&self, noisy: &Tensor, sigma: &Tensor, conditioning: &Conditioning) -> Tensor {
        DATA.denoise(noisy, sigma, conditioning)
    }

    fn sigma_range(&self) -> (f64, f64) {
        sigma_range(self.0)
    }

    fn round_sigma(&self, sigma: f64) -> f64 {
        round_sigma(self.0, sigma)
    }
}

#[test]
fn every_preconditionings_levels_lead_to_the_data() {
    let (latents, _) = seeded_draws(&[5], 1, 8, 8, &[]);
    for (preconditioning, discretization) in [
        (Preconditioning::Edm, Discretization::Edm),
        (Preconditioning::Vp, Discretization::Vp),
        (Preconditioning::Ve, Discretization::Ve),
        (Preconditioning::Iddpm, Discretization::Iddpm),
    ] {
        let denoiser = Limited(preconditioning);
        let visited = levels(100).levels(&denoiser);
        let (lowest, highest) = denoiser.sigma_range();
        assert!(
            visited[..100]
                .iter()
                .all(|level| (lowest..=highest).contains(level))
        );
        for options in [
            SamplerOptions::Heun(HeunOptions {
                levels: levels(100),
                ..HeunOptions::default()
            }),
            SamplerOptions::DpmSolver(DpmSolverOptions {
                levels: levels(100),
                guidance: None,
            }),
            SamplerOptions::Ablation(AblationOptions {
                num_steps: 300,
                discretization,
                ..AblationOptions::default()
            }),
        ] {
            let conditioning = Conditioning::default();
            let samples = sample(&denoiser, &latents, &mut NoNoise, &conditioning, &options);
            let exact = DATA.exact(&latents, 0.0, visited[0]);
            let error = ((samples - &exact).norm() / exact.norm()).double_value(&[]);
            assert!(error < 0.03, "{preconditioning:?} {options:?}: {error}");
        }
    }
}
