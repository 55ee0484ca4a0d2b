//! Which patches a training cuts out of the images of its data set, and the coordinates that its network gets with them.

use patchwork_core::Seed;
use patchwork_dataset::grid::grid_png;
use patchwork_dataset::{DatasetError, PatchRequest, PatchSize, PatchStream, ShardSet, Share};
use patchwork_registry::RunDetail;
use patchwork_terms::{PatchPart, patch_shares};
use serde::Serialize;

use crate::recorded;

/// Images that are shown.
const IMAGES: u64 = 24;
/// Images in a line of the sheet.
const COLUMNS: usize = 8;

/// What decides where a training's patches lie, as the registry has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Training {
    /// The run.
    pub(crate) run: String,
    /// The stage.
    pub(crate) stage: String,
    /// The root of the run's randomness.
    pub(crate) seed: u64,
    /// The share of steps on whole images.
    pub(crate) full_image_ratio: f64,
    /// The patch sizes of the other steps.
    pub(crate) patch_sizes: Vec<PatchPart>,
    /// The share of images that are mirrored.
    pub(crate) mirror_probability: f64,
    /// Whether images are augmented before patches are cut out of them.
    pub(crate) is_augmented: bool,
    /// Whether the network gets the coordinates.
    pub(crate) position_channels: bool,
}

impl Training {
    /// The training of a run that reads the images of the stage with this fingerprint.
    pub(crate) fn of(run: &RunDetail, fingerprint: &str) -> Option<Self> {
        let source = run
            .stages
            .iter()
            .find(|stage| stage.fingerprint == fingerprint)?;
        let needs = recorded::needs(run);
        let stage = run.stages.iter().find(|stage| {
            let inputs = needs.get(&stage.name);
            stage.kind == "train" && inputs.is_some_and(|inputs| inputs.contains(&source.name))
        })?;
        let setting = |name: &str| recorded::setting(run, &stage.name, name);
        let number = |name: &str| setting(name)?.parse::<f64>().ok();
        Some(Self {
            run: run.run.name.clone(),
            stage: stage.name.clone(),
            seed: setting("seed")?.parse().ok()?,
            full_image_ratio: number("full_image_ratio")?,
            patch_sizes: match setting("patch_sizes") {
                Some(sizes) => serde_json::from_str(sizes).ok()?,
                None => PatchPart::ALL.to_vec(),
            },
            mirror_probability: number("mirror_probability")?,
            is_augmented: number("augment_probability").is_some_and(|share| share > 0.0),
            position_channels: setting("position_channels") != Some("false"),
        })
    }
}

/// A patch size of a training, and how often it is used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Size {
    /// Columns, and but for the whole of an image that is not square, lines.
    pub(crate) width: usize,
    /// Lines.
    pub(crate) height: usize,
    /// The share of steps.
    pub(crate) probability: f64,
}

/// A patch within an image as training sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Patch {
    /// The first column.
    pub(crate) left: usize,
    /// The first line.
    pub(crate) top: usize,
    /// Columns.
    pub(crate) width: usize,
    /// Lines.
    pub(crate) height: usize,
    /// The first and the last value of the coordinate channel of columns, of -1 to 1 over the whole image.
    pub(crate) x: [f64; 2],
    /// The same of lines.
    pub(crate) y: [f64; 2],
}

/// An image, and the patch of each size that training takes from it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Cut {
    /// The image's number in the set.
    pub(crate) image: usize,
    /// Its class.
    pub(crate) class: Option<String>,
    /// Whether training mirrors it this time.
    pub(crate) mirrored: bool,
    /// Smaller ones first; without the whole image.
    pub(crate) patches: Vec<Patch>,
}

/// The patches of the first images of a training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Patches {
    /// The training.
    pub(crate) training: Training,
    /// Its patch sizes, smaller ones first.
    pub(crate) sizes: Vec<Size>,
    /// Of an image.
    pub(crate) width: usize,
    /// Of an image.
    pub(crate) height: usize,
    /// In the order of the first epoch.
    pub(crate) images: Vec<Cut>,
}

