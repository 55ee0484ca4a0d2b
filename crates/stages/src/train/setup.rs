//! From settings to a network in training.

use std::collections::BTreeMap;

use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::Digest;
use patchwork_diffusion::learning_rate::Decay;
use patchwork_diffusion::loss::LossOptions;
use patchwork_diffusion::{
    AdamOptions, EmaProfile, ImageClock, Lanes, LearningRate, NetworkDenoiser, TrainOptions,
    TrainStep,
};
use patchwork_networks::checkpoint::load_network;
use patchwork_networks::{LatentConfig, Network, NetworkConfig};
use patchwork_recipes::train::Places;
use patchwork_recipes::{Execution, TrainSettings};
use patchwork_terms::EmaKind;
use serde_json::json;
use tch::{Device, Tensor};

use super::kept;
use crate::device;

/// What another data set or another augmentation changes: the layers that read labels.
const LABEL_LAYERS: [&str; 2] = ["map_label.", AUGMENT_LAYER];
const AUGMENT_LAYER: &str = "map_augment.";

/// Why a training cannot start from a network.
#[derive(Debug, thiserror::Error)]
enum InitError {
    #[error("`init_from`: `{path}` has changed since the run was planned; run again")]
    Changed { path: String },
    #[error(
        "`init_from`: the network in `{path}` is another than that of [network]: {problem}; \
         `patchwork checkpoint inspect` shows its settings"
    )]
    Unlike { path: String, problem: String },
}

/// Gives a network the weights of the file of `init_from`, if there is one.
pub(super) fn initialise(
    network: &Network,
    settings: &TrainSettings,
    places: &Places,
    context: &Context,
) -> Result<(), StageError> {
    let (Some(digest), Some(file)) = (&settings.init_from, &places.init_file) else {
        return Ok(());
    };
    let path = file.display().to_string();
    if Digest::of_file(file)?.to_string() != *digest {
        return Err(InitError::Changed { path }.into());
    }
    let source = load_network(file, Device::Cpu)?;
    let initialised = copy_weights(&source, network).map_err(|problem| InitError::Unlike {
        path: path.clone(),
        problem,
    })?;
    if has_no_coordinates(&source, network) {
        context.warn(format!(
            "`init_from`: the network in `{path}` knows no coordinates; their weights start at zero"
        ));
    }
    if !initialised.is_empty() {
        context.warn(format!(
            "`init_from`: layers that read labels are initialised, since `{path}` has none of this shape and meaning: {}",
            initialised.join(", ")
        ));
    }
    Ok(())
}

/// Says what differs of the settings that neither names nor shapes of weights tell.
pub(super) fn check_surroundings(
    given: &NetworkConfig,
    wanted: &NetworkConfig,
) -> Result<(), String> {
    let [given, wanted] = [given, wanted].map(|config| {
        [
            ("resample_filter", json!(config.resample_filter)),
            ("preconditioning", json!(config.preconditioning)),
            ("sigma_data", json!(config.sigma_data)),
            (
                "latents",
                json!(config.latents.as_ref().map(LatentConfig::kind)),
            ),
        ]
    });
    let mut pairs = given.into_iter().zip(wanted);
    match pairs.find(|((_, given), (_, wanted))| given != wanted) {
        Some(((key, given), (_, wanted))) => Err(format!("its `{key}` is {given}, not {wanted}")),
        None => Ok(()),
    }
}

/// Whether the augmentation labels of a network mean something else than another's, as far as their files tell.
pub(super) fn reads_other_labels(given: &NetworkConfig, wanted: &NetworkConfig) -> bool {
    given.augment_dim > 0 && wanted.augment_dim > 0 && given.blit_labels != wanted.blit_labels
}

/// Whether a network without coordinates, such as EDM's, is to learn them.
fn has_no_coordinates(source: &Network, target: &Network) -> bool {
    target.config().position_channels && !source.config().position_channels
}

