//! Bringing images to the size of the data set, with Pillow's arithmetic, and mirroring them.

pub use patchwork_terms::Transform;

use crate::resample::{Filter, resize};
pub use crate::size::Size;
use crate::source::Rejection;

/// The size of the images that [`apply`] gives when `wanted` is asked for.
pub fn output(transform: Transform, wanted: Size) -> Size {
    match transform {
        Transform::CenterCropWide => Size::square(wanted.width),
        _ => wanted,
    }
}

/// Whether the transform can give that size.
pub fn suits(transform: Transform, wanted: Size) -> bool {
    match transform {
        Transform::CenterCropWide => wanted.width >= wanted.height,
        Transform::CenterCropDhariwal => wanted.width == wanted.height,
        Transform::CenterCrop | Transform::Stretch => true,
    }
}

/// Crops and resizes an image of 1 to 4 channels.
///
/// # Shapes
/// - `pixels`: `[from.height, from.width, channels]`, u8
/// - returns: `[height, width, channels]` of [`output`]`(transform, wanted)`, u8
pub fn apply(
    transform: Transform,
    pixels: &[u8],
    channels: usize,
    from: Size,
    wanted: Size,
) -> Result<Vec<u8>, Rejection> {
    if from.width == 0 || from.height == 0 || pixels.len() != from.width * from.height * channels {
        return Err(Rejection::new(format!(
            "{} bytes are not an image of {} x {} pixels",
            pixels.len(),
            from.width,
            from.height
        )));
    }
    Ok(match transform {
        Transform::Stretch => resize(pixels, channels, from, wanted, Filter::Lanczos),
        Transform::CenterCrop => center_crop(pixels, channels, from, wanted),
        Transform::CenterCropWide => {
            let scaled = center_crop(pixels, channels, from, wanted);
            let side = wanted.width;
            let line = side * channels;
            let mut square = vec![0; side * line];
            square[(side - wanted.height) / 2 * line..][..scaled.len()].copy_from_slice(&scaled);
            square
        }
        Transform::CenterCropDhariwal => center_crop_dhariwal(pixels, channels, from, wanted),
    })
}

fn center_crop(pixels: &[u8], channels: usize, from: Size, wanted: Size) -> Vec<u8> {
    let part = proportioned(from, wanted);
    if part == from {
        return resize(pixels, channels, from, wanted, Filter::Lanczos);
    }
    let part_pixels = center(pixels, channels, from, part);
    resize(&part_pixels, channels, part, wanted, Filter::Lanczos)
}

/// The largest size within `from` that has the proportions of `wanted`, to the nearest pixel.
fn proportioned(from: Size, wanted: Size) -> Size {
    let scaled = |length: usize, by: usize, of: usize| usize::max(1, (length * by + of / 2) / of);
    // from.width / from.height against wanted.width / wanted.height, without a division.
    if from.width * wanted.height > wanted.width * from.height {
        Size {
            width: usize::min(from.width, scaled(from.height, wanted.width, wanted.height)),
            height: from.height,
        }
    } else {
        Size {
            width: from.width,
            height: usize::min(from.height, scaled(from.width, wanted.height, wanted.width)),
        }
    }
}

fn center_crop_dhariwal(pixels: &[u8], channels: usize, from: Size, wanted: Size) -> Vec<u8> {
    let side = wanted.width;
    let (mut image, mut size) = (None, from);
    while usize::min(size.width, size.height) >= 2 * side {
        let half = Size {
            width: size.width / 2,
            height: size.height / 2,
        };
        let source = image.as_deref().unwrap_or(pixels);
        image = Some(resize(source, channels, size, half, Filter::Box));
        size = half;
    }
    let scale = side as f64 / usize::min(size.width, size.height) as f64;
    let scaled = Size {
        width: (size.width as f64 * scale).round_ties_even() as usize,
        height: (size.height as f64 * scale).round_ties_even() as usize,
    };
    let source = image.as_deref().unwrap_or(pixels);
    let image = resize(source, channels, size, scaled, Filter::Bicubic);
    center(&image, channels, scaled, wanted)
}

/// The centre of an image; an odd rest goes to the right and the bottom.
fn center(pixels: &[u8], channels: usize, from: Size, part: Size) -> Vec<u8> {
    let (left, top) = (
        (from.width - part.width) / 2,
        (from.height - part.height) / 2,
    );
    let mut center = Vec::with_capacity(part.width * part.height * channels);
    for line in pixels
        .chunks_exact(from.width * channels)
        .skip(top)
        .take(part.height)
    {
        center.extend_from_slice(&line[left * channels..][..part.width * channels]);
    }
    center
}

/// The image flipped left to right.
///
/// # Shapes
/// - `pixels`, returns: `[height, width, channels]`, u8
pub fn mirror(pixels: &[u8], width: usize, channels: usize) -> Vec<u8> {
    pixels
        .chunks_exact(width * channels)
        .flat_map(|line| line.chunks_exact(channels).rev().flatten())
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_turns_each_line() {
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let mirrored = mirror(&pixels, 2, 3);
        assert_eq!(mirrored, [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        assert_eq!(mirror(&mirrored, 2, 3), pixels);
    }

    #[test]
    fn an_image_of_the_right_size_stays_as_it_is_and_a_wide_one_loses_its_sides() {
        let pixels: Vec<u8> = (0..192).collect();
        let size = Size::square(8);
        for &transform in Transform::ALL {
            assert_eq!(apply(transform, &pixels, 3, size, size).unwrap(), pixels);
            assert_eq!(Transform::from_name(transform.name()), Some(transform));
            let wrong = Size { height: 7, ..size };
            assert!(apply(transform, &pixels, 3, wrong, size).is_err());
        }
        let line: Vec<u8> = (0..12).collect();
        let from = Size {
            width: 4,
            height: 1,
        };
        assert_eq!(
            apply(Transform::CenterCrop, &line, 3, from, Size::square(1)).unwrap(),
            [3, 4, 5]
        );
    }

    #[test]
    fn a_wide_crop_lies_between_black_bars() {
        let white = vec![255; 10 * 8];
        let from = Size {
            width: 10,
            height: 8,
        };
        let wanted = Size {
            width: 4,
            height: 2,
        };
        let transform = Transform::CenterCropWide;
        assert_eq!(output(transform, wanted), Size::square(4));
        let image = apply(transform, &white, 1, from, wanted).unwrap();
        assert_eq!(image, [[0; 4], [255; 4], [255; 4], [0; 4]].concat());
        let high = Size {
            width: 2,
            height: 4,
        };
        assert!(!suits(transform, high));
    }
}
