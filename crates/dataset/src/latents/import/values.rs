//! From stored values to raw means and log-variances.

use patchwork_terms::Spread;
use serde::{Deserialize, Serialize};

/// How stored values were scaled: `(raw - shift) * factor`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredScale {
    /// 1 for raw values.
    pub factor: f64,
    /// 0 for raw values.
    pub shift: f64,
}

impl StoredScale {
    /// As the encoder gave them.
    pub const RAW: Self = Self {
        factor: 1.0,
        shift: 0.0,
    };
}

/// The log-variance's bounds in the autoencoder.
const LOG_VARIANCE: [f32; 2] = [-30.0, 20.0];

/// Whether the second half of an image's values can only be standard deviations: log-variances of an encoder are nearly all
/// below 0, and read as such these would be of noise that drowns the means.
pub(super) fn are_deviations(values: &[f32]) -> bool {
    values[values.len() / 2..].iter().all(|value| *value >= 0.0)
}

/// Raw means and log-variances, or why there are none.
pub(super) fn moments(
    mut values: Vec<f32>,
    spread: Spread,
    stored: StoredScale,
) -> Result<(Vec<f32>, Vec<f32>), String> {
    let seconds = match spread {
        Spread::None => vec![LOG_VARIANCE[0]; values.len()],
        _ => values.split_off(values.len() / 2),
    };
    let log_scale = 2.0 * stored.factor.abs().ln();
    let log_variance = |second: f32| -> Result<f32, String> {
        let raw = match spread {
            Spread::None => return Ok(second),
            Spread::Std if second < 0.0 => {
                return Err(format!(
                    "it has the standard deviation {second}; are these log-variances?"
                ));
            }
            Spread::Std => 2.0 * f64::from(second).ln(),
            Spread::LogVariance => f64::from(second),
        };
        if raw.is_nan() {
            return Err("it has a non-finite variance".to_owned());
        }
        Ok(((raw - log_scale) as f32).clamp(LOG_VARIANCE[0], LOG_VARIANCE[1]))
    };
    let log_variances = seconds
        .into_iter()
        .map(log_variance)
        .collect::<Result<_, String>>()?;
    let means = values
        .into_iter()
        .map(|value| (f64::from(value) / stored.factor + stored.shift) as f32)
        .collect();
    Ok((means, log_variances))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_values_become_raw_ones() {
        let stored = StoredScale {
            factor: 0.5,
            shift: 1.0,
        };
        // A raw mean of 5 and standard deviation of 4.
        let values = |second| vec![2.0, second];
        for (spread, second) in [(Spread::Std, 2.0_f32), (Spread::LogVariance, 4.0_f32.ln())] {
            let (mean, log_variance) = moments(values(second), spread, stored).unwrap();
            assert_eq!(mean, [5.0]);
            assert!((log_variance[0] - 16.0_f32.ln()).abs() < 1e-6, "{spread:?}");
        }
        let (mean, log_variance) = moments(vec![2.0], Spread::None, stored).unwrap();
        assert_eq!((mean, log_variance), (vec![5.0], vec![-30.0]));
        // A deviation of zero, and one that cannot be.
        let zero = moments(values(0.0), Spread::Std, stored).unwrap();
        assert_eq!(zero.1, [-30.0]);
        let refused = moments(values(-3.0), Spread::Std, stored).unwrap_err();
        assert!(refused.contains("are these log-variances?"), "{refused}");
    }
}
