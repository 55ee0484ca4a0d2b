//! All parameters of a network in one flat buffer.
//!
//! The optimiser and the averages then work on a whole network in a handful of tensor operations,
//! and ranks could exchange one gradient buffer. Each parameter starts at a multiple of [`ALIGNMENT`] elements,
//! as libtorch's own allocations do; the gaps hold zeros.

use std::collections::BTreeMap;

use patchwork_networks::Parameter;
use tch::{Device, Kind, Tensor};

use crate::DiffusionError;

/// Elements between possible starts of a parameter: 256 bytes of f32.
const ALIGNMENT: i64 = 64;

/// Where one parameter lies in a flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    shape: Vec<i64>,
    strides: Vec<i64>,
    offset: i64,
}

/// Where every parameter of a network lies in a flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatLayout {
    entries: Vec<Entry>,
    total: i64,
    elements: i64,
}

impl FlatLayout {
    /// Lays out the parameters in their order, each with the memory order that it has.
    pub fn new(parameters: &[Parameter]) -> Self {
        let mut offset = 0;
        let mut elements = 0;
        let entries = parameters
            .iter()
            .map(|parameter| {
                let count = parameter.tensor.numel() as i64;
                let entry = Entry {
                    name: parameter.name.clone(),
                    shape: parameter.tensor.size(),
                    strides: parameter.tensor.stride(),
                    offset,
                };
                elements += count;
                offset += (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
                entry
            })
            .collect();
        Self {
            entries,
            total: offset,
            elements,
        }
    }

    /// Number of parameters' elements, gaps not counted.
    pub fn elements(&self) -> i64 {
        self.elements
    }

    /// A buffer of zeros for this layout, f32.
    pub fn zeros(&self, device: Device) -> Tensor {
        Tensor::zeros([self.total], (Kind::Float, device))
    }

    /// One view into `buffer` for each parameter, in their order.
    pub fn views(&self, buffer: &Tensor) -> Vec<Tensor> {
        self.entries
            .iter()
            .map(|entry| buffer.as_strided(&entry.shape, &entry.strides, entry.offset))
            .collect()
    }

    /// A copy of the buffer's contents under the parameters' names, each after `prefix`.
    pub fn to_tensors(&self, buffer: &Tensor, prefix: &str) -> BTreeMap<String, Tensor> {
        self.entries
            .iter()
            .zip(self.views(buffer))
            .map(|(entry, view)| (format!("{prefix}{}", entry.name), view.contiguous().copy()))
            .collect()
    }

    /// Fills the buffer from tensors under the parameters' names, each after `prefix`; other names are left alone.
    pub fn load(
        &self,
        buffer: &Tensor,
        tensors: &BTreeMap<String, Tensor>,
        prefix: &str,
    ) -> Result<(), DiffusionError> {
        let mut found = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let name = format!("{prefix}{}", entry.name);
            let tensor = tensors
                .get(&name)
                .ok_or_else(|| DiffusionError::MissingState(name.clone()))?;
            if tensor.size() != entry.shape {
                return Err(DiffusionError::StateShape {
                    name,
                    expected: entry.shape.clone(),
                    found: tensor.size(),
                });
            }
            found.push(tensor);
        }
        tch::no_grad(|| {
            for (mut view, tensor) in self.views(buffer).into_iter().zip(found) {
                view.copy_(tensor);
            }
        });
        Ok(())
    }
}