/// Copies what has the same name and shape, what is not trained included; returns the layers for which there is nothing,
/// or says why it will not do. Weights of coordinates that the source does not have are zero, so that the target starts as
/// the source.
fn copy_weights(source: &Network, target: &Network) -> Result<Vec<String>, String> {
    check_surroundings(source.config(), target.config())?;
    let given: BTreeMap<String, Tensor> = source
        .named_tensors()
        .into_iter()
        .map(|parameter| (parameter.name, parameter.tensor))
        .collect();
    let reads_labels = |name: &str| LABEL_LAYERS.iter().any(|layer| name.contains(layer));
    let wanted = target.named_tensors();
    let inputs = [source, target].map(|network| network.config().in_channels);
    let lacks_coordinates = has_no_coordinates(source, target);
    // Coordinates follow the image's channels wherever a layer reads the network's input.
    let reads_input = |given: &Tensor, wanted: &Tensor| {
        let [given, mut wanted] = [given, wanted].map(Tensor::size);
        let reads = wanted.len() == 4 && given.len() == 4 && [given[1], wanted[1]] == inputs;
        if reads {
            wanted[1] = given[1];
        }
        lacks_coordinates && reads && given == wanted
    };
    let other_labels = reads_other_labels(source.config(), target.config());
    let mut initialised = Vec::new();
    for parameter in &wanted {
        let name = &parameter.name;
        match given.get(name) {
            Some(_) if other_labels && name.contains(AUGMENT_LAYER) => {
                initialised.push(name.clone());
            }
            Some(tensor) if tensor.size() == parameter.tensor.size() => {}
            Some(tensor) if reads_input(tensor, &parameter.tensor) => {}
            _ if reads_labels(name) => initialised.push(name.clone()),
            Some(tensor) => {
                return Err(format!(
                    "its `{name}` has the shape {:?}, not {:?}",
                    tensor.size(),
                    parameter.tensor.size()
                ));
            }
            None => return Err(format!("it has no `{name}`")),
        }
    }
    if let Some(name) = given
        .keys()
        .find(|name| !reads_labels(name) && !wanted.iter().any(|wanted| wanted.name == **name))
    {
        return Err(format!("it has a `{name}`"));
    }
    tch::no_grad(|| {
        for mut parameter in wanted {
            if initialised.contains(&parameter.name) {
                continue;
            }
            let given = &given[&parameter.name];
            if reads_input(given, &parameter.tensor) {
                let _ = parameter.tensor.zero_();
                parameter.tensor = parameter.tensor.narrow(1, 0, inputs[0]);
            }
            parameter.tensor.copy_(given);
        }
    });
    Ok(initialised)
}

