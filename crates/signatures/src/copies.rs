//! Samples that are training images.

/// A sample is a near-copy whose nearest training image is at less than this share of the distance of the next one.
pub const NEAR_COPY: f64 = 0.5;

/// The share of near-copies above which they are reported.
const MOST_COPIES: f64 = 0.02;

/// How many of the samples in a search for neighbours are near-copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearCopies {
    /// Near-copies among them.
    pub copies: usize,
    /// Samples with two neighbours or more.
    pub samples: usize,
}

impl NearCopies {
    /// Counts them, by the distances of each sample's nearest training images, ascending. A sample with one
    /// neighbour does not count.
    pub fn count<'a>(neighbours: impl IntoIterator<Item = &'a [f64]>) -> Self {
        let mut found = Self::default();
        for distances in neighbours {
            if let [nearest, next, ..] = *distances {
                found.samples += 1;
                found.copies += usize::from(nearest < NEAR_COPY * next);
            }
        }
        found
    }

    /// The signature, where there are more than a few.
    pub fn signature(self) -> Option<String> {
        let Self { copies, samples } = self;
        (copies as f64 > MOST_COPIES * samples as f64).then(|| {
            format!(
                "near-copies among samples: {copies} of {samples} are nearer to one training image than half of the way to \
                 the next one; `neighbours.png` of the evaluation shows them"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_copies_are_counted_and_named() {
        let distances: [&[f64]; 4] = [&[0.1, 5.0, 6.0], &[4.0, 5.0], &[2.6, 5.0], &[0.1]];
        let found = NearCopies::count(distances);
        assert_eq!((found.copies, found.samples), (1, 3));
        assert!(found.signature().unwrap().contains("1 of 3"));
        let few = NearCopies {
            copies: 2,
            samples: 100,
        };
        assert_eq!(few.signature(), None);
        assert_eq!(NearCopies::default().signature(), None);
    }
}
