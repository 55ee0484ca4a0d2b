//! Halving and doubling of feature maps by a separable filter.
//!
//! For the filter [1, 1] these are 2×2 average pooling and nearest-neighbour doubling, which are
//! several times as fast as the depthwise convolutions that the general filter needs.

use tch::{Device, Kind, Tensor};

use crate::builder::Builder;

/// Direction of a resampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// A resampling step with its stored filter.
#[derive(Debug)]
pub(crate) struct Resampler {
    pub(crate) direction: Direction,
    /// The buffer `resample_filter`, `[1, 1, taps, taps]`, of sum 1.
    filter: Tensor,
    is_box: bool,
}

impl Resampler {
    pub(crate) fn new(
        builder: &mut Builder,
        layer: &str,
        direction: Direction,
        taps: &[i64],
    ) -> Self {
        let side = taps.len() as i64;
        let filter = builder.buffer(
            format!("{layer}.resample_filter"),
            &[1, 1, side, side],
            || filter_tensor(taps),
        );
        Self {
            direction,
            filter,
            is_box: taps == [1, 1],
        }
    }

    /// Whether the filter is [1, 1].
    pub(crate) fn is_box(&self) -> bool {
        self.is_box
    }

    /// Padding that keeps the result at half (double) the size.
    pub(crate) fn padding(&self) -> i64 {
        (self.filter.size()[3] - 1) / 2
    }

    /// `[n, c, h, w]` → `[n, c, h / 2, w / 2]` or `[n, c, 2 h, 2 w]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        match self.direction {
            Direction::Down => self.down(x, self.padding()),
            Direction::Up => self.up(x),
        }
    }

    /// Halves `x`, which has been padded already.
    pub(crate) fn forward_padded(&self, x: &Tensor) -> Tensor {
        self.down(x, 0)
    }

    fn down(&self, x: &Tensor, padding: i64) -> Tensor {
        if self.is_box {
            return x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        }
        let (filter, channels) = self.depthwise(x, 1.0);
        x.conv2d(
            &filter,
            None::<&Tensor>,
            [2, 2],
            [padding, padding],
            [1, 1],
            channels,
        )
    }

    fn up(&self, x: &Tensor) -> Tensor {
        if self.is_box {
            let size = x.size();
            return x.upsample_nearest2d([size[2] * 2, size[3] * 2], None, None);
        }
        let padding = self.padding();
        let (filter, channels) = self.depthwise(x, 4.0);
        x.conv_transpose2d(
            &filter,
            None::<&Tensor>,
            [2, 2],
            [padding, padding],
            [0, 0],
            channels,
            [1, 1],
        )
    }

    fn depthwise(&self, x: &Tensor, factor: f64) -> (Tensor, i64) {
        let channels = x.size()[1];
        (
            (&self.filter * factor)
                .to_kind(x.kind())
                .repeat([channels, 1, 1, 1]),
            channels,
        )
    }
}

/// Outer product of the taps with themselves over the square of their sum.
pub(crate) fn filter_tensor(taps: &[i64]) -> Tensor {
    let line = Tensor::from_slice(taps)
        .to_kind(Kind::Float)
        .to_device(Device::Cpu);
    let sum = line.sum(Kind::Float);
    (line.outer(&line) / sum.square()).unsqueeze(0).unsqueeze(0)
}
