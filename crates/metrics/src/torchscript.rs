//! A TorchScript program of the user's own as an extractor: DINOv2 for those who have it, or anything else that turns
//! a batch of images into a batch of vectors.
//!
//! A TorchScript file is a program that libtorch runs: it can do what a network can do, and no more than read memory of
//! its own tensors, but it is code of whoever made it.

use std::path::Path;

use patchwork_core::Digest;
use patchwork_weights::{Resize, TorchScript};
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

use crate::chunks::try_in_chunks;
use crate::error::MetricsError;
use crate::extractor::{Extractor, Features, check_images};
use crate::resize::resize;

/// Images that go through the program at once on a CPU.
const CHUNK_IMAGES: i64 = 8;

/// A program on one device.
pub struct TorchScriptExtractor {
    program: CModule,
    settings: TorchScript,
    resize: Resize,
    device: Device,
    weights_digest: Digest,
    dimension: i64,
}

impl TorchScriptExtractor {
    /// Loads a program and tries it on a black image, which gives the width of its features.
    pub fn read(
        path: &Path,
        settings: TorchScript,
        weights_digest: Digest,
        resize: Resize,
        device: Device,
    ) -> Result<Self, MetricsError> {
        let mut extractor = Self {
            program: load(path, device)?,
            settings,
            resize,
            device,
            weights_digest,
            dimension: 0,
        };
        let side = i64::from(extractor.settings.side);
        let black = Tensor::zeros([1, 3, side, side], (Kind::Uint8, Device::Cpu));
        let output = tch::no_grad(|| extractor.output(&black.to_device(device)));
        extractor.dimension = output
            .and_then(|output| vectors(output, 1))
            .map_err(|error| MetricsError::Program {
                path: path.to_owned(),
                reason: first_line(&error),
            })?
            .size()[1];
        Ok(extractor)
    }

    fn output(&self, images: &Tensor) -> Result<IValue, TchError> {
        let pixels = resize(images, self.resize, i64::from(self.settings.side)) / 255.0;
        let by_channel = |values: &[f64; 3]| {
            Tensor::from_slice(values)
                .to_kind(Kind::Float)
                .to_device(self.device)
                .view([1, 3, 1, 1])
        };
        let input =
            (pixels - by_channel(&self.settings.mean)) / by_channel(&self.settings.deviation);
        self.program.forward_is(&[IValue::Tensor(input)])
    }
}

impl Extractor for TorchScriptExtractor {
    fn weights_digest(&self) -> Digest {
        self.weights_digest
    }

    fn dimension(&self) -> i64 {
        self.dimension
    }

    fn features(&self, images: &Tensor) -> Result<Features, MetricsError> {
        check_images(images)?;
        let pooled = call(images, self.device, CHUNK_IMAGES, self.dimension, |chunk| {
            self.output(chunk)
        })?;
        Ok(Features {
            pooled,
            spatial: None,
        })
    }
}

/// Loads a program for inference.
pub(crate) fn load(path: &Path, device: Device) -> Result<CModule, MetricsError> {
    let unreadable = |error: TchError| MetricsError::Program {
        path: path.to_owned(),
        reason: first_line(&error),
    };
    let mut program = CModule::load_on_device(path, device).map_err(unreadable)?;
    program.f_set_eval().map_err(unreadable)?;
    Ok(program)
}

/// The vectors that a program gives for all images, in chunks.
pub(crate) fn call(
    images: &Tensor,
    device: Device,
    chunk_images: i64,
    dimension: i64,
    program: impl Fn(&Tensor) -> Result<IValue, TchError>,
) -> Result<Tensor, MetricsError> {
    let [vectors] = try_in_chunks(images, device, chunk_images, [dimension], |chunk| {
        let vectors = vectors(program(chunk)?, chunk.size()[0])?;
        if vectors.size()[1] == dimension {
            Ok([vectors])
        } else {
            let shape = vectors.size();
            Err(MetricsError::Features { dimension, shape })
        }
    })?;
    Ok(vectors)
}

/// The vectors in what a program returned: a tensor, or the first of several.
fn vectors(output: IValue, count: i64) -> Result<Tensor, TchError> {
    let tensor = match output {
        IValue::Tensor(tensor) => tensor,
        IValue::Tuple(values) | IValue::GenericList(values) => match values.into_iter().next() {
            Some(IValue::Tensor(tensor)) => tensor,
            _ => return Err(wrong("several values, of which the first is not a tensor")),
        },
        IValue::TensorList(tensors) => {
            (tensors.into_iter().next()).ok_or_else(|| wrong("an empty list"))?
        }
        _ => return Err(wrong("no tensor")),
    };
    let shape = tensor.size();
    let is_batch = shape.len() >= 2 && shape[0] == count && tensor.numel() > 0;
    if !is_batch || !tensor.is_floating_point() {
        return Err(wrong(&format!(
            "a tensor of {:?} and shape {shape:?} for {count} images, not a vector of floating-point numbers for each",
            tensor.kind()
        )));
    }
    Ok(tensor.flatten(1, -1).to_kind(Kind::Float))
}

fn wrong(what: &str) -> TchError {
    TchError::Kind(format!("its `forward` returned {what}"))
}

/// libtorch's messages end with a trace of its own functions.
fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = (text.lines().map(str::trim))
        .filter(|line| !line.is_empty())
        .take_while(|line| !line.starts_with("Exception raised from"))
        .take(3)
        .collect();
    lines.join(" ")
}