/// A network before its first step, with its optimiser and its averages.
pub(super) fn train_step(
    settings: &TrainSettings,
    execution: &Execution,
    network: Network,
) -> Result<TrainStep, StageError> {
    let preconditioning = network.config().preconditioning;
    let denoiser = NetworkDenoiser {
        precision: device::kind(settings.precision),
        ..NetworkDenoiser::new(network)
    };
    let decay = (settings.learning_rate_decay_images > 0).then_some(Decay {
        decay_images: settings.learning_rate_decay_images,
        duration_images: settings.duration_images,
    });
    let options = TrainOptions {
        batch_size: settings.batch_size.into(),
        loss_scaling: settings.loss_scaling,
        learning_rate: LearningRate {
            rate: settings.learning_rate,
            rampup_images: settings.learning_rate_rampup_images,
            decay,
        },
        max_gradient_norm: settings.gradient_clip,
        loss: LossOptions {
            preconditioning,
            p_mean: settings.p_mean,
            p_std: settings.p_std,
            sigma_data: settings.sigma_data,
        },
        adam: AdamOptions::default(),
        lanes: Lanes::of(
            device::threads(execution),
            (settings.batch_size / settings.gradient_accumulation / execution.ranks) as usize,
        ),
        fast_paths: settings.fast_paths.iter().copied().collect(),
    };
    let averages = match settings.ema {
        EmaKind::HalfLife => vec![EmaProfile::HalfLife {
            images: settings.ema_half_life_images,
            rampup_ratio: (settings.ema_rampup_ratio > 0.0).then_some(settings.ema_rampup_ratio),
        }],
        EmaKind::Power => kept::WIDTHS
            .into_iter()
            .map(EmaProfile::power)
            .collect::<Result<_, _>>()?,
    };
    let clock = ImageClock {
        batch_size: settings.batch_size.into(),
        images_seen: 0,
    };
    Ok(TrainStep::new(denoiser, options, &averages, clock))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::batch::tests::GENERATOR;

    fn network(changes: &str, seed: u64) -> Network {
        let mut config = serde_json::json!({
            "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
            "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 8,
            "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.0, "sigma_data": 0.5
        });
        let changes: serde_json::Value = serde_json::from_str(changes).unwrap();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config: NetworkConfig = serde_json::from_value(config).unwrap();
        Network::new(&config, Device::Cpu, seed).unwrap()
    }

    const FOURIER: &str = r#"{"embedding_type": "fourier"}"#;

    #[test]
    fn weights_come_over_and_label_layers_start_anew() {
        let _guard = GENERATOR.lock().unwrap();
        let source = network(r#"{"label_dim": 4}"#, 1);
        for (changes, initialised) in [
            (r#"{"label_dim": 4}"#, 0),
            (r#"{"label_dim": 7}"#, 1),
            ("{}", 0),
        ] {
            let target = network(changes, 2);
            let fresh: Vec<Tensor> = target
                .parameters()
                .iter()
                .map(|parameter| parameter.tensor.copy())
                .collect();
            let left = copy_weights(&source, &target).unwrap();
            assert_eq!(left.len(), initialised, "{left:?}");
            let given = source.parameters();
            for (parameter, fresh) in target.parameters().iter().zip(fresh) {
                let expected = match given.iter().find(|given| given.name == parameter.name) {
                    Some(given) if !left.contains(&parameter.name) => &given.tensor,
                    _ => &fresh,
                };
                assert!(parameter.tensor.equal(expected), "{}", parameter.name);
            }
        }
        // Labels of quarter turns that meant something else.
        let (old, new) = (
            r#"{"augment_dim": 2}"#,
            r#"{"augment_dim": 2, "blit_labels": 2}"#,
        );
        for (source, target, initialised) in
            [(old, new, 1), (new, old, 1), (new, new, 0), (new, "{}", 0)]
        {
            let [source, target] = [network(source, 1), network(target, 2)];
            let left = copy_weights(&source, &target).unwrap();
            assert_eq!(left.len(), initialised, "{left:?}");
        }
        // Fourier frequencies are drawn, not trained, and belong to the weights that were trained on them.
        let [source, target] = [1, 2].map(|seed| network(FOURIER, seed));
        copy_weights(&source, &target).unwrap();
        let [source, target] = [source, target].map(|network| network.buffers());
        assert!(source.iter().any(|buffer| buffer.name == "map_noise.freqs"));
        for (source, target) in source.iter().zip(target) {
            assert!(source.tensor.equal(&target.tensor), "{}", source.name);
        }
    }

    #[test]
    fn coordinates_that_are_new_change_nothing_at_first() {
        let _guard = GENERATOR.lock().unwrap();
        let plain = r#""in_channels": 3, "position_channels": false"#;
        let residual = r#""encoder_type": "residual""#;
        for more in [r#""dropout": 0.0"#, residual] {
            let source = network(&format!("{{{plain}, {more}}}"), 1);
            let target = network(&format!("{{{more}}}"), 2);
            assert!(copy_weights(&source, &target).unwrap().is_empty());
            let images = Tensor::arange(2 * 3 * 64, (tch::Kind::Float, Device::Cpu)).sin();
            let images = images.reshape([2, 3, 8, 8]);
            let coordinates = Tensor::arange(2 * 2 * 64, (tch::Kind::Float, Device::Cpu)).cos();
            let with_coordinates = Tensor::cat(&[&images, &coordinates.reshape([2, 2, 8, 8])], 1);
            let noise = Tensor::from_slice(&[0.3f32, -0.7]);
            let [expected, found] = [(&source, &images), (&target, &with_coordinates)]
                .map(|(network, x)| network.forward(x, &noise, None, None, tch::Kind::Float, None));
            assert!(found.allclose(&expected, 1e-5, 1e-7, false), "{more}");
        }
        // The other way something would be lost.
        let source = network("{}", 1);
        let target = network(&format!("{{{plain}}}"), 2);
        assert!(
            copy_weights(&source, &target)
                .unwrap_err()
                .contains("shape")
        );
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let _guard = GENERATOR.lock().unwrap();
        let source = network("{}", 1);
        for (changes, word) in [
            (r#"{"model_channels": 16}"#, "shape"),
            (
                r#"{"resample_filter": [1, 3, 3, 1]}"#,
                "[1,1], not [1,3,3,1]",
            ),
            (r#"{"preconditioning": "vp"}"#, "`preconditioning`"),
            (FOURIER, "it has no `map_noise.freqs`"),
            (r#"{"num_blocks": 2}"#, "it has no"),
            (r#"{"channel_mult": [1]}"#, ""),
        ] {
            let problem = copy_weights(&source, &network(changes, 2)).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
