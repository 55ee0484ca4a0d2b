use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};

use patchwork_networks::{Network, NetworkConfig};
use tch::Device;

use super::*;
use crate::fast_paths::{FastPath, FastPaths};
use crate::loss::LossOptions;
use crate::{
    AdamOptions, EmaProfile, ImageClock, Lanes, LearningRate, Round, Side, StepPlan, TrainOptions,
    TrainStep,
};

const SIDE: Side = Side::square(8, 1);

/// For a test that holds libtorch's generator.
fn training(precision: Kind, lanes: Lanes, dropout: f64) -> TrainStep {
    training_by(precision, lanes, dropout, FastPaths::NONE)
}

fn training_by(precision: Kind, lanes: Lanes, dropout: f64, fast_paths: FastPaths) -> TrainStep {
    let mut config: NetworkConfig = serde_json::from_str(
        r#"{"arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 16,
            "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.0,
            "sigma_data": 0.5}"#,
    )
    .unwrap();
    config.dropout = dropout;
    let network = Network::new(&config, Device::Cpu, 5).unwrap();
    // Fresh networks end in weights of nearly zero, which would leave most others without gradients.
    let weights: BTreeMap<String, Tensor> = (0..)
        .zip(network.named_tensors())
        .map(|(index, entry)| {
            let count = entry.tensor.numel() as i64;
            let values = (Tensor::arange(count, (Kind::Float, Device::Cpu)) + index).sin() * 0.2;
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
        batch_size: 4,
        loss_scaling: 1.0,
        learning_rate: LearningRate {
            rate: 1e-3,
            rampup_images: 0,
            decay: None,
        },
        max_gradient_norm: None,
        loss: LossOptions::default(),
        adam: AdamOptions::default(),
        lanes,
        fast_paths,
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
        dropout_seed: Some(Seed::new(index as u64)),
        first_image: 0,
    }
}

/// Two threads, each with one of the two images of a round.
const TWO_LANES: Lanes = Lanes {
    count: 2,
    threads: 1,
};

/// The gradients of a step of two rounds, by parameter.
fn gradients(precision: Kind, lanes: Lanes) -> BTreeMap<String, Tensor> {
    let _guard = crate::latents::seeded(1);
    let mut training = training(precision, lanes, 0.0);
    training.begin();
    for index in 0..2 {
        training.accumulate(&round(index), SIDE);
    }
    let buffer = training.optimizer.gradients().copy();
    training.optimizer.layout().named_views(&buffer, "")
}

