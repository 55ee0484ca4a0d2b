//! Which extractors there are, how images come to their input, and what is measured with their features is called.

use std::fmt;
use std::path::{Path, PathBuf};

use patchwork_core::Digest;
pub use patchwork_terms::{Quantity, Resize};

use crate::error::WeightsError;
use crate::file::{EFFICIENTNET_LITE0, FoundWeights, INCEPTION_V3, INCEPTION_V3_TORCHSCRIPT};

/// The environment variable that names the folder of the weights, when it is not the default.
pub const WEIGHTS_VARIABLE: &str = "PATCHWORK_WEIGHTS";

/// The folder of the weights: the given one, else `weights` in the current folder, which set-up fills.
pub fn weights_folder(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| PathBuf::from("weights"))
}

/// A network of the user's own that gives features.
#[derive(Clone, Debug, PartialEq)]
pub struct TorchScript {
    /// What it is called, such as `dinov2`: a part of the names of its metrics.
    pub name: String,
    /// The TorchScript file: a path, or a name in the folder of the weights.
    pub file: PathBuf,
    /// Side of the input in pixels.
    pub side: u32,
    /// Subtracted from the pixels in [0, 1], by channel.
    pub mean: [f64; 3],
    /// What the difference is divided by.
    pub deviation: [f64; 3],
}

/// A network whose features are compared.
#[derive(Clone, Debug, PartialEq)]
pub enum Network {
    /// EfficientNet-Lite0 with ImageNet weights, which set-up puts in place.
    EfficientNetLite0,
    /// Inception-v3 of 2015-12-05, which defines FID.
    InceptionV3,
    /// A network of the user's own.
    TorchScript(TorchScript),
}

/// A network and how images come to its input: all that a set of features depends on besides the images.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractorSpec {
    /// The network.
    pub network: Network,
    /// How images come to its input.
    pub resize: Resize,
}

impl ExtractorSpec {
    /// The network with the resize that its metrics' short names stand for.
    pub fn new(network: Network) -> Self {
        let resize = match network {
            Network::EfficientNetLite0 => Resize::Bicubic,
            Network::InceptionV3 => Resize::Tf1,
            Network::TorchScript(_) => Resize::Clean,
        };
        Self { network, resize }
    }

    /// The network's name in pipeline files and the registry.
    pub fn name(&self) -> &str {
        match &self.network {
            Network::EfficientNetLite0 => "efficientnet-lite0",
            Network::InceptionV3 => "inception-v3",
            Network::TorchScript(network) => &network.name,
        }
    }

    /// The name of a file that belongs to this extractor: `inception-v3-tf1`.
    pub fn file_stem(&self) -> String {
        format!("{}-{}", self.name(), self.resize.name())
    }

    /// Everything that happens to an image before the network, as the registry records it.
    pub fn preprocessing(&self) -> String {
        match &self.network {
            Network::EfficientNetLite0 => "bicubic-224".to_owned(),
            Network::InceptionV3 => self.resize.name().to_owned(),
            Network::TorchScript(network) => {
                let list = |values: &[f64; 3]| values.map(|value| value.to_string()).join(",");
                let size = match self.resize {
                    Resize::None => "none".to_owned(),
                    resize => format!("{}-{}", resize.name(), network.side),
                };
                let (mean, deviation) = (list(&network.mean), list(&network.deviation));
                format!("{size} mean {mean} std {deviation}")
            }
        }
    }

    /// What a quantity of its features is called. Only Inception-v3's Fréchet distance is FID, and only with the
    /// resize of the published numbers is it plain `fid`.
    pub fn metric_name(&self, quantity: Quantity) -> String {
        let inception = self.network == Network::InceptionV3;
        let frechet = if inception { "fid" } else { "fd" };
        let stem = match quantity {
            Quantity::Frechet => frechet.to_owned(),
            Quantity::FrechetInfinity => format!("{frechet}_infinity"),
            Quantity::FrechetCropHalf => format!("{frechet}_crop_half"),
            Quantity::FrechetCropQuarter => format!("{frechet}_crop_quarter"),
            Quantity::FrechetSpatial => format!("s{frechet}"),
            Quantity::Kernel => (if inception { "kid" } else { "kd" }).to_owned(),
            other => other.name().replace('-', "_"),
        };
        let suffix = match (&self.network, self.resize) {
            (Network::InceptionV3, Resize::Tf1) => return stem,
            (Network::InceptionV3, resize) => resize.name().to_owned(),
            _ => self.name().replace('-', "_"),
        };
        format!("{stem}_{suffix}")
    }

