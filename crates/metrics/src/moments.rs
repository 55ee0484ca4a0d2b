//! Mean and covariance of features, accumulated batch by batch in float64.
//!
//! The state is the count, the sum and the sum of outer products: three tensors that a caller can save after any
//! batch and continue from. The same batches in the same order give the same bits, with or without such a break.
//! Float64 leaves about nine digits after the cancellation in `Σ x xᵀ − n μ μᵀ` for float32 features.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::MetricsError;
use crate::features::{check_finite, checked};

const COUNT: &str = "moments/count";
const SUM: &str = "moments/sum";
const OUTER_SUM: &str = "moments/outer_sum";

/// Running sums over features.
#[derive(Debug)]
pub struct Moments {
    count: i64,
    /// `[dimension]`, f64.
    sum: Tensor,
    /// `[dimension, dimension]`, f64.
    outer_sum: Tensor,
}

impl Moments {
    /// No features yet, of that width.
    ///
    /// # Panics
    /// If `dimension` is not positive.
    pub fn new(dimension: i64) -> Self {
        assert!(dimension > 0, "features have at least one dimension");
        let double = (Kind::Double, Device::Cpu);
        Self {
            count: 0,
            sum: Tensor::zeros([dimension], double),
            outer_sum: Tensor::zeros([dimension; 2], double),
        }
    }

    /// How many images' features are in the sums.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// The width of the features.
    pub fn dimension(&self) -> i64 {
        self.sum.size()[0]
    }

    /// Adds a batch; on an error nothing is added.
    ///
    /// # Shapes
    /// - `features`: `[batch, dimension]`, any float
    ///
    /// # Errors
    /// [`MetricsError::Features`] for another width, [`MetricsError::NotFinite`] for NaN or infinity.
    pub fn accumulate(&mut self, features: &Tensor) -> Result<(), MetricsError> {
        let features = checked(features, Some(self.dimension()))?;
        self.count += features.size()[0];
        self.sum += features.sum_dim_intlist(0, false, Kind::Double);
        self.outer_sum += features.tr().matmul(&features);
        Ok(())
    }

    /// Adds the sums of other images, such as those of the next shard.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricsError> {
        if self.dimension() != other.dimension() {
            return Err(MetricsError::Dimensions {
                reference: self.dimension(),
                generated: other.dimension(),
            });
        }
        self.count += other.count;
        self.sum += &other.sum;
        self.outer_sum += &other.outer_sum;
        Ok(())
    }

    /// The sums without those of some of the images.
    ///
    /// # Errors
    /// [`MetricsError::Dimensions`] for another width, [`MetricsError::TooFewImages`] for more images than there are.
    pub fn without(&self, part: &Self) -> Result<Self, MetricsError> {
        if self.dimension() != part.dimension() {
            return Err(MetricsError::Dimensions {
                reference: self.dimension(),
                generated: part.dimension(),
            });
        }
        if self.count < part.count {
            return Err(MetricsError::TooFewImages {
                what: "leaving out a part",
                needed: part.count,
                actual: self.count,
            });
        }
        Ok(Self {
            count: self.count - part.count,
            sum: &self.sum - &part.sum,
            outer_sum: &self.outer_sum - &part.outer_sum,
        })
    }

    /// The state as named tensors, for a safetensors file: `moments/count` (i64, `[1]`), `moments/sum` (f64,
    /// `[dimension]`), `moments/outer_sum` (f64, `[dimension, dimension]`).
    pub fn to_tensors(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::from([
            (COUNT.to_owned(), Tensor::from_slice(&[self.count])),
            (SUM.to_owned(), self.sum.copy()),
            (OUTER_SUM.to_owned(), self.outer_sum.copy()),
        ])
    }

    /// The state out of tensors that [`Moments::to_tensors`] made, to the last bit.
    pub fn from_tensors(tensors: &BTreeMap<String, Tensor>) -> Result<Self, MetricsError> {
        let tensor = |name: &str, kind: Kind| {
            let tensor = tensors.get(name).ok_or_else(|| MetricsError::State {
                reason: format!("there is no tensor `{name}`"),
            })?;
            if tensor.kind() != kind {
                let reason = format!("`{name}` holds {:?}, expected {kind:?}", tensor.kind());
                return Err(MetricsError::State { reason });
            }
            Ok(tensor.to_device(Device::Cpu).copy())
        };
        let (count, sum, outer_sum) = (
            tensor(COUNT, Kind::Int64)?,
            tensor(SUM, Kind::Double)?,
            tensor(OUTER_SUM, Kind::Double)?,
        );
        let dimension = sum.numel() as i64;
        let shapes_agree = count.size() == [1]
            && dimension > 0
            && sum.size() == [dimension]
            && outer_sum.size() == [dimension, dimension];
        let count = if shapes_agree {
            count.int64_value(&[0])
        } else {
            -1
        };
        if count < 0 {
            let reason = format!(
                "`{COUNT}`, `{SUM}` of shape {:?} and `{OUTER_SUM}` of shape {:?} do not belong together",
                sum.size(),
                outer_sum.size()
            );
            return Err(MetricsError::State { reason });
        }
        check_finite("the saved moments", &sum)?;
        check_finite("the saved moments", &outer_sum)?;
        Ok(Self {
            count,
            sum,
            outer_sum,
        })
    }

    /// The Gaussian with these moments: mean and sample covariance (divided by count − 1).
    ///
    /// # Errors
    /// [`MetricsError::TooFewImages`] below two images.
    pub fn gaussian(&self) -> Result<Gaussian, MetricsError> {
        if self.count < 2 {
            return Err(MetricsError::TooFewImages {
                what: "a covariance",
                needed: 2,
                actual: self.count,
            });
        }
        let mean = &self.sum / self.count as f64;
        let scatter = &self.outer_sum - self.sum.outer(&mean);
        let covariance = (&scatter + scatter.tr()) / (2.0 * (self.count - 1) as f64);
        Ok(Gaussian {
            mean,
            covariance,
            count: self.count,
        })
    }
}

