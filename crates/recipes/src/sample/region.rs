//! A part of the canvas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

/// A square part of the canvas, in pixels.
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
    /// Its side.
    #[schemars(range(min = 1, max = 65_535))]
    pub side: u32,
}

impl Region {
    /// Why a network of so many levels, trained with or without coordinates on images of a width and a height, does not
    /// draw it, as the rest of a sentence.
    pub fn problem(
        self,
        has_coordinates: bool,
        (width, height): (u32, u32),
        levels: usize,
    ) -> Option<String> {
        let Self { row, column, side } = self;
        let divisor: u32 = 1 << (levels - 1);
        if !has_coordinates {
            Some("needs a network that was trained with `position_channels`".to_owned())
        } else if row + side > height || column + side > width {
            let images = if width == height {
                format!("`resolution` = {width}")
            } else {
                format!("{width} x {height} pixels")
            };
            Some(format!(
                "of side {side} at row {row} and column {column} does not lie in images of {images}"
            ))
        } else if !side.is_multiple_of(divisor) {
            Some(format!(
                "has side {side}, but a network of {levels} levels needs sides divisible by {divisor}"
            ))
        } else {
            None
        }
    }
}
