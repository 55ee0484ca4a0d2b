//! `denoiser`: the preconditioned network forward and backward. Its helpers serve the other kinds with a network.

use patchwork_diffusion::{Conditioning, Denoiser, NetworkDenoiser};
use patchwork_networks::{Network, NetworkConfig};
use tch::{Kind, Tensor};

use crate::device::device;
use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let denoiser = build(case)?;
    let x = case.tensor("input/x")?.set_requires_grad(true);
    let denoised = denoiser.denoise(&x, &case.tensor("input/sigma")?, &conditioning(case));
    (&denoised * case.tensor("input/probe")?)
        .sum(Kind::Float)
        .backward();
    let mut ours = gradients(case, &denoiser);
    ours.insert("grad/input/x".to_owned(), x.grad());
    ours.insert("output/denoised".to_owned(), denoised);
    Ok(ours)
}

/// The case's network with its weights under its preconditioning, in evaluation mode.
pub(crate) fn build(case: &Case) -> Result<NetworkDenoiser, String> {
    let config: NetworkConfig = serde_json::from_value(case.settings["network"].clone())
        .map_err(|error| format!("network: {error}"))?;
    load(&config, &case.after("param/"))
}

/// A network with weights under its preconditioning, in evaluation mode.
pub(crate) fn load(config: &NetworkConfig, tensors: &Tensors) -> Result<NetworkDenoiser, String> {
    let network = Network::new(config, device(), 0).map_err(|error| error.to_string())?;
    network.load(tensors).map_err(|error| error.to_string())?;
    Ok(NetworkDenoiser::new(network))
}

/// What the case conditions the network on.
pub(crate) fn conditioning(case: &Case) -> Conditioning {
    Conditioning {
        positions: case
            .optional("input/x_pos")
            .or_else(|| case.optional("input/positions")),
        class_labels: case.optional("input/class_labels"),
        augment_labels: case.optional("input/augment_labels"),
    }
}

/// The gradients of the parameters that the case has gradients for; a parameter without one counts as zero.
pub(crate) fn gradients(case: &Case, denoiser: &NetworkDenoiser) -> Tensors {
    denoiser
        .network
        .parameters()
        .into_iter()
        .filter_map(|parameter| {
            let name = format!("grad/model.{}", parameter.name);
            case.tensors.get(&name)?;
            let gradient = parameter.tensor.grad();
            let gradient = if gradient.defined() {
                gradient
            } else {
                Tensor::zeros_like(&parameter.tensor)
            };
            Some((name, gradient))
        })
        .collect()
}
