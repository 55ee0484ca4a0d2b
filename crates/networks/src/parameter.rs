//! A tensor and its name.

use tch::Tensor;

/// A named tensor of a network.
#[derive(Debug)]
pub struct Parameter {
    /// The published name without the prefix `model.`, as in `enc.16x16_conv.weight`.
    pub name: String,
    /// A shallow clone: shares the network's own tensor.
    pub tensor: Tensor,
}

impl Parameter {
    pub(crate) fn share(&self) -> Self {
        Self {
            name: self.name.clone(),
            tensor: self.tensor.shallow_clone(),
        }
    }
}
