//! Evaluation: what images are compared by, and with.

use crate::word::words;

words! {
    /// How images come to the size of a network's input. Different ways give different metrics.
    pub enum Resize {
        /// TensorFlow 1's bilinear interpolation, without antialiasing and with corners of pixels for their centres: the
        /// original FID, and the published numbers of EDM and StyleGAN.
        Tf1 = "tf1",
        /// PyTorch's bilinear interpolation without antialiasing: pytorch-fid.
        Torch = "torch",
        /// Bicubic interpolation in floating point with antialiasing, as Pillow does it: clean-fid (arXiv 2104.11222).
        Clean = "clean",
        /// PyTorch's bicubic interpolation without antialiasing.
        Bicubic = "bicubic",
        /// None: the network takes images of any size.
        None = "none",
    }
}

words! {
    /// The side of random crops.
    pub enum Crop {
        /// Half of the image's side.
        Half = "half",
        /// A quarter of the image's side.
        Quarter = "quarter",
    }
}

words! {
    /// A distance that the samples' own is compared with.
    pub enum Baseline {
        /// Images of uniform noise against the reference.
        Noise = "noise",
        /// One half of the real images against the other.
        RealHalves = "real-halves",
    }
}

words! {
    /// What is computed beside the Fréchet distance of every kind of features.
    pub enum Metric {
        /// The deviation of the Fréchet distance, and its limit for infinitely many samples.
        Confidence = "confidence",
        /// The kernel distance (KID) with its deviation.
        Kernel = "kernel",
        /// Precision, recall, density and coverage.
        Manifold = "manifold",
    }
}
