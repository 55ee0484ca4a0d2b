//! `just bench stored_latents -- --data SHARDS --latents FOLDER --network FILE`: what rounding stored latents to f16 costs.
//!
//! The folders are those of finished `prepare` and `encode` stages, the file a network that was trained on the latents. Prints
//! the peak signal-to-noise ratio of images that are decoded of exact and of stored means, and the network's training loss on
//! both under the same noise. `--images N` (256), evenly over the set.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that fails ends with the reason"
)]

use std::path::PathBuf;

use patchwork_dataset::{LatentSet, ShardSet};
use patchwork_diffusion::autoencoder::psnr;
use patchwork_diffusion::loss::{LossOptions, patch_loss};
use patchwork_diffusion::patches::patch_positions;
use patchwork_diffusion::{Conditioning, NetworkDenoiser};
use patchwork_networks::autoencoder::AutoencoderFile;
use patchwork_networks::checkpoint::load_network;
use patchwork_stages::latents::{DecodeOptions, decode, pixel_values};
use tch::{Device, Kind, Tensor};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|argument| argument == name)?;
        arguments.get(place + 1)
    };
    let [Some(data), Some(latents), Some(network)] =
        ["--data", "--latents", "--network"].map(|name| value(name).map(PathBuf::from))
    else {
        println!("name what is compared: --data SHARDS --latents FOLDER --network FILE");
        return;
    };
    let images = value("--images").map_or(256, |text| text.parse().unwrap());
    let pixels = ShardSet::open(&data).unwrap();
    let set = LatentSet::open(&latents).unwrap();
    assert_eq!(pixels.len(), set.len(), "the latents are of other images");
    let autoencoder = AutoencoderFile::open(&latents.join("autoencoder"), None, Device::Cpu)
        .unwrap()
        .autoencoder;
    let spec = set.spec();
    let shape = [spec.channels, spec.height, spec.width].map(|length| length as i64);
    let images = usize::min(images, set.len());
    let chosen: Vec<usize> = (0..images)
        .map(|number| number * set.len() / images)
        .collect();
    let (mut originals, mut exact, mut stored) = (Vec::new(), Vec::new(), Vec::new());
    for image in chosen {
        let values = pixel_values(&pixels, image..image + 1, spec.pixel_range);
        originals.push(bytes(&pixels, image));
        exact.push(autoencoder.encode_batches(&values, 1).unwrap().mean);
        stored.push(
            Tensor::from_slice(&set.moments(image).0).view([1, shape[0], shape[1], shape[2]]),
        );
    }
    let [originals, exact, stored] = [originals, exact, stored].map(|parts| Tensor::cat(&parts, 0));
    let options = DecodeOptions {
        pixel_range: spec.pixel_range,
        at_once: 8,
        tiling: None,
    };
    let [of_exact, of_stored] =
        [&exact, &stored].map(|means| decode(&autoencoder, means, &options));
    let largest = (&exact - &stored).abs().max().double_value(&[]);
    println!(
        "{images} images: largest rounding {largest:.2e}; exact means {:.4} dB, stored means {:.4} dB, one against the other {:.1} dB",
        psnr(&originals, &of_exact),
        psnr(&originals, &of_stored),
        psnr(&of_exact, &of_stored),
    );

    let network = load_network(&network, Device::Cpu).unwrap();
    let config = network.config().latents.clone().unwrap();
    let denoiser = NetworkDenoiser::new(network);
    tch::manual_seed(0);
    let options = (Kind::Float, Device::Cpu);
    let (normal, noise) = (
        Tensor::randn([images as i64], options),
        Tensor::randn(exact.size(), options),
    );
    let by_channel = |values: &[f64]| {
        Tensor::from_slice(values)
            .to_kind(Kind::Float)
            .view([1, -1, 1, 1])
    };
    let corners = vec![0; images];
    let losses = [&exact, &stored].map(|means| {
        let scaled = (means - by_channel(&config.shift)) * by_channel(&config.scale);
        let positions = patch_positions(
            &corners,
            &corners,
            shape[1],
            shape[2],
            shape[1],
            shape[2],
            Device::Cpu,
        );
        let conditioning = Conditioning {
            positions: Some(positions),
            class_labels: None,
            augment_labels: None,
        };
        let loss = tch::no_grad(|| {
            patch_loss(
                &denoiser,
                &scaled,
                &normal,
                &noise,
                &conditioning,
                &LossOptions::default(),
            )
        });
        loss.mean(Kind::Double).double_value(&[])
    });
    println!(
        "loss on exact latents {:.6}, on stored ones {:.6}: {:.1e} of it",
        losses[0],
        losses[1],
        (losses[1] - losses[0]).abs() / losses[0]
    );
}

/// `[1, channels, height, width]`, u8.
fn bytes(pixels: &ShardSet, image: usize) -> Tensor {
    let shape = [pixels.height(), pixels.width(), pixels.channels().count()];
    Tensor::from_slice(pixels.pixels(image))
        .view(shape.map(|length| length as i64))
        .permute([2, 0, 1])
        .unsqueeze(0)
}
