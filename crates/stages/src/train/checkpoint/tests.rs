use std::os::unix::fs::symlink;

use patchwork_networks::NetworkConfig;
use tch::{Kind, Tensor};

use super::*;
use crate::train::checkpoint_file::{self, State};

fn config() -> NetworkConfig {
    serde_json::from_value(serde_json::json!({
        "arch": "ddpmpp", "img_resolution": 16, "img_channels": 3, "in_channels": 5, "out_channels": 3,
        "position_channels": true, "label_dim": 0, "augment_dim": 0, "model_channels": 8,
        "channel_mult": [1], "num_blocks": 1, "attn_resolutions": [], "dropout": 0.0, "sigma_data": 0.5
    }))
    .unwrap()
}

fn save(checkpoints: &mut Checkpoints, step: u64, value: f64) {
    let mut state = State::new(100);
    state.position.step = step;
    let tensor = Tensor::full([2], value, (Kind::Float, tch::Device::Cpu));
    let tensors = [("x".to_owned(), tensor)];
    let write = |path: &Path| checkpoint_file::write(path, &tensors, &config(), &state);
    checkpoints.save(step, write).unwrap();
}

fn newest(checkpoints: &mut Checkpoints) -> (u64, f64) {
    let (found, _) = checkpoints.newest(Checkpoint::open).unwrap();
    let found = found.unwrap();
    (
        found.state.position.step,
        found.tensors("").unwrap()["x"].double_value(&[0]),
    )
}

fn names(checkpoints: &Checkpoints) -> Vec<String> {
    let records = checkpoints.records().unwrap();
    records
        .iter()
        .map(|record| name(record).into_owned())
        .collect()
}

#[test]
fn those_of_the_newest_two_steps_are_kept_and_unusable_ones_do_not_count() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    let note = folder.path().join("decoding.json");
    std::fs::write(&note, "{}").unwrap();
    assert!(!checkpoints.is_any().unwrap());
    std::fs::remove_file(note).unwrap();
    for (step, value) in [(5, 1.0), (6, 2.0), (6, 3.0), (7, 4.0), (7, 5.0)] {
        save(&mut checkpoints, step, value);
        assert_eq!(newest(&mut checkpoints), (step, value));
    }
    let kept = [
        "checkpoint-000000006.01.json",
        "checkpoint-000000007.01.json",
    ];
    assert_eq!(names(&checkpoints), kept);
    assert_eq!(durable::list(folder.path()).unwrap().len(), 4);
    assert_eq!(checkpoints.listed_snapshots().unwrap().unwrap().len(), 2);

    let tensors = folder.path().join("checkpoint-000000007.01.safetensors");
    std::fs::write(&tensors, "x").unwrap();
    assert_eq!(newest(&mut checkpoints), (6, 3.0));
    // What was set aside is not written over, nor taken for a leftover; tensors without a record are one.
    save(&mut checkpoints, 7, 9.0);
    assert!(names(&checkpoints)[1].contains("7.02"));
    assert_eq!(std::fs::read(&tensors).unwrap(), b"x");
    assert!(checkpoints.forget_newest().unwrap());
    let leftover = folder.path().join("checkpoint-000000008.00.safetensors");
    std::fs::write(&leftover, "x").unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    assert!(tensors.exists() && !leftover.exists());
    // Older steps than the unusable one's are the newest now.
    save(&mut checkpoints, 3, 6.0);
    save(&mut checkpoints, 4, 7.0);
    assert_eq!(names(&checkpoints).len(), 2);
    assert!(checkpoints.forget_newest().unwrap());

    for record in checkpoints.records().unwrap() {
        std::fs::write(record, "{}").unwrap();
    }
    let refused = checkpoints
        .newest(Checkpoint::open)
        .err()
        .unwrap()
        .to_string();
    assert!(
        refused.contains("none of the checkpoints can be used"),
        "{refused}"
    );
}

#[test]
fn one_that_cannot_be_read_now_is_passed_over_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    save(&mut checkpoints, 5, 1.0);
    save(&mut checkpoints, 9, 2.0);
    let record = folder.path().join("checkpoint-000000009.00.json");
    let away = folder.path().join("away");
    std::fs::rename(&record, &away).unwrap();
    // A link to itself gives ELOOP, as a file on a server that went away gives ESTALE: neither says what is in it.
    symlink(&record, &record).unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    assert_eq!(newest(&mut checkpoints), (5, 1.0));
    // Training goes back to what it saves since, and the other one stays.
    for (step, value) in [(6, 3.0), (7, 4.0), (8, 5.0)] {
        save(&mut checkpoints, step, value);
        assert_eq!(newest(&mut checkpoints), (step, value));
    }
    assert_eq!(names(&checkpoints).len(), 2);
    std::fs::rename(&away, &record).unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    assert_eq!(newest(&mut checkpoints), (9, 2.0));
    assert_eq!(names(&checkpoints).len(), 3);
    save(&mut checkpoints, 10, 6.0);
    assert_eq!(names(&checkpoints).len(), 2);
    // None that can be read: another time they may be.
    for record in checkpoints.records().unwrap() {
        let tensors = tensors_of(&record);
        std::fs::remove_file(&tensors).unwrap();
        symlink(&tensors, &tensors).unwrap();
    }
    let refused = checkpoints.newest(Checkpoint::open).err().unwrap();
    assert!(matches!(refused, RestoreError::Unread(_)), "{refused}");
}

#[test]
fn the_last_sound_one_is_not_forgotten_for_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    save(&mut checkpoints, 5, 1.0);
    assert!(!checkpoints.forget_newest().unwrap());
    save(&mut checkpoints, 6, 2.0);
    std::fs::write(
        folder.path().join("checkpoint-000000005.00.safetensors"),
        "x",
    )
    .unwrap();
    assert!(!checkpoints.forget_newest().unwrap());
    assert_eq!(newest(&mut checkpoints), (6, 2.0));
}

#[test]
fn two_older_ones_stay_about_an_hour_and_about_a_day_old() {
    let minutes = Duration::from_mins;
    // When each was written, every five minutes for five days; every other one may grow old.
    let mut kept: Vec<u64> = Vec::new();
    for now in (0..5 * 24 * 60).step_by(5) {
        kept.push(now);
        let age = |written: u64| minutes(now - written);
        let older = kept.len().saturating_sub(NEWEST);
        let may_grow_old = |written: u64| written.is_multiple_of(10).then(|| age(written));
        let ages: Vec<Option<Duration>> = kept[..older]
            .iter()
            .map(|written| may_grow_old(*written))
            .collect();
        for index in superseded(&ages).into_iter().rev() {
            kept.remove(index);
        }
        assert!(kept.len() <= 4, "{kept:?} at {now}");
        let oldest = age(kept[0]);
        assert!(now < 130 || oldest >= minutes(120), "{kept:?} at {now}");
        assert!(oldest <= minutes(50 * 60), "{kept:?} at {now}");
    }
    // After a weekend without a step, the youngest of those from before it stays beside the new ones.
    let old = Some(minutes(60 * 60));
    assert_eq!(superseded(&[old, old, None, old]), [0, 1, 2]);

    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path()).unwrap();
    for step in 0..5 {
        checkpoints.next_milestone = Instant::now();
        save(&mut checkpoints, step, 1.0);
    }
    let steps: Vec<String> = names(&checkpoints);
    let steps: Vec<&str> = steps.iter().map(|name| &name[19..20]).collect();
    assert_eq!(steps, ["0", "3", "4"]);
}
