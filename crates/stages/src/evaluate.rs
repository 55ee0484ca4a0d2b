//! Sampled images against reference statistics: distances, each with what makes it comparable.

use std::path::Path;

use patchwork_artifacts::event::Progress;
use patchwork_artifacts::protocol::Job;
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_artifacts::{Manifest, Outcome, Score, Subject};
use patchwork_core::{Seed, durable, file_error};
use patchwork_dataset::ShardSet;
use patchwork_metrics::{Extraction, MetricsError};
use patchwork_recipes::{EvaluateJob, EvaluateSettings, ReferenceSettings};
use patchwork_signatures::NearCopies;
use patchwork_terms::{Baseline, Kind};
use serde_json::{Value, json};
use tch::{Device, Kind as Number, Tensor};

use crate::device;
use crate::features::{FeatureStore, Images, in_color};
use crate::findings::{add_signatures, plot_curve, summary};
use crate::job::{are_images, first_images, images_of_reference, input, inputs, summary_of};
use crate::neighbours::{self, write_neighbours};
use crate::reconstruct::SCORES_FILE;
use crate::reference::{names, open_extraction};
use crate::scores::{Comparison, RAW, ReferenceIdentity};
use crate::shares::{Shares, no_outcome};
use crate::statistics::{Reference, Statistics};
use crate::variants::Variants;

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let EvaluateJob { covered, uncovered } = EvaluateJob::read(job)?;
    let settings = covered.settings;
    let device = device::configure(&uncovered.execution)?;
    let reference = input(job, Kind::Reference)?;
    let opened = OpenReference::open(job, &uncovered.places.weights, &settings, device)?;
    let measured = measured(job, &settings)?;
    // What is missing for the search for neighbours is reported before anything is evaluated.
    let looked_at = if settings.neighbours > 0 {
        let samples = ShardSet::open(&first_images(job)?.folder)?;
        let training = ShardSet::open(&images_of_reference(job, reference)?)?;
        Some((samples, training))
    } else {
        None
    };
    let shares = Shares::join(job, context, &uncovered.execution)?;
    shares.open()?;
    let mut evaluation = Evaluation {
        context,
        shares,
        batch_size: opened.batch_size,
        total: measured
            .iter()
            .map(|measured| measured.images.count())
            .sum(),
        sides: opened.sides,
        comparison: opened.comparison,
        done: 0,
        warnings: Warnings::default(),
        scores: Vec::new(),
    };
    evaluation.comparison.check()?;
    for (number, measured) in measured.iter().enumerate() {
        evaluation.measure(number, measured)?;
    }
    if !shares.is_first() {
        return Ok(no_outcome());
    }
    for warning in std::mem::take(&mut evaluation.warnings).texts(measured.len()) {
        context.warn(warning);
    }
    if settings.baselines.contains(&Baseline::RealHalves) {
        evaluation.compare_halves(context)?;
    }
    evaluation.scores.extend(floor(job)?);
    let mut near_copies = NearCopies::default();
    if let Some((samples, training)) = &looked_at {
        let extractor = &evaluation.comparison.extraction.extractors()[0].extractor;
        near_copies = write_neighbours(
            &neighbours::Comparison {
                samples,
                training,
                shown: settings.neighbour_samples as usize,
                neighbours: settings.neighbours as usize,
                batch_size: evaluation.batch_size,
                extractor: extractor.as_ref(),
            },
            context,
        )?;
    }
    let primary = evaluation.comparison.primary_metric();
    let scores = evaluation.scores;
    let variants = Variants::of_inputs(job)?;
    plot_curve(&scores, &variants, &primary, context.artifact())?;
    durable::write_json(&context.artifact().join("scores.json"), &scores)?;
    let mut summary = summary(&scores, &variants, &primary);
    for signature in add_signatures(&mut summary, &scores, &variants, near_copies) {
        context.warn(signature);
    }
    Ok(Outcome::new(summary, scores))
}

/// A reference with its extractors, ready to be compared with.
pub(crate) struct OpenReference {
    pub(crate) comparison: Comparison,
    /// Images at once.
    pub(crate) batch_size: usize,
    /// Height and width of its images, where they are known.
    sides: Option<(u64, u64)>,
}

