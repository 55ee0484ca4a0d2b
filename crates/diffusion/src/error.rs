//! What this crate refuses.

use thiserror::Error;

/// A request that the mathematics cannot serve; the message names the value and what to do.
#[derive(Debug, Error)]
pub enum DiffusionError {
    /// The share of full images is not a probability.
    #[error("full-image ratio `{0}` is not between 0 and 1: choose a value in [0, 1]")]
    FullImageRatio(f64),
    /// The resolution cannot be divided into the patch sides.
    #[error(
        "resolution `{resolution}` is not a positive multiple of `{divisor}`: patch sizes must be whole pixels"
    )]
    Resolution {
        /// Side of the full image in pixels.
        resolution: i64,
        /// What it has to be divisible by.
        divisor: i64,
    },
    /// The patch sides given by hand make no distribution.
    #[error("patch sizes are invalid: {0}")]
    Sides(&'static str),
    /// A saved state has no such tensor.
    #[error(
        "saved state is missing the tensor `{0}`: it was written for another network or another format"
    )]
    MissingState(String),
    /// A saved tensor has another shape than the parameter that it belongs to.
    #[error(
        "saved tensor `{name}` has shape {found:?} where {expected:?} is needed: it was written for another network"
    )]
    StateShape {
        /// Name of the tensor in the saved state.
        name: String,
        /// Shape of the network's parameter.
        expected: Vec<i64>,
        /// Shape in the saved state.
        found: Vec<i64>,
    },
    /// The relative width of a power-function average is out of range.
    #[error(
        "relative width `{0}` of a power-function average is not in (0, 0.28): use for example 0.05 or 0.10"
    )]
    RelativeWidth(f64),
    /// A quarter turn exchanges height and width.
    #[error(
        "images of {height} x {width} pixels have no quarter turns: leave `rotate_int` out or use square images"
    )]
    QuarterTurns {
        /// Height of the images.
        height: i64,
        /// Width of the images.
        width: i64,
    },
    /// Colour transformations need RGB.
    #[error(
        "images with `{0}` channels have no colours to transform: leave colour transformations out"
    )]
    ColorChannels(i64),
    /// An autoencoder refuses.
    #[error(transparent)]
    Network(#[from] patchwork_networks::NetworkError),
}
