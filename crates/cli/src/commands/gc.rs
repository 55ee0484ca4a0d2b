//! `patchwork gc`: deletes what no recorded run needs, or says what it would delete.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_artifacts::Store;
use patchwork_artifacts::status::StageStatus;
use patchwork_core::Fingerprint;
use patchwork_registry::{BestScore, Registry, RunNeeds};
use patchwork_supervisor::gc::{self, Garbage, GarbageKind, Needed, Unneeded};
use patchwork_supervisor::run_folders::RunFolders;
use patchwork_terms::Kind;
use serde_json::{Value, json};

use crate::arguments::{Arguments, Format, GcArguments};
use crate::error::CliError;
use crate::output::{Rows, remark, score_text};

/// So many runs are named at most.
const MOST_NAMED: usize = 5;

pub(crate) async fn collect_garbage(
    arguments: &Arguments,
    options: &GcArguments,
) -> Result<(), CliError> {
    let store = Store::open(&arguments.home)?;
    let _planning = store.lock_planning()?;
    let registry = Registry::open_read_only(&store.registry()).await?;
    check_all_known(&store, &registry).await?;
    let runs = registry.run_needs().await?;
    let scores = registry.best_scores().await?;
    registry.close().await;
    let needed = needed(&store, &runs, options)?;
    let Unneeded {
        garbage,
        left_alone,
    } = gc::find(&store, &needed)?;
    let users = newest_users(&runs);
    let scores: BTreeMap<&str, &BestScore> = scores
        .iter()
        .map(|score| (score.run.as_str(), score))
        .collect();
    let mut rows = Rows::new(&["what", "bytes", "deleted", "run", "metric", "value", "path"]);
    let (mut bytes, mut busy) = (0, 0);
    let mut failed = None;
    for garbage in &garbage {
        let deleted = if options.apply {
            match gc::delete(&store, garbage) {
                Ok(deleted) => deleted,
                // What went before it is printed first.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        } else {
            false
        };
        busy += usize::from(options.apply && !deleted);
        bytes += garbage.bytes;
        let run = garbage
            .fingerprint
            .and_then(|fingerprint| users.get(fingerprint.to_string().as_str()));
        let score = run.and_then(|run| scores.get(run));
        rows.push(vec![
            json!(name(garbage)),
            json!(garbage.bytes),
            json!(deleted),
            json!(run),
            json!(score.map(|score| &score.metric)),
            score.map_or(Value::Null, |score| match options.format {
                Format::Table => json!(score_text(score.value, 3)),
                Format::Json | Format::Csv => json!(score.value),
            }),
            json!(garbage.path.display().to_string()),
        ]);
    }
    if options.apply {
        let registry = Registry::open(&store.registry()).await?;
        registry
            .mark_gone_artifacts(|path| store.home().join(path).is_dir())
            .await?;
        registry.close().await;
    }
    rows.print(options.format)?;
    for (path, reason) in &left_alone {
        remark(&format!("skipped: `{}`: {reason}", path.display()));
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    if options.format == Format::Table {
        let size = bytes as f64 / f64::from(1 << 20);
        remark(&match (options.apply, busy) {
            (false, _) => format!("{size:.1} MiB; `--apply` deletes it"),
            (true, 0) => format!("{size:.1} MiB deleted"),
            (true, busy) => format!("{busy} are in use and were skipped"),
        });
    }
    Ok(())
}

/// Refuses where a run has a folder and the registry does not know what it needs.
async fn check_all_known(store: &Store, registry: &Registry) -> Result<(), CliError> {
    let known = registry.run_names().await?;
    let folders = RunFolders::read(store, &known)?;
    if let Some(unusable) =
        (folders.unusable.into_iter()).find(|folder| !known.contains(&folder.run))
    {
        return Err(CliError::UnreadableRun {
            folder: unusable.path,
            problem: unusable.problem,
        });
    }
    if folders.readable.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = (folders.readable.iter().take(MOST_NAMED))
        .map(|folder| folder.run.start.run.as_str())
        .collect();
    Err(CliError::UnknownRuns {
        count: folders.readable.len(),
        names: names.join(", "),
        logs: store.home().join("logs"),
    })
}

fn name(garbage: &Garbage) -> String {
    match &garbage.what {
        GarbageKind::Artifact(kind) => format!("{kind} artifact"),
        GarbageKind::Work => "unfinished work".to_owned(),
        GarbageKind::Leftover => "leftover".to_owned(),
    }
}

/// The newest run that each fingerprint is of a stage of.
fn newest_users(runs: &[RunNeeds]) -> BTreeMap<&str, &str> {
    let mut users = BTreeMap::new();
    for run in runs {
        for (fingerprint, _) in &run.stages {
            users
                .entry(fingerprint.as_str())
                .or_insert(run.run.as_str());
        }
    }
    users
}

/// What the runs within the limits need, and every evaluation: they are small, and the scores of a registry that is
/// made again come from them.
fn needed(store: &Store, runs: &[RunNeeds], options: &GcArguments) -> Result<Needed, CliError> {
    let mut needed = Needed {
        kept_kinds: [Kind::Evaluate.name().to_owned()].into(),
        ..Needed::default()
    };
    let mut kept: BTreeMap<&str, u32> = BTreeMap::new();
    let mut bytes = 0;
    for run in runs {
        let number = kept.entry(&run.pipeline).or_default();
        let running = run.stages.iter().any(|(_, status)| !status.is_final());
        let too_many = options.keep.is_some_and(|keep| *number >= keep);
        let too_old = options
            .older_than
            .is_some_and(|days| run.age_days > f64::from(days));
        if !running && (too_many || too_old) {
            continue;
        }
        let artifacts: BTreeSet<Fingerprint> = fingerprints(run, |_| true).collect();
        let mut added = 0;
        for &fingerprint in artifacts.difference(&needed.artifacts) {
            added += gc::artifact_bytes(store, fingerprint)?;
        }
        let limit = options.max_gigabytes.map(|gigabytes| gigabytes * 1e9);
        if !running && limit.is_some_and(|limit| (bytes + added) as f64 > limit) {
            continue;
        }
        bytes += added;
        *number += 1;
        needed.artifacts.extend(artifacts);
        needed
            .unfinished
            .extend(fingerprints(run, |status| !status.is_done()));
    }
    Ok(needed)
}

/// The fingerprints of the stages of a run that stand somehow.
fn fingerprints(
    run: &RunNeeds,
    stands: impl Fn(StageStatus) -> bool,
) -> impl Iterator<Item = Fingerprint> {
    run.stages
        .iter()
        .filter(move |(_, status)| stands(*status))
        .filter_map(|(fingerprint, _)| fingerprint.parse().ok())
}
