//! The input of a network besides the image.

use tch::Tensor;

/// What a network is conditioned on, in the mapping's element type.
#[derive(Debug)]
pub(crate) struct Conditioning {
    /// `[n]`.
    pub(crate) noise: Tensor,
    /// `[n, label_dim]`; none only where the network takes none.
    pub(crate) class: Option<Tensor>,
    /// `[n, augment_dim]`; none skips the layer.
    pub(crate) augment: Option<Tensor>,
}
