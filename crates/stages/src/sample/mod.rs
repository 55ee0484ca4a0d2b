//! A network to images, one a seed, in shards that resume by their range of seeds.

mod classes;
mod export;
mod image_sampler;
pub(crate) mod memory;
mod options;
mod path;
mod starts;

use std::collections::BTreeMap;

use patchwork_artifacts::Outcome;
use patchwork_artifacts::event::Progress;
use patchwork_artifacts::protocol::{Job, JobInput};
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::durable;
use patchwork_dataset::grid::first_images_png;
use patchwork_dataset::{Row, ShardSet, ShardSpec};
use patchwork_networks::checkpoint::load_network;
use patchwork_networks::{Network, NetworkConfig};
use patchwork_recipes::{Execution, SampleJob, SampleSettings, SeedRange};
use patchwork_terms::Kind;
use serde_json::{Value, json};
use tch::{Device, Tensor};

use crate::decoder::{Decoder, DecoderPlace};
use crate::device;
use crate::ema_width::network_of_width;
use crate::job::{input, summary_of};
use crate::shared_set::SharedSet;
use crate::shares::{Shares, done_in_all, no_outcome};
use crate::train::{BEST_FILE, NETWORK_FILE, snapshot_file};
pub(crate) use classes::Classes;
pub use image_sampler::{ImageSampler, NotFinite};
pub(crate) use options::sampler_options;
use starts::Start;

/// The error of an average's profile, as a share, above which a warning is logged.
pub(crate) const WIDTH_ERROR: f64 = 0.1;

const GIBIBYTE: f64 = (1_u64 << 30) as f64;

pub(crate) fn run(job: &Job, context: &Context) -> Result<Outcome, StageError> {
    let SampleJob { covered, uncovered } = SampleJob::read(job)?;
    let (settings, execution, places) = (covered.settings, uncovered.execution, uncovered.places);
    let device = device::configure(&execution)?;
    let trained = input(job, Kind::Train)?;
    let network = network(trained, &settings, device, context)?;
    let classes = Classes::of_stage(job, &settings, network.config().label_dim, context)?;
    check_region(&settings, network.config())?;
    let shares = Shares::join(job, context, &execution)?;
    let decoder = DecoderPlace::of(job, places.decoder_files.as_deref(), &execution);
    let decoder = decoder.open(network.config(), device, context)?;
    let tile_pixels = decoder.as_ref().and_then(Decoder::tile_pixels);
    let sampler = ImageSampler::new(
        &network,
        device::kind(settings.precision),
        settings.region,
        sampler_options(&settings),
        device,
    )
    .decoded_by(decoder);
    drop(network);
    let images = Images {
        sampler: &sampler,
        classes: &classes,
        settings: &settings,
    };
    sample_all(&images, job, shares, &execution, context)?;
    if !job.is_first() {
        return Ok(no_outcome());
    }
    write_grid(context, &settings)?;
    path::write_pictures(&settings, context)?;
    export::write_export(settings.export, context)?;
    let images_seen = images_seen(trained, &settings)?;
    let mut summary = json!({
        "report": format!(
            "{} images of seeds {}, {} evaluations of the network each",
            settings.images(),
            seed_text(&settings.seeds),
            options::evaluations(&settings),
        ),
        "images": settings.images(),
        "seeds": seed_text(&settings.seeds),
        "evaluations": options::evaluations(&settings),
        "images_seen": images_seen,
    });
    if let Some(pixels) = tile_pixels {
        summary["decoded_in_tiles_of_pixels"] = json!(pixels);
    }
    Ok(Outcome::new(summary, Vec::new()))
}

/// The network that the settings mean, of those that a training kept.
fn network(
    trained: &JobInput,
    settings: &SampleSettings,
    device: Device,
    context: &Context,
) -> Result<Network, StageError> {
    let file = match settings.at_images {
        Some(images) => snapshot_file(images),
        None if settings.best_snapshot => BEST_FILE.to_owned(),
        None => NETWORK_FILE.to_owned(),
    };
    let Some(width) = settings.ema_width else {
        return Ok(load_network(&trained.folder.join(file), device)?);
    };
    let (network, error) = network_of_width(&trained.folder, &file, width, device)?;
    if error > WIDTH_ERROR {
        context.warn(format!(
            "the average of `ema_width` = {width} is made with an error of {:.0} % of its profile; \
             more `snapshot_images` in training make it closer",
            100.0 * error
        ));
    }
    Ok(network)
}

/// A region that the network cannot sample.
#[derive(Debug, thiserror::Error)]
#[error("`region` {0}")]
struct NoRegion(String);

/// Settings are checked against those of training before a run; here against the network, which may come from elsewhere.
fn check_region(settings: &SampleSettings, config: &NetworkConfig) -> Result<(), NoRegion> {
    if settings.region.is_some() && config.latents.is_some() {
        let problem = "is for networks of pixels, and this one makes latents";
        return Err(NoRegion(problem.to_owned()));
    }
    let size = [config.width(), config.height()].map(|side| side as u32);
    let problem = settings
        .region
        .and_then(|region| region.problem(config.position_channels, size.into(), config.levels()));
    problem.map_or(Ok(()), |problem| Err(NoRegion(problem)))
}

/// None for a network that was not trained here.
fn images_seen(trained: &JobInput, settings: &SampleSettings) -> Result<Option<u64>, StageError> {
    match settings.at_images {
        Some(images) => Ok(Some(images)),
        None if settings.best_snapshot => {
            let best: Value = summary_of(trained, "best")?;
            Ok(best["images_seen"].as_u64())
        }
        None => summary_of(trained, "images_seen"),
    }
}

