//! The images and the draws of a step, as a function of (seed, position).

use patchwork_config::TrainSettings;
use patchwork_core::Seed;
use patchwork_dataset::{DatasetError, Order, PatchRequest, PatchSize, ShardSet};
use patchwork_diffusion::loss::drop_labels;
use patchwork_diffusion::{Round, Side};
use tch::{Device, Kind, Tensor};

use super::checkpoint::Position;

/// Makes the batches of a run.
pub(crate) struct Batches<'a> {
    data: &'a ShardSet,
    order: Order,
    seed: Seed,
    batch_size: u64,
    mirror_probability: f64,
    /// The number of classes and the share of withheld labels, for a conditional network.
    labels: Option<(i64, f64)>,
    device: Device,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(
        data: &'a ShardSet,
        settings: &TrainSettings,
        seed: Seed,
        device: Device,
    ) -> Self {
        Self {
            data,
            order: Order::new(data.len() as u64, seed.derive("order")),
            seed,
            batch_size: settings.batch_size.into(),
            mirror_probability: settings.mirror_probability,
            labels: settings
                .class_conditional
                .then_some((data.class_names().len() as i64, settings.label_dropout)),
            device,
        }
    }

    /// The uniform number that chooses the patch side of a step.
    pub(crate) fn side_draw(&self, step: u64) -> f64 {
        self.seed.derive("side").at(step).stream().uniform()
    }

    /// The images of a step, cropped, with all its noise.
    pub(crate) fn round(&self, position: &Position, side: Side) -> Result<Round, DatasetError> {
        let requests = self.requests(position, side);
        let count = requests.len() as i64;
        let size = PatchSize::square(side.side as usize);
        let mut values = vec![0.0; requests.len() * size.values()];
        self.data.gather(&requests, size, &mut values)?;
        let shape = [count, self.data.channels() as i64, side.side, side.side];
        let patches = Tensor::from_slice(&values)
            .reshape(shape)
            .to_device(self.device);

        tch::manual_seed(
            self.seed
                .derive("noise")
                .at(position.step)
                .value()
                .cast_signed(),
        );
        let float = (Kind::Float, Device::Cpu);
        let rnd_normal = Tensor::randn([count], float).to_device(self.device);
        let noise = Tensor::randn(shape, float).to_device(self.device);
        let class_labels = self.labels.map(|(classes, dropout)| {
            let labels: Vec<i64> = requests
                .iter()
                .map(|request| self.data.label(request.index).map_or(-1, i64::from))
                .collect();
            let one_hot = one_hot(&labels, classes);
            drop_labels(&one_hot, &Tensor::rand([count], float), dropout).to_device(self.device)
        });
        Ok(Round {
            patches,
            rows: requests.iter().map(|request| request.row as i64).collect(),
            cols: requests
                .iter()
                .map(|request| request.column as i64)
                .collect(),
            class_labels,
            augment_labels: None,
            rnd_normal,
            noise,
            dropout_seed: Some(
                self.seed
                    .derive("dropout")
                    .at(position.step)
                    .value()
                    .cast_signed(),
            ),
        })
    }

    /// Which images, and where the patches lie: corners uniform on the integers of `0..=R - s`.
    fn requests(&self, position: &Position, side: Side) -> Vec<PatchRequest> {
        let mut draws = self.seed.derive("patches").at(position.step).stream();
        let count = self.batch_size * side.multiplier as u64;
        let rows = (self.data.height() - side.side as usize + 1) as u64;
        let columns = (self.data.width() - side.side as usize + 1) as u64;
        (0..count)
            .map(|offset| PatchRequest {
                index: self.order.index_at(position.images_drawn + offset) as usize,
                row: draws.below(rows) as usize,
                column: draws.below(columns) as usize,
                mirrored: draws.uniform() < self.mirror_probability,
            })
            .collect()
    }
}

/// One row a label with a 1 at the class; an image without a class (-1) gets zeros.
///
/// # Shapes
/// - returns: `[labels, classes]`, f32
pub(crate) fn one_hot(labels: &[i64], classes: i64) -> Tensor {
    let classes = Tensor::arange(classes, (Kind::Int64, Device::Cpu));
    Tensor::from_slice(labels)
        .unsqueeze(1)
        .eq_tensor(&classes.unsqueeze(0))
        .to_kind(Kind::Float)
}
