//! The extractors that settings name.

use patchwork_weights::{ExtractorSpec, Network, Resize, TorchScript};

use super::{ExtractorChoice, ReferenceSettings};

/// The extractors of a reference stage, in the order of its settings.
///
/// # Panics
/// If the settings name a TorchScript program without describing it, which reading them refuses.
pub fn extractors(settings: &ReferenceSettings) -> Vec<ExtractorSpec> {
    (settings.extractor.iter())
        .map(|choice| extractor(choice, settings))
        .collect()
}

fn extractor(choice: &ExtractorChoice, settings: &ReferenceSettings) -> ExtractorSpec {
    match choice.network.as_str() {
        "efficientnet-lite0" => ExtractorSpec::new(Network::EfficientNetLite0),
        "inception-v3" => ExtractorSpec {
            network: Network::InceptionV3,
            resize: choice.resize.unwrap_or(Resize::Tf1),
        },
        name => {
            let described = settings
                .torchscript
                .get(name)
                .expect("a network that is not built in is described by the settings");
            ExtractorSpec {
                network: Network::TorchScript(TorchScript {
                    name: name.to_owned(),
                    file: described.file.clone(),
                    side: described.side,
                    mean: described.mean,
                    deviation: described.std,
                }),
                resize: described.resize,
            }
        }
    }
}
