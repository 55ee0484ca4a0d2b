//! `feature_metrics`: Fréchet distance, kernel distance, precision, recall, density and coverage of given features.

use patchwork_metrics::{Gaussian, MetricsError, Moments, frechet_distance, kid, manifold_metrics};
use tch::Tensor;

use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let reference = case.host_tensor("input/reference")?;
    let generated = case.host_tensor("input/generated")?;
    let nearest = case.required("nearest_k")? as i64;
    let measured = measure(&reference, &generated, nearest).map_err(|error| error.to_string())?;
    let mut ours = Tensors::from([
        (
            "output/reference_mean".to_owned(),
            measured.reference.mean().shallow_clone(),
        ),
        (
            "output/reference_covariance".to_owned(),
            measured.reference.covariance().shallow_clone(),
        ),
    ]);
    for (name, value) in measured.numbers {
        case.expect_setting(name)?;
        ours.insert(format!("output/{name}"), Tensor::from_slice(&[value]));
    }
    Ok(ours)
}

/// What a case is compared in.
struct Measured {
    /// The reference's moments.
    reference: Gaussian,
    /// Every number under its name in the case's settings.
    numbers: [(&'static str, f64); 6],
}

fn measure(reference: &Tensor, generated: &Tensor, nearest: i64) -> Result<Measured, MetricsError> {
    let reference_gaussian = gaussian(reference)?;
    let distance = frechet_distance(&reference_gaussian, &gaussian(generated)?)?;
    let manifold = manifold_metrics(reference, generated, nearest)?;
    let numbers = [
        ("frechet_distance", distance.distance),
        ("kid_unbiased", kid(reference, generated)?),
        ("precision", manifold.precision),
        ("recall", manifold.recall),
        ("density", manifold.density),
        ("coverage", manifold.coverage),
    ];
    Ok(Measured {
        reference: reference_gaussian,
        numbers,
    })
}

/// Accumulated in uneven batches, as a stage would.
fn gaussian(features: &Tensor) -> Result<Gaussian, MetricsError> {
    let mut moments = Moments::new(features.size()[1]);
    for batch in features.split(33, 0) {
        moments.accumulate(&batch)?;
    }
    moments.gaussian()
}
