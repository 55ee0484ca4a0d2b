//! Sampled images against reference statistics: Fréchet distances, each with what makes it comparable.

use std::path::Path;

use patchwork_config::{Baseline, EvaluateSettings, Kind, ReferenceSettings};
use patchwork_core::{Fingerprint, Seed, durable};
use patchwork_dataset::ShardSet;
use patchwork_metrics::{Confidence, Extractor, Gaussian, frechet_distance, open_extractor};
use patchwork_pipeline::protocol::{Job, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use patchwork_pipeline::{Manifest, Outcome, Score, Subject};
use patchwork_planner::extractor::extractor_kind;
use serde_json::{Value, json};
use tch::{Device, Kind as Number, Tensor};

use crate::accumulate::{Halves, Images, accumulate};
use crate::device;
use crate::job::{
    are_images, execution, first_images, images_of_reference, input, settings, summary_of,
    weights_folder,
};
use crate::neighbours::{Comparison, write_neighbours};
use crate::reference::STATISTICS_FILE;
use patchwork_plot::{Labels, Line, line_plot};

/// The pixel format between sampler and extractor: no encoder lies between them.
const CODEC: &str = "raw u8";

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let settings: EvaluateSettings = settings(job)?;
    let device = device::configure(&execution(job)?)?;
    let reference = input(job, Kind::Reference)?;
    let reference_manifest = Manifest::read(&reference.folder)?;
    let reference_settings: ReferenceSettings =
        serde_json::from_value(reference_manifest.settings)?;
    let extractor = open_extractor(
        extractor_kind(reference_settings.extractor),
        weights_folder(job),
        device,
    )?;
    let halves = Halves::read(&reference.folder.join(STATISTICS_FILE))?;
    let measured = measured(job, &settings)?;
    if settings.neighbours > 0 {
        write_neighbours(
            &Comparison {
                samples: &ShardSet::open(&first_images(job)?.folder)?,
                training: &ShardSet::open(&images_of_reference(job, reference)?)?,
                shown: settings.neighbour_samples as usize,
                neighbours: settings.neighbours as usize,
                batch_size: reference_settings.batch_size as usize,
                features: &|images, _| extractor.features(images),
            },
            context,
        )?;
    }
    let mut evaluation = Evaluation {
        context,
        batch_size: reference_settings.batch_size as usize,
        total: measured
            .iter()
            .map(|measured| measured.images.count())
            .sum(),
        extractor,
        reference: halves.whole()?.gaussian()?,
        reference_fingerprint: reference.input.fingerprint,
        done: 0,
        scores: Vec::new(),
    };
    for (number, measured) in measured.iter().enumerate() {
        evaluation.measure(number, measured)?;
    }
    if settings.baselines.contains(&Baseline::RealHalves) {
        evaluation.compare_halves(&halves)?;
    }
    let scores = evaluation.scores;
    plot_curve(&scores, context.artifact())?;
    durable::write_json(&context.artifact().join("scores.json"), &scores)?;
    Ok(Outcome::new(summary(&scores), scores))
}

/// A set of images to measure.
struct Measured {
    subject: Subject,
    seeds: String,
    images_seen: Option<u64>,
    images: Box<dyn Images>,
}

fn measured(job: &Job, settings: &EvaluateSettings) -> Result<Vec<Measured>, StageError> {
    let mut measured = Vec::new();
    for (position, samples) in job.inputs.iter().enumerate() {
        if !are_images(samples) {
            continue;
        }
        let seeds: Option<String> = summary_of(samples, "seeds")?;
        measured.push(Measured {
            subject: Subject::Input(position),
            seeds: seeds.unwrap_or_default(),
            images_seen: summary_of(samples, "images_seen")?,
            images: Box::new(ShardSet::open(&samples.folder)?),
        });
    }
    if settings.baselines.contains(&Baseline::Noise) {
        let data = ShardSet::open(&first_images(job)?.folder)?;
        measured.push(Measured {
            subject: Subject::Baseline(Baseline::Noise.name().to_owned()),
            seeds: String::new(),
            images_seen: None,
            images: Box::new(Noise {
                count: data.len(),
                shape: [
                    data.channels() as i64,
                    data.height() as i64,
                    data.width() as i64,
                ],
            }),
        });
    }
    Ok(measured)
}

/// Images of independent uniform pixels.
struct Noise {
    count: usize,
    shape: [i64; 3],
}

impl Images for Noise {
    fn count(&self) -> usize {
        self.count
    }

