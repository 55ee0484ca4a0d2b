//! Whether fast paths compute what the plain step does.

use patchwork_dataset::{ShardSet, Share};
use patchwork_diffusion::{FastPath, FastPaths, PatchSides, StepPlan, TrainStep};
use patchwork_networks::NetworkConfig;
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::Arguments;
use crate::subject::{Subject, round, training};

/// Whole images of a step that is compared: two trainings have memory beside each other.
const IMAGES: i64 = 8;

/// Rounds of a patch size. Of graphs the first is computed as ever, the second captured, the third replayed with other
/// numbers than it was captured with.
const ROUNDS: u64 = 3;

/// Compares gradients of the last round of each patch size, and an update of like gradients, with those of the plain step:
/// the norm of the difference over that of the plain ones.
pub(crate) fn compare(
    subject: &Subject,
    data: &ShardSet,
    sides: &PatchSides,
    precision: Kind,
    arguments: &Arguments,
) -> Value {
    // A dropout's numbers belong to places in memory, which lie in another order in channels-last.
    let dropout = if arguments.fast_paths.has(FastPath::ChannelsLast) {
        0.0
    } else {
        0.1
    };
    let config = NetworkConfig {
        dropout,
        ..subject.config.clone()
    };
    let batch = i64::min(IMAGES, arguments.batch.unwrap_or(IMAGES));
    let start = |paths| training(&config, batch, precision, arguments.device, paths);
    let mut plain = start(FastPaths::NONE);
    let mut fast = start(arguments.fast_paths);
    scatter(&mut plain);
    scatter(&mut fast);
    let mut largest: f64 = 0.0;
    for share in sides.shares() {
        let side = share.side;
        let images = (batch * side.multiplier).cast_unsigned();
        for index in 0..ROUNDS {
            for step in [&mut plain, &mut fast] {
                let round = round(data, index, side, images, Share::WHOLE, arguments.device);
                step.begin();
                step.accumulate(&round, side);
            }
        }
        let expected = by_name(&mut plain);
        largest = f64::max(largest, difference(&by_name(&mut fast), &expected));
    }
    // The same gradients, in each one's order of memory: Adam makes whole steps of the smallest differences.
    let gradients = plain.optimizer.gradients().copy();
    let layout = plain.optimizer.layout().named_views(&gradients, "");
    let places = fast.optimizer.gradients().shallow_clone();
    if let Err(error) = fast.optimizer.layout().load(&places, &layout, "") {
        panic!("{error}");
    }
    let before = values(&plain);
    let plan = StepPlan {
        side: sides.shares()[0].side,
        images_multiplier: 1.0,
    };
    let _ = (plain.finish(plan), fast.finish(plan));
    let [plain, fast] = [&plain, &fast].map(|step| values(step) - &before);
    let update = difference(&fast, &plain);
    println!(
        "      gradients differ by {largest:.2e}, an update by {update:.2e} of the plain step's"
    );
    json!({"gradients": largest, "update": update, "images": batch, "rounds": ROUNDS})
}

/// Weights that are not near zero, as fresh ones are at the end of each path, in the same places of both.
fn scatter(step: &mut TrainStep) {
    tch::no_grad(|| {
        for mut parameter in step.denoiser.network.parameters() {
            let size = parameter.tensor.size();
            let count = size.iter().product::<i64>();
            let options = (Kind::Float, parameter.tensor.device());
            let numbers = (Tensor::arange(count, options) * 0.7).sin().reshape(size) * 0.02;
            let _ = parameter.tensor.g_add_(&numbers);
        }
    });
}

/// All gradients, parameter by parameter.
fn by_name(step: &mut TrainStep) -> Tensor {
    let buffer = step.optimizer.gradients().shallow_clone();
    joined(
        step.optimizer
            .layout()
            .named_views(&buffer, "")
            .into_values(),
    )
}

/// All weights, parameter by parameter.
fn values(step: &TrainStep) -> Tensor {
    let views = step
        .optimizer
        .layout()
        .named_views(step.optimizer.values(), "");
    joined(views.into_values())
}

fn joined(tensors: impl Iterator<Item = Tensor>) -> Tensor {
    let flat: Vec<Tensor> = tensors.map(|each| each.detach().reshape([-1])).collect();
    Tensor::cat(&flat, 0)
}

fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    ((found - expected).norm() / expected.norm()).double_value(&[])
}