impl OpenReference {
    /// Opens the reference that a stage reads.
    ///
    /// # Errors
    /// Weights that are missing, or others than those that the reference was made with.
    pub(crate) fn open(
        job: &Job,
        weights: &Path,
        settings: &EvaluateSettings,
        device: Device,
    ) -> Result<Self, StageError> {
        let reference = input(job, Kind::Reference)?;
        let manifest = Manifest::read(&reference.folder)?;
        let theirs: ReferenceSettings = serde_json::from_value(manifest.settings.clone())?;
        let extraction = open_extraction(&theirs, weights, device)?;
        check_weights(&extraction, &manifest)?;
        let summary = &manifest.outcome.summary;
        Ok(Self {
            batch_size: theirs.batch_size as usize,
            sides: sides(summary),
            comparison: Comparison {
                extraction,
                reference: Reference::open(&reference.folder)?,
                identity: ReferenceIdentity {
                    fingerprint: reference.input.fingerprint,
                    is_external: summary.get("foreign") == Some(&json!(true)),
                    images: summary.get("images").and_then(Value::as_u64),
                },
                keep_features: theirs.keep_features as usize,
                settings: settings.clone(),
            },
        })
    }
}

/// What the decoder of latents reaches with the images themselves, measured once by a stage of its own: no sample is
/// nearer to the reference but by chance.
fn floor(job: &Job) -> Result<Vec<Score>, StageError> {
    let mut scores = Vec::new();
    for reconstruct in inputs(job, Kind::Reconstruct) {
        let file = reconstruct.folder.join(SCORES_FILE);
        scores.extend(file_error::read_json::<Vec<Score>>(&file)?);
    }
    Ok(scores)
}

/// The weights have to be those that the reference was made with.
fn check_weights(extraction: &Extraction, reference: &Manifest) -> Result<(), StageError> {
    let own: Vec<Value> = (extraction.extractors().iter())
        .map(|open| json!(open.extractor.weights_digest()))
        .collect();
    match reference.settings.get("extractor_weights") {
        Some(theirs) if *theirs != json!(own) => Err(OtherWeights {
            extractors: names(extraction).join(", "),
        }
        .into()),
        _ => Ok(()),
    }
}

/// The weights changed between two stages.
#[derive(Debug, thiserror::Error)]
#[error(
    "the weights of {extractors} are not those that the reference was made with: run the pipeline again, \
     which computes the reference again"
)]
struct OtherWeights {
    extractors: String,
}

/// Height and width of the reference's images, where they are known.
fn sides(summary: &serde_json::Map<String, Value>) -> Option<(u64, u64)> {
    let side = |name| summary.get(name).and_then(Value::as_u64);
    Some((side("height")?, side("width")?))
}

/// A set of images to measure.
struct Measured {
    /// The stage that made them, or the baseline.
    name: String,
    subject: Subject,
    seeds: String,
    images_seen: Option<u64>,
    /// What the images were encoded in on their way here; raw bytes unless their files say otherwise.
    codec: String,
    images: Box<dyn Images>,
}

