//! What tch does not show of libtorch: a little C++ in `csrc/`, compiled against libtorch's headers, with a safe side in
//! Rust.
//!
//! - [`channels_last`]: the order of features in memory that a GPU's convolutions are made for, and group normalisation
//!   with SiLU in it. Kernels are compiled when they are first needed, for the GPU that is there.
//! - [`cuda`]: streams of a CUDA device for copies, and CUDA graphs.
//! - [`distributed`]: c10d's stores and process groups, the collective operations that PyTorch itself uses.
//! - [`optimizer`]: PyTorch's fused update of Adam.
//!
//! A further part is a C++ file in `csrc/`, whose functions go through `guarded` of `boundary.h`, and a module here that
//! alone declares and calls them. This crate and its likes hold no policy: who joins a group, and what an error means to
//! a training, is decided above (`collectives`).
//!
//! # Safety
//! Every `unsafe` block here calls a function of `csrc/`. What they have in common: no exception leaves them; pointers
//! that they give out are freed once, by the type that holds them; tensors are passed as `at::Tensor*`, which
//! [`tch::Tensor::as_ptr`] gives and which live as long as the borrow; texts are copied before the call returns.

pub mod channels_last;
pub mod cuda;
pub mod distributed;
mod error;
pub mod optimizer;

pub use error::LibtorchError;
