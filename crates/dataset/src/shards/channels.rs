//! What a pixel of a set holds.

use image::ExtendedColorType;

/// The channels of a set's images, one byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// One: luma.
    Grey,
    /// Three: red, green, blue.
    Rgb,
}

impl Channels {
    /// How many there are, which is the bytes of a pixel.
    pub const fn count(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }

    /// Those that are so many, if there are such.
    pub fn of_count(count: usize) -> Option<Self> {
        match count {
            1 => Some(Self::Grey),
            3 => Some(Self::Rgb),
            _ => None,
        }
    }

    /// Each one's name, and what the names of its columns in the index end with.
    pub(crate) fn names(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Grey => &[("grey", "l")],
            Self::Rgb => &[("red", "r"), ("green", "g"), ("blue", "b")],
        }
    }

    /// What a PNG file calls them.
    pub(crate) fn color_type(self) -> ExtendedColorType {
        match self {
            Self::Grey => ExtendedColorType::L8,
            Self::Rgb => ExtendedColorType::Rgb8,
        }
    }
}
