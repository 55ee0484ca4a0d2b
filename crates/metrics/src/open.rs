//! Loading extractors by what they are.

use std::path::Path;

use patchwork_weights::{ExtractorSpec, INCEPTION_V3, Network};
use tch::Device;

use crate::efficientnet_lite0::EfficientNetLite0;
use crate::error::MetricsError;
use crate::extractor::{Extractor, OpenExtractor};
use crate::inception_v3::{InceptionV3, InceptionV3TorchScript};
use crate::torchscript::TorchScriptExtractor;

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