    /// Whether the network has the inner map of the spatial distance.
    pub fn has_spatial_features(&self) -> bool {
        self.network == Network::InceptionV3
    }

    /// Checks that the weights lie in a folder and are the published ones.
    pub fn check(&self, weights_folder: &Path) -> Result<FoundWeights, WeightsError> {
        match &self.network {
            Network::EfficientNetLite0 => EFFICIENTNET_LITE0.check(weights_folder),
            Network::InceptionV3 => {
                // The native network is the better one: it has the spatial features, and is faster.
                let native = INCEPTION_V3.check(weights_folder);
                match native {
                    Err(WeightsError::Missing { .. })
                        if INCEPTION_V3_TORCHSCRIPT.is_in(weights_folder) =>
                    {
                        INCEPTION_V3_TORCHSCRIPT.check(weights_folder)
                    }
                    native => native,
                }
            }
            Network::TorchScript(network) => {
                let path = weights_folder.join(&network.file);
                match Digest::of_file(&path) {
                    Ok(digest) => Ok(FoundWeights { path, digest }),
                    Err(error) if error.is_not_found() => Err(network.missing(path)),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// What is to be done if no weights lie in a folder; what lies there is not read, and may be wrong.
    pub fn missing_from(&self, weights_folder: &Path) -> Option<WeightsError> {
        match &self.network {
            Network::EfficientNetLite0 => EFFICIENTNET_LITE0.missing_from(weights_folder),
            Network::InceptionV3 if INCEPTION_V3_TORCHSCRIPT.is_in(weights_folder) => None,
            Network::InceptionV3 => INCEPTION_V3.missing_from(weights_folder),
            Network::TorchScript(network) => {
                let path = weights_folder.join(&network.file);
                matches!(path.try_exists(), Ok(false)).then(|| network.missing(path))
            }
        }
    }
}

impl TorchScript {
    fn missing(&self, path: PathBuf) -> WeightsError {
        WeightsError::Missing {
            extractor: self.name.clone(),
            path,
            remedy: "put the TorchScript file there, or fix `file` of its settings".to_owned(),
        }
    }
}

impl fmt::Display for ExtractorSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            Network::EfficientNetLite0 => formatter.write_str(self.name()),
            _ => write!(formatter, "{}/{}", self.name(), self.resize.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inception(resize: Resize) -> ExtractorSpec {
        ExtractorSpec {
            network: Network::InceptionV3,
            resize,
        }
    }

    #[test]
    fn only_the_published_way_is_called_fid() {
        let name = |spec: &ExtractorSpec, quantity| spec.metric_name(quantity);
        assert_eq!(name(&inception(Resize::Tf1), Quantity::Frechet), "fid");
        assert_eq!(
            name(&inception(Resize::Clean), Quantity::FrechetSpatial),
            "sfid_clean"
        );
        assert_eq!(
            name(&inception(Resize::Torch), Quantity::Kernel),
            "kid_torch"
        );
        let shipped = ExtractorSpec::new(Network::EfficientNetLite0);
        assert_eq!(name(&shipped, Quantity::Frechet), "fd_efficientnet_lite0");
        assert_eq!(
            name(&shipped, Quantity::FrechetCropHalf),
            "fd_crop_half_efficientnet_lite0"
        );
    }

    /// Scores of earlier versions have their quantity in their name alone.
    #[test]
    fn the_quantity_of_each_earlier_name_is_known() {
        let extractors = [
            inception(Resize::Tf1),
            inception(Resize::Clean),
            ExtractorSpec::new(Network::EfficientNetLite0),
        ];
        for &quantity in Quantity::ALL {
            for extractor in &extractors {
                let name = extractor.metric_name(quantity);
                assert_eq!(Quantity::of_unrecorded(&name), quantity, "{name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let check = |spec: &ExtractorSpec| spec.check(folder.path()).unwrap_err().to_string();
        let message = check(&inception(Resize::Tf1));
        assert!(
            message.contains("patchwork weights get inception"),
            "{message}"
        );
        let shipped = ExtractorSpec::new(Network::EfficientNetLite0);
        let message = check(&shipped);
        assert!(message.contains("./justw setup"), "{message}");
        for (file, spec) in [
            (&EFFICIENTNET_LITE0, &shipped),
            (&INCEPTION_V3_TORCHSCRIPT, &inception(Resize::Clean)),
            (&INCEPTION_V3, &inception(Resize::Tf1)),
        ] {
            std::fs::write(folder.path().join(file.file_name), b"not the weights").unwrap();
            let message = check(spec);
            assert!(
                message.contains("is not the file") && message.contains(file.file_name),
                "{message}"
            );
        }
    }
}
