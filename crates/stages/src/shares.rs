//! Work of which each rank does some pieces, that are files: nothing is exchanged but these.
//!
//! Rank 0 has the lock and the folders, and makes the artifact of all pieces; the others begin when it lets them, and end
//! with their last piece. A piece whose file exists is skipped, whichever rank wrote it.

use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::failure::Passing;
use patchwork_artifacts::presence::{Others, announce, wait_for_rank_0};
use patchwork_artifacts::protocol::{Job, Place};
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::Membership;
use patchwork_recipes::Execution;
use serde_json::json;

/// What of a stage's pieces this process does.
#[derive(Clone, Copy)]
pub(crate) struct Shares<'a> {
    context: &'a Context,
    membership: Membership,
    /// Where the other ranks are, and how long one may show no sign of life.
    meeting: Option<(&'a Place, Duration)>,
}

impl<'a> Shares<'a> {
    /// All of them.
    pub(crate) fn whole(context: &'a Context) -> Self {
        Self {
            context,
            membership: Membership::ALONE,
            meeting: None,
        }
    }

    /// Those of this rank. Beside rank 0: once that has [opened](Self::open) the work.
    pub(crate) fn join(
        job: &'a Job,
        context: &'a Context,
        execution: &Execution,
    ) -> Result<Self, StageError> {
        let Some(place) = &job.place else {
            return Ok(Self::whole(context));
        };
        let timeout = Duration::from_secs_f64(execution.collective_timeout_minutes * 60.0);
        if job.is_first() {
            context.wait_for_earlier_ranks()?;
        } else {
            wait_for_rank_0(place, timeout, context)?;
            context.begin_to_write(place)?;
        }
        Ok(Self {
            context,
            membership: place.membership,
            meeting: Some((place, timeout)),
        })
    }

    /// Of rank 0: lets the others begin, now that there is what they read and write into.
    pub(crate) fn open(self) -> Result<(), StageError> {
        match self.meeting {
            Some((place, _)) if self.is_first() => Ok(announce(place)?),
            _ => Ok(()),
        }
    }

    /// How many processes share the work.
    pub(crate) fn ranks(self) -> usize {
        self.membership.ranks as usize
    }

    /// Whether this process makes the artifact.
    pub(crate) fn is_first(self) -> bool {
        self.membership.rank == 0
    }

    /// Which rank this process is.
    pub(crate) fn membership(self) -> Membership {
        self.membership
    }

    /// Waits until `is_done`, which looks at what the other ranks do. One that fails, or hangs, ends all.
    pub(crate) fn wait_until(self, mut is_done: impl FnMut() -> bool) -> Result<(), StageError> {
        const PAUSE: Duration = Duration::from_millis(100);
        let meeting = self.meeting;
        let mut others = meeting.map(|(place, timeout)| Others::of(place, timeout));
        while !is_done() {
            if let Some(others) = &mut others
                && others.have_ended()?
                && !is_done()
            {
                return Err(Passing(LeftOut.into()).into());
            }
            if self.context.is_interrupted() {
                return Err(StageError::Interrupted);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// The others have ended, and a piece of theirs is not there.
#[derive(Debug, thiserror::Error)]
#[error("the other ranks have ended, and some of the files that they had to write are missing")]
struct LeftOut;

/// How much is done of `total`, as far as a rank can tell by what it has done itself, where `resumed` was done already.
pub(crate) fn done_in_all(ranks: Membership, own: usize, resumed: usize, total: usize) -> usize {
    usize::min(resumed + own * ranks.ranks as usize, total)
}

/// What a rank beside rank 0 makes: nothing of its own.
pub(crate) fn no_outcome() -> Outcome {
    Outcome::new(json!({}), Vec::new())
}
