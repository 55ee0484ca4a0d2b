//! Nothing of anybody's is lost: a registry that is gone or older than its runs, folders that are called as ours are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::program::{Program, files, text};

const SMOKE: &str = "pipelines/smoke.toml";

/// Standard error of a command that ends with `code`.
fn message(program: &Program, arguments: &[&str], code: i32) -> String {
    let output = program.run(arguments);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    message
}

fn runs(program: &Program) -> Vec<String> {
    let rows = program.rows(&["runs"]);
    let name = |row: &serde_json::Value| row["run"].as_str().unwrap().to_owned();
    rows.iter().map(name).collect()
}

/// The registry is gone.
fn lose_registry(program: &Program) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(program.home().join(format!("registry.db{suffix}")));
    }
}

#[test]
fn a_lost_or_older_registry_costs_no_run_and_no_artifact() {
    let program = Program::new();
    let prepare = ["run", SMOKE, "--until", "prepare"];
    program.succeed(&prepare);
    let journal = program.home().join("logs/smoke-1/journal.jsonl");
    let first = fs::read(&journal).unwrap();

    lose_registry(&program);
    for command in [&["runs"][..], &["show", "latest"], &["gc", "--apply"]] {
        let printed = message(&program, command, 1);
        assert!(printed.contains("registry rebuild"), "{printed}");
    }
    // An empty file is no better than none.
    fs::write(program.home().join("registry.db"), b"").unwrap();
    let printed = message(&program, &["gc", "--apply"], 1);
    assert!(printed.contains("registry rebuild"), "{printed}");
    let output = program.run(&prepare);
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && printed.contains("(smoke-1)"),
        "{printed}"
    );
    assert_eq!(
        fs::read(&journal).unwrap(),
        first,
        "the earlier run's record"
    );
    assert_eq!(runs(&program), ["smoke-2", "smoke-1"]);

    // A copy of the registry is put back that is older than a run and its artifact.
    let registry = program.home().join("registry.db");
    let copy = fs::read(&registry).unwrap();
    let other = [
        &prepare[..],
        &["--set", "stages.prepare.images_per_shard=32"],
    ]
    .concat();
    program.succeed(&other);
    let artifacts = program.artifacts();
    lose_registry(&program);
    fs::write(&registry, &copy).unwrap();
    for command in [&["gc"][..], &["gc", "--apply"]] {
        let printed = message(&program, command, 1);
        assert!(
            printed.contains("smoke-3") && printed.contains("rebuild"),
            "{printed}"
        );
    }
    // A run does by itself what `registry rebuild` does for `gc`.
    program.succeed(&prepare);
    let names = runs(&program);
    assert!(names.contains(&"smoke-3".to_owned()), "{names:?}");
    assert_eq!(
        program.rows(&["gc", "--apply"]),
        [] as [serde_json::Value; 0]
    );
    assert_eq!(program.artifacts(), artifacts);

    lose_registry(&program);
    fs::write(&registry, &copy).unwrap();
    program.succeed(&["registry", "rebuild"]);
    assert_eq!(runs(&program), names);
    assert_eq!(
        program.rows(&["gc", "--apply"]),
        [] as [serde_json::Value; 0]
    );

    // Whatever lies in `logs/`, no run takes its name.
    fs::write(program.home().join("logs/smoke-20"), b"mine").unwrap();
    symlink("nowhere", program.home().join("logs/smoke-21")).unwrap();
    program.succeed(&prepare);
    assert_eq!(runs(&program)[0], "smoke-22");
    assert_eq!(
        fs::read(program.home().join("logs/smoke-20")).unwrap(),
        b"mine"
    );
}

#[test]
fn a_run_whose_record_cannot_be_read_keeps_its_artifacts() {
    let program = Program::new();
    let prepare = ["run", SMOKE, "--until", "prepare"];
    program.succeed(&prepare);
    lose_registry(&program);
    let journal = program.home().join("logs/smoke-1/journal.jsonl");
    let whole = fs::read(&journal).unwrap();
    fs::write(&journal, &whole[..100]).unwrap();
    let listed = program.succeed(&["registry", "rebuild"]);
    assert!(
        listed.contains("skipped") && listed.contains("smoke-1/journal.jsonl"),
        "{listed}"
    );
    let printed = message(&program, &["gc", "--apply"], 1);
    assert!(
        printed.contains("smoke-1") && printed.contains("hint:"),
        "{printed}"
    );
    // A copied folder has nothing new.
    fs::write(&journal, &whole).unwrap();
    let copy = program.home().join("logs/smoke-1 (copy)");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("journal.jsonl"), &whole).unwrap();
    let listed = program.succeed(&["registry", "rebuild"]);
    assert!(listed.contains("smoke-1 (copy)"), "{listed}");
    assert_eq!(
        program.rows(&["gc", "--apply"]),
        [] as [serde_json::Value; 0]
    );
    assert!(!program.artifacts().is_empty());
}

