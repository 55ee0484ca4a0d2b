//! Whether a step of training fits into memory, before the first one.
//!
//! What a step takes on the CPU is measured: forward and backward on one image a lane and on three, at the largest side, by
//! the process's own high-water mark. The difference is what an image takes, whatever the network and its number type
//! are. On a GPU, whose memory libtorch does not tell, a round of the real size is tried.

use patchwork_artifacts::failure::says_out_of_memory;
use patchwork_artifacts::resources;
use patchwork_core::Seed;
use patchwork_diffusion::patches::SideShare;
use patchwork_diffusion::{PatchSides, Round, Side, TrainStep};
use tch::{Device, Kind, Tensor};

use super::failures::caught;

/// Images of the two trials, for each part that a round is shared out in.
const TRIALS: [u64; 2] = [1, 3];

/// A training that would not fit.
#[derive(Debug, thiserror::Error)]
pub(super) enum TooLarge {
    #[error(
        "a step takes about {:.1} GiB ({images} images of {size} at once, {:.0} MiB each), and {} {:.1} GiB; {}",
        gibibytes(*.needed_bytes), .image_bytes / f64::from(1 << 20), .limit, gibibytes(*.limit_bytes), .remedy
    )]
    Host {
        images: u64,
        size: String,
        image_bytes: f64,
        needed_bytes: u64,
        limit: &'static str,
        limit_bytes: u64,
        remedy: String,
    },
    #[error(
        "{images} images of {size} at once do not fit into the memory of the device: {remedy} (libtorch: {reason})"
    )]
    Device {
        images: u64,
        size: String,
        remedy: String,
        /// What libtorch said of the first trial.
        reason: String,
    },
}

/// What a step takes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    /// Whatever the number of images.
    base_bytes: f64,
    /// For each image of a round.
    image_bytes: f64,
}

impl Estimate {
    fn bytes(self, images: u64) -> u64 {
        (self.base_bytes + self.image_bytes * images as f64) as u64
    }
}

/// The images of a step, and what of them a rank computes at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    /// Images of all ranks, in all rounds.
    pub(super) images: u64,
    /// Processes that share each round.
    pub(super) ranks: u64,
}

impl Batch {
    /// Patches of a rank in one of so many rounds, where as many are of each image.
    fn of_round(self, rounds: u64, patches: u64) -> u64 {
        (self.images / rounds * patches).div_ceil(self.ranks)
    }

    /// The numbers of rounds from `least` up that the settings accept: each rank has an image in every round.
    fn accumulations(self, least: u64) -> impl Iterator<Item = u64> {
        let Self { images, ranks } = self;
        (least..=images / ranks).filter(move |rounds| images.is_multiple_of(*rounds))
    }
}

/// Refuses a training whose step does not fit, in `rounds` rounds, where as many `processes` of the machine train alike.
///
/// Weights, averages and moments stay as they are.
pub(super) fn check(
    step: &mut TrainStep,
    sides: &PatchSides,
    batch: Batch,
    rounds: u64,
    processes: u32,
    memory_gib: Option<f64>,
) -> Result<(), TooLarge> {
    // They ascend, and as many pixels at a larger side take no less.
    let used = |share: &&SideShare| share.probability > 0.0;
    let Some(side) = sides.shares().iter().rfind(used).map(|share| share.side) else {
        return Ok(());
    };
    let of_round = |rounds| batch.of_round(rounds, side.multiplier as u64);
    if step.optimizer.values().device() != Device::Cpu {
        let attempt = |images| try_out(|| try_round(step, images, side));
        return judge_by_trial(&size(side), batch, of_round, rounds, attempt);
    }
    let Some(estimate) = estimate(step, side) else {
        return Ok(());
    };
    let resident = resources::memory().map_or(0, |memory| memory.resident_bytes);
    let of_each = |bytes: u64| bytes / u64::from(processes);
    let free = resources::free_memory_bytes().map(|free| of_each(free) + resident);
    let allowed = memory_gib.map(|gibibytes| of_each((gibibytes * f64::from(1 << 30)) as u64));
    let limits = [
        free.map(|bytes| (bytes, "there are")),
        allowed.map(|bytes| (bytes, "`memory_gib` allows")),
    ];
    match limits.into_iter().flatten().min() {
        Some((limit_bytes, limit)) => judge(
            estimate,
            &size(side),
            batch,
            of_round,
            rounds,
            limit,
            limit_bytes,
        ),
        None => Ok(()),
    }
}

