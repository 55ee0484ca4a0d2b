//! What turns images into features, and which such networks there are.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use patchwork_core::Digest;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::MetricsError;
use crate::efficientnet_lite0::EfficientNetLite0;

/// A fixed network from 8-bit images to features.
///
/// Whatever makes two distances incomparable is here to be recorded with them: the network, its weights, the resize.
pub trait Extractor {
    /// Which network.
    fn kind(&self) -> ExtractorKind;

    /// The network's name: `efficientnet-lite0`.
    fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// What the Fréchet distance of these features is called: `fd_efficientnet_lite0`.
    fn metric_name(&self) -> &'static str {
        self.kind().metric_name()
    }

    /// The width of the features.
    fn dimension(&self) -> i64 {
        self.kind().dimension()
    }

    /// The digest of the weights file.
    fn weights_digest(&self) -> Digest;

    /// How images come to the network's input size.
    fn resize(&self) -> &'static str;

    /// The features of a batch.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, height, width]`, u8, RGB
    /// - returns: `[batch, dimension]`, f32, on the CPU
    ///
    /// # Errors
    /// [`MetricsError::Images`] when `images` is something else.
    fn features(&self, images: &Tensor) -> Result<Tensor, MetricsError>;
}

/// The extractors by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtractorKind {
    /// EfficientNet-Lite0 with ImageNet weights, which set-up puts in place.
    #[serde(rename = "efficientnet-lite0")]
    EfficientNetLite0,
    /// Inception-v3 as FID defines it. Named, so that pipelines can say it; refused when opened.
    #[serde(rename = "inception-v3")]
    InceptionV3,
}

impl ExtractorKind {
    /// Every extractor that has a name.
    pub const ALL: [Self; 2] = [Self::EfficientNetLite0, Self::InceptionV3];

    /// The name in pipeline files and the registry.
    pub fn name(self) -> &'static str {
        match self {
            Self::EfficientNetLite0 => "efficientnet-lite0",
            Self::InceptionV3 => "inception-v3",
        }
    }

    /// What the Fréchet distance of its features is called. Only Inception-v3's is FID.
    pub fn metric_name(self) -> &'static str {
        match self {
            Self::EfficientNetLite0 => "fd_efficientnet_lite0",
            Self::InceptionV3 => "fid",
        }
    }

    /// The width of its features.
    pub fn dimension(self) -> i64 {
        match self {
            Self::EfficientNetLite0 => EfficientNetLite0::DIMENSION,
            Self::InceptionV3 => 2048,
        }
    }

    /// The name of its weights file.
    pub fn weights_file(self) -> &'static str {
        match self {
            Self::EfficientNetLite0 => EfficientNetLite0::WEIGHTS_FILE,
            Self::InceptionV3 => "pt_inception-2015-12-05-6726825d.pth",
        }
    }

    /// Whether `open` would succeed, without loading the network: for a check before the first stage.
    pub fn check(self, weights_folder: &Path) -> Result<Digest, MetricsError> {
        match self {
            Self::EfficientNetLite0 => {
                EfficientNetLite0::check(&weights_folder.join(self.weights_file()))
            }
            Self::InceptionV3 => Err(MetricsError::ExtractorUnavailable {
                extractor: self.name(),
            }),
        }
    }

    /// Loads the extractor from its weights file in a folder, after checking the file's digest.
    pub fn open(
        self,
        weights_folder: &Path,
        device: Device,
    ) -> Result<Box<dyn Extractor>, MetricsError> {
        match self {
            Self::EfficientNetLite0 => Ok(Box::new(EfficientNetLite0::open(
                &weights_folder.join(self.weights_file()),
                device,
            )?)),
            Self::InceptionV3 => Err(MetricsError::ExtractorUnavailable {
                extractor: self.name(),
            }),
        }
    }
}

impl fmt::Display for ExtractorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ExtractorKind {
    type Err = MetricsError;

    fn from_str(name: &str) -> Result<Self, MetricsError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| MetricsError::ExtractorUnknown {
                name: name.to_owned(),
                known: Self::ALL.map(|kind| format!("`{kind}`")).join(", "),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_unknown_ones_are_refused() {
        for kind in ExtractorKind::ALL {
            assert_eq!(kind.name().parse::<ExtractorKind>().unwrap(), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
        let message = "resnet".parse::<ExtractorKind>().unwrap_err().to_string();
        assert!(
            message.contains("`resnet`") && message.contains("`efficientnet-lite0`"),
            "{message}"
        );
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let nowhere = Path::new("no-such-folder");
        let message = ExtractorKind::InceptionV3
            .open(nowhere, Device::Cpu)
            .err()
            .unwrap()
            .to_string();
        assert!(message.contains("not available"), "{message}");
        let message = ExtractorKind::EfficientNetLite0
            .check(nowhere)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no-such-folder") && message.contains("./justw setup"),
            "{message}"
        );
    }
}
