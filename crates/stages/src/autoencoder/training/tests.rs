use std::collections::BTreeMap;

use patchwork_dataset::{Row, ShardSetWriter, ShardSpec};

use super::*;
use crate::train::GENERATOR;

const SIDE: usize = 24;

fn data(folder: &Path) -> ShardSet {
    let spec = ShardSpec {
        width: SIDE,
        height: SIDE,
        channels: Channels::Rgb,
        images_per_shard: 64,
        class_names: Vec::new(),
        metadata: BTreeMap::new(),
    };
    let rows = (0..40_u32).map(|image| Row {
        key: format!("{image}"),
        label: None,
        pixels: (0..SIDE * SIDE * 3)
            .map(|value| {
                let (place, channel) = (value / 3, value % 3);
                let (row, column) = (place / SIDE, place % SIDE);
                let wave = (row as f64 * 0.2 + f64::from(image)).sin()
                    + (column as f64 * 0.3 + channel as f64).cos();
                (128.0 + 60.0 * wave) as u8
            })
            .collect(),
        source_width: SIDE as u16,
        source_height: SIDE as u16,
    });
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    writer.write_shard(rows.collect(), Vec::new()).unwrap();
    writer.finish().unwrap();
    ShardSet::open(folder).unwrap()
}

fn settings() -> TrainingOptions {
    TrainingOptions {
        config: AutoencoderConfig {
            block_out_channels: vec![8, 16],
            norm_num_groups: 4,
            ..AutoencoderConfig::default()
        },
        crop: 8,
        batch_size: 8,
        steps: 40,
        learning_rate: 4e-3,
        ramp_steps: 5,
        seed: 3,
    }
}

#[test]
fn a_training_that_is_resumed_writes_the_same_autoencoder() {
    let _guard = GENERATOR.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    let data = data(&root.path().join("set"));
    let fresh = || AutoencoderTraining::new(settings(), &data, Device::Cpu).unwrap();
    let checkpoint = root.path().join("checkpoint.safetensors");
    let mut whole = fresh();
    let before = whole.reconstruct(2, 1).unwrap();
    while whole.steps() < 40 {
        if whole.steps() == 17 {
            whole.save(&checkpoint).unwrap();
        }
        assert!(whole.step().unwrap().loss.is_finite());
    }
    let after = whole.reconstruct(2, 1).unwrap();
    assert!(
        after.psnr > before.psnr + 2.0,
        "{} then {} dB",
        before.psnr,
        after.psnr
    );
    assert_eq!(after.images.size(), [1, 3, SIDE as i64, SIDE as i64]);

    let shorter = TrainingOptions {
        steps: 16,
        ..settings()
    };
    let mut shorter = AutoencoderTraining::new(shorter, &data, Device::Cpu).unwrap();
    let refused = shorter.resume(&checkpoint).err().unwrap().to_string();
    assert!(
        refused.contains("17 steps, and the whole training has 16"),
        "{refused}"
    );
    let mut resumed = fresh();
    resumed.resume(&checkpoint).unwrap();
    assert_eq!(resumed.steps(), 17);
    while resumed.steps() < 40 {
        resumed.step().unwrap();
    }
    let [one, other] = [&whole, &resumed].map(|training| {
        let autoencoder = training.autoencoder();
        autoencoder
            .to_diffusers_files(autoencoder.config())
            .unwrap()
    });
    assert!(one == other);
}

#[test]
fn it_learns_far_more_than_the_colour_of_each_image() {
    let _guard = GENERATOR.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    let data = data(root.path());
    let steps = 400;
    let mut training = AutoencoderTraining::new(
        TrainingOptions {
            steps,
            ..settings()
        },
        &data,
        Device::Cpu,
    )
    .unwrap();
    while training.steps() < steps {
        training.step().unwrap();
    }
    let learned = training.reconstruct(8, 8).unwrap();
    let images = learned.images.to_kind(Kind::Float);
    let colours = images.mean_dim([2, 3].as_slice(), true, Kind::Float);
    let of_colour = psnr(&images, &colours.expand_as(&images));
    let learned = learned.psnr;
    // A third of the numbers that an image has, and less than half of the error.
    assert!(
        learned > of_colour + 3.0,
        "{learned} dB, and {of_colour} dB for one colour an image"
    );
}

#[test]
fn what_does_not_fit_is_refused_by_its_key() {
    let _guard = GENERATOR.lock().unwrap();
    let root = tempfile::tempdir().unwrap();
    let data = data(root.path());
    let refused = |settings| {
        let error = AutoencoderTraining::new(settings, &data, Device::Cpu);
        error.err().unwrap().to_string()
    };
    for crop in [0, 9, 32] {
        let message = refused(TrainingOptions { crop, ..settings() });
        assert!(message.contains("`crop`"), "{message}");
    }
    let mut grey = settings();
    grey.config.in_channels = 1;
    assert!(refused(grey).contains("`in_channels`"));
    let mut deep = settings();
    deep.config.block_out_channels = vec![8; 5];
    deep.crop = 16;
    assert!(refused(deep).contains("multiples of 16"));
}
