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

#[cfg(test)]
mod tests {
    use patchwork_diffusion::ImageClock;
    use patchwork_terms::PatchPart;
    use serde_json::{Value, json};

    use super::*;

    /// Recorded once: a training that an earlier version began resumes with the same patch sizes, and
    /// `python/patchwork_torch`, which reads the file too, has the same steps.
    #[test]
    fn recorded_steps_do_not_change() {
        const BATCH: u64 = 10;
        let recorded: Value = serde_json::from_str(include_str!(
            "../../../../tests/fixtures/patches/steps.json"
        ))
        .unwrap();
        for (name, schedule) in [
            ("stochastic", PatchSchedule::Stochastic),
            ("progressive", PatchSchedule::Progressive),
        ] {
            let plan = PatchPlan {
                sides: PatchSides::pixel(12, 20, PatchPart::ALL, 0.3).unwrap(),
                schedule,
                seed: Seed::new(7).derive("train"),
                duration_images: 700,
            };
            let mut position = Position::default();
            let mut steps = Vec::new();
            for _ in 0..40 {
                let StepPlan {
                    side,
                    images_multiplier,
                } = plan.at(&position);
                steps.push(json!([
                    side.height,
                    side.width,
                    position.images_drawn,
                    position.images_seen
                ]));
                let mut clock = ImageClock {
                    batch_size: BATCH,
                    images_seen: position.images_seen,
                };
                clock.advance(images_multiplier);
                position.images_seen = clock.images_seen;
                position.images_drawn += BATCH * side.multiplier as u64;
                position.step += 1;
            }
            assert_eq!(json!(steps), recorded[name], "{name}");
        }
    }
}
