//! The KL autoencoder of latent diffusion (Rombach et al. 2022, arXiv 2112.10752), as the library diffusers defines
//! its `AutoencoderKL`: images of pixels to smaller images of latents and back.
//!
//! - [`AutoencoderConfig`] is the `config.json` of a diffusers folder; what is not implemented is refused by key and
//!   value.
//! - [`Autoencoder`] has the weights: [`encode`](Autoencoder::encode) gives the [`Posterior`] of an image,
//!   [`decode`](Autoencoder::decode) an image of latents.
//! - [`AutoencoderFile`] reads weights from diffusers folders, safetensors and pickles, under the parameter names of
//!   today, of 2022 and of CompVis (`names`), also inside of a full Stable Diffusion checkpoint.
//!
//! Latents are raw here: scaling them for a diffusion model is the caller's, [`AutoencoderConfig::scaling_factor`] the
//! factor that the file's makers recommend.

mod blocks;
mod config;
mod decoder;
mod encoder;
mod file;
mod model;
mod names;
mod shapes;
mod tiles;

pub use config::AutoencoderConfig;
pub use file::{AutoencoderFile, ConfigOrigin, DIFFUSERS_WEIGHTS};
pub use model::{Autoencoder, Part, Posterior};
pub use tiles::Tiling;
