//! `kl_autoencoder`: the moments of images' latents, and the images of the means.

use patchwork_networks::autoencoder::{Autoencoder, AutoencoderConfig};

use crate::device::device;
use crate::runner::{Case, Tensors};

pub(crate) fn run(case: &mut Case) -> Result<Tensors, String> {
    let config = AutoencoderConfig::from_json(&case.settings["config"])
        .map_err(|error| error.to_string())?;
    let autoencoder = Autoencoder::from_tensors(&config, case.after("param/"), device())
        .map_err(|error| error.to_string())?;
    let images = case.tensor("input/images")?;
    tch::no_grad(|| {
        let posterior = autoencoder
            .encode(&images)
            .map_err(|error| error.to_string())?;
        Ok(Tensors::from([
            (
                "output/decoded".to_owned(),
                autoencoder.decode(&posterior.mean),
            ),
            ("output/mean".to_owned(), posterior.mean),
            ("output/logvar".to_owned(), posterior.log_variance),
        ]))
    })
}
