//! What names every artifact, and the job of every worker, for all pipelines that ship and one that sets nearly
//! everything.
//!
//! A fingerprint that changes loses a user's cache: their finished work is done again. So a change here is either
//! no change of the program (a pipeline file was edited: `INSTA_UPDATE=always cargo test -p patchwork-recipes`) or
//! comes with a raised format version and a line in the changelog.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use patchwork_artifacts::Store;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::StageError;
use patchwork_core::Digest;
use patchwork_recipes::{Pipeline, SpecifyOptions, StageSettings, Variant, load, specify};
use patchwork_supervisor::{Plan, PlannedStage, Scope};
use patchwork_terms::Precision;
use serde_json::{Value, json};

/// What each stage reads from outside and is not there when the test runs, as an earlier plan has remembered it.
fn remember_stand_ins(cache: &Path, pipeline: &Pipeline) {
    let mut readings = Vec::new();
    let mut remember = |path: &str, read_as: Value| {
        readings.push(json!({
            "path": path,
            "place": format!("/elsewhere/{path}"),
            "read_as": read_as,
            "digest": Digest::of(path.as_bytes()),
        }));
    };
    for weights in [
        "efficientnet-lite0",
        "inception-v3",
        "inception-v3/torch",
        "dino.pt",
    ] {
        remember(weights, json!("weights"));
    }
    remember("sd-vae-ft-ema", json!("autoencoder"));
    for stage in &pipeline.stages {
        match &stage.settings {
            StageSettings::Prepare(prepare) => {
                let typed = serde_json::to_value(prepare).unwrap();
                let read_as = ["format", "split", "labels", "attributes", "classes"].map(|key| {
                    let absent = if key == "attributes" {
                        json!([])
                    } else {
                        Value::Null
                    };
                    (key.to_owned(), typed.get(key).cloned().unwrap_or(absent))
                });
                remember(
                    &prepare.source,
                    Value::Object(read_as.into_iter().collect()),
                );
            }
            StageSettings::Reference(reference) => {
                if let Some(path) = &reference.statistics {
                    remember(&path.to_string_lossy(), json!("statistics"));
                }
            }
            StageSettings::Train(train) => {
                for (path, what) in [
                    (&train.init_from, "network"),
                    (&train.resume_from, "checkpoint"),
                ] {
                    if let Some(path) = path {
                        remember(path, json!(what));
                    }
                }
            }
            _ => {}
        }
    }
    let remembered = json!({"format": "patchwork.remembered/1", "readings": readings});
    std::fs::create_dir_all(cache).unwrap();
    std::fs::write(cache.join("remembered.json"), remembered.to_string()).unwrap();
}

/// `auto` depends on the processor.
fn on_any_processor(pipeline: &mut Pipeline) {
    for stage in &mut pipeline.stages {
        let precision = match &mut stage.settings {
            StageSettings::Train(train) => &mut train.precision,
            StageSettings::Sample(sample) => &mut sample.precision,
            _ => continue,
        };
        if *precision == Precision::Auto && stage.execution.device == "cpu" {
            *precision = Precision::Float32;
        }
    }
}

/// The stages with their fingerprints, and whether all that goes into these is known.
fn plan(pipeline: &Pipeline) -> Plan {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    remember_stand_ins(&store.cache(), pipeline);
    let options = SpecifyOptions {
        cache: &store.cache(),
        // Not there: a folder that is would be named with the place of this checkout.
        weights: Path::new("no-weights"),
        rehash: false,
    };
    let spec = specify(pipeline, None, &options).unwrap();
    match Plan::new(&spec, &store, Scope::All) {
        Ok(plan) | Err(patchwork_supervisor::PipelineError::MissingInputs { plan, .. }) => plan,
        Err(error) => panic!("{error}"),
    }
}

/// A worker of this build takes the stage's job, and no job that was planned by another format.
fn check_format_of(stage: &PlannedStage) {
    let job = |format_version| Job {
        stage: stage.spec.name.clone(),
        kind: stage.spec.kind.clone(),
        format_version,
        fingerprint: stage.fingerprint,
        settings: stage.spec.settings.clone(),
        execution: stage.spec.execution.clone(),
        source: stage.spec.source,
        inputs: Vec::new(),
        home: PathBuf::new(),
        logs: PathBuf::new(),
        place: None,
    };
    let version = stage.spec.format_version;
    patchwork_recipes::check_format(&job(version)).unwrap();
    let Err(StageError::Failed(refusal)) = patchwork_recipes::check_format(&job(version + 1))
    else {
        panic!("another version of `{}` is not refused", stage.spec.kind)
    };
    let refusal = refusal.to_string();
    let names_both = refusal.contains(&format!("format version {version} "))
        && refusal.contains(&format!("version {}:", version + 1));
    assert!(
        names_both && refusal.contains("run the same command again"),
        "{refusal}"
    );
}

