//! Extractors: the one that ships, TorchScript programs, several in one pass; what they refuse, and how little a batch
//! matters.

use std::path::{Path, PathBuf};

use patchwork_core::Digest;
use patchwork_metrics::inception_v3::InceptionV3TorchScript;
use patchwork_metrics::torchscript::TorchScriptExtractor;
use patchwork_metrics::{
    Extraction, Extractor, MetricsError, OpenExtractor, View, open_extractors,
};
use patchwork_weights::{ExtractorSpec, Network, Resize, TorchScript};
use tch::{Device, Kind, Tensor};

fn weights_folder() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../weights");
    std::env::var_os("PATCHWORK_WEIGHTS").map_or_else(own, PathBuf::from)
}

fn program(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/torchscript");
    folder.join(name)
}

fn shipped() -> ExtractorSpec {
    ExtractorSpec::new(Network::EfficientNetLite0)
}

/// A program of the fixtures with the size and normalisation that its `make.py` tries it with.
fn tiny(file: &str) -> ExtractorSpec {
    ExtractorSpec {
        network: Network::TorchScript(TorchScript {
            name: "tiny".to_owned(),
            file: program(file),
            side: 8,
            mean: [0.5; 3],
            deviation: [0.25; 3],
        }),
        resize: Resize::Clean,
    }
}

fn open(specs: &[ExtractorSpec]) -> Result<Vec<OpenExtractor>, MetricsError> {
    open_extractors(specs, &weights_folder(), Device::Cpu)
}

fn images(count: i64, height: i64, width: i64) -> Tensor {
    tch::manual_seed(0);
    Tensor::randint(256, [count, 3, height, width], (Kind::Uint8, Device::Cpu))
}

fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    ((ours - theirs).norm() / theirs.norm()).double_value(&[])
}

/// Every chunk has one size, so that not even rounding depends on the caller's batch.
#[test]
fn features_do_not_depend_on_the_batch() {
    let open = open(&[shipped(), tiny("tiny.pt")]).unwrap_or_else(|error| panic!("{error}"));
    let images = images(9, 20, 28);
    for OpenExtractor { extractor, .. } in &open {
        let whole = extractor.features(&images).unwrap().pooled;
        assert_eq!(whole.size(), [9, extractor.dimension()]);
        for batch in [1, 2, 5] {
            let parts: Vec<Tensor> = images
                .split(batch, 0)
                .iter()
                .map(|images| extractor.features(images).unwrap().pooled)
                .collect();
            let difference = difference(&Tensor::cat(&parts, 0), &whole);
            assert!(difference < 1e-7, "batches of {batch}: {difference:e}");
        }
        let none = extractor.features(&images.narrow(0, 0, 0)).unwrap().pooled;
        assert_eq!(none.size(), [0, extractor.dimension()]);
    }
}

#[test]
fn what_is_no_batch_of_colour_images_is_refused() {
    let open = open(&[shipped(), tiny("tiny.pt")]).unwrap();
    let grey = Tensor::zeros([2, 1, 8, 8], (Kind::Uint8, Device::Cpu));
    let float = Tensor::zeros([2, 3, 8, 8], (Kind::Float, Device::Cpu));
    for images in [grey, float] {
        for OpenExtractor { extractor, .. } in &open {
            let refused = extractor.features(&images);
            assert!(
                matches!(refused, Err(MetricsError::Images { .. })),
                "{refused:?}"
            );
        }
    }
}

/// The numbers are those that PyTorch printed when the fixture was made.
#[test]
fn a_program_gets_the_declared_input_and_gives_its_first_value() {
    let open = open(&[tiny("tiny.pt")]).unwrap();
    let images = (Tensor::arange(2 * 3 * 8 * 8, (Kind::Int64, Device::Cpu)) * 37)
        .remainder(256)
        .to_kind(Kind::Uint8)
        .view([2, 3, 8, 8]);
    let features = open[0].extractor.features(&images).unwrap().pooled;
    let expected = Tensor::from_slice(&[
        0.2575_f32, 0.3654, 0.4382, 0.1841, 0.3341, 0.2661, 0.1496, 0.3699, 0.1823, 0.5782,
    ])
    .view([2, 5]);
    assert!((features - expected).abs().max().double_value(&[]) < 1e-4);
}

