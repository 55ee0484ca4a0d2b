//! Work of which each rank does some pieces, that are files: nothing is exchanged but these.
//!
//! Rank 0 has the lock and the folders, and makes the artifact of all pieces; the others begin when it lets them, and end
//! with their last piece. What is there already is not done again, whoever has done it.

use std::time::Duration;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::presence::{announce, wait_for_rank_0};
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::Membership;
use patchwork_recipes::Execution;
use serde_json::json;

/// What of a stage's pieces this process does.
#[derive(Clone, Copy)]
pub(crate) struct Shares<'a> {
    context: &'a Context,
    membership: Membership,
}

impl<'a> Shares<'a> {
    /// All of them.
    pub(crate) fn whole(context: &'a Context) -> Self {
        Self {
            context,
            membership: Membership::ALONE,
        }
    }

    /// Those of this rank, once rank 0 has come here too.
    pub(crate) fn begin(
        job: &Job,
        context: &'a Context,
        execution: &Execution,
    ) -> Result<Self, StageError> {
        let Some(place) = &job.place else {
            return Ok(Self::whole(context));
        };
        if job.is_first() {
            announce(place)?;
        } else {
            let timeout = Duration::from_secs_f64(execution.collective_timeout_minutes * 60.0);
            wait_for_rank_0(place, timeout, context)?;
        }
        Ok(Self {
            context,
            membership: place.membership,
        })
    }

    /// How many processes share the work.
    pub(crate) fn ranks(self) -> usize {
        self.membership.ranks as usize
    }

    /// Whether this process makes the artifact.
    pub(crate) fn is_first(self) -> bool {
        self.membership.rank == 0
    }

    /// Whether a piece is this process's.
    pub(crate) fn has(self, piece: usize) -> bool {
        piece % self.ranks() == self.membership.rank as usize
    }

    /// How much is done of `total`, by the pieces of this process, where `resumed` was done already.
    pub(crate) fn done_in_all(self, own: usize, resumed: usize, total: usize) -> usize {
        usize::min(resumed + own * self.ranks(), total)
    }

    /// Waits until `is_done`, which looks at what the other ranks do. One that fails ends all.
    pub(crate) fn wait_until(self, mut is_done: impl FnMut() -> bool) -> Result<(), StageError> {
        const PAUSE: Duration = Duration::from_millis(100);
        while !is_done() {
            if self.context.is_interrupted() {
                return Err(StageError::Interrupted);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// What a rank beside rank 0 makes: nothing of its own.
pub(crate) fn no_outcome() -> Outcome {
    Outcome::new(json!({}), Vec::new())
}
