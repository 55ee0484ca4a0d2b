use std::io::BufRead;

use patchwork_core::{Digest, Fingerprint};
use serde_json::json;

use super::*;
use crate::manifest::{Score, Subject};

#[test]
fn scores_that_are_no_numbers_are_not_published() {
    let outcome = |value: f64| {
        let score = Score {
            subject: Subject::Input(0),
            metric: "fid".to_owned(),
            quantity: None,
            value,
            deviation: None,
            extractor: "inception-v3".to_owned(),
            extractor_digest: Digest::of(b"weights"),
            resize: "none".to_owned(),
            reference: Fingerprint::of(&json!("reference")),
            reference_images: 1,
            reference_foreign: false,
            samples: 1,
            seeds: String::new(),
            codec: "raw u8".to_owned(),
            images_seen: None,
        };
        Outcome::new(json!({}), vec![score])
    };
    assert!(check_scores(&outcome(1.5)).is_ok());
    for value in [f64::NAN, f64::INFINITY] {
        let refused = check_scores(&outcome(value)).unwrap_err().to_string();
        assert!(refused.contains("`fid`"), "{refused}");
    }
}

#[test]
fn a_wait_for_ranks_of_an_earlier_attempt_is_reported_once() {
    let work = tempfile::tempdir().unwrap();
    let (reader, writer) = io::pipe().unwrap();
    let context = Context::new(
        work.path(),
        EventPipe::over(writer),
        Arc::new(AtomicBool::new(false)),
    );
    let wait_beside_a_rank_of = |time: Duration| {
        let share = FileLock::acquire_shared(&context.ranks_lock()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(time);
                drop(share);
            });
            context.wait_for_earlier_ranks().unwrap();
        });
    };
    wait_beside_a_rank_of(Duration::from_millis(200));
    context.warn("the short wait is over");
    wait_beside_a_rank_of(Duration::from_secs(4));
    drop(context);
    let reported: Vec<Event> = io::BufReader::new(reader)
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    let expected = [
        "the short wait is over",
        "a rank of an earlier attempt has not ended yet: waiting for it",
    ];
    assert_eq!(reported, expected.map(Event::warning));
}
