//! What a run makes of what workers report and of how their attempts end.

use std::time::Instant;

use patchwork_artifacts::StageStatus;
use patchwork_artifacts::event::Event;

use super::Run;
use crate::launcher::AttemptEnd;
use crate::observer::Update;
use crate::progression::{Attempt, Progression};
use crate::result::StageResult;

impl Run<'_> {
    pub(super) fn take_event(&mut self, index: usize, event: Event) {
        let stage = &self.plan.stages[index].spec.name;
        let Progression::Running(attempt) = &mut self.stages[index] else {
            return;
        };
        match &event {
            Event::Waiting => self.observer.update(Update::StageWaiting {
                stage: stage.clone(),
            }),
            Event::Progress(progress) => {
                attempt.note(progress);
                self.observer.update(Update::StageProgress {
                    stage: stage.clone(),
                    progress: progress.clone(),
                });
            }
            Event::Metric { .. } | Event::Resumed { .. } => {
                self.recorder.tell_of_stage(stage, event);
            }
            Event::Resources { .. } => {
                self.recorder.tell_of_attempt(stage, attempt.number, event);
            }
            Event::Message { message, .. } => {
                self.observer.update(Update::StageWarning {
                    stage: stage.clone(),
                    message: message.clone(),
                });
                self.recorder.tell_of_stage(stage, event);
            }
            // Whoever follows a worker reports its end; the rest is not for a worker to say.
            Event::Finished { .. }
            | Event::Interrupted { .. }
            | Event::Failed { .. }
            | Event::RunStarted(_)
            | Event::AttemptStarted { .. }
            | Event::AttemptEnded { .. }
            | Event::StageEnded { .. }
            | Event::RunEnded { .. } => {}
        }
    }

    pub(super) fn take_end(&mut self, index: usize, end: AttemptEnd, stopping: bool) {
        let Progression::Running(attempt) = self.stages[index] else {
            unreachable!("only a running stage's worker ends")
        };
        let spec = &self.plan.stages[index].spec;
        let ended = |exit: String, error: &[String]| Event::AttemptEnded {
            exit,
            error: error.to_vec(),
        };
        let (status, outcome, error, exit) = match end {
            AttemptEnd::Finished {
                cached: true,
                outcome,
            } => (
                StageStatus::Cached,
                Some(outcome),
                Vec::new(),
                "made by another process".to_owned(),
            ),
            AttemptEnd::Finished {
                cached: false,
                outcome,
            } => (
                StageStatus::Succeeded,
                Some(outcome),
                Vec::new(),
                "exit status: 0".to_owned(),
            ),
            AttemptEnd::Interrupted { cause } => (
                StageStatus::Interrupted,
                None,
                cause.into_iter().collect(),
                "interrupted".to_owned(),
            ),
            AttemptEnd::Failed {
                chain,
                transient,
                exit,
            } => {
                let next = attempt.next(spec.retries);
                if let Some(next) = next.filter(|_| transient && !stopping) {
                    let ended = ended(exit, &chain);
                    self.recorder
                        .tell_of_attempt(&spec.name, attempt.number, ended);
                    self.try_again(index, next, chain);
                    return;
                }
                (StageStatus::Failed, None, chain, exit)
            }
        };
        self.recorder
            .tell_of_attempt(&spec.name, attempt.number, ended(exit, &error));
        let result = self.result(index, status, attempt.since.elapsed(), outcome, error);
        self.end_stage(index, result);
    }

    /// Has a stage wait for its next attempt.
    pub(super) fn try_again(&mut self, index: usize, next: Attempt, error: Vec<String>) {
        self.observer.update(Update::StageRetried {
            stage: self.plan.stages[index].spec.name.clone(),
            cause: error.first().cloned().unwrap_or_default(),
        });
        self.stages[index] = Progression::Retrying {
            attempt: next,
            at: Instant::now() + next.pause(),
            error,
        };
    }

    pub(super) fn end_stage(&mut self, index: usize, result: StageResult) {
        let replaced = self.store.replaced(result.fingerprint);
        let was_at_work = matches!(
            result.status,
            StageStatus::Failed | StageStatus::Interrupted
        );
        let kept = (was_at_work && replaced.exists()).then(|| {
            let message = format!(
                "the artifact that `--force` is to replace is kept in `{}` until the stage is finished",
                replaced.display()
            );
            let warning = Event::warning(&message);
            self.recorder.tell_of_stage(&result.stage, warning);
            message
        });
        let unread = self.recorder.end_stage(&result, &self.plan.stages[index]);
        for message in kept.into_iter().chain(unread) {
            let stage = result.stage.clone();
            self.observer
                .update(Update::StageWarning { stage, message });
        }
        let result = Box::new(result);
        self.observer.update(Update::StageEnded {
            result: result.clone(),
        });
        self.stages[index] = Progression::Ended(result);
    }
}
