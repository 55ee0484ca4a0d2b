//! `train_steps`: some steps of training with given draws: weights and averages afterwards, and each step's numbers.

use std::convert::Infallible;

use patchwork_diffusion::loss::LossOptions;
use patchwork_diffusion::patches::crop;
use patchwork_diffusion::{
    AdamOptions, EmaProfile, FastPaths, ImageClock, Lanes, LearningRate, Round, Side, StepPlan,
    TrainOptions, TrainStep,
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::denoiser::build;
use crate::runner::{Case, Noise, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let mut training = start(case)?;
    let steps = case.settings["steps"]
        .as_array()
        .ok_or("setting `steps` is not a list")?
        .clone();
    let images_multiplier = case.required("mean_batch_multiplier")?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (index, step) in steps.iter().enumerate() {
        let images = number(step, "batch")? as i64;
        let side = Side::square(
            number(step, "patch_size")? as i64,
            images / case.required("batch_size")? as i64,
        );
        let seen = training.clock.images_seen;
        if seen != number(step, "nimg")? as u64 {
            return Err(format!("step {index} starts at {seen} images"));
        }
        let plan = StepPlan {
            side,
            images_multiplier,
        };
        let mut round = Some(round(case, index, side)?);
        let batch = |_, _| Ok::<_, Infallible>(round.take().expect("there is one round a step"));
        let Ok(report) = training.run(plan, 1, batch);
        for (name, value) in [
            ("lr", report.learning_rate),
            ("ema_beta", report.ema_betas[0]),
        ] {
            let expected = number(step, name)?;
            if (value - expected).abs() > 1e-12 * expected {
                return Err(format!("step {index}: {name} is {value}, not {expected}"));
            }
        }
        ours.push(report.loss);
        theirs.push(number(step, "loss")?);
    }
    case.tensors
        .insert("output/steps/loss".to_owned(), Tensor::from_slice(&theirs));
    let mut tensors = Tensors::from([("output/steps/loss".to_owned(), Tensor::from_slice(&ours))]);
    let network = &training.denoiser.network;
    for parameter in network.named_tensors() {
        tensors.insert(
            format!("output/net/model.{}", parameter.name),
            parameter.tensor,
        );
    }
    for parameter in network.buffers() {
        tensors.insert(
            format!("output/ema/model.{}", parameter.name),
            parameter.tensor,
        );
    }
    for (name, tensor) in training.averages[0].named_views() {
        tensors.insert(format!("output/ema/model.{name}"), tensor);
    }
    let rates: f64 = steps.iter().filter_map(|step| step["lr"].as_f64()).sum();
    for (name, tensor) in tensors
        .iter()
        .filter(|(name, _)| name.ends_with(".qkv.bias"))
    {
        case.noise.insert(
            name.clone(),
            Noise {
                elements: key_biases(tensor),
                bound: 2.0 * rates,
            },
        );
    }
    Ok(tensors)
}

/// The biases of the keys among those of queries, keys and values.
///
/// Attention does not change when one vector is added to all keys, so the gradient of these biases is zero.
/// What rounding leaves of it differs between any two orders of summation, and Adam scales it up to whole steps:
/// two correct implementations move these biases by up to the learning rate, each its own way.
fn key_biases(biases: &Tensor) -> Tensor {
    Tensor::arange(biases.size()[0], (Kind::Int64, Device::Cpu))
        .remainder(3)
        .eq(1)
}

fn start(case: &Case) -> Result<TrainStep, String> {
    let betas = &case.settings["betas"];
    let beta = |index: usize| {
        betas[index]
            .as_f64()
            .ok_or("setting `betas` is not two numbers")
    };
    let batch_size = case.required("batch_size")?;
    let options = TrainOptions {
        batch_size: batch_size as i64,
        loss_scaling: case.number("loss_scaling").unwrap_or(1.0),
        learning_rate: LearningRate {
            rate: case.required("lr")?,
            rampup_images: case.required("lr_rampup_nimg")? as u64,
            decay: None,
        },
        max_gradient_norm: None,
        loss: LossOptions::default(),
        adam: AdamOptions {
            beta1: beta(0)?,
            beta2: beta(1)?,
            epsilon: case.required("eps")?,
        },
        lanes: Lanes::ONE,
        fast_paths: FastPaths::NONE,
    };
    let average = EmaProfile::HalfLife {
        images: case.required("ema_halflife_nimg")? as u64,
        rampup_ratio: case.number("ema_rampup_ratio"),
    };
    let clock = ImageClock {
        batch_size: batch_size as u64,
        images_seen: case.required("start_nimg")? as u64,
    };
    Ok(TrainStep::new(build(case)?, options, &[average], clock))
}

fn round(case: &Case, index: usize, side: Side) -> Result<Round, String> {
    let input = |name: &str| format!("input/{index}/{name}");
    let rows = case.integers(&input("row"))?;
    let cols = case.integers(&input("col"))?;
    Ok(Round {
        patches: crop(
            &case.tensor(&input("images"))?,
            &rows,
            &cols,
            side.height,
            side.width,
        ),
        rows,
        cols,
        class_labels: case.optional(&input("class_labels")),
        augment_labels: case.optional(&input("augment_labels")),
        rnd_normal: case.tensor(&input("rnd_normal"))?,
        noise: case.tensor(&input("noise"))?,
        dropout_seed: None,
        first_image: 0,
    })
}

fn number(step: &Value, key: &str) -> Result<f64, String> {
    step[key]
        .as_f64()
        .ok_or(format!("`{key}` of a step is not a number"))
}
