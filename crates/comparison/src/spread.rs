//! Runs that differ in their seed alone, taken together: mean, deviation, number, and what is a difference.

use std::fmt;

/// Values of one quantity over several seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, of a sample (n - 1); none of a single value.
    pub deviation: Option<f64>,
    /// How many they are, at least one.
    pub number: usize,
}

/// Whether two means differ by more than their seeds explain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Seeds alone lead to such a difference less than once in twenty times.
    Beyond,
    /// Seeds alone may lead to it.
    Within,
    /// One of both is of a single seed, which has no spread.
    Unknown,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Beyond => "beyond spread",
            Self::Within => "within spread",
            Self::Unknown => "unknown: one seed",
        })
    }
}

/// Student's t at 95 % on two sides, by degrees of freedom from 1.
const STUDENT_T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

impl Spread {
    /// The spread of some values; none where there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let number = values.len();
        let mean = values.iter().sum::<f64>() / number as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (number > 1).then(|| (squares / (number - 1) as f64).sqrt());
        Some(Self {
            mean,
            deviation,
            number,
        })
    }

    /// The variance of the mean; none of a single value.
    fn variance_of_mean(self) -> Option<f64> {
        let deviation = self.deviation?;
        Some(deviation * deviation / self.number as f64)
    }

    /// Whether this mean and another differ beyond their spread: Welch's test at 95 % with degrees of freedom by Welch and
    /// Satterthwaite, rounded down. It takes the seeds of both as independent.
    ///
    /// # Source
    /// Welch 1947, "The generalization of Student's problem when several different population variances are involved".
    pub fn difference(self, other: Self) -> Difference {
        let variances = self.variance_of_mean().zip(other.variance_of_mean());
        let Some((own, others)) = variances else {
            return Difference::Unknown;
        };
        let distance = (self.mean - other.mean).abs();
        let variance = own + others;
        if variance <= 0.0 {
            return if distance > 0.0 {
                Difference::Beyond
            } else {
                Difference::Within
            };
        }
        let part = |variance: f64, number: usize| variance * variance / (number - 1) as f64;
        let freedom = variance * variance / (part(own, self.number) + part(others, other.number));
        if distance > student_t(freedom) * variance.sqrt() {
            Difference::Beyond
        } else {
            Difference::Within
        }
    }
}

/// Beyond the table the value of its last row, which is above the true one.
fn student_t(freedom: f64) -> f64 {
    let row = (freedom.floor() as usize).clamp(1, STUDENT_T.len());
    STUDENT_T[row - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_that_of_a_sample() {
        let spread = Spread::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((spread.mean, spread.number), (5.0, 8));
        assert!((spread.deviation.unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(&[3.0]).unwrap().deviation, None);
        assert_eq!(Spread::of(&[]), None);
    }

    /// With p-values from the integral of Student's density.
    #[test]
    fn differences_are_those_of_welchs_test() {
        let of = |values: &[f64]| Spread::of(values).unwrap();
        let cases: [(&[f64], &[f64], Difference); 5] = [
            // p = 0.0051
            (
                &[150.0, 155.0, 148.0],
                &[170.0, 166.0, 175.0],
                Difference::Beyond,
            ),
            // p = 0.16
            (
                &[150.0, 155.0, 148.0],
                &[152.0, 160.0, 157.0],
                Difference::Within,
            ),
            // p = 0.092, while equal variances would give 0.038
            (&[10.0, 10.1, 9.9], &[11.0, 14.0, 13.5], Difference::Within),
            (&[1.0, 1.0], &[2.0, 2.0], Difference::Beyond),
            (&[1.0], &[2.0, 3.0], Difference::Unknown),
        ];
        for (one, other, expected) in cases {
            assert_eq!(of(one).difference(of(other)), expected, "{one:?} {other:?}");
            assert_eq!(of(other).difference(of(one)), expected);
        }
    }
}
