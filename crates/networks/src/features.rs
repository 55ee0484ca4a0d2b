//! In which order features lie in memory, and who normalises them.

use patchwork_libtorch::LibtorchError;
use patchwork_libtorch::channels_last::channels_last;
use tch::Tensor;

/// How the features of a network in training are computed with. It changes rounding alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Features {
    /// In the order `[n, c, h, w]`: oneDNN and cuDNN reorder for themselves where that is faster, and libtorch's group
    /// normalisation is ten times as slow in the other order on a CPU and leaves it on CUDA.
    #[default]
    Plain,
    /// With the channels of a pixel side by side (channels-last), convolutions' weights too.
    ChannelsLast,
    /// The same, with group normalisation and SiLU in kernels of our own
    /// ([`group_norm`](patchwork_libtorch::channels_last::group_norm)).
    FusedNormalization,
}

impl Features {
    /// Features or weights `[n, c, h, w]` in this order: a copy unless they are.
    ///
    /// # Panics
    /// With libtorch's errors.
    pub(crate) fn arrange(self, x: &Tensor) -> Tensor {
        match self {
            Self::Plain => x.contiguous(),
            Self::ChannelsLast | Self::FusedNormalization => done(channels_last(x)),
        }
    }
}

/// The result, or a panic with libtorch's words as tch's operations have them.
pub(crate) fn done(result: Result<Tensor, LibtorchError>) -> Tensor {
    result.unwrap_or_else(|error| panic!("{error}"))
}
