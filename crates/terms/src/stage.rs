//! What a pipeline is made of.

use crate::word::words;

words! {
    /// What a stage does.
    pub enum Kind {
        /// Raw images to a sharded data set.
        Prepare = "prepare",
        /// A data set to a small autoencoder.
        Autoencoder = "autoencoder",
        /// A data set to the latents of an autoencoder.
        Encode = "encode",
        /// A data set to the statistics of its features.
        Reference = "reference",
        /// A data set to a network.
        Train = "train",
        /// A network to images.
        Sample = "sample",
        /// Decoded latents against reference statistics.
        Reconstruct = "reconstruct",
        /// Sampled images against reference statistics.
        Evaluate = "evaluate",
    }
}
