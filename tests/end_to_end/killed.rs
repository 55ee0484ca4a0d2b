//! Commands without a pipeline, killed with SIGKILL on their way: the next one resumes, to the same bytes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::program::{Program, children, files, kill, text};

const PIPELINE: &str = "pipelines/smoke.toml";

/// The files below a folder whose names contain `word`, while they come and go.
fn count(folder: &Path, word: &str) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() {
                count(&path, word)
            } else {
                let name = name.to_string_lossy();
                usize::from(name.contains(word) && !name.contains("partial"))
            }
        })
        .sum()
}

/// Starts a command that makes `out` and kills it, with its worker, as soon as `files` files of the name are there.
fn kill_at(program: &Program, command: &[&str], out: &Path, word: &str, files: usize) {
    let work = out.with_extension("work");
    let mut child = program.start(command);
    let begin = Instant::now();
    while count(&work, word) < files {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before there were {files} files of `{word}`"
        );
        assert!(begin.elapsed() < Duration::from_mins(2), "nothing happens");
        std::thread::sleep(Duration::from_millis(1));
    }
    let workers = children(child.id());
    child.kill().unwrap();
    for worker in &workers {
        kill(worker);
    }
    child.wait().unwrap();
    assert!(!out.exists(), "nothing half-made is at its place");
}

#[test]
fn a_killed_preparation_keeps_its_shards() {
    let program = Program::new();
    let start = ["dataset", "build", "builtin:twemoji", "--resolution", "64"];
    let set = [
        "--set",
        "images_per_shard=40",
        "--set",
        "emoji.groups=[\"people-and-body\"]",
    ];
    let command = |out| [&start[..], &["--out", out], &set].concat();
    let (whole, killed) = (program.home().join("whole"), program.home().join("killed"));
    program.succeed(&command(text(&whole)));
    let shards = count(&whole, "shard-");
    assert!(shards > 6, "{shards} shards");

    let command = command(text(&killed));
    for stop in [1, 3, shards - 2] {
        kill_at(&program, &command, &killed, "shard-", stop);
    }
    let before = times(&program.home().join("killed.work"));
    program.succeed(&command);
    assert!(files(&whole) == files(&killed), "the bytes differ");
    let after = times(&killed);
    for (shard, time) in &before {
        assert_eq!(after.get(shard), Some(time), "{shard} was made again");
    }
    assert!(before.len() >= shards - 2);
}

/// When each finished shard below a folder was written.
fn times(folder: &Path) -> BTreeMap<String, SystemTime> {
    let mut times = BTreeMap::new();
    for path in files(folder).keys() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("shard-") && name.ends_with(".parquet") {
            let written = std::fs::metadata(folder.join(path)).unwrap().modified();
            times.insert(name, written.unwrap());
        }
    }
    times
}

#[test]
fn a_killed_evaluation_keeps_its_features() {
    let program = Program::new();
    program.succeed(&["run", PIPELINE, "--until", "sample"]);
    let (real, drawn) = (program.artifact("prepare"), program.artifact("sample"));
    let (whole, killed) = (program.home().join("whole"), program.home().join("killed"));
    let batch = ["--set", "reference.batch_size=2"];
    let start = ["evaluate", text(&real), text(&drawn)];
    let command = |out| [&start[..], &["--out", out], &batch].concat();
    program.succeed(&command(text(&whole)));

    let command = command(text(&killed));
    for stop in [2, 6, 12] {
        kill_at(&program, &command, &killed, ".safetensors", stop);
    }
    program.succeed(&command);
    assert!(files(&whole) == files(&killed), "the numbers differ");
}
