//! The random numbers of augmentation, in the order in which they are made.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

/// Where the draws come from; every call asks for `count` numbers.
pub trait AugmentDraws {
    /// Uniform in [0, 1).
    fn uniform(&mut self, count: usize) -> Vec<f64>;
    /// Standard normal.
    fn normal(&mut self, count: usize) -> Vec<f64>;
    /// Integers of `0..bound` with equal probability.
    fn integers(&mut self, bound: i64, count: usize) -> Vec<f64>;
}

/// Draws from libtorch's CPU generator, which the caller has seeded.
#[derive(Debug, Clone, Copy)]
pub struct GeneratorDraws;

impl AugmentDraws for GeneratorDraws {
    fn uniform(&mut self, count: usize) -> Vec<f64> {
        numbers(&Tensor::rand([count as i64], (Kind::Float, Device::Cpu)))
    }

    fn normal(&mut self, count: usize) -> Vec<f64> {
        numbers(&Tensor::randn([count as i64], (Kind::Float, Device::Cpu)))
    }

    fn integers(&mut self, bound: i64, count: usize) -> Vec<f64> {
        numbers(&Tensor::randint(
            bound,
            [count as i64],
            (Kind::Int64, Device::Cpu),
        ))
    }
}

/// The draws of some of a batch's images, which are a slice of those of the whole batch.
#[derive(Debug)]
pub struct PartDraws<D> {
    draws: D,
    images: usize,
    part: Range<usize>,
}

impl<D: AugmentDraws> PartDraws<D> {
    /// The draws of the images `part` of a batch of `images`, all of which `draws` draws for.
    pub fn new(draws: D, images: usize, part: Range<usize>) -> Self {
        Self {
            draws,
            images,
            part,
        }
    }

    /// Numbers for all images, several times over where an image takes several, and of those the part's.
    fn of_part(&mut self, count: usize, draw: impl FnOnce(&mut D, usize) -> Vec<f64>) -> Vec<f64> {
        let each = count.checked_div(self.part.len()).unwrap_or(0);
        let all = draw(&mut self.draws, each * self.images);
        all.chunks(self.images)
            .flat_map(|numbers| &numbers[self.part.clone()])
            .copied()
            .collect()
    }
}

impl<D: AugmentDraws> AugmentDraws for PartDraws<D> {
    fn uniform(&mut self, count: usize) -> Vec<f64> {
        self.of_part(count, D::uniform)
    }

    fn normal(&mut self, count: usize) -> Vec<f64> {
        self.of_part(count, D::normal)
    }

    fn integers(&mut self, bound: i64, count: usize) -> Vec<f64> {
        self.of_part(count, |draws, count| draws.integers(bound, count))
    }
}

fn numbers(draws: &Tensor) -> Vec<f64> {
    Vec::try_from(draws.to_kind(Kind::Double)).expect("a one-dimensional f64 tensor is a vector")
}

/// Draws that are followed by the draw that decides whether they count.
pub(super) struct Gated<'a> {
    draws: &'a mut dyn AugmentDraws,
    count: usize,
    probability: f64,
}

impl<'a> Gated<'a> {
    pub(super) fn new(draws: &'a mut dyn AugmentDraws, count: usize, probability: f64) -> Self {
        Self {
            draws,
            count,
            probability,
        }
    }

    /// One coin an image, 0 where the transformation does not apply.
    pub(super) fn coin(&mut self, multiplier: f64) -> Vec<f64> {
        let values = self.draws.integers(2, self.count);
        self.gate(values, self.probability * multiplier)
    }

    /// One number of quarter turns an image, 0 where the transformation does not apply.
    pub(super) fn quarter_turns(&mut self, multiplier: f64) -> Vec<f64> {
        let values = self.draws.integers(4, self.count);
        self.gate(values, self.probability * multiplier)
    }

    /// One normal number an image, 0 where the transformation does not apply.
    pub(super) fn normal(&mut self, multiplier: f64) -> Vec<f64> {
        let values = self.draws.normal(self.count);
        self.gate(values, self.probability * multiplier)
    }

    /// One angle in [-π, π) an image, 0 where the transformation does not apply.
    pub(super) fn angle(&mut self, multiplier: f64) -> Vec<f64> {
        let values = self.angles();
        self.gate(values, self.probability * multiplier)
    }

    /// Two numbers in [-1, 1) an image, both 0 where the transformation does not apply.
    pub(super) fn uniform_pair(&mut self, multiplier: f64) -> (Vec<f64>, Vec<f64>) {
        let uniform = self.draws.uniform(2 * self.count);
        let values = uniform.iter().map(|value| 2.0 * value - 1.0).collect();
        self.gate_pair(values, multiplier)
    }

    /// Two normal numbers an image, both 0 where the transformation does not apply.
    pub(super) fn normal_pair(&mut self, multiplier: f64) -> (Vec<f64>, Vec<f64>) {
        let values = self.draws.normal(2 * self.count);
        self.gate_pair(values, multiplier)
    }

    /// The first numbers of all images, then the second ones, gated together.
    fn gate_pair(&mut self, mut first: Vec<f64>, multiplier: f64) -> (Vec<f64>, Vec<f64>) {
        let mut second = first.split_off(self.count);
        let gates = self.draws.uniform(self.count);
        for (index, &gate) in gates.iter().enumerate() {
            if gate >= self.probability * multiplier {
                first[index] = 0.0;
                second[index] = 0.0;
            }
        }
        (first, second)
    }

    /// One normal number and one angle an image, drawn before either is gated; the angle by its own probability.
    pub(super) fn normal_and_angle(
        &mut self,
        multiplier: f64,
        angle_probability: f64,
    ) -> (Vec<f64>, Vec<f64>) {
        let values = self.draws.normal(self.count);
        let angles = self.angles();
        let values = self.gate(values, self.probability * multiplier);
        let angles = self.gate(angles, angle_probability);
        (values, angles)
    }

    fn angles(&mut self) -> Vec<f64> {
        let uniform = self.draws.uniform(self.count);
        uniform
            .iter()
            .map(|&value| (2.0 * value - 1.0) * std::f64::consts::PI)
            .collect()
    }

    fn gate(&mut self, mut values: Vec<f64>, probability: f64) -> Vec<f64> {
        let gates = self.draws.uniform(self.count);
        for (value, gate) in values.iter_mut().zip(gates) {
            if gate >= probability {
                *value = 0.0;
            }
        }
        values
    }
}

/// The labels of all images, one column after the other.
#[derive(Debug, Default)]
pub(super) struct Labels {
    columns: Vec<Vec<f64>>,
}

impl Labels {
    pub(super) fn push(&mut self, column: &[f64]) {
        self.columns.push(column.to_vec());
    }

    /// An angle is given as cos - 1 and sin: both zero where nothing turns, and no jump at π.
    pub(super) fn push_angle(&mut self, angles: &[f64]) {
        self.columns
            .push(angles.iter().map(|angle| angle.cos() - 1.0).collect());
        self.columns
            .push(angles.iter().map(|angle| angle.sin()).collect());
    }

    /// `[count, columns]`, f64.
    pub(super) fn into_tensor(self, count: usize) -> Tensor {
        if self.columns.is_empty() {
            return Tensor::zeros([count as i64, 0], (Kind::Double, Device::Cpu));
        }
        let columns: Vec<Tensor> = self
            .columns
            .iter()
            .map(|column| Tensor::from_slice(column))
            .collect();
        Tensor::stack(&columns, 1)
    }
}
