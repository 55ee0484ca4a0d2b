//! What commands ask about many runs at once: rankings, what can be resumed, what the disk holds.

use patchwork_artifacts::event::{Event, RunScore, RunStart};
use patchwork_artifacts::manifest::Score;
use patchwork_artifacts::status::{RunStatus, StageStatus};
use patchwork_core::Fingerprint;
use patchwork_registry::Registry;

use crate::{Run, at, fingerprint, fresh, lines, new_run, record, score};

/// A run whose stages make artifacts of their own, called after `variant`.
fn variant_of(variant: &str) -> RunStart {
    let mut run = new_run("sweep");
    for stage in &mut run.stages {
        stage.fingerprint = artifact(variant, &stage.name);
    }
    run.params = vec![("stages.train.batch_size".to_owned(), variant.to_owned())];
    run
}

fn of_metric(metric: &str, score: RunScore) -> RunScore {
    RunScore {
        score: Score {
            metric: metric.to_owned(),
            ..score.score
        },
        ..score
    }
}

fn artifact(variant: &str, stage: &str) -> Fingerprint {
    fingerprint(&format!("{stage} of {variant}"))
}

/// Enters a run whose training comes to this state, and whose evaluation to what follows from it.
async fn run_until(registry: &Registry, variant: &str, train: StageStatus, ended: RunStatus) {
    let run = Run::begin(registry, variant_of(variant)).await;
    let evaluate = if train.is_done() {
        train
    } else {
        StageStatus::Skipped
    };
    for (stage, status) in [
        ("prepare", StageStatus::Succeeded),
        ("train", train),
        ("evaluate", evaluate),
    ] {
        let event = match status {
            StageStatus::Running => Event::AttemptStarted { pid: 1 },
            status => crate::ended(status),
        };
        run.record(at(1), stage, event).await;
    }
    if ended != RunStatus::Running {
        let ended = record(at(2), None, Event::RunEnded { status: ended });
        assert!(run.tell_all(&[ended]).await.is_empty());
    }
}

#[tokio::test]
async fn a_score_is_told_with_its_artifact_and_its_run_with_its_settings() {
    let (_folder, _, registry) = fresh().await;
    for variant in ["16", "64", "16"] {
        let run = Run::begin(&registry, variant_of(variant)).await;
        let value = if variant == "16" { 60.0 } else { 50.0 };
        for (subject, images) in [("sample", Some(600)), ("noise", None)] {
            run.score(vec![score(subject, value, images)]).await;
        }
    }
    let metric = "fd_efficientnet_lite0";
    let ranked: Vec<(String, String)> = registry
        .score_history(metric, Some("sweep"))
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.run, row.artifact))
        .collect();
    let expected = [("sweep-2", "64"), ("sweep-1", "16"), ("sweep-3", "16")]
        .map(|(run, variant)| (run.to_owned(), artifact(variant, "evaluate").to_string()));
    assert_eq!(ranked, expected);
    assert!(
        registry
            .score_history(metric, Some("demo"))
            .await
            .unwrap()
            .is_empty()
    );

    let mut settings = registry.score_settings(metric).await.unwrap();
    settings.sort();
    let values: Vec<(&str, &str)> = settings
        .iter()
        .map(|(run, _, value)| (run.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        values,
        [("sweep-1", "16"), ("sweep-2", "64"), ("sweep-3", "16")]
    );
    assert!(registry.score_settings("fid").await.unwrap().is_empty());
}

#[tokio::test]
async fn scores_are_told_best_first_whichever_end_is_the_best() {
    let (_folder, _, registry) = fresh().await;
    let (low_first, high_first) = (
        ["demo-2", "demo-1", "demo-3"],
        ["demo-3", "demo-1", "demo-2"],
    );
    let metrics = [
        ("fid", low_first),
        ("fd_infinity_efficientnet_lite0", low_first),
        ("kid_clean", low_first),
        ("recall", high_first),
        ("density_efficientnet_lite0", high_first),
    ];
    for value in [0.5, 0.25, 0.75] {
        let run = Run::begin(&registry, new_run("demo")).await;
        let scores =
            metrics.map(|(metric, _)| of_metric(metric, score("sample", value, Some(600))));
        run.score(scores.into()).await;
    }
    for (metric, expected) in metrics {
        let history = registry.score_history(metric, None).await.unwrap();
        let runs: Vec<&str> = history.iter().map(|row| row.run.as_str()).collect();
        assert_eq!(runs, expected, "{metric}");
    }
}

