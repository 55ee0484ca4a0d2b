//! What a metric's name tells of its values.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricFamily {
    /// A Fréchet distance, such as `fid` or `fd_crop_half_dinov2`; also what has a name that is not known.
    Frechet,
    /// A kernel distance, such as `kid` or `kd_dinov2`.
    Kernel,
    /// How two sets of images reach into each other: `precision`, `recall`, `density`, `coverage`.
    Manifold,
}

impl MetricFamily {
    /// The family of the metric of this name: the quantity's, and after it often the extractor's or the resize's.
    pub fn of(metric: &str) -> Self {
        match metric.split('_').next() {
            Some("kid" | "kd") => Self::Kernel,
            Some("precision" | "recall" | "density" | "coverage") => Self::Manifold,
            _ => Self::Frechet,
        }
    }

    /// Whether of two values the higher is the better one.
    pub fn is_better_higher(self) -> bool {
        self == Self::Manifold
    }
}
