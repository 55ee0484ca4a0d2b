//! Why each stage of a plan is cached or is to run: setting by setting, against the nearest earlier artifact.
//!
//! Explains the plan that `run` would carry out; it decides nothing itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use patchwork_artifacts::Store;
use patchwork_artifacts::manifest::{MANIFEST_FILE, Manifest, ManifestInput};
use patchwork_artifacts::unfinished;
use patchwork_core::{FileError, Fingerprint, durable};
use serde::Serialize;
use serde_json::Value;

use crate::flatten::flatten;
use crate::plan::{Plan, PlannedStage};

/// What a run would do with a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAction {
    /// Its artifact is up to date.
    Cached,
    /// It resumes an earlier attempt.
    // Scripts know it by this name.
    #[serde(rename = "go_on")]
    Resume,
    /// It runs from its beginning.
    Run,
}

/// What a run would do with a stage, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The stage's name.
    pub stage: String,
    /// Its kind.
    pub kind: String,
    /// What its artifact is called.
    pub fingerprint: Fingerprint,
    /// What would happen.
    // Scripts know it by this name.
    #[serde(rename = "fate")]
    pub action: PlannedAction,
    /// What is wrong with what lies in the artifact's place, where that is none.
    pub unusable: Option<String>,
    /// The artifact of the same kind with the fewest differences, where the stage is not cached.
    pub nearest: Option<Fingerprint>,
    /// What differs from it.
    pub changes: Vec<Change>,
    /// Unfinished work that a stage which runs from its beginning might be expected to resume.
    pub unfinished: Option<UnfinishedWork>,
}

/// Unfinished work that a stage does not resume.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnfinishedWork {
    /// What its artifact would be called.
    pub fingerprint: Fingerprint,
    /// Its folder.
    pub folder: PathBuf,
    /// What differs from it.
    pub changes: Vec<Change>,
}

/// One thing that differs from an earlier artifact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// A dotted setting, `raw data`, `format version`, or `input KIND`.
    pub what: String,
    /// Its value in the earlier artifact; none: it was not set.
    pub was: Option<String>,
    /// Its value in the plan; none: it is not set.
    pub is: Option<String>,
}

/// Explains every stage of a plan, in its order. `varied` are the dotted keys of the matrix that the plan is of.
pub fn explain(plan: &Plan, store: &Store, varied: &[&str]) -> Result<Vec<Explanation>, FileError> {
    plan.stages
        .iter()
        .map(|planned| {
            let (action, nearest) = if planned.cached.is_some() {
                (PlannedAction::Cached, None)
            } else if store.work(planned.fingerprint).is_dir() {
                (PlannedAction::Resume, None)
            } else {
                (PlannedAction::Run, nearest(planned, store)?)
            };
            let (nearest, changes) = nearest.unzip();
            Ok(Explanation {
                stage: planned.spec.name.clone(),
                kind: planned.spec.kind.clone(),
                fingerprint: planned.fingerprint,
                action,
                unusable: planned.unusable.clone(),
                nearest,
                changes: changes.unwrap_or_default(),
                unfinished: unfinished_beside(planned, store, varied)?,
            })
        })
        .collect()
}

/// The artifact with the fewest differences; of equals, the one made last.
fn nearest(
    planned: &PlannedStage,
    store: &Store,
) -> Result<Option<(Fingerprint, Vec<Change>)>, FileError> {
    let folder = store.artifacts(&planned.spec.kind);
    if !folder.is_dir() {
        return Ok(None);
    }
    let wanted = of_plan(planned);
    let mut best: Option<(_, Fingerprint, Vec<Change>)> = None;
    for artifact in durable::list(&folder)? {
        let file = artifact.join(MANIFEST_FILE);
        let Ok(made) = std::fs::metadata(&file).and_then(|metadata| metadata.modified()) else {
            continue;
        };
        // One that cannot be read explains nothing.
        let Ok(manifest) = Manifest::read(&artifact) else {
            continue;
        };
        let changes = changes(&of_manifest(&manifest), &wanted);
        let rank = (changes.len(), std::cmp::Reverse(made));
        if best.as_ref().is_none_or(|(least, _, _)| rank < *least) {
            best = Some((rank, manifest.fingerprint, changes));
        }
    }
    Ok(best.map(|(_, fingerprint, changes)| (fingerprint, changes)))
}

/// The unfinished work of a stage's kind with the fewest differences, for a stage that starts from scratch. What differs from it by
/// `varied` settings alone does not count: that is another combination of the matrix.
pub fn unfinished_beside(
    planned: &PlannedStage,
    store: &Store,
    varied: &[&str],
) -> Result<Option<UnfinishedWork>, FileError> {
    if planned.cached.is_some() || store.work(planned.fingerprint).is_dir() {
        return Ok(None);
    }
    let wanted = of_plan(planned);
    let is_varied = |change: &Change| {
        let key = format!("stages.{}.{}", planned.spec.name, change.what);
        varied.contains(&key.as_str())
    };
    let found = unfinished::find(store, &planned.spec.kind)?.into_iter();
    let works = found.map(|work| {
        let source = work.source.map(|source| source.to_string());
        let had = facts(&work.settings, source, work.format_version, &work.inputs);
        UnfinishedWork {
            fingerprint: work.fingerprint,
            folder: store.work(work.fingerprint),
            changes: changes(&had, &wanted),
        }
    });
    Ok(works
        .filter(|work| !work.changes.iter().all(is_varied))
        .min_by_key(|work| work.changes.len()))
}

type Facts = BTreeMap<String, String>;

fn of_plan(planned: &PlannedStage) -> Facts {
    facts(
        &planned.spec.settings,
        planned.spec.source.map(|source| source.to_string()),
        planned.spec.format_version,
        &planned.inputs,
    )
}

fn of_manifest(manifest: &Manifest) -> Facts {
    facts(
        &manifest.settings,
        manifest.source.map(|source| source.to_string()),
        manifest.format_version,
        &manifest.inputs,
    )
}

fn facts(
    settings: &Value,
    source: Option<String>,
    format_version: u32,
    inputs: &[ManifestInput],
) -> Facts {
    let mut leaves = Vec::new();
    flatten("", settings, &mut leaves);
    leaves.extend(source.map(|source| ("raw data".to_owned(), source)));
    leaves.push(("format version".to_owned(), format_version.to_string()));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for input in inputs {
        let count = counts.entry(&input.kind).or_default();
        *count += 1;
        let number = if *count == 1 {
            String::new()
        } else {
            format!(" {count}")
        };
        leaves.push((
            format!("input {}{number}", input.kind),
            input.fingerprint.to_string(),
        ));
    }
    leaves.into_iter().collect()
}

fn changes(was: &Facts, is: &Facts) -> Vec<Change> {
    let mut changes: Vec<Change> = was
        .iter()
        .filter(|(what, value)| is.get(*what) != Some(value))
        .map(|(what, value)| Change {
            what: what.clone(),
            was: Some(value.clone()),
            is: is.get(what).cloned(),
        })
        .chain(
            is.iter()
                .filter(|(what, _)| !was.contains_key(*what))
                .map(|(what, value)| Change {
                    what: what.clone(),
                    was: None,
                    is: Some(value.clone()),
                }),
        )
        .collect();
    changes.sort_unstable();
    changes
}
