//! Fréchet distance, kernel distance, precision, recall, density and coverage of recorded features.

use patchwork_metrics::{Gaussian, Moments, frechet_distance, kid, manifold_metrics};
use tch::Tensor;

use super::case::{Case, Outcome};

pub(crate) fn check(case: &Case) -> Outcome {
    let (reference, generated) = (
        case.tensor("input/reference"),
        case.tensor("input/generated"),
    );
    let reference_gaussian = gaussian(reference);
    let distance = frechet_distance(&reference_gaussian, &gaussian(generated)).unwrap();
    let manifold = manifold_metrics(reference, generated, case.number("nearest_k") as i64).unwrap();

    let mut outcome = case.outcome();
    outcome.tensor(case, "reference_mean", reference_gaussian.mean());
    outcome.tensor(
        case,
        "reference_covariance",
        reference_gaussian.covariance(),
    );
    outcome.number(case, "frechet_distance", distance.distance);
    outcome.number(case, "kid_unbiased", kid(reference, generated).unwrap());
    outcome.number(case, "precision", manifold.precision);
    outcome.number(case, "recall", manifold.recall);
    outcome.number(case, "density", manifold.density);
    outcome.number(case, "coverage", manifold.coverage);
    outcome
}

/// Accumulated in uneven batches, as a stage would.
fn gaussian(features: &Tensor) -> Gaussian {
    let mut moments = Moments::new(features.size()[1]);
    for batch in features.split(33, 0) {
        moments.accumulate(&batch).unwrap();
    }
    moments.gaussian().unwrap()
}
