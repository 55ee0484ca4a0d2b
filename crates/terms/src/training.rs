//! Training: patches, averages, augmentation, divergence.

use crate::word::words;

words! {
    /// In what order patch sizes come in training.
    pub enum PatchSchedule {
        /// Sampled for each step.
        Stochastic = "stochastic",
        /// From small to large, each for its share of the duration.
        Progressive = "progressive",
    }
}

words! {
    /// A patch size below the full one, as a part of the image's side.
    pub enum PatchPart {
        /// A quarter of the side.
        Quarter = "quarter",
        /// Half of the side.
        Half = "half",
    }
}

impl PatchPart {
    /// What the side of the image is divided by.
    pub fn divisor(self) -> u32 {
        match self {
            Self::Quarter => 4,
            Self::Half => 2,
        }
    }

    /// Its share of the steps at patch sizes below the full one, where all sizes are used.
    fn weight(self) -> f64 {
        match self {
            Self::Quarter => 2.0,
            Self::Half => 3.0,
        }
    }
}

/// A patch size, as a part of the image's, and how often training uses it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatchShare {
    /// What the side of the image is divided by.
    pub divisor: u32,
    /// Probability of a step, in [0, 1].
    pub probability: f64,
}

/// The patch sizes of pixel models, small ones first: R/4, R/2 and R with (1-p)·2/5, (1-p)·3/5 and p.
///
/// `full_image_ratio` is p, in [0, 1]. A size that is not among `sizes` has the probability 0, and the others are in the
/// same proportion to each other; where there is none, R has all.
///
/// # Source
/// Patch Diffusion (arXiv 2304.12526), section 3.2.
pub fn patch_shares(sizes: &[PatchPart], full_image_ratio: f64) -> [PatchShare; 3] {
    let patches = 1.0 - full_image_ratio;
    let used = |size: PatchPart| {
        if sizes.contains(&size) {
            size.weight()
        } else {
            0.0
        }
    };
    let [quarter, half] = [PatchPart::Quarter, PatchPart::Half].map(used);
    let all = quarter + half;
    let (quarter, half, full) = if all > 0.0 {
        (
            patches * quarter / all,
            patches * half / all,
            full_image_ratio,
        )
    } else {
        (0.0, 0.0, 1.0)
    };
    [(4, quarter), (2, half), (1, full)].map(|(divisor, probability)| PatchShare {
        divisor,
        probability,
    })
}

/// The patch sizes of latent models, small ones first: R/2 and R with 1-p and p.
///
/// `full_image_ratio` is p, in [0, 1].
///
/// # Source
/// Patch Diffusion (arXiv 2304.12526), section 4, and the settings that its authors publish for latents.
pub fn latent_patch_shares(full_image_ratio: f64) -> [PatchShare; 2] {
    [(2, 1.0 - full_image_ratio), (1, full_image_ratio)].map(|(divisor, probability)| PatchShare {
        divisor,
        probability,
    })
}

words! {
    /// How the averaged network forgets.
    pub enum EmaKind {
        /// By halves (EDM).
        HalfLife = "half-life",
        /// As a power of the images seen: two widths are kept, others are made of them when sampling (EDM2,
        /// arXiv 2312.02696).
        Power = "power",
    }
}

words! {
    /// What training does when its loss is not finite or leaves its range for good.
    pub enum OnDivergence {
        /// It fails, and its last checkpoint stays.
        Stop = "stop",
        /// It goes back to the last checkpoint and skips the batches since.
        Rollback = "rollback",
        /// It warns.
        Continue = "continue",
    }
}

words! {
    /// A transformation of a training image that the network is conditioned on (EDM, Table 6; StyleGAN2-ADA, Appendix B).
    pub enum AugmentOperation {
        /// Mirroring left to right, a coin's toss whatever the probability is.
        XFlip = "xflip",
        /// Mirroring top to bottom.
        YFlip = "yflip",
        /// Quarter turns.
        RotateInt = "rotate-int",
        /// Shifts by whole pixels.
        TranslateInt = "translate-int",
        /// Scaling.
        Scale = "scale",
        /// Rotation by any angle.
        RotateFrac = "rotate-frac",
        /// Stretching along an axis.
        Aniso = "aniso",
        /// Shifts by any distance.
        TranslateFrac = "translate-frac",
        /// A change of brightness.
        Brightness = "brightness",
        /// A change of contrast.
        Contrast = "contrast",
        /// Mirroring of the luma.
        LumaFlip = "lumaflip",
        /// A turn of the colours.
        Hue = "hue",
        /// A change of saturation.
        Saturation = "saturation",
    }
}

impl AugmentOperation {
    /// EDM's choice, whose numbers are the nine augmentation labels of the published networks.
    pub const EDM: &'static [Self] = &[
        Self::XFlip,
        Self::YFlip,
        Self::Scale,
        Self::RotateFrac,
        Self::Aniso,
        Self::TranslateFrac,
    ];

    /// Those that transform colours.
    pub const COLOR: &'static [Self] = &[
        Self::Brightness,
        Self::Contrast,
        Self::LumaFlip,
        Self::Hue,
        Self::Saturation,
    ];
}

words! {
    /// A way through a step of training that is meant to be faster on a GPU, and that no GPU has shown right and faster yet.
    pub enum FastPath {
        /// Adam's update in one kernel.
        FusedAdam = "fused-adam",
        /// Features and convolutions' weights with the channels of a pixel side by side.
        ChannelsLast = "channels-last",
        /// Group normalisation and SiLU in kernels that are compiled when training starts; with `channels-last`.
        FusedNormalization = "fused-normalization",
        /// Forward and backward of each patch size started as one CUDA graph; for one process.
        Graphs = "graphs",
        /// Images copied to the GPU while it computes the step before.
        CopyStream = "copy-stream",
    }
}
