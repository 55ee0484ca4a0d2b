//! What the setting `metrics` names: a module each, and the list of them.

mod confidence;
mod inception_score;
mod kernel;
mod manifold;

use patchwork_terms::Metric;

use super::comparison::WholeMetric;

/// What computes a metric of whole images beside the Fréchet distance.
pub(super) fn implementation(metric: Metric) -> &'static dyn WholeMetric {
    match metric {
        Metric::Confidence => &confidence::Confidence,
        Metric::InceptionScore => &inception_score::InceptionScore,
        Metric::Kernel => &kernel::Kernel,
        Metric::Manifold => &manifold::Manifold,
    }
}
