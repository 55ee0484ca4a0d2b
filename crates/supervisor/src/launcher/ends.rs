//! How an attempt ended, by how its processes did.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AttemptEnd;

/// How one process ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ProcessEnd {
    pub(super) rank: u32,
    pub(super) end: AttemptEnd,
    /// Whether it was ended by a signal and has said nothing of its end.
    pub(super) was_killed: bool,
}

/// An end, and whether it has a cause of its own: one that the supervisor kills has none.
struct Seen {
    end: ProcessEnd,
    has_cause: bool,
}

/// How the processes of a worker have ended so far, in the order of their ends.
pub(super) struct Ends {
    all: Vec<Seen>,
    /// How long ranks are waited for that fail with another: what they say may be the cause.
    sight: Duration,
    /// Whether the rest are killed by the supervisor.
    pub(super) are_killed: bool,
}

impl Ends {
    /// None so far.
    pub(super) fn new(sight: Duration) -> Self {
        Self {
            all: Vec::new(),
            sight,
            are_killed: false,
        }
    }

    pub(super) fn add(&mut self, end: ProcessEnd) {
        let has_cause = !(self.are_killed && end.was_killed);
        self.all.push(Seen { end, has_cause });
    }

    /// Whether rank 0 has done the job.
    pub(super) fn is_done(&self) -> bool {
        let first = self.first();
        first.is_some_and(Seen::is_finished)
    }

    /// Whether a rank has stopped as it was asked to: the others have to stop too.
    pub(super) fn is_interrupted(&self) -> bool {
        self.all.iter().any(Seen::is_interrupted)
    }

    /// How rank 0 has ended, if it has.
    fn first(&self) -> Option<&Seen> {
        self.all.iter().find(|seen| seen.end.rank == 0)
    }

    /// How long the others are given to end too, if they have to: those that fail with a rank say so at once, and what they
    /// say may be the cause; those that are left when the job is done have nothing to do.
    pub(super) fn patience(&self) -> Option<Duration> {
        if self.is_done() {
            Some(Duration::from_secs(5))
        } else if self.all.iter().any(Seen::is_failed) {
            Some(self.sight)
        } else if self.all.iter().all(Seen::is_finished) {
            // Rank 0 continues alone when there is nothing more to compute together, and may take its time.
            None
        } else {
            // Ranks stop together, once rank 0 has saved what it has to: what is left waits for one that never came.
            Some(Duration::from_secs(10))
        }
    }

    /// How the attempt ended: finished where rank 0 has finished. Of several failures the cause is that of a rank that was
    /// killed, else one that does not pass, else the first: a rank that loses another fails in a way that may pass. So does
    /// one that loses rank 0 because that was interrupted.
    pub(super) fn verdict(self, is_one_of_several: bool) -> AttemptEnd {
        let is_done = self.is_done();
        let is_interrupted =
            (self.first()).is_some_and(|seen| seen.has_cause && seen.is_interrupted());
        let urgency = |seen: &Seen| match &seen.end.end {
            AttemptEnd::Finished { .. } if seen.end.rank == 0 => Some(0),
            // What the others finish is their share.
            AttemptEnd::Finished { .. } => None,
            _ if is_done => None,
            _ if !seen.has_cause => Some(6),
            AttemptEnd::Failed { .. } if seen.end.was_killed => Some(1),
            AttemptEnd::Failed {
                transient: true, ..
            } if is_interrupted => Some(5),
            AttemptEnd::Failed {
                transient: false, ..
            } => Some(2),
            AttemptEnd::Failed { .. } => Some(3),
            AttemptEnd::Interrupted { .. } => Some(4),
        };
        let ended = self.all.into_iter();
        let ranked = ended.filter_map(|seen| Some((urgency(&seen)?, seen.end)));
        // The first of equals.
        let Some((_, decisive)) = ranked.min_by_key(|(urgency, _)| *urgency) else {
            return AttemptEnd::Failed {
                chain: vec!["rank 0 has not ended, and the others have".to_owned()],
                transient: true,
                exit: String::new(),
            };
        };
        match decisive.end {
            AttemptEnd::Failed {
                mut chain,
                transient,
                exit,
            } => {
                if let (true, Some(outermost)) = (is_one_of_several, chain.first_mut()) {
                    *outermost = format!("rank {}: {outermost}", decisive.rank);
                }
                AttemptEnd::Failed {
                    chain,
                    transient,
                    exit,
                }
            }
            end => end,
        }
    }
}

impl Seen {
    fn is_finished(&self) -> bool {
        matches!(self.end.end, AttemptEnd::Finished { .. })
    }

