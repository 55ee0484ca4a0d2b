use patchwork_diffusion::sampler::{Churn, HeunOptions, NoiseLevels};
use patchwork_networks::NetworkConfig;

use super::*;
use crate::train::GENERATOR;

/// Whoever takes which part, and in however many of them a batch is sampled.
#[test]
fn images_do_not_depend_on_how_a_batch_is_shared_out() {
    let _guard = GENERATOR.lock().unwrap();
    let config: NetworkConfig = serde_json::from_str(
        r#"{"arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
                "position_channels": true, "label_dim": 2, "augment_dim": 0, "model_channels": 16,
                "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.0,
                "sigma_data": 0.5}"#,
    )
    .unwrap();
    let network = Network::new(&config, Device::Cpu, 3).unwrap();
    let options = SamplerOptions::Heun(HeunOptions {
        levels: NoiseLevels {
            num_steps: 4,
            ..NoiseLevels::default()
        },
        churn: Churn {
            amount: 2.0,
            ..Churn::NONE
        },
        ..HeunOptions::default()
    });
    let seeds: Vec<u64> = (0..14).collect();
    let labels: Vec<i64> = seeds.iter().map(|seed| (seed % 2) as i64).collect();
    let sampled = |threads: usize| {
        let mut sampler =
            ImageSampler::new(&network, Kind::Float, None, options.clone(), Device::Cpu);
        let copies = (0..threads).map(|_| NetworkDenoiser::new(network.to_kind_copy(Kind::Float)));
        sampler.copies = Mutex::new(copies.collect());
        sampler.threads = threads;
        sampler.sample(&seeds, Some(&labels)).unwrap()
    };
    let alone = sampled(1);
    assert_eq!(alone.size(), [14, 3, 16, 16]);
    for threads in [2, 3, 4] {
        assert!(sampled(threads).equal(&alone), "{threads}");
    }
}

#[test]
fn a_batch_is_shared_out_whole() {
    let _guard = GENERATOR.lock().unwrap();
    let config: NetworkConfig = serde_json::from_str(
        r#"{"arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 3, "out_channels": 3,
                "position_channels": false, "label_dim": 0, "augment_dim": 0, "model_channels": 8,
                "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [], "dropout": 0.0,
                "sigma_data": 0.5}"#,
    )
    .unwrap();
    let network = Network::new(&config, Device::Cpu, 3).unwrap();
    let options = SamplerOptions::Heun(HeunOptions::default());
    let mut sampler = ImageSampler::new(&network, Kind::Float, None, options, Device::Cpu);
    for (threads, images, expected) in [
        (1, 64, vec![64]),
        (2, 64, vec![16, 16, 16, 16]),
        (2, 4, vec![4]),
        (8, 12, vec![4, 4, 4]),
        (3, 20, vec![4, 4, 4, 4, 4]),
    ] {
        sampler.threads = threads;
        let parts = sampler.parts(images);
        let sizes: Vec<usize> = parts.iter().map(Range::len).collect();
        assert_eq!(sizes, expected, "{threads} {images}");
        assert_eq!(parts.last().map(|part| part.end), Some(images));
    }
}

#[test]
fn the_first_image_that_is_not_finite_is_named() {
    let check = |value: f64| {
        let images = Tensor::zeros([3, 1, 2, 2], (Kind::Double, Device::Cpu));
        let _ = images.narrow(0, 1, 2).select(3, 1).fill_(value);
        check_finite(&[7, 8, 9], &images).map_err(|error| error.seed)
    };
    assert_eq!(check(1e300), Ok(()));
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(check(value), Err(8));
    }
}
