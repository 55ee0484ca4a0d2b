//! A network: settings, weights and the way through them.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};

use crate::builder::{Builder, Entry, Gradients, Mismatch};
use crate::conditioning::Conditioning;
use crate::config::{Architecture, NetworkConfig};
use crate::dhariwal::DhariwalUNet;
use crate::dropout::Dropout;
use crate::error::NetworkError;
use crate::features::Features;
use crate::parameter::Parameter;
use crate::resample::filter_tensor;
use crate::song::SongUNet;

/// Prefix of the published files, in which the network sits inside its preconditioning.
pub const PUBLISHED_PREFIX: &str = "model.";

/// What may stand before all names of a file: the preconditioning, data-parallel training, compilation.
const PREFIXES: [&str; 3] = [PUBLISHED_PREFIX, "module.", "_orig_mod."];

#[derive(Debug)]
enum Graph {
    Song(SongUNet),
    Dhariwal(DhariwalUNet),
}

/// A U-Net with its weights.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    graph: Graph,
    entries: Vec<Entry>,
    features: Features,
}

impl Network {
    /// A fresh network with float32 weights.
    ///
    /// # Determinism
    /// The weights are a function of `config` and `seed` alone: they are drawn on the CPU, then moved.
    /// Seeds libtorch's global generator.
    ///
    /// # Errors
    /// [`NetworkError::Config`] when the settings contradict each other.
    pub fn new(config: &NetworkConfig, device: Device, seed: u64) -> Result<Self, NetworkError> {
        config.validate()?;
        tch::manual_seed(seed.cast_signed());
        Ok(Self::build(config, Builder::fresh(device)).0)
    }

    /// A network of weights that were read, in float32 on `device`: nothing is drawn, and no memory is taken for
    /// weights that are not there.
    ///
    /// Their names are the published ones, behind any of the prefixes that all of them may share: `model.` of the
    /// preconditioning, `module.` of data-parallel training, `_orig_mod.` of compiled modules.
    ///
    /// # Errors
    /// [`NetworkError::Config`]; [`NetworkError::Weights`] unless names and shapes are exactly the network's;
    /// [`NetworkError::ResampleFilter`] when a stored filter contradicts the settings.
    pub fn from_tensors(
        config: &NetworkConfig,
        tensors: BTreeMap<String, Tensor>,
        device: Device,
    ) -> Result<Self, NetworkError> {
        config.validate()?;
        let prefix = shared_prefix(&tensors).len();
        let weights = tensors
            .into_iter()
            .map(|(name, tensor)| (name[prefix..].to_owned(), tensor))
            .collect();
        let (network, mismatch) = Self::build(config, Builder::given(weights, device));
        mismatch.check()?;
        for Entry { parameter, .. } in &network.entries {
            check_filter(config, &parameter.name, &parameter.tensor)?;
        }
        Ok(network)
    }

    fn build(config: &NetworkConfig, mut builder: Builder) -> (Self, Mismatch) {
        let features = builder.features();
        let graph = match config.arch {
            Architecture::Ddpmpp | Architecture::Ncsnpp => {
                Graph::Song(SongUNet::new(&mut builder, config))
            }
            Architecture::Adm => Graph::Dhariwal(DhariwalUNet::new(&mut builder, config)),
        };
        let (entries, mismatch) = builder.finish();
        let network = Self {
            config: config.clone(),
            graph,
            entries,
            features,
        };
        (network, mismatch)
    }

    /// The settings.
    pub fn config(&self) -> &NetworkConfig {
        &self.config
    }

    /// The raw network F, without preconditioning, with features in `precision` (float32, bfloat16, float16, float64).
    /// The first convolution, the embedding of noise and labels and the statistics of normalisation are float32 at
    /// least.
    ///
    /// A conditional network without `class_labels` takes zeros; an unconditional one ignores them.
    /// With `dropout` activations are dropped, as in training.
    ///
    /// # Shapes
    /// - `x`: `[n, in_channels, h, w]`, image and then coordinates, float32 (float64 for features in it); h and w
    ///   multiples of [`NetworkConfig::size_multiple`]
    /// - `noise_labels`: `[n]`
    /// - `class_labels`: `[n, label_dim]`; `augment_labels`: `[n, augment_dim]`
    /// - returns `[n, out_channels, h, w]` in `precision`
    ///
    /// # Panics
    /// When a shape is not as above.
    pub fn forward(
        &self,
        x: &Tensor,
        noise_labels: &Tensor,
        class_labels: Option<&Tensor>,
        augment_labels: Option<&Tensor>,
        precision: Kind,
        dropout: Option<&Dropout>,
    ) -> Tensor {
        let kind = if x.kind() == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let class = (self.config.label_dim > 0).then(|| match class_labels {
            Some(labels) => labels.to_kind(kind),
            None => Tensor::zeros([x.size()[0], self.config.label_dim], (kind, x.device())),
        });
        let conditioning = Conditioning {
            noise: noise_labels.to_kind(kind),
            class,
            augment: augment_labels.map(|labels| labels.to_kind(kind)),
        };
        let x = self.features.arrange(x);
        let output = match &self.graph {
            Graph::Song(network) => network.forward(&x, &conditioning, precision, dropout),
            Graph::Dhariwal(network) => network.forward(&x, &conditioning, precision, dropout),
        };
        output.contiguous()
    }

