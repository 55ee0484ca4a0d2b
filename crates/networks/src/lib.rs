//! The network architectures of Patch Diffusion by their published parameter names,
//! safetensors in and out, and checkpoints of other programs read as data.
//!
//! - [`NetworkConfig`] says which network; [`Network`] is one: DDPM++ and NCSN++ (Score-SDE, arXiv 2011.13456)
//!   and ADM (arXiv 2105.05233), in the form given to them by EDM (arXiv 2206.00364, Appendix F).
//! - [`autoencoder`] is the KL autoencoder of latent diffusion.
//! - [`checkpoint`] turns tensors into safetensors bytes and back.
//! - [`pickle`] reads PyTorch's and EDM's Python pickles without running anything in them.
//! - [`conversion`] recognises these formats, inspects them and converts between them.
//!
//! Knows nothing of noise levels, preconditioning, losses, optimisers, data sets or runs,
//! and writes no files: whoever owns the bytes makes them durable.

pub mod autoencoder;
pub mod checkpoint;
pub mod config;
pub mod conversion;
pub mod error;
pub mod network;
pub mod pickle;

mod attention;
mod block;
mod builder;
mod conditioning;
mod dhariwal;
mod dropout;
mod embedding;
mod features;
mod init;
mod latent_config;
mod layers;
mod levels;
mod parameter;
mod resample;
mod shared_out;
mod song;

pub use builder::Gradients;
pub use config::{
    Architecture, BLIT_LABELS, DecoderType, EmbeddingType, EncoderType, NetworkConfig,
    Preconditioning,
};
pub use dropout::Dropout;
pub use error::NetworkError;
pub use features::Features;
pub use latent_config::LatentConfig;
pub use network::Network;
pub use parameter::Parameter;
pub use pickle::{EdmSnapshot, PickleError};
pub use shared_out::{MOST_TAKERS, shared_out};
