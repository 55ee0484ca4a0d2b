//! Contact sheets: many small pictures in one PNG.

use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use patchwork_core::Seed;

use crate::error::DatasetError;
use crate::loader::ShardSet;
use crate::order::Order;
use crate::shards::{Channels, color_type};

/// White pixels between the pictures of a set's contact sheet.
const GAP: usize = 4;
/// How often a pixel is repeated in a set's contact sheet, in each direction.
const SCALE: u32 = 2;

/// Which images of a set a contact sheet shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// At most so many.
    pub count: usize,
    /// Only those of this class.
    pub class: Option<&'a str>,
    /// Drawn by this seed, each once; otherwise the first ones.
    pub seed: Option<u64>,
}

impl Choice<'_> {
    /// The ids of the images.
    ///
    /// # Errors
    /// [`DatasetError::UnknownName`] if the set has no such class.
    pub fn images(&self, set: &ShardSet) -> Result<Vec<usize>, DatasetError> {
        let label = match self.class {
            None => None,
            Some(class) => {
                let names = set.class_names();
                let label = names.iter().position(|name| name == class);
                let unknown = || {
                    let names = names.iter().map(String::as_str);
                    let otherwise = "`patchwork dataset inspect` lists the classes";
                    DatasetError::unknown_name("class of the data set", class, names, otherwise)
                };
                Some(label.ok_or_else(unknown)? as u32)
            }
        };
        let is_meant = |image: &usize| label.is_none() || set.label(*image) == label;
        let len = set.len() as u64;
        Ok(match self.seed {
            None => (0..set.len()).filter(is_meant).take(self.count).collect(),
            Some(seed) => Order::new(len, Seed::new(seed))
                .indices(0..len)
                .map(|(_, image)| image as usize)
                .filter(is_meant)
                .take(self.count)
                .collect(),
        })
    }
}

/// A PNG of the first images of a set, at most `count` of them, enlarged twice.
///
/// # Errors
/// [`DatasetError::Encode`] if the PNG cannot be made.
pub fn first_images_png(
    set: &ShardSet,
    count: usize,
    columns: usize,
) -> Result<Vec<u8>, DatasetError> {
    let images: Vec<usize> = (0..set.len().min(count)).collect();
    images_png(set, &images, columns)
}

/// A PNG of some images of a set, enlarged twice.
///
/// # Errors
/// [`DatasetError::Encode`] if the PNG cannot be made.
/// # Panics
/// If an image is not below the set's length.
pub fn images_png(
    set: &ShardSet,
    images: &[usize],
    columns: usize,
) -> Result<Vec<u8>, DatasetError> {
    let images: Vec<&[u8]> = images.iter().map(|index| set.pixels(*index)).collect();
    let channels = set.channels();
    grid_png(
        &images,
        set.width(),
        set.height(),
        channels,
        columns,
        GAP,
        SCALE,
    )
}

/// A PNG of the images side by side on white, row by row, each pixel enlarged to `scale` x `scale`.
///
/// # Shapes
/// - `images`: each `[height, width, channels]`, u8
/// - `gap`: white pixels between the pictures and around them
pub fn grid_png(
    images: &[&[u8]],
    width: usize,
    height: usize,
    channels: Channels,
    columns: usize,
    gap: usize,
    scale: u32,
) -> Result<Vec<u8>, DatasetError> {
    let scale = usize::max(1, scale as usize);
    let bytes = channels.count();
    let columns = columns.clamp(1, usize::max(1, images.len()));
    let rows = usize::max(1, images.len().div_ceil(columns));
    let (cell_width, cell_height) = (width * scale + gap, height * scale + gap);
    let (sheet_width, sheet_height) = (columns * cell_width + gap, rows * cell_height + gap);
    let mut sheet = vec![255; sheet_width * sheet_height * bytes];
    for (number, pixels) in images.iter().enumerate() {
        if pixels.len() != width * height * bytes {
            return Err(DatasetError::Length {
                what: format!("picture {number} of the grid"),
                actual: pixels.len(),
                expected: width * height * bytes,
            });
        }
        let left = gap + number % columns * cell_width;
        let top = gap + number / columns * cell_height;
        for line in 0..height * scale {
            let source = &pixels[line / scale * width * bytes..][..width * bytes];
            let start = ((top + line) * sheet_width + left) * bytes;
            let target = &mut sheet[start..start + width * scale * bytes];
            for (column, pixel) in target.chunks_exact_mut(bytes).enumerate() {
                pixel.copy_from_slice(&source[column / scale * bytes..][..bytes]);
            }
        }
    }
    let mut png = Vec::new();
    PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::Adaptive)
        .write_image(
            &sheet,
            sheet_width as u32,
            sheet_height as u32,
            color_type(channels),
        )
        .map_err(DatasetError::Encode)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::grid_png;
    use crate::decode::{MemoryGate, decode};
    use crate::shards::Channels;

    #[test]
    fn pictures_lie_in_rows_on_white() {
        let (red, blue, green) = ([255, 0, 0], [0, 0, 255], [0, 255, 0]);
        let png = grid_png(&[&red, &blue, &green], 1, 1, Channels::Rgb, 2, 1, 2).unwrap();
        let sheet = decode(&png, &MemoryGate::new(1 << 30)).unwrap();
        assert_eq!((sheet.width(), sheet.height()), (7, 7));
        let pixel = |x: usize, y: usize| &sheet.pixels()[(y * 7 + x) * 3..][..3];
        assert_eq!(
            [pixel(1, 1), pixel(2, 2), pixel(4, 1), pixel(2, 4)],
            [red, red, blue, green]
        );
        assert_eq!([pixel(0, 0), pixel(3, 1), pixel(4, 4)], [[255; 3]; 3]);
        assert!(grid_png(&[&red[..2]], 1, 1, Channels::Rgb, 1, 0, 1).is_err());
        let png = grid_png(&[&[9]], 1, 1, Channels::Grey, 1, 1, 1).unwrap();
        let sheet = decode(&png, &MemoryGate::new(1 << 30)).unwrap();
        let (white, grey) = (255, 9);
        assert_eq!(
            sheet.pixels(),
            [white, white, white, white, grey, white, white, white, white]
        );
    }
}
