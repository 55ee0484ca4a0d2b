//! What turns images into features.

use std::path::Path;

use patchwork_core::Digest;
use patchwork_weights::{ExtractorSpec, INCEPTION_V3, Network};
use tch::{Device, Kind, Tensor};

use crate::efficientnet_lite0::EfficientNetLite0;
use crate::error::MetricsError;
use crate::inception_v3::{InceptionV3, InceptionV3TorchScript};
use crate::torchscript::TorchScriptExtractor;

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
/// the network has one size. They depend on the processor and on the number of threads by float32 rounding.
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

/// Loads extractors from a folder of weights, after checking the files. Two that differ in their resize alone share
/// one network.
pub fn open_extractors(
    specs: &[ExtractorSpec],
    weights_folder: &Path,
    device: Device,
) -> Result<Vec<OpenExtractor>, MetricsError> {
    let mut shared = Inception::None;
    specs
        .iter()
        .map(|spec| {
            Ok(OpenExtractor {
                spec: spec.clone(),
                extractor: open(spec, weights_folder, device, &mut shared)?,
            })
        })
        .collect()
}

/// The one Inception-v3 that all its resizes use.
enum Inception {
    None,
    Native(InceptionV3),
    Program(InceptionV3TorchScript),
}

fn open(
    spec: &ExtractorSpec,
    weights_folder: &Path,
    device: Device,
    shared: &mut Inception,
) -> Result<Box<dyn Extractor>, MetricsError> {
    let found = spec.check(weights_folder)?;
    let (path, digest) = (found.path, found.digest);
    Ok(match &spec.network {
        Network::EfficientNetLite0 => Box::new(EfficientNetLite0::read(&path, digest, device)?),
        Network::TorchScript(settings) => {
            let settings = settings.clone();
            let resize = spec.resize;
            Box::new(TorchScriptExtractor::read(
                &path, settings, digest, resize, device,
            )?)
        }
        Network::InceptionV3 => {
            if matches!(shared, Inception::None) {
                *shared = if path.ends_with(INCEPTION_V3.file_name) {
                    Inception::Native(InceptionV3::read(&path, digest, spec.resize, device)?)
                } else {
                    let program = InceptionV3TorchScript::read(&path, digest, spec.resize, device)?;
                    Inception::Program(program)
                };
            }
            match shared {
                Inception::Native(network) => Box::new(network.with_resize(spec.resize)),
                Inception::Program(program) => Box::new(program.with_resize(spec.resize)),
                Inception::None => unreachable!("it was opened above"),
            }
        }
    })
}

/// An error where `images` is no batch of colour images.
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
