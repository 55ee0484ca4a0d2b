//! Latents of an autoencoder in place of pixels: the format `patchwork.latents/1`, and patches out of it.
//!
//! A set of latents lies on disk as a set of pixels does ([`shards`](crate::shards)), with the column `moments` in place
//! of `image`: FixedSizeBinary, `[2, channels, height, width]` f16, little-endian: the mean of each latent's normal
//! distribution, then the natural logarithm of its variance. An image's columns in `index.parquet`, `mean_0`, ...,
//! `std_0`, ..., are those of draws from these distributions, channel by channel; the index's metadata has mean and
//! standard deviation over the whole set, `latent_mean` and `latent_std`.
//!
//! A mirrored image's latents are not the image's latents mirrored, since the encoder's stride is not symmetric: sets are
//! mirrored before they are encoded, and nothing is flipped or warped after that.

mod import;
mod scaling;
mod set;
mod spec;

pub use crate::shards::metadata::LATENT_FORMAT;
pub use import::{ImportSettings, Imported, StoredScale, import, import_digest};
pub use scaling::Scaling;
pub use set::{Draw, LatentSet};
pub use spec::{LatentSpec, LatentStatistics};
