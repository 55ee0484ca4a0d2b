//! What is trained in the benchmark: networks, images, a step.

use std::path::Path;

use patchwork_core::Seed;
use patchwork_dataset::{
    Channels, PatchSize, PatchStream, Row, ShardSet, ShardSetWriter, ShardSpec, Share,
};
use patchwork_diffusion::loss::LossOptions;
use patchwork_diffusion::{
    AdamOptions, EmaProfile, FastPaths, ImageClock, Lanes, LearningRate, NetworkDenoiser, Round,
    Side, TrainOptions, TrainStep,
};
use patchwork_networks::{Network, NetworkConfig};
use tch::{Device, Kind, Tensor};

use crate::networks::{NAMES, network};

/// A network to train.
pub(crate) struct Subject {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// Its settings.
    pub(crate) config: NetworkConfig,
    /// The batch of the full side on a CPU; smaller sides take more.
    pub(crate) batch: i64,
}

impl Subject {
    /// The network of a name.
    pub(crate) fn named(name: &str) -> Self {
        let config = network(name);
        Self {
            name: NAMES
                .into_iter()
                .find(|known| *known == name)
                .expect("it is known"),
            config,
            batch: if name == "demo" { 8 } else { 4 },
        }
    }
}

/// The number of values that are trained.
pub(crate) fn parameters(network: &Network) -> usize {
    let parameters = network.parameters();
    parameters.iter().map(|each| each.tensor.numel()).sum()
}

/// A data set of pictures that no one needs to see.
pub(crate) fn images(folder: &Path, resolution: usize) -> ShardSet {
    const IMAGES: u32 = 512;
    let spec = ShardSpec {
        width: resolution,
        height: resolution,
        channels: Channels::Rgb,
        images_per_shard: IMAGES as usize,
        class_names: Vec::new(),
        metadata: std::collections::BTreeMap::new(),
    };
    let rows = (0..IMAGES)
        .map(|index| Row {
            key: index.to_string(),
            label: None,
            pixels: (0..resolution * resolution * 3)
                .map(|place| ((place * 7 + index as usize * 31) % 251) as u8)
                .collect(),
            source_width: resolution as u16,
            source_height: resolution as u16,
        })
        .collect();
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    writer.write_shard(rows, Vec::new()).unwrap();
    writer.finish().unwrap();
    ShardSet::open(folder).unwrap()
}

pub(crate) fn training(
    config: &NetworkConfig,
    batch: i64,
    precision: Kind,
    device: Device,
    fast_paths: FastPaths,
) -> TrainStep {
    let network = Network::new(config, device, 0).unwrap();
    let denoiser = NetworkDenoiser {
        precision,
        ..NetworkDenoiser::new(network)
    };
    let options = TrainOptions {
        batch_size: batch,
        loss_scaling: 1.0,
        learning_rate: LearningRate {
            rate: 2e-4,
            rampup_images: 10_000_000,
            decay: None,
        },
        max_gradient_norm: None,
        loss: LossOptions::default(),
        adam: AdamOptions::default(),
        lanes: Lanes::of(tch::get_num_threads() as usize, batch as usize),
        fast_paths,
    };
    let average = EmaProfile::HalfLife {
        images: 500_000,
        rampup_ratio: Some(0.05),
    };
    let clock = ImageClock {
        batch_size: batch.unsigned_abs(),
        images_seen: 1_000_000,
    };
    TrainStep::new(denoiser, options, &[average], clock)
}

/// What one process computes of a batch as a training stage makes it on a CPU, without augmentation.
pub(crate) fn round(
    data: &ShardSet,
    step: u64,
    side: Side,
    images: u64,
    share: Share,
    device: Device,
) -> Round {
    let size = PatchSize::square(side.side() as usize);
    let requests = PatchStream::new(data, Seed::new(1), 0.5).patches(
        step * images..(step + 1) * images,
        share,
        size,
    );
    let mut values = vec![0.0_f32; requests.len() * size.values(data.channels())];
    data.gather(&requests, size, &mut values).unwrap();
    // Drawn for all images of the step.
    let part = share.of(0..images);
    let of_part = |all: Tensor| all.narrow(0, part.start as i64, (part.end - part.start) as i64);
    let shape = |images: usize| [images as i64, 3, side.side(), side.side()];
    tch::manual_seed(step as i64);
    let float = (Kind::Float, Device::Cpu);
    Round {
        patches: Tensor::from_slice(&values)
            .reshape(shape(requests.len()))
            .to_device(device),
        rows: requests.iter().map(|request| request.row as i64).collect(),
        cols: requests
            .iter()
            .map(|request| request.column as i64)
            .collect(),
        class_labels: None,
        augment_labels: None,
        rnd_normal: of_part(Tensor::randn([images as i64], float)).to_device(device),
        noise: of_part(Tensor::randn(shape(images as usize), (Kind::Float, device))),
        dropout_seed: Some(Seed::new(step)),
        first_image: part.start,
    }
}
