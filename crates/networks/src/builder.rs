//! Hands tensors to layers under construction and keeps the list of their names.
//!
//! The same construction code serves a fresh network (tensors are drawn) and a copy in another
//! element type (tensors are looked up by name and cast).

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::init::Start;
use crate::network::Parameter;

enum Source<'a> {
    /// Drawn on the CPU, then moved.
    Fresh(Device),
    /// Cast from existing tensors.
    Cast(BTreeMap<&'a str, &'a Tensor>, Kind),
}

/// The names and tensors of a network under construction.
pub(crate) struct Builder<'a> {
    source: Source<'a>,
    entries: Vec<Entry>,
}

/// One tensor of a network.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) parameter: Parameter,
    pub(crate) trainable: bool,
}

impl<'a> Builder<'a> {
    pub(crate) fn fresh(device: Device) -> Self {
        Self {
            source: Source::Fresh(device),
            entries: Vec::new(),
        }
    }

    pub(crate) fn cast(entries: &'a [Entry], kind: Kind) -> Self {
        let tensors = entries
            .iter()
            .map(|entry| (entry.parameter.name.as_str(), &entry.parameter.tensor))
            .collect();
        Self {
            source: Source::Cast(tensors, kind),
            entries: Vec::new(),
        }
    }

    /// A trainable tensor.
    pub(crate) fn parameter(&mut self, name: String, shape: &[i64], start: Start) -> Tensor {
        let tensor = match &self.source {
            Source::Fresh(device) => start.draw(shape).to_device(*device).set_requires_grad(true),
            Source::Cast(tensors, kind) => existing(tensors, &name).detach().to_kind(*kind),
        };
        self.register(name, tensor, true)
    }

    /// A trainable tensor that keeps its element type in copies: those that work on the embedding,
    /// which is float32 whatever precision the features have.
    pub(crate) fn exact_parameter(&mut self, name: String, shape: &[i64], start: Start) -> Tensor {
        let tensor = match &self.source {
            Source::Fresh(_) => return self.parameter(name, shape, start),
            Source::Cast(tensors, _) => existing(tensors, &name).detach(),
        };
        self.register(name, tensor, true)
    }

    /// A tensor that is stored with the weights and not trained; keeps its element type in copies.
    pub(crate) fn buffer(&mut self, name: String, value: impl FnOnce() -> Tensor) -> Tensor {
        let tensor = match &self.source {
            Source::Fresh(device) => value().to_device(*device),
            Source::Cast(tensors, _) => existing(tensors, &name).shallow_clone(),
        };
        self.register(name, tensor, false)
    }

    /// The device of everything built.
    pub(crate) fn device(&self) -> Device {
        match &self.source {
            Source::Fresh(device) => *device,
            Source::Cast(tensors, _) => tensors
                .values()
                .next()
                .map_or(Device::Cpu, |tensor| tensor.device()),
        }
    }

    pub(crate) fn finish(self) -> Vec<Entry> {
        self.entries
    }

    fn register(&mut self, name: String, tensor: Tensor, trainable: bool) -> Tensor {
        let shared = tensor.shallow_clone();
        self.entries.push(Entry {
            parameter: Parameter { name, tensor },
            trainable,
        });
        shared
    }
}

fn existing<'a>(tensors: &BTreeMap<&str, &'a Tensor>, name: &str) -> &'a Tensor {
    tensors
        .get(name)
        .expect("a copy is built from the same configuration, hence asks for the same names")
}