fn judge(
    estimate: Estimate,
    size: &str,
    batch: Batch,
    of_round: impl Fn(u64) -> u64,
    rounds: u64,
    limit: &'static str,
    limit_bytes: u64,
) -> Result<(), TooLarge> {
    let images = of_round(rounds);
    let needed_bytes = estimate.bytes(images);
    if needed_bytes <= limit_bytes {
        return Ok(());
    }
    let mut choices = batch.accumulations(rounds);
    let fitting = choices.find(|rounds| estimate.bytes(of_round(*rounds)) <= limit_bytes);
    let remedy = if let Some(rounds) = fitting {
        format!(
            "set `gradient_accumulation` = {rounds} (about {:.1} GiB), or lower `batch_size`",
            gibibytes(estimate.bytes(of_round(rounds)))
        )
    } else {
        let most = batch.accumulations(1).last().unwrap_or(1);
        let least = gibibytes(estimate.bytes(of_round(most)));
        format!("one image at a time takes {least:.1} GiB: choose a smaller network")
    };
    Err(TooLarge::Host {
        images,
        size: size.to_owned(),
        image_bytes: estimate.image_bytes,
        needed_bytes,
        limit,
        limit_bytes,
        remedy,
    })
}

/// The same, of a device on which `attempt` tries so many images at once and says what libtorch said where they do not fit.
fn judge_by_trial(
    size: &str,
    batch: Batch,
    of_round: impl Fn(u64) -> u64,
    rounds: u64,
    mut attempt: impl FnMut(u64) -> Result<(), String>,
) -> Result<(), TooLarge> {
    let images = of_round(rounds);
    let Err(reason) = attempt(images) else {
        return Ok(());
    };
    let mut choices = batch.accumulations(rounds + 1);
    let fitting = choices.find(|rounds| attempt(of_round(*rounds)).is_ok());
    let remedy = match fitting {
        Some(rounds) => format!("set `gradient_accumulation` = {rounds}, or lower `batch_size`"),
        None => "one image at a time does not either; choose a smaller network".to_owned(),
    };
    Err(TooLarge::Device {
        images,
        size: size.to_owned(),
        remedy,
        reason,
    })
}

/// Forward and backward of so many images.
fn try_round(step: &mut TrainStep, images: u64, side: Side) {
    step.begin();
    step.accumulate(&blank(step, images as i64, side), side);
    step.begin();
}

/// Whether memory suffices for `work`: otherwise libtorch's message. Any other panic of `work` is passed on.
fn try_out(work: impl FnOnce()) -> Result<(), String> {
    caught(work).map_err(|panic| {
        if says_out_of_memory(&panic) {
            first_line(&panic)
        } else {
            panic!("{panic}")
        }
    })
}

/// libtorch's messages continue with a trace of its own functions.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// A size of patches in words.
fn size(side: Side) -> String {
    if side.height == side.width {
        format!("side {}", side.side())
    } else {
        format!("{} x {} pixels", side.width, side.height)
    }
}

/// None where the system tells nothing.
fn estimate(step: &mut TrainStep, side: Side) -> Option<Estimate> {
    let trials = TRIALS.map(|images| images * step.lanes() as u64);
    let mut peaks = [0.0; TRIALS.len()];
    for (peak, images) in peaks.iter_mut().zip(trials) {
        try_round(step, images, side);
        *peak = resources::memory()?.peak_bytes as f64;
    }
    let image_bytes = (peaks[1] - peaks[0]) / (trials[1] - trials[0]) as f64;
    // Untouched so far: Adam's two moments; taken in each update: one more buffer.
    let untouched = 3.0 * 4.0 * step.optimizer.layout().elements() as f64;
    Some(Estimate {
        base_bytes: peaks[0] - image_bytes * trials[0] as f64 + untouched,
        image_bytes,
    })
}

