//! Several kinds of features in one pass over the images.

use patchwork_core::Seed;
use patchwork_weights::Quantity;
use tch::Tensor;

use crate::error::MetricsError;
use crate::extractor::OpenExtractor;

/// What of an image an extractor looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum View {
    /// The whole image.
    Whole,
    /// The whole image, by the inner map that knows where things are.
    Spatial,
    /// A random crop of half the side.
    CropHalf,
    /// A random crop of a quarter of the side.
    CropQuarter,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 4] = [
        Self::Whole,
        Self::Spatial,
        Self::CropHalf,
        Self::CropQuarter,
    ];

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Spatial => "spatial",
            Self::CropHalf => "crop-half",
            Self::CropQuarter => "crop-quarter",
        }
    }

    /// The Fréchet distance of its features.
    pub fn quantity(self) -> Quantity {
        match self {
            Self::Whole => Quantity::Frechet,
            Self::Spatial => Quantity::FrechetSpatial,
            Self::CropHalf => Quantity::FrechetCropHalf,
            Self::CropQuarter => Quantity::FrechetCropQuarter,
        }
    }

    /// The image's side over the crop's, for a crop.
    fn divisor(self) -> Option<i64> {
        match self {
            Self::Whole | Self::Spatial => None,
            Self::CropHalf => Some(2),
            Self::CropQuarter => Some(4),
        }
    }
}

/// One kind of features: an extractor, and what of an image it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The extractor's position in the extraction.
    pub extractor: usize,
    /// What it looks at.
    pub view: View,
    /// The width of the features.
    pub dimension: i64,
}

/// Extractors with the views that are asked of them.
pub struct Extraction {
    extractors: Vec<OpenExtractor>,
    views: Vec<View>,
    streams: Vec<Stream>,
}

impl Extraction {
    /// Every extractor with every view; extractors without spatial features leave that view out.
    ///
    /// Whole images are always included.
    pub fn new(extractors: Vec<OpenExtractor>, views: &[View]) -> Self {
        let views: Vec<View> = (View::ALL.into_iter())
            .filter(|view| *view == View::Whole || views.contains(view))
            .collect();
        let mut streams = Vec::new();
        for (position, open) in extractors.iter().enumerate() {
            for view in &views {
                let dimension = match view {
                    View::Spatial => open.extractor.spatial_dimension(),
                    _ => Some(open.extractor.dimension()),
                };
                streams.extend(dimension.map(|dimension| Stream {
                    extractor: position,
                    view: *view,
                    dimension,
                }));
            }
        }
        Self {
            extractors,
            views,
            streams,
        }
    }

    /// The extractors.
    pub fn extractors(&self) -> &[OpenExtractor] {
        &self.extractors
    }

    /// The kinds of features, in the order in which [`features`](Self::features) gives them.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// A stream's name in files: `inception-v3-tf1/whole`.
    pub fn stream_name(&self, stream: &Stream) -> String {
        let spec = &self.extractors[stream.extractor].spec;
        format!("{}/{}", spec.file_stem(), stream.view.name())
    }

    /// The features of a batch, one tensor a stream.
    ///
    /// # Shapes
    /// - `images`: `[batch, 3, height, width]`, u8, RGB; image `first` of its set and those after it
    /// - returns: `[batch, dimension]`, f32, on the CPU
    ///
    /// # Errors
    /// [`MetricsError::NotFinite`] where an extractor gives NaN or infinity, [`MetricsError::TooSmallToCrop`], and those
    /// of [`Extractor::features`](crate::Extractor::features).
    ///
    /// # Determinism
    /// An image's crop is a function of its number in the set.
    pub fn features(&self, images: &Tensor, first: u64) -> Result<Vec<Tensor>, MetricsError> {
        let crops = (self.views.iter())
            .filter_map(|view| Some((*view, view.divisor()?)))
            .map(|(view, divisor)| Ok((view, crops(images, divisor, first)?)))
            .collect::<Result<Vec<_>, MetricsError>>()?;
        let mut features = Vec::with_capacity(self.streams.len());
        for open in &self.extractors {
            let whole = open.extractor.features(images)?;
            features.push(whole.pooled);
            if self.views.contains(&View::Spatial) {
                features.extend(whole.spatial);
            }
            for (_, crops) in &crops {
                features.push(open.extractor.features(crops)?.pooled);
            }
        }
        for (stream, features) in self.streams.iter().zip(&features) {
            self.check(stream, features, first)?;
        }
        Ok(features)
    }

    fn check(&self, stream: &Stream, features: &Tensor, first: u64) -> Result<(), MetricsError> {
        let broken = features.isfinite().all_dim(1, false).logical_not();
        let count = broken.sum(tch::Kind::Int64).int64_value(&[]);
        if count == 0 {
            return Ok(());
        }
        let position = broken
            .to_kind(tch::Kind::Int64)
            .argmax(0, false)
            .int64_value(&[]);
        Err(MetricsError::BrokenFeatures {
            extractor: self.extractors[stream.extractor].spec.to_string(),
            view: stream.view.name(),
            image: first + position as u64,
            count,
        })
    }
}

/// A random square of each image, of its shorter side over `divisor`.
fn crops(images: &Tensor, divisor: i64, first: u64) -> Result<Tensor, MetricsError> {
    let shape = images.size();
    let [count, channels, height, width] = shape[..] else {
        let kind = format!("{:?}", images.kind());
        return Err(MetricsError::Images { kind, shape });
    };
    let side = std::cmp::min(height, width) / divisor;
    if side == 0 {
        return Err(MetricsError::TooSmallToCrop {
            height,
            width,
            divisor,
        });
    }
    if count == 0 {
        return Ok(images.narrow(2, 0, side).narrow(3, 0, side));
    }
    let seed = Seed::new(0).derive("crops").at(divisor as u64);
    let crops: Vec<Tensor> = (0..count)
        .map(|position| {
            let mut stream = seed.at(first + position as u64).stream();
            let row = stream.below((height - side + 1) as u64) as i64;
            let column = stream.below((width - side + 1) as u64) as i64;
            (images.get(position))
                .narrow(1, row, side)
                .narrow(2, column, side)
        })
        .collect();
    debug_assert_eq!(crops[0].size(), [channels, side, side]);
    Ok(Tensor::stack(&crops, 0))
}
