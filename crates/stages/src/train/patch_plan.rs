//! Which patch size each step trains, as a function of (seed, position).

use patchwork_core::Seed;
use patchwork_diffusion::{PatchSides, StepPlan};
use patchwork_terms::PatchSchedule;

use super::position::Position;

/// The patch sizes of a training and when each of them is used.
pub(super) struct PatchPlan {
    pub(super) sides: PatchSides,
    pub(super) schedule: PatchSchedule,
    pub(super) seed: Seed,
    pub(super) duration_images: u64,
}

impl PatchPlan {
    /// The patch size of the step at a position, and what the step counts on the training clock.
    pub(super) fn at(&self, position: &Position) -> StepPlan {
        let progress = position.images_seen as f64 / self.duration_images as f64;
        let steps = self.seed.derive("side");
        let uniform = steps.at(position.draw()).stream().uniform();
        self.sides.plan(self.schedule, uniform, progress)
    }
}
