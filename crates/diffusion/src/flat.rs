//! All parameters of a network in one flat buffer.
//!
//! The optimiser and the averages then work on a whole network in a handful of tensor operations,
//! and ranks could exchange one gradient buffer. Each parameter starts at a multiple of [`ALIGNMENT`] elements,
//! as libtorch's own allocations do; the gaps hold zeros.
//!
//! [`FlatGradients`] are the gradients in such a buffer.

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
    pub fn new<'a>(parameters: impl IntoIterator<Item = &'a Parameter>) -> Self {
        let mut offset = 0;
        let mut elements = 0;
        let entries = parameters
            .into_iter()
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

    /// The same buffer with those parameters alone whose position is `wanted`; the others' places become gaps.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(usize) -> bool) -> Self {
        let entries: Vec<Entry> = (0..)
            .zip(&self.entries)
            .filter(|(index, _)| wanted(*index))
            .map(|(_, entry)| entry.clone())
            .collect();
        Self {
            elements: entries
                .iter()
                .map(|entry| entry.shape.iter().product::<i64>())
                .sum(),
            entries,
            total: self.total,
        }
    }

    /// Number of parameters' elements, gaps not counted.
    pub fn elements(&self) -> i64 {
        self.elements
    }

    /// A buffer of zeros for this layout.
    pub fn zeros(&self, kind: Kind, device: Device) -> Tensor {
        Tensor::zeros([self.total], (kind, device))
    }

    /// One view into `buffer` for each parameter, in their order.
    pub fn views(&self, buffer: &Tensor) -> Vec<Tensor> {
        self.entries
            .iter()
            .map(|entry| buffer.as_strided(&entry.shape, &entry.strides, entry.offset))
            .collect()
    }

    /// One view into `buffer` under each parameter's name, after `prefix`.
    pub fn named_views(&self, buffer: &Tensor, prefix: &str) -> BTreeMap<String, Tensor> {
        self.entries
            .iter()
            .zip(self.views(buffer))
            .map(|(entry, view)| (format!("{prefix}{}", entry.name), view))
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

/// Whether no element of some buffers is NaN or infinite. Each is read once, without a copy, and their device is waited for
/// once.
pub fn are_finite<'a>(buffers: impl IntoIterator<Item = &'a Tensor>) -> bool {
    tch::no_grad(|| {
        // Both are NaN where any element is.
        let extremes = buffers.into_iter().filter(|buffer| buffer.numel() > 0);
        let extremes: Vec<Tensor> = extremes
            .flat_map(|buffer| <[Tensor; 2]>::from(buffer.aminmax(None, false)))
            .map(|extreme| extreme.to_kind(Kind::Double))
            .collect();
        extremes.is_empty()
            || Tensor::stack(&extremes, 0)
                .isfinite()
                .all()
                .int64_value(&[])
                != 0
    })
}

/// The gradients of parameters in one flat buffer, into which backward passes accumulate.
#[derive(Debug)]
pub struct FlatGradients {
    parameters: Vec<Tensor>,
    views: Vec<Tensor>,
    /// The buffer.
    pub buffer: Tensor,
}

impl FlatGradients {
    /// Zeros for the parameters of `layout`, in their order and of one element type.
    pub fn new(layout: &FlatLayout, parameters: Vec<Tensor>, kind: Kind, device: Device) -> Self {
        let buffer = layout.zeros(kind, device);
        Self {
            parameters,
            views: layout.views(&buffer),
            buffer,
        }
    }

    /// Forgets all gradients.
    pub fn zero(&mut self) {
        for (parameter, view) in self.parameters.iter_mut().zip(&self.views) {
            let gradient = parameter.grad();
            if gradient.defined() && gradient.data_ptr() != view.data_ptr() {
                parameter.zero_grad();
            }
        }
        let _ = self.buffer.zero_();
    }

    /// The gradients in the buffer, in the parameters' order.
    pub fn views(&self) -> &[Tensor] {
        &self.views
    }

    /// Brings all gradients into the buffer; parameters without one count as zero.
    ///
    /// A gradient that lies elsewhere is copied once and then made a view of the buffer, so that later backward
    /// passes accumulate in place.
    pub fn gather(&mut self) {
        for (parameter, view) in self.parameters.iter().zip(&mut self.views) {
            let mut gradient = parameter.grad();
            if gradient.defined() && gradient.data_ptr() != view.data_ptr() {
                view.copy_(&gradient);
                gradient.set_data(view);
            }
        }
    }
}

/// Elements of a block in [`for_each_block`]: a megabyte of f32.
const BLOCK: i64 = 1 << 18;

/// Calls `work` with the same stretch of each buffer in turn, from the front to the end.
///
/// On a CPU the stretches are short enough for several of them to stay in its cache from one operation of `work` to
/// the next; on other devices there is a single one.
pub fn for_each_block<const N: usize>(buffers: [&Tensor; N], mut work: impl FnMut([Tensor; N])) {
    let total = buffers.first().map_or(0, |buffer| buffer.size()[0]);
    let block = match buffers.first().map(|buffer| buffer.device()) {
        Some(Device::Cpu) => BLOCK,
        _ => i64::max(total, 1),
    };
    let mut start = 0;
    while start < total {
        let length = i64::min(block, total - start);
        work(buffers.map(|buffer| buffer.narrow(0, start, length)));
        start += length;
    }
}

/// Moves parameters into `buffer`: each becomes a view of it, with its values.
pub fn move_into(layout: &FlatLayout, buffer: &Tensor, parameters: &mut [Tensor]) {
    tch::no_grad(|| {
        for (parameter, mut view) in parameters.iter_mut().zip(layout.views(buffer)) {
            view.copy_(parameter);
            parameter.set_data(&view);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_element_of_many_that_is_no_number_is_found() {
        let sound = || Tensor::ones([3, 70_001], (Kind::Float, Device::Cpu));
        let odd = |value: f64| {
            let tensor = sound();
            let _ = tensor.get(1).get(40_000).fill_(value);
            tensor
        };
        let empty = Tensor::zeros([0], (Kind::Float, Device::Cpu));
        assert!(are_finite([&sound(), &empty, &odd(-3e38)]));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!are_finite([&sound(), &odd(value)]), "{value}");
        }
        assert!(are_finite([]));
    }
}
