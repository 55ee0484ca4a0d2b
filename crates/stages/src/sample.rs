//! A network to images, one a seed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use patchwork_config::{Kind, SampleLabels, SampleSettings, Solver};
use patchwork_core::{Seed, durable};
use patchwork_dataset::grid::first_images_png;
use patchwork_dataset::{Row, ShardSet, ShardSetWriter, ShardSpec};
use patchwork_diffusion::latents::seeded_draws;
use patchwork_diffusion::patches::full_positions;
use patchwork_diffusion::sampler::{
    AblationOptions, Churn, DpmSolverOptions, Guidance, HeunOptions, NoiseLevels, SamplerOptions,
    ablation, sample,
};
use patchwork_diffusion::{Conditioning, EdmDenoiser, to_pixels};
use patchwork_networks::checkpoint::load_network;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::{Job, JobInput, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use serde_json::{Value, json};
use tch::{Device, Kind as Number, Tensor};

use crate::device;
use crate::job::{execution, input, inputs, settings, summary_of};
use crate::train::{NETWORK_FILE, one_hot, snapshot_file};

/// Settings that a sample stage cannot go with, given its network.
#[derive(Debug, thiserror::Error)]
enum SampleError {
    #[error(
        "the network is conditional on {classes} classes, and `labels = \"none\"`; \
         set `labels` to \"balanced\" or \"dataset\""
    )]
    LabelsWanted { classes: i64 },
    #[error(
        "`labels = \"{0}\"` needs a class-conditional network; train one, or set `labels = \"none\"`"
    )]
    LabelsUnwanted(&'static str),
    #[error("`guidance` needs a class-conditional network trained with `label_dropout` above 0")]
    GuidanceUnwanted,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let settings: SampleSettings = settings(job)?;
    let device = device::configure(&execution(job)?)?;
    let trained = input(job, Kind::Train)?;
    let network = load_network(&network_file(trained, &settings), device)?;
    let classes = Classes::new(job, &settings, network.config().label_dim)?;
    let precision = device::kind(settings.precision);
    let denoiser = EdmDenoiser {
        precision,
        ..EdmDenoiser::new(network.to_kind_copy(precision))
    };
    let size = network.config().img_resolution;
    let spec = ShardSpec {
        width: size as usize,
        height: size as usize,
        images_per_shard: settings.images_per_shard as usize,
        class_names: classes.names.clone(),
        metadata: BTreeMap::from([("source".to_owned(), "samples".to_owned())]),
    };
    let seeds: Vec<u64> = settings
        .seeds
        .iter()
        .flat_map(|range| range.first..=range.last)
        .collect();
    let mut writer = ShardSetWriter::open(context.artifact(), spec)?;
    let resumed = writer.images();
    let progress = |done: u64| {
        context.progress(Progress {
            done,
            total: seeds.len() as u64,
            resumed,
            unit: "images".to_owned(),
            note: String::new(),
        });
    };
    progress(resumed);
    let options = sampler_options(&settings);
    for shard in seeds
        .chunks(settings.images_per_shard as usize)
        .skip(writer.complete_shards())
    {
        let mut rows: Vec<Row> = Vec::with_capacity(shard.len());
        for batch in shard.chunks(settings.batch_size as usize) {
            if context.is_interrupted() {
                return Err(StageError::Interrupted);
            }
            let labels = classes.of(batch);
            let pixels = draw(&denoiser, batch, labels.as_deref(), &options, device);
            rows.extend(to_rows(batch, labels.as_deref(), &pixels, size as usize));
            progress(writer.images() + rows.len() as u64);
        }
        writer.write_shard(rows, Vec::new())?;
    }
    writer.finish()?;
    write_grid(context, &settings)?;
    let Value::Object(summary) = json!({
        "images": seeds.len(),
        "seeds": seed_text(&settings),
        "evaluations": evaluations(&settings),
        "images_seen": images_seen(trained, &settings)?,
    }) else {
        unreachable!("a literal object is an object")
    };
    Ok(Outcome {
        summary,
        scores: Vec::new(),
    })
}

fn network_file(trained: &JobInput, settings: &SampleSettings) -> PathBuf {
    trained.folder.join(match settings.at_images {
        Some(images) => snapshot_file(images),
        None => NETWORK_FILE.to_owned(),
    })
}

fn images_seen(trained: &JobInput, settings: &SampleSettings) -> Result<u64, StageError> {
    settings
        .at_images
        .map_or_else(|| summary_of(trained, "images_seen"), Ok)
}

/// Draws the images of some seeds.
///
/// # Shapes
/// - returns: `[seeds, height, width, 3]`, u8, on the CPU
fn draw(
    denoiser: &EdmDenoiser,
    seeds: &[u64],
    labels: Option<&[i64]>,
    options: &SamplerOptions,
    device: Device,
) -> Tensor {
    tch::no_grad(|| {
        let config = denoiser.network.config();
        let (size, channels) = (config.img_resolution, config.img_channels);
        let (latents, mut noise) = seeded_draws(seeds, channels, size, size, options.noisy_steps());
        let conditioning = Conditioning {
            positions: config
                .position_channels
                .then(|| full_positions(size, size).to_device(device)),
            class_labels: labels.map(|labels| one_hot(labels, config.label_dim).to_device(device)),
            augment_labels: None,
        };
        let images = sample(
            denoiser,
            &latents.to_device(device),
            &mut noise,
            &conditioning,
            options,
        );
        to_pixels(&images)
            .permute([0, 2, 3, 1])
            .contiguous()
            .to_device(Device::Cpu)
    })
}

