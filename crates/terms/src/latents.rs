//! Latents of an autoencoder: which pixels it sees, how its latents are scaled, what other programs store.

use crate::word::words;

words! {
    /// The range of the pixels that an autoencoder sees and makes.
    pub enum PixelRange default Signed {
        /// `byte / 127.5 - 1`: Stable Diffusion's, and that of the published Patch Diffusion.
        Signed = "-1..1",
        /// `byte / 255`: EDM2's.
        Unsigned = "0..1",
    }
}

words! {
    /// From raw latents to the values that a diffusion model sees.
    pub enum LatentScaling {
        /// The factor of the autoencoder's makers, 0.18215 for Stable Diffusion's: standard deviations of about 1.
        Sd = "sd",
        /// By the mean and standard deviation of each channel over the set, to those of the diffusion model's data.
        PerChannel = "per-channel",
        /// EDM2's constants for Stable Diffusion's autoencoder, for images in [0, 1].
        Edm2 = "edm2",
    }
}

words! {
    /// What the channels after the means hold, in latents that another program stored.
    pub enum Spread {
        /// Standard deviations.
        Std = "std",
        /// Natural logarithms of variances; those beyond [-30, 20] are clamped, as the autoencoder itself does.
        LogVariance = "log-variance",
        /// Nothing: each image has one sample, which is taken for the mean, with the smallest variance.
        None = "none",
    }
}
