//! Safetensors files with `latents` `[images, channels, height, width]`, perhaps `latents_flip` (of the mirrored images)
//! and `labels`, as LightningDiT writes them.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use patchwork_core::{durable, file_error};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::source::{LatentSource, Stored};
use crate::error::DatasetError;

const LATENTS: &str = "latents";
const MIRRORED: &str = "latents_flip";
const LABELS: &str = "labels";

/// The files that a path means, sorted; none where it means others.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, DatasetError> {
    let is_one = |path: &Path| {
        path.extension()
            .is_some_and(|ending| ending == "safetensors")
    };
    if path.is_file() {
        return Ok(is_one(path).then(|| path.to_owned()).into_iter().collect());
    }
    let mut files = durable::list(path)?;
    files.retain(|path| is_one(path));
    files.sort_unstable();
    Ok(files)
}

pub(super) struct SafetensorsSource {
    files: Vec<LatentsFile>,
}

struct LatentsFile {
    path: PathBuf,
    map: Mmap,
    images: usize,
    labels: Option<Vec<u32>>,
    has_mirrored: bool,
}

impl LatentsFile {
    fn open(path: &Path) -> Result<Self, DatasetError> {
        let map = file_error::map(path, &file_error::open(path)?)?;
        let refused = |problem: String| DatasetError::Archive {
            path: path.to_owned(),
            problem,
        };
        let (images, labels, has_mirrored) = {
            let file =
                SafeTensors::deserialize(&map).map_err(|error| refused(error.to_string()))?;
            let tensor = |name: &str| file.tensor(name).ok();
            let latents =
                tensor(LATENTS).ok_or_else(|| refused(format!("it has no tensor `{LATENTS}`")))?;
            let [images, ..] = shape(&latents).map_err(refused)?;
            if let Some(mirrored) = tensor(MIRRORED)
                && mirrored.shape() != latents.shape()
            {
                return Err(refused(format!(
                    "`{MIRRORED}` has another shape than `{LATENTS}`"
                )));
            }
            let labels = tensor(LABELS)
                .map(|labels| read_labels(&labels))
                .transpose();
            let labels = labels.map_err(refused)?;
            if labels.as_ref().is_some_and(|labels| labels.len() != images) {
                return Err(refused(format!(
                    "`{LABELS}` are not as many as `{LATENTS}`"
                )));
            }
            (images, labels, tensor(MIRRORED).is_some())
        };
        Ok(Self {
            path: path.to_owned(),
            map,
            images,
            labels,
            has_mirrored,
        })
    }

    /// Images with their mirror images.
    fn len(&self) -> usize {
        self.images * self.each()
    }

    fn each(&self) -> usize {
        if self.has_mirrored { 2 } else { 1 }
    }
}

impl SafetensorsSource {
    pub(super) fn open(files: &[PathBuf]) -> Result<Self, DatasetError> {
        let files = files.iter().map(|path| LatentsFile::open(path));
        Ok(Self {
            files: files.collect::<Result<_, _>>()?,
        })
    }

    /// An image's file, and its number there.
    fn place(&self, mut image: usize) -> (&LatentsFile, usize) {
        for file in &self.files {
            if image < file.len() {
                return (file, image);
            }
            image -= file.len();
        }
        panic!("an image is one of those that `len` counts");
    }
}

impl LatentSource for SafetensorsSource {
    fn len(&self) -> usize {
        self.files.iter().map(LatentsFile::len).sum()
    }

    fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    fn key(&self, image: usize) -> String {
        let (file, image) = self.place(image);
        let name = file.path.file_stem().unwrap_or_default().to_string_lossy();
        let mirrored = if image % file.each() == 1 {
            "#mirrored"
        } else {
            ""
        };
        format!("{name}/{}{mirrored}", image / file.each())
    }

    fn label(&self, image: usize) -> Option<u32> {
        let (file, image) = self.place(image);
        file.labels
            .as_ref()
            .map(|labels| labels[image / file.each()])
    }

    fn read(&self, image: usize) -> Result<Result<Stored, String>, DatasetError> {
        let (file, image) = self.place(image);
        let name = if image % file.each() == 1 {
            MIRRORED
        } else {
            LATENTS
        };
        let refused = |problem: String| DatasetError::Archive {
            path: file.path.clone(),
            problem,
        };
        let tensors =
            SafeTensors::deserialize(&file.map).map_err(|error| refused(error.to_string()))?;
        let tensor = tensors
            .tensor(name)
            .map_err(|error| refused(error.to_string()))?;
        let [images, channels, height, width] = shape(&tensor).map_err(refused)?;
        let bytes = tensor.data().len() / images;
        let image = image / file.each();
        let data = &tensor.data()[image * bytes..][..bytes];
        Ok(decode(tensor.dtype(), data).map(|values| Stored {
            shape: [channels, height, width],
            values,
        }))
    }
}

fn shape(tensor: &TensorView) -> Result<[usize; 4], String> {
    let shape = tensor.shape();
    match <[usize; 4]>::try_from(shape) {
        Ok(shape) if !shape.contains(&0) => Ok(shape),
        _ => Err(format!(
            "its latents have the shape {shape:?}, not images, channels, height and width"
        )),
    }
}

fn decode(dtype: Dtype, data: &[u8]) -> Result<Vec<f32>, String> {
    let halves = || data.as_chunks::<2>().0.iter();
    Ok(match dtype {
        Dtype::F32 => (data.as_chunks::<4>().0.iter())
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        Dtype::F16 => halves()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect(),
        Dtype::BF16 => halves()
            .map(|bytes| bf16::from_le_bytes(*bytes).to_f32())
            .collect(),
        other => return Err(format!("its latents are {other:?}, not floating point")),
    })
}

fn read_labels(tensor: &TensorView) -> Result<Vec<u32>, String> {
    let whole =
        |value: i64| u32::try_from(value).map_err(|_| format!("`{LABELS}` has the value {value}"));
    match tensor.dtype() {
        Dtype::I64 => (tensor.data().as_chunks::<8>().0.iter())
            .map(|bytes| whole(i64::from_le_bytes(*bytes)))
            .collect(),
        Dtype::I32 => (tensor.data().as_chunks::<4>().0.iter())
            .map(|bytes| whole(i32::from_le_bytes(*bytes).into()))
            .collect(),
        other => Err(format!("`{LABELS}` are {other:?}, not whole numbers")),
    }
}
