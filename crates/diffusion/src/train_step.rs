//! One step of training: rounds of forward and backward, then one update of weights, averages and clock.
//!
//! Source: EDM (arXiv 2206.00364), Appendix F.2, with the patches of Patch Diffusion, Algorithm 1.

use patchwork_networks::{Features, Gradients};
use tch::{Device, Kind, Tensor};

use crate::fast_paths::{FastPath, FastPaths};
use crate::flat::are_finite;
use crate::graphs::GraphedRounds;
use crate::lanes::{LaneThreads, Lanes};
use crate::loss::LossOptions;
use crate::replica::{self, Replica, ReplicaGradients};
use crate::round::{Round, StepShare, back_propagate};
use crate::{Adam, AdamOptions, Ema, EmaProfile, LearningRate, NetworkDenoiser, Side, StepPlan};

/// The clock of training: images seen, all ranks together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageClock {
    /// Images in a step before the patch multiplier, all ranks together.
    pub batch_size: u64,
    /// Images seen so far.
    pub images_seen: u64,
}

impl ImageClock {
    /// Counts one step: the product of batch and multiplier, truncated.
    pub fn advance(&mut self, images_multiplier: f64) {
        self.images_seen += (self.batch_size as f64 * images_multiplier) as u64;
    }
}

/// What training needs to know beside the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainOptions {
    /// Images of a step before the patch multiplier, all accumulation rounds and all ranks together.
    pub batch_size: i64,
    /// Factor on the loss for half precision; 1 for none.
    pub loss_scaling: f64,
    /// The learning rate.
    pub learning_rate: LearningRate,
    /// Largest norm of the gradients; absent for no limit, as in the papers.
    pub max_gradient_norm: Option<f64>,
    /// The distribution of noise levels and the weight.
    pub loss: LossOptions,
    /// Adam's constants.
    pub adam: AdamOptions,
    /// How the threads of a CPU share a round.
    pub lanes: Lanes,
    /// Which fast paths are taken.
    pub fast_paths: FastPaths,
}

/// The loss of one image of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageLoss {
    /// Its noise level.
    pub sigma: f64,
    /// Its weighted loss, summed over channels, mean over pixels.
    pub loss: f64,
}

/// What one step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// Loss summed over pixels and channels, mean over the images of the step, loss scaling undone.
    pub loss: f64,
    /// Norm of the cleaned gradients before clipping, loss scaling undone.
    pub gradient_norm: f64,
    /// Share of the gradients' elements that were NaN or infinite.
    pub cleaned_share: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// Weight of the old average in the step, for each average.
    pub ema_betas: Vec<f64>,
    /// The patch side of the step.
    pub side: Side,
    /// The clock after the step.
    pub images_seen_after: u64,
    /// The losses of the step's images.
    pub image_losses: Vec<ImageLoss>,
    /// Norm of the update over the norm of the weights, if [`TrainStep::measures_update`] was set.
    pub update_ratio: Option<f64>,
}

impl StepReport {
    /// The loss of a pixel, which sides can be compared by.
    pub fn pixel_loss(&self) -> f64 {
        self.loss / self.side.pixels() as f64
    }
}

/// What forward and backward run on.
enum Workplace {
    /// A copy for the calling thread.
    Copy(Box<Replica>),
    /// A copy for the calling thread, whose work is started by graphs.
    Graphs(Box<(GraphedRounds, Replica)>),
    /// Copies, each with a thread of its own.
    Lanes(LaneThreads),
}

impl Workplace {
    /// The gradients that lie beside the optimiser's.
    fn gradients(&mut self) -> Vec<&mut ReplicaGradients> {
        match self {
            Workplace::Copy(replica) => vec![replica.gradients()],
            Workplace::Graphs(graphed) => vec![graphed.1.gradients()],
            Workplace::Lanes(lanes) => lanes.gradients().collect(),
        }
    }
}

/// How the features are computed with.
fn features(paths: FastPaths) -> Features {
    if paths.has(FastPath::FusedNormalization) {
        Features::FusedNormalization
    } else if paths.has(FastPath::ChannelsLast) {
        Features::ChannelsLast
    } else {
        Features::Plain
    }
}

