//! Distances between sets of images: feature extractors, moments, Fréchet distance, kernel distance,
//! precision and recall, density and coverage.
//!
//! - [`Extractor`] turns 8-bit images into features; [`open_extractors`] loads them by what they are.
//! - [`Extraction`] takes several kinds of features in one pass: whole images, their crops, an inner map.
//! - [`Moments`] accumulates features in float64, batch by batch, and gives their [`Gaussian`].
//! - [`frechet_distance`] compares two Gaussians; [`Confidence`] says how far a sample size can be trusted, and
//!   [`frechet_spread`] by how much the distance varies.
//! - [`npz`] reads and writes reference statistics of other programs.
//! - [`Neighbours`] are the nearest features to a few.
//! - [`inception_score()`] says how sure a classifier is of the images, and of how many classes they are.
//! - [`kid()`], [`kid_over_subsets`] and [`manifold_metrics`] compare two sets of features directly.
//!
//! Knows nothing of data sets, image files, runs or the registry, and writes no files.

pub mod efficientnet_lite0;
pub mod error;
pub mod extraction;
pub mod extractor;
pub mod frechet;
pub mod inception_score;
pub mod inception_v3;
pub mod kid;
pub mod manifold;
pub mod moments;
pub mod neighbours;
pub mod npz;
pub mod resize;
pub mod spread;
pub mod torchscript;

mod chunks;
mod features;
mod folded_convolution;
mod open;
mod parameters;

pub use error::MetricsError;
pub use extraction::{Extraction, Stream, View};
pub use extractor::{Extractor, Features, OpenExtractor};
pub use frechet::{Confidence, FrechetDistance, frechet_distance};
pub use inception_score::{InceptionScore, inception_score};
pub use kid::{KidEstimate, KidSubsets, kid, kid_over_subsets};
pub use manifold::{ManifoldMetrics, manifold_metrics};
pub use moments::{Gaussian, Moments};
pub use neighbours::Neighbours;
pub use open::open_extractors;
pub use spread::{FrechetSpread, frechet_spread};
