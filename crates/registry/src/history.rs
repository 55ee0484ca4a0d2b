//! Scores over many runs, and how long training took to get there: what `compare` asks.

use crate::database::Registry;
use crate::error::RegistryError;
use crate::view::ScoreRow;

/// A score of a trained network, with the run that measured it.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct HistoryRow {
    /// The run's name.
    pub run: String,
    /// Its pipeline's name.
    pub pipeline: String,
    /// The fingerprint of the artifact that holds the score; runs that found it made have the score too.
    pub artifact: String,
    /// The name of the processor of the run's machine.
    pub processor: String,
    /// The fingerprint of the run's first training; none of a run that has none.
    pub training: Option<String>,
    /// The score.
    #[sqlx(flatten)]
    pub score: ScoreRow,
}

/// What the making of an artifact took; none where nothing of it is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, sqlx::FromRow)]
pub struct Work {
    /// From each attempt's start to its end.
    pub seconds: Option<f64>,
    /// Processor time of all threads; none also where an attempt ended without saying.
    pub processor_seconds: Option<f64>,
}

/// A series over the second half of its steps, in short.
#[derive(Clone, Debug, PartialEq, sqlx::FromRow)]
pub struct SecondHalf {
    /// The stage.
    pub stage: String,
    /// The series.
    pub name: String,
    /// Points in that half.
    pub points: i64,
    /// The mean of their values; none where none is a number.
    pub mean: Option<f64>,
}

/// How long the making of an artifact took, over all attempts of all runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingTime {
    /// (images seen, milliseconds since 1970), ascending in time.
    points: Vec<(i64, i64)>,
    /// (start, end) of each attempt, milliseconds since 1970.
    attempts: Vec<(i64, i64)>,
}

impl TrainingTime {
    /// Seconds of work until so many images had been seen; time between attempts does not count.
    ///
    /// None where nothing of the training is recorded.
    pub fn seconds_until(&self, images: i64) -> Option<f64> {
        let last = self.attempts.iter().map(|attempt| attempt.1).max()?;
        let moment = self
            .points
            .iter()
            .find(|point| point.0 >= images)
            .map_or(last, |point| point.1);
        let worked: i64 = self
            .attempts
            .iter()
            .map(|&(start, end)| (end.min(moment) - start).max(0))
            .sum();
        Some(if images == 0 {
            0.0
        } else {
            worked as f64 / 1000.0
        })
    }
}

const ACTION: &str = "look up scores";