/// The patches that a training takes from its first images, of each size the one that it takes if the step is of that
/// size.
pub(crate) fn patches(set: &ShardSet, training: Training) -> Patches {
    let (width, height) = (set.width(), set.height());
    let shorter = usize::min(width, height);
    let sizes: Vec<Size> = patch_shares(&training.patch_sizes, training.full_image_ratio)
        .into_iter()
        .filter(|share| share.probability > 0.0)
        .map(|share| {
            let (width, height) = match share.divisor {
                1 => (width, height),
                divisor => (shorter / divisor as usize, shorter / divisor as usize),
            };
            Size {
                width,
                height,
                probability: share.probability,
            }
        })
        .collect();
    let whole = PatchSize { height, width };
    let shown = requests(set, &training, whole);
    let mut images: Vec<Cut> = shown
        .iter()
        .map(|request| Cut {
            image: request.index,
            class: set
                .label(request.index)
                .and_then(|label| set.class_names().get(label as usize).cloned()),
            mirrored: request.mirrored,
            patches: Vec::new(),
        })
        .collect();
    for size in &sizes {
        if (size.width, size.height) == (width, height) {
            continue;
        }
        let size = PatchSize {
            height: size.height,
            width: size.width,
        };
        for (cut, request) in images.iter_mut().zip(requests(set, &training, size)) {
            cut.patches.push(patch(&request, size, whole, cut.mirrored));
        }
    }
    Patches {
        training,
        sizes,
        width,
        height,
        images,
    }
}

fn requests(set: &ShardSet, training: &Training, size: PatchSize) -> Vec<PatchRequest> {
    let seed = Seed::new(training.seed).derive("train");
    let stream = PatchStream::new(set, seed, training.mirror_probability);
    let count = u64::min(IMAGES, set.len() as u64);
    stream.patches(0..count, Share::WHOLE, size)
}

/// `mirrored` says how the image is shown.
fn patch(request: &PatchRequest, size: PatchSize, image: PatchSize, mirrored: bool) -> Patch {
    let left = if request.mirrored == mirrored {
        request.column
    } else {
        image.width - request.column - size.width
    };
    Patch {
        left,
        top: request.row,
        width: size.width,
        height: size.height,
        x: coordinates(request.column, size.width, image.width),
        y: coordinates(request.row, size.height, image.height),
    }
}

/// The coordinates of the first and the last pixel of a patch along one axis.
///
/// # Source
/// Patch Diffusion (arXiv 2304.12526), section 3.1: `2 · (index / (R - 1) - 0.5)`.
fn coordinates(first: usize, length: usize, resolution: usize) -> [f64; 2] {
    let last = usize::max(1, resolution - 1) as f64;
    [first, first + length - 1].map(|index| 2.0 * (index as f64 / last - 0.5))
}

/// The images without gaps, in lines of [`Patches::columns`], as they lie in the set.
///
/// # Errors
/// [`DatasetError::Encode`] if the PNG cannot be made.
pub(crate) fn sheet(set: &ShardSet, training: Training) -> Result<Vec<u8>, DatasetError> {
    let patches = patches(set, training);
    let cuts = patches.images.iter();
    let images: Vec<&[u8]> = cuts.map(|cut| set.pixels(cut.image)).collect();
    grid_png(
        &images,
        set.width(),
        set.height(),
        set.channels(),
        patches.columns(),
        0,
        1,
    )
}

impl Patches {
    /// Images in a line of the sheet.
    pub(crate) fn columns(&self) -> usize {
        usize::min(COLUMNS, usize::max(1, self.images.len()))
    }
}

#[cfg(test)]
mod tests {
    use patchwork_dataset::{Channels, Row, ShardSetWriter, ShardSpec};

    use super::*;

    const WIDTH: usize = 24;
    const HEIGHT: usize = 16;

