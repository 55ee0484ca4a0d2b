//! How fast a training and the sampling after it would be on this machine, asked and answered as JSON: the program that
//! writes pipeline files knows no tensors.

use patchwork_artifacts::worker::StageError;
use patchwork_recipes::{Execution, SampleSettings, TrainSettings};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tch::Device;

use crate::device;
use crate::network::ImageShape;
use crate::sample::{ImageSampler, sampler_options};
use crate::train::{Pace, caught, mean_seconds, pace};

/// Images that are sampled at once to measure it, where the settings ask for as many.
const SAMPLED_AT_ONCE: u32 = 16;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    train: TrainSettings,
    sample: SampleSettings,
    execution: Execution,
    images: ImageShape,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    pace: Pace,
    /// One evaluation of the network on one image, when sampling.
    seconds_per_evaluation: f64,
}

/// Measures what a request asks for: `train`, `sample` (settings of stages, with a resolved precision), `execution`, `images`
/// (`height`, `width`, `channels`, `classes`).
///
/// The answer is `{"done": {"images_per_second", "gradient_accumulation", "memory_bytes", "seconds_per_evaluation"}}`, or
/// `{"error": MESSAGE}`.
pub fn answer(request: &str) -> Value {
    match caught(|| measure(request)) {
        Ok(Ok(measured)) => json!({ "done": measured }),
        Ok(Err(StageError::Failed(error))) => json!({ "error": error.to_string() }),
        Ok(Err(StageError::Paused(cause))) => json!({ "error": cause }),
        Ok(Err(StageError::Interrupted)) => json!({ "error": "interrupted" }),
        // libtorch's messages continue with a trace of its own functions.
        Err(panic) => json!({ "error": panic.lines().next() }),
    }
}

fn measure(request: &str) -> Result<Measured, StageError> {
    let Request {
        train,
        sample,
        execution,
        images,
    } = serde_json::from_str(request)?;
    let device = device::configure(&execution)?;
    let (pace, network) = pace(&train, &execution, images, device)?;
    let sampler = ImageSampler::new(
        &network,
        device::kind(sample.precision),
        sample.region,
        sampler_options(&sample),
        device,
    );
    let at_once = u32::min(sample.batch_size, SAMPLED_AT_ONCE);
    let at_once = at_once.next_multiple_of(sampler.images_multiple());
    let evaluate = || {
        sampler.try_out(at_once);
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(index as i64);
        }
    };
    evaluate();
    Ok(Measured {
        pace,
        seconds_per_evaluation: mean_seconds(evaluate) / f64::from(at_once),
    })
}