/// A network in training with its optimiser, its averages and its clock.
pub struct TrainStep {
    /// The network under training.
    pub denoiser: NetworkDenoiser,
    /// The optimiser, which holds the network's parameters.
    pub optimizer: Adam,
    /// The averages of the weights.
    pub averages: Vec<Ema>,
    /// Images seen.
    pub clock: ImageClock,
    /// Whether a step's report has its [`StepReport::update_ratio`], which takes a copy of the weights.
    pub measures_update: bool,
    options: TrainOptions,
    /// The weights that forward and backward run on below float32.
    compute_values: Option<Tensor>,
    workplace: Workplace,
    /// Whether a round has begun and failed.
    is_round_open: bool,
    loss_sum: Tensor,
    /// Noise levels and losses of the images so far, `[n]` each, for every round.
    image_losses: Vec<(Tensor, Tensor)>,
    /// The place of the first of these images in the whole step.
    first_image: u64,
}

impl TrainStep {
    /// Prepares training from the network's weights; the averages start there too.
    ///
    /// # Panics
    /// With libtorch's words where fast paths are not for the network's device.
    pub fn new(
        denoiser: NetworkDenoiser,
        options: TrainOptions,
        averages: &[EmaProfile],
        clock: ImageClock,
    ) -> Self {
        let denoiser = NetworkDenoiser {
            network: denoiser.network.with_features(features(options.fast_paths)),
            ..denoiser
        };
        let mut optimizer = Adam::new(denoiser.network.parameters(), options.adam);
        if options.fast_paths.has(FastPath::FusedAdam) {
            optimizer = optimizer.fused();
        }
        let averages = averages
            .iter()
            .map(|&profile| Ema::new(profile, optimizer.layout(), optimizer.values()))
            .collect();
        let device = optimizer.values().device();
        let compute_values = replica::compute_values(&denoiser, &optimizer);
        let values = compute_values.as_ref();
        let mut replica = |gradients| Replica::new(&denoiser, &mut optimizer, values, gradients);
        let workplace = if options.lanes.count > 1 && device == Device::Cpu {
            Workplace::Lanes(LaneThreads::start(options.lanes, replica))
        } else if options.fast_paths.has(FastPath::Graphs) {
            let rounds = GraphedRounds::new(device).unwrap_or_else(|error| panic!("{error}"));
            Workplace::Graphs(Box::new((rounds, replica(Gradients::Shared))))
        } else {
            Workplace::Copy(Box::new(replica(Gradients::Shared)))
        };
        Self {
            workplace,
            is_round_open: false,
            compute_values,
            denoiser,
            optimizer,
            averages,
            clock,
            measures_update: false,
            options,
            loss_sum: Tensor::zeros([], (Kind::Float, device)),
            image_losses: Vec::new(),
            first_image: 0,
        }
    }

