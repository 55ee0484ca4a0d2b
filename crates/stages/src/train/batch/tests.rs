use super::*;
use patchwork_dataset::{Channels, Row, ShardSet, ShardSetWriter, ShardSpec};
use patchwork_recipes::StageSettings;
use patchwork_terms::Kind as StageKind;
use serde_json::json;

/// libtorch's generator is one for the process: tests that draw take turns.
pub(crate) static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());

const SIDE: usize = 16;
const HALF: Side = Side::square(8, 2);

/// A train stage's settings, conditional, with some label dropout.
pub(in crate::train) fn settings(augment_probability: f64) -> TrainSettings {
    let operations = if augment_probability > 0.0 {
        patchwork_terms::AugmentOperation::EDM
    } else {
        &[]
    };
    let value = json!({
        "batch_size": 5, "duration_images": 1000, "learning_rate": 1e-3,
        "learning_rate_rampup_images": 0, "learning_rate_decay_images": 0, "ema": "half-life",
        "ema_half_life_images": 10, "ema_rampup_ratio": 0.05, "full_image_ratio": 0.5,
        "patch_schedule": "stochastic", "position_channels": true, "mirror_probability": 0.3,
        "augment_probability": augment_probability, "augment_operations": operations,
        "class_conditional": true, "label_dropout": 0.2, "gradient_clip": null,
        "precision": "float32", "snapshot_images": [], "preconditioning": "edm",
        "sigma_data": 0.5, "p_mean": -1.2, "p_std": 1.2, "loss_scaling": 1.0,
        "network": {
            "arch": "ddpmpp", "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1,
            "attn_resolutions": [8], "dropout": 0.0, "implicit_mlp": false
        }
    });
    match StageSettings::from_json(StageKind::Train, value).unwrap() {
        StageSettings::Train(settings) => settings,
        other => panic!("{other:?}"),
    }
}

/// A dozen images of two classes, no two pixels of one image alike.
fn data(folder: &std::path::Path) -> TrainingData {
    let spec = ShardSpec {
        width: SIDE,
        height: SIDE,
        channels: Channels::Rgb,
        images_per_shard: 12,
        class_names: vec!["even".to_owned(), "odd".to_owned()],
        metadata: std::collections::BTreeMap::new(),
    };
    let rows = (0..12_u32)
        .map(|index| Row {
            key: index.to_string(),
            label: Some(index % 2),
            pixels: (0..SIDE * SIDE * 3)
                .map(|place| ((place * 7 + index as usize * 31) % 251) as u8)
                .collect(),
            source_width: SIDE as u16,
            source_height: SIDE as u16,
        })
        .collect();
    let mut writer = ShardSetWriter::open(folder, spec).unwrap();
    writer.write_shard(rows, Vec::new()).unwrap();
    writer.finish().unwrap();
    TrainingData::Pixels(ShardSet::open(folder).unwrap())
}

/// Before a step, when each one before it took ten images.
fn position(step: u64) -> Position {
    Position {
        step,
        images_drawn: 10 * step,
        ..Position::default()
    }
}

/// The round of a step, from its reading on.
fn round_of(batches: &Batches<'_>, position: &Position, side: Side) -> Round {
    let images = batches.read(position, side).unwrap();
    batches.round(position, images).unwrap()
}

fn tensors(round: &Round) -> Vec<Tensor> {
    let own = [&round.patches, &round.rnd_normal, &round.noise];
    own.into_iter()
        .chain(&round.class_labels)
        .chain(&round.augment_labels)
        .map(Tensor::shallow_clone)
        .chain([
            Tensor::from_slice(&round.rows),
            Tensor::from_slice(&round.cols),
        ])
        .collect()
}

#[test]
fn a_round_is_a_function_of_seed_and_position() {
    let _guard = GENERATOR.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for probability in [0.0, 0.15] {
        let settings = settings(probability);
        let round = |seed, step| {
            let batches = Batches::new(&data, &settings, Seed::new(seed), Device::Cpu);
            tensors(&round_of(&batches, &position(step), HALF))
        };
        let first = round(1, 3);
        assert_eq!(first.len(), if probability > 0.0 { 7 } else { 6 });
        // Whatever else was drawn in between, as after a resume.
        let _ = (
            round(1, 4),
            round(2, 3),
            Tensor::rand([5], (Kind::Float, Device::Cpu)),
        );
        for (one, again) in first.iter().zip(round(1, 3)) {
            assert!(one.equal(&again));
        }
        for other in [round(1, 4), round(2, 3)] {
            for (index, (one, other)) in first.iter().zip(&other).enumerate() {
                // Two rounds may have the same classes.
                assert!(index == 3 || !one.equal(other), "{index}");
            }
        }
    }
}

