//! The nearest of many features to a few: which training images a sample resembles most.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::MetricsError;
use crate::features::checked;

/// The nearest features to each of some queries, out of all that were offered so far.
#[derive(Debug)]
pub struct Neighbours {
    queries: Tensor,
    count: i64,
    /// `[queries, found]`, f64, ascending in each row.
    distances: Tensor,
    /// `[queries, found]`, i64.
    indices: Tensor,
    offered: i64,
}

impl Neighbours {
    /// Looks for the `count` nearest to each query.
    ///
    /// # Shapes
    /// - `queries`: `[queries, dimension]`
    pub fn new(queries: &Tensor, count: i64) -> Result<Self, MetricsError> {
        let queries = checked(queries, None)?;
        let rows = queries.size()[0];
        Ok(Self {
            distances: Tensor::empty([rows, 0], (Kind::Double, queries.device())),
            indices: Tensor::empty([rows, 0], (Kind::Int64, queries.device())),
            queries,
            count,
            offered: 0,
        })
    }

    /// Offers the next features; they are numbered in the order in which they are offered.
    ///
    /// # Shapes
    /// - `features`: `[n, dimension]`
    pub fn offer(&mut self, features: &Tensor) -> Result<(), MetricsError> {
        let features = checked(features, Some(self.queries.size()[1]))?;
        let (rows, count) = (self.queries.size()[0], features.size()[0]);
        // Differences, not products: near neighbours would be lost in the rounding of large norms.
        let distances = Tensor::cdist(&self.queries, &features, 2.0, 2);
        let indices = Tensor::arange_start(
            self.offered,
            self.offered + count,
            (Kind::Int64, features.device()),
        )
        .expand([rows, count], false);
        let distances = Tensor::cat(&[&self.distances, &distances], 1);
        let indices = Tensor::cat(&[&self.indices, &indices], 1);
        // Stable: of equal distances the first offered comes first.
        let (distances, order) = distances.sort_stable(true, 1, false);
        let kept = i64::min(self.count, distances.size()[1]);
        self.distances = distances.narrow(1, 0, kept);
        self.indices = indices.gather(1, &order.narrow(1, 0, kept), false);
        self.offered += count;
        Ok(())
    }

    /// How many features were offered.
    pub fn offered(&self) -> i64 {
        self.offered
    }

    /// The distances to the nearest of each query and their numbers, nearest first.
    pub fn found(&self) -> Vec<Vec<(f64, usize)>> {
        let found = self.distances.size()[1];
        (0..self.distances.size()[0])
            .map(|query| {
                (0..found)
                    .map(|place| {
                        let index = self.indices.int64_value(&[query, place]);
                        (self.distances.double_value(&[query, place]), index as usize)
                    })
                    .collect()
            })
            .collect()
    }

    /// What was found so far, by name.
    pub fn to_tensors(&self) -> BTreeMap<String, Tensor> {
        BTreeMap::from([
            ("distances".to_owned(), self.distances.contiguous()),
            ("indices".to_owned(), self.indices.contiguous()),
            ("offered".to_owned(), Tensor::from_slice(&[self.offered])),
        ])
    }

    /// Resumes from tensors that [`Neighbours::to_tensors`] made for the same queries.
    pub fn resume(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), MetricsError> {
        let tensor = |name: &str| {
            tensors
                .get(name)
                .map(Tensor::shallow_clone)
                .ok_or_else(|| MetricsError::State {
                    reason: format!("`{name}` is missing"),
                })
        };
        let (distances, indices) = (tensor("distances")?, tensor("indices")?);
        if distances.size() != indices.size()
            || distances.size().first() != self.queries.size().first()
        {
            return Err(MetricsError::State {
                reason: format!(
                    "distances of shape {:?} and indices of shape {:?} for {} queries",
                    distances.size(),
                    indices.size(),
                    self.queries.size()[0]
                ),
            });
        }
        self.offered = tensor("offered")?.int64_value(&[0]);
        self.distances = distances;
        self.indices = indices;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_found_whatever_the_parts_and_resumed() {
        let features = (Tensor::arange(60 * 3, (Kind::Float, tch::Device::Cpu)) * 1.7)
            .sin()
            .reshape([60, 3]);
        let queries = features.narrow(0, 20, 2) + 1e-3;
        let found = |parts: &[i64]| {
            let mut neighbours = Neighbours::new(&queries, 4).unwrap();
            let mut start = 0;
            for &part in parts {
                neighbours.offer(&features.narrow(0, start, part)).unwrap();
                start += part;
                let tensors = neighbours.to_tensors();
                neighbours = Neighbours::new(&queries, 4).unwrap();
                neighbours.resume(&tensors).unwrap();
            }
            assert_eq!(neighbours.offered(), 60);
            neighbours.found()
        };
        let whole = found(&[60]);
        assert_eq!(whole, found(&[1, 2, 30, 27]));
        assert_eq!((whole[0][0].1, whole[1][0].1), (20, 21));
        // By hand, against every feature.
        for (query, found) in whole.iter().enumerate() {
            let query = queries.get(query as i64);
            let mut all: Vec<f64> = (0..60)
                .map(|index| {
                    let difference = features.get(index) - &query;
                    difference.to_kind(Kind::Double).norm().double_value(&[])
                })
                .collect();
            all.sort_by(f64::total_cmp);
            for (place, (distance, _)) in found.iter().enumerate() {
                assert!((distance - all[place]).abs() < 1e-6);
            }
        }
        let few = {
            let mut neighbours = Neighbours::new(&queries, 4).unwrap();
            neighbours.offer(&features.narrow(0, 0, 3)).unwrap();
            neighbours.found()
        };
        assert_eq!(few[0].len(), 3);
    }
}
