//! A network to images, one a seed.

use std::collections::BTreeMap;

use patchwork_config::{
    Discretization, Kind, NoiseSchedule, Region, SampleLabels, SampleSettings, Scaling, Solver,
};
use patchwork_core::{Seed, durable};
use patchwork_dataset::grid::first_images_png;
use patchwork_dataset::{Row, ShardSet, ShardSetWriter, ShardSpec};
use patchwork_diffusion::latents::seeded_draws;
use patchwork_diffusion::patches::patch_positions;
use patchwork_diffusion::sampler::{
    AblationOptions, Churn, DpmSolverOptions, Guidance, HeunOptions, NoiseLevels, SamplerOptions,
    ablation, sample,
};
use patchwork_diffusion::{Conditioning, NetworkDenoiser, to_pixels};
use patchwork_networks::checkpoint::load_network;
use patchwork_pipeline::Outcome;
use patchwork_pipeline::protocol::{Job, JobInput, Progress};
use patchwork_pipeline::worker::{Context, StageError};
use serde_json::json;
use tch::{Device, Kind as Number, Tensor};

use crate::device;
use crate::job::{execution, input, inputs, settings, summary_of};
use crate::reconstruct::network_of_width;
use crate::train::{NETWORK_FILE, one_hot, snapshot_file};

/// The error of an average's profile, as a share, above which a person is told.
pub(crate) const WIDTH_ERROR: f64 = 0.1;

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
    #[error(
        "`labels = \"dataset\"` needs the data set's counts of each class, which this network does not come with; \
         set `labels = \"balanced\"`"
    )]
    NoCounts,
    #[error("`guidance` needs a class-conditional network trained with `label_dropout` above 0")]
    GuidanceUnwanted,
}

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let settings: SampleSettings = settings(job)?;
    let device = device::configure(&execution(job)?)?;
    let trained = input(job, Kind::Train)?;
    let file = network_file(&settings);
    let network = match settings.ema_width {
        None => load_network(&trained.folder.join(file), device)?,
        Some(width) => {
            let (network, error) = network_of_width(&trained.folder, &file, width, device)?;
            if error > WIDTH_ERROR {
                context.warn(format!(
                    "the average of `ema_width` = {width} is made with an error of {:.0} % of its profile; \
                     more `snapshot_images` in training make it closer",
                    100.0 * error
                ));
            }
            network
        }
    };
    let classes = Classes::new(job, &settings, network.config().label_dim)?;
    let precision = device::kind(settings.precision);
    let denoiser = NetworkDenoiser {
        precision,
        ..NetworkDenoiser::new(network.to_kind_copy(precision))
    };
    let region = settings.region.unwrap_or(Region {
        row: 0,
        column: 0,
        side: u32::try_from(network.config().img_resolution)
            .expect("a network's configuration is checked: sides are at most 65,536"),
    });
    let size = region.side as usize;
    let spec = ShardSpec {
        width: size,
        height: size,
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
            let pixels = draw(
                &denoiser,
                batch,
                labels.as_deref(),
                region,
                &options,
                device,
            );
            rows.extend(to_rows(batch, labels.as_deref(), &pixels, size));
            progress(writer.images() + rows.len() as u64);
        }
        writer.write_shard(rows, Vec::new())?;
    }
    writer.finish()?;
    write_grid(context, &settings)?;
    let summary = json!({
        "images": seeds.len(),
        "seeds": seed_text(&settings),
        "evaluations": evaluations(&settings),
        "images_seen": images_seen(trained, &settings)?,
    });
    Ok(Outcome::new(summary, Vec::new()))
}

fn network_file(settings: &SampleSettings) -> String {
    match settings.at_images {
        Some(images) => snapshot_file(images),
        None => NETWORK_FILE.to_owned(),
    }
}

/// None for a network that was not trained here.
fn images_seen(trained: &JobInput, settings: &SampleSettings) -> Result<Option<u64>, StageError> {
    match settings.at_images {
        Some(images) => Ok(Some(images)),
        None => summary_of(trained, "images_seen"),
    }
}

/// Draws a region of the images of some seeds.
///
/// # Shapes
/// - returns: `[seeds, height, width, 3]`, u8, on the CPU
pub(crate) fn draw(
    denoiser: &NetworkDenoiser,
    seeds: &[u64],
    labels: Option<&[i64]>,
    region: Region,
    options: &SamplerOptions,
    device: Device,
) -> Tensor {
    tch::no_grad(|| {
        let config = denoiser.network.config();
        let (whole, side) = (config.img_resolution, i64::from(region.side));
        let (latents, mut noise) = seeded_draws(
            seeds,
            config.img_channels,
            side,
            side,
            options.noisy_steps(),
        );
        let (row, column) = (i64::from(region.row), i64::from(region.column));
        let conditioning = Conditioning {
            positions: config.position_channels.then(|| {
                patch_positions(&[row], &[column], side, side, whole, whole).to_device(device)
            }),
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
    let guidance = settings.guidance.map(|scale| Guidance {
        scale,
        interval: settings.guidance_interval.map(|[low, high]| (low, high)),
    });
    let churn = Churn {
        amount: settings.s_churn,
        sigma_min: settings.s_min,
        sigma_max: settings.s_max.unwrap_or(f64::INFINITY),
        noise_scale: settings.s_noise,
    };
    let default = NoiseLevels::default();
    let levels = NoiseLevels {
        num_steps: settings.steps as usize,
        sigma_min: settings.sigma_min.unwrap_or(default.sigma_min),
        sigma_max: settings.sigma_max.unwrap_or(default.sigma_max),
        rho: settings.rho,
    };
    let solver = match settings.solver {
        Solver::Heun if settings.is_edm_process() => {
            return SamplerOptions::Heun(HeunOptions {
                levels,
                churn,
                guidance,
            });
        }
        Solver::DpmSolver2m => {
            return SamplerOptions::DpmSolver(DpmSolverOptions { levels, guidance });
        }
        Solver::Heun => ablation::Solver::Heun,
        Solver::Euler => ablation::Solver::Euler,
    };
    SamplerOptions::Ablation(AblationOptions {
        num_steps: levels.num_steps,
        solver,
        discretization: match settings.discretization {
            Discretization::Edm => ablation::Discretization::Edm,
            Discretization::Vp => ablation::Discretization::Vp,
            Discretization::Ve => ablation::Discretization::Ve,
            Discretization::Iddpm => ablation::Discretization::Iddpm,
        },
        schedule: match settings.schedule {
            NoiseSchedule::Linear => ablation::ScheduleKind::Linear,
            NoiseSchedule::Vp => ablation::ScheduleKind::Vp,
            NoiseSchedule::Ve => ablation::ScheduleKind::Ve,
        },
        scaling: match settings.scaling {
            Scaling::None => ablation::Scaling::None,
            Scaling::Vp => ablation::Scaling::Vp,
        },
        sigma_min: settings.sigma_min,
        sigma_max: settings.sigma_max,
        rho: levels.rho,
        churn,
        guidance,
        ..AblationOptions::default()
    })
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
        // A network that was not trained here comes without names and counts.
        let names: Option<Vec<String>> = summary_of(trained, "class_names")?;
        let counts: Option<Vec<u64>> = summary_of(trained, "class_counts")?;
        if counts.is_none() && settings.labels == SampleLabels::Dataset {
            return Err(SampleError::NoCounts.into());
        }
        Ok(Self {
            names: names.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect()),
            choice: settings.labels,
            counts: counts.unwrap_or_default(),
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
