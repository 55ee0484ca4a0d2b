//! Hands tensors to layers under construction and keeps the list of their names.
//!
//! The same construction code serves a fresh network (tensors are drawn), a copy in another
//! element type (tensors are looked up by name and cast) and a network of weights that were read.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::error::NetworkError;
use crate::features::Features;
use crate::init::Start;
use crate::parameter::Parameter;

enum Source<'a> {
    /// Drawn on the CPU, then moved.
    Fresh(Device),
    /// Cast from existing tensors.
    Cast {
        tensors: BTreeMap<&'a str, &'a Tensor>,
        kind: Kind,
        gradients: Gradients,
    },
    /// Taken from weights that were read; what does not fit is noted.
    Given {
        device: Device,
        weights: BTreeMap<String, Tensor>,
        mismatch: Mismatch,
    },
}

/// What becomes of gradients in a copy of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradients {
    /// There are none.
    None,
    /// The copy has its own.
    Own,
    /// Weights that need no cast are the original's tensors, with its gradients; others have their own.
    Shared,
}

/// How weights differ from what a network asks for.
#[derive(Debug, Default)]
pub(crate) struct Mismatch {
    pub(crate) missing: Vec<String>,
    pub(crate) unexpected: Vec<String>,
    /// Name, the network's shape, the weights' shape.
    pub(crate) misshapen: Vec<(String, Vec<i64>, Vec<i64>)>,
}

impl Mismatch {
    /// An error unless there is no difference.
    pub(crate) fn check(self) -> Result<(), NetworkError> {
        let Self {
            missing,
            unexpected,
            misshapen,
        } = self;
        if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() {
            return Ok(());
        }
        Err(NetworkError::Weights {
            missing,
            unexpected,
            misshapen,
        })
    }
}

/// The names and tensors of a network under construction.
pub(crate) struct Builder<'a> {
    source: Source<'a>,
    features: Features,
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
            features: Features::Plain,
            entries: Vec::new(),
        }
    }

    pub(crate) fn cast(
        entries: &'a [Entry],
        kind: Kind,
        gradients: Gradients,
        features: Features,
    ) -> Self {
        let tensors = entries
            .iter()
            .map(|entry| (entry.parameter.name.as_str(), &entry.parameter.tensor))
            .collect();
        Self {
            source: Source::Cast {
                tensors,
                kind,
                gradients,
            },
            features,
            entries: Vec::new(),
        }
    }

    /// Takes float32 tensors for `device` out of `weights`. Whatever settings ask for, no memory is taken beyond
    /// theirs: what is missing is one element, repeated.
    pub(crate) fn given(weights: BTreeMap<String, Tensor>, device: Device) -> Self {
        Self {
            source: Source::Given {
                device,
                weights,
                mismatch: Mismatch::default(),
            },
            features: Features::Plain,
            entries: Vec::new(),
        }
    }

    /// A trainable tensor.
    pub(crate) fn parameter(&mut self, name: String, shape: &[i64], start: Start) -> Tensor {
        let tensor = match &mut self.source {
            Source::Fresh(device) => start.draw(shape).to_device(*device).set_requires_grad(true),
            Source::Cast {
                tensors,
                kind,
                gradients,
            } => cast(existing(tensors, &name), *kind, *gradients),
            Source::Given {
                device,
                weights,
                mismatch,
            } => taken(weights, mismatch, &name, shape, *device).set_requires_grad(true),
        };
        self.register(name, tensor, true)
    }

    /// A trainable tensor that keeps its element type in copies: those that work on the input and on the embedding,
    /// which are float32 whatever precision the features have, and those of normalisation. Copies lie in the same memory.
    pub(crate) fn exact_parameter(&mut self, name: String, shape: &[i64], start: Start) -> Tensor {
        let tensor = match &self.source {
            Source::Fresh(_) | Source::Given { .. } => return self.parameter(name, shape, start),
            Source::Cast {
                tensors, gradients, ..
            } => {
                let tensor = existing(tensors, &name);
                cast(tensor, tensor.kind(), *gradients)
            }
        };
        self.register(name, tensor, true)
    }

    /// A tensor that is stored with the weights and not trained; keeps its element type in copies.
    pub(crate) fn buffer(
        &mut self,
        name: String,
        shape: &[i64],
        value: impl FnOnce() -> Tensor,
    ) -> Tensor {
        let tensor = match &mut self.source {
            Source::Fresh(device) => value().to_device(*device),
            Source::Cast { tensors, .. } => existing(tensors, &name).shallow_clone(),
            Source::Given {
                device,
                weights,
                mismatch,
            } => taken(weights, mismatch, &name, shape, *device),
        };
        self.register(name, tensor, false)
    }

    /// How the network's features are computed with.
    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// The device of everything built.
    pub(crate) fn device(&self) -> Device {
        match &self.source {
            Source::Fresh(device) | Source::Given { device, .. } => *device,
            Source::Cast { tensors, .. } => tensors
                .values()
                .next()
                .map_or(Device::Cpu, |tensor| tensor.device()),
        }
    }

    /// The list, and what of given weights does not fit it.
    pub(crate) fn finish(self) -> (Vec<Entry>, Mismatch) {
        let mismatch = match self.source {
            Source::Given {
                weights,
                mut mismatch,
                ..
            } => {
                mismatch.unexpected.extend(weights.into_keys());
                mismatch
            }
            Source::Fresh(_) | Source::Cast { .. } => Mismatch::default(),
        };
        (self.entries, mismatch)
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

fn cast(tensor: &Tensor, kind: Kind, gradients: Gradients) -> Tensor {
    if gradients == Gradients::Shared && tensor.kind() == kind {
        return tensor.shallow_clone();
    }
    let copy = tensor.detach().to_kind(kind);
    copy.set_requires_grad(gradients != Gradients::None)
}

fn existing<'a>(tensors: &BTreeMap<&str, &'a Tensor>, name: &str) -> &'a Tensor {
    tensors
        .get(name)
        .expect("a copy is built from the same configuration, hence asks for the same names")
}

fn taken(
    weights: &mut BTreeMap<String, Tensor>,
    mismatch: &mut Mismatch,
    name: &str,
    shape: &[i64],
    device: Device,
) -> Tensor {
    match weights.remove(name) {
        Some(tensor) if tensor.size() == shape => {
            return tensor.detach().to_device(device).to_kind(Kind::Float);
        }
        Some(tensor) => {
            mismatch
                .misshapen
                .push((name.to_owned(), shape.to_vec(), tensor.size()));
        }
        None => mismatch.missing.push(name.to_owned()),
    }
    Tensor::zeros([1], (Kind::Float, device)).expand(shape, false)
}
