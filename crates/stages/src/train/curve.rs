//! The loss over training, the same for every run of equal settings.

use patchwork_diffusion::StepReport;
use serde::{Deserialize, Serialize};

use patchwork_plot::{Labels, Line, PlotError, line_plot};

/// So many points, evenly spaced in images seen.
const POINTS: u64 = 250;

/// Mean losses over equal stretches of training, for each patch side and altogether.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LossCurve {
    /// Images in a stretch.
    stretch_images: u64,
    stretches: Vec<Stretch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stretch {
    images_seen: u64,
    sides: Vec<SideLoss>,
}

/// Losses are those of one pixel and channel: the summed loss over a patch divided by its pixels, so that
/// sides compare.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SideLoss {
    side: i64,
    steps: u64,
    sum: f64,
}

impl LossCurve {
    pub(crate) fn new(duration_images: u64) -> Self {
        Self {
            stretch_images: duration_images.div_ceil(POINTS),
            stretches: Vec::new(),
        }
    }

    /// Adds the step that began at `images_seen`.
    pub(crate) fn add(&mut self, images_seen: u64, report: &StepReport) {
        let begin = images_seen - images_seen % self.stretch_images;
        if self
            .stretches
            .last()
            .is_none_or(|stretch| stretch.images_seen != begin)
        {
            self.stretches.push(Stretch {
                images_seen: begin,
                sides: Vec::new(),
            });
        }
        let stretch = self.stretches.last_mut().expect("a stretch was just added");
        let side = report.side.side();
        let loss = report.pixel_loss();
        match stretch.sides.iter_mut().find(|entry| entry.side == side) {
            Some(entry) => {
                entry.steps += 1;
                entry.sum += loss;
            }
            None => stretch.sides.push(SideLoss {
                side,
                steps: 1,
                sum: loss,
            }),
        }
    }

    /// The mean loss of the last stretch, over all its steps; NaN before the first step.
    pub(crate) fn last(&self) -> f64 {
        self.stretches.last().map_or(f64::NAN, |stretch| {
            let steps: u64 = stretch.sides.iter().map(|entry| entry.steps).sum();
            let sum: f64 = stretch.sides.iter().map(|entry| entry.sum).sum();
            sum / steps as f64
        })
    }

    /// A PNG with one line a side.
    pub(crate) fn plot(&self) -> Result<Vec<u8>, PlotError> {
        let mut sides: Vec<i64> = self
            .stretches
            .iter()
            .flat_map(|stretch| &stretch.sides)
            .map(|entry| entry.side)
            .collect();
        sides.sort_unstable();
        sides.dedup();
        let names: Vec<String> = sides.iter().map(|side| format!("side {side}")).collect();
        let lines: Vec<Line<'_>> = sides
            .iter()
            .zip(&names)
            .map(|(&side, name)| Line {
                name,
                points: smoothed(&self.points(side)),
                ..Line::default()
            })
            .collect();
        let labels = Labels {
            title: "training loss",
            x: "training images seen",
            y: "weighted loss a pixel",
        };
        line_plot(&labels, &lines, true)
    }

    fn points(&self, side: i64) -> Vec<(f64, f64)> {
        self.stretches
            .iter()
            .filter_map(|stretch| {
                let entry = stretch.sides.iter().find(|entry| entry.side == side)?;
                Some((stretch.images_seen as f64, entry.sum / entry.steps as f64))
            })
            .collect()
    }
}

/// A mean over a window of nine points, narrower at the ends.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const REACH: usize = 4;
    points
        .iter()
        .enumerate()
        .map(|(position, &(x, _))| {
            let reach = REACH.min(position).min(points.len() - 1 - position);
            let window = &points[position - reach..=position + reach];
            (
                x,
                window.iter().map(|point| point.1).sum::<f64>() / window.len() as f64,
            )
        })
        .collect()
}
