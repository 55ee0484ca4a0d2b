//! What images start from: the noise of a seed, or what lies between the noise of two.

use std::fmt;

use patchwork_recipes::SampleSettings;

/// What an image starts from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Start {
    pub(super) seed: u64,
    /// The seed that it is on the way to, and the share of the way, above 0 and below 1.
    pub(super) towards: Option<(u64, f64)>,
}

impl Start {
    pub(super) fn of_seed(seed: u64) -> Self {
        Self {
            seed,
            towards: None,
        }
    }

    /// The seed that it is nearer to, which says its class.
    pub(super) fn nearer_seed(&self) -> u64 {
        match self.towards {
            Some((seed, share)) if share > 0.5 => seed,
            _ => self.seed,
        }
    }
}

/// Its name among the images: `7`, or `3-7 at 0.250`.
impl fmt::Display for Start {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.towards {
            None => write!(formatter, "{}", self.seed),
            Some((seed, share)) => write!(formatter, "{}-{seed} at {share:.4}", self.seed),
        }
    }
}

/// What the images of a sample stage start from, in their order.
pub(super) fn starts(settings: &SampleSettings) -> Box<dyn Iterator<Item = Start> + '_> {
    let seeds = || (settings.seeds.iter()).flat_map(|range| range.first..=range.last);
    let Some(images) = settings.interpolate else {
        return Box::new(seeds().map(Start::of_seed));
    };
    let steps = u64::from(images) - 1;
    let between = seeds().zip(seeds().skip(1)).flat_map(move |(seed, next)| {
        (1..=steps).map(move |step| {
            if step == steps {
                return Start::of_seed(next);
            }
            Start {
                seed,
                towards: Some((next, step as f64 / steps as f64)),
            }
        })
    });
    Box::new(seeds().take(1).map(Start::of_seed).chain(between))
}

#[cfg(test)]
mod tests {
    use patchwork_recipes::StageSettings;
    use patchwork_terms::Kind;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_way_goes_through_every_seed() {
        let settings = |value| match StageSettings::from_json(Kind::Sample, value).unwrap() {
            StageSettings::Sample(settings) => settings,
            other => panic!("{other:?}"),
        };
        let way = settings(json!({"seeds": ["3-3", "7-8"], "interpolate": 3}));
        let names: Vec<String> = starts(&way).map(|start| start.to_string()).collect();
        assert_eq!(names, ["3", "3-7 at 0.5000", "7", "7-8 at 0.5000", "8"]);
        assert_eq!(way.images(), 5);
        let nearer: Vec<u64> = starts(&way).map(|start| start.nearer_seed()).collect();
        assert_eq!(nearer, [3, 3, 7, 7, 8]);
        let plain = settings(json!({"seeds": ["3-3", "7-8"]}));
        let names: Vec<String> = starts(&plain).map(|start| start.to_string()).collect();
        assert_eq!((names.join(" "), plain.images()), ("3 7 8".to_owned(), 3));
    }
}
