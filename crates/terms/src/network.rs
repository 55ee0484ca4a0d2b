//! Networks: which, within what, and in which numbers.

use crate::word::words;

words! {
    /// A published architecture of a U-Net.
    pub enum Architecture {
        /// DDPM++ (Score-SDE, arXiv 2011.13456; EDM): positional embedding, plain encoder.
        Ddpmpp = "ddpmpp",
        /// NCSN++ (Score-SDE, EDM): Fourier embedding, residual encoder.
        Ncsnpp = "ncsnpp",
        /// ADM (Dhariwal and Nichol, arXiv 2105.05233): adaptive normalisation, attention at several resolutions.
        Adm = "adm",
    }
}

words! {
    /// What stands around the network, with the noise levels and loss weights of training that belong to it: EDM
    /// (arXiv 2206.00364), Table 1.
    pub enum Preconditioning default Edm {
        /// EDM's own.
        Edm = "edm",
        /// That of variance-preserving models (Score-SDE).
        Vp = "vp",
        /// That of variance-exploding models (Score-SDE).
        Ve = "ve",
        /// That of improved DDPM, on its discrete noise levels.
        Iddpm = "iddpm",
    }
}

words! {
    /// The compute precision of a network; noise levels and results are always float32.
    pub enum Precision {
        /// What is fastest on the device without loss of quality: bfloat16 where it is computed in hardware.
        Auto = "auto",
        /// 32-bit floating point.
        Float32 = "float32",
        /// 16-bit floating point with the exponents of float32.
        Bfloat16 = "bfloat16",
        /// 16-bit floating point with more digits and few exponents: CUDA devices alone, and with a `loss_scaling`.
        Float16 = "float16",
    }
}
