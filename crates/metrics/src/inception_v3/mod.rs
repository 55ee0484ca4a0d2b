//! Inception-v3 of 2015-12-05, the network that defines FID (Heusel et al. 2017, arXiv 1706.08500).
//!
//! Architecture: Szegedy et al. 2015 (arXiv 1512.00567) as TensorFlow's graph of that date has it, which differs from
//! later ones: average pooling does not count the padding, the last block pools by maximum, 1,008 classes. Weights:
//! `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid (Apache-2.0), by its parameter names, or NVIDIA's TorchScript
//! program of the same graph.

mod blocks;
mod extractor;
mod network;
mod torchscript;

pub use extractor::InceptionV3;
pub use torchscript::InceptionV3TorchScript;
