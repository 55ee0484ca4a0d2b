//! Which class the image of a seed has.

use patchwork_artifacts::Manifest;
use patchwork_artifacts::protocol::{Job, JobInput};
use patchwork_artifacts::worker::{Context, StageError};
use patchwork_core::Seed;
use patchwork_recipes::SampleSettings;
use patchwork_terms::{Kind, SampleLabels};

use crate::data::TrainingData;
use crate::job::{input, summary_of};

/// Settings that a sample stage cannot go with, given its network.
#[derive(Debug, thiserror::Error)]
enum ClassError {
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
    #[error("`classes` names `{class}`, which is not a class of the network: {known}")]
    NoSuchClass { class: String, known: String },
    #[error("`guidance` needs a class-conditional network trained with `label_dropout` above 0")]
    GuidanceUnwanted,
}

/// The classes of the seeds' images.
pub(crate) struct Classes {
    names: Vec<String>,
    choice: SampleLabels,
    /// Images of each class in the data set.
    counts: Vec<u64>,
    /// Classes that take turns, whatever the choice is; may be empty.
    in_turn: Vec<i64>,
}

impl Classes {
    /// The classes that a sample stage samples of a network of so many, by its settings.
    pub(super) fn of_stage(
        job: &Job,
        settings: &SampleSettings,
        classes: i64,
        context: &Context,
    ) -> Result<Self, StageError> {
        let trained = input(job, Kind::Train)?;
        let label_dropout = label_dropout(trained)?;
        let is_named = !settings.classes.is_empty();
        match (classes > 0, settings.labels) {
            (true, _) if is_named => {}
            (false, _) if is_named => return Err(ClassError::LabelsUnwanted("classes").into()),
            // A network of which nobody knows is taken for one that always had its class, as most have.
            (true, SampleLabels::None) if label_dropout.unwrap_or(0.0) == 0.0 => {
                return Err(ClassError::LabelsWanted { classes }.into());
            }
            (false, SampleLabels::Dataset | SampleLabels::Balanced) => {
                return Err(ClassError::LabelsUnwanted(settings.labels.name()).into());
            }
            _ => {}
        }
        if settings.guidance.is_some()
            && let Some(warning) = check_guidance(classes, label_dropout)?
        {
            context.warn(warning);
        }
        // A network that was not trained here comes without names and counts.
        let names: Option<Vec<String>> = summary_of(trained, "class_names")?;
        let counts: Option<Vec<u64>> = summary_of(trained, "class_counts")?;
        if counts.is_none() && settings.labels == SampleLabels::Dataset {
            return Err(ClassError::NoCounts.into());
        }
        let names = names.unwrap_or_else(|| (0..classes).map(|class| class.to_string()).collect());
        let in_turn = (settings.classes.iter())
            .map(|class| number_of(class, &names))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            names,
            choice: settings.labels,
            counts: counts.unwrap_or_default(),
            in_turn,
        })
    }

    /// The classes of a data set, each as often as it occurs; none for an unconditional network.
    pub(crate) fn of_data(data: &TrainingData, class_conditional: bool) -> Self {
        Self {
            names: data.class_names().to_vec(),
            choice: if class_conditional {
                SampleLabels::Dataset
            } else {
                SampleLabels::None
            },
            counts: data.label_counts(),
            in_turn: Vec::new(),
        }
    }

    /// The classes' names, by label.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The classes of the images of some seeds, the first of which is the image at `first` of all; none where no class is
    /// sampled.
    ///
    /// Classes that were named take turns by the place of the image; all others are a function of the seed alone.
    pub(crate) fn of(&self, first: u64, seeds: &[u64]) -> Option<Vec<i64>> {
        if !self.in_turn.is_empty() {
            let turn = |place: u64| self.in_turn[(place % self.in_turn.len() as u64) as usize];
            return Some((first..).take(seeds.len()).map(turn).collect());
        }
        seeds.iter().map(|&seed| self.class(seed)).collect()
    }

    fn class(&self, seed: u64) -> Option<i64> {
        match self.choice {
            SampleLabels::None => None,
            SampleLabels::Balanced => Some((seed % self.names.len() as u64) as i64),
            SampleLabels::Dataset => {
                let mut stream = Seed::new(seed).derive("class").stream();
                let mut rest = stream.below(self.counts.iter().sum());
                let class = self.counts.iter().position(|&count| {
                    let inside = rest < count;
                    rest = rest.wrapping_sub(count);
                    inside
                });
                class.map(|class| class as i64)
            }
        }
    }
}

