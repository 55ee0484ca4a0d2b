//! What a source holds, by a look at some of its images.

use std::fmt::Write;
use std::path::Path;

use patchwork_config::Override;
use patchwork_dataset::decode::FULL_DEPTH;
use patchwork_dataset::inspect::{Look, look};
use patchwork_dataset::shards::is_prepared;
use patchwork_dataset::source::{class_counts, classes_text};
use patchwork_dataset::{DatasetError, Source};
use patchwork_recipes::prepare::source::{Places, open_source};
use patchwork_recipes::{Stage, StageSettings, load_stage};
use patchwork_terms::{Format, Kind, Labels};
use serde_json::json;

use crate::error::CliError;

/// Images of a class, on the average, below which classes are no use to a network.
const LEAST_IMAGES_OF_A_CLASS: u64 = 4;

/// Few images, which a network soon knows by heart.
const FEW_IMAGES: usize = 100;

/// A source that was looked at.
pub(super) struct Findings {
    /// As a pipeline file names it.
    pub(super) source: String,
    /// As what it was recognised.
    pub(super) reading: String,
    /// How many images there are.
    pub(super) images: usize,
    /// What is not an image of the data set, in words; empty where there is nothing.
    pub(super) passed_over: String,
    /// What was seen of some images.
    pub(super) look: Look,
    /// The classes, or why there are none.
    pub(super) classes: Result<Classes, String>,
    warnings: Vec<String>,
}

/// Classes that a source gives its images.
pub(super) struct Classes {
    pub(super) labels: Labels,
    pub(super) names: Vec<String>,
    counts: Vec<u64>,
}

impl Classes {
    /// `2 classes: cat 6, dog 6`.
    pub(super) fn text(&self) -> String {
        classes_text(&self.names, &self.counts)
    }
}

impl Findings {
    /// Lists a source and reads some of its images. Digests are remembered in `home`, so that a run of the pipeline need not
    /// take them again.
    pub(super) fn of(named: &str, home: &Path) -> Result<Self, CliError> {
        if is_prepared(Path::new(named)) {
            return Err(CliError::PreparedAlready { path: named.into() });
        }
        let source = open(named, Labels::None, home)?;
        let look = look(source.as_ref()).map_err(unreadable)?;
        if let (Some((image, cause)), true) =
            (look.unusable.first(), look.unusable.len() == look.images)
        {
            return Err(CliError::NoUsableImage {
                source_name: named.to_owned(),
                looked_at: look.images,
                image: image.clone(),
                cause: cause.clone(),
            });
        }
        let account = source.account();
        let (classes, mut warnings) = classes_of(named, &account.format, home)?;
        warnings.splice(0..0, account.warnings.iter().cloned());
        Ok(Self {
            source: named.to_owned(),
            reading: account.reading(),
            images: source.len(),
            passed_over: account.passed_over.text(),
            look,
            classes,
            warnings,
        })
    }

    /// What a person reads of it, line by line.
    pub(super) fn report(&self) -> Vec<String> {
        let mut lines = vec![
            format!("`{}`: {}, {}", self.source, self.reading, self.count_text()),
            format!("sizes: {}", self.sizes_text()),
            match &self.classes {
                Ok(classes) => classes.text(),
                Err(problem) => format!("no classes: {problem}"),
            },
        ];
        let warnings = self.warnings.iter().cloned();
        let few = (self.images < FEW_IMAGES).then(|| {
            format!(
                "{} images are few: a network soon memorises them, and its samples resemble them",
                self.images
            )
        });
        let all = warnings.chain(self.unusable_text()).chain(few);
        lines.extend(all.map(|warning| format!("warning: {warning}")));
        lines
    }

    /// `12 images, 4 passed over (1 .csv, 3 hidden)`.
    pub(super) fn count_text(&self) -> String {
        match self.passed_over.as_str() {
            "" => format!("{} images", self.images),
            reasons => format!("{} images, passed over {reasons}", self.images),
        }
    }

    fn unusable_text(&self) -> Option<String> {
        let (image, cause) = self.look.unusable.first()?;
        Some(format!(
            "{} of the {} images that were looked at cannot be used, such as `{image}`: {cause}",
            self.look.unusable.len(),
            self.look.images
        ))
    }

    /// The shorter sides of the images that were looked at, ascending, in pixels.
    fn shorter_sides(&self) -> Vec<u32> {
        let sizes = self.look.sizes.iter();
        let mut sides: Vec<u32> = sizes
            .map(|&(width, height)| u32::min(width, height))
            .collect();
        sides.sort_unstable();
        sides
    }

    /// The median of the shorter sides, in pixels.
    pub(super) fn median_side(&self) -> u32 {
        let sides = self.shorter_sides();
        sides.get(sides.len() / 2).copied().unwrap_or_default()
    }

    /// `24 to 640 pixels (shorter side), median 480; 3 of 12 not square`.
    pub(super) fn sizes_text(&self) -> String {
        let sides = self.shorter_sides();
        let (Some(least), Some(most)) = (sides.first(), sides.last()) else {
            return "unknown".to_owned();
        };
        let mut text = if least == most {
            format!("shorter side {least} pixels")
        } else {
            format!(
                "shorter side {least} to {most} pixels, median {}",
                self.median_side()
            )
        };
        let sizes = &self.look.sizes;
        let not_square = sizes.iter().filter(|(width, height)| width != height);
        match not_square.count() {
            0 => text.push_str("; all square"),
            some => {
                let _ = write!(text, "; {some} of {} not square", sizes.len());
            }
        }
        text
    }

