use super::*;
use patchwork_artifacts::manifest::{MANIFEST_FORMAT, Manifest, Outcome};

fn fingerprint(number: u32) -> Fingerprint {
    Fingerprint::of(&serde_json::json!(number))
}

fn manifest(kind: &str, fingerprint: Fingerprint) -> Manifest {
    Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        kind: kind.to_owned(),
        fingerprint,
        format_version: 1,
        settings: serde_json::json!({}),
        source: None,
        inputs: Vec::new(),
        files: Vec::new(),
        outcome: Outcome::default(),
    }
}

#[test]
fn an_artifact_that_is_being_replaced_stays_until_the_new_one_is_published() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let [needed, abandoned] = [1, 2].map(fingerprint);
    for fingerprint in [needed, abandoned] {
        let folder = store.artifact("train", fingerprint);
        std::fs::create_dir_all(&folder).unwrap();
        manifest("train", fingerprint).write(&folder).unwrap();
        store.set_aside_replaced("train", fingerprint).unwrap();
        assert!(store.find("train", fingerprint).unwrap().is_none());
    }
    let runs = Needed {
        artifacts: [needed].into(),
        ..Needed::default()
    };
    let found = || {
        let found = find(&store, &runs).unwrap();
        assert!(found.left_alone.is_empty(), "{found:?}");
        found.garbage
    };
    let [garbage] = &found()[..] else {
        panic!("{:?}", found())
    };
    assert_eq!(garbage.path, store.replaced(abandoned));
    assert!(delete(&store, garbage).unwrap());
    assert!(found().is_empty());
    // As a process leaves it that is killed after it has published.
    let folder = store.artifact("train", needed);
    std::fs::create_dir_all(&folder).unwrap();
    manifest("train", needed).write(&folder).unwrap();
    let [garbage] = &found()[..] else {
        panic!("{:?}", found())
    };
    assert_eq!(garbage.path, store.replaced(needed));
    // It does not keep another one from being replaced.
    store.set_aside_replaced("train", needed).unwrap();
    assert!(store.replaced(needed).join("manifest.json").is_file());
    assert!(store.find("train", needed).unwrap().is_none());
}

#[test]
fn what_runs_need_and_what_is_worked_on_stays() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let make = |path: PathBuf| {
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("file"), b"1234").unwrap();
        path
    };
    let [needed, old, unfinished, abandoned, running] = [1, 2, 3, 4, 5].map(fingerprint);
    let artifact = |kind: &str, fingerprint| {
        let folder = make(store.artifact(kind, fingerprint));
        manifest(kind, fingerprint).write(&folder).unwrap();
        folder
    };
    let work = |fingerprint| {
        make(store.work(fingerprint).join("state"));
        store.work(fingerprint)
    };
    let kept = artifact("train", needed);
    let deleted = artifact("train", old);
    let of_kept_kind = artifact("evaluate", old);
    let resumable = work(unfinished);
    let given_up = work(abandoned);
    let busy = work(running);
    let leftover = make(home.path().join(format!("work/discarded-{old}")));
    let notes = make(home.path().join("artifacts/train/notes"));
    // Called as ours are, and somebody's own.
    let photos = make(home.path().join("work/discarded-photos"));
    let without_manifest = make(store.artifact("train", running));
    let of_another = make(store.artifact("train", abandoned));
    manifest("train", old).write(&of_another).unwrap();
    let own_work = make(store.work(old));
    let outside = tempfile::tempdir().unwrap();
    let external = make(outside.path().join(old.to_string()));
    manifest("sample", old).write(&external).unwrap();
    std::os::unix::fs::symlink(outside.path(), home.path().join("artifacts/sample")).unwrap();
    let linked = home.path().join(format!("work/{needed}"));
    std::os::unix::fs::symlink(&external, &linked).unwrap();
    let _worker = FileLock::acquire(&store.lock(running)).unwrap();
    let _alive = store.announce_process().unwrap();
    let logs = make(store.logs("test-1"));
    // No process has the first number: the kernel's are smaller.
    let met_before = make(logs.join("train.ranks-4194305-1-0"));
    let sign_before = logs.join("sample.ranks-4194305-1-0.rank-1");
    let met = logs.join(format!("train.ranks-{}-1-0.json", std::process::id()));
    for file in [&sign_before, &met] {
        std::fs::write(file, b"1234").unwrap();
    }

    let Unneeded {
        garbage,
        left_alone,
    } = find(
        &store,
        &Needed {
            artifacts: [needed].into(),
            unfinished: [unfinished].into(),
            kept_kinds: ["evaluate".to_owned()].into(),
        },
    )
    .unwrap();
    let mut untouched: Vec<PathBuf> = left_alone.into_iter().map(|(path, _)| path).collect();
    untouched.sort();
    let mut expected = [
        home.path().join("artifacts/sample"),
        of_another.clone(),
        without_manifest.clone(),
        linked.clone(),
        own_work.clone(),
    ];
    expected.sort();
    assert_eq!(untouched, expected);
    let manifest_bytes = std::fs::metadata(deleted.join("manifest.json"))
        .unwrap()
        .len();
    assert!(garbage.iter().all(|garbage| match garbage.what {
        GarbageKind::Artifact(_) => garbage.bytes == 4 + manifest_bytes,
        _ => garbage.bytes == 4,
    }));
    let done: Vec<bool> = garbage
        .iter()
        .map(|garbage| delete(&store, garbage).unwrap())
        .collect();
    assert_eq!(done.iter().filter(|done| !**done).count(), 1, "{garbage:?}");
    for (path, there) in [
        (kept, true),
        (deleted, false),
        (of_kept_kind, true),
        (resumable, true),
        (given_up, false),
        (busy, true),
        (leftover, false),
        (notes, true),
        (photos, true),
        (without_manifest, true),
        (of_another, true),
        (own_work, true),
        (linked, true),
        (external, true),
        (logs, true),
        (met_before, false),
        (sign_before, false),
        (met, true),
    ] {
        assert_eq!(path.exists(), there, "{}", path.display());
    }
}