/// The number of a class that is named, or that stands there as a number.
fn number_of(class: &str, names: &[String]) -> Result<i64, ClassError> {
    const SHOWN: usize = 20;
    let by_name = names.iter().position(|name| name == class);
    let by_number = || class.parse().ok().filter(|number| *number < names.len());
    if let Some(number) = by_name.or_else(by_number) {
        return Ok(number as i64);
    }
    let mut known = names[..usize::min(names.len(), SHOWN)].join(", ");
    if names.len() > SHOWN {
        known.push_str(", …");
    }
    Err(ClassError::NoSuchClass {
        class: class.to_owned(),
        known,
    })
}

/// How often a network was trained without its class, so that it samples without one; not known of a network that was not
/// trained here.
fn label_dropout(trained: &JobInput) -> Result<Option<f64>, StageError> {
    let settings = Manifest::read(&trained.folder)?.settings;
    Ok(settings["label_dropout"].as_f64())
}

/// Guidance leads away from what a network samples without a class, which it has to have learnt. Settings are checked
/// against those of training before a run; here against the network, which may be external. Gives a warning where
/// it cannot be known.
fn check_guidance(
    classes: i64,
    label_dropout: Option<f64>,
) -> Result<Option<&'static str>, ClassError> {
    match label_dropout {
        Some(share) if classes > 0 && share > 0.0 => Ok(None),
        None if classes > 0 => Ok(Some(
            "`guidance` is right only for a network that was trained with `label_dropout` above 0, which a network's \
             file does not record: of any other the images mean nothing",
        )),
        _ => Err(ClassError::GuidanceUnwanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(choice: SampleLabels, seeds: std::ops::Range<u64>) -> Vec<usize> {
        let classes = Classes {
            names: ["a", "b", "c"].map(str::to_owned).to_vec(),
            choice,
            counts: vec![600, 0, 200],
            in_turn: Vec::new(),
        };
        let seeds: Vec<u64> = seeds.collect();
        let sampled = classes.of(0, &seeds).unwrap();
        // A seed's class does not depend on the seeds beside it.
        assert_eq!(classes.of(7, &seeds[7..]).unwrap(), sampled[7..]);
        (0..3)
            .map(|class| sampled.iter().filter(|&&sampled| sampled == class).count())
            .collect()
    }

    #[test]
    fn guidance_needs_a_network_that_learnt_to_sample_without_a_class() {
        assert_eq!(check_guidance(3, Some(0.1)).unwrap(), None);
        assert!(check_guidance(3, None).unwrap().is_some());
        for (classes, label_dropout) in [(3, Some(0.0)), (0, Some(0.0)), (0, None)] {
            assert!(check_guidance(classes, label_dropout).is_err());
        }
    }

    #[test]
    fn named_classes_take_turns_by_place() {
        let names = ["cat", "dog", "7"].map(str::to_owned);
        let number = |class: &str| number_of(class, &names).ok();
        assert_eq!(
            ["cat", "1", "7", "2", "3", "owl"].map(number),
            [Some(0), Some(1), Some(2), Some(2), None, None]
        );
        let classes = Classes {
            names: names.to_vec(),
            choice: SampleLabels::None,
            counts: Vec::new(),
            in_turn: vec![2, 0],
        };
        assert_eq!(classes.of(0, &[9, 9, 4]).unwrap(), [2, 0, 2]);
        assert_eq!(classes.of(3, &[4, 5]).unwrap(), [0, 2]);
    }

    #[test]
    fn classes_come_evenly_or_as_in_the_data() {
        assert_eq!(share(SampleLabels::Balanced, 30..3030), [1000, 1000, 1000]);
        let [first, none, last] = share(SampleLabels::Dataset, 0..4000)[..] else {
            panic!("three classes")
        };
        assert_eq!(none, 0);
        assert_eq!(first + last, 4000);
        assert!((2900..3100).contains(&first), "{first}");
    }
}
