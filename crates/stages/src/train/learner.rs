//! What training changes: network, optimiser, averages and position. A checkpoint holds all of it.

use std::collections::BTreeMap;

use patchwork_artifacts::worker::StageError;
use patchwork_diffusion::{DiffusionError, StepReport, TrainStep};
use patchwork_networks::checkpoint::{AVERAGE_PREFIX, TRAINED_PREFIX};
use patchwork_networks::{Network, NetworkConfig, NetworkError};
use tch::{Device, Tensor};

use super::checkpoint_file::{Checkpoint, OPTIMIZER_PREFIX, State};
use super::position::Position;
use super::setup::{check_surroundings, reads_other_labels};

/// A network in training, and where its training stands.
pub(super) struct Learner {
    /// Network, optimiser, averages and clock: the tensors of a checkpoint.
    pub(super) step: TrainStep,
    /// Everything else of a checkpoint.
    pub(super) state: State,
}

impl Learner {
    /// A training of `duration_images` before its first step.
    pub(super) fn new(step: TrainStep, duration_images: u64) -> Self {
        Self {
            step,
            state: State::new(duration_images),
        }
    }

    /// The training clock.
    pub(super) fn images_seen(&self) -> u64 {
        self.state.position.images_seen
    }

    /// Takes in what a step reports: training stands at `next`.
    pub(super) fn advance(&mut self, next: Position, report: &StepReport) {
        let state = &mut self.state;
        if report.loss.is_finite() {
            state.curve.add(state.position.images_seen, report);
            let side = report.side.side();
            state.range.add(side, report.pixel_loss());
        }
        state.position = Position {
            images_seen: report.images_seen_after,
            ..next
        };
    }

    fn network(&self) -> &Network {
        &self.step.denoiser.network
    }

    /// The settings of the network.
    pub(super) fn config(&self) -> &NetworkConfig {
        self.network().config()
    }

    /// Elements of all trained tensors.
    pub(super) fn parameter_count(&self) -> usize {
        let parameters = self.network().parameters();
        let elements = parameters.iter().map(|parameter| parameter.tensor.numel());
        elements.sum()
    }

    /// A network of its own, on the CPU, with the weights of the average of this index.
    pub(super) fn averaged_network(&self, index: usize) -> Result<Network, NetworkError> {
        let network = Network::new(self.config(), Device::Cpu, 0)?;
        let mut tensors = self.step.averages[index].named_views();
        tensors.extend(self.buffers());
        network.load(&tensors)?;
        Ok(network)
    }

    /// All tensors of a checkpoint, as views.
    pub(super) fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors: Vec<(String, Tensor)> = self
            .network()
            .named_tensors()
            .into_iter()
            .map(|entry| (format!("{TRAINED_PREFIX}{}", entry.name), entry.tensor))
            .collect();
        for (index, average) in self.step.averages.iter().enumerate() {
            let prefix = average_prefix(index);
            let views = average.named_views().into_iter();
            tensors.extend(views.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        tensors.extend(self.step.optimizer.state());
        tensors
    }

    /// Takes weights, averages and moments from a checkpoint; the state stays.
    pub(super) fn load_tensors(&mut self, checkpoint: &Checkpoint) -> Result<(), StageError> {
        // Those that are not trained are missing in checkpoints of earlier versions.
        let mut tensors = self.buffers();
        tensors.extend(checkpoint.tensors(TRAINED_PREFIX)?);
        self.network().load(&tensors)?;
        drop(tensors);
        for (index, average) in self.step.averages.iter_mut().enumerate() {
            average.load(&checkpoint.tensors(&average_prefix(index))?)?;
        }
        let state = checkpoint.tensors_under(OPTIMIZER_PREFIX)?;
        self.step.optimizer.load_state(&state)?;
        Ok(())
    }

    /// Takes in what another process has trained: the `tensors` that [`Learner::tensors`] gave, which have its values, and
    /// its state.
    pub(super) fn take_in(
        &mut self,
        tensors: Vec<(String, Tensor)>,
        state: State,
    ) -> Result<(), DiffusionError> {
        let of_optimizer = tensors.into_iter();
        let of_optimizer = of_optimizer.filter(|(name, _)| name.starts_with(OPTIMIZER_PREFIX));
        self.step.optimizer.load_state(&of_optimizer.collect())?;
        self.set_state(state);
        Ok(())
    }

    /// Sets the state and the clock that goes with it.
    pub(super) fn set_state(&mut self, state: State) {
        self.step.clock.images_seen = state.position.images_seen;
        self.state = state;
    }

    /// In what a checkpoint is of another network or of other averages, as far as its weights do not tell.
    pub(super) fn unlikeness(
        &self,
        checkpoint: &Checkpoint,
    ) -> Result<Option<String>, NetworkError> {
        // The settings are missing in checkpoints of earlier versions, whose labels were other ones.
        let given = checkpoint.network_config()?;
        let other_labels = match &given {
            Some(given) => reads_other_labels(given, self.config()),
            None => self.config().blit_labels.is_some(),
        };
        let surroundings = given.map_or(Ok(()), |given| check_surroundings(&given, self.config()));
        if let Err(problem) = surroundings {
            return Ok(Some(problem));
        }
        if other_labels {
            let problem = "its augmentation labels of quarter turns and whole shifts have another meaning \
                           (`blit_labels` of its network); `init_from` takes its weights without those that read them";
            return Ok(Some(problem.to_owned()));
        }
        let averages = self.step.averages.len();
        let others = checkpoint.tensors_under(&average_prefix(averages))?;
        Ok((!others.is_empty()).then(|| format!("it has more averages than {averages}")))
    }

    /// The tensors of the network that are not trained: filters and frequencies, the same in all its copies.
    fn buffers(&self) -> BTreeMap<String, Tensor> {
        let buffers = self.network().buffers().into_iter();
        buffers.map(|buffer| (buffer.name, buffer.tensor)).collect()
    }
}

/// What the names of an average's tensors begin with in a checkpoint.
fn average_prefix(index: usize) -> String {
    match index {
        0 => AVERAGE_PREFIX.to_owned(),
        _ => format!("ema.{index}/"),
    }
}
