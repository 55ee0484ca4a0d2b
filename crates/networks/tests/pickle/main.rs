//! Foreign checkpoints: both PyTorch file formats and EDM's snapshots, whole, damaged and hostile.

mod allocation;
mod conversion;
mod formats;
mod fuzz;
mod hostile;
mod pickler;
mod settings;