fn to_rows(seeds: &[u64], labels: Option<&[i64]>, pixels: &Tensor, size: usize) -> Vec<Row> {
    let bytes = Vec::<u8>::try_from(pixels.to_kind(Number::Uint8).flatten(0, -1))
        .expect("a flat tensor of bytes is a vector of bytes");
    let side = u16::try_from(size).expect("a shard set's sides fit 16 bits, as its writer checked");
    seeds
        .iter()
        .zip(bytes.chunks_exact(bytes.len() / seeds.len()))
        .enumerate()
        .map(|(position, (seed, pixels))| Row {
            key: seed.to_string(),
            label: labels.map(|labels| labels[position] as u32),
            pixels: pixels.to_vec(),
            source_width: side,
            source_height: side,
        })
        .collect()
}

fn write_grid(context: &Context, settings: &SampleSettings) -> Result<(), StageError> {
    let set = ShardSet::open(context.artifact())?;
    let (columns, rows) = (settings.grid.columns as usize, settings.grid.rows as usize);
    let png = first_images_png(&set, columns * rows, columns)?;
    durable::write(&context.artifact().join("grid.png"), &png)?;
    Ok(())
}

fn sampler_options(settings: &SampleSettings) -> SamplerOptions {
    let levels = NoiseLevels {
        num_steps: settings.steps as usize,
        sigma_min: settings.sigma_min,
        sigma_max: settings.sigma_max,
        rho: settings.rho,
    };
    let guidance = settings.guidance.map(|scale| Guidance {
        scale,
        interval: None,
    });
    let churn = Churn {
        amount: settings.s_churn,
        sigma_min: settings.s_min,
        sigma_max: settings.s_max.unwrap_or(f64::INFINITY),
        noise_scale: settings.s_noise,
    };
    match settings.solver {
        Solver::Heun => SamplerOptions::Heun(HeunOptions {
            levels,
            churn,
            guidance,
        }),
        Solver::DpmSolver2m => SamplerOptions::DpmSolver(DpmSolverOptions { levels, guidance }),
        Solver::Euler => SamplerOptions::Ablation(AblationOptions {
            num_steps: levels.num_steps,
            solver: ablation::Solver::Euler,
            sigma_min: Some(levels.sigma_min),
            sigma_max: Some(levels.sigma_max),
            rho: levels.rho,
            churn,
            guidance,
            ..AblationOptions::default()
        }),
    }
}

/// How often the network is evaluated for an image, guidance not counted.
fn evaluations(settings: &SampleSettings) -> u32 {
    match settings.solver {
        Solver::Heun => 2 * settings.steps - 1,
        Solver::Euler | Solver::DpmSolver2m => settings.steps,
    }
}

fn seed_text(settings: &SampleSettings) -> String {
    let ranges: Vec<String> = settings
        .seeds
        .iter()
        .map(|range| {
            if range.first == range.last {
                range.first.to_string()
            } else {
                format!("{}-{}", range.first, range.last)
            }
        })
        .collect();
    ranges.join(",")
}

/// Which class a seed's image has.
struct Classes {
    names: Vec<String>,
    choice: SampleLabels,
    /// Images of each class in the data set.
    counts: Vec<u64>,
}

impl Classes {
    fn new(job: &Job, settings: &SampleSettings, classes: i64) -> Result<Self, StageError> {
        match (classes > 0, settings.labels) {
            (true, SampleLabels::None) => return Err(SampleError::LabelsWanted { classes }.into()),
            (false, SampleLabels::Dataset | SampleLabels::Balanced) => {
                return Err(SampleError::LabelsUnwanted(settings.labels.name()).into());
            }
            _ => {}
        }
        if settings.guidance.is_some() && classes == 0 {
            return Err(SampleError::GuidanceUnwanted.into());
        }
        let trained = input(job, Kind::Train)?;
        debug_assert!(
            inputs(job, Kind::Train).count() == 1,
            "a sample stage reads one network"
        );
        Ok(Self {
            names: summary_of(trained, "class_names")?,
            choice: settings.labels,
            counts: summary_of(trained, "class_counts")?,
        })
    }

    /// The classes of the images of some seeds: a function of each seed alone.
    fn of(&self, seeds: &[u64]) -> Option<Vec<i64>> {
        let class = |seed: u64| match self.choice {
            SampleLabels::None => None,
            SampleLabels::Balanced => Some((seed % self.names.len() as u64) as i64),
            SampleLabels::Dataset => {
                let mut rest = Seed::new(seed)
                    .derive("class")
                    .stream()
                    .below(self.counts.iter().sum());
                self.counts
                    .iter()
                    .position(|&count| {
                        let inside = rest < count;
                        rest = rest.wrapping_sub(count);
                        inside
                    })
                    .map(|class| class as i64)
            }
        };
        seeds.iter().map(|&seed| class(seed)).collect()
    }
}