    /// The trainable tensors in a fixed order.
    pub fn parameters(&self) -> Vec<Parameter> {
        self.shared(|entry| entry.trainable)
    }

    /// The stored tensors that are not trained: resampling filters and Fourier frequencies.
    pub fn buffers(&self) -> Vec<Parameter> {
        self.shared(|entry| !entry.trainable)
    }

    /// Everything that a checkpoint holds, in the published order.
    pub fn named_tensors(&self) -> Vec<Parameter> {
        self.shared(|_| true)
    }

    fn shared(&self, wanted: impl Fn(&Entry) -> bool) -> Vec<Parameter> {
        self.entries
            .iter()
            .filter(|entry| wanted(entry))
            .map(|entry| entry.parameter.share())
            .collect()
    }

    /// Copies weights in by name, with or without prefixes as in [`Network::from_tensors`].
    ///
    /// # Errors
    /// [`NetworkError::Weights`] unless names and shapes are exactly the network's;
    /// [`NetworkError::ResampleFilter`] when a stored filter contradicts the settings. Nothing is changed then.
    pub fn load(&self, tensors: &BTreeMap<String, Tensor>) -> Result<(), NetworkError> {
        let prefix = shared_prefix(tensors).len();
        let given: BTreeMap<&str, &Tensor> = tensors
            .iter()
            .map(|(name, tensor)| (&name[prefix..], tensor))
            .collect();
        let mut mismatch = Mismatch::default();
        for Entry { parameter, .. } in &self.entries {
            match given.get(parameter.name.as_str()) {
                None => mismatch.missing.push(parameter.name.clone()),
                Some(tensor) if tensor.size() != parameter.tensor.size() => {
                    mismatch.misshapen.push((
                        parameter.name.clone(),
                        parameter.tensor.size(),
                        tensor.size(),
                    ));
                }
                Some(_) => {}
            }
        }
        let ours: BTreeSet<&str> = self
            .entries
            .iter()
            .map(|entry| entry.parameter.name.as_str())
            .collect();
        mismatch.unexpected = given
            .keys()
            .filter(|name| !ours.contains(**name))
            .map(|name| (*name).to_owned())
            .collect();
        mismatch.check()?;
        for (name, tensor) in &given {
            check_filter(&self.config, name, tensor)?;
        }
        tch::no_grad(|| -> Result<(), NetworkError> {
            for Entry { parameter, .. } in &self.entries {
                let mut target = parameter.tensor.shallow_clone();
                target.f_copy_(given[parameter.name.as_str()])?;
            }
            Ok(())
        })
    }

    /// A copy for inference with the weights already in `kind`: same forward, no casts, no gradients.
    #[must_use]
    pub fn to_kind_copy(&self, kind: Kind) -> Network {
        Self::build(
            &self.config,
            Builder::cast(&self.entries, kind, Gradients::None, Features::Plain),
        )
        .0
    }

    /// A copy to train with, in the same or another precision: same forward, the weights in `kind`. Those that are of
    /// `kind` already, or float32 in any precision ([`Network::forward`]), lie in the same memory as this network's.
    ///
    /// The parameters come in the same order as [`Network::parameters`] here.
    #[must_use]
    pub fn to_training_copy(&self, kind: Kind, gradients: Gradients) -> Network {
        let builder = Builder::cast(&self.entries, kind, gradients, self.features);
        Self::build(&self.config, builder).0
    }

    /// The same network with its features computed with in another way, as in the copies that it is trained with; those
    /// for inference compute in the plain way. The weights of convolutions are moved into the order of the features, each
    /// in memory of its own, and whatever is laid out as they are keeps that order.
    #[must_use]
    pub fn with_features(self, features: Features) -> Self {
        if features == self.features {
            return self;
        }
        for Entry { parameter, .. } in &self.entries {
            if parameter.tensor.dim() == 4 {
                let arranged = tch::no_grad(|| features.arrange(&parameter.tensor));
                parameter.tensor.shallow_clone().set_data(&arranged);
            }
        }
        let builder = Builder::cast(&self.entries, Kind::Float, Gradients::Shared, features);
        Self::build(&self.config, builder).0
    }
}

/// The prefixes that all names have, in whatever order; no name of a network begins with one of them.
fn shared_prefix(tensors: &BTreeMap<String, Tensor>) -> &str {
    let Some(first) = tensors.keys().next() else {
        return "";
    };
    let mut length = 0;
    while let Some(prefix) = PREFIXES
        .iter()
        .find(|prefix| first[length..].starts_with(**prefix))
    {
        length += prefix.len();
    }
    // The longest run of them that every name shares.
    let mut prefix = &first[..length];
    while !tensors.keys().all(|name| name.starts_with(prefix)) {
        let last = PREFIXES.iter().find(|last| prefix.ends_with(**last));
        prefix = &prefix[..prefix.len() - last.map_or(prefix.len(), |last| last.len())];
    }
    prefix
}

fn check_filter(config: &NetworkConfig, name: &str, tensor: &Tensor) -> Result<(), NetworkError> {
    if !name.ends_with(".resample_filter") {
        return Ok(());
    }
    let stored = tensor.to_device(Device::Cpu).to_kind(Kind::Float);
    let largest = (stored - filter_tensor(&config.resample_filter))
        .abs()
        .max()
        .double_value(&[]);
    // NaN is not a match either.
    if largest <= 1e-3 {
        return Ok(());
    }
    Err(NetworkError::ResampleFilter {
        name: name.to_owned(),
    })
}