    fn batch(&self, range: std::ops::Range<usize>) -> Tensor {
        let seed = Seed::new(0).derive("noise").at(range.start as u64);
        tch::manual_seed(seed.value().cast_signed());
        let [channels, height, width] = self.shape;
        let shape = [range.len() as i64, channels, height, width];
        Tensor::randint(256, shape, (Number::Int64, Device::Cpu)).to_kind(Number::Uint8)
    }
}

struct Evaluation<'a> {
    context: &'a Context,
    batch_size: usize,
    total: usize,
    extractor: Box<dyn Extractor>,
    reference: Gaussian,
    reference_fingerprint: Fingerprint,
    done: usize,
    scores: Vec<Score>,
}

impl Evaluation<'_> {
    fn measure(&mut self, number: usize, measured: &Measured) -> Result<(), StageError> {
        let before = self.done;
        let mut report = |done: usize, resumed: usize| {
            self.context.progress(Progress {
                done: (before + done) as u64,
                total: self.total as u64,
                resumed: (before + resumed) as u64,
                unit: "images".to_owned(),
                note: self.extractor.name().to_owned(),
            });
            self.context.is_interrupted()
        };
        let state = self
            .context
            .state()
            .join(format!("moments-{number}.safetensors"));
        let moments = accumulate(
            measured.images.as_ref(),
            self.extractor.as_ref(),
            self.batch_size,
            &state,
            &mut report,
        )?
        .whole()?;
        self.done += measured.images.count();
        let generated = moments.gaussian()?;
        if number == 0 {
            for warning in Confidence::of(&self.reference, &generated).warnings() {
                self.context.warn(warning);
            }
        }
        let mut score = self.compare(&self.reference, &generated, measured.subject.clone())?;
        score.seeds.clone_from(&measured.seeds);
        score.images_seen = measured.images_seen;
        self.scores.push(score);
        Ok(())
    }

    /// One half of the real images against the other: what a perfect model of as few images would get.
    fn compare_halves(&mut self, halves: &Halves) -> Result<(), StageError> {
        let subject = Subject::Baseline(Baseline::RealHalves.name().to_owned());
        let score = self.compare(&halves.even.gaussian()?, &halves.odd.gaussian()?, subject)?;
        self.scores.push(score);
        Ok(())
    }

    fn compare(
        &self,
        reference: &Gaussian,
        generated: &Gaussian,
        subject: Subject,
    ) -> Result<Score, StageError> {
        Ok(Score {
            subject,
            metric: self.extractor.metric_name().to_owned(),
            value: frechet_distance(reference, generated)?.distance,
            extractor: self.extractor.name().to_owned(),
            extractor_digest: self.extractor.weights_digest(),
            resize: self.extractor.resize().to_owned(),
            reference: self.reference_fingerprint,
            reference_images: reference.count() as u64,
            samples: generated.count() as u64,
            seeds: String::new(),
            codec: CODEC.to_owned(),
            images_seen: None,
        })
    }
}

/// The distances by what was measured.
fn summary(scores: &[Score]) -> Value {
    let best = scores
        .iter()
        .filter(|score| score.images_seen.is_some())
        .min_by(|left, right| left.value.total_cmp(&right.value));
    let distances: Vec<Value> = scores
        .iter()
        .map(|score| json!({ "of": of(score), "metric": score.metric, "value": score.value }))
        .collect();
    json!({ "distances": distances, "best": best.map(|best| best.value) })
}

fn of(score: &Score) -> String {
    match score.images_seen {
        Some(0) => "the untrained network".to_owned(),
        Some(images) => format!("the network after {images} images"),
        None => match &score.subject {
            Subject::Baseline(name) => name.clone(),
            Subject::Input(_) => "the images".to_owned(),
        },
    }
}

/// The curve of distance against training images seen, where there are several points.
fn plot_curve(scores: &[Score], folder: &Path) -> Result<(), StageError> {
    let mut points: Vec<(f64, f64)> = scores
        .iter()
        .filter_map(|score| Some((score.images_seen? as f64, score.value)))
        .collect();
    points.sort_by(|left, right| left.0.total_cmp(&right.0));
    if let [first, .., _] = scores
        && points.len() > 1
    {
        let labels = Labels {
            title: "distance to the real images",
            x: "training images seen",
            y: &first.metric,
        };
        let png = line_plot(
            &labels,
            &[Line {
                name: &first.metric,
                points,
            }],
            true,
        )?;
        durable::write(&folder.join("curve.png"), &png)?;
    }
    Ok(())
}
