//! What a run would do: the order of the stages, their fingerprints, and which are done already.

use std::collections::BTreeSet;

use patchwork_artifacts::Store;
use patchwork_artifacts::manifest::{Manifest, ManifestInput};
use patchwork_artifacts::protocol::{Job, JobInput};
use patchwork_artifacts::spec::{PipelineSpec, StageSpec};
use patchwork_artifacts::store::Found;
use patchwork_core::Fingerprint;

use crate::error::PipelineError;

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
    /// Whether that is known: not where it, or an input of it, reads something that is not there and never was.
    pub is_known: bool,
    /// The artifacts that it reads, in the order of `spec.needs`.
    pub inputs: Vec<ManifestInput>,
    /// Whether it runs again though it may have an artifact, which is kept until the new one is published.
    pub is_forced: bool,
    /// The manifest of its artifact, when that is there already.
    pub cached: Option<Manifest>,
    /// What is wrong with what lies in the artifact's place, where that is none; the stage sets it aside.
    pub unusable: Option<String>,
}

impl Plan {
    /// Orders the stages, fingerprints them and looks each one up.
    ///
    /// # Errors
    /// An unknown stage in `needs` or `scope`, a cycle, an unreadable manifest, an input that is not finished for
    /// [`Scope::Only`], artifacts on another disk than work, a missing external artifact, and all missing inputs of stages
    /// that are to run.
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
            let fingerprint = stage.fingerprint(&inputs);
            let is_known = stage.missing.iter().all(|input| input.is_known)
                && stages
                    .iter()
                    .filter(|planned| stage.needs.contains(&planned.spec.name))
                    .all(|planned| planned.is_known);
            let found = if is_known {
                store.look_up(&stage.kind, fingerprint)?
            } else {
                Found::Nothing
            };
            let (cached, unusable) = match found {
                Found::Nothing => (None, None),
                Found::Artifact(manifest) => (Some(*manifest), None),
                Found::Unusable { problem } => (None, Some(problem)),
            };
            if cached.is_none()
                && let Some(folder) = store.other_disk(&stage.kind)
            {
                return Err(PipelineError::OtherDisk {
                    folder,
                    work: store.home().join("work"),
                });
            }
            if stage.external.is_some() && cached.is_none() {
                return Err(PipelineError::ExternalMissing {
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
            let mut spec = stage.clone();
            if is_known && has_begun(store, fingerprint) {
                spec.missing.retain(|input| !input.is_for_beginning);
            }
            stages.push(PlannedStage {
                spec,
                fingerprint,
                is_known,
                inputs,
                is_forced: false,
                cached,
                unusable,
            });
        }
        Self { stages }.if_nothing_is_missing()
    }

    /// The plan in which the stages of these names run again though they are cached, but for those that were `forced`
    /// before: a matrix computes them once.
    ///
    /// # Errors
    /// All missing inputs of stages that are to run.
    pub fn forcing(
        mut self,
        names: &[String],
        forced: &BTreeSet<Fingerprint>,
    ) -> Result<Self, PipelineError> {
        for stage in &mut self.stages {
            if names.contains(&stage.spec.name) && !forced.contains(&stage.fingerprint) {
                stage.is_forced = true;
                stage.cached = None;
            }
        }
        self.if_nothing_is_missing()
    }

    fn if_nothing_is_missing(self) -> Result<Self, PipelineError> {
        let problems = self.problems();
        if problems.is_empty() {
            return Ok(self);
        }
        Err(PipelineError::MissingInputs {
            problems: problems.join("\n"),
            plan: self,
        })
    }

    /// The missing inputs of the stages that are to run: each once, with the first stage that reads it.
    fn problems(&self) -> Vec<String> {
        let mut listed = BTreeSet::new();
        self.stages
            .iter()
            .filter(|stage| stage.cached.is_none())
            .flat_map(|stage| {
                let name = &stage.spec.name;
                stage.spec.missing.iter().map(move |input| (name, input))
            })
            .filter(|(_, input)| listed.insert(&input.problem))
            .map(|(name, input)| format!("stage `{name}`: {}", input.problem))
            .collect()
    }

    /// The stage of that name.
    pub fn stage(&self, name: &str) -> Option<&PlannedStage> {
        self.stages.iter().find(|stage| stage.spec.name == name)
    }
}

impl PlannedStage {
    /// The job of the stage's worker in a run.
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
            place: None,
        }
    }
}

/// Whether an earlier attempt has left something to resume from.
fn has_begun(store: &Store, fingerprint: Fingerprint) -> bool {
    let state = std::fs::read_dir(store.work(fingerprint).join("state"));
    state.is_ok_and(|mut files| files.next().is_some())
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
mod tests;
