//! Encoding and decoding in bounded memory: few images at a time, and images in tiles.

use tch::{Kind, Tensor};

use crate::error::NetworkError;

use super::config::AutoencoderConfig;
use super::model::{Autoencoder, Posterior};

/// Feature maps of the largest level that one image needs at once: what a residual block reads, what it makes, and
/// what convolutions set aside. Measured (`just bench autoencoder`).
const MAPS: i64 = 5;

/// How decoding cuts latents into tiles that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Latents along a side of a tile.
    pub size: i64,
    /// Latents that neighbours share; their images fade into each other there.
    pub overlap: i64,
}

impl AutoencoderConfig {
    /// About how many bytes encoding or decoding an image of so many pixels takes beside weights and image.
    pub fn working_bytes(&self, height: i64, width: i64) -> i64 {
        let channels = &self.block_out_channels;
        let largest = (0..channels.len())
            .map(|level| {
                // A level of the decoder is entered with the channels of the one below, already at its size.
                let below = channels[usize::min(level + 1, channels.len() - 1)];
                let pixels = (height >> level) * (width >> level);
                pixels * i64::max(channels[level], below)
            })
            .max();
        largest.unwrap_or(0) * MAPS * size_of::<f32>() as i64
    }
}

impl Autoencoder {
    /// [`encode`](Self::encode), `at_once` images at a time and without gradients.
    ///
    /// # Errors
    /// [`NetworkError::ImageSize`].
    pub fn encode_batches(&self, images: &Tensor, at_once: i64) -> Result<Posterior, NetworkError> {
        let parts = tch::no_grad(|| {
            let batches = images.split(at_once, 0);
            batches
                .iter()
                .map(|batch| self.encode(batch))
                .collect::<Result<Vec<_>, _>>()
        })?;
        let joined = |moment: fn(&Posterior) -> &Tensor| {
            Tensor::cat(&parts.iter().map(moment).collect::<Vec<_>>(), 0)
        };
        Ok(Posterior {
            mean: joined(|part| &part.mean),
            log_variance: joined(|part| &part.log_variance),
        })
    }

    /// [`decode`](Self::decode), `at_once` images at a time and without gradients.
    pub fn decode_batches(&self, latents: &Tensor, at_once: i64) -> Tensor {
        tch::no_grad(|| {
            let batches = latents.split(at_once, 0);
            let images: Vec<Tensor> = batches.iter().map(|batch| self.decode(batch)).collect();
            Tensor::cat(&images, 0)
        })
    }

    /// Decodes in tiles, without gradients, one tile of one image at a time. Normalisation and attention see a tile
    /// alone, so that the image differs from that of [`decode`](Self::decode) a little, also far from the seams; an
    /// image of one tile is the same.
    ///
    /// # Shapes
    /// As [`decode`](Self::decode).
    ///
    /// # Panics
    /// When the overlap is negative or not below the size.
    pub fn decode_tiled(&self, latents: &Tensor, tiling: Tiling) -> Tensor {
        let Tiling { size, overlap } = tiling;
        assert!(
            0 <= overlap && overlap < size,
            "tiles of {size} overlap by {overlap}"
        );
        let shape = latents.size();
        let (count, height, width) = (shape[0], shape[2], shape[3]);
        if height <= size && width <= size {
            return self.decode_batches(latents, 1);
        }
        let factor = self.config().factor();
        let channels = self.config().out_channels;
        let options = (Kind::Float, latents.device());
        let fade = |length: i64| fading(length * factor, overlap * factor, options);
        tch::no_grad(|| {
            let images = Tensor::zeros([count, channels, height * factor, width * factor], options);
            let weights = Tensor::zeros([1, 1, height * factor, width * factor], options);
            for (row, rows) in places(height, size, overlap) {
                for (col, cols) in places(width, size, overlap) {
                    let weight = fade(rows).unsqueeze(1) * fade(cols).unsqueeze(0);
                    let at = |tensor: &Tensor| {
                        tensor.narrow(2, row * factor, rows * factor).narrow(
                            3,
                            col * factor,
                            cols * factor,
                        )
                    };
                    let _ = at(&weights).g_add_(&weight);
                    for index in 0..count {
                        let tile = latents
                            .narrow(0, index, 1)
                            .narrow(2, row, rows)
                            .narrow(3, col, cols);
                        let decoded = self.decode(&tile) * &weight;
                        let _ = at(&images.narrow(0, index, 1)).g_add_(&decoded);
                    }
                }
            }
            images / weights
        })
    }
}

/// First place and length of the tiles along a side, all of one size where the side is long enough.
fn places(length: i64, size: i64, overlap: i64) -> Vec<(i64, i64)> {
    let size = i64::min(size, length);
    let mut places = vec![(0, size)];
    let mut start = 0;
    while start + size < length {
        start = i64::min(start + size - overlap, length - size);
        places.push((start, size));
    }
    places
}

/// Weights along a tile's side: 1 inside, falling towards both ends over the overlap; above 0 everywhere.
fn fading(length: i64, overlap: i64, options: (Kind, tch::Device)) -> Tensor {
    let from_start = Tensor::arange(length, options) + 0.5;
    let from_end = from_start.flip([0]);
    (from_start.minimum(&from_end) / i64::max(overlap, 1) as f64).clamp_max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_a_side_and_overlap() {
        for (length, size, overlap) in [(8, 8, 2), (9, 8, 2), (64, 16, 4), (30, 16, 4), (5, 16, 4)]
        {
            let places = places(length, size, overlap);
            let last = places[places.len() - 1];
            assert_eq!(places[0].0, 0, "{length} {size} {overlap}");
            assert_eq!(last.0 + last.1, length, "{length} {size} {overlap}");
            for pair in places.windows(2) {
                assert!(pair[1].0 > pair[0].0);
                assert!(pair[0].0 + pair[0].1 - pair[1].0 >= overlap);
            }
        }
    }
}