/// NVIDIA's program is called with `return_features`; images that are resized here have its side when they come.
#[test]
fn the_inception_program_is_called_as_published() {
    let read = |resize| {
        let digest = Digest::of(b"fixture");
        InceptionV3TorchScript::read(&program("like-inception.pt"), digest, resize, Device::Cpu)
            .unwrap()
    };
    let images = images(3, 54, 54);
    let pixels = images.to_kind(Kind::Float);
    let means = |pixels: &Tensor| {
        pixels
            .adaptive_avg_pool2d([27, 27])
            .flatten(1, -1)
            .narrow(1, 0, 2048)
    };
    let own = read(Resize::Tf1).features(&images).unwrap().pooled;
    assert!(difference(&own, &means(&pixels)) < 1e-6);
    let resized = read(Resize::Torch).features(&images).unwrap();
    // The published program, unlike this one, continues with (x − 128) / 128: that is to be pytorch-fid's x / 127.5 − 1.
    let normalised = (&resized.pooled - 128.0) / 128.0;
    let expected = means(&pixels.upsample_bilinear2d([299, 299], false, None, None)) / 127.5 - 1.0;
    assert!(difference(&normalised, &expected) < 1e-5);
    assert!(resized.spatial.is_none());
}

#[test]
fn files_that_give_no_features_are_refused_with_the_reason() {
    let check = |path: &Path, expected: &str| {
        let Network::TorchScript(settings) = tiny("tiny.pt").network else {
            unreachable!("it is a program")
        };
        let digest = Digest::of(b"fixture");
        let refused =
            TorchScriptExtractor::read(path, settings, digest, Resize::Clean, Device::Cpu);
        let message = refused
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            message.contains(expected) && message.lines().count() == 1,
            "{message} / {expected}"
        );
    };
    check(&program("make.py"), "make.py");
    check(&program("none.pt"), "none.pt");
    // Without `return_features` it gives a number an image, not a vector.
    check(
        &program("like-inception.pt"),
        "a vector of floating-point numbers",
    );
}

#[test]
fn nan_is_told_with_the_image_that_it_came_from() {
    let mut spec = tiny("not-a-number.pt");
    if let Network::TorchScript(settings) = &mut spec.network {
        settings.mean = [0.0; 3];
    }
    let extraction = Extraction::new(open(&[spec]).unwrap(), &[]);
    let images = images(6, 8, 8);
    let _ = images.narrow(0, 4, 1).fill_(0);
    let refused = extraction.features(&images, 100).unwrap_err();
    assert!(
        matches!(
            refused,
            MetricsError::BrokenFeatures {
                image: 104,
                count: 1,
                ..
            }
        ),
        "{refused}"
    );
}

/// Whole images and crops of two extractors at once are what each gives alone, whatever the batches.
#[test]
fn several_kinds_of_features_come_in_one_pass() {
    let views = [View::CropQuarter, View::CropHalf];
    let both = Extraction::new(open(&[shipped(), tiny("tiny.pt")]).unwrap(), &views);
    let names: Vec<String> = (both.streams().iter())
        .map(|stream| both.stream_name(stream))
        .collect();
    assert_eq!(names[0], "efficientnet-lite0-bicubic/whole");
    assert_eq!(names[4], "tiny-clean/crop-half");
    assert_eq!(names.len(), 6);
    let images = images(5, 16, 24);
    let at_once = both.features(&images, 0).unwrap();
    let alone = Extraction::new(open(&[tiny("tiny.pt")]).unwrap(), &views);
    let (first, rest) = (images.narrow(0, 0, 2), images.narrow(0, 2, 3));
    let first = alone.features(&first, 0).unwrap();
    let rest = alone.features(&rest, 2).unwrap();
    for (position, together) in at_once[3..].iter().enumerate() {
        let parts = Tensor::cat(&[&first[position], &rest[position]], 0);
        assert!(
            difference(&parts, together) < 1e-7,
            "{}",
            names[position + 3]
        );
    }
    // The crop of another number lies elsewhere.
    let moved = both.features(&images, 1).unwrap();
    assert!(difference(&moved[0], &at_once[0]) < 1e-7);
    assert!(difference(&moved[1], &at_once[1]) > 1e-3);
    let small = both.features(&images.narrow(2, 0, 3), 0);
    assert!(matches!(
        small,
        Err(MetricsError::TooSmallToCrop { divisor: 4, .. })
    ));
}
