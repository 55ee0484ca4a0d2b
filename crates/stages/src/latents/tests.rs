use patchwork_dataset::{Channels, LatentSet, ShardSetWriter, ShardSpec};
use patchwork_diffusion::autoencoder::psnr;
use patchwork_networks::autoencoder::AutoencoderConfig;
use tch::Device;

use super::*;

const IMAGES: usize = 7;

fn autoencoder() -> Autoencoder {
    let _guard = crate::train::GENERATOR.lock().unwrap();
    let config = AutoencoderConfig {
        block_out_channels: vec![8, 16, 16],
        norm_num_groups: 4,
        ..AutoencoderConfig::default()
    };
    Autoencoder::new(&config, Device::Cpu, 5).unwrap()
}

/// Images of 16 × 24 pixels with smooth colours.
fn write_pixels(folder: &Path) {
    let spec = ShardSpec {
        width: 24,
        height: 16,
        channels: Channels::Rgb,
        images_per_shard: 4,
        class_names: vec!["one".to_owned()],
        metadata: BTreeMap::new(),
    };
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    let rows: Vec<Row> = (0..IMAGES)
        .map(|image| Row {
            key: format!("image {image}"),
            label: (image % 2 == 0).then_some(0),
            pixels: (0..24 * 16 * 3)
                .map(|value| ((value * (image + 3)) % 253) as u8)
                .collect(),
            source_width: 24,
            source_height: 16,
        })
        .collect();
    for shard in rows.chunks(4) {
        writer.write_shard(shard.to_vec(), Vec::new()).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn an_interrupted_encoding_ends_as_an_undisturbed_one() {
    let root = tempfile::tempdir().unwrap();
    let [pixels, whole, broken] = ["pixels", "whole", "broken"].map(|name| root.path().join(name));
    write_pixels(&pixels);
    let autoencoder = autoencoder();
    let encode = |folder: &Path, at_once, images: u64| {
        let options = EncodeOptions {
            pixel_range: PixelRange::Signed,
            images_per_shard: 2,
            at_once,
        };
        encode_set(&autoencoder, &pixels, folder, &options, &mut |progress| {
            if progress.done < images {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })
    };
    assert_eq!(encode(&whole, 2, 99).unwrap(), IMAGES as u64);
    assert!(encode(&broken, 1, 5).is_err());
    assert!(broken.join("shard-00001.parquet").exists());
    assert!(!broken.join("index.parquet").exists());
    encode(&broken, 2, 99).unwrap();
    for file in [
        "shard-00000",
        "shard-00001",
        "shard-00002",
        "shard-00003",
        "index",
    ] {
        let file = format!("{file}.parquet");
        let [one, other] =
            [&whole, &broken].map(|folder| std::fs::read(folder.join(&file)).unwrap());
        assert!(one == other, "{file}");
    }
    let latents = LatentSet::open(&whole).unwrap();
    assert_eq!((latents.spec().width, latents.spec().height), (6, 4));
    assert_eq!((latents.label(0), latents.label(1)), (Some(0), None));
    let digest = autoencoder.digest(Part::Encoder).unwrap();
    assert_eq!(latents.spec().encoder, Some(digest));
}

#[test]
fn stored_latents_decode_as_exact_ones_do() {
    let root = tempfile::tempdir().unwrap();
    let [pixels, folder] = ["pixels", "latents"].map(|name| root.path().join(name));
    write_pixels(&pixels);
    let autoencoder = autoencoder();
    for pixel_range in [PixelRange::Signed, PixelRange::Unsigned] {
        let options = EncodeOptions {
            pixel_range,
            images_per_shard: 4096,
            at_once: 3,
        };
        let folder = folder.join(pixel_range.name());
        let mut never = |_| ControlFlow::Continue(());
        encode_set(&autoencoder, &pixels, &folder, &options, &mut never).unwrap();
        let set = ShardSet::open(&pixels).unwrap();
        let exact = pixel_values(&set, 0..IMAGES, pixel_range);
        let exact = autoencoder.encode_batches(&exact, 8).unwrap();
        let latents = LatentSet::open(&folder).unwrap();
        let stored: Vec<f32> = (0..IMAGES)
            .flat_map(|image| latents.moments(image).0)
            .collect();
        let stored = Tensor::from_slice(&stored).view(exact.mean.size().as_slice());
        let difference = (&stored - &exact.mean).abs().max().double_value(&[]);
        assert!(difference > 0.0 && difference < 2e-3, "{difference}");
        let decode = |latents: &Tensor, tiling| {
            let options = DecodeOptions {
                pixel_range,
                at_once: 4,
                tiling,
            };
            decode(&autoencoder, latents, &options)
        };
        let [exact, stored] = [&exact.mean, &stored].map(|latents| decode(latents, None));
        assert_eq!(exact.size(), [IMAGES as i64, 3, 16, 24]);
        assert!(psnr(&exact, &stored) > 50.0);
    }
    let small = Autoencoder::new(
        &AutoencoderConfig {
            in_channels: 1,
            out_channels: 1,
            norm_num_groups: 8,
            ..AutoencoderConfig::default()
        },
        Device::Cpu,
        0,
    )
    .unwrap();
    let options = EncodeOptions {
        pixel_range: PixelRange::Signed,
        images_per_shard: 4096,
        at_once: 1,
    };
    let refused = encode_set(&small, &pixels, &folder, &options, &mut |_| {
        ControlFlow::Continue(())
    });
    assert!(matches!(
        refused,
        Err(EncodeError::Channels {
            images: 3,
            autoencoder: 1
        })
    ));
}