/// Puts a folder of somebody's at `path`, in the three shapes that it may have, and has `refused` fail on each.
fn stays(place: &Path, path: &Path, refused: impl Fn()) {
    let mine = place.join("mine");
    fs::create_dir_all(mine.join("below")).unwrap();
    fs::write(mine.join("below/thesis.tex"), b"years of work").unwrap();
    fs::write(mine.join("registry.db"), b"of something else").unwrap();
    let before = files(place);
    for plant in 0..3 {
        match plant {
            0 => fs::rename(&mine, path).unwrap(),
            1 => symlink(&mine, path).unwrap(),
            _ => fs::write(path, b"a file of mine").unwrap(),
        }
        let planted = files(place);
        refused();
        assert_eq!(files(place), planted, "{}", path.display());
        match plant {
            0 => fs::rename(path, &mine).unwrap(),
            _ => fs::remove_file(path).unwrap(),
        }
    }
    assert_eq!(files(place), before);
    fs::remove_dir_all(&mine).unwrap();
}

#[test]
fn folders_that_are_called_as_work_folders_are_stay() {
    let program = Program::new();
    let outside = tempfile::tempdir().unwrap();
    let place = |name: &str| outside.path().join(name);
    let (data, out, none) = (place("data"), place("out"), place("none.safetensors"));
    std::fs::write(&none, "").unwrap();
    let build = |out: &'_ Path| -> Vec<String> {
        [
            "dataset",
            "build",
            "docs/images",
            "--out",
            text(out),
            "--resolution",
            "16",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let run = |arguments: &[String], code: i32| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        message(&program, &arguments, code)
    };
    run(&build(&data), 0);

    let commands = [
        build(&out),
        ["sample", text(&none), "--out", text(&out)]
            .map(str::to_owned)
            .to_vec(),
        ["train", SMOKE, "--data", text(&data), "--out", text(&out)]
            .map(str::to_owned)
            .to_vec(),
        ["evaluate", "docs/images", text(&data), "--out", text(&out)]
            .map(str::to_owned)
            .to_vec(),
    ];
    for command in &commands {
        stays(outside.path(), &place("out.work"), || {
            let printed = run(command, 2);
            assert!(
                printed.contains("out.work") && printed.contains("hint:"),
                "{printed}"
            );
        });
    }
    let pngs = place("pngs");
    let export = [
        "dataset",
        "export",
        text(&data),
        "--as",
        "png",
        "--out",
        text(&pngs),
    ];
    stays(outside.path(), &place(".pngs.partial"), || {
        let printed = message(&program, &export, 2);
        assert!(
            printed.contains(".pngs.partial") && printed.contains("hint:"),
            "{printed}"
        );
    });

    let shard = data.join("shard-00000.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let repair = [
        "dataset",
        "verify",
        text(&data),
        "--repair",
        "--source",
        "docs/images",
    ];
    stays(outside.path(), &place(".data.repair"), || {
        let printed = message(&program, &repair, 2);
        assert!(
            printed.contains(".data.repair") && printed.contains("hint:"),
            "{printed}"
        );
    });
    program.succeed(&repair);
    assert!(!place(".data.repair").exists());

    // In a folder of ours, too, only what is ours goes; and the logs of earlier work on the same result stay.
    fs::create_dir_all(place("out.work")).unwrap();
    fs::write(place("out.work/.patchwork-work"), b"").unwrap();
    fs::write(place("out.work/notes"), b"mine").unwrap();
    let printed = run(&build(&out), 0);
    assert!(printed.contains("notes"), "{printed}");
    assert_eq!(
        files(&place("out.work")).into_keys().collect::<Vec<_>>(),
        [Path::new(".patchwork-work"), Path::new("notes")]
    );
    let logs = files(&place("out.logs"));
    fs::remove_dir_all(&out).unwrap();
    run(&build(&out), 0);
    let later = files(&place("out.logs"));
    assert!(
        later.len() > logs.len()
            && logs
                .iter()
                .all(|(path, bytes)| later.get(path) == Some(bytes))
    );
}