/// The images that are sampled.
struct Images<'a> {
    sampler: &'a ImageSampler,
    classes: &'a Classes,
    settings: &'a SampleSettings,
}

/// Samples every seed's image into the shards that are not there yet; beside rank 0 into those of a share.
fn sample_all(
    images: &Images<'_>,
    job: &Job,
    shares: Shares<'_>,
    execution: &Execution,
    context: &Context,
) -> Result<(), StageError> {
    let Images {
        sampler,
        classes,
        settings,
    } = *images;
    let spec = shard_spec(images, job, context)?;
    let total = settings.images() as usize;
    let mut set = SharedSet::open(context.artifact(), spec, total, shares.is_first())?;
    // They decode as it was noted, and write where it was cleared up.
    shares.open()?;
    let missing = set.missing();
    let resumed = missing.present;
    let progress = |own: usize| {
        context.progress(Progress {
            done: done_in_all(shares.membership(), own, resumed, total) as u64,
            total: total as u64,
            resumed: resumed as u64,
            unit: "images".to_owned(),
            note: String::new(),
        });
    };
    progress(0);
    let own = missing.of(shares.membership());
    if !own.is_empty() {
        let batch_size = batch_size(sampler, settings, execution, context);
        let mut sampled = 0;
        for shard in own {
            let range = set.rows(shard);
            let starts: Vec<Start> = starts::starts(settings)
                .skip(range.start)
                .take(range.len())
                .collect();
            let mut rows: Vec<Row> = Vec::with_capacity(starts.len());
            for batch in starts.chunks(batch_size) {
                if context.is_interrupted() {
                    return Err(StageError::Interrupted);
                }
                let seeds: Vec<u64> = batch.iter().map(Start::nearer_seed).collect();
                let labels = classes.of((range.start + rows.len()) as u64, &seeds);
                let images = sampler.sample_from(batch, labels.as_deref())?;
                rows.extend(to_rows(batch, labels.as_deref(), &images));
                sampled += batch.len();
                progress(sampled);
            }
            set.write(shard, rows)?;
        }
    }
    if !shares.is_first() {
        return Ok(());
    }
    shares.wait_until(|| set.is_complete())?;
    Ok(set.finish()?)
}

/// The shards that the images are written into.
fn shard_spec(images: &Images<'_>, job: &Job, context: &Context) -> Result<ShardSpec, StageError> {
    let Images {
        sampler,
        classes,
        settings,
    } = *images;
    let mut spec = ShardSpec {
        width: sampler.width(),
        height: sampler.height(),
        channels: sampler.channels()?,
        images_per_shard: settings.images_per_shard as usize,
        class_names: classes.names().to_vec(),
        metadata: BTreeMap::from([("source".to_owned(), "samples".to_owned())]),
    };
    // Planning sees to it, but for a network that was not trained here.
    let images_per_shard = usize::min(spec.images_per_shard, spec.most_images_per_shard());
    if images_per_shard < spec.images_per_shard && job.is_first() {
        context.warn(format!(
            "`images_per_shard` = {} is more than a shard holds of images of {} x {} pixels: it is {images_per_shard}",
            spec.images_per_shard, spec.width, spec.height
        ));
    }
    spec.images_per_shard = images_per_shard;
    Ok(spec)
}

/// The batch that was asked for, or what fits into memory of it.
fn batch_size(
    sampler: &ImageSampler,
    settings: &SampleSettings,
    execution: &Execution,
    context: &Context,
) -> usize {
    let wished = settings.batch_size;
    if execution.device != "cpu" {
        return wished as usize;
    }
    let limit = execution
        .memory_gib
        .map(|gibibytes| (gibibytes * GIBIBYTE) as u64);
    let Some(free) = memory::free_bytes(limit) else {
        return wished as usize;
    };
    let free = free / u64::from(execution.ranks_here());
    let multiple = sampler.images_multiple();
    let noise = sampler.noise_bytes();
    let fitting = memory::fitting_batch(wished, multiple, free, noise, |images| {
        sampler.try_out(images);
    });
    if fitting < wished {
        context.warn(format!(
            "`batch_size` = {wished} does not fit into {:.1} GiB of free memory: sampling {fitting} images at once; \
             the images are the same",
            free as f64 / GIBIBYTE
        ));
    }
    fitting as usize
}

fn to_rows(starts: &[Start], labels: Option<&[i64]>, images: &Tensor) -> Vec<Row> {
    let [height, width] = [2, 3].map(|dimension: usize| {
        u16::try_from(images.size()[dimension])
            .expect("a shard set's sides fit 16 bits, as its writer checked")
    });
    let pixels = images.permute([0, 2, 3, 1]).contiguous().flatten(0, -1);
    let bytes = Vec::<u8>::try_from(pixels).expect("a flat tensor of bytes is a vector of bytes");
    starts
        .iter()
        .zip(bytes.chunks_exact(bytes.len() / starts.len()))
        .enumerate()
        .map(|(position, (start, pixels))| Row {
            key: start.to_string(),
            label: labels.map(|labels| labels[position] as u32),
            pixels: pixels.to_vec(),
            source_width: width,
            source_height: height,
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

/// The seeds as they are typed: `0-9,100`.
fn seed_text(seeds: &[SeedRange]) -> String {
    let ranges: Vec<String> = seeds.iter().map(SeedRange::to_string).collect();
    ranges.join(",")
}