#[tokio::test]
async fn the_best_score_of_a_run_is_that_of_its_best_network() {
    let (_folder, _, registry) = fresh().await;
    let run = Run::begin(&registry, new_run("demo")).await;
    Run::begin(&registry, new_run("demo")).await;
    for (subject, value, images) in [
        ("early", 40.0, Some(300)),
        ("sample", 60.0, Some(600)),
        ("real-halves", 1.0, None),
    ] {
        run.score(vec![score(subject, value, images)]).await;
    }
    let kernel = of_metric("kd_efficientnet_lite0", score("sample", 0.5, Some(600)));
    run.score(vec![kernel]).await;
    let best = registry.best_scores().await.unwrap();
    assert_eq!(best.len(), 1, "{best:?}");
    assert_eq!(
        (best[0].run.as_str(), best[0].metric.as_str(), best[0].value),
        ("demo-1", "fd_efficientnet_lite0", 40.0)
    );
}

#[tokio::test]
async fn runs_that_nothing_finished_can_be_resumed() {
    let (_folder, _, registry) = fresh().await;
    let unfinished = async || -> Vec<(String, RunStatus)> {
        let runs = registry.unfinished_runs().await.unwrap();
        runs.into_iter().map(|run| (run.run, run.status)).collect()
    };
    let row = |run: &str, status| (run.to_owned(), status);
    let (failed, interrupted) = (RunStatus::Failed, RunStatus::Interrupted);
    run_until(&registry, "a", StageStatus::Failed, failed).await;
    run_until(&registry, "b", StageStatus::Interrupted, interrupted).await;
    run_until(&registry, "c", StageStatus::Succeeded, RunStatus::Succeeded).await;
    assert_eq!(
        unfinished().await,
        [row("sweep-2", interrupted), row("sweep-1", failed)]
    );
    // Taken up by a later run, which was stopped as well.
    run_until(&registry, "a", StageStatus::Interrupted, interrupted).await;
    assert_eq!(
        unfinished().await,
        [row("sweep-4", interrupted), row("sweep-2", interrupted)]
    );
    // One is at work, the other done.
    run_until(&registry, "a", StageStatus::Running, RunStatus::Running).await;
    run_until(&registry, "b", StageStatus::Succeeded, RunStatus::Succeeded).await;
    assert!(unfinished().await.is_empty());
}

#[tokio::test]
async fn artifacts_that_are_gone_take_no_space_until_they_are_made_again() {
    let (_folder, _, registry) = fresh().await;
    let record = async |kind: &str| {
        registry
            .record_artifact(&crate::artifact(kind), at(1))
            .await
            .unwrap();
    };
    record("prepare").await;
    record("train").await;
    registry
        .mark_gone_artifacts(|path| path == "artifacts/prepare/x")
        .await
        .unwrap();
    let bytes = "SELECT kind, bytes FROM artifacts ORDER BY kind";
    assert_eq!(lines(&registry, bytes), ["prepare 12", "train 0"]);
    // Its lineage is known all the same.
    let inputs = "SELECT COUNT(*) FROM stage_inputs";
    assert_eq!(lines(&registry, inputs), ["2"]);
    record("train").await;
    assert_eq!(lines(&registry, bytes), ["prepare 12", "train 12"]);
}

#[tokio::test]
async fn the_age_of_a_run_begins_at_its_end() {
    let (_folder, _, registry) = fresh().await;
    // All start now, and are heard of in 2100.
    run_until(
        &registry,
        "a",
        StageStatus::Interrupted,
        RunStatus::Interrupted,
    )
    .await;
    run_until(&registry, "b", StageStatus::Running, RunStatus::Running).await;
    Run::begin(&registry, variant_of("c")).await;
    let ages: Vec<f64> = registry
        .run_needs()
        .await
        .unwrap()
        .iter()
        .map(|run| run.age_days)
        .collect();
    assert!(ages[0].abs() < 1.0, "it was not heard of since: {ages:?}");
    assert!(ages[1] < -1000.0 && ages[2] < -1000.0, "{ages:?}");
}
