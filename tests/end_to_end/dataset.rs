//! A data set on files: built, looked at, exported, built again from the export, damaged and repaired.

use std::path::Path;

use serde_json::Value;

use crate::program::{Program, text};

fn message(program: &Program, arguments: &[&str], code: i32) -> String {
    let output = program.run(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    message
}

/// Every file of a folder with its content.
fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_set_on_files_is_built_exported_damaged_and_mended() {
    let program = Program::new();
    let place = |name: &str| program.home().join(name);
    let (emoji, pngs, shards) = (place("emoji"), place("pngs"), place("shards"));
    program.succeed(&[
        "dataset",
        "build",
        "builtin:twemoji",
        "--out",
        text(&emoji),
        "--resolution",
        "16",
        "--set",
        "labels=group",
        "--set",
        "emoji.groups=[\"activities\", \"food-and-drink\"]",
    ]);
    program.succeed(&[
        "dataset",
        "export",
        text(&emoji),
        "--as",
        "png",
        "--out",
        text(&pngs),
    ]);
    let build = [
        "dataset",
        "build",
        text(&pngs),
        "--out",
        text(&shards),
        "--resolution",
        "16",
        "--set",
        "labels=folder",
        "--set",
        "images_per_shard=32",
    ];
    program.succeed(&build);
    // Again: nothing is done, nothing changes.
    let built = contents(&shards);
    program.succeed(&build);
    assert_eq!(contents(&shards), built);

    let inspected = |command: &str, folder: &Path| -> Value {
        let printed = program.succeed(&["dataset", command, text(folder), "--format", "json"]);
        serde_json::from_str(&printed).unwrap()
    };
    let (before, after) = (inspected("inspect", &emoji), inspected("inspect", &shards));
    assert_eq!(before["overview"][0], after["overview"][0]);
    assert_eq!(before["channels"], after["channels"]);
    assert_eq!(after["classes"].as_array().unwrap().len(), 2);
    assert_eq!(inspected("stats", &shards)["source_sizes"][0]["width"], 16);
    let csv = program.succeed(&[
        "dataset",
        "inspect",
        text(&shards),
        "--table",
        "classes",
        "--format",
        "csv",
    ]);
    assert!(
        csv.starts_with("label,class,images\n0,activities,"),
        "{csv}"
    );
    let unknown = ["dataset", "stats", text(&shards), "--table", "size"];
    assert!(message(&program, &unknown, 2).contains("`source_sizes`"));

    let sheet = place("sheet.png");
    let grid = [
        "dataset",
        "grid",
        text(&shards),
        text(&sheet),
        "--seed",
        "3",
    ];
    program.succeed(&[&grid[..], &["--class", "activities"]].concat());
    assert!(std::fs::read(&sheet).unwrap().starts_with(b"\x89PNG"));
    assert!(
        message(
            &program,
            &[&grid[..], &["--class", "activites", "--force"]].concat(),
            1
        )
        .contains("did you mean `activities`?")
    );

    // A pixel of the second shard, a name in the third, the whole index.
    let verify = ["dataset", "verify", text(&shards)];
    assert!(program.succeed(&verify).contains("no damage found"));
    let damage = |file: &str, wanted: &[u8]| {
        let path = shards.join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let place = bytes
            .windows(wanted.len())
            .position(|window| window == wanted)
            .unwrap();
        bytes[place + wanted.len() / 2] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    let pixels = built
        .iter()
        .find(|(path, _)| path.ends_with("shard-00001.parquet"))
        .map(|(_, bytes)| bytes[bytes.len() / 2..][..64].to_vec())
        .unwrap();
    damage("shard-00001.parquet", &pixels);
    damage("shard-00002.parquet", b".png");
    std::fs::remove_file(shards.join("index.parquet")).unwrap();
    let faults = program.run(&[&verify[..], &["--format", "json"]].concat());
    assert_eq!(faults.status.code(), Some(1));
    let faults: Vec<Value> = serde_json::from_slice(&faults.stdout).unwrap();
    let of = |file: &str| faults.iter().find(|fault| fault["file"] == file).unwrap();
    assert_eq!(of("index.parquet")["problem"], "it is missing");
    assert!(of("shard-00001.parquet")["image"].as_u64().unwrap() >= 32);
    assert!(
        of("shard-00002.parquet")["problem"]
            .as_str()
            .unwrap()
            .contains("manifest.json")
    );
    assert_eq!(faults.len(), 3);

    // Another source is refused before anything changes; the right one gives every byte back.
    let damaged = contents(&shards);
    let with_repair = [&verify[..], &["--repair"]].concat();
    let repair_from = [&with_repair[..], &["--source", text(&pngs)]].concat();
    assert!(message(&program, &with_repair, 2).contains("`--source`"));
    let image = contents(&pngs.join("activities"))[0].0.clone();
    let renamed = image.with_file_name("other.png");
    std::fs::rename(&image, &renamed).unwrap();
    let refused = message(&program, &repair_from, 2);
    assert!(
        refused.contains("not what the data set was made from"),
        "{refused}"
    );
    std::fs::rename(&renamed, &image).unwrap();
    assert_eq!(contents(&shards), damaged);
    program.succeed(&repair_from);
    assert_eq!(contents(&shards), built);
    assert!(program.succeed(&verify).contains("no damage found"));

    // A network can be trained on it: it is an artifact as a pipeline's is.
    program.succeed(&[
        "train",
        "pipelines/smoke.toml",
        "--data",
        text(&shards),
        "--out",
        text(&place("network")),
        "--set",
        "duration_images=16",
        "--set",
        "learning_rate_rampup_images=0",
        "--set",
        "learning_rate_decay_images=0",
    ]);
}