impl Registry {
    /// Every score of a metric that belongs to a trained network, best first, of equal ones that of the earliest run;
    /// of one pipeline, if named.
    pub async fn score_history(
        &self,
        metric: &str,
        pipeline: Option<&str>,
    ) -> Result<Vec<HistoryRow>, RegistryError> {
        sqlx::query_as(
            "SELECT runs.name AS run, runs.pipeline, stages.fingerprint AS artifact, runs.cpu AS processor,
                    (SELECT fingerprint FROM stages AS trainings
                     WHERE trainings.run_id = scores.run_id AND trainings.kind = 'train'
                     ORDER BY position LIMIT 1) AS training,
                    scores.*
             FROM scores
             JOIN runs ON runs.id = scores.run_id
             JOIN stages ON stages.run_id = scores.run_id AND stages.name = scores.stage
             WHERE scores.metric = ?1 AND scores.images_seen IS NOT NULL AND (?2 IS NULL OR runs.pipeline = ?2)
             ORDER BY scores.value * (1 - 2 * scores.higher_is_better), runs.id, scores.stage, scores.subject",
        )
        .bind(metric)
        .bind(pipeline)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(ACTION))
    }

    /// The settings of every run with a score of a metric that belongs to a trained network: the run's name, the dotted
    /// key and the value.
    pub async fn score_settings(
        &self,
        metric: &str,
    ) -> Result<Vec<(String, String, String)>, RegistryError> {
        sqlx::query_as(
            "SELECT runs.name, params.key, params.value
             FROM params JOIN runs ON runs.id = params.run_id
             WHERE run_id IN (SELECT run_id FROM scores WHERE metric = ? AND images_seen IS NOT NULL)",
        )
        .bind(metric)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during("look up settings"))
    }

    /// The metrics that have scores.
    pub async fn score_metrics(&self) -> Result<Vec<String>, RegistryError> {
        sqlx::query_scalar("SELECT DISTINCT metric FROM scores ORDER BY metric")
            .fetch_all(&self.pool)
            .await
            .map_err(RegistryError::during(ACTION))
    }

    /// The second half of each series of a run whose name begins so.
    pub async fn second_halves(
        &self,
        run: i64,
        prefix: &str,
    ) -> Result<Vec<SecondHalf>, RegistryError> {
        sqlx::query_as(
            "SELECT series.stage, series.name, COUNT(*) AS points, AVG(points.value) AS mean
             FROM metric_summary AS series JOIN metric_points AS points ON points.series = series.id
             WHERE series.run_id = ?1 AND substr(series.name, 1, length(?2)) = ?2
                   AND points.step * 2 > series.last_step
             GROUP BY series.id ORDER BY series.stage, series.name",
        )
        .bind(run)
        .bind(prefix)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during("look up losses"))
    }

    /// What the making of the artifact of this fingerprint took, over all attempts of all runs.
    pub async fn work_on_artifact(&self, fingerprint: &str) -> Result<Work, RegistryError> {
        sqlx::query_as(
            "SELECT SUM(julianday(COALESCE(attempts.ended, heartbeat)) - julianday(attempts.started)) * 86400.0
                        AS seconds,
                    CASE WHEN COUNT(*) = COUNT(cpu_seconds) THEN SUM(cpu_seconds) END AS processor_seconds
             FROM attempts
             JOIN stages ON stages.run_id = attempts.run_id AND stages.name = attempts.stage
             WHERE stages.fingerprint = ?",
        )
        .bind(fingerprint)
        .fetch_one(&self.pool)
        .await
        .map_err(RegistryError::during("look up how long a stage took"))
    }

    /// When the artifact of this fingerprint was worked on, and how far it was when.
    pub async fn training_time(&self, fingerprint: &str) -> Result<TrainingTime, RegistryError> {
        const MILLISECONDS: &str = "look up the time of training";
        let points = sqlx::query_as(
            "SELECT points.step, points.time FROM metric_points AS points
             JOIN metric_summary AS series ON series.id = points.series AND series.name = 'loss'
             JOIN stages ON stages.run_id = series.run_id AND stages.name = series.stage
             WHERE stages.fingerprint = ? ORDER BY points.time",
        )
        .bind(fingerprint)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(MILLISECONDS))?;
        let attempts = sqlx::query_as(
            "SELECT CAST((julianday(attempts.started) - 2440587.5) * 86400000 AS INTEGER),
                    CAST((julianday(COALESCE(attempts.ended, heartbeat)) - 2440587.5) * 86400000 AS INTEGER)
             FROM attempts
             JOIN stages ON stages.run_id = attempts.run_id AND stages.name = attempts.stage
             WHERE stages.fingerprint = ? ORDER BY attempts.started",
        )
        .bind(fingerprint)
        .fetch_all(&self.pool)
        .await
        .map_err(RegistryError::during(MILLISECONDS))?;
        Ok(TrainingTime { points, attempts })
    }
}

#[cfg(test)]
mod tests {
    use super::TrainingTime;

    #[test]
    fn time_between_attempts_does_not_count() {
        let time = TrainingTime {
            points: vec![(100, 2_000), (200, 4_000), (300, 103_000)],
            attempts: vec![(0, 5_000), (100_000, 105_000)],
        };
        assert_eq!(time.seconds_until(0), Some(0.0));
        assert_eq!(time.seconds_until(150), Some(4.0));
        assert_eq!(time.seconds_until(300), Some(8.0));
        assert_eq!(time.seconds_until(400), Some(10.0));
        assert_eq!(TrainingTime::default().seconds_until(1), None);
    }
}
