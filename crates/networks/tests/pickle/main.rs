//! External checkpoints: both PyTorch file formats and EDM's snapshots, whole, damaged and hostile.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(
    clippy::float_cmp,
    reason = "numbers that are stored and read come back to the last bit"
)]

mod allocation;
mod conversion;
mod formats;
mod fuzz;
mod hostile;
mod pickler;
mod settings;
