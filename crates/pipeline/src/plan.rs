//! What a run would do: the order of the stages, their fingerprints, and which are done already.

use std::collections::BTreeSet;

use patchwork_core::Fingerprint;
use serde_json::json;

use crate::error::PipelineError;
use crate::manifest::{Manifest, ManifestInput};
use crate::protocol::{Job, JobInput};
use crate::spec::{PipelineSpec, StageSpec};
use crate::store::Store;

/// Which stages of a pipeline a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// All of them.
    All,
    /// One stage and what it needs.
    Until(&'a str),
    /// One stage, whose inputs must be there already.
    Only(&'a str),
}

impl<'a> Scope<'a> {
    /// The stage that is wanted last; none = all.
    pub fn last(self) -> Option<&'a str> {
        match self {
            Self::All => None,
            Self::Until(stage) | Self::Only(stage) => Some(stage),
        }
    }
}

/// The stages of a run in an order in which they can be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Every stage after all that it needs.
    pub stages: Vec<PlannedStage>,
}

/// A stage with its fingerprint.
#[derive(Clone, Debug)]
pub struct PlannedStage {
    /// The stage.
    pub spec: StageSpec,
    /// What goes into it.
    pub fingerprint: Fingerprint,
    /// The artifacts that it reads, in the order of `spec.needs`.
    pub inputs: Vec<ManifestInput>,
    /// The manifest of its artifact, when that is there already.
    pub cached: Option<Manifest>,
}

impl Plan {
    /// Orders the stages, fingerprints them and looks each one up.
    ///
    /// # Errors
    /// An unknown stage in `needs` or `scope`, a cycle, an unreadable manifest, an input that is not there
    /// for [`Scope::Only`], a given artifact that is not there.
    pub fn new(
        spec: &PipelineSpec,
        store: &Store,
        scope: Scope<'_>,
    ) -> Result<Self, PipelineError> {
        let mut stages: Vec<PlannedStage> = Vec::with_capacity(spec.stages.len());
        for stage in in_order(spec, scope.last())? {
            let inputs: Vec<ManifestInput> = stage
                .needs
                .iter()
                .map(|need| {
                    let input = stages
                        .iter()
                        .find(|planned| planned.spec.name == *need)
                        .expect("a stage comes after all that it needs");
                    ManifestInput {
                        kind: input.spec.kind.clone(),
                        fingerprint: input.fingerprint,
                    }
                })
                .collect();
            let fingerprint = stage.given.unwrap_or_else(|| fingerprint(stage, &inputs));
            let cached = store.find(&stage.kind, fingerprint)?;
            if stage.given.is_some() && cached.is_none() {
                return Err(PipelineError::GivenMissing {
                    stage: stage.name.clone(),
                    folder: store.artifact(&stage.kind, fingerprint),
                });
            }
            if let Scope::Only(only) = scope
                && cached.is_none()
                && stage.name != only
            {
                return Err(PipelineError::InputMissing {
                    stage: only.to_owned(),
                    input: stage.name.clone(),
                });
            }
            stages.push(PlannedStage {
                spec: stage.clone(),
                fingerprint,
                inputs,
                cached,
            });
        }
        Ok(Self { stages })
    }

    /// The stage of that name.
    pub fn stage(&self, name: &str) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| stage.spec.name == name)
    }
}

impl PlannedStage {
    /// What a worker is told of the stage in a run.
    pub(crate) fn job(&self, store: &Store, run: &str) -> Job {
        let inputs = self.spec.needs.iter().zip(&self.inputs);
        let inputs = inputs
            .map(|(stage, input)| JobInput {
                stage: stage.clone(),
                input: input.clone(),
                folder: store.artifact(&input.kind, input.fingerprint),
            })
            .collect();
        Job {
            stage: self.spec.name.clone(),
            kind: self.spec.kind.clone(),
            format_version: self.spec.format_version,
            fingerprint: self.fingerprint,
            settings: self.spec.settings.clone(),
            execution: self.spec.execution.clone(),
            source: self.spec.source,
            inputs,
            home: store.home().to_owned(),
            logs: store.logs(run),
        }
    }
}

fn fingerprint(stage: &StageSpec, inputs: &[ManifestInput]) -> Fingerprint {
    Fingerprint::of(&json!({
        "kind": stage.kind,
        "format_version": stage.format_version,
        "settings": stage.settings,
        "source": stage.source,
        "inputs": inputs,
    }))
}

/// Depth-first order, so that a stage stands right after what it needs.
fn in_order<'a>(
    spec: &'a PipelineSpec,
    until: Option<&str>,
) -> Result<Vec<&'a StageSpec>, PipelineError> {
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    let mut path = Vec::new();
    match until {
        Some(name) => visit(spec, name, &mut order, &mut done, &mut path)?,
        None => {
            for stage in &spec.stages {
                visit(spec, &stage.name, &mut order, &mut done, &mut path)?;
            }
        }
    }
    Ok(order)
}

fn visit<'a>(
    spec: &'a PipelineSpec,
    name: &str,
    order: &mut Vec<&'a StageSpec>,
    done: &mut BTreeSet<&'a str>,
    path: &mut Vec<&'a str>,
) -> Result<(), PipelineError> {
    let stage = spec
        .stages
        .iter()
        .find(|stage| stage.name == name)
        .ok_or_else(|| PipelineError::UnknownStage {
            stage: name.to_owned(),
            known: spec.stages.iter().map(|stage| stage.name.clone()).collect(),
        })?;
    if done.contains(stage.name.as_str()) {
        return Ok(());
    }
    if path.contains(&stage.name.as_str()) {
        return Err(PipelineError::Cycle {
            stages: path.iter().map(|name| (*name).to_owned()).collect(),
        });
    }
    path.push(&stage.name);
    for need in &stage.needs {
        visit(spec, need, order, done, path)?;
    }
    path.pop();
    done.insert(&stage.name);
    order.push(stage);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Demand;

    fn stage(name: &str, needs: &[&str], settings: serde_json::Value) -> StageSpec {
        StageSpec {
            name: name.to_owned(),
            kind: name.trim_end_matches(char::is_numeric).to_owned(),
            format_version: 1,
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            settings,
            execution: json!({"threads": 2}),
            source: None,
            given: None,
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
}
