//! A part of the canvas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// A part of the canvas, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(extend("required" = ["side"]))]
pub struct Region {
    /// Its first row.
    #[schemars(range(max = 65_535))]
    pub row: u32,
    /// Its first column.
    #[schemars(range(max = 65_535))]
    pub column: u32,
    /// Its width and, without `height`, its height too.
    #[schemars(range(min = 1, max = 65_535))]
    pub side: u32,
    /// Its height; none = its width.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub height: Option<u32>,
}

impl Region {
    /// Its width and height.
    pub fn size(self) -> (u32, u32) {
        (self.side, self.height.unwrap_or(self.side))
    }

    /// Why a network of so many levels, trained with or without coordinates on images of a width and a height, does not
    /// sample it, as the rest of a sentence.
    pub fn problem(
        self,
        has_coordinates: bool,
        (width, height): (u32, u32),
        levels: usize,
    ) -> Option<String> {
        let Self { row, column, .. } = self;
        let (own_width, own_height) = self.size();
        let size = if own_width == own_height {
            format!("side {own_width}")
        } else {
            format!("{own_width} x {own_height} pixels")
        };
        let divisor: u32 = 1 << (levels - 1);
        if !has_coordinates {
            Some("needs a network that was trained with `position_channels`".to_owned())
        } else if row + own_height > height || column + own_width > width {
            let images = if width == height {
                format!("`resolution` = {width}")
            } else {
                format!("{width} x {height} pixels")
            };
            Some(format!(
                "of {size} at row {row} and column {column} does not lie in images of {images}"
            ))
        } else if [own_width, own_height]
            .iter()
            .any(|side| !side.is_multiple_of(divisor))
        {
            Some(format!(
                "has {size}, but a network of {levels} levels needs sides divisible by {divisor}"
            ))
        } else {
            None
        }
    }
}
