use patchwork_artifacts::manifest::{MANIFEST_FORMAT, Outcome};
use patchwork_artifacts::spec::{Demand, MissingInput};
use serde_json::json;

use super::*;

fn stage(name: &str, needs: &[&str], settings: serde_json::Value) -> StageSpec {
    StageSpec {
        name: name.to_owned(),
        kind: name.trim_end_matches(char::is_numeric).to_owned(),
        format_version: 1,
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        settings,
        execution: json!({"threads": 2}),
        source: None,
        external: None,
        missing: Vec::new(),
        demand: Demand::default(),
        retries: 0,
        timeout: None,
    }
}

fn pipeline(stages: Vec<StageSpec>) -> PipelineSpec {
    PipelineSpec {
        name: "test".to_owned(),
        definition: json!({}),
        stages,
    }
}

fn fingerprints(spec: &PipelineSpec) -> Vec<(String, Fingerprint)> {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let plan = Plan::new(spec, &store, Scope::All).unwrap();
    plan.stages
        .into_iter()
        .map(|stage| (stage.spec.name, stage.fingerprint))
        .collect()
}

#[test]
fn a_setting_changes_its_stage_and_what_follows_and_nothing_else() {
    let build = |learning_rate: f64, threads: u32| {
        let mut train = stage(
            "train",
            &["prepare"],
            json!({"learning_rate": learning_rate}),
        );
        train.execution = json!({"threads": threads});
        pipeline(vec![
            stage("sample", &["train"], json!({})),
            train,
            stage("reference", &["prepare"], json!({})),
            stage("prepare", &[], json!({})),
        ])
    };
    let before = fingerprints(&build(0.1, 2));
    let names: Vec<&str> = before.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["prepare", "train", "sample", "reference"]);
    assert_eq!(before, fingerprints(&build(0.1, 64)));
    let changed: Vec<String> = before
        .iter()
        .zip(fingerprints(&build(0.2, 2)))
        .filter(|(old, new)| old.1 != new.1)
        .map(|(_, new)| new.0)
        .collect();
    assert_eq!(changed, ["train", "sample"]);
}

#[test]
fn cycles_and_unknown_stages_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let plan = |stages| {
        Plan::new(&pipeline(stages), &store, Scope::All)
            .unwrap_err()
            .to_string()
    };
    let cycle = plan(vec![
        stage("a", &["b"], json!({})),
        stage("b", &["a"], json!({})),
    ]);
    assert!(cycle.contains("a → b → a"), "{cycle}");
    let unknown = plan(vec![stage("a", &["c"], json!({}))]);
    assert!(unknown.contains("`c`"), "{unknown}");
}

#[test]
fn one_stage_alone_wants_its_inputs() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let spec = pipeline(vec![
        stage("prepare", &[], json!({})),
        stage("train", &["prepare"], json!({})),
    ]);
    assert_eq!(
        Plan::new(&spec, &store, Scope::Only("prepare"))
            .unwrap()
            .stages
            .len(),
        1
    );
    let error = Plan::new(&spec, &store, Scope::Only("train")).unwrap_err();
    assert!(
        matches!(error, PipelineError::InputMissing { .. }),
        "{error}"
    );
}

/// Puts the finished artifact of a stage in place.
fn finish(store: &Store, planned: &PlannedStage) {
    let folder = store.artifact(&planned.spec.kind, planned.fingerprint);
    std::fs::create_dir_all(&folder).unwrap();
    let manifest = Manifest {
        format: MANIFEST_FORMAT.to_owned(),
        kind: planned.spec.kind.clone(),
        fingerprint: planned.fingerprint,
        format_version: planned.spec.format_version,
        settings: planned.spec.settings.clone(),
        source: None,
        inputs: planned.inputs.clone(),
        files: Vec::new(),
        outcome: Outcome::default(),
    };
    manifest.write(&folder).unwrap();
}

#[test]
fn only_a_stage_that_is_to_run_needs_what_it_reads() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let plan = |missing: &[(&'static str, bool)]| {
        let missing = missing.iter().map(|&(what, is_known)| MissingInput {
            what,
            problem: format!("there is no {what}"),
            is_known,
            is_for_beginning: false,
        });
        let mut prepare = stage("prepare", &[], json!({}));
        prepare.missing = missing.collect();
        let train = stage("train", &["prepare"], json!({}));
        Plan::new(&pipeline(vec![prepare, train]), &store, Scope::All)
    };
    let refused = |planned: Result<Plan, PipelineError>| match planned {
        Err(PipelineError::MissingInputs { problems, plan }) => (problems, plan),
        other => panic!("it is not refused for its missing inputs: {other:?}"),
    };
    // All at once, each thing once.
    let (problems, _) = refused(plan(&[("zip", true), ("list", true), ("zip", true)]));
    assert_eq!(
        problems,
        "stage `prepare`: there is no zip\nstage `prepare`: there is no list"
    );

    finish(&store, &plan(&[]).unwrap().stages[0]);
    let done = plan(&[("zip", true)]).unwrap();
    assert!(done.stages[0].cached.is_some());
    // To be done again, it reads it.
    let (problems, _) = refused(done.forcing(&["prepare".to_owned()], &BTreeSet::new()));
    assert!(problems.contains("there is no zip"), "{problems}");
    // What was never read says nothing about an artifact, nor about those made from it.
    let (_, unknown) = refused(plan(&[("zip", false)]));
    assert!(unknown.stages.iter().all(|stage| !stage.is_known));
    assert!(unknown.stages[0].cached.is_none());
}

#[test]
fn a_matrix_computes_a_forced_stage_once() {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let spec = pipeline(vec![stage("train", &[], json!({}))]);
    let plan = || Plan::new(&spec, &store, Scope::All).unwrap();
    finish(&store, &plan().stages[0]);
    let train = ["train".to_owned()];
    let first = plan().forcing(&train, &BTreeSet::new()).unwrap();
    assert!(first.stages[0].is_forced && first.stages[0].cached.is_none());
    let forced = BTreeSet::from([first.stages[0].fingerprint]);
    let second = plan().forcing(&train, &forced).unwrap();
    assert!(!second.stages[0].is_forced && second.stages[0].cached.is_some());
}
