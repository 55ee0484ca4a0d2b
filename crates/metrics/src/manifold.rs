//! Precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem et al. 2020,
//! arXiv 2002.09797): how much of one set lies in the k-nearest-neighbour balls of the other.
//!
//! Balls are closed, so that sets without any spread agree with themselves; for features without ties it makes no
//! difference.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::MetricsError;
use crate::features::{blocks, checked_pair};

/// The squared distance, in units of the two squared lengths, that counts as none: float32 features that agree to
/// this have no difference but rounding, and the float64 inner products here are a thousand times finer.
const SAME_POINT: f64 = 1e-12;

/// Fidelity and variety of generated images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManifoldMetrics {
    /// The part of the generated images within any reference image's ball, in [0, 1].
    pub precision: f64,
    /// The part of the reference images within any generated image's ball, in [0, 1].
    pub recall: f64,
    /// Reference balls that a generated image lies in, on average, over k; 1 for equal distributions.
    pub density: f64,
    /// The part of the reference images' balls that hold a generated image, in [0, 1].
    pub coverage: f64,
    /// Which neighbour's distance is a ball's radius.
    pub nearest_k: i64,
}

/// Compares two sets at the given neighbour (3 in both papers' experiments with precision and recall).
///
/// # Shapes
/// - `reference`: `[n, dimension]`, `generated`: `[m, dimension]`, any float
///
/// # Errors
/// Where a set has no more than `nearest_k` images, for features of different width, and for NaN.
pub fn manifold_metrics(
    reference: &Tensor,
    generated: &Tensor,
    nearest_k: i64,
) -> Result<ManifoldMetrics, MetricsError> {
    let nearest_k = nearest_k.max(1);
    let what = "a comparison of nearest neighbours";
    let (reference, generated) = checked_pair(reference, generated, what, nearest_k + 1)?;
    let (references, generateds) = (reference.size()[0], generated.size()[0]);
    let reference_radii = squared_radii(&reference, nearest_k);
    let generated_radii = squared_radii(&generated, nearest_k).unsqueeze(0);

    let mut balls_around_generated = Tensor::zeros([generateds], (Kind::Int64, reference.device()));
    let (mut recalled, mut covered) = (0, 0);
    for (start, length) in blocks(references, generateds) {
        let rows = reference.narrow(0, start, length);
        let distances = squared_distances(&rows, &generated); // [length, generated]
        let within_reference =
            distances.le_tensor(&reference_radii.narrow(0, start, length).unsqueeze(1));
        balls_around_generated += within_reference.sum_dim_intlist(0, false, Kind::Int64);
        covered += count(&within_reference.any_dim(1, false));
        recalled += count(&distances.le_tensor(&generated_radii).any_dim(1, false));
    }
    let precise = count(&balls_around_generated.gt(0));
    let in_balls = balls_around_generated.sum(Kind::Int64).int64_value(&[]);
    Ok(ManifoldMetrics {
        precision: precise as f64 / generateds as f64,
        recall: recalled as f64 / references as f64,
        density: in_balls as f64 / (nearest_k * generateds) as f64,
        coverage: covered as f64 / references as f64,
        nearest_k,
    })
}

/// The squared distance of each row to its k-th nearest other row: `[rows]`.
fn squared_radii(features: &Tensor, nearest_k: i64) -> Tensor {
    let rows = features.size()[0];
    let radii: Vec<Tensor> = blocks(rows, rows)
        .map(|(start, length)| {
            let distances = squared_distances(&features.narrow(0, start, length), features);
            let mut own = distances.narrow(1, start, length).diagonal(0, 0, 1);
            let _ = own.fill_(f64::INFINITY);
            distances.kthvalue(nearest_k, 1, false).0
        })
        .collect();
    Tensor::cat(&radii, 0)
}

/// `‖x − y‖²` of all pairs of rows: `[rows of x, rows of y]`.
fn squared_distances(x: &Tensor, y: &Tensor) -> Tensor {
    let squares = |rows: &Tensor| (rows * rows).sum_dim_intlist(1, false, Kind::Double);
    let lengths = squares(x).unsqueeze(1) + squares(y).unsqueeze(0);
    let distances = &lengths - x.matmul(&y.tr()) * 2.0;
    let same = distances.le_tensor(&(lengths * SAME_POINT));
    distances.masked_fill(&same, 0.0)
}

fn count(mask: &Tensor) -> i64 {
    mask.sum(Kind::Int64).int64_value(&[])
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn line(points: &[f32]) -> Tensor {
        Tensor::from_slice(points).view([-1, 1])
    }

    /// Five points a unit apart have radius 1 (2 at the ends) for k = 2 and 1 for k = 1.
    #[test]
    fn balls_on_a_line_by_hand() {
        let reference = line(&[0.0, 1.0, 2.0, 3.0, 4.0]);
        let generated = line(&[0.5, 0.6, 100.0, 101.0]);
        let metrics = manifold_metrics(&reference, &generated, 1).unwrap();
        // 0.5 and 0.6 lie in the balls of 0 and 1; nothing real lies within 0.1 of 0.5 or within 1 of 100.
        let expected = ManifoldMetrics {
            precision: 0.5,
            recall: 0.0,
            density: 1.0,
            coverage: 0.4,
            nearest_k: 1,
        };
        assert_eq!(metrics, expected);
    }

    #[test]
    fn sets_without_spread_agree_with_themselves() {
        let constant = Tensor::full([10, 4], 0.1, (Kind::Float, Device::Cpu));
        let metrics = manifold_metrics(&constant, &constant, 3).unwrap();
        assert_eq!(
            (metrics.precision, metrics.recall, metrics.coverage),
            (1.0, 1.0, 1.0)
        );
    }

    #[test]
    fn as_many_images_as_neighbours_are_too_few() {
        let three = line(&[0.0, 1.0, 2.0]);
        let refused = manifold_metrics(&three, &three, 3);
        assert!(matches!(
            refused,
            Err(MetricsError::TooFewImages {
                needed: 4,
                actual: 3,
                ..
            })
        ));
    }
}
