//! A checkpoint's tensors by name, handed out with their shapes checked.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::MetricsError;

/// Named tensors from a checkpoint, and the device that they are wanted on.
pub(crate) struct Parameters {
    tensors: BTreeMap<String, Tensor>,
    device: Device,
}

impl Parameters {
    pub(crate) fn new(tensors: BTreeMap<String, Tensor>, device: Device) -> Self {
        Self { tensors, device }
    }

    /// Reads a PyTorch state dictionary, as data.
    pub(crate) fn read(path: &Path, device: Device) -> Result<Self, MetricsError> {
        let tensors = patchwork_networks::pickle::read_state_dict(path).map_err(|cause| {
            MetricsError::WeightsUnreadable {
                path: path.to_owned(),
                cause: Box::new(cause),
            }
        })?;
        Ok(Self::new(tensors, device))
    }

    /// Whether there is a parameter of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The parameter of that name as float32, if its shape is the expected one.
    pub(crate) fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor, MetricsError> {
        let tensor = self
            .tensors
            .get(name)
            .ok_or_else(|| MetricsError::ParameterMissing {
                name: name.to_owned(),
                shape: shape.to_vec(),
            })?;
        if tensor.size() != shape {
            return Err(MetricsError::ParameterShape {
                name: name.to_owned(),
                expected: shape.to_vec(),
                actual: tensor.size(),
            });
        }
        Ok(tensor.to_device(self.device).to_kind(Kind::Float))
    }
}