    /// The one size of all images that were looked at, width and height, where it is not square.
    pub(super) fn one_oblong_size(&self) -> Option<(u32, u32)> {
        let first = *self.look.sizes.first()?;
        let is_one = self.look.sizes.iter().all(|size| *size == first);
        (is_one && first.0 != first.1).then_some(first)
    }

    /// How many of the images that were looked at are smaller than a resolution.
    pub(super) fn enlarged_at(&self, resolution: u32) -> usize {
        let sides = self.shorter_sides();
        sides.iter().filter(|side| **side < resolution).count()
    }

    /// The bits of 16-bit samples that use less of their range.
    pub(super) fn depth(&self) -> Option<u32> {
        self.look.depth.unused(FULL_DEPTH)
    }
}

/// The settings of a prepare stage for a source.
pub(super) fn prepare_stage(
    source: &str,
    labels: Labels,
    resolution: u32,
) -> Result<Stage, CliError> {
    let settings = [
        format!("source={}", json!(source)),
        format!("resolution={resolution}"),
        format!("labels={}", json!(labels.name())),
    ]
    .map(|text| Override::set(&text));
    let single = load_stage(Kind::Prepare, Kind::Prepare.name(), None, &settings, &[])?;
    Ok(single.stage)
}

fn open(source: &str, labels: Labels, home: &Path) -> Result<Box<dyn Source>, CliError> {
    // Images are not scaled for a look: any resolution does.
    let stage = prepare_stage(source, labels, 64)?;
    let StageSettings::Prepare(settings) = &stage.settings else {
        unreachable!("it was read as the settings of a prepare stage")
    };
    open_source(settings, &Places::of_home(home), false).map_err(unreadable)
}

fn unreadable(error: DatasetError) -> CliError {
    CliError::Source(Box::new(error))
}

/// The classes of a source, or why it has none, with what a person should know of them.
fn classes_of(
    source: &str,
    format: &str,
    home: &Path,
) -> Result<(Result<Classes, String>, Vec<String>), CliError> {
    let candidates: &[Labels] = match Format::from_name(format) {
        Some(Format::Images) => &[Labels::Source, Labels::Folder],
        Some(Format::CelebA) => {
            let problem = "CelebA's attributes make classes by `labels = \"attributes\"`";
            return Ok((Err(problem.to_owned()), Vec::new()));
        }
        Some(Format::Lmdb) => &[],
        Some(_) => &[Labels::Source],
        None => &[Labels::Group],
    };
    let mut problem = "the format has none".to_owned();
    for &labels in candidates {
        let opened = match open(source, labels, home) {
            Ok(opened) => opened,
            Err(CliError::Source(error)) => {
                problem = match *error {
                    DatasetError::Setting { problem, .. } => problem,
                    other => other.to_string(),
                };
                continue;
            }
            Err(error) => return Err(error),
        };
        let classes = Classes {
            labels,
            names: opened.class_names().to_vec(),
            counts: class_counts(opened.as_ref()),
        };
        match no_use(&classes) {
            None => return Ok((Ok(classes), opened.account().warnings.clone())),
            Some(reason) => problem = reason,
        }
    }
    Ok((Err(problem), Vec::new()))
}

/// Why classes are of no use to a network.
fn no_use(classes: &Classes) -> Option<String> {
    let filled = classes.counts.iter().filter(|images| **images > 0).count() as u64;
    let images: u64 = classes.counts.iter().sum();
    if filled < 2 {
        return Some("all images are of one class".to_owned());
    }
    if images < filled * LEAST_IMAGES_OF_A_CLASS {
        return Some(format!(
            "{images} images in {filled} folders or classes are too few for classes"
        ));
    }
    is_a_numbering(&classes.names).then(|| {
        format!(
            "the folders `{}`, `{}`, … look like parts of a numbering, not like classes",
            classes.names[0], classes.names[1]
        )
    })
}

/// Whether names are numbers of one width in equal steps above one: `00000`, `01000`, as large sets of images are laid out.
fn is_a_numbering(names: &[String]) -> bool {
    let is_wide = names.iter().all(|name| {
        name.len() >= 3
            && name.len() == names[0].len()
            && name.bytes().all(|byte| byte.is_ascii_digit())
    });
    let numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    if !is_wide || numbers.len() != names.len() || numbers.len() < 2 {
        return false;
    }
    let step = numbers[1].wrapping_sub(numbers[0]);
    step > 1
        && numbers
            .windows(2)
            .all(|pair| pair[1].wrapping_sub(pair[0]) == step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str], counts: &[u64]) -> Classes {
        Classes {
            labels: Labels::Folder,
            names: names.iter().map(|&name| name.to_owned()).collect(),
            counts: counts.to_vec(),
        }
    }

    #[test]
    fn classes_are_distinguished_from_folders_that_are_none() {
        for (names, counts, word) in [
            (&["cat", "dog"][..], &[6, 6][..], None),
            (&["0", "1", "2"], &[9, 9, 9], None),
            (&["2023", "2024"], &[40, 60], None),
            (&["cat"], &[6], Some("one class")),
            (&["cat", "dog"], &[6, 0], Some("one class")),
            (&["a", "b", "c"], &[1, 2, 1], Some("too few")),
            (
                &["00000", "01000", "02000"],
                &[1000, 1000, 7],
                Some("numbering"),
            ),
        ] {
            let found = no_use(&classes(names, counts));
            assert_eq!(found.is_some(), word.is_some(), "{names:?}: {found:?}");
            assert!(found.unwrap_or_default().contains(word.unwrap_or_default()));
        }
    }
}
