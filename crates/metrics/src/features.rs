//! Sets of features as checked float64 matrices.

use tch::{Device, Kind, Tensor};

use crate::MetricsError;

/// Elements of a temporary matrix between two sets: 64 MiB in float64.
const BLOCK_ELEMENTS: i64 = 8 << 20;

/// The features in float64 on the CPU, if they are a finite matrix.
///
/// # Shapes
/// - `features`: `[images, dimension]`, any float
/// - returns: the same shape, f64
pub(crate) fn checked(features: &Tensor, dimension: Option<i64>) -> Result<Tensor, MetricsError> {
    let shape = features.size();
    let [_, width] = shape[..] else {
        return Err(MetricsError::Features {
            dimension: dimension.unwrap_or(1),
            shape,
        });
    };
    if width == 0 || dimension.is_some_and(|expected| expected != width) {
        return Err(MetricsError::Features {
            dimension: dimension.unwrap_or(1),
            shape,
        });
    }
    let features = features.to_device(Device::Cpu).to_kind(Kind::Double);
    check_finite("the features", &features)?;
    Ok(features)
}

/// Both sets checked, with features of one width and at least `needed` images each.
pub(crate) fn checked_pair(
    reference: &Tensor,
    generated: &Tensor,
    what: &'static str,
    needed: i64,
) -> Result<(Tensor, Tensor), MetricsError> {
    let reference = checked(reference, None)?;
    let generated = checked(generated, None)?;
    if reference.size()[1] != generated.size()[1] {
        return Err(MetricsError::Dimensions {
            reference: reference.size()[1],
            generated: generated.size()[1],
        });
    }
    for set in [&reference, &generated] {
        if set.size()[0] < needed {
            return Err(MetricsError::TooFewImages {
                what,
                needed,
                actual: set.size()[0],
            });
        }
    }
    Ok((reference, generated))
}

/// An error where any element is NaN or infinite.
pub(crate) fn check_finite(what: &'static str, tensor: &Tensor) -> Result<(), MetricsError> {
    let count = tensor
        .isfinite()
        .logical_not()
        .sum(Kind::Int64)
        .int64_value(&[]);
    if count == 0 {
        Ok(())
    } else {
        Err(MetricsError::NotFinite { what, count })
    }
}

/// Consecutive ranges `(start, length)` over `rows`, so that a block against `columns` stays small.
pub(crate) fn blocks(rows: i64, columns: i64) -> impl Iterator<Item = (i64, i64)> {
    let block = BLOCK_ELEMENTS.div_euclid(columns.max(1)).clamp(1, 4096);
    (0..rows)
        .step_by(block as usize)
        .map(move |start| (start, block.min(rows - start)))
}