    #[test]
    fn the_corners_of_the_image_are_minus_one_and_one() {
        for (place, expected) in [
            ((0, 64, 64), "[-1.0, 1.0]"),
            ((0, 2, 5), "[-1.0, -0.5]"),
            ((3, 2, 5), "[0.5, 1.0]"),
            ((0, 1, 1), "[-1.0, -1.0]"),
        ] {
            let (first, length, resolution) = place;
            let coordinates = coordinates(first, length, resolution);
            assert_eq!(format!("{coordinates:?}"), expected);
        }
    }

    /// What is outlined holds the pixels that training copies out of the set.
    #[test]
    fn outlines_hold_what_training_reads() {
        let folder = tempfile::tempdir().unwrap();
        let spec = ShardSpec {
            width: WIDTH,
            height: HEIGHT,
            channels: Channels::Grey,
            images_per_shard: 64,
            class_names: Vec::new(),
            metadata: std::collections::BTreeMap::new(),
        };
        let rows = (0..40_usize).map(|image| Row {
            key: image.to_string(),
            label: None,
            pixels: (0..WIDTH * HEIGHT)
                .map(|place| ((place * 7 + image * 31) % 251) as u8)
                .collect(),
            source_width: WIDTH as u16,
            source_height: HEIGHT as u16,
        });
        let mut writer = ShardSetWriter::open(folder.path(), spec).unwrap();
        writer.write_shard(rows.collect(), Vec::new()).unwrap();
        writer.finish().unwrap();
        let set = ShardSet::open(folder.path()).unwrap();
        let training = Training {
            run: "a-1".to_owned(),
            stage: "train".to_owned(),
            seed: 5,
            full_image_ratio: 0.5,
            patch_sizes: PatchPart::ALL.to_vec(),
            mirror_probability: 0.5,
            is_augmented: false,
            position_channels: true,
        };
        let shown = patches(&set, training.clone());
        let sizes: Vec<usize> = shown.sizes.iter().map(|size| size.width).collect();
        assert_eq!(sizes, [4, 8, WIDTH]);
        assert!(shown.images.iter().any(|cut| cut.mirrored));
        assert!(shown.images.iter().any(|cut| !cut.mirrored));
        for (number, size) in [4, 8].into_iter().enumerate() {
            let size = PatchSize::square(size);
            let requests = requests(&set, &training, size);
            assert_eq!(requests.len(), shown.images.len());
            for (cut, request) in shown.images.iter().zip(requests) {
                let mut read = vec![0.0; size.values(Channels::Grey)];
                set.gather(&[request], size, &mut read).unwrap();
                let patch = cut.patches[number];
                let seen = |line: usize, column: usize| {
                    let (row, column) = (patch.top + line, patch.left + column);
                    let column = if cut.mirrored {
                        WIDTH - 1 - column
                    } else {
                        column
                    };
                    f32::from(set.pixels(cut.image)[row * WIDTH + column]) / 127.5 - 1.0
                };
                // A size whose request is mirrored otherwise than the shown image is read the other way round.
                let is_other = request.mirrored != cut.mirrored;
                for (place, value) in read.iter().enumerate() {
                    let (line, column) = (place / size.width, place % size.width);
                    let column = if is_other {
                        size.width - 1 - column
                    } else {
                        column
                    };
                    assert_eq!(value.to_bits(), seen(line, column).to_bits());
                }
            }
        }
    }

    #[test]
    fn a_patch_lies_where_the_shown_image_has_it() {
        let request = PatchRequest {
            index: 0,
            row: 1,
            column: 2,
            mirrored: true,
            position: 0,
        };
        let (size, image) = (PatchSize::square(4), PatchSize::square(16));
        let same = patch(&request, size, image, true);
        assert_eq!((same.left, same.top), (2, 1));
        let other = patch(&request, size, image, false);
        assert_eq!(other.left, 10);
        assert_eq!(other.x.map(f64::to_bits), same.x.map(f64::to_bits));
    }
}