/// Right guesses, wrong ones and none at all: the batches are the same.
#[test]
fn batches_gathered_ahead_are_the_same() {
    let _guard = GENERATOR.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let whole = Side::square(SIDE as i64, 1);
    for probability in [0.0, 0.15] {
        let settings = settings(probability);
        let plain = Batches::new(&data, &settings, Seed::new(1), Device::Cpu);
        let mut ahead = Batches::new(&data, &settings, Seed::new(1), Device::Cpu);
        ahead.ahead = Some(Ahead::start(&data, Device::Cpu, None).unwrap());
        for (step, guess) in [
            (0, Some(0)),
            (1, Some(1)),
            (2, None),
            (3, Some(7)),
            (4, Some(4)),
        ] {
            if let Some(guess) = guess {
                ahead.expect(&position(guess), if step == 1 { whole } else { HALF });
            }
            let expected = tensors(&round_of(&plain, &position(step), HALF));
            let found = tensors(&round_of(&ahead, &position(step), HALF));
            assert!(
                expected
                    .iter()
                    .zip(&found)
                    .all(|(one, other)| one.equal(other))
            );
        }
    }
}

#[test]
fn accumulation_rounds_share_out_a_steps_images() {
    let _guard = GENERATOR.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let mut settings = settings(0.15);
    let round = |settings: &TrainSettings| {
        let batches = Batches::new(&data, settings, Seed::new(5), Device::Cpu);
        let round = round_of(&batches, &Position::default(), HALF);
        batches.parts(&round).collect::<Vec<Round>>()
    };
    let whole = round(&settings).pop().unwrap();
    settings.gradient_accumulation = 5;
    let parts = round(&settings);
    assert_eq!(parts.len(), 5);
    let parts_tensors: Vec<Vec<Tensor>> = parts.iter().map(tensors).collect();
    for (index, tensor) in tensors(&whole).iter().enumerate() {
        let of_parts: Vec<&Tensor> = parts_tensors.iter().map(|part| &part[index]).collect();
        assert!(Tensor::cat(&of_parts, 0).equal(tensor), "{index}");
    }
    // Dropout is drawn by the place in the whole step.
    let dropout = |round: &Round| (round.dropout_seed.map(Seed::value), round.first_image);
    let (seed, first) = dropout(&whole);
    assert_eq!(first, 0);
    for (place, part) in (0..).step_by(2).zip(&parts) {
        assert_eq!(dropout(part), (seed, place));
    }
}

/// What a process computes of a step is a slice of it, whatever is drawn.
#[test]
fn shares_are_slices_of_the_whole_step() {
    let _guard = GENERATOR.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for probability in [0.0, 0.9] {
        let settings = settings(probability);
        let round = |share| {
            let batches = Batches::new(&data, &settings, Seed::new(5), Device::Cpu);
            round_of(&batches.shared(share), &position(3), HALF)
        };
        let whole = round(Share::WHOLE);
        for ranks in [1, 2, 3, 5] {
            let shares: Vec<Round> = (0..ranks)
                .map(|rank| round(Share::new(rank, ranks)))
                .collect();
            let mut next = 0;
            for share in &shares {
                assert_eq!(share.first_image, next);
                next += share.rows.len() as u64;
            }
            let shares: Vec<Vec<Tensor>> = shares.iter().map(tensors).collect();
            for (index, tensor) in tensors(&whole).iter().enumerate() {
                let of_shares: Vec<&Tensor> = shares.iter().map(|share| &share[index]).collect();
                let error = (Tensor::cat(&of_shares, 0) - tensor).abs().max();
                assert!(error.double_value(&[]) < 1e-5, "{ranks}: {index}: {error}");
            }
        }
    }
}

/// Steps that were passed over are drawn no more, and the next one is drawn as if they had been done.
#[test]
fn draws_pass_over_skipped_steps() {
    let _guard = GENERATOR.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let settings = settings(0.0);
    let batches = Batches::new(&data, &settings, Seed::new(1), Device::Cpu);
    let at = |step, skipped_steps| Position {
        step,
        skipped_steps,
        images_drawn: 70,
        ..Position::default()
    };
    let round = |position| tensors(&round_of(&batches, &position, HALF));
    let undisturbed = round(at(7, 0));
    for (one, other) in undisturbed.iter().zip(round(at(3, 4))) {
        assert!(one.equal(&other));
    }
    // The images follow from how many were drawn; the noise on them is another.
    let other = round(at(3, 0));
    assert!(undisturbed[0].equal(&other[0]) && !undisturbed[2].equal(&other[2]));
}

/// With every probability zero but the labels there, augmentation is nothing but another way to the same patches.
#[test]
fn cropping_after_augmentation_cuts_where_the_coordinates_say() {
    let _guard = GENERATOR.lock().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    let plain = settings(0.0);
    let mut quiet = settings(1e-12);
    quiet
        .augment_operations
        .retain(|operation| operation.name() == "yflip");
    let round = |settings| {
        let batches = Batches::new(&data, settings, Seed::new(5), Device::Cpu);
        round_of(&batches, &Position::default(), HALF)
    };
    let (plain, quiet) = (round(&plain), round(&quiet));
    assert!(plain.patches.equal(&quiet.patches));
    assert_eq!((plain.rows, plain.cols), (quiet.rows, quiet.cols));
    let labels = quiet.augment_labels.unwrap();
    assert_eq!(labels.size(), [10, 1]);
    assert!(labels.equal(&labels.zeros_like()));
}