#[test]
fn gradients_are_those_of_float32_up_to_rounding() {
    let full = gradients(Kind::Float, Lanes::ONE);
    let half = gradients(Kind::BFloat16, Lanes::ONE);
    let (mut error_squared, mut norm_squared) = (0.0, 0.0);
    for (name, full) in &full {
        let norm = full.norm().double_value(&[]);
        let error = (&half[name] - full).norm().double_value(&[]);
        // A gradient left out, doubled or without its factor of √½ is off by more than a quarter. Far from the
        // output gradients are a hundred-thousandth of all, and rounding for a good part.
        let limit = if norm < 1e-3 { 0.5 } else { 0.25 };
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

/// Sums of the same terms in another order.
#[test]
fn lanes_find_the_same_gradients() {
    for (precision, limit) in [(Kind::Float, 1e-5), (Kind::BFloat16, 0.02)] {
        let [alone, shared] = [Lanes::ONE, TWO_LANES].map(|lanes| gradients(precision, lanes));
        let all = |gradients: &BTreeMap<String, Tensor>| {
            let flat: Vec<Tensor> = gradients.values().map(|each| each.reshape([-1])).collect();
            Tensor::cat(&flat, 0)
        };
        let (alone, shared) = (all(&alone), all(&shared));
        let error = (shared - &alone).norm() / alone.norm();
        assert!(error.double_value(&[]) < limit, "{precision:?}: {error}");
    }
}

/// The features' order of memory is that of the flat buffer's weights, moments and averages; names and numbers are the
/// same.
#[test]
fn fast_paths_make_the_same_steps() {
    let _guard = crate::latents::seeded(1);
    let run = |paths: &[FastPath], precision| {
        let mut step = training_by(precision, Lanes::ONE, 0.1, paths.iter().copied().collect());
        let plan = StepPlan {
            side: SIDE,
            images_multiplier: 1.0,
        };
        for _ in 0..2 {
            let done = step.run(plan, 2, |index, _| Ok::<_, Infallible>(round(index as i64)));
            assert!(done.is_ok_and(|report| report.loss.is_finite()));
        }
        let mut tensors = step.optimizer.state();
        tensors.extend(step.averages[0].named_views());
        let shapes: Vec<_> = tensors
            .iter()
            .map(|(name, each)| (name.clone(), each.size()))
            .collect();
        let all: Vec<Tensor> = tensors
            .values()
            .map(|each| each.to_kind(Kind::Float).reshape([-1]))
            .collect();
        (shapes, Tensor::cat(&all, 0))
    };
    for (precision, limit) in [(Kind::Float, 1e-4), (Kind::BFloat16, 0.02)] {
        let (plain_shapes, plain) = run(&[], precision);
        for paths in [
            &[FastPath::FusedAdam][..],
            &[FastPath::ChannelsLast],
            &[FastPath::ChannelsLast, FastPath::FusedNormalization],
            &[
                FastPath::FusedAdam,
                FastPath::ChannelsLast,
                FastPath::FusedNormalization,
            ],
        ] {
            let (shapes, found) = run(paths, precision);
            assert_eq!(shapes, plain_shapes);
            let error = ((&found - &plain).norm() / plain.norm()).double_value(&[]);
            assert!(error < limit, "{precision:?} {paths:?}: {error}");
            assert!(!found.equal(&plain), "{paths:?} is taken");
        }
    }
}

/// Ranks with an unequal share of the images each, one without any: the gradients and losses of one process.
#[test]
fn ranks_find_the_same_gradients() {
    let _guard = crate::latents::seeded(1);
    let plan = StepPlan {
        side: SIDE,
        images_multiplier: 1.0,
    };
    let accumulated = |rounds: &[Round]| {
        let mut step = training(Kind::Float, Lanes::ONE, 0.3);
        step.begin();
        for round in rounds {
            step.accumulate(round, SIDE);
        }
        step
    };
    let second = || Round {
        first_image: 2,
        ..round(1)
    };
    let mut alone = accumulated(&[round(0), second()]);
    let gradients = alone.optimizer.gradients().copy();
    let report = alone.finish(plan);
    let second_round = second();
    let mut halves = second_round.parts(2);
    let (third, fourth) = (halves.next().unwrap(), halves.next().unwrap());
    // What the other ranks give to each sum.
    let given: Vec<Vec<Tensor>> = [vec![fourth], Vec::new()]
        .iter()
        .map(|rounds| {
            let mut given = Vec::new();
            let done = accumulated(rounds).reduce(SIDE, |tensor| {
                given.push(tensor.copy());
                Ok::<_, Infallible>(())
            });
            done.map(|()| given).unwrap()
        })
        .collect();
    let mut first = accumulated(&[round(0), third]);
    let mut index = 0;
    let done = first.reduce(SIDE, |tensor| {
        for rank in &given {
            tch::no_grad(|| *tensor += &rank[index]);
        }
        index += 1;
        Ok::<_, Infallible>(())
    });
    assert!(done.is_ok() && index == 2);
    let error = (first.optimizer.gradients().copy() - &gradients).norm() / gradients.norm();
    assert!(error.double_value(&[]) < 1e-6, "{error}");
    assert!(gradients.norm().double_value(&[]) > 0.0);
    let reduced = first.finish(plan);
    assert!((reduced.loss / report.loss - 1.0).abs() < 1e-6);
    assert_eq!(reduced.image_losses.len(), 4);
    for (one, other) in reduced.image_losses.iter().zip(&report.image_losses) {
        let [loss, sigma] = [one.loss / other.loss, one.sigma / other.sigma];
        assert!(
            (loss - 1.0).abs() < 1e-5 && (sigma - 1.0).abs() < 1e-6,
            "{one:?}, {other:?}"
        );
    }
}

#[test]
fn what_fails_in_a_lane_fails_the_round_and_leaves_nothing_behind() {
    let _guard = crate::latents::seeded(1);
    let flawed = Round {
        // The second lane's: 16 pixels and 8 pixels do not make coordinates of one size.
        noise: Tensor::zeros([2, 3, 8, 16], (Kind::Float, Device::Cpu)),
        ..round(0)
    };
    for lanes in [Lanes::ONE, TWO_LANES] {
        let mut step = training(Kind::BFloat16, lanes, 0.1);
        let [first, second] = [true, false].map(|fails| {
            step.begin();
            if fails {
                let failed = catch_unwind(AssertUnwindSafe(|| step.accumulate(&flawed, SIDE)));
                assert!(failed.is_err());
                step.begin();
            }
            step.accumulate(&round(1), SIDE);
            step.optimizer.gradients().copy()
        });
        assert!(first.equal(&second));
    }
}

#[test]
fn steps_move_the_float32_weights_alike_each_time() {
    let run = |lanes| {
        let _guard = crate::latents::seeded(1);
        let mut training = training(Kind::BFloat16, lanes, 0.1);
        let before = training.optimizer.values().copy();
        let plan = StepPlan {
            side: SIDE,
            images_multiplier: 1.0,
        };
        for _ in 0..3 {
            let Ok(report) =
                training.run(plan, 2, |index, _| Ok::<_, Infallible>(round(index as i64)));
            assert!(report.loss.is_finite());
            assert_eq!(report.image_losses.len(), 4);
        }
        let values = training.optimizer.values().copy();
        assert_eq!(values.kind(), Kind::Float);
        let moved = (&values - before).abs().max().double_value(&[]);
        // Adam's first steps are of the size of the rate, which bfloat16 weights could not hold.
        assert!(moved > 1e-3 && moved < 4e-3, "{moved}");
        values
    };
    for lanes in [Lanes::ONE, TWO_LANES] {
        assert!(run(lanes).equal(&run(lanes)), "{lanes:?}");
    }
}
