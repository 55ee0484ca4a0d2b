//! Distances between sets of images: feature extractors, moments, Fréchet distance, kernel distance,
//! precision and recall, density and coverage.
//!
//! - [`Extractor`] turns 8-bit images into features; [`open_extractor`] loads one by its name.
//! - [`Moments`] accumulates features in float64, batch by batch, and gives their [`Gaussian`].
//! - [`frechet_distance`] compares two Gaussians; [`Confidence`] says how far a sample size can be trusted.
//! - [`Neighbours`] are the nearest features to a few.
//! - [`kid`], [`kid_over_subsets`] and [`manifold_metrics`] compare two sets of features directly.
//!
//! Knows nothing of data sets, image files, runs or the registry, and writes no files.

pub mod efficientnet_lite0;
pub mod error;
pub mod extractor;
pub mod frechet;
pub mod kid;
pub mod manifold;
pub mod moments;
pub mod neighbours;

mod features;
mod folded_convolution;
mod parameters;

pub use error::MetricsError;
pub use extractor::{Extractor, open_extractor};
pub use frechet::{Confidence, FrechetDistance, frechet_distance};
pub use kid::{KidEstimate, KidSubsets, kid, kid_over_subsets};
pub use manifold::{ManifoldMetrics, manifold_metrics};
pub use moments::{Gaussian, Moments};
pub use neighbours::Neighbours;