/// So many black images without noise.
pub(super) fn blank(step: &TrainStep, images: i64, side: Side) -> Round {
    let config = step.denoiser.network.config();
    let device = step.optimizer.values().device();
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, device));
    let labels = |width: i64| (width > 0).then(|| zeros(&[images, width]));
    let patches = zeros(&[images, config.img_channels, side.height, side.width]);
    Round {
        noise: patches.zeros_like(),
        patches,
        rows: vec![0; images as usize],
        cols: vec![0; images as usize],
        class_labels: labels(config.label_dim),
        augment_labels: labels(config.augment_dim),
        rnd_normal: zeros(&[images]),
        dropout_seed: Some(Seed::new(0)),
        first_image: 0,
    }
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn refusal(images: u64, rounds: u64, limit_gib: u64) -> Option<String> {
        refusal_of(Batch { images, ranks: 1 }, rounds, limit_gib)
    }

    fn refusal_of(batch: Batch, rounds: u64, limit_gib: u64) -> Option<String> {
        let estimate = Estimate {
            base_bytes: GIB as f64,
            image_bytes: GIB as f64 / 8.0,
        };
        let limit = limit_gib * GIB;
        let judged = judge(
            estimate,
            "side 64",
            batch,
            |rounds| batch.of_round(rounds, 1),
            rounds,
            "there are",
            limit,
        );
        judged.err().map(|error| error.to_string())
    }

    #[test]
    fn the_remedy_is_the_least_accumulation_that_fits() {
        assert_eq!(refusal(96, 1, 13), None);
        assert_eq!(
            refusal(96, 1, 6).unwrap(),
            "a step takes about 13.0 GiB (96 images of side 64 at once, 128 MiB each), and there are 6.0 GiB; \
             set `gradient_accumulation` = 3 (about 5.0 GiB), or lower `batch_size`"
        );
        assert_eq!(refusal(96, 3, 6), None);
        assert!(
            refusal(96, 1, 1)
                .unwrap()
                .ends_with("one image at a time takes 1.1 GiB: choose a smaller network")
        );
    }

    #[test]
    fn the_remedy_is_one_that_the_settings_accept() {
        let batch = Batch {
            images: 96,
            ranks: 5,
        };
        // 2 GiB are 8 images: a rank has 20 at once, and 7 of a third; in more than 19 rounds there are too few for five.
        let said = refusal_of(batch, 1, 2).unwrap();
        assert!(
            said.starts_with("a step takes about 3.5 GiB (20 images"),
            "{said}"
        );
        assert!(
            said.contains("`gradient_accumulation` = 3 (about 1.9 GiB)"),
            "{said}"
        );
        let said = refusal_of(batch, 1, 1).unwrap();
        assert!(
            said.ends_with("takes 1.2 GiB: choose a smaller network"),
            "{said}"
        );
        assert_eq!(batch.accumulations(1).last(), Some(16));
    }

    #[test]
    fn on_a_device_the_remedy_is_found_by_trial() {
        let refusal = |rounds, most| {
            let batch = Batch {
                images: 96,
                ranks: 1,
            };
            let of_round = |rounds| batch.of_round(rounds, 1);
            let judged = judge_by_trial("side 64", batch, of_round, rounds, |images| {
                let tried = (images <= most).then_some(());
                tried.ok_or_else(|| format!("no room for {images}"))
            });
            judged.err().map(|error| error.to_string())
        };
        assert_eq!(refusal(2, 48), None);
        assert_eq!(
            refusal(1, 40).unwrap(),
            "96 images of side 64 at once do not fit into the memory of the device: set `gradient_accumulation` = 3, or \
             lower `batch_size` (libtorch: no room for 96)"
        );
        assert!(
            refusal(1, 0)
                .unwrap()
                .contains("choose a smaller network (libtorch: ")
        );
    }

    #[test]
    fn only_a_lack_of_memory_is_survived() {
        assert_eq!(try_out(|| ()), Ok(()));
        let tried = try_out(|| {
            panic!("CUDA out of memory. Tried to allocate 2.00 GiB\nException raised from malloc")
        });
        assert_eq!(
            tried,
            Err("CUDA out of memory. Tried to allocate 2.00 GiB".to_owned())
        );
        let other = caught(|| try_out(|| panic!("CUDA error: an illegal memory access")));
        assert_eq!(
            other,
            Err("CUDA error: an illegal memory access".to_owned())
        );
    }
}
