//! What turns images into features.

use patchwork_core::Digest;
use patchwork_weights::ExtractorSpec;
use tch::{Kind, Tensor};

use crate::error::MetricsError;

/// Features of a batch of images.
#[derive(Debug)]
pub struct Features {
    /// `[batch, dimension]`, f32, on the CPU.
    pub pooled: Tensor,
    /// `[batch, spatial_dimension]`, f32, on the CPU: a part of an inner map, from networks that define one.
    pub spatial: Option<Tensor>,
}

/// A fixed network from 8-bit images to features.
///
/// # Determinism
/// On a CPU an image's features do not depend on the images beside it or on their number: every chunk that goes through
/// the network has one size. They depend on the processor, and on the number of threads where these share the operations on a
/// chunk, by float32 rounding.
pub trait Extractor {
    /// The digest of the weights file.
    fn weights_digest(&self) -> Digest;

    /// The width of the features.
    fn dimension(&self) -> i64;

    /// The width of the spatial features, where there are any.
    fn spatial_dimension(&self) -> Option<i64> {
        None
    }

    /// The logits of the network's classes without their bias, from features: `features · Wᵀ`. None for a network without
    /// a classifier.
    ///
    /// # Shapes
    /// - `features`: `[n, dimension]`, f32
    /// - returns: `[n, classes]`, f32, on the CPU
    fn class_logits(&self, _features: &Tensor) -> Option<Tensor> {
        None
    }

    /// The features of a batch.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, height, width]`, u8, RGB
    ///
    /// # Errors
    /// [`MetricsError::Images`] when `images` is something else; where a program of the user's own fails.
    fn features(&self, images: &Tensor) -> Result<Features, MetricsError>;
}

/// An extractor that is loaded, and what it is.
pub struct OpenExtractor {
    /// The network and how images come to it.
    pub spec: ExtractorSpec,
    /// The network itself.
    pub extractor: Box<dyn Extractor>,
}

/// An error where `images` is not a batch of colour images.
pub(crate) fn check_images(images: &Tensor) -> Result<(), MetricsError> {
    let shape = images.size();
    let sides_are_positive = shape.iter().skip(1).all(|&side| side > 0);
    if images.kind() == Kind::Uint8 && shape.len() == 4 && shape[1] == 3 && sides_are_positive {
        Ok(())
    } else {
        Err(MetricsError::Images {
            kind: format!("{:?}", images.kind()),
            shape,
        })
    }
}
