//! The extractor that ships: what it refuses, and how little a batch matters.

use std::path::{Path, PathBuf};

use patchwork_metrics::{MetricsError, open_extractor};
use patchwork_weights::ExtractorKind;
use tch::{Device, Kind, Tensor};

fn weights_folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights");
    std::env::var_os("PATCHWORK_WEIGHTS").map_or_else(own, PathBuf::from)
}

#[test]
fn features_depend_on_the_batch_by_rounding_only() {
    let extractor = open_extractor(
        ExtractorKind::EfficientNetLite0,
        &weights_folder(),
        Device::Cpu,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    tch::manual_seed(0);
    let images = Tensor::randint(256, [9, 3, 20, 28], (Kind::Uint8, Device::Cpu));
    let whole = extractor.features(&images).unwrap();
    assert_eq!(whole.size(), [9, extractor.dimension()]);
    for batch in [1, 2, 5] {
        let parts: Vec<Tensor> = images
            .split(batch, 0)
            .iter()
            .map(|images| extractor.features(images).unwrap())
            .collect();
        let difference = (Tensor::cat(&parts, 0) - &whole).norm() / whole.norm();
        assert!(
            difference.double_value(&[]) < 1e-6,
            "batches of {batch}: {difference:?}"
        );
    }
    assert_eq!(
        extractor.features(&images.narrow(0, 0, 0)).unwrap().size(),
        [0, extractor.dimension()]
    );
}

#[test]
fn what_is_no_batch_of_colour_images_is_refused() {
    let extractor = open_extractor(
        ExtractorKind::EfficientNetLite0,
        &weights_folder(),
        Device::Cpu,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let grey = Tensor::zeros([2, 1, 8, 8], (Kind::Uint8, Device::Cpu));
    let float = Tensor::zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu));
    for images in [grey, float] {
        assert!(matches!(
            extractor.features(&images),
            Err(MetricsError::Images { .. })
        ));
    }
}
