//! The size of an image.

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels of a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
}

impl Size {
    /// As wide as high.
    pub fn square(side: usize) -> Self {
        Self {
            width: side,
            height: side,
        }
    }
}