    /// Whether weights, moments and averages have no element that is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        let averages = self.averages.iter().map(Ema::values);
        are_finite(self.optimizer.buffers().into_iter().chain(averages))
    }

    /// Parts that a round is shared out in.
    pub fn lanes(&self) -> usize {
        match &self.workplace {
            Workplace::Lanes(lanes) => lanes.count(),
            Workplace::Copy(_) | Workplace::Graphs(_) => 1,
        }
    }

    /// One whole step: `batch` gives the images and draws of each round for the plan's side.
    ///
    /// When `batch` fails, no weight, average or clock has changed.
    pub fn run<E>(
        &mut self,
        plan: StepPlan,
        rounds: usize,
        mut batch: impl FnMut(usize, Side) -> Result<Round, E>,
    ) -> Result<StepReport, E> {
        self.begin();
        for round in 0..rounds {
            let round = batch(round, plan.side)?;
            self.accumulate(&round, plan.side);
        }
        Ok(self.finish(plan))
    }

    /// Forgets the gradients of an earlier step.
    pub fn begin(&mut self) {
        self.optimizer.zero_grad();
        if std::mem::take(&mut self.is_round_open) {
            for gradients in self.workplace.gradients() {
                gradients.forget();
            }
        }
        let _ = self.loss_sum.zero_();
        if let Some(values) = &mut self.compute_values {
            tch::no_grad(|| values.copy_(self.optimizer.values()));
        }
        self.image_losses.clear();
    }

    /// Adds the gradients of one round. With several ranks, [`TrainStep::reduce`] belongs between the last round and
    /// [`TrainStep::finish`].
    ///
    /// # Panics
    /// With libtorch's errors, such as a lack of memory.
    pub fn accumulate(&mut self, round: &Round, side: Side) {
        self.is_round_open = true;
        if self.image_losses.is_empty() {
            self.first_image = round.first_image;
        }
        let share = StepShare {
            side,
            images: self.options.batch_size * side.multiplier,
            loss_scaling: self.options.loss_scaling,
            loss: self.options.loss,
        };
        let losses = match &mut self.workplace {
            Workplace::Copy(replica) => vec![back_propagate(replica.denoiser(), round, &share)],
            Workplace::Graphs(graphed) => {
                let (rounds, replica) = &mut **graphed;
                vec![rounds.back_propagate(replica.denoiser(), round, &share)]
            }
            Workplace::Lanes(lanes) => lanes.back_propagate(round, &share),
        };
        for loss in losses {
            self.loss_sum += loss.scalar;
            self.image_losses.push((loss.sigma, loss.images));
        }
        self.optimizer.gather();
        for gradients in self.workplace.gradients() {
            gradients.hand_over(&mut self.optimizer);
        }
        self.is_round_open = false;
    }

    /// Adds up the gradients and losses of all ranks, each of which has accumulated a part of the step's images: in the end
    /// all have those of the whole step.
    ///
    /// `sum` replaces a float32 tensor, contiguous and of the same shape on every rank, by its sum over the ranks. It is
    /// called twice: with all gradients in one buffer, and with the losses.
    pub fn reduce<E>(
        &mut self,
        side: Side,
        mut sum: impl FnMut(&mut Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        sum(self.optimizer.gradients())?;
        // Each image's numbers at its own place, zeros elsewhere.
        let images = self.options.batch_size * side.multiplier;
        let mut numbers = Tensor::zeros([1 + 2 * images], (Kind::Float, self.loss_sum.device()));
        let (sigmas, losses): (Vec<Tensor>, Vec<Tensor>) = self.image_losses.drain(..).unzip();
        let place = |part: i64| 1 + part * images + self.first_image as i64;
        tch::no_grad(|| {
            numbers.get(0).copy_(&self.loss_sum);
            for (part, own) in [(0, sigmas), (1, losses)] {
                if !own.is_empty() {
                    let own = Tensor::cat(&own, 0);
                    numbers.narrow(0, place(part), own.size()[0]).copy_(&own);
                }
            }
        });
        sum(&mut numbers)?;
        tch::no_grad(|| self.loss_sum.copy_(&numbers.get(0)));
        let of_all = |part: i64| numbers.narrow(0, 1 + part * images, images);
        self.image_losses.push((of_all(0), of_all(1)));
        Ok(())
    }

    /// Updates weights, averages and clock from the accumulated gradients.
    pub fn finish(&mut self, plan: StepPlan) -> StepReport {
        let seen = self.clock.images_seen;
        let learning_rate = self.options.learning_rate.at(seen);
        let gradients = self
            .optimizer
            .clean(self.options.max_gradient_norm, self.options.loss_scaling);
        let before = self
            .measures_update
            .then(|| self.optimizer.values().detach().copy());
        self.optimizer.update(learning_rate);
        let update_ratio = before.map(|mut before| {
            tch::no_grad(|| {
                let norm = before.norm();
                before -= self.optimizer.values();
                before.norm() / norm
            })
        });
        let step_images = self.clock.batch_size as f64 * plan.images_multiplier;
        let ema_betas = self
            .averages
            .iter_mut()
            .map(|average| average.update(self.optimizer.values(), seen, step_images))
            .collect();
        self.clock.advance(plan.images_multiplier);
        let scalars = [
            self.loss_sum.to_kind(Kind::Double) / self.options.loss_scaling,
            gradients.norm,
            gradients.cleaned_share,
        ];
        let (sigmas, losses): (Vec<Tensor>, Vec<Tensor>) = self.image_losses.drain(..).unzip();
        let measured = update_ratio.is_some();
        // One transfer for all numbers: each would wait for the device.
        let numbers: Vec<Tensor> = scalars
            .into_iter()
            .chain(update_ratio)
            .chain(sigmas)
            .chain(losses)
            .map(|tensor| tensor.to_kind(Kind::Double).reshape([-1]))
            .collect();
        let numbers = Vec::<f64>::try_from(Tensor::cat(&numbers, 0).to_device(tch::Device::Cpu))
            .expect("a flat tensor of doubles is a vector of doubles");
        let (scalars, of_images) = numbers.split_at(3 + usize::from(measured));
        let (sigmas, losses) = of_images.split_at(of_images.len() / 2);
        StepReport {
            loss: scalars[0],
            gradient_norm: scalars[1],
            cleaned_share: scalars[2],
            learning_rate,
            ema_betas,
            side: plan.side,
            images_seen_after: self.clock.images_seen,
            image_losses: sigmas
                .iter()
                .zip(losses)
                .map(|(&sigma, &loss)| ImageLoss { sigma, loss })
                .collect(),
            update_ratio: measured.then(|| scalars[3]),
        }
    }
}
