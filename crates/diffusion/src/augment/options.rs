//! Which transformations training images go through.

use serde::{Deserialize, Serialize};

/// Which transformations are drawn: a multiplier of 0 leaves one out, together with its labels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentOptions {
    /// Probability that each multiplier multiplies, in [0, 1].
    pub probability: f64,
    /// Mirror the columns.
    pub xflip: f64,
    /// Mirror the rows.
    pub yflip: f64,
    /// Turn square images by quarters.
    pub rotate_int: f64,
    /// Shift by whole pixels, up to 1/8 of the image.
    pub translate_int: f64,
    /// Scale by 2^(0.2 N(0, 1)).
    pub scale: f64,
    /// Rotate by a uniform angle.
    pub rotate_frac: f64,
    /// Stretch by 2^(0.2 N(0, 1)) along an axis, half of the time a turned one.
    pub aniso: f64,
    /// Shift by N(0, 1) / 8 of the image.
    pub translate_frac: f64,
    /// Add 0.2 N(0, 1).
    pub brightness: f64,
    /// Multiply by 2^(0.5 N(0, 1)).
    pub contrast: f64,
    /// Mirror the luma, colours kept.
    pub lumaflip: f64,
    /// Turn the colours by a uniform angle about the luma axis.
    pub hue: f64,
    /// Multiply the distance from the luma axis by 2^N(0, 1).
    pub saturation: f64,
}

impl AugmentOptions {
    /// EDM's geometric transformations: x-flip always a coin's toss, the others with `probability`.
    pub fn edm(probability: f64) -> Self {
        Self {
            probability,
            xflip: 1e8,
            yflip: 1.0,
            scale: 1.0,
            rotate_frac: 1.0,
            aniso: 1.0,
            translate_frac: 1.0,
            ..Self::default()
        }
    }

    /// Whether any labels are those of quarter turns or whole shifts, whose meaning has a version.
    pub fn has_blit_labels(&self) -> bool {
        self.rotate_int > 0.0 || self.translate_int > 0.0
    }

    /// Number of labels of an image: the network's `augment_dim`.
    pub fn label_dim(&self) -> i64 {
        [
            (self.xflip, 1),
            (self.yflip, 1),
            (self.rotate_int, 2),
            (self.translate_int, 2),
            (self.scale, 1),
            (self.rotate_frac, 2),
            (self.aniso, 2),
            (self.translate_frac, 2),
            (self.brightness, 1),
            (self.contrast, 1),
            (self.lumaflip, 1),
            (self.hue, 2),
            (self.saturation, 1),
        ]
        .iter()
        .filter(|(multiplier, _)| *multiplier > 0.0)
        .map(|&(_, labels)| labels)
        .sum()
    }
}
