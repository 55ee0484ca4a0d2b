//! `patchwork gc`: deletes what no recorded run needs, or says what it would delete.

use std::collections::{BTreeMap, BTreeSet};

use patchwork_artifacts::Store;
use patchwork_artifacts::status::StageStatus;
use patchwork_core::{FileError, Fingerprint};
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
    let (needed, resumable) = needed(&store, &runs, options)?;
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
            .mark_gone_artifacts(|path| store.home().join(path).try_exists().unwrap_or(true))
            .await?;
        registry.close().await;
    }
    rows.print(options.format)?;
    for (path, reason) in &left_alone {
        remark(&format!("skipped: `{}`: {reason}", path.display()));
    }
    if !resumable.is_empty() {
        remark(&kept(&resumable));
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
///
/// Unfinished work goes by its age alone, and keeps what it is made from: a number of newer runs, or their size, says
/// nothing of whether it is to be resumed. Also gives the runs beyond the other limits that are kept for it.
fn needed<'a>(
    store: &Store,
    runs: &'a [RunNeeds],
    options: &GcArguments,
) -> Result<(Needed, Vec<&'a str>), CliError> {
    let mut resumable = Vec::new();
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
        if !running && too_old {
            continue;
        }
        let is_kept = running || has_work(store, run)?;
        if too_many && !is_kept {
            continue;
        }
        let artifacts: BTreeSet<Fingerprint> = fingerprints(run, |_| true).collect();
        let mut added = 0;
        for &fingerprint in artifacts.difference(&needed.artifacts) {
            added += gc::artifact_bytes(store, fingerprint)?;
        }
        let limit = options.max_gigabytes.map(|gigabytes| gigabytes * 1e9);
        let is_too_large = limit.is_some_and(|limit| (bytes + added) as f64 > limit);
        if is_too_large && !is_kept {
            continue;
        }
        if !running && (too_many || is_too_large) {
            resumable.push(run.run.as_str());
        }
        bytes += added;
        *number += 1;
        needed.artifacts.extend(artifacts);
        needed
            .unfinished
            .extend(fingerprints(run, |status| !status.is_done()));
    }
    Ok((needed, resumable))
}

/// Whether a run has a stage that is not finished, with work to resume.
fn has_work(store: &Store, run: &RunNeeds) -> Result<bool, CliError> {
    for fingerprint in fingerprints(run, |status| !status.is_done()) {
        let work = store.work(fingerprint);
        let is_there = work.try_exists();
        if is_there.map_err(|source| FileError::new("look at", &work, source))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn kept(resumable: &[&str]) -> String {
    let mut named: Vec<&str> = resumable.iter().take(MOST_NAMED).copied().collect();
    if resumable.len() > MOST_NAMED {
        named.push("…");
    }
    format!(
        "kept: the unfinished work of {}, and what it is made from, which can be resumed; of unfinished work, `--older-than` alone \
         deletes any",
        named.join(", ")
    )
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unfinished_work_goes_by_its_age_alone() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let fingerprint = |of: &str| Fingerprint::of(&json!(of));
        let run = |run: &str, shards: &str, train: &str, status| RunNeeds {
            run: run.to_owned(),
            pipeline: "celeba".to_owned(),
            age_days: 3.0,
            stages: vec![
                (fingerprint(shards).to_string(), StageStatus::Succeeded),
                (fingerprint(train).to_string(), status),
            ],
        };
        // Newest first: three quick failures without anything to resume, a long training, a finished run.
        let runs = [
            run("celeba-5", "others", "quick 3", StageStatus::Failed),
            run("celeba-4", "others", "quick 2", StageStatus::Failed),
            run("celeba-3", "others", "quick 1", StageStatus::Failed),
            run("celeba-2", "shards", "long", StageStatus::Interrupted),
            run("celeba-1", "old", "done", StageStatus::Succeeded),
        ];
        std::fs::create_dir_all(store.work(fingerprint("long")).join("state")).unwrap();
        for kind in ["shards", "old"] {
            let folder = store.artifact("prepare", fingerprint(kind));
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("shard"), [0; 64]).unwrap();
        }
        let limits = |keep, max_gigabytes, older_than| GcArguments {
            apply: false,
            keep,
            older_than,
            max_gigabytes,
            format: Format::Table,
        };
        for options in [
            limits(Some(3), None, None),
            limits(None, Some(1e-9), None),
            limits(Some(0), Some(0.0), Some(7)),
        ] {
            let (needed, resumable) = needed(&store, &runs, &options).unwrap();
            assert!(
                needed.unfinished.contains(&fingerprint("long")),
                "{options:?}"
            );
            assert!(
                needed.artifacts.contains(&fingerprint("shards")),
                "{options:?}"
            );
            assert!(
                !needed.artifacts.contains(&fingerprint("old")),
                "{options:?}"
            );
            assert_eq!(resumable, ["celeba-2"], "{options:?}");
            assert!(kept(&resumable).contains("celeba-2"));
        }
        let (needed, resumable) = needed(&store, &runs, &limits(None, None, Some(2))).unwrap();
        assert!(needed.artifacts.is_empty() && needed.unfinished.is_empty());
        assert!(resumable.is_empty());
    }
}
