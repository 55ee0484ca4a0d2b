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
    /// What kind of number a score is.
    pub enum Quantity {
        /// The Fréchet distance of whole images.
        Frechet = "frechet-distance",
        /// Its limit for infinitely many samples.
        FrechetInfinity = "frechet-distance-infinity",
        /// The Fréchet distance of random crops of half the side.
        FrechetCropHalf = "frechet-distance-crop-half",
        /// The same of a quarter of the side.
        FrechetCropQuarter = "frechet-distance-crop-quarter",
        /// The Fréchet distance of an inner map, which knows where things are.
        FrechetSpatial = "frechet-distance-spatial",
        /// The kernel distance.
        Kernel = "kernel-distance",
        /// Precision.
        Precision = "precision",
        /// Recall.
        Recall = "recall",
        /// Density.
        Density = "density",
        /// Coverage.
        Coverage = "coverage",
        /// The Inception Score.
        InceptionScore = "inception-score",
    }
}

impl Quantity {
    /// Whether of two values the higher is the better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Precision
            | Self::Recall
            | Self::Density
            | Self::Coverage
            | Self::InceptionScore => true,
            Self::Frechet
            | Self::FrechetInfinity
            | Self::FrechetCropHalf
            | Self::FrechetCropQuarter
            | Self::FrechetSpatial
            | Self::Kernel => false,
        }
    }

    /// The settings of an evaluation that its value depends on beside what is recorded with each score.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Self::Kernel => &["kernel_subsets", "kernel_subset_images"],
            Self::Precision | Self::Recall | Self::Density | Self::Coverage => &["nearest_k"],
            Self::Frechet
            | Self::FrechetInfinity
            | Self::FrechetCropHalf
            | Self::FrechetCropQuarter
            | Self::FrechetSpatial
            | Self::InceptionScore => &[],
        }
    }

    /// The quantity of a score that was recorded without it, by its metric's name, such as `fd_crop_half_dinov2`.
    pub fn of_unrecorded(metric: &str) -> Self {
        let name = metric.replacen("fid", "fd", 1);
        let begins_with = |stem: &str| {
            let rest = name.strip_prefix(stem);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        };
        let shortened = [
            ("kid", Self::Kernel),
            ("kd", Self::Kernel),
            ("sfd", Self::FrechetSpatial),
            ("fd_infinity", Self::FrechetInfinity),
            ("fd_crop_half", Self::FrechetCropHalf),
            ("fd_crop_quarter", Self::FrechetCropQuarter),
        ];
        let whole = (Self::ALL.iter()).map(|quantity| (quantity.name(), *quantity));
        let mut stems = shortened.into_iter().chain(whole);
        stems
            .find(|(stem, _)| begins_with(&stem.replace('-', "_")))
            .map_or(Self::Frechet, |(_, quantity)| quantity)
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
        /// The Inception Score, with its deviation between ten splits; of Inception-v3 alone.
        InceptionScore = "inception-score",
    }
}

impl Metric {
    /// Whether it compares features one by one, which the reference has to keep.
    pub fn compares_features(self) -> bool {
        match self {
            Self::Kernel | Self::Manifold => true,
            Self::Confidence | Self::InceptionScore => false,
        }
    }

    /// The one extractor that it is defined for, by name; none if it is one of any features.
    pub fn extractor(self) -> Option<&'static str> {
        match self {
            Self::InceptionScore => Some("inception-v3"),
            Self::Confidence | Self::Kernel | Self::Manifold => None,
        }
    }

    /// Whether it is computed of the features of the extractor of that name.
    pub fn is_of(self, extractor: &str) -> bool {
        self.extractor().is_none_or(|only| only == extractor)
    }
}