/// A worker's job, but for the folders of home and run.
fn job(stage: &PlannedStage) -> Value {
    json!({
        "stage": stage.spec.name,
        "kind": stage.spec.kind,
        "format_version": stage.spec.format_version,
        "fingerprint": stage.fingerprint,
        "settings": stage.spec.settings,
        "execution": stage.spec.execution,
        "source": stage.spec.source,
        "needs": stage.spec.needs,
        "inputs": stage.inputs,
    })
}

fn jobs(variants: Vec<Variant>) -> String {
    let mut text = String::new();
    for Variant {
        values,
        mut pipeline,
    } in variants
    {
        on_any_processor(&mut pipeline);
        for (key, value) in values {
            writeln!(text, "{key} = {value}").unwrap();
        }
        for stage in plan(&pipeline).stages {
            assert!(
                stage.is_known,
                "{} reads something that no stand-in is for",
                stage.spec.name
            );
            check_format_of(&stage);
            writeln!(
                text,
                "{} {} {}",
                stage.fingerprint,
                stage.spec.name,
                job(&stage)
            )
            .unwrap();
        }
        // What is recorded with a run, from which it is retried and its registry rebuilt.
        writeln!(
            text,
            "definition {}",
            serde_json::to_string(&pipeline).unwrap()
        )
        .unwrap();
    }
    text
}

fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(below)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

/// A sweep runs for days, and what two of them have in common is computed once: of each experiment the fingerprints of
/// its trainings and evaluations.
#[test]
fn experiments_keep_and_share_their_fingerprints() {
    let mut trainings = std::collections::BTreeMap::new();
    let mut text = String::new();
    for path in files(&folder("../../pipelines/experiments")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let variants = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let seeds = variants.iter().map(|variant| variant.pipeline.seed);
        assert_eq!(
            seeds.collect::<std::collections::BTreeSet<_>>().len(),
            3,
            "{name}"
        );
        let own: &mut Vec<String> = trainings.entry(name.clone()).or_default();
        writeln!(text, "{name}").unwrap();
        for Variant { values, pipeline } in variants {
            assert_eq!(pipeline.name, name);
            let values: Vec<String> = (values.iter())
                .map(|(key, value)| format!("{}={value}", key.rsplit('.').next().unwrap()))
                .collect();
            let plan = plan(&pipeline);
            let of = |stage: &str| {
                let planned = plan.stages.iter().find(|known| known.spec.name == stage);
                planned.unwrap().fingerprint.short()
            };
            let (train, evaluate) = (of("train"), of("evaluate"));
            writeln!(text, "  {}: {train} {evaluate}", values.join(" ")).unwrap();
            own.push(train.clone());
        }
        // Values that come to the same training would be the same run twice.
        let different: std::collections::BTreeSet<&String> = own.iter().collect();
        assert_eq!(different.len(), own.len(), "{name}");
    }
    for (one, count, other, shared) in [
        ("p-ratio", 27, "p-ratio", 27),
        ("first-1-patches", 6, "p-ratio", 3),
        ("first-1-patches", 6, "first-2-sizes", 3),
        ("first-2-sizes", 12, "p-ratio", 6),
        ("first-3-p", 9, "p-ratio", 9),
        ("coordinates", 12, "p-ratio", 6),
        ("schedule", 6, "p-ratio", 3),
        ("small-data", 18, "p-ratio", 6),
    ] {
        let own = &trainings[one];
        let common = own
            .iter()
            .filter(|training| trainings[other].contains(training));
        assert_eq!(
            (own.len(), common.count()),
            (count, shared),
            "{one} {other}"
        );
    }
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("experiments", text);
    });
}

#[test]
fn fingerprints_and_jobs_stay_as_they_are() {
    let files = [
        files(&folder("../../pipelines")),
        files(&folder("tests/fingerprints")),
    ]
    .concat();
    assert!(files.len() >= 13, "{files:?}");
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let devices: &[&str] = if name.starts_with("every") {
            &[""]
        } else {
            &["cpu", "cuda:0"]
        };
        for device in devices {
            let overrides: Vec<String> = match *device {
                "" => Vec::new(),
                device => vec![format!("device={device}")],
            };
            let variants = load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
            let label = device.trim_end_matches(":0");
            insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
                insta::assert_snapshot!(format!("{name}-{label}").trim_end_matches('-'), jobs(variants));
            });
        }
    }
}