    fn is_interrupted(&self) -> bool {
        matches!(self.end.end, AttemptEnd::Interrupted { .. })
    }

    fn is_failed(&self) -> bool {
        matches!(self.end.end, AttemptEnd::Failed { .. })
    }
}

#[cfg(test)]
mod tests {
    use patchwork_artifacts::Outcome;
    use serde_json::json;

    use super::*;

    #[derive(Clone, Copy)]
    enum How {
        Finished,
        Interrupted,
        /// Lost another rank.
        Lost,
        /// Failed for a cause of its own that does not pass.
        Failed,
        Killed,
    }
    use How::*;

    fn ends(all: &[(u32, How)]) -> Ends {
        let mut ends = Ends::new(Duration::from_millis(1));
        for &(rank, how) in all {
            let failed = |text: &str, transient| AttemptEnd::Failed {
                chain: vec![text.to_owned()],
                transient,
                exit: String::new(),
            };
            ends.add(ProcessEnd {
                rank,
                end: match how {
                    Finished => AttemptEnd::Finished {
                        cached: false,
                        outcome: Outcome::new(json!({ "rank": rank }), Vec::new()),
                    },
                    Interrupted => AttemptEnd::Interrupted { cause: None },
                    Lost => failed("lost", true),
                    Failed => failed("failed", false),
                    Killed => failed("killed", true),
                },
                was_killed: matches!(how, Killed),
            });
        }
        ends
    }

    fn words(end: &AttemptEnd) -> String {
        match end {
            AttemptEnd::Finished { outcome, .. } => {
                format!("finished by {}", outcome.summary["rank"])
            }
            AttemptEnd::Interrupted { .. } => "interrupted".to_owned(),
            AttemptEnd::Failed { chain, .. } => chain[0].clone(),
        }
    }

    #[test]
    fn the_cause_is_that_of_the_rank_that_has_one() {
        for (all, expected) in [
            (&[(1, Finished), (0, Finished)][..], "finished by 0"),
            (&[(0, Finished), (1, Lost)], "finished by 0"),
            (&[(0, Lost), (1, Killed)], "rank 1: killed"),
            (&[(2, Lost), (0, Lost), (1, Failed)], "rank 1: failed"),
            (&[(1, Lost), (0, Lost)], "rank 1: lost"),
            (&[(1, Finished), (0, Failed)], "rank 0: failed"),
            (&[(1, Interrupted), (0, Interrupted)], "interrupted"),
            // Before the ranks have met, one may be interrupted alone.
            (&[(0, Interrupted), (1, Lost)], "interrupted"),
            (&[(1, Interrupted)], "interrupted"),
            // Its worker, left alone, has asked the others to stop.
            (&[(0, Interrupted), (1, Killed)], "rank 1: killed"),
            (&[(1, Failed), (0, Interrupted)], "rank 1: failed"),
        ] {
            assert_eq!(words(&ends(all).verdict(true)), expected);
        }
        assert_eq!(words(&ends(&[(0, Killed)]).verdict(false)), "killed");
    }

    #[test]
    fn rank_0_may_take_its_time_when_the_others_are_done() {
        assert_eq!(ends(&[]).patience(), None);
        assert_eq!(ends(&[(1, Finished), (2, Finished)]).patience(), None);
        let waits = |all| ends(all).patience().is_some();
        assert!(waits(&[(0, Finished)]));
        assert!(waits(&[(1, Finished), (2, Lost)]));
        assert!(waits(&[(1, Interrupted)]));
    }

    #[test]
    fn those_that_are_killed_by_the_supervisor_are_no_cause() {
        let mut ends = ends(&[(1, Lost)]);
        ends.are_killed = true;
        ends.add(ProcessEnd {
            rank: 0,
            end: AttemptEnd::Interrupted { cause: None },
            was_killed: true,
        });
        assert_eq!(words(&ends.verdict(true)), "rank 1: lost");
    }

    #[test]
    fn what_rank_0_did_not_finish_is_not_finished() {
        let killed_first = |others: &[(u32, How)]| {
            let mut ends = ends(others);
            ends.are_killed = true;
            ends.add(ProcessEnd {
                rank: 0,
                end: AttemptEnd::Interrupted { cause: None },
                was_killed: true,
            });
            words(&ends.verdict(true))
        };
        assert_eq!(killed_first(&[(1, Finished)]), "interrupted");
        assert_eq!(
            killed_first(&[(1, Finished), (2, Interrupted)]),
            "interrupted"
        );
        assert_eq!(
            words(&ends(&[(1, Finished)]).verdict(true)),
            "rank 0 has not ended, and the others have"
        );
        assert!(ends(&[(1, Finished), (2, Interrupted)]).is_interrupted());
    }
}
