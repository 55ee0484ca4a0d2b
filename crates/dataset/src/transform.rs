//! Bringing images to the side of the data set: centre crop, Lanczos resizing as Pillow does it, mirroring.

use crate::resample::resize;
use crate::shards::CHANNELS;
use crate::source::Rejection;

/// How an image of any size becomes a square one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// The largest centred square, resized.
    CenterCrop,
    /// The whole image, resized without regard to its proportions.
    Stretch,
}

impl Transform {
    /// Every transform.
    pub const ALL: [Self; 2] = [Self::CenterCrop, Self::Stretch];

    /// The name in pipeline files and in the shards' metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::CenterCrop => "center-crop",
            Self::Stretch => "stretch",
        }
    }

    /// The transform of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transform| transform.name() == name)
    }

    /// Crops and resizes an RGB image to `side` x `side` with the Lanczos filter of three lobes.
    ///
    /// # Shapes
    /// - `pixels`: `[height, width, 3]`, u8
    /// - returns: `[side, side, 3]`, u8
    pub fn apply(
        self,
        pixels: &[u8],
        width: usize,
        height: usize,
        side: usize,
    ) -> Result<Vec<u8>, Rejection> {
        if width == 0 || height == 0 || pixels.len() != width * height * CHANNELS {
            return Err(Rejection::new(format!(
                "{} bytes are no image of {width} x {height} pixels",
                pixels.len()
            )));
        }
        let crop = usize::min(width, height);
        Ok(match self {
            Self::CenterCrop if width != height => {
                let square = center_square(pixels, width, height);
                resize(&square, crop, crop, side, side)
            }
            Self::CenterCrop | Self::Stretch => resize(pixels, width, height, side, side),
        })
    }
}

fn center_square(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let side = usize::min(width, height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    pixels
        .chunks_exact(width * CHANNELS)
        .skip(top)
        .take(side)
        .flat_map(|line| &line[left * CHANNELS..][..side * CHANNELS])
        .copied()
        .collect()
}

/// The image flipped left to right.
///
/// # Shapes
/// - `pixels`, returns: `[height, width, 3]`, u8
pub fn mirror(pixels: &[u8], width: usize) -> Vec<u8> {
    pixels
        .chunks_exact(width * CHANNELS)
        .flat_map(|line| line.as_chunks::<CHANNELS>().0.iter().rev().flatten())
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_turns_each_line() {
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let mirrored = mirror(&pixels, 2);
        assert_eq!(mirrored, [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        assert_eq!(mirror(&mirrored, 2), pixels);
    }

    #[test]
    fn an_image_of_the_right_size_stays_as_it_is_and_a_wide_one_loses_its_sides() {
        let pixels: Vec<u8> = (0..192).collect();
        for transform in Transform::ALL {
            assert_eq!(transform.apply(&pixels, 8, 8, 8).unwrap(), pixels);
            assert_eq!(Transform::from_name(transform.name()), Some(transform));
            assert!(transform.apply(&pixels, 8, 7, 8).is_err());
        }
        let line: Vec<u8> = (0..12).collect();
        assert_eq!(
            Transform::CenterCrop.apply(&line, 4, 1, 1).unwrap(),
            [3, 4, 5]
        );
    }
}
