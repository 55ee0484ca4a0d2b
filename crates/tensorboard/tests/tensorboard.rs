//! TensorBoard's own reader on what is written here.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../../../tests/support/readers.rs"]
mod readers;

use std::fs::File;

use patchwork_tensorboard::EventWriter;
use serde_json::{Value, json};

/// Prints the curves and the pictures of a folder as JSON.
const READER: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0})
events.Reload()
tags = events.Tags()
print(json.dumps({
    "scalars": {tag: [[event.step, event.value if event.value == event.value else None] for event in events.Scalars(tag)] for tag in tags["scalars"]},
    "images": {tag: [[event.step, event.width, event.height, list(event.encoded_image_string)]
                     for event in events.Images(tag)] for tag in tags["images"]},
}))
"#;

fn read(folder: &std::path::Path) -> Value {
    serde_json::from_str(&readers::python(READER, &[folder.as_os_str()])).unwrap()
}

#[test]
fn a_killed_attempts_steps_are_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = EventWriter::open(folder.path(), 1).unwrap();
    for step in [100, 200, 300, 400] {
        let loss = 1.0 / step as f64;
        first
            .scalars(step, &[("loss", loss), ("loss_by_side/16", 2.0 * loss)])
            .unwrap();
    }
    // Signature, then the header's chunk: its length, name, width and height.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x07\0\0\0\x05";
    first.image(200, "samples", png).unwrap();
    first.image(400, "samples", b"of a lost step").unwrap();
    drop(first);
    // Killed in the middle of a record.
    let path = folder
        .path()
        .read_dir()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let length = path.metadata().unwrap().len();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length - 3)
        .unwrap();

    // It resumes from a checkpoint at 200 and does 300 again.
    let mut second = EventWriter::open(folder.path(), 201).unwrap();
    second.scalars(300, &[("loss", 0.5)]).unwrap();
    second
        .scalars(1 << 40, &[("loss", f64::NAN), ("loss_by_side/16", -0.25)])
        .unwrap();
    let single = |value: f64| json!(f64::from(value as f32));
    assert_eq!(
        read(folder.path()),
        json!({
            "scalars": {
                "loss": [[100, single(0.01)], [200, single(0.005)], [300, 0.5], [1_u64 << 40, null]],
                "loss_by_side/16": [[100, single(0.02)], [200, single(0.01)], [1_u64 << 40, -0.25]],
            },
            "images": {"samples": [[200, 7, 5, png]]},
        })
    );
}