fn measured(job: &Job, settings: &EvaluateSettings) -> Result<Vec<Measured>, StageError> {
    let mut measured = Vec::new();
    for (position, samples) in job.inputs.iter().enumerate() {
        if !are_images(samples) {
            continue;
        }
        let seeds: Option<String> = summary_of(samples, "seeds")?;
        let codec: Option<String> = summary_of(samples, "codec")?;
        measured.push(Measured {
            name: samples.stage.clone(),
            subject: Subject::Input(position),
            seeds: seeds.unwrap_or_default(),
            images_seen: summary_of(samples, "images_seen")?,
            codec: codec.unwrap_or_else(|| RAW.to_owned()),
            images: Box::new(ShardSet::open(&samples.folder)?),
        });
    }
    if settings.baselines.contains(&Baseline::Noise) {
        let data = ShardSet::open(&first_images(job)?.folder)?;
        measured.push(Measured {
            name: Baseline::Noise.name().to_owned(),
            subject: Subject::Baseline(Baseline::Noise.name().to_owned()),
            seeds: String::new(),
            images_seen: None,
            codec: RAW.to_owned(),
            images: Box::new(Noise {
                count: data.len(),
                shape: [
                    data.channels().count() as i64,
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

    fn batch(&self, range: std::ops::Range<usize>) -> Result<Tensor, StageError> {
        let seed = Seed::new(0).derive("noise").at(range.start as u64);
        tch::manual_seed(seed.value().cast_signed());
        let [channels, height, width] = self.shape;
        let shape = [range.len() as i64, channels, height, width];
        let images = Tensor::randint(256, shape, (Number::Int64, Device::Cpu));
        Ok(in_color(&images.to_kind(Number::Uint8)))
    }
}

struct Evaluation<'a> {
    context: &'a Context,
    shares: Shares<'a>,
    batch_size: usize,
    total: usize,
    sides: Option<(u64, u64)>,
    comparison: Comparison,
    done: usize,
    warnings: Warnings,
    scores: Vec<Score>,
}

/// What the reader of the scores should know, each with the sets of images that it holds of.
#[derive(Debug, Default)]
struct Warnings(Vec<(String, Vec<String>)>);

impl Warnings {
    fn add(&mut self, set: &str, texts: Vec<String>) {
        for text in texts {
            match self.0.iter_mut().find(|(known, _)| *known == text) {
                // Several extractors may say the same of a set.
                Some((_, sets)) if sets.last().is_some_and(|last| last == set) => {}
                Some((_, sets)) => sets.push(set.to_owned()),
                None => self.0.push((text, vec![set.to_owned()])),
            }
        }
    }

    /// Each once, with the names of its sets where it does not hold of all.
    fn texts(self, sets: usize) -> Vec<String> {
        let texts = self.0.into_iter().map(|(text, of)| {
            if of.len() == sets {
                text
            } else {
                format!("`{}`: {text}", of.join("`, `"))
            }
        });
        texts.collect()
    }
}

impl Evaluation<'_> {
    fn measure(&mut self, number: usize, measured: &Measured) -> Result<(), StageError> {
        if self.shares.is_first() {
            self.check_sides(measured)?;
        }
        let before = self.done;
        let note = names(&self.comparison.extraction).join(", ");
        let mut report = |done: usize, resumed: usize| {
            self.context.progress(Progress {
                done: (before + done) as u64,
                total: self.total as u64,
                resumed: (before + resumed) as u64,
                unit: "images".to_owned(),
                note: note.clone(),
            });
            self.context.is_interrupted()
        };
        let folder = self.context.state().join(format!("features-{number}"));
        let store = FeatureStore::fill(
            measured.images.as_ref(),
            &self.comparison.extraction,
            self.batch_size,
            &folder,
            self.shares,
            &mut report,
        )?;
        self.done += measured.images.count();
        if !self.shares.is_first() {
            return Ok(());
        }
        let is_baseline = matches!(measured.subject, Subject::Baseline(_));
        let mut compared = self.comparison.scores(&store, is_baseline)?;
        self.warnings.add(&measured.name, compared.warnings);
        for score in &mut compared.scores {
            score.subject.clone_from(&measured.subject);
            score.seeds.clone_from(&measured.seeds);
            score.images_seen = measured.images_seen;
            score.codec.clone_from(&measured.codec);
        }
        self.scores.append(&mut compared.scores);
        Ok(())
    }

    /// Sides differ where a pipeline says so; a distance is still defined, and mostly measures the difference in size.
    fn check_sides(&self, measured: &Measured) -> Result<(), StageError> {
        let shape = measured.images.batch(0..0)?.size();
        if let Some((height, width)) = self.sides
            && (shape[2] as u64, shape[3] as u64) != (height, width)
        {
            self.context.warn(format!(
                "the reference's images have {height} × {width} pixels and those of `{}` {} × {}: the distance \
                 measures that too",
                measured.name,
                shape[2],
                shape[3]
            ));
        }
        Ok(())
    }

    /// One half of the real images against the other: what a perfect model of as few images would get.
    fn compare_halves(&mut self, context: &Context) -> Result<(), StageError> {
        let comparison = &self.comparison;
        for stream in comparison.extraction.streams() {
            let name = comparison.extraction.stream_name(stream);
            let Statistics::Own(halves) = comparison.reference.statistics(&name)? else {
                continue;
            };
            let halves = (halves.even.gaussian(), halves.odd.gaussian());
            let (even, odd) = match halves {
                (Ok(even), Ok(odd)) => (even, odd),
                (Err(MetricsError::TooFewImages { needed, actual, .. }), _)
                | (_, Err(MetricsError::TooFewImages { needed, actual, .. })) => {
                    context.warn(format!(
                        "`baselines` names `real-halves`, and a half of the reference has {actual} images, not {needed}: \
                         it is left out"
                    ));
                    return Ok(());
                }
                (even, odd) => (even?, odd?),
            };
            let mut score = comparison.frechet(stream, &even, &odd)?;
            score.subject = Subject::Baseline(Baseline::RealHalves.name().to_owned());
            score.reference_images = even.count() as u64;
            self.scores.push(score);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