/// Mean and covariance of a set's features, and how many images they are of.
#[derive(Debug)]
pub struct Gaussian {
    mean: Tensor,
    covariance: Tensor,
    count: i64,
}

impl Gaussian {
    /// A Gaussian from its parts, such as a published reference.
    ///
    /// The rank of the covariance is taken to be at most `count` − 1.
    ///
    /// # Shapes
    /// - `mean`: `[dimension]`; `covariance`: `[dimension, dimension]`, symmetric to 1e-6 of its largest element
    ///
    /// # Errors
    /// Where the shapes do not belong together, or the numbers are not finite or not symmetric.
    pub fn new(mean: &Tensor, covariance: &Tensor, count: i64) -> Result<Self, MetricsError> {
        let dimension = mean.numel() as i64;
        if mean.size() != [dimension]
            || covariance.size() != [dimension, dimension]
            || dimension == 0
        {
            let reason = format!(
                "its shape is {:?} and the mean's {:?}",
                covariance.size(),
                mean.size()
            );
            return Err(MetricsError::NotCovariance { reason });
        }
        let mean = mean.to_device(Device::Cpu).to_kind(Kind::Double);
        let covariance = covariance.to_device(Device::Cpu).to_kind(Kind::Double);
        check_finite("the mean", &mean)?;
        check_finite("the covariance", &covariance)?;
        let largest = covariance.abs().max().double_value(&[]);
        let skew = (&covariance - covariance.tr())
            .abs()
            .max()
            .double_value(&[]);
        if skew > 1e-6 * largest {
            return Err(MetricsError::NotCovariance {
                reason: format!("it is asymmetric by {skew:.3e}"),
            });
        }
        let covariance = (&covariance + covariance.tr()) / 2.0;
        Ok(Self {
            mean,
            covariance,
            count,
        })
    }

    /// `[dimension]`, f64.
    pub fn mean(&self) -> &Tensor {
        &self.mean
    }

    /// `[dimension, dimension]`, f64, symmetric to the last bit.
    pub fn covariance(&self) -> &Tensor {
        &self.covariance
    }

    /// How many images it is of.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// The width of the features.
    pub fn dimension(&self) -> i64 {
        self.mean.size()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(seed: i64, count: i64, dimension: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn([count, dimension], (Kind::Float, Device::Cpu))
    }

    fn same_bits(a: &Moments, b: &Moments) -> bool {
        a.count == b.count && a.sum.equal(&b.sum) && a.outer_sum.equal(&b.outer_sum)
    }

    #[test]
    fn a_break_between_batches_changes_no_bit() {
        let batches: Vec<Tensor> = (0..5).map(|seed| features(seed, 7, 11)).collect();
        let mut whole = Moments::new(11);
        let mut broken = Moments::new(11);
        for batch in &batches {
            whole.accumulate(batch).unwrap();
            broken = Moments::from_tensors(&broken.to_tensors()).unwrap();
            broken.accumulate(batch).unwrap();
        }
        assert!(same_bits(&whole, &broken));
        let mut merged = Moments::new(11);
        for batch in &batches {
            let mut shard = Moments::new(11);
            shard.accumulate(batch).unwrap();
            merged.merge(&shard).unwrap();
        }
        assert!(same_bits(&whole, &merged));
    }

    #[test]
    fn the_covariance_is_the_samples() {
        let features = features(1, 50, 6) * 3.0 + 100.0;
        let mut moments = Moments::new(6);
        moments.accumulate(&features).unwrap();
        let gaussian = moments.gaussian().unwrap();
        let expected = features
            .to_kind(Kind::Double)
            .tr()
            .cov::<Tensor>(1, None, None);
        assert!(
            (gaussian.covariance() - expected)
                .abs()
                .max()
                .double_value(&[])
                < 1e-9
        );
    }

    #[test]
    fn broken_input_is_refused_and_not_added() {
        let mut moments = Moments::new(3);
        assert!(matches!(
            moments.accumulate(&features(0, 2, 4)),
            Err(MetricsError::Features { .. })
        ));
        let poisoned = Tensor::from_slice(&[1.0, f64::NAN, 2.0]).view([1, 3]);
        assert!(matches!(
            moments.accumulate(&poisoned),
            Err(MetricsError::NotFinite { count: 1, .. })
        ));
        assert!(matches!(
            moments.gaussian(),
            Err(MetricsError::TooFewImages { actual: 0, .. })
        ));
        let mut tensors = moments.to_tensors();
        tensors.insert(
            SUM.to_owned(),
            Tensor::zeros([4], (Kind::Double, Device::Cpu)),
        );
        assert!(matches!(
            Moments::from_tensors(&tensors),
            Err(MetricsError::State { .. })
        ));
        tensors.remove(SUM);
        assert!(matches!(
            Moments::from_tensors(&tensors),
            Err(MetricsError::State { .. })
        ));
    }
}
