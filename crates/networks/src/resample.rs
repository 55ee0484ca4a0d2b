//! Halving and doubling of feature maps by a separable filter.
//!
//! For the filter [1, 1] these are 2×2 average pooling and nearest-neighbour doubling, which are
//! several times as fast as the depthwise convolutions that the general filter needs. Rows of pixels up to
//! [`WIDEST_ROW`] are halved and doubled by a matrix product on a CPU, several times as fast again: libtorch's own
//! kernels for features in the order [n, c, h, w] go pixel by pixel.

use tch::{Device, Kind, Tensor};

use crate::builder::Builder;

/// Pixels in a row above which the zeros of the matrices cost more than they save.
const WIDEST_ROW: i64 = 64;

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
            if suits_product(x) {
                return halve_rows(x);
            }
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
            if suits_product(x) {
                return double_rows(x);
            }
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

/// Whether [`halve_rows`] and [`double_rows`] are the faster way.
fn suits_product(x: &Tensor) -> bool {
    x.device() == Device::Cpu
        && x.is_contiguous()
        && x.size()[3] <= WIDEST_ROW
        && x.kind() != Kind::Half
}

/// The mean of each 2×2 square: every two rows, side by side, times a matrix of quarters.
fn halve_rows(x: &Tensor) -> Tensor {
    let size = x.size();
    let (height, width) = (size[2] / 2, size[3] / 2);
    let row =
        Tensor::eye(width, (x.kind(), x.device())).repeat_interleave_self_int(2, 0, None) * 0.25;
    x.view([-1, 4 * width])
        .matmul(&row.repeat([2, 1]))
        .view([size[0], size[1], height, width])
}

/// Each pixel four times: every row times a matrix of ones that gives the two new rows, side by side.
fn double_rows(x: &Tensor) -> Tensor {
    let size = x.size();
    let row = Tensor::eye(size[3], (x.kind(), x.device())).repeat_interleave_self_int(2, 1, None);
    x.view([-1, size[3]]).matmul(&row.repeat([1, 2])).view([
        size[0],
        size[1],
        2 * size[2],
        2 * size[3],
    ])
}

/// Outer product of the taps with themselves over the square of their sum.
pub(crate) fn filter_tensor(taps: &[i64]) -> Tensor {
    let line = Tensor::from_slice(taps)
        .to_kind(Kind::Float)
        .to_device(Device::Cpu);
    let sum = line.sum(Kind::Float);
    (line.outer(&line) / sum.square()).unsqueeze(0).unsqueeze(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Products with matrices of ones and quarters are the same numbers as libtorch's own kernels, both ways.
    #[test]
    fn products_halve_and_double_as_pooling_and_doubling_do() {
        let check = |ours: &dyn Fn(&Tensor) -> Tensor, theirs: &dyn Fn(&Tensor) -> Tensor| {
            let start = Tensor::arange(2 * 3 * 6 * 10, (Kind::Float, Device::Cpu)).sin();
            let results = [ours, theirs].map(|function| {
                let x = start.reshape([2, 3, 6, 10]).set_requires_grad(true);
                let y = function(&x);
                let weights = Tensor::arange(y.numel() as i64, (Kind::Float, Device::Cpu)).cos();
                (&y * weights.view(y.size().as_slice()))
                    .sum(Kind::Float)
                    .backward();
                (y.detach(), x.grad())
            });
            let [(ours, ours_back), (theirs, theirs_back)] = results;
            assert!(ours.allclose(&theirs, 1e-6, 1e-7, false));
            assert!(ours_back.allclose(&theirs_back, 1e-6, 1e-7, false));
        };
        check(&halve_rows, &|x| {
            x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
        });
        check(&double_rows, &|x| {
            x.upsample_nearest2d([12, 20], None, None)
        });
    }
}
