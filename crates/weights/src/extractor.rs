//! Which extractors there are, and the check of their weights files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use patchwork_core::Digest;
use serde::{Deserialize, Serialize};

use crate::error::WeightsError;

/// The environment variable that names the folder of the weights, when it is not the default.
pub const WEIGHTS_VARIABLE: &str = "PATCHWORK_WEIGHTS";

/// BLAKE3 of EfficientNet-Lite0's published weights file
/// (its SHA-256 is 579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db).
const EFFICIENTNET_LITE0_DIGEST: &str =
    "ebc7ee3e987e187d1e6033b34cc7d03f20b4d34c394d5df426444dfab7bc1089";

/// The folder of the weights: the given one, else `weights` in the current folder, which set-up fills.
pub fn weights_folder(given: Option<PathBuf>) -> PathBuf {
    given.unwrap_or_else(|| PathBuf::from("weights"))
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
            Self::EfficientNetLite0 => 1280,
            Self::InceptionV3 => 2048,
        }
    }

    /// The name of its weights file.
    pub fn weights_file(self) -> &'static str {
        match self {
            Self::EfficientNetLite0 => "efficientnet-lite0-57934424.pth",
            Self::InceptionV3 => "pt_inception-2015-12-05-6726825d.pth",
        }
    }

    /// Checks that the published weights file lies in a folder; gives its digest.
    pub fn check(self, weights_folder: &Path) -> Result<Digest, WeightsError> {
        let extractor = self.name();
        let expected: Digest = match self {
            Self::EfficientNetLite0 => EFFICIENTNET_LITE0_DIGEST
                .parse()
                .expect("the pinned digest is 64 hexadecimal digits"),
            Self::InceptionV3 => return Err(WeightsError::Unavailable { extractor }),
        };
        let path = weights_folder.join(self.weights_file());
        let actual = match Digest::of_file(&path) {
            Ok(digest) => digest,
            Err(error) if error.is_not_found() => {
                return Err(WeightsError::Missing {
                    extractor,
                    path,
                    remedy: "run `./justw setup`",
                });
            }
            Err(error) => return Err(error.into()),
        };
        if actual == expected {
            Ok(actual)
        } else {
            Err(WeightsError::Differ {
                extractor,
                path,
                expected,
                actual,
            })
        }
    }
}

impl fmt::Display for ExtractorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for ExtractorKind {
    type Err = WeightsError;

    fn from_str(name: &str) -> Result<Self, WeightsError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| WeightsError::UnknownExtractor {
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
    fn what_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let check = |kind: ExtractorKind| kind.check(folder.path()).unwrap_err().to_string();
        let message = check(ExtractorKind::InceptionV3);
        assert!(message.contains("not available"), "{message}");
        let message = check(ExtractorKind::EfficientNetLite0);
        assert!(message.contains("./justw setup"), "{message}");
        let file = folder
            .path()
            .join(ExtractorKind::EfficientNetLite0.weights_file());
        std::fs::write(&file, b"not the weights").unwrap();
        let message = check(ExtractorKind::EfficientNetLite0);
        assert!(message.contains("is not the weights file"), "{message}");
    }
}
